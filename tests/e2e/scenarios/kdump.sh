# The kernel panics while the test files are preserved, or, with e2e.where=updated, the kernel that they were handed over
# to, before anyone asked for them; its crash kernel reads them out of its memory. tests/e2e/kdump_test.py makes it panic,
# and looks at what was read.
. /lib/e2e.sh

if [ "$(parameter where running)" = updated ]; then panics=1; else panics=0; fi

if [ "$GENERATION" = 0 ]; then
  step "preserve"
  preserve_test_files
  if [ $panics = 1 ]; then
    step "kexec"
    bare_kexec /share/boot/bzImage /share/boot/initrd /run/tsc
  fi
fi

if [ "$GENERATION" = $panics ]; then
  step "load the crash kernel"
  # Without what is this kernel's own: memory for the crash kernel, KHO, the way to make it panic.
  line=$(sed -E 's/ (crashkernel|kho|kho_scratch|liveupdate|unknown_nmi_panic)(=[^ ]*)?//g' /proc/cmdline)
  load_crash_kernel /share/boot/bzImage /share/boot/initrd "$line"
  expect_equal "kexec_crash_loaded" "$(cat /sys/kernel/kexec_crash_loaded)" 1
  touch /share/ready
  wait_until 200 "the kernel panics" false
fi

step "the crash kernel"
[ -r /proc/vmcore ] || fail "no /proc/vmcore: this is no crash kernel"
# Nothing of the other kernel's is taken for this one's own.
rc=0
own=$(luoctl inspect 2>&1) || rc=$?
echo "$own"
expect_equal "the exit code of luoctl inspect" "$rc" 1
expect_match "$own" 'no handover is in memory'
expect_match "$own" 'luoctl inspect /proc/vmcore shows'
salvage=''
if [ $panics = 1 ]; then salvage=--salvage; fi
luoctl inspect /proc/vmcore --json --extract /share/contents $salvage >/share/vmcore.json
step "read"
luoctl inspect /proc/vmcore $salvage >/share/inspect.log
