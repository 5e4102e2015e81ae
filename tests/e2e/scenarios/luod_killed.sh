# luod is killed by SIGKILL: while idle, in an update, and in the next kernel while it alone holds what is left of a VM. The
# guest is never lost.
. /lib/e2e.sh

worker() { luoctl status | sed -n 's/^luod: .* process \([0-9]*\),.*/\1/p'; }

# kill_worker: and waits for the next one.
kill_worker() {
  killed=$(worker)
  kill -9 "$killed"
  wait_for_luod
  [ "$(worker)" != "$killed" ] || fail "luod $killed was killed and still answers"
}

status_matches() { luoctl status | grep -qE "$1"; }

# A vmm that can be taken away, so that resuming fails.
PATH=/share/bin:$PATH

if [ "$GENERATION" = 0 ]; then
  mkdir -p /share/bin
  cp /sbin/vmm /share/bin/vmm
  wait_for_luod
  # shellcheck disable=SC2046  # Words on purpose.
  start_vm web1 $(stock_guest) --memory 128M --cmdline "console=ttyS0 quiet workload.memory_percent=60"
  wait_for_line web1 '^WORKLOAD ready' 150
  expect_running web1

  step "killed while idle"
  kill_worker
  expect_running web1

  step "killed in an update that waits for a VM"
  kill -STOP "$(pidof vmm)"
  luoctl upgrade --kernel /share/boot/bzImage --initrd /share/boot/initrd --reuse-cmdline --timeout 60s >/run/upgrade 2>&1 &
  upgrade=$!
  wait_until 240 "the kernel is loaded" grep -q 1 /sys/kernel/kexec_loaded
  killed=$(pidof luod | tr ' ' '\n' | sort -n | tail -n 1)
  kill -9 "$killed"
  rc=0
  wait "$upgrade" || rc=$?
  tail -n 1 /run/upgrade
  expect_equal "luoctl's exit code" "$rc" 3
  wait_for_luod
  expect_equal "a loaded kexec image" "$(cat /sys/kernel/kexec_loaded)" 0
  kill -CONT "$(pidof vmm)"
  expect_running web1
  expect_alive web1

  mv /share/bin/vmm /share/bin/vmm.away
  upgrade
fi

step "the VM cannot be resumed"
wait_for_luod
wait_until 10 "web1 is failed" status_matches 'web1 .*failed'
luoctl status
expect_upgrade_refused 'web1' --kernel /share/boot/bzImage --initrd /share/boot/initrd

step "killed while it alone holds the VM's session"
kill_worker
wait_until 5 "web1 is waited for" status_matches 'web1 .*resuming'
wait_until 20 "web1 is failed again" status_matches 'web1 .*failed'

step "SIGTERM is refused"
kill -TERM "$(worker)"
sleep 1
wait_for_luod

step "the VM can be resumed"
mv /share/bin/vmm.away /share/bin/vmm
luoctl retry web1
expect_running web1
attach web1
expect_alive web1
expect_guest_sound web1
luoctl status

step "the supervisor is killed: luod ends, the VM runs on and finds the next one"
kill -9 "$(pidof luod | tr ' ' '\n' | sort -n | head -n 1)"
wait_until 5 "luod ends" sh -c '! pidof luod'
expect_alive web1
setsid luod </dev/null >>/share/luod.log 2>&1 &
wait_for_luod
expect_running web1
