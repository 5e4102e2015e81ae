#!/usr/bin/env bash
# sparse has nothing to say of our files, and the compiler nothing at W=1.
set -euo pipefail
source luo_kernel/linux/tests/lib.sh
linux=$(linux_source) || exit 0
command -v sparse >/dev/null || skip "no sparse"

# Beside the source, for hard links.
work=$(mktemp -d "$(cache_dir)/sparse.XXXXXX")
trap 'rm -rf "$work"' EXIT
tools/host_kernel/patched_source "$linux" "$work/linux"
mapfile -t objects < <(cd luo_kernel/linux/tree && find -L . -name '*.c' | sed 's|^\./||; s|c$|o|' | sort)
mkdir "$work/build"
{
  make -C "$work/linux" O="$work/build" KCONFIG_ALLCONFIG="$PWD/tools/host_kernel/host-kernel.config" allnoconfig
  make -C "$work/linux" O="$work/build" -j"$(nproc)" prepare
} >"$work/log" 2>&1 || fail "cannot prepare Linux: $(tail "$work/log")"
# __typeof_unqual__ is newer than sparse 0.6.4, which Linux would not use without it.
make -C "$work/linux" O="$work/build" C=2 W=1 CF=-D__typeof_unqual__=__typeof__ "${objects[@]}" >"$work/log" 2>&1 ||
  fail "does not compile: $(tail "$work/log")"
# What Linux's headers make both say is not ours; sparse 0.6.4 calls every module_param() a bad constant expression.
if grep -E 'liveupdate|luo_versions|abi/vfio_pci' "$work/log" | grep -E 'warning|error' |
  grep -v 'bad constant expression'; then
  fail "see above"
fi
for object in "${objects[@]}"; do
  grep -q "CHECK .*[ /]${object%.o}\.c" "$work/log" || fail "$object was not checked"
done
echo "${#objects[@]} files checked"
