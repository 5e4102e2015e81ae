#!/bin/sh
# The kernel is to be replaced while a device's interrupts are being set up, which takes seconds here: see
# luo_kernel/linux/tests/unusual-hardware.patch. That is refused in time, and afterwards all is as before.
. /lib/e2e.sh

nic=$(pci_address 0x8086:0x10d3)
expect_equal "what is pretended" "$(tr ' ' '\n' </proc/cmdline | sed -n 's/^pretend=//p')" slow-irqs
text=$(vfio_update leave "$(cat /proc/cmdline)" arm "$nic" || [ $? = 1 ]) || fail "vfio_update ends with $?: $text"
echo "$text"
expect_match "$text" '^vfio_update: EBUSY'
expect_match "$text" '^vfio_update: arm: done'
dmesg | grep 'refused: its interrupts do not stop changing (-16)' || fail "it was refused for another reason"
step "and as usual"
expect_match "$(vfio_preserve "$nic" attached)" '^preserved'
expect_no_faults
