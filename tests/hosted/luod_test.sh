#!/bin/bash
# luod and luoctl, unchanged, through an update under luo-emulate: luod_test.sh LUO_EMULATE LUOD LUOCTL. The next kernel is
# the one that tools/host_kernel keeps; without it, or without seccomp notifications, this is SKIPPED.
set -eu

. tools/lib/cache.sh

emulate=$(realpath "$1") luod=$(realpath "$2") luoctl=$(realpath "$3")
skip() {
  echo "SKIPPED: $*"
  exit 0
}

kernel=$(find "$(cache_dir)" -path '*/host-kernel-*/bzImage' | head -n 1)
[ -n "$kernel" ] || skip "no host kernel in $(cache_dir)"
why=$("$emulate" -- true 2>&1) || case $why in
  *"seccomp notifications"*) skip "$why" ;;
  *) echo "$why" && exit 1 ;;
esac

work=$(mktemp -d /tmp/luod_test.XXXXXX)
trap 'rm -rf "$work"' EXIT
cat >"$work/lib.sh" <<END
# Starts luod and waits until it answers.
start() {
  $luod --socket $work/luod.sock &
  until $luoctl --socket $work/luod.sock status >$work/status 2>/dev/null; do sleep 0.1; done
}
END
cat >"$work/before.sh" <<END
. $work/lib.sh
start
$luoctl --socket $work/luod.sock upgrade --kernel $kernel --command-line liveupdate=on
echo "the upgrade came back"
exit 1
END
cat >"$work/after.sh" <<END
. $work/lib.sh
start
cat $work/status
grep -q 'last update: number 1' $work/status && exit 42
END
rc=0
"$emulate" --next "sh $work/after.sh" -- sh "$work/before.sh" || rc=$?
[ "$rc" = 42 ] || { echo "exit code $rc" && exit 1; }
