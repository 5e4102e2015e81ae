#!/usr/bin/env bash
# The README's `tools/demo`: it shows a guest that survives, its report holds together, and it fails when it should.
set -euo pipefail
out=${TEST_UNDECLARED_OUTPUTS_DIR:-$(mktemp -d)}

fail() {
  echo "FAIL: $*"
  exit 1
}

# expect_exit CODE ARGUMENT...: tools/demo ends with that code.
expect_exit() {
  local expected=$1 rc=0
  shift
  tools/demo "$@" || rc=$?
  ((rc == expected)) || fail "tools/demo $* ended with $rc, not $expected"
}

expect_exit 0 --help
expect_exit 2 --memory much
expect_exit 2 --memory 63M
expect_exit 2 --report
expect_exit 2 --report "$out/no/such/folder"

# A host that is stopped before it came to anything.
expect_exit 1 --timeout 2 --svg "$out/none.svg" --report "$out/failed.json" --logs "$out/failed"
[[ ! -e $out/none.svg ]] || fail "something was drawn of nothing"

expect_exit 0 --timeout 700 --svg "$out/demo.svg" --report "$out/demo.json" --logs "$out/logs"

python3 - "$out" <<'CHECKS'
import json
import sys
import xml.etree.ElementTree

out = sys.argv[1]
failed = json.load(open(f"{out}/failed.json"))
assert failed["ok"] is False and "too long" in failed["why"], failed
assert failed["blackout_ms"] is None and failed["bytes_copied"] is None, failed

report = json.load(open(f"{out}/demo.json"))
assert report["ok"] is True and report["why"] is None, report["failures"]
phases = report["phases_ms"]
assert list(phases) == ["check", "prepare", "freeze", "kexec", "retrieve", "resume"], phases
assert all(ms > 0 for ms in phases.values()), phases
# The pause begins within FREEZE and ends with RESUME.
rest = phases["kexec"] + phases["retrieve"] + phases["resume"]
blackout = report["blackout_by_host_ms"]
assert rest - 0.1 <= blackout <= rest + phases["freeze"] + 0.1, (rest, report)
assert report["blackout_ms"] > phases["kexec"], report
assert report["bare_kexec_ms"] > 0, report
memory = report["guest"]["memory_bytes"]
assert report["pfns_compared"] * 4096 == memory == 512 << 20, report
assert report["pfns_changed"] == 0 and report["bytes_copied"] == 0, report
assert sum(size["ram_bytes"] for size in report["folio_sizes"]) == memory, report
assert 0 < report["state_bytes"] < 1 << 20, report
assert report["words_verified"] * 8 > memory / 4, report

root = xml.etree.ElementTree.parse(f"{out}/demo.svg").getroot()
assert root.tag == "{http://www.w3.org/2000/svg}svg", root.tag
CHECKS
