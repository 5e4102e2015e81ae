#!/bin/sh
# A NIC that a program drives by VFIO goes on receiving while the host's kernel is replaced, any number of times; the
# host's own disk, where it has one behind the same IOMMU, comes up as ever.
. /lib/e2e.sh

touch "/share/vfio.ended.$((GENERATION - 1))"
[ "$(parameter host_disk no)" = no ] || expect_host_disk
expect_iommu_mode
step "vfio_nic"
PRETEND=$(pretended)
export PRETEND
vfio_nic "$(parameter nic e1000e)" "$(parameter updates 1)" || fail "vfio_nic ends with $?: $(dmesg | tail -n 30)"
expect_no_faults
