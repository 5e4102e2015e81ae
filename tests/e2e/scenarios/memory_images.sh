# The test files go through a live update, while tests/e2e/memory_images_test.py looks at the host's memory.
. /lib/e2e.sh

if [ "$GENERATION" = 0 ]; then
  step "preserve"
  preserve_test_files
  luoctl inspect --json --extract /share/live >/share/live.json
  # Without /proc/kcore, as many a kernel is.
  mount --bind /dev/null /proc/kcore
  luoctl inspect --json >/share/live_mem.json
  umount /proc/kcore
  step "wait for the first image"
  touch /share/ready
  wait_until 200 "told to go on" test -e /share/go
  step "kexec"
  bare_kexec /share/boot/bzImage /share/boot/initrd /run/tsc
fi

luoctl inspect >/share/inspect.log
expect_match "$(cat /share/inspect.log)" 'the latest, goes out'
expect_match "$(cat /share/inspect.log)" 'an earlier one, came in'
touch /share/up
wait_until 200 "told to retrieve" test -e /share/retrieve
step "retrieve"
live_update_files retrieve "$(parameter files all)"
