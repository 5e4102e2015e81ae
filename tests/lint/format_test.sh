#!/usr/bin/env bash
# Every C++ file is as clang-format would have it.
set -euo pipefail
# The sources, not their copies in Bazel's runfiles: a file this test does not name counts too.
exec "$(dirname "$(readlink -f .clang-format)")/tools/format" --check
