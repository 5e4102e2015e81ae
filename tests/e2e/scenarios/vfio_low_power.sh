#!/bin/sh
# A device that is in a low-power state when the kernel is replaced is woken up for that, is awake in the next kernel until
# its session ends, and may sleep again from then on. Its INTx is armed, which the kernel masks while it sleeps.
. /lib/e2e.sh

nic=$(pci_address 0x8086:0x10d3)
# Without waking it up, as reading its configuration space does.
power_state() { cat "/sys/bus/pci/devices/$nic/power_state"; }
sleeps() { [ "$(power_state)" = D3hot ]; }

if [ "$GENERATION" = 0 ]; then
  step "a kexec with $nic asleep"
  # It sleeps as long as nobody has it open, which is how vfio-pci leaves it.
  expect_match "$(vfio_preserve "$nic" attached)" '^preserved'
  wait_until 10 "$nic sleeps when it is closed" sleeps
  vfio_update leave "$(cat /proc/cmdline)" sleep "$nic" >/share/left || :
  fail "the kernel was not replaced: $(cat /share/left)"
fi
expect_match "$(cat /share/left)" '^vfio_update: sleep: done'
step "it is awake"
dmesg | grep "$nic: liveupdate: kept by the previous kernel" || fail "it was not kept"
expect_equal "its power state" "$(power_state)" D0
expect_bus_master "$nic"
text=$(vfio_update return "$nic") || fail "vfio_update ends with $?: $text"
echo "$text"
expect_match "$text" "^$nic: attached"
step "nothing keeps it awake any more"
wait_until 10 "$nic sleeps" sleeps
expect_match "$(vfio_preserve "$nic" attached)" '^preserved'
expect_no_faults
