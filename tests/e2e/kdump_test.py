#!/usr/bin/env python3
"""What a kernel that panicked had in its hands, read by its crash kernel out of /proc/vmcore.

    kdump_test.py running     it panics while all is preserved: the files are found, which no session names yet
    kdump_test.py updated     it is the next kernel, and panics before anyone asks for a session: --salvage finds all

In reboot(KEXEC), where sessions are written down, Linux does not start a crash kernel: kexec's lock is taken.
The panic is a non-maskable interrupt's, which QEMU gives (unknown_nmi_panic). What luoctl found is compared with what
the program put in, contents too.
"""

import json
import sys

from watched_host import WatchedHost, check, check_sessions, check_unassigned, equal, read_expected

FILES = {
    "tests/e2e/lib.sh": "/lib/e2e.sh",
    "tests/support/live_update_files/live_update_files": "/sbin/live_update_files",
    "tests/support/crash_kernel/load_crash_kernel": "/sbin/load_crash_kernel",
    "tests/bench/bare_kexec": "/sbin/bare_kexec",
    "tools/luoctl/luoctl": "/sbin/luoctl",
}


def main():
    where, = sys.argv[1:]
    # A kernel that came by KHO takes the memory for its crash kernel from scratch memory.
    options = ["--memory", "1G", "--append", "kho_scratch=16M,256M,32M crashkernel=128M unknown_nmi_panic",
               "--append", "e2e.where=" + where]
    with WatchedHost("tests/e2e/scenarios/kdump.sh", FILES, options) as host:
        share = host.share
        host.wait_for("the crash kernel is loaded", "ready")
        expected = read_expected(share)
        check(len(expected) > 200, "only", len(expected), "files were preserved")
        host.monitor().command("inject-nmi")
        host.expect_success()

        equal("kernels", int((share / "generation").read_text()), {"running": 2, "updated": 3}[where])
        report = json.loads((share / "vmcore.json").read_text())
        equal("the image", report["source"], "/proc/vmcore")
        check(report["kernel"].startswith("7."), "the crashed kernel's release:", report["kernel"])
        # All but the crash kernel's own 128 MiB, and some for firmware.
        check(report["memory_bytes"] > 880 << 20, "memory:", report["memory_bytes"])
        compare = {"running": check_unassigned, "updated": check_sessions}[where]
        compare("/proc/vmcore", report, expected, lambda file: share / file["extracted"][len("/share/"):])
        print((share / "inspect.log").read_text(errors="replace"))


if __name__ == "__main__":
    main()
