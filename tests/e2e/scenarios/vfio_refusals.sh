#!/bin/sh
# What cannot be preserved is refused, with a reason, and stays as it was.
. /lib/e2e.sh

# expect_refused PATTERN ARGUMENT...: of vfio_preserve.
expect_refused() {
  pattern=$1
  shift
  if text=$(vfio_preserve "$@"); then fail "the kernel preserves $*"; fi
  echo "$text"
  expect_match "$text" "$pattern"
}

# address VENDOR:DEVICE
address() {
  for folder in /sys/bus/pci/devices/*; do
    if [ "$(cat "$folder/vendor"):$(cat "$folder/device")" = "$1" ]; then basename "$folder"; fi
  done
}

touch "/share/vfio.ended.$((GENERATION - 1))"
if [ "$GENERATION" = 0 ]; then
  nic=$(address 0x8086:0x10d3)
  step "states in which nothing can be kept"
  expect_refused 'bound to no iommufd' "$nic" open
  expect_refused 'attached to no page table' "$nic" bound
  step "a next kernel that runs the IOMMU otherwise"
  expect_refused "next kernel's options" "$nic" attached iommu=strict
  step "a device whose DMA bears the bridge's ID"
  expect_refused 'second requester ID|not alone in its IOMMU group' "$(address 0x8086:0x100e)" attached
  step "and one that can be"
  expect_match "$(vfio_preserve "$nic" attached "")" '^preserved'
  expect_no_faults
fi
step "a kexec that is refused, and one that is not"
case $GENERATION in
  0) vfio_nic e1000e 1 refuse || fail "vfio_nic ends with $?" ;;
  *) vfio_nic e1000e 1 || fail "vfio_nic ends with $?" ;;
esac
expect_no_faults
