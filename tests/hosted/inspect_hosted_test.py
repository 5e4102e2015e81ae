#!/usr/bin/env python3
"""luoctl looks into a hosted instance: what its programs preserved is found, with its contents.

    inspect_hosted_test.py LUO_EMULATE LUOCTL LIVE_UPDATE_FILES
"""

import hashlib
import json
import pathlib
import subprocess
import sys
import tempfile

emulate, luoctl, files_program = sys.argv[1:4]
without_notifications = subprocess.run([emulate, "--", "true"], capture_output=True, text=True).stderr
if "seccomp notifications" in without_notifications:
    print("SKIPPED:", without_notifications)
    sys.exit(0)

# A socket's path has room for 107 bytes.
work = tempfile.TemporaryDirectory(prefix="inspect-", dir="/tmp")
top = pathlib.Path(work.name)
host = subprocess.Popen([emulate, "--socket", top / "socket", "--", files_program, "preserve"], stdout=subprocess.PIPE,
                        stdin=subprocess.DEVNULL, text=True)
try:
    wanted = []
    for line in host.stdout:
        if line == "READY\n":
            break
        word, _, _, token, size, seals, position, _ = line.split()
        assert word == "FILE", line
        if size != "0":
            wanted.append((int(size), int(seals), int(position)))
    else:
        sys.exit("nothing was preserved")
    command = [luoctl, "inspect", "--hosted", top / "socket"]
    report = json.loads(subprocess.check_output(command + ["--json", "--extract", top / "contents"]))
    handover = report["handovers"][0]
    assert handover["problems"] == [], handover["problems"]
    assert handover["scratch"], handover
    found = []
    digests = set()
    for file in handover["unassigned"]:
        memfd = file["memfd"]
        contents = pathlib.Path(file["extracted"]).read_bytes()
        assert len(contents) == memfd["size"], file
        digests.add(hashlib.sha256(contents).hexdigest())
        found.append((memfd["size"], memfd["seals"] & ~0x20, memfd["position"]))
    assert sorted(found) == sorted(wanted), (found, wanted)
    # No two files hold the same.
    assert len(digests) == len(found), (len(digests), len(found))
    print(subprocess.check_output(command, text=True))
finally:
    host.terminate()
    host.wait()
