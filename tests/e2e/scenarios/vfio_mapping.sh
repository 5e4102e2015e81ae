#!/bin/sh
# User space maps memory for a device without end, and for seconds at a time, while the device is preserved and while the
# kernel is replaced: each works, or fails before such a time is over; the device goes on all the time.
. /lib/e2e.sh

touch "/share/vfio.ended.$((GENERATION - 1))"
if [ "$GENERATION" = 0 ]; then
  wait_until 20 "the slow disk is there" host_disk
  vfio_nic e1000e 1 map "/dev/$(host_disk)" || fail "vfio_nic ends with $?"
else
  vfio_nic e1000e 1 || fail "vfio_nic ends with $?"
fi
expect_no_faults
