#!/bin/sh
# A device that is in a low-power state when the kernel is replaced, and the port above it, are woken up for that, are awake
# in the next kernel until its session ends, and may sleep again from then on. Its INTx is armed, which the kernel masks while
# it sleeps.
. /lib/e2e.sh

nic=$(pci_address 0x8086:0x10d3)
port=$(basename "$(realpath "/sys/bus/pci/devices/$nic/..")")
# power_states: the port's and the device's, without waking them up, as reading the configuration space does. QEMU's port
# has no states but D0: it only counts as suspended.
power_states() { echo "$(cat "/sys/bus/pci/devices/$port/power/runtime_status") $(cat "/sys/bus/pci/devices/$nic/power_state")"; }
sleep_both() { [ "$(power_states)" = 'suspended D3hot' ]; }

if [ "$GENERATION" = 0 ]; then
  step "a kexec with $nic asleep"
  # It sleeps as long as nobody has it open, which is how vfio-pci leaves it.
  expect_match "$(vfio_preserve "$nic" attached)" '^preserved'
  wait_until 10 "$port and $nic sleep when nobody has it open: $(power_states)" sleep_both
  vfio_update leave "$(cat /proc/cmdline)" sleep "$nic" >/share/left || :
  fail "the kernel was not replaced: $(cat /share/left)"
fi
expect_match "$(cat /share/left)" '^vfio_update: sleep: done'
step "they are awake"
dmesg | grep "$nic: liveupdate: kept by the previous kernel" || fail "it was not kept"
expect_equal "the power states of $port and $nic" "$(power_states)" 'active D0'
expect_bus_master "$nic"
text=$(vfio_update return "$nic") || fail "vfio_update ends with $?: $text"
echo "$text"
expect_match "$text" "^$nic: attached"
step "nothing keeps them awake any more"
wait_until 10 "$port and $nic sleep" sleep_both
expect_match "$(vfio_preserve "$nic" attached)" '^preserved'
expect_no_faults
