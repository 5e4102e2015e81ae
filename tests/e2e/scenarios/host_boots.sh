#!/bin/sh
# The test host alone: what the other scenarios build on is there.
. /lib/e2e.sh

step "devices and kernel"
expect_match "$(uname -r)" '^7\.3\.'
[ -c /dev/kvm ] || fail "no /dev/kvm: $(dmesg | grep -i kvm)"
[ -c /dev/liveupdate ] || fail "no /dev/liveupdate: $(dmesg | grep -iE 'luo|kho')"
expect_match "$(cat /sys/kernel/mm/transparent_hugepage/shmem_enabled)" '\[advise\]'

step "IOMMU groups"
[ -n "$(ls /sys/kernel/iommu_groups)" ] || fail "no IOMMU group"

step "KHO has its scratch memory"
expect_match "$(dmesg)" 'KHO: .*scratch areas: lowmem'

step "the TSC is the clock, at the frequency that was told"
expect_match "$(cat /sys/devices/system/clocksource/clocksource0/current_clocksource)" '^tsc'
khz=$(sed -n 's/.*tsc_early_khz=\([0-9]*\).*/\1/p' /proc/cmdline)
expect_match "$(dmesg)" "tsc: Detected $((khz / 1000))\.$(printf %03d $((khz % 1000))) MHz"

step "the next kernel's images are at hand"
for image in bzImage initrd; do
  [ -s /share/boot/$image ] || fail "no /share/boot/$image"
done
