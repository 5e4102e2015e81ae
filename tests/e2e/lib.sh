#!/bin/sh
# What the scenarios of tests/e2e share. It runs in the test host, under busybox's sh, from the scenario:
#
#   . /lib/e2e.sh
#   if [ "$GENERATION" = 0 ]; then
#     start_vm web1 --kernel /share/guest/vmlinuz --initramfs /share/guest/guest.cpio.gz --memory 256M --cpus 2
#     wait_for_line web1 'WORKLOAD ready' 60
#     ask web1 verify 'VERIFY ' 30
#     expect_match "$answer" 'VERIFY ok'
#   ...
#
# A VM's files in the share: NAME.console.log is what its guest printed, over all generations; NAME.vmm.log what vmm
# said. A scenario that fails says why with fail(); the runner then shows how every log ends.
set -eu

# step TEXT: what the scenario is about to do.
step() { echo "== [$GENERATION, $(cut -d' ' -f1 /proc/uptime) s] $*"; }

# fail TEXT: ends the scenario.
fail() {
  echo "FAIL: $*"
  tell_vms
  exit 1
}

# tell_vms: what the VMs' vCPUs do, so that a guest that hangs tells whether it spins, waits or is not run. Two looks, a
# second apart, at KVM's counts and at the threads' states and times.
tell_vms() {
  for _ in 1 2; do
    for vm in /sys/kernel/debug/kvm/[0-9]*-*; do
      [ -d "$vm" ] || continue
      echo "-- ${vm##*/} at $(cut -d' ' -f1 /proc/uptime) s:" \
        "$(cd "$vm" && for count in exits io_exits halt_exits halt_wakeup irq_injections nmi_injections irq_window_exits \
          signal_exits pf_fixed; do echo "$count $(cat $count)"; done | tr '\n' ',')"
      pid=${vm##*/}
      for stat in /proc/"${pid%%-*}"/task/*/stat; do echo "   thread $(cut -d' ' -f1-3,14,15 "$stat")"; done
    done
    sleep 1
  done
}

# Any other end by an error shows too: `set -e` is silent.
tell_end() {
  rc=$?
  [ $rc = 0 ] || echo "== the scenario ends with $rc in generation $GENERATION"
}
trap tell_end EXIT

# expect_match TEXT PATTERN: TEXT must match the extended regular expression.
expect_match() { echo "$1" | grep -qE -e "$2" || fail "'$1' does not match '$2'"; }

# expect_equal WHAT FOUND EXPECTED
expect_equal() { [ "$2" = "$3" ] || fail "$1 is '$2', not '$3'"; }

# expect_at_most WHAT NUMBER LIMIT: decimals allowed.
expect_at_most() { awk "BEGIN { exit !($2 <= $3) }" || fail "$1 is $2, more than $3"; }

# field LINE NAME: prints the value of NAME=value in a line of the guest's workload.
field() { echo "$1" | sed -n "s/.* $2=\([^ ]*\).*/\1/p"; }

# console VM: prints the path of what the VM's guest printed.
console() { echo "/share/$1.console.log"; }

# start_vm NAME ARGUMENT...: `vmm run` in the background, the guest's console in our hands.
start_vm() {
  vm=$1
  shift
  step "vmm run $vm"
  rm -f "/run/$vm.exit"
  {
    rc=0
    setsid vmm run --name "$vm" --serial "socket:/run/$vm.console" "$@" || rc=$?
    echo $rc >"/run/$vm.exit"
  } </dev/null >>"/share/$vm.vmm.log" 2>&1 &
  attach "$vm"
}

# attach NAME: takes the guest's console; start_vm has done it, a new generation does it anew.
attach() {
  setsid console_client "/run/$1.console" "$(console "$1")" "/run/$1.input" </dev/null >>"/share/$1.vmm.log" 2>&1 &
  # Commands may be sent from now on.
  until [ -p "/run/$1.input" ]; do sleep 0.05; done
}

# lines NAME: how many lines the guest has printed; to look at what comes after.
lines() {
  if [ -e "$(console "$1")" ]; then
    # The share's end cannot be read in the moment in which it grows: ENODATA.
    until count=$(wc -l <"$(console "$1")" 2>/dev/null); do sleep 0.05; done
    echo "$count"
  else
    echo 0
  fi
}

# whole_lines NAME LINES: what the guest has printed after the first LINES lines, without a last one still to be ended.
whole_lines() {
  { tail -n "+$(($2 + 1))" "$(console "$1")" 2>/dev/null && echo; } | tr -d '\r' | sed '$d'
}

# wait_for_line NAME PATTERN SECONDS [LINES]: waits until the guest prints a line that matches, after the first LINES
# ones; it is in $answer then.
wait_for_line() {
  deadline=$(($(cut -d. -f1 /proc/uptime) + $3))
  until answer=$(whole_lines "$1" "${4:-0}" | grep -m 1 -E -e "$2"); do
    [ "$(cut -d. -f1 /proc/uptime)" -lt "$deadline" ] || fail "$1 printed no line '$2' in $3 s"
    sleep 0.1
  done
}

# send NAME COMMAND: a line into the guest's console.
send() { echo "$2" >"/run/$1.input"; }

# ask NAME COMMAND PATTERN SECONDS: sends, and waits for the answer that matches; it is in $answer then.
ask() {
  before=$(lines "$1")
  send "$1" "$2"
  wait_for_line "$1" "$3" "$4" "$before"
}

# expect_guest_sound NAME: every byte of the guest's memory, its registers, its clocks and its kernel's log.
expect_guest_sound() {
  ask "$1" verify '^VERIFY' 120
  expect_match "$answer" '^VERIFY ok'
  ask "$1" fpu '^FPU' 30
  expect_match "$answer" '^FPU ok'
  ask "$1" status '^STATUS' 30
  for name in errors fpu_errors mono_back real_back tsc_back complaints; do
    expect_equal "$1's $name" "$(field "$answer" "$name")" 0
  done
}

# parameter NAME DEFAULT: prints e2e.NAME=VALUE of the test host's command line, where the test's BUILD entry put it.
parameter() {
  value=$(tr ' ' '\n' </proc/cmdline | sed -n "s/^e2e\.$1=//p" | tail -n 1)
  echo "${value:-$2}"
}

# pretended: prints what the debug kernel pretends of the hardware, see luo_kernel/linux/tests/unusual-hardware.patch.
pretended() { tr ' ' '\n' </proc/cmdline | sed -n 's/^pretend=//p'; }

# For vfio_nic.
FRAMES_PER_SECOND=$(parameter frames_per_second 1000)
export FRAMES_PER_SECOND

# wait_until SECONDS WHAT COMMAND...: repeats COMMAND, silently, until it succeeds.
wait_until() {
  until_deadline=$(($(cut -d. -f1 /proc/uptime) + $1))
  what=$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    [ "$(cut -d. -f1 /proc/uptime)" -lt "$until_deadline" ] || fail "not in time: $what"
    sleep 0.1
  done
}

wait_for_luod() { wait_until 20 "luod answers" luoctl status; }

# expect_running NAME: luod knows the VM, and that it runs.
runs() { luoctl status | grep -qE "^ *$1 .*running"; }
expect_running() { wait_until 30 "$1 runs: $(luoctl status)" runs "$1"; }

# exit_code NAME SECONDS: waits for the end of the VM's vmm; its exit code is in $code then.
exit_code() {
  wait_until "$2" "vmm of $1 ends" test -s "/run/$1.exit"
  # shellcheck disable=SC2034  # For the caller.
  code=$(cat "/run/$1.exit")
}

# How long luod waits for a VM here: a machine that has other things to do is no fault of the VM's.
vm_timeout=$(parameter timeout 60s)

# upgrade: replaces the host's kernel; what follows happens in the next generation.
upgrade() {
  step "luoctl upgrade"
  luoctl upgrade --kernel /share/boot/bzImage --initrd /share/boot/initrd --reuse-cmdline --timeout "$vm_timeout" || :
  fail "luoctl upgrade came back"
}

# expect_upgrade_refused PATTERN OPTION...: luoctl upgrade fails with code 1 and an error that matches, in time.
expect_upgrade_refused() {
  pattern=$1
  shift
  rc=0
  text=$(luoctl upgrade --reuse-cmdline "$@" 2>&1) || rc=$?
  echo "$text" | tail -n 1
  expect_equal "luoctl's exit code" "$rc" 1
  expect_match "$text" "$pattern"
}

# expect_alive NAME: the guest prints heartbeats from now on.
expect_alive() { wait_for_line "$1" '^HB ' 30 "$(lines "$1")"; }

# The stock guest: Debian's cloud kernel and the workload.
stock_guest() { echo "--kernel /share/guest/vmlinuz --initramfs /share/guest/guest.cpio.gz"; }

# expect_no_faults: the IOMMU has blocked no DMA, and the kernel has nothing to complain of.
expect_no_faults() {
  if dmesg | grep -E 'DMAR:.*(\[fault|fault addr|Request device)|WARNING:|BUG:|Oops'; then fail "faults in the kernel's log"; fi
}

# preserve_test_files: the files of e2e.files (all of them, or few) are preserved and held in the background; a line for
# each is in /share/expected: session, token, size, seals, position, huge, and the sum of what it holds by its own reading.
preserve_test_files() {
  live_update_files preserve "$(parameter files all)" >/share/preserved </dev/null &
  pid=$!
  wait_until 60 "all is preserved" grep -qE '^(READY|FAIL)' /share/preserved
  grep -q '^READY' /share/preserved || fail "$(tail -n 1 /share/preserved)"
  grep '^FILE' /share/preserved | while read -r _ fd rest; do
    sum=$(sha256sum <"/proc/$pid/fd/$fd")
    echo "$rest ${sum%% *}"
  done >/share/expected
}

# pci_address VENDOR:DEVICE: prints the addresses of the functions with this ID.
pci_address() {
  for folder in /sys/bus/pci/devices/*; do
    if [ "$(cat "$folder/vendor"):$(cat "$folder/device")" = "$1" ]; then basename "$folder"; fi
  done
}

# little_endian BYTES NUMBER: prints the number's bytes.
little_endian() {
  rest=$(($2))
  for _ in $(seq "$1"); do
    # shellcheck disable=SC2059  # An escape.
    printf "\\$(printf %03o $((rest & 255)))"
    rest=$((rest >> 8))
  done
}

# overwrite FILE OFFSET BYTES NUMBER
overwrite() { little_endian "$3" "$4" | dd of="$1" bs=1 seek="$2" conv=notrunc 2>/dev/null; }

# replace_table NAME: the next kernel takes the ACPI table on stdin for the machine's own of this name. Its length, revision
# (which must be higher) and checksum are set here: ACPI 6.5, 5.2.6.
replace_table() {
  mkdir -p /tmp/tables/kernel/firmware/acpi
  table=/tmp/tables/kernel/firmware/acpi/$1.aml
  cat >"$table"
  overwrite "$table" 4 4 "$(wc -c <"$table")"
  overwrite "$table" 24 4 "$(od -An -t u4 -j 24 -N 4 "$table") + 1"
  overwrite "$table" 9 1 0
  overwrite "$table" 9 1 "-($(od -An -v -t u1 "$table" | tr -s ' \n' '+' | sed 's/^+//; s/+$//'))"
  cp /share/boot/initrd /tmp/initrd
  { (cd /tmp/tables && find kernel | cpio -o -H newc 2>/dev/null) && cat /tmp/initrd; } >/share/boot/initrd
}

# bus_master ADDRESS: by its command register.
command_register() { od -An -t x2 -j 4 -N 2 "/sys/bus/pci/devices/$1/config" | tr -d ' '; }
bus_master() { [ $((0x$(command_register "$1") & 4)) != 0 ]; }

# The kernel's MemTotal, which has no page that is preserved and was not retrieved or freed.
managed_kb() { sed -n 's/^MemTotal: *\([0-9]*\) kB/\1/p' /proc/meminfo; }

# expect_all_memory: this kernel has what the first one had; a kexec of nothing at all costs 12 KiB.
expect_all_memory() {
  [ "$GENERATION" != 0 ] || managed_kb >/share/managed_kb
  expect_at_most "what this kernel lacks, in KiB," "$(($(cat /share/managed_kb) - $(managed_kb)))" 32
}

expect_bus_master() { bus_master "$1" || fail "$1 is no bus master: $(command_register "$1")"; }
expect_no_bus_master() { if bus_master "$1"; then fail "$1 is a bus master: $(command_register "$1")"; fi; }

# host_disk: prints the name of the host's own NVMe disk, that with the lowest address.
host_disk() {
  for disk in /sys/bus/pci/devices/*/nvme/nvme*/nvme*n1; do
    if [ -e "$disk" ]; then
      basename "$disk"
      return
    fi
  done
  return 1
}
host_disk_sum() { dd "if=/dev/$(host_disk)" bs=1M count=4 2>/dev/null | md5sum; }

# expect_host_disk: the host's own disk comes up, and has what it had in the first generation.
expect_host_disk() {
  step "the host's own disk"
  wait_until 20 "the host's disk is there" host_disk
  [ "$GENERATION" != 0 ] || host_disk_sum >/share/host-disk.sum
  expect_equal "the sum of the host's disk" "$(host_disk_sum)" "$(cat /share/host-disk.sum)"
}

# expect_iommu_mode: the IOMMU is in the mode that e2e.scalable and e2e.intremap name.
expect_iommu_mode() {
  ecap=$(cat /sys/class/iommu/dmar0/intel-iommu/ecap)
  # VT-d 4.1, 11.4.3: bit 43, scalable mode translation support; the kernel was told to use it.
  expect_equal "scalable mode" "$((0x$ecap >> 43 & 1))" "$(parameter scalable 0)"
  if dmesg | grep -q 'Enabled IRQ remapping'; then intremap=1; else intremap=0; fi
  expect_equal "interrupt remapping" $intremap "$(parameter intremap 0)"
}
