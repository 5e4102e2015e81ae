#!/usr/bin/env bash
# Every shell script passes shellcheck.
set -euo pipefail
cd "$(dirname "$(readlink -f .clang-format)")"
mapfile -t scripts < <(grep -rlE '^#!(/usr/bin/env bash|/bin/sh)' .ci tools tests luo_kernel)
((${#scripts[@]} > 5)) || { echo "found only ${#scripts[@]} scripts: the search is wrong"; exit 1; }
# SC1091: sourced files are checked as scripts of their own. SC2016: quoted programs for other shells.
shellcheck -x -e SC1091,SC2016 "${scripts[@]}" tools/lib/*.sh
echo "${#scripts[@]} scripts checked"
