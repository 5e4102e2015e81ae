# shellcheck shell=bash
# Finds Linux's source, for tests that need it: in the cache, where tools/host_kernel/build left it.
set -euo pipefail
source tools/lib/cache.sh

# linux_source: prints the folder, or says why the test is to end there.
linux_source() {
  local found
  found=$(find "$(cache_dir)" -maxdepth 2 -path '*/linux-source-7.3*/linux' 2>/dev/null | sort -V | tail -n 1)
  [[ -n $found ]] || {
    echo "SKIPPED: no Linux source in $(cache_dir)" >&2
    return 1
  }
  printf '%s\n' "$found"
}

skip() {
  echo "SKIPPED: $*"
  exit 0
}

fail() {
  echo "FAILED: $*" >&2
  exit 1
}
