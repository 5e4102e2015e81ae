#!/bin/sh
# A machine on which no device can be preserved: the kernel says why, and the device stays as it was.
. /lib/e2e.sh

nic=$(pci_address 0x8086:0x10d3)
for _ in 1 2; do
  if text=$(vfio_preserve "$nic" attached); then fail "the kernel preserves $nic"; fi
  echo "$text"
  expect_match "$text" "^vfio_preserve: $(parameter refusal none):"
done
wait_until 5 "the kernel says why" sh -c 'dmesg | grep "liveupdate: refused: "'
expect_no_faults
