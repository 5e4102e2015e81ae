# luod is killed by SIGKILL: while idle, in an update's CHECK, PREPARE and FREEZE, and in the next kernel while it alone
# holds what is left of a VM; a vmm is killed in FREEZE. No guest is lost but that one's. And what luod does not die of.
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

# begin_upgrade PID PHASE: begins an update that stands still in PHASE, for the vmm PID is stopped and owes an answer. The
# answer of each phase before is given while luod is stopped, which then finds it, and nobody to answer the next question.
# $upgrade is luoctl's process.
begin_upgrade() {
  kill -STOP "$1"
  luoctl upgrade --kernel /share/boot/bzImage --initrd /share/boot/initrd --reuse-cmdline --timeout 60s >/run/upgrade 2>&1 &
  upgrade=$!
  wait_until 240 "luod is in an update" status_matches '^luod: check,'
  until status_matches "^luod: $2,"; do
    luod=$(worker)
    kill -STOP "$luod"
    kill -CONT "$1"
    sleep 1
    kill -STOP "$1"
    kill -CONT "$luod"
    status_matches '^luod: (check|prepare|freeze),' || fail "$(cat /run/upgrade)"
  done
}

# expect_upgrade_ended CODE PATTERN: luoctl's exit code, and its last line.
expect_upgrade_ended() {
  rc=0
  wait "$upgrade" || rc=$?
  tail -n 1 /run/upgrade
  expect_equal "luoctl's exit code" "$rc" "$1"
  expect_match "$(tail -n 1 /run/upgrade)" "$2"
}

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

  step "the end of its terminal and of its log's reader are not its own"
  same=$(worker)
  # shellcheck disable=SC2046  # Both processes.
  for signal in HUP PIPE QUIT; do kill -$signal $(pidof luod); done
  expect_running web1
  expect_equal "luod's process" "$(worker)" "$same"

  step "killed while idle"
  kill_worker
  expect_running web1

  step "killed in CHECK, waiting for the VM"
  begin_upgrade "$(pidof vmm)" check
  kill -9 "$(worker)"
  expect_upgrade_ended 3 'luod'
  wait_for_luod
  expect_equal "a loaded kexec image" "$(cat /sys/kernel/kexec_loaded)" 0
  kill -CONT "$(pidof vmm)"
  expect_running web1
  expect_alive web1

  # shellcheck disable=SC2046  # Words on purpose.
  start_vm web2 $(stock_guest) --memory 128M --cmdline "console=ttyS0 quiet workload.memory_percent=5"
  wait_for_line web2 '^WORKLOAD ready' 150
  expect_running web2
  for pid in $(pidof vmm); do if grep -q web2 "/proc/$pid/cmdline"; then web2=$pid; fi; done

  for phase in prepare freeze; do
    step "killed in ${phase}, waiting for web2; web1 has answered"
    begin_upgrade "$web2" "$phase"
    kill -9 "$(worker)"
    expect_upgrade_ended 3 'luod'
    kill -CONT "$web2"
    wait_for_luod
    expect_equal "a loaded kexec image" "$(cat /sys/kernel/kexec_loaded)" 0
    for vm in web1 web2; do
      expect_running "$vm"
      expect_alive "$vm"
    done
  done

  step "a vmm is killed in FREEZE"
  begin_upgrade "$web2" freeze
  kill -9 "$web2"
  expect_upgrade_ended 1 'freeze: VM web2: .*gone'
  expect_running web1
  expect_alive web1

  step "the program that would resume the VM is away, or is another"
  mv /share/bin/vmm /share/bin/vmm.away
  expect_upgrade_refused 'VM web1: its program /share/bin/vmm' --kernel /share/boot/bzImage --initrd /share/boot/initrd
  printf '#!/bin/sh\nexit 1\n' >/share/bin/vmm
  chmod +x /share/bin/vmm
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

step "SIGTERM has to wait"
kill -TERM "$(worker)"
sleep 1
wait_for_luod

step "the VM can be resumed"
mv /share/bin/vmm.away /share/bin/vmm
luoctl retry web1
attach web1
expect_alive web1
no_luod() { ! pidof luod; }
wait_until 10 "luod ends, for nothing depends on it any more" no_luod
setsid luod </dev/null >>/share/luod.log 2>&1 &
wait_for_luod
expect_running web1
expect_guest_sound web1
luoctl status

step "the supervisor is killed: luod ends, the VM runs on and finds the next one"
kill -9 "$(pidof luod | tr ' ' '\n' | sort -n | head -n 1)"
wait_until 5 "luod ends" no_luod
expect_alive web1
setsid luod </dev/null >>/share/luod.log 2>&1 &
wait_for_luod
expect_running web1
