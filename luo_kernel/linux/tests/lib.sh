# shellcheck shell=bash
# Finds Linux's source, for tests that need it: in the cache, where tools/host_kernel/build left it.
set -euo pipefail
source tools/lib/cache.sh

# linux_source: prints the folder, or ends the test as passed where there is none.
linux_source() {
  local found
  found=$(find "$(cache_dir)" -maxdepth 2 -path '*/linux-source-7.3*/linux' 2>/dev/null | sort -V | tail -n 1)
  [[ -n $found ]] || {
    echo "no Linux source in the cache: not tested" >&2
    return 1
  }
  printf '%s\n' "$found"
}

fail() {
  echo "FAILED: $*" >&2
  exit 1
}
