#!/usr/bin/env bash
# What tools/test_host/run --fail-on-reports makes of a host kernel's faults, which a scenario provokes while all else is well:
# it fails, and names each. Without them it does not.
#
#   kernel_reports_debug_test.sh FLAG...
#
# The flags are tools/test_host/run's for the debug kernel.
set -euo pipefail
log=${TEST_TMPDIR:-/tmp}/log
flags=("$@" --script tests/e2e/scenarios/kernel_reports.sh --file tests/e2e/lib.sh:/lib/e2e.sh
  --file tests/bench/bare_kexec:/sbin/bare_kexec --timeout 400)

fail() {
  echo "FAILED: $*"
  exit 1
}

echo "== sound"
tools/test_host/run "${flags[@]}" --append e2e.provoke=no || fail "a sound kernel reports something: $?"

echo "== with faults"
rc=0
tools/test_host/run "${flags[@]}" 2>"$log" || rc=$?
cat "$log"
((rc == 1)) || fail "exit code $rc"
said=$(sed -n "/the host's kernel reports/,/failed with/p" "$log")
for report in 'BUG: KASAN: slab-use-after-free in lkdtm_READ_AFTER_FREE' 'WARNING: .*lkdtm' 'list_add corruption' \
  'WARNING: lock held when returning to user space'; do
  grep -qE "$report" <<<"$said" || fail "not named: $report"
done
