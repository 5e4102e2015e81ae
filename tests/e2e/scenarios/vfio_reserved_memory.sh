#!/bin/sh
# Firmware that reserves memory for devices: the kernel is started again with an ACPI DMAR table that says so, for a NIC
# and for a USB controller. Mainline lets user space have the latter only (RMRRs of USB are for the boot keyboard), and
# that one cannot be preserved: nor can it without such memory, for another reason.
. /lib/e2e.sh

nic=$(pci_address 0x8086:0x10d3)
usb=$(pci_address 0x1b36:0x000d)

# device_scope ADDRESS: VT-d 4.1, 8.3.1: a PCI endpoint, 8 bytes long, on bus 0, at this device and function.
device_scope() {
  place=${1##*:}
  little_endian 6 0x0801
  little_endian 1 "0x${place%.*}"
  little_endian 1 "${place#*.}"
}

# reserved_memory START LAST: VT-d 4.1, 8.4: type 1, 24 bytes and two scopes, segment 0.
reserved_memory() {
  little_endian 2 1
  little_endian 2 40
  little_endian 4 0
  little_endian 8 "$1"
  little_endian 8 "$2"
  device_scope "$nic"
  device_scope "$usb"
}

# expect_refused PATTERN ADDRESS
expect_refused() {
  if text=$(vfio_preserve "$2" attached); then fail "the kernel preserves $2"; fi
  echo "$text"
  expect_match "$text" "^vfio_preserve: $1"
}

if [ "$GENERATION" = 0 ]; then
  expect_refused 'EOPNOTSUPP:.*USB controller' "$usb"
  dmesg | grep 'refused: it is a USB controller (-95)' || fail "it was refused for another reason"
  step "a DMAR table with reserved memory, for $nic and $usb"
  # In memory that the machine reserves: its firmware's ROM, below 1 MiB.
  { cat /sys/firmware/acpi/tables/DMAR && reserved_memory 0xf0000 0xfffff; } | replace_table DMAR
  vfio_nic e1000e 1 ignore || fail "vfio_nic ends with $?"
fi
dmesg | grep 'DMAR: RMRR' || fail "the kernel has not seen the new table"
if dmesg | grep 'Firmware Bug.*RMRR'; then fail "the table is wrong"; fi
expect_refused 'EADDRINUSE:' "$usb"
expect_refused 'EINVAL: bind .*firmware reserves memory' "$nic"
expect_no_faults
