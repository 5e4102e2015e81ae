#!/bin/sh
# Nobody takes a device over that was kept running: it is stopped and reset, its memory is free again, and it is a
# device like any other. Twice its program dies between retrieving and attaching it, once without a way to reset the device;
# then none comes for a while, and the session is finished without retrieving anything; then none comes until the next
# kexec.
. /lib/e2e.sh

touch "/share/vfio.ended.$((GENERATION - 1))"
nic=$(parameter nic e1000e)
nic_address() { basename "$(readlink -f /sys/bus/pci/drivers/vfio-pci/0000:*)"; }

# expect_enabled TIMES: for the PCI core. A device that waits is, once, lest a quirk disable it.
expect_enabled() { expect_equal "how often it is enabled" "$(cat "/sys/bus/pci/devices/$(nic_address)/enable")" "$1"; }

# expect_given_up HOW: the kernel says so, it does no DMA, and no pages are left of it.
expect_given_up() {
  wait_until 10 "the kernel gives the device up" sh -c "dmesg | grep 'not taken over: blocked, and $1'"
  expect_no_bus_master "$(nic_address)"
  expect_enabled 0
  dmesg | grep -q 'freed [0-9]* table pages' || fail "the old tables were not freed"
  expect_all_memory
  expect_no_faults
}

case $GENERATION in
  0)
    expect_all_memory
    vfio_nic "$nic" 3 || fail "vfio_nic ends with $?"
    ;;
  1 | 2)
    if [ "$GENERATION" = 1 ]; then how=die; else how=die-bound; fi
    step "its program dies: $how"
    expect_bus_master "$(nic_address)"
    expect_enabled 1
    methods=/sys/bus/pci/devices/$(nic_address)/reset_method
    if [ "$GENERATION" = 2 ]; then echo >"$methods"; fi
    vfio_nic "$nic" 3 $how || fail "vfio_nic ends with $?"
    if [ "$GENERATION" = 2 ]; then
      expect_given_up 'not reset (-25)'
      echo default >"$methods"
    else
      expect_given_up 'reset (0)'
    fi
    step "from the start"
    vfio_nic "$nic" 3 start || fail "vfio_nic ends with $?"
    ;;
  3)
    step "nobody comes"
    expect_bus_master "$(nic_address)"
    if text=$(vfio_preserve "$(nic_address)" bound); then fail "somebody else got the device: $text"; fi
    expect_match "$text" 'waits for its live update session'
    expect_enabled 1
    sleep 1
    expect_bus_master "$(nic_address)"
    before=$(managed_kb)
    vfio_nic "$nic" 3 finish || fail "vfio_nic ends with $?"
    expect_given_up 'reset (0)'
    freed=$(($(managed_kb) - before))
    step "$freed KiB came free"
    # The ring and its buffers, 16640 KiB, and page tables.
    expect_at_most "what must come free" 16640 "$freed"
    step "from the start"
    vfio_nic "$nic" 4 start || fail "vfio_nic ends with $?"
    ;;
  4)
    step "nobody comes, not even before the next kexec"
    expect_bus_master "$(nic_address)"
    vfio_nic "$nic" 5 ignore || fail "vfio_nic ends with $?"
    ;;
  5)
    if dmesg | grep 'kept by the previous kernel'; then fail "the device was kept once more"; fi
    expect_all_memory
    step "from the start"
    # What it still tried when the kernel before went is in the IOMMU's fault log, as after any kexec.
    vfio_nic "$nic" 5 start || fail "vfio_nic ends with $?"
    ;;
esac
