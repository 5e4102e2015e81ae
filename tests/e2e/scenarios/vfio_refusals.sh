#!/bin/sh
# What cannot be preserved is refused, with a reason, and stays as it was; so is a kexec, where the reason came up since.
. /lib/e2e.sh

# expect_refused PATTERN ARGUMENT...: of vfio_preserve.
expect_refused() {
  pattern=$1
  shift
  if text=$(vfio_preserve "$@"); then fail "the kernel preserves $*"; fi
  echo "$text"
  expect_match "$text" "$pattern"
}

expect_preserved() { expect_match "$(vfio_preserve "$1" attached "")" '^preserved'; }

# expect_kexec_refused PATTERN CHANGE ADDRESS: vfio_update's CHANGE, between preserving the device and the kexec.
expect_kexec_refused() {
  text=$(vfio_update leave "$(cat /proc/cmdline)" "$2" "$3" || [ $? = 1 ]) || fail "vfio_update ends with $?: $text"
  echo "$text"
  expect_match "$text" "^vfio_update: $1"
}

virtual_functions() { echo "$1" >"/sys/bus/pci/devices/$physical/sriov_numvfs"; }

touch "/share/vfio.ended.$((GENERATION - 1))"
if [ "$GENERATION" = 0 ]; then
  nic=$(pci_address 0x8086:0x10d3)
  physical=$(pci_address 0x8086:0x10c9)
  step "states in which nothing can be kept"
  expect_refused 'ENOTCONN.*bound to no iommufd' "$nic" open
  expect_refused 'ENOTCONN.*attached to no page table' "$nic" bound
  step "files that are none of VFIO's character devices"
  expect_refused '^vfio_preserve: ENOENT' /dev/iommu file
  expect_refused '^vfio_preserve: ENOENT' "/dev/vfio/$(basename "$(readlink "/sys/bus/pci/devices/$nic/iommu_group")")" file
  step "a next kernel that runs the IOMMU otherwise"
  for words in iommu=strict intel-iommu=sm_on '"intremap=off"' pci=nomsi nointremap iommu.passthrough=1 iommu.strict=1 \
    nosmp maxcpus=0 "$(printf 'x\rintel_iommu=off')"; do
    expect_refused "EPROTO.*next kernel's options" "$nic" attached "$words"
  done
  step "and one that has such words inside quotes, where they are none"
  expect_match "$(vfio_preserve "$nic" attached 'x="a intel_iommu=off" maxcpus=1')" '^preserved'
  step "a device whose DMA bears the bridge's ID"
  expect_refused 'ENOTUNIQ.*second requester ID' "$(pci_address 0x8086:0x100e)" attached
  step "a device that another one can reach past the IOMMU"
  expect_refused 'EUSERS.*not alone in its IOMMU group' "$(pci_address 0x1b36:0x0005 | head -n 1)" attached
  step "a device that translates by itself"
  expect_refused 'EPROTONOSUPPORT.*ATS' "$(pci_address 0x1af4:0x1044)" attached
  step "more tables than $(cat /sys/module/vtd_liveupdate/parameters/max_tables)"
  expect_refused 'EFBIG.*more page table pages' "$nic" scattered ""

  step "a virtual function"
  virtual_functions 1
  expect_refused 'EREMOTE.*virtual function' "$(pci_address 0x8086:0x10ca)" attached
  virtual_functions 0
  step "a physical function that has one"
  echo 1 >/sys/module/vfio_pci/parameters/enable_sriov
  expect_preserved "$physical"
  virtual_functions 1
  expect_refused 'ECHILD.*virtual functions' "$physical" attached
  virtual_functions 0
  step "or has got one since"
  expect_kexec_refused ECHILD "echo 1 >/sys/bus/pci/devices/$physical/sriov_numvfs" "$physical"
  virtual_functions 0
  expect_preserved "$physical"

  step "a page table that is gone since, one that has grown, and a next kernel that was not loaded"
  expect_kexec_refused ENOTCONN detach "$nic"
  expect_kexec_refused EFBIG map "$nic"
  expect_no_faults
  dmesg -c >/dev/null
  expect_kexec_refused EPROTO load "$nic"
  dmesg | grep "the next kernel's command line is not known" || fail "it was refused for another reason"
  step "a device that user space put to sleep by its own register: it is woken up, whatever comes after"
  text=$(vfio_update leave "$(cat /proc/cmdline)" power-down "$nic" || [ $? = 1 ]) || fail "vfio_update ends with $?: $text"
  echo "$text"
  expect_match "$text" '^vfio_update: ENOTCONN'
  expect_match "$text" '^D0'
  step "one that was unloaded, and one that has no Kexec HandOver"
  expect_kexec_refused EINVAL unload "$nic"
  dmesg -c >/dev/null
  expect_kexec_refused EPROTO kexec-load "$nic"
  dmesg | grep "the next kernel's command line is not known" || fail "it was refused for another reason"
  step "a device that is being unbound"
  expect_kexec_refused EBUSY "(echo $nic >/sys/bus/pci/drivers/vfio-pci/unbind &); sleep 0.5" "$nic"
  dmesg | grep 'refused: it is being unbound or removed' || fail "it was refused for another reason"
  wait_until 10 "it is unbound" test ! -e "/sys/bus/pci/devices/$nic/driver"
  step "a device that does not answer: no bus of that number is behind its port for a second"
  port=/sys/bus/pci/devices/$physical/../config
  # PCI-to-PCI bridge 1.2, 3.2.5.3: the secondary bus number.
  bus=$(($(od -An -t u1 -j 25 -N 1 "$port")))
  expect_kexec_refused ENODEV "sh -c '. /lib/e2e.sh; overwrite $port 25 1 0; (sleep 1; overwrite $port 25 1 $bus) &'" "$physical"
  dmesg | grep 'refused: it does not answer any more' || fail "it was refused for another reason"
  wait_until 10 "it answers" sh -c "[ \"\$(od -An -t x2 -N 2 /sys/bus/pci/devices/$physical/config)\" = ' 8086' ]"
  step "two devices that can be kept, at the same time"
  text=$(vfio_update race "$nic" "$physical") || fail "vfio_update ends with $?: $text"
  step "and one"
  expect_preserved "$nic"
  expect_no_faults
fi
step "a kexec that is refused, and one that is not"
case $GENERATION in
  0) vfio_nic e1000e 1 refuse || fail "vfio_nic ends with $?" ;;
  *) vfio_nic e1000e 1 || fail "vfio_nic ends with $?" ;;
esac
expect_no_faults
