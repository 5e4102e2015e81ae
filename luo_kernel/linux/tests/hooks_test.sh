#!/usr/bin/env bash
# The hooks in Linux's own files are few, say what they are for, and fit; one that does not fit is named; and the pristine
# source is never written to.
set -euo pipefail
source luo_kernel/linux/tests/lib.sh
patches=(luo_kernel/linux/patches/*.patch)

changed=$(cat "${patches[@]}" | grep -cE '^[-+]([^-+]|$)')
echo "${#patches[@]} patches change $changed lines"
((changed > 0 && changed < 80)) || fail "hooks change $changed lines of Linux, 80 or more"
for patch in "${patches[@]}"; do
  sed -n '3,/^---/p' "$patch" | grep -q '^Hooks\?[:,]' || fail "$patch does not say what its hook is for"
done

linux=$(linux_source) || exit 0
work=$(mktemp -d "${TEST_TMPDIR:-/tmp}/hooks.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir "$work/linux"
# Only what the hooks touch.
unusual=luo_kernel/linux/tests/unusual-hardware.patch
(cd "$linux" && sed -n 's|^--- a/||p' "$OLDPWD"/luo_kernel/linux/patches/*.patch "$OLDPWD/$unusual" | sort -u |
  xargs cp --parents -t "$work/linux")
sums() { (cd "$1" && find . -type f | sort | xargs sha256sum); }

before=$(sums "$work/linux")
tools/host_kernel/patched_source "$work/linux" "$work/copy"
[[ $(sums "$work/linux") == "$before" ]] || fail "the pristine source was written to"
[[ -e $work/copy/drivers/vfio/pci/liveupdate/handler.c ]] || fail "our files are not in the copy"
tools/host_kernel/patched_source "$work/linux" "$work/wrong" luo_kernel/linux/tests/translation-dropped.patch
cmp -s {"$work/wrong","$work/copy"}/drivers/iommu/intel/liveupdate/incoming.c &&
  fail "a test's patch changed nothing"
tools/host_kernel/patched_source "$work/linux" "$work/unusual" "$unusual"
grep -q pretend "$work/unusual/drivers/iommu/intel/dmar.c" || fail "a test's patch changed nothing"
grep -q intel_liveupdate_shutdown "$work/copy/drivers/iommu/intel/iommu.c" || fail "a hook is not in the copy"

sed -i 's/PCI_D3hot/PCI_D3warm/' "$work/linux/drivers/pci/pci-driver.c"
if output=$(tools/host_kernel/patched_source "$work/linux" "$work/misfit" 2>&1); then
  fail "a hook was forced where it does not fit"
fi
grep -q 0004-pci-shutdown-bus-master.patch <<<"$output" || fail "the misfit is not named: $output"
grep -q 'preserved devices' <<<"$output" || fail "the misfit's purpose is not said: $output"
