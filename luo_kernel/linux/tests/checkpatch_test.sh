#!/usr/bin/env bash
# Linux's own scripts/checkpatch.pl --strict has nothing to say of our files and hooks, and kernel-doc nothing of their
# comments.
set -euo pipefail
source luo_kernel/linux/tests/lib.sh
linux=$(linux_source) || exit 0
command -v perl >/dev/null || skip "no perl"

# Ignored: who maintains a file, and spdxcheck's module, are matters of Linux's own tree; patches lie here without mail
# headers, and their subject is the first line.
# shellcheck disable=SC2054  # checkpatch's own commas.
options=(--no-tree --strict --terse --no-summary --show-types --max-line-length=100
  --ignore FILE_PATH_CHANGES,SPDX_LICENSE_TAG,MISSING_SIGN_OFF,EMAIL_SUBJECT,COMMIT_MESSAGE,EMBEDDED_FILENAME)
mapfile -t files < <(find -L luo_kernel/linux/tree -name '*.[ch]' | sort)
((${#files[@]} >= 8)) || fail "found only ${#files[@]} files"
perl "$linux/scripts/checkpatch.pl" "${options[@]}" --file "${files[@]}"
# -B: no bytecode is left in the source.
said=$(python3 -B "$linux/scripts/kernel-doc" -none -Wall "${files[@]}" 2>&1) || fail "kernel-doc: $said"
[[ -z $said ]] || fail "kernel-doc: $said"
# By standard input: what git tracks by name is taken for a source file.
for patch in luo_kernel/linux/patches/*.patch; do
  perl "$linux/scripts/checkpatch.pl" "${options[@]}" - <"$patch" || fail "$patch"
done
echo "${#files[@]} files and all patches checked"
