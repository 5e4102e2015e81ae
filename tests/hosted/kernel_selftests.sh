#!/bin/bash
# The kernel's own tests of LUO under luo-emulate: kernel_selftests.sh LUO_EMULATE. They are compiled from the kernel
# source that tools/host_kernel keeps; without it, or without seccomp notifications, this is SKIPPED.
set -eu

. tools/lib/cache.sh

emulate=$(realpath "$1")
skip() {
  echo "SKIPPED: $*"
  exit 0
}

source=$(echo "$(cache_dir)"/linux-source-*/linux)
headers=$(echo "$(cache_dir)"/linux-headers-*/usr/include)
tests=$source/tools/testing/selftests
[ -f "$tests/liveupdate/liveupdate.c" ] || skip "no kernel source in $(cache_dir)"
[ -f "$headers/linux/liveupdate.h" ] || skip "no kernel headers in $(cache_dir)"
why=$("$emulate" -- true 2>&1) || case $why in
  *"seccomp notifications"*) skip "$why" ;;
  *) echo "$why" && exit 1 ;;
esac

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# The kernel's folders only: over the C library's, not in place of them.
mkdir "$work/include"
ln -s "$headers/linux" "$headers/asm-generic" "$work/include/"
ln -s "$headers/x86_64-linux-gnu/asm" "$work/include/asm"

# build NAME
build() {
  gcc -D_GNU_SOURCE -O1 -w -isystem "$work/include" -I "$tests/liveupdate/lib/include" -I "$tests" -o "$work/$1" \
    "$tests/liveupdate/$1.c" "$tests/liveupdate/lib/lu_utils.c"
}

build liveupdate
"$emulate" -- "$work/liveupdate"

for program in luo_kexec_simple luo_multi_session luo_stress_files luo_stress_sessions; do
  build "$program"
  rc=0
  "$emulate" --next "$work/$program -s 2 && exit 42" -- \
    sh -c "'$work/$program' -s 1 && '$emulate' --kexec" || rc=$?
  [ "$rc" = 42 ] || { echo "$program: $rc" && exit 1; }
done
