#!/bin/sh
# Two functions of one NIC, on one bus, are kept by two programs. The first one is taken over and closed before the second;
# as it has no reset of its own, VFIO would reset the bus then, and the second one's reception would end.
. /lib/e2e.sh

touch "/share/vfio.ended.$((GENERATION - 1))"
# vfio_nic takes the last one.
first=$(pci_address 0x8086:0x10c9 | head -n 1)
if [ "$GENERATION" = 0 ]; then
  expect_equal "how many functions there are" "$(pci_address 0x8086:0x10c9 | wc -l)" 2
  echo >"/sys/bus/pci/devices/$first/reset_method"
  vfio_update leave "$(cat /proc/cmdline)" "touch /tmp/preserved; sleep 1000" "$first" &
  wait_until 20 "$first is preserved" test -e /tmp/preserved
else
  step "$first is taken over and closed"
  text=$(vfio_update return "$first") || fail "vfio_update ends with $?: $text"
  echo "$text"
  expect_match "$text" "^$first: attached"
fi
step "the second one"
vfio_nic igb 1 || fail "vfio_nic ends with $?: $(dmesg | tail -n 30)"
expect_no_faults
