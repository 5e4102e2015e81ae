#!/bin/sh
# The kexec is refused for a state that a device is brought into between preserving it and that, and that an emulator's
# hardware does not have: luo_kernel/linux/tests/unusual-hardware.patch. Afterwards all is as before. Parameters: `change`, of
# vfio_update; `errno`, by name; and `refusal`, what the kernel's log says, with _ for a space.
. /lib/e2e.sh

nic=$(pci_address 0x8086:0x10d3)
change=$(parameter change none)
step "pretended: $(pretended)"
text=$(vfio_update leave "$(cat /proc/cmdline)" "$change" "$nic" || [ $? = 1 ]) || fail "vfio_update ends with $?: $text"
echo "$text"
expect_match "$text" "^vfio_update: $change: done"
expect_match "$text" "^vfio_update: $(parameter errno none): "
refusal=$(parameter refusal none | tr _ ' ')
dmesg | grep "liveupdate: refused: $refusal (-[0-9]*)" || fail "it was refused for another reason"
step "and as usual"
expect_match "$(vfio_preserve "$nic" attached)" '^preserved'
expect_no_faults
