#!/usr/bin/env python3
"""Real Linux's handover, read out of memory images by `luoctl inspect`.

A program preserves files in an emulated host. Four images of the host's memory are taken: while all is preserved and
the host runs; in the old kernel's last function, when everything is written down; in the new kernel's first one; and
when the new kernel has read and freed the handover's root and map, and nobody has retrieved a file yet.
What luoctl reads in each is compared with what the program put in: names, tokens, sizes, seals, positions, folios, and
the SHA-256 of each file's contents, which the test host computed itself. In the end the new kernel's program finds its
files too, so that looking did no harm.
"""

import hashlib
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

LUOCTL = "tools/luoctl/luoctl"
SCENARIO = "tests/e2e/scenarios/memory_images.sh"
FILES = {
    "tests/e2e/lib.sh": "/lib/e2e.sh",
    "tests/support/live_update_files/live_update_files": "/sbin/live_update_files",
    "tests/bench/bare_kexec": "/sbin/bare_kexec",
    LUOCTL: "/sbin/luoctl",
}
# Far more than any step needs.
PATIENCE = 200


def wait_for(what, condition, process):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert process.poll() is None, "the test host ended before: " + what
        assert time.monotonic() < deadline, "not in time: " + what
        time.sleep(0.05)


def connect(path):
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(PATIENCE)
    connection.connect(str(path))
    return connection


class Qmp:
    """QEMU's monitor (its docs/interop/qmp-spec.rst)."""

    def __init__(self, path):
        self.stream = connect(path).makefile("rw")
        assert "QMP" in json.loads(self.stream.readline())
        self.command("qmp_capabilities")

    def command(self, name, **arguments):
        self.stream.write(json.dumps({"execute": name, "arguments": arguments}) + "\n")
        self.stream.flush()
        while True:
            answer = json.loads(self.stream.readline())
            assert "error" not in answer, (name, answer)
            if "return" in answer:
                return answer["return"]


class Debugger:
    """As much of GDB's remote protocol as stops the emulated host's CPU at an address."""

    def __init__(self, path):
        self.socket = connect(path)  # Stops the CPU.
        self.ask("?")

    def send(self, packet):
        self.socket.sendall(b"$%s#%02x" % (packet.encode(), sum(packet.encode()) & 0xFF))

    def receive(self):
        packet = b""
        while True:
            byte = self.socket.recv(1)
            assert byte, "QEMU closed the debugger's connection"
            if byte == b"$":
                packet = b""
            elif byte == b"#":
                self.socket.recv(2)
                self.socket.sendall(b"+")
                return packet.decode()
            else:
                packet += byte

    def ask(self, packet):
        self.send(packet)
        return self.receive()

    def set_breakpoint(self, address):
        assert self.ask("Z1,%x,1" % address) == "OK"

    def remove_breakpoint(self, address):
        assert self.ask("z1,%x,1" % address) == "OK"

    def go_on(self):
        self.send("c")

    def wait_until_stopped(self):
        stop = self.receive()
        assert stop.startswith("T05"), stop

    def detach(self):
        self.ask("D")
        self.socket.close()


def symbols(vmlinux, *names):
    lines = subprocess.run(["nm", vmlinux], check=True, capture_output=True, text=True).stdout.splitlines()
    table = {line.split()[2]: int(line.split()[0], 16) for line in lines if len(line.split()) == 3}
    return [table[name] for name in names]


def inspect(*arguments):
    command = [LUOCTL, "inspect", *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True).stdout


def check(condition, *what):
    if not condition:
        print("FAIL:", *what, flush=True)
        sys.exit(1)


def equal(what, found, expected):
    check(found == expected, what, "is", found, "and not", expected)


def read_expected(share):
    """{(session's bytes in hexadecimal, token): the rest} of what the program preserved."""
    files = {}
    for line in (share / "expected").read_text().splitlines():
        session, token, size, seals, position, huge, digest = line.split()
        files[session, int(token, 16)] = {
            "size": int(size), "seals": int(seals), "position": int(position), "huge": huge == "1", "sha256": digest}
    check(len(files) > 200, "only", len(files), "files were preserved")
    return files


def check_handover(image, expected, work, phase, salvage=False):
    """An image in which the whole handover is written down, or still what it leads to."""
    contents = work / "contents"
    salvaging = ["--salvage"] if salvage else []
    report = json.loads(inspect("--image", image, "--json", "--extract", contents, *salvaging))
    handovers = [handover for handover in report["handovers"] if handover["luo"] and handover["luo"]["sessions"]]
    equal("%s: how many handovers have sessions" % phase, len(handovers), 1)
    handover = handovers[0]
    equal("%s: what is wrong" % phase, handover["problems"], [])
    equal("%s: KHO" % phase, handover["compatible"], "kho-v4")
    equal("%s: LUO" % phase, handover["luo"]["compatible"], "luo-v5")
    sessions = handover["luo"]["sessions"]
    equal("%s: sessions" % phase, {session["name_hex"] for session in sessions},
          {session for session, _ in expected} | {b"without files".hex()})
    found = {(session["name_hex"], int(file["token"], 16)): file for session in sessions for file in session["files"]}
    equal("%s: files" % phase, set(found), set(expected))
    for key, file in found.items():
        wanted = expected[key]
        equal("%s: handler of %s" % (phase, key), file["compatible"], "memfd-v2")
        memfd = file["memfd"]
        # The kernel sets F_SEAL_EXEC by itself.
        equal("%s: seals of %s" % (phase, key), memfd["seals"] & ~0x20, wanted["seals"])
        for name in ["size", "position"]:
            equal("%s: %s of %s" % (phase, name, key), memfd[name], wanted[name])
        if wanted["huge"]:
            equal("%s: folios of %s" % (phase, key), memfd["folios_by_bytes"], {str(2 << 20): wanted["size"] >> 21})
        else:
            equal("%s: folios of %s" % (phase, key), sum(int(size) * count for size, count in
                  memfd["folios_by_bytes"].items()), (wanted["size"] + 4095) // 4096 * 4096)
        digest = hashlib.sha256(pathlib.Path(file["extracted"]).read_bytes()).hexdigest()
        equal("%s: contents of %s" % (phase, key), digest, wanted["sha256"])
    shutil.rmtree(contents)
    print("== %s: %d sessions, %d files, contents right, nothing wrong" % (phase, len(sessions), len(found)), flush=True)
    print(inspect("--image", image, *salvaging).decode(errors="replace"), flush=True)


def check_live(image, expected, work, seen_inside):
    """Before the reboot: all files but the empty ones are found, though no session names them yet.

    `seen_inside` is what luoctl told in the host itself, a moment before.
    """
    contents = work / "contents"
    report = json.loads(inspect("--image", image, "--json", "--extract", contents))
    check(seen_inside["memory_bytes"] > 400 << 20, "the host's luoctl saw no memory:", seen_inside["notes"])
    for name in ["address", "preserved_by_bytes", "subtrees", "kexec", "luo", "problems"]:
        equal("live, in the host: " + name, seen_inside["handovers"][0][name], report["handovers"][0][name])
    handover = [handover for handover in report["handovers"] if handover["luo"]][0]
    equal("live: what is wrong", handover["problems"], [])
    equal("live: sessions", handover["luo"]["sessions"], [])
    found = []
    for file in handover["unassigned"]:
        digest = hashlib.sha256(pathlib.Path(file["extracted"]).read_bytes()).hexdigest()
        found.append((file["memfd"]["size"], file["memfd"]["seals"] & ~0x20, file["memfd"]["position"], digest))
    wanted = [(file["size"], file["seals"], file["position"], file["sha256"])
              for file in expected.values() if file["size"] != 0]
    equal("live: files", sorted(found), sorted(wanted))
    huge = sum(wanted["size"] >> 21 for wanted in expected.values() if wanted["huge"])
    equal("live: huge folios", handover["preserved_by_bytes"].get(str(2 << 20), 0), huge)
    shutil.rmtree(contents)
    print("== live: %d files found, contents right" % len(found), flush=True)


def main():
    work = pathlib.Path(tempfile.mkdtemp(prefix="images-", dir=os.environ.get("TEST_TMPDIR", "/tmp")))
    # A socket's path has room for 107 bytes.
    sockets = pathlib.Path(tempfile.mkdtemp(prefix="images-", dir="/tmp"))
    keep = os.environ.get("KEEP_IMAGES")
    share = work / "share"
    share.mkdir()
    vmlinux = sys.argv[1]
    machine_kexec, start_kernel = symbols(vmlinux, "machine_kexec", "start_kernel")
    command = ["tools/test_host/run", "--script", SCENARIO, "--share", share, "--timeout", "250", "--memory", "512M",
               "--append", "kho_scratch=16M,96M,32M"]
    for source, destination in FILES.items():
        command += ["--file", "%s:%s" % (source, destination)]
    for argument in ["-qmp", "unix:%s/qmp,server=on,wait=off" % sockets, "-chardev",
                     "socket,path=%s/gdb,server=on,wait=off,id=gdb" % sockets, "-gdb", "chardev:gdb"]:
        command += ["--qemu-arg", argument]
    # A session of its own, so that QEMU goes with the script that started it.
    host = subprocess.Popen(list(map(str, command)), stdin=subprocess.DEVNULL, start_new_session=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    try:
        image = work / "image"
        wait_for("the files are preserved", (share / "ready").exists, host)
        expected = read_expected(share)
        qmp = Qmp(sockets / "qmp")
        debugger = Debugger(sockets / "gdb")

        def take_image(name):
            start = time.monotonic()
            image.unlink(missing_ok=True)
            qmp.command("dump-guest-memory", paging=False, protocol="file:%s" % image)
            print("== image %s: %.1f s" % (name, time.monotonic() - start), flush=True)
            if keep:
                shutil.copy(image, pathlib.Path(keep) / name)

        take_image("live")
        if not keep:
            check_live(image, expected, work, json.loads((share / "live.json").read_text()))
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
        wait_for("the new kernel is up", (share / "up").exists, host)
        take_image("read")
        if not keep:
            check_handover(image, expected, work, "salvaged from the new kernel", salvage=True)
        (share / "retrieve").touch()
        equal("the test host's exit code", host.wait(PATIENCE), 0)
    finally:
        if host.poll() is None:
            os.killpg(host.pid, signal.SIGTERM)
            host.wait()
        shutil.rmtree(work)
        shutil.rmtree(sockets)


if __name__ == "__main__":
    main()
