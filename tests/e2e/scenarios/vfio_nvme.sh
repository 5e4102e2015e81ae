#!/bin/sh
# An NVMe disk that a program drives by VFIO ends its commands while the host's kernel is replaced, and the host's own
# disk, behind the same IOMMU, comes up as ever.
. /lib/e2e.sh

touch "/share/vfio.ended.$((GENERATION - 1))"

expect_host_disk
step "vfio_nvme"
vfio_nvme "$(parameter updates 0)" || fail "vfio_nvme ends with $?: $(dmesg | tail -n 30)"
expect_no_faults
