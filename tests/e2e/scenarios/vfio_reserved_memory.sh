#!/bin/sh
# Firmware that reserves memory for devices: the kernel is started again with an ACPI DMAR table that says so, for a NIC
# and for a USB controller. Mainline lets user space have the latter only (RMRRs of USB are for the boot keyboard), and
# that one cannot be preserved.
. /lib/e2e.sh

nic=$(pci_address 0x8086:0x10d3)
usb=$(pci_address 0x1b36:0x000d)

# little_endian BYTES NUMBER: prints escapes for printf.
little_endian() {
  number=$(($2))
  for _ in $(seq "$1"); do
    printf '\\%03o' $((number & 255))
    number=$((number >> 8))
  done
}

# device_scope ADDRESS: VT-d 4.1, 8.3.1: a PCI endpoint, 8 bytes long, on bus 0, at this device and function.
device_scope() {
  place=${1##*:}
  printf '\001\010\000\000\000\000'
  # shellcheck disable=SC2059  # Escapes.
  printf "$(little_endian 1 "0x${place%.*}")$(little_endian 1 "${place#*.}")"
}

# reserved_memory START END: VT-d 4.1, 8.4: type 1, 24 bytes and two scopes, segment 0.
reserved_memory() {
  # shellcheck disable=SC2059  # Escapes.
  printf "$(little_endian 2 1)$(little_endian 2 40)$(little_endian 4 0)$(little_endian 8 "$1")$(little_endian 8 "$2")"
  device_scope "$nic"
  device_scope "$usb"
}

# overwrite FILE OFFSET BYTES NUMBER
overwrite() {
  # shellcheck disable=SC2059  # Escapes.
  printf "$(little_endian "$3" "$4")" | dd of="$1" bs=1 seek="$2" conv=notrunc 2>/dev/null
}

# change_table FILE: ACPI 6.5, 5.2.6: length, checksum and OEM revision, which must be higher than that of the machine's.
change_table() {
  revision=$(od -An -t u4 -j 24 -N 4 "$1")
  overwrite "$1" 4 4 "$(wc -c <"$1")"
  overwrite "$1" 24 4 $((revision + 1))
  overwrite "$1" 9 1 0
  overwrite "$1" 9 1 "-($(od -An -v -t u1 "$1" | tr -s ' \n' '+' | sed 's/^+//; s/+$//'))"
}

if [ "$GENERATION" = 0 ]; then
  vfio_preserve "$usb" attached || fail "a USB controller without reserved memory is refused"
  step "a DMAR table with reserved memory, for $nic and $usb"
  mkdir -p /tmp/new/kernel/firmware/acpi
  table=/tmp/new/kernel/firmware/acpi/DMAR.aml
  # In memory that the machine reserves: its firmware's ROM, below 1 MiB.
  { cat /sys/firmware/acpi/tables/DMAR && reserved_memory 0xf0000 0xfffff; } >$table
  change_table $table
  cp /share/boot/initrd /tmp/initrd
  { (cd /tmp/new && find kernel | cpio -o -H newc 2>/dev/null) && cat /tmp/initrd; } >/share/boot/initrd
  vfio_nic e1000e 1 ignore || fail "vfio_nic ends with $?"
fi
dmesg | grep 'DMAR: RMRR' || fail "the kernel has not seen the new table"
if dmesg | grep 'Firmware Bug.*RMRR'; then fail "the table is wrong"; fi
if text=$(vfio_preserve "$usb" attached); then fail "the kernel preserves $usb"; fi
echo "$text"
expect_match "$text" '^vfio_preserve: EADDRINUSE:'
if text=$(vfio_preserve "$nic" attached); then fail "the kernel preserves $nic"; fi
echo "$text"
expect_match "$text" '^vfio_preserve: EINVAL: bind .*firmware reserves memory'
expect_no_faults
