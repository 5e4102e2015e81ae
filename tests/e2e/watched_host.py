"""An emulated host that is watched from outside: QEMU's monitor and debugger, and what luoctl should find in its memory.

For the tests beside this file. The host runs the scenario given, in which live_update_files preserves the test files
and tests/e2e/lib.sh's preserve_test_files() writes down what they hold.
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

# Far more than any step needs, in seconds.
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
        try:
            self.ask("D")
        except ConnectionError:
            pass  # QEMU may close the connection before its answer is acknowledged.
        self.socket.close()


def symbols(vmlinux, *names):
    lines = subprocess.run(["nm", vmlinux], check=True, capture_output=True, text=True).stdout.splitlines()
    table = {line.split()[2]: int(line.split()[0], 16) for line in lines if len(line.split()) == 3}
    return [table[name] for name in names]


class WatchedHost:
    """The host as long as a `with` lasts: `share` is its share, `work` a folder for the test's own."""

    def __init__(self, scenario, files, options, timeout=250):
        self.work = pathlib.Path(tempfile.mkdtemp(prefix="watched-", dir=os.environ.get("TEST_TMPDIR", "/tmp")))
        # A socket's path has room for 107 bytes.
        self.sockets = pathlib.Path(tempfile.mkdtemp(prefix="watched-", dir="/tmp"))
        self.share = self.work / "share"
        self.share.mkdir()
        command = ["tools/test_host/run", "--script", scenario, "--share", self.share, "--timeout", timeout, *options]
        for source, destination in files.items():
            command += ["--file", "%s:%s" % (source, destination)]
        for argument in ["-qmp", "unix:%s/qmp,server=on,wait=off" % self.sockets, "-chardev",
                         "socket,path=%s/gdb,server=on,wait=off,id=gdb" % self.sockets, "-gdb", "chardev:gdb"]:
            command += ["--qemu-arg", argument]
        # A session of its own, so that QEMU goes with the script that started it.
        self.process = subprocess.Popen(list(map(str, command)), stdin=subprocess.DEVNULL, start_new_session=True)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
        shutil.rmtree(self.work)
        shutil.rmtree(self.sockets)

    def wait_for(self, what, name):
        """Until the scenario makes the file `name` in the share."""
        wait_for(what, (self.share / name).exists, self.process)

    def monitor(self):
        return Qmp(self.sockets / "qmp")

    def debugger(self):
        return Debugger(self.sockets / "gdb")

    def expect_success(self):
        equal("the test host's exit code", self.process.wait(PATIENCE), 0)


def sha256(path):
    return hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()


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
    return files


def check_sessions(phase, report, expected, contents):
    """A report on memory in which all sessions are written down. `contents`: a file of the report to its path here."""
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
        equal("%s: contents of %s" % (phase, key), sha256(contents(file)), wanted["sha256"])
    print("== %s: %d sessions, %d files, contents right, nothing wrong" % (phase, len(sessions), len(found)), flush=True)


def check_unassigned(phase, report, expected, contents):
    """A report on memory of before the reboot: all files but the empty ones are found, though no session names them yet."""
    handovers = [handover for handover in report["handovers"] if handover["luo"]]
    equal("%s: how many handovers have LUO" % phase, len(handovers), 1)
    handover = handovers[0]
    equal("%s: what is wrong" % phase, handover["problems"], [])
    equal("%s: sessions" % phase, handover["luo"]["sessions"], [])
    found = [(file["memfd"]["size"], file["memfd"]["seals"] & ~0x20, file["memfd"]["position"], sha256(contents(file)))
             for file in handover["unassigned"]]
    wanted = [(file["size"], file["seals"], file["position"], file["sha256"])
              for file in expected.values() if file["size"] != 0]
    equal("%s: files" % phase, sorted(found), sorted(wanted))
    huge = sum(wanted["size"] >> 21 for wanted in expected.values() if wanted["huge"])
    equal("%s: huge folios" % phase, handover["preserved_by_bytes"].get(str(2 << 20), 0), huge)
    print("== %s: %d files found, contents right" % (phase, len(found)), flush=True)
