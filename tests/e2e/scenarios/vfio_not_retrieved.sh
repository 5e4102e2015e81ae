#!/bin/sh
# Devices that were kept and cannot come back: each says why, is given up, and is a device like any other afterwards.
. /lib/e2e.sh

# Four NICs, in order of address.
nics=$(pci_address 0x8086:0x10d3)
# shellcheck disable=SC2086  # Words.
set -- $nics

# next_line: the command line with one "--" less. What lies behind it is for init, and the kernel compares it nevertheless:
# so the next kernel has one more option that the check at preserve does not tell.
next_line() { sed 's/ -- / /' /proc/cmdline; }

# expect_line TEXT LINE
expect_line() { echo "$1" | grep -qxE -e "$2" || fail "no line '$2' in: $1"; }

expect_memory_back() {
  dmesg | grep -q 'freed [0-9]* table pages' || fail "the old tables were not freed"
  expect_all_memory
}

# expect_given_up ADDRESS: it does no DMA, and it was reset.
expect_given_up() {
  dmesg | grep -q "$1: liveupdate: not taken over: blocked, and reset" || fail "$1 was not given up"
  expect_no_bus_master "$1"
}

# expect_ordinary ADDRESS: it can be attached, and preserved.
expect_ordinary() { expect_match "$(vfio_preserve "$1" attached "")" '^preserved'; }

case $GENERATION in
  0)
    expect_equal "the number of NICs" $# 4
    expect_all_memory
    step "the kexec; the third one's BAR 0 moves to 0xd0000000 before"
    vfio_update leave "$(cat /proc/cmdline)" \
      "printf '\\0\\0\\0\\320' | dd bs=4 seek=4 conv=notrunc of=/sys/bus/pci/devices/$3/config" "$@"
    fail "the kernel was not replaced"
    ;;
  1)
    step "the first one's driver goes, and the second one itself"
    echo "$1" >/sys/bus/pci/drivers/vfio-pci/unbind
    echo 1 >"/sys/bus/pci/devices/$2/remove"
    text=$(vfio_update return "$@") || fail "vfio_update ends with $?: $text"
    echo "$text"
    expect_line "$text" "$1: EBUSY: .*"
    expect_line "$text" "$2: ENODEV: .*"
    expect_line "$text" "$3: EADDRNOTAVAIL: .*"
    expect_line "$text" "$4: attached"
    expect_given_up "$1"
    expect_given_up "$3"
    dmesg | grep -q "$2 was not taken over and is gone" || fail "$2 was not given up"
    expect_memory_back
    echo 1 >/sys/bus/pci/rescan
    for nic in "$@"; do expect_ordinary "$nic"; done
    expect_no_faults
    step "a kexec to a kernel that runs the IOMMU in scalable mode"
    vfio_update leave "$(next_line)" true "$@"
    fail "the kernel was not replaced"
    ;;
  *)
    step "the DMA was stopped at boot"
    for nic in "$@"; do expect_no_bus_master "$nic"; done
    text=$(vfio_update return "$@") || fail "vfio_update ends with $?: $text"
    echo "$text"
    for nic in "$@"; do expect_line "$text" "$nic: ENOLINK: .*"; done
    expect_memory_back
    expect_no_faults
    if [ "$GENERATION" = 2 ]; then
      for nic in "$@"; do expect_ordinary "$nic"; done
      step "a kexec to a kernel without an IOMMU"
      vfio_update leave "$(next_line)" true "$@"
      fail "the kernel was not replaced"
    fi
    ;;
esac
