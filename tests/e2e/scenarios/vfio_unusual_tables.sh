#!/bin/sh
# What cannot be preserved for the way in which it is attached, or for what the IOMMU does for it. Parameters: `states`, of
# vfio_preserve, with commas between; `refusal`, what the kernel's log says of each, with _ for a space; and `errno`, its
# number. `pretend`, for the debug kernel: see luo_kernel/linux/tests/unusual-hardware.patch; with nested translation a device
# that was kept is attached to such a table, too.
. /lib/e2e.sh

nic=$(pci_address 0x8086:0x10d3)
refusal=$(parameter refusal none | tr _ ' ')
pretend=$(pretended)
if [ -n "$pretend" ]; then step "pretended: $pretend"; fi

if [ "$GENERATION" = 1 ]; then
  step "a nested table cannot be the first, another one can"
  text=$(vfio_update return-nested "$nic") || fail "vfio_update ends with $?: $text"
  echo "$text"
  expect_match "$text" ': attached'
  expect_no_faults
  exit
fi

for state in $(parameter states none | tr , ' '); do
  step "$state"
  expect_no_faults
  dmesg -c >/dev/null
  if text=$(vfio_preserve "$nic" "$state"); then fail "the kernel preserves it"; fi
  echo "$text"
  text=$(dmesg | grep 'liveupdate: ')
  echo "$text"
  expect_equal "what the kernel says of $nic $state" "${text#*liveupdate: }" "refused: $refusal (-$(parameter errno none))"
done
# Page requests stay on for good.
if [ "$pretend" != pri ]; then
  step "and as usual"
  expect_match "$(vfio_preserve "$nic" attached)" '^preserved'
fi
expect_no_faults
# And one that was kept.
if [ "$pretend" = nest ]; then
  vfio_update leave "$(cat /proc/cmdline)" : "$nic" || fail "vfio_update ends with $?"
fi
