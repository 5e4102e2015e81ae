#!/usr/bin/env bash
# kernel_reports finds each kind of report among what a console shows, and takes nothing else for one. The lines are
# Linux 7.3's.
set -euo pipefail
log=$TEST_TMPDIR/console.log

fail() {
  echo "FAILED: $*" >&2
  exit 1
}

# console LINE: a sound console's log with the line in its middle.
console() {
  cat >"$log" <<END
[    0.000000] Linux version 7.3.4 (vmm@vmm) (gcc 12) #1 SMP PREEMPT_LAZY
[    0.000000] Command line: console=ttyS0 quiet loglevel=5
[    0.412345] Warning: unable to open an initial console.
[    1.200000] pci 0000:00:03.0: liveupdate: kept by the previous kernel
== [0, 2.10 s] what a scenario says: WARNING: not the kernel's
$1
[    3.000000] luo: Freeze failed for token[0x100] handler[vfio-pci-v1] err[-EPROTO]
[    3.100000] vfio-pci 0000:00:03.0: liveupdate: refused: its page table does not stop changing (-16)
[    3.200000] DMAR: [DMA Write NO_PASID] Request device [00:03.0] fault addr 0x1000 [fault reason 0x05]
END
}

console '== [1, 0.90 s] nothing'
tools/test_host/kernel_reports "$log" || fail "a sound console has a report"

while IFS= read -r line; do
  console "$line"
  if said=$(tools/test_host/kernel_reports "$log"); then fail "no report in: $line"; fi
  [[ $said == "$line" ]] || fail "of '$line' it says: $said"
done <<'END'
[    5.123456] BUG: KASAN: slab-use-after-free in vfio_pci_luo_finish+0x1a/0x90
[    5.123456] BUG: sleeping function called from invalid context at kernel/locking/mutex.c:591
[    5.123456] BUG: scheduling while atomic: sh/87/0x00000002
[    5.123456] BUG kmalloc-64 (Not tainted): Left Redzone overwritten
[    5.123456] BUG: unable to handle page fault for address: ffff888100000000
[    5.123456] kernel BUG at lib/list_debug.c:32!
[    5.123456] WARNING: possible circular locking dependency detected
[    5.123456] WARNING: inconsistent lock state
[    5.123456] WARNING: suspicious RCU usage
[    5.123456] WARNING: lock held when returning to user space!
[    5.123456] WARNING: kernel/liveupdate/kexec_handover.c:1155 at kho_preserve_folio+0x40/0x80, CPU#0: sh/87
[    5.123456] ------------[ cut here ]------------
[    5.123456] Call Trace:
[    5.123456] INFO: task vfio_nic:87 blocked for more than 60 seconds.
[    5.123456] INFO: rcu_preempt detected stalls on CPUs/tasks:
[    5.123456] INFO: trying to register non-static key.
[    5.123456] watchdog: BUG: soft lockup - CPU#0 stuck for 26s! [sh:87]
[    5.123456] list_add corruption. next->prev should be prev (ffff888100000000), but was 0000000000000000.
[    5.123456] list_del corruption. prev->next should be ffff888100000000, but was 0000000000000000.
[    5.123456] ODEBUG: free active (active state 0) object: ffff888100000000 object type: timer_list
[    5.123456] DEBUG_LOCKS_WARN_ON(1)
[    5.123456] Oops: general protection fault, kernel NULL pointer dereference 0x10: 0000 [#1] SMP KASAN
[  123.123456] Kernel panic - not syncing: Attempted to kill init!
[    5.123456] iommu: Detected page leak!
[    0.123456] KHO: Failed to reserve scratch area, disabling kexec handover
[    0.123456] KHO: setup: handover FDT (0x1000) is invalid: -11
[    0.123456] luo: LUO state is incompatible with 'luo-v1'
[    0.123456] luo: Block set is corrupted
half a line of a program's[    5.123456] BUG: KASAN: slab-out-of-bounds in f+0x1/0x2
END
