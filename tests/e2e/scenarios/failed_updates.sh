# Updates that fail before the kexec, each in another way, leave the guest running; the next good one works.
. /lib/e2e.sh

if [ "$GENERATION" = 0 ]; then
  wait_for_luod
  # shellcheck disable=SC2046  # Words on purpose.
  start_vm web1 $(stock_guest) --memory 128M --cmdline "console=ttyS0 quiet reboot=t panic=-1 tsc=reliable workload.memory_percent=60"
  wait_for_line web1 '^WORKLOAD ready' 150
  expect_running web1

  step "a file that is no kernel"
  expect_upgrade_refused 'kernel' --kernel /share/guest/guest.cpio.gz --initrd /share/boot/initrd
  expect_alive web1

  step "a kernel without live update"
  expect_upgrade_refused 'KEXEC_HANDOVER|live' --kernel /share/guest/vmlinuz --initrd /share/boot/initrd
  expect_alive web1

  step "an initrd that fits no scratch region"
  dd if=/dev/zero of=/run/large bs=1M count=260 2>/dev/null
  expect_upgrade_refused 'scratch' --kernel /share/boot/bzImage --initrd /run/large
  rm /run/large
  expect_alive web1

  step "a command line that would drop the guest"
  expect_upgrade_refused 'needs liveupdate=on' --kernel /share/boot/bzImage --initrd /share/boot/initrd --append liveupdate=off
  expect_alive web1

  step "a guest that the host has no memory for"
  web1=$(pidof vmm)
  # shellcheck disable=SC2046  # Words on purpose.
  start_vm large $(stock_guest) --memory 4G --cmdline "console=ttyS0 quiet"
  expect_running large
  expect_upgrade_refused 'guests have [0-9]+ MiB' --kernel /share/boot/bzImage --initrd /share/boot/initrd --dry-run
  kill -TERM "$(pidof vmm | tr ' ' '\n' | grep -vx "$web1")"
  exit_code large 20
  expect_equal "vmm's exit code" "$code" 143
  expect_alive web1

  step "a VM that does not answer"
  kill -STOP "$(pidof vmm)"
  expect_upgrade_refused 'web1' --kernel /share/boot/bzImage --initrd /share/boot/initrd --timeout 2s
  kill -CONT "$(pidof vmm)"
  expect_alive web1
  expect_running web1

  step "nothing stays behind"
  expect_equal "a loaded kexec image" "$(cat /sys/kernel/kexec_loaded)" 0
  expect_guest_sound web1
  upgrade
fi
expect_running web1
attach web1
expect_alive web1
expect_guest_sound web1
