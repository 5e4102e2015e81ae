#!/bin/sh
# A next kernel that drops a device's translation and leaves it bus mastering: the tests see that DMA ends, that the
# device cannot be retrieved, and that it is stopped all the same.
. /lib/e2e.sh

# When DMA ends hangs on the boot, so frame_source is told of no kexec to judge.
if [ "$GENERATION" = 0 ]; then
  cp /share/guest/wrong /share/boot/bzImage
  vfio_nic e1000e 1 || fail "vfio_nic ends with $?"
fi
if vfio_nic e1000e 1 >/tmp/answer 2>&1; then fail "a device without translation was taken over: $(cat /tmp/answer)"; fi
cat /tmp/answer
expect_match "$(cat /tmp/answer)" 'reception stopped after the boot|fewer than half of the frames'
wait_until 10 "the kernel gives the device up" sh -c 'dmesg | grep "not taken over: blocked"'
