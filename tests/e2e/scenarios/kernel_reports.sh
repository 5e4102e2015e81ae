#!/bin/sh
# Kernel faults of several kinds, provoked by LKDTM in the first kernel; the next one is sound, and so is the scenario's end.
. /lib/e2e.sh

provoke() { sh -c "echo $1 >/sys/kernel/debug/provoke-crash/DIRECT"; }

if [ "$GENERATION" = 0 ]; then
  if [ "$(parameter provoke yes)" = yes ]; then
    # The first: lockdep ends its watch when another checker finds memory to be damaged.
    step "a lock that is never let go, of which its program dies"
    provoke SPINLOCKUP || :
    step "a warning"
    provoke WARNING
    step "a damaged list"
    provoke CORRUPT_LIST_ADD
    step "an object read after its end"
    provoke READ_AFTER_FREE
  fi
  bare_kexec /share/boot/bzImage /share/boot/initrd /share/tsc || fail "no kexec"
fi
step "sound"
