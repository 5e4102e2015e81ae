# The test files go through a live update, while tests/e2e/memory_images_test.py looks at the host's memory.
. /lib/e2e.sh

if [ "$GENERATION" = 0 ]; then
  step "preserve"
  live_update_files preserve >/share/preserved </dev/null &
  pid=$!
  wait_until 60 "all is preserved" grep -qE '^(READY|FAIL)' /share/preserved
  grep -q '^READY' /share/preserved || fail "$(tail -n 1 /share/preserved)"
  # What the files hold, by their own reading: session, token, size, seals, position, huge, sum.
  grep '^FILE' /share/preserved | while read -r _ fd rest; do
    sum=$(sha256sum <"/proc/$pid/fd/$fd")
    echo "$rest ${sum%% *}"
  done >/share/expected
  luoctl inspect --json >/share/live.json
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
live_update_files retrieve
