# Measures, in one run and side by side: VMs' boots and weight against QEMU's microvm, then host updates of VMs of several
# sizes against kexecs without any. Each figure is a line "NAME VALUE" of /share/figures; tests/bench/report says what they
# are and makes medians of them.
. /lib/e2e.sh

rounds=$(parameter rounds 3)
boots=$(parameter boots 5)
# In MiB. The first one's blackout is set against the bare kexec.
sizes=$(parameter sizes 256,1024,2048 | tr , ' ')

figure() { echo "$1 $2" >>/share/figures; }

# json_number NAME: the first number of that name in luod's status.
json_number() { luoctl status --json | sed -n "s/^ *\"$1\": \([0-9.]*\),*\$/\1/p" | head -n 1; }

tsc_to_ms() { awk "BEGIN { printf \"%.1f\", $1 / $(sed -n 's/.*tsc_early_khz=\([0-9]*\).*/\1/p' /proc/cmdline) }"; }

# QEMU with its libraries and firmware, in memory as vmm is: over the share its start would cost more.
bring_qemu() {
  mkdir -p /run/qemu/dev /run/qemu/proc
  mount -o bind /dev /run/qemu/dev
  {
    chroot /host ldd /usr/bin/qemu-system-x86_64 | tr ' \t' '\n' | grep ^/
    echo /usr/bin/qemu-system-x86_64
    for firmware in seabios/bios-microvm.bin qemu/linuxboot_dma.bin; do echo /usr/share/$firmware; done
  } | while read -r file; do
    mkdir -p "/run/qemu${file%/*}"
    chroot /host cat "$file" >"/run/qemu$file"  # follows its links inside
    chmod +x "/run/qemu$file"
  done
  cp /share/guest/vmlinuz /share/guest/greeting.cpio.gz /run/qemu/
}

# measure_boot NAME COMMAND...
measure_boot() {
  name=$1
  shift
  measured=$(time_boot 128 "$@" 2>>"/share/$name.boot.log") || fail "$name does not boot"
  figure "boot_ms.$name" "${measured% *}"
  figure "resident_kib.$name" "${measured#* }"
}

boot_both() {
  line="console=ttyS0 quiet tsc=reliable"
  measure_boot vmm vmm run --name boot --luod none --serial tty --memory 128M --cpus 1 \
    --kernel /run/qemu/vmlinuz --initramfs /run/qemu/greeting.cpio.gz --cmdline "$line"
  measure_boot microvm busybox chroot /run/qemu /usr/bin/qemu-system-x86_64 -M microvm -accel kvm -cpu host -m 128M -smp 1 \
    -no-user-config -nodefaults -display none -no-reboot -serial stdio \
    -kernel /vmlinuz -initrd /greeting.cpio.gz -append "$line"
}

# What each generation has to measure, the kexec before it, is told by /share/next: KIND ROUND MIB.
begin_update() {
  vm=vm-$1-$2
  step "round $1, a VM of $2 MiB"
  wait_for_luod
  # As much at work in guests of any size, if it can be.
  percent=$((1280 / $2))
  if [ $percent = 0 ]; then percent=1; fi
  # shellcheck disable=SC2046  # Words on purpose.
  start_vm "$vm" $(stock_guest) --memory "$2M" --prefault \
    --cmdline "console=ttyS0 quiet tsc=reliable workload.memory_percent=$percent"
  wait_for_line "$vm" '^WORKLOAD ready' 300
  expect_running "$vm"
  ask "$vm" reset-gap '^RESET-GAP' 60
  expect_alive "$vm"
  echo "vm $1 $2" >/share/next
  upgrade
}

begin_bare() {
  step "round $1, no VM, after that of $2 MiB"
  kill -TERM "$(pidof vmm)"
  wait_until 30 "vmm ends" sh -c '! pidof vmm'
  echo "bare $1 $2" >/share/next
  bare_kexec /share/boot/bzImage /share/boot/initrd /share/kexec_tsc
  fail "bare_kexec came back"
}

end_update() {
  vm=vm-$1-$2
  expect_running "$vm"
  attach "$vm"
  expect_alive "$vm"
  ask "$vm" status '^STATUS' 60
  figure "blackout_guest_ms.$2" "$(field "$answer" maxgap_ms)"
  figure "blackout_luod_ms.$2" "$(json_number blackout_ms)"
  for phase in freeze kexec retrieve resume; do figure "${phase}_ms.$2" "$(json_number ${phase}_ms)"; done
}

# size_after SIZE: prints the next one, nothing after the last.
size_after() { echo " $sizes " | sed -n "s/.* $1 \([0-9]*\) .*/\1/p"; }

if [ "$GENERATION" = 0 ]; then
  step "$boots boots of each"
  bring_qemu
  for _ in $(seq "$boots"); do boot_both; done
  begin_update 1 "${sizes%% *}"
fi

read -r kind round size </share/next
if [ "$kind" = vm ]; then
  end_update "$round" "$size"
  begin_bare "$round" "$size"
fi
figure bare_ms "$(tsc_to_ms $((INIT_TSC - $(cat /share/kexec_tsc))))"
next=$(size_after "$size")
if [ -z "$next" ]; then
  round=$((round + 1))
  next=${sizes%% *}
fi
if [ "$round" -le "$rounds" ]; then begin_update "$round" "$next"; fi
