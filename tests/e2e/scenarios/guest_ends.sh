# How a stock guest ends, and what vmm then exits with; the kinds of kernel image; the smallest guest and many vCPUs.
. /lib/e2e.sh

boot() {
  vm=$1
  shift
  start_vm "$vm" --initramfs /share/guest/guest.cpio.gz --luod none "$@"
  wait_for_line "$vm" '^WORKLOAD ready' 200
}
quiet="console=ttyS0 quiet tsc=reliable workload.memory_percent=10"

step "power-off; bzImage of the host's kernel, 64 MiB"
boot small --kernel /share/boot/bzImage --memory 64M --cmdline "$quiet"
send small poweroff
exit_code small 30
expect_equal "the exit code" "$code" 0

step "triple fault; ELF kernel by PVH"
boot pvh --kernel /share/guest/vmlinux --memory 128M --cmdline "$quiet"
send pvh crash
exit_code pvh 30
expect_equal "the exit code" "$code" 4

step "a reset boots the guest again"
boot again --kernel /share/guest/vmlinuz --memory 128M --cmdline "$quiet"
before=$(lines again)
send again reboot
wait_for_line again '^WORKLOAD ready' 150 "$before"
kill -TERM "$(pidof vmm)"
exit_code again 30
expect_equal "the exit code after SIGTERM" "$code" 143

step "a reset with --on-reset=exit"
boot once --kernel /share/boot/bzImage --memory 128M --cmdline "$quiet" --on-reset exit
send once reboot
exit_code once 60
expect_equal "the exit code" "$code" 3

step "eight vCPUs in the guest's hands"
boot wide --kernel /share/boot/bzImage --memory 256M --cmdline "$quiet" --cpus 8
expect_equal "the guest's CPUs" "$(field "$answer" cpus)" 8
send wide poweroff
exit_code wide 60
expect_equal "the exit code" "$code" 0
