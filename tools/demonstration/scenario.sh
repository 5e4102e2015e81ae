#!/bin/sh
# The demonstration, in the test host. It only collects: what the evidence says is judged by
# tools/demonstration/report, from these files under /share/evidence:
#
#   kernel.N, boot-id.N    of the host's kernel N, counted from power-on
#   bare.manifest          luod's record of an update with no guest: the bare kexec
#   update.manifest        luod's record of the update under the guest
#   frames.started         frame_map of the guest's RAM once its workload runs
#   frames.before, .after  the same right before and right after the update
#   tsc-offset.before, .after   what KVM adds to the host's TSC for the guest, in ticks
#
# and from what the guest printed, /share/web1.console.log.
. /lib/e2e.sh

evidence=/share/evidence
mkdir -p $evidence
uname -r >"$evidence/kernel.$GENERATION"
cp /proc/sys/kernel/random/boot_id "$evidence/boot-id.$GENERATION"

# keep_frames WHEN
keep_frames() { frame_map "$(pidof vmm | cut -d' ' -f1)" >"$evidence/frames.$1"; }
# keep_tsc_offset WHEN: that of the vCPU on which the guest watches its clocks, the last one.
keep_tsc_offset() {
  cat /sys/kernel/debug/kvm/*/vcpu"$(($(parameter cpus 2) - 1))"/tsc-offset >"$evidence/tsc-offset.$1"
}
# The heartbeats around the update want to be seen.
let_it_beat() { sleep 2; }

workload="workload.memory_percent=70 workload.heartbeat_ms=250"
case $GENERATION in
  0)
    wait_for_luod
    step "the host kexecs its own kernel, with no guest: the bare kexec"
    upgrade
    ;;
  1)
    wait_for_luod
    cp /run/luod/manifest $evidence/bare.manifest
    step "the guest boots Debian's stock kernel"
    # shellcheck disable=SC2046  # Words on purpose.
    start_vm web1 $(stock_guest) --cpus "$(parameter cpus 2)" --memory "$(parameter memory 512M)" \
      --cmdline "console=ttyS0 quiet reboot=t panic=-1 tsc=reliable $workload"
    wait_for_line web1 '^WORKLOAD ready' 240
    expect_running web1
    keep_frames started
    step "the guest is under load; the update is rehearsed"
    luoctl upgrade --rehearse --timeout 60s --kernel /share/boot/bzImage --initrd /share/boot/initrd --reuse-cmdline
    keep_frames before
    keep_tsc_offset before
    ask web1 reset-gap '^RESET-GAP' 30
    let_it_beat
    step "the host's kernel is replaced under the guest"
    upgrade
    ;;
  *)
    expect_running web1
    cp /run/luod/manifest $evidence/update.manifest
    attach web1
    expect_alive web1
    let_it_beat
    step "the guest goes on; every byte of its memory is compared"
    keep_frames after
    keep_tsc_offset after
    ask web1 verify '^VERIFY' 240
    ask web1 fpu '^FPU' 30
    ask web1 status '^STATUS' 30
    luoctl status
    step "the guest switches itself off"
    send web1 poweroff
    wait_until 60 "vmm ends" sh -c '! pidof vmm'
    ;;
esac
