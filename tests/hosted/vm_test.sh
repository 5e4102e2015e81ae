#!/bin/bash
# A VM through two updates under luo-emulate: vmm, luod and luoctl, unchanged, with this machine's own KVM.
#
#   vm_test.sh LUO_EMULATE LUOD LUOCTL VMM CONSOLE_CLIENT PRINT_TEST_KERNEL
#
# The next kernel is the one that tools/host_kernel keeps. Without it, KVM or seccomp notifications this is SKIPPED.
set -eu

. tools/lib/cache.sh

emulate=$(realpath "$1") luod=$(realpath "$2") luoctl=$(realpath "$3")
vmm=$(realpath "$4") console_client=$(realpath "$5") print_test_kernel=$(realpath "$6")
skip() {
  echo "SKIPPED: $*"
  exit 0
}

[ -w /dev/kvm ] || skip "no /dev/kvm"
kernel=$(find "$(cache_dir)" -path '*/host-kernel-*/bzImage' | head -n 1)
[ -n "$kernel" ] || skip "no host kernel in $(cache_dir)"
why=$("$emulate" -- true 2>&1) || case $why in
  *"seccomp notifications"*) skip "$why" ;;
  *) echo "$why" && exit 1 ;;
esac

work=$(mktemp -d /tmp/vm_test.XXXXXX)
trap 'rm -rf "$work"' EXIT
"$print_test_kernel" >"$work/guest"
cat >"$work/boot.sh" <<END
# One boot of the host. The first starts a guest, each asks it for an answer, and two lead to the next one.
set -eu
status() { $luoctl --socket $work/luod.sock status; }
$luod --socket $work/luod.sock &
until status >/dev/null 2>&1; do sleep 0.05; done
$console_client $work/console $work/log $work/input &
until [ -p $work/input ]; do sleep 0.05; done
if [ \$LUO_GENERATION = 0 ]; then
  $vmm run --name web1 --kernel $work/guest --memory 64M --serial socket:$work/console \\
    --luod $work/luod.sock &
else
  until status | grep -q 'web1.*running'; do sleep 0.05; done
fi
# The guest prints what it does not know. That it runs on, and did not start anew, is its greeting's being there once.
until grep -q up $work/log 2>/dev/null; do sleep 0.05; done
printf \$LUO_GENERATION >$work/input
until grep -q \$LUO_GENERATION $work/log; do sleep 0.05; done
[ "\$(grep -c up $work/log)" = 1 ]
status
if [ \$LUO_GENERATION -lt 2 ]; then
  $luoctl --socket $work/luod.sock upgrade --kernel $kernel --command-line liveupdate=on
  echo "the upgrade came back"
  exit 1
fi
printf o >$work/input
while status | grep web1; do sleep 0.05; done
exit 42
END
rc=0
"$emulate" --reexec -- sh "$work/boot.sh" || rc=$?
cat "$work/log"
[ "$rc" = 42 ] || { echo "exit code $rc" && exit 1; }
