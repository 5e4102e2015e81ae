# A guest goes through one or more host updates: every byte of its pattern, its registers, clocks and log are right
# after each, and its RAM lies in the same physical frames.
. /lib/e2e.sh

updates=$(parameter updates 1)
cpus=$(parameter cpus 1)
kernel=$(parameter kernel /share/guest/vmlinuz)

vmm_pid() { pidof vmm | tr ' ' '\n' | head -n 1; }

if [ "$GENERATION" = 0 ]; then
  wait_for_luod
  start_vm web1 --kernel "$kernel" --initramfs /share/guest/guest.cpio.gz --cpus "$cpus" \
    --memory "$(parameter memory 128M)" --cmdline "console=ttyS0 quiet reboot=t panic=-1 tsc=reliable workload.memory_percent=70 workload.rest_us=$(parameter rest_us 1000)"
  wait_for_line web1 '^WORKLOAD ready' "$(parameter boot_seconds 150)"
  expect_equal "the guest's CPUs" "$(field "$answer" cpus)" "$cpus"
else
  expect_equal "luod's readiness" "$LUOD_READY" 1
  # It is ready when the guest runs, not before; but for guests that take longer than it waits.
  if [ "$cpus" -gt 8 ]; then expect_running web1; else runs web1 || fail "luod is ready, and web1 does not run"; fi
  attach web1
  expect_alive web1
  step "after update $GENERATION: $answer"
  expect_guest_sound web1
  step "frames"
  frame_map "$(vmm_pid)" >/run/frames
  cmp /run/frames /share/frames || fail "guest RAM lies in other frames than before: $(diff /run/frames /share/frames | head -n 4)"
  expect_match "$(tail -n 1 /run/frames)" '^pages [1-9]'
  luoctl status
fi

if [ "$GENERATION" -lt "$updates" ]; then
  expect_running web1
  # Preserving moves pages out of the memory that the next kernel boots in; once, not at each update. After a rehearsal
  # they lie where the update will find them.
  luoctl upgrade --rehearse --timeout "$vm_timeout" --kernel /share/boot/bzImage --initrd /share/boot/initrd --reuse-cmdline
  frame_map "$(vmm_pid)" >/share/frames
  step "$(tail -n 1 /share/frames)"
  ask web1 reset-gap '^RESET-GAP' 30
  expect_alive web1
  upgrade
fi

step "the guest ends as ever"
send web1 poweroff
wait_until 60 "vmm ends" sh -c '! pidof vmm'
