#!/bin/sh
# A next kernel that does not find the IOMMU which translates for a kept device: the device is not retrieved, and is
# stopped when the session ends; the old tables are never used for anything else.
. /lib/e2e.sh

nic=$(pci_address 0x8086:0x10d3)
if [ "$GENERATION" = 0 ]; then
  step "a DMAR table that names no IOMMU"
  # VT-d 4.1, 8.1: 48 bytes, then what it names.
  head -c 48 /sys/firmware/acpi/tables/DMAR | replace_table DMAR
  vfio_update leave "$(cat /proc/cmdline)" true "$nic"
  fail "the kernel was not replaced"
fi
[ ! -e /sys/class/iommu/dmar0 ] || fail "the kernel found the IOMMU"
# By the old tables it may go on until then.
expect_bus_master "$nic"
text=$(vfio_update return "$nic") || fail "vfio_update ends with $?: $text"
echo "$text"
expect_match "$text" "^$nic: ENOLINK: "
dmesg | grep "$nic: liveupdate: not taken over: its IOMMU is not driven, and reset" || fail "$nic was not given up"
dmesg | grep 'hardware may still use the old tables' || fail "the old tables were freed"
expect_no_bus_master "$nic"
expect_no_faults
