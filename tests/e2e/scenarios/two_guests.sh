# Two guests of different kernels, sizes and CPU counts come over one update.
. /lib/e2e.sh

if [ "$GENERATION" = 0 ]; then
  wait_for_luod
  # shellcheck disable=SC2046  # Words on purpose.
  start_vm web1 $(stock_guest) --cpus 1 --memory 128M --cmdline "console=ttyS0 quiet reboot=t panic=-1 tsc=reliable"
  start_vm web2 --kernel /share/boot/bzImage --initramfs /share/guest/guest.cpio.gz --cpus 2 --memory 192M \
    --cmdline "console=ttyS0 quiet reboot=t panic=-1 tsc=reliable workload.seed=2"
  wait_for_line web1 '^WORKLOAD ready' 150
  wait_for_line web2 '^WORKLOAD ready' 150
  expect_running web1
  expect_running web2
  upgrade
fi
for vm in web1 web2; do
  expect_running $vm
  attach $vm
  expect_alive $vm
  expect_guest_sound $vm
  send $vm poweroff
done
wait_until 60 "both vmm end" sh -c '! pidof vmm'
