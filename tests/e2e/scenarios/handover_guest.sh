# A guest's kernel finds a handover in its memory that luo_kernel wrote, and takes it for a kernel's own.
. /lib/e2e.sh

for what in retrieve leave; do
  step "$what"
  handover_guest /share/guest/bzImage /share/guest/initramfs "$what" </dev/null || fail "handover_guest $what: $?"
done
