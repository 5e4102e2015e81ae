#!/usr/bin/env python3
"""Real Linux's handover, read out of memory images by `luoctl inspect`.

A program preserves files in an emulated host. Four images of the host's memory are taken: while all is preserved and
the host runs; in the old kernel's last function, when everything is written down; in the new kernel's first one; and
when the new kernel has read and freed the handover's root and map, and nobody has retrieved a file yet.
What luoctl reads in each is compared with what the program put in: names, tokens, sizes, seals, positions, folios, and
the SHA-256 of each file's contents, which the test host computed itself. In the end the new kernel's program finds its
files too, so that looking did no harm.
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import time

from watched_host import WatchedHost, check, check_sessions, check_unassigned, equal, read_expected, symbols

LUOCTL = "tools/luoctl/luoctl"
SCENARIO = "tests/e2e/scenarios/memory_images.sh"
FILES = {
    "tests/e2e/lib.sh": "/lib/e2e.sh",
    "tests/support/live_update_files/live_update_files": "/sbin/live_update_files",
    "tests/bench/bare_kexec": "/sbin/bare_kexec",
    LUOCTL: "/sbin/luoctl",
}


def inspect(*arguments):
    command = [LUOCTL, "inspect", *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True).stdout


def extracted(file):
    return file["extracted"]


def check_handover(image, expected, work, phase, salvage=False):
    """An image in which the whole handover is written down, or still what it leads to."""
    contents = work / "contents"
    salvaging = ["--salvage"] if salvage else []
    report = json.loads(inspect("--image", image, "--json", "--extract", contents, *salvaging))
    check_sessions(phase, report, expected, extracted)
    shutil.rmtree(contents)
    print(inspect("--image", image, *salvaging).decode(errors="replace"), flush=True)


def check_live(image, expected, work, share):
    """Before the reboot. In the share is what luoctl told in the host itself, a moment before, and what it saved there."""
    contents = work / "contents"
    report = json.loads(inspect("--image", image, "--json", "--extract", contents))
    check_unassigned("live", report, expected, extracted)
    seen_inside = json.loads((share / "live.json").read_text())
    by_mem = json.loads((share / "live_mem.json").read_text())
    equal("what luoctl read in the host", seen_inside["source"], "this kernel, by /proc/kcore")
    equal("what it read there without", by_mem["source"], "this kernel, by /dev/mem")
    check_unassigned("live, in the host", seen_inside, expected, lambda file: share / file["extracted"][len("/share/"):])
    check(seen_inside["memory_bytes"] > 400 << 20, "the host's luoctl saw no memory:", seen_inside["notes"])
    for name in ["address", "preserved_by_bytes", "subtrees", "kexec", "luo", "problems"]:
        equal("live, in the host: " + name, seen_inside["handovers"][0][name], report["handovers"][0][name])
        equal("live, by /dev/mem: " + name, by_mem["handovers"][0][name], report["handovers"][0][name])
    shutil.rmtree(contents)


def main():
    keep = os.environ.get("KEEP_IMAGES")
    machine_kexec, start_kernel = symbols(sys.argv[1], "machine_kexec", "start_kernel")
    options = ["--memory", "512M", "--append", "kho_scratch=16M,96M,32M"]
    if "TEST_FILES" in os.environ:
        options += ["--append", "e2e.files=" + os.environ["TEST_FILES"]]
    with WatchedHost(SCENARIO, FILES, options) as host:
        work, share = host.work, host.share
        image = work / "image"
        host.wait_for("the files are preserved", "ready")
        expected = read_expected(share)
        qmp = host.monitor()
        debugger = host.debugger()

        def take_image(name):
            start = time.monotonic()
            image.unlink(missing_ok=True)
            qmp.command("dump-guest-memory", paging=False, protocol="file:%s" % image)
            print("== image %s: %.1f s" % (name, time.monotonic() - start), flush=True)
            if keep:
                shutil.copy(image, pathlib.Path(keep) / name)

        take_image("live")
        if not keep:
            check(len(expected) > 200, "only", len(expected), "files were preserved")
            check_live(image, expected, work, share)
        debugger.set_breakpoint(machine_kexec)
        debugger.go_on()
        (share / "go").touch()
        debugger.wait_until_stopped()
        debugger.remove_breakpoint(machine_kexec)
        take_image("leaving")
        if not keep:
            check_handover(image, expected, work, "leaving the old kernel")
        debugger.set_breakpoint(start_kernel)
        debugger.go_on()
        debugger.wait_until_stopped()
        debugger.remove_breakpoint(start_kernel)
        take_image("arrived")
        if not keep:
            check_handover(image, expected, work, "entering the new kernel")
        debugger.detach()
        host.wait_for("the new kernel is up", "up")
        take_image("read")
        if not keep:
            check_handover(image, expected, work, "salvaged from the new kernel", salvage=True)
        (share / "retrieve").touch()
        host.expect_success()


if __name__ == "__main__":
    main()
