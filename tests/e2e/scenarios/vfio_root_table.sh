#!/bin/sh
# What the next kernel finds in the IOMMU's tables: of all buses, that with the device that was kept, and no entry that points
# to memory which is that kernel's to use. Looked at in memory, before anybody has taken the device over.
. /lib/e2e.sh

nic=$(pci_address 0x8086:0x10d3)

# VT-d 4.1, 11.4.5: the root table's address.
root_table() {
  base=$(dmesg | sed -n 's/.*DMAR: dmar0: reg_base_addr \([0-9a-f]*\) .*/\1/p')
  echo "$(($(devmem $((0x$base + 0x20)) 64) & ~0xfff))"
}

# buses TABLE: prints the buses with an entry in the root table, for the lower functions or for the upper ones. VT-d 4.1, 9.1
# and 9.2: 16 bytes for each bus, of which bits 0 and 64 are "present".
buses() {
  dd if=/dev/mem bs=4096 skip=$(($1 >> 12)) count=1 2>/dev/null | od -An -v -t x8 -w16 |
    awk '/[13579bdf] / || /[13579bdf]$/ { printf "%s%d", separator, NR - 1; separator = " " }'
}

if [ "$GENERATION" = 0 ]; then
  root_table >/share/root_table
  step "the root table is at $(cat /share/root_table), with entries for buses: $(buses "$(cat /share/root_table)")"
  expect_match "$(buses "$(cat /share/root_table)")" '^0 1'
  expect_equal "the bus of $nic" "${nic#0000:}" 01:00.0
  vfio_update leave "$(cat /proc/cmdline)" : "$nic" || :
  fail "the kernel was not replaced"
fi
old=$(cat /share/root_table)
expect_equal "the buses in the root table of the kernel before, at $old," "$(buses "$old")" 1
new=$(root_table)
[ "$new" != "$old" ] || fail "this kernel goes on with the root table of the one before, at $new"
expect_match "$(buses "$new")" '^0 1'
text=$(vfio_update return "$nic") || fail "vfio_update ends with $?: $text"
echo "$text"
expect_match "$text" "^$nic: attached"
expect_no_faults
