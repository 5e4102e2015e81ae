# Measures what the real kernel takes for a folio, and in the same run, by the same emulated processor, what luo_kernel in
# user space does.
. /lib/e2e.sh

if [ "$GENERATION" = 0 ]; then
  step "luo_kernel in user space"
  kho_bench --max_gib=1
  step "Linux, before the kexec"
  folio_cost preserve >/run/preserve 2>&1 &
  wait_until 60 "everything is preserved: $(cat /run/preserve)" grep -q '^held' /run/preserve
  grep '^FIGURE' /run/preserve
  bare_kexec /share/boot/bzImage /share/boot/initrd /share/kexec_tsc
  fail "bare_kexec came back"
fi
step "Linux, after it"
folio_cost retrieve
