#!/usr/bin/env python3
"""Tests of count_results, over build event files as Bazel 4.2 writes them."""

import json
import os
import pathlib
import subprocess
import tempfile
import unittest

COUNT_RESULTS = os.path.abspath("tests/support/count_results")

GOOGLETEST_XML = """<testsuites><testsuite name="Serial">
  <testcase name="Sends" status="run" result="completed" classname="Serial" />
  <testcase name="Receives" status="run" result="completed" classname="Serial">%s</testcase>
  <testcase name="DISABLED_Later" status="notrun" result="suppressed" classname="Serial" />
</testsuite></testsuites>"""
BAZEL_XML = '<testsuites><testsuite name="boots"><testcase name="boots" status="run"/></testsuite></testsuites>'


class CountResultsTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def result(self, label, status="PASSED", xml=None, log="", attempt=1):
        """The events of a test target that was run."""
        folder = self.folder / ("%d test" % len(list(self.folder.iterdir())))
        folder.mkdir()
        (folder / "test.log").write_text(log)
        outputs = [{"name": "test.log", "uri": (folder / "test.log").as_uri()}]
        if xml is not None:
            (folder / "test.xml").write_text(xml)
            outputs.append({"name": "test.xml", "uri": (folder / "test.xml").as_uri()})
        return [
            {"id": {"targetConfigured": {"label": label}}},
            {"id": {"targetCompleted": {"label": label}}, "completed": {"success": True}},
            {"id": {"testResult": {"label": label, "attempt": attempt}}, "testResult": {"status": status, "testActionOutput": outputs}},
        ]

    def end(self, code=0):
        return [{"id": {"buildFinished": {}}, "finished": {"exitCode": {"code": code} if code else {}}}]

    def write(self, name, events):
        path = self.folder / (name + ".json")
        path.write_text("".join(json.dumps(event) + "\n" for event in events))
        return path

    def count(self, *paths):
        """The exit code, the lines, and apart from them the last line."""
        done = subprocess.run([COUNT_RESULTS, *paths], stdout=subprocess.PIPE, universal_newlines=True)
        *lines, last = done.stdout.splitlines()
        return done.returncode, lines, last

    def count_run(self, events):
        return self.count(self.write("release", events))

    def test_counts_googletest_cases(self):
        skipped = '<skipped message="serial_test.cc:7&#x0A;no /dev/kvm&#x0A;here"/>'
        code, lines, last = self.count_run(self.result("//:serial", xml=GOOGLETEST_XML % skipped) + self.end())
        self.assertEqual((code, last), (0, "1 passed, 0 failed, 2 skipped"))
        self.assertIn("skipped release  //:serial Serial.Receives: no /dev/kvm here", lines)
        self.assertIn("skipped release  //:serial Serial.DISABLED_Later: disabled", lines)

    def test_tells_the_log_of_a_failed_case(self):
        xml = GOOGLETEST_XML % '<failure message="wrong"/>'
        code, lines, last = self.count_run(self.result("//:serial", "FAILED", xml) + self.end(3))
        self.assertEqual((code, last), (1, "1 passed, 1 failed, 1 skipped"))
        failed = [line for line in lines if line.startswith("failed  release  //:serial Serial.Receives: ")]
        self.assertEqual(len(failed), 1)
        self.assertTrue(os.path.exists(failed[0].split(": ")[1]))

    def test_counts_a_failure_after_all_cases_passed(self):
        code, lines, last = self.count_run(self.result("//:serial", "FAILED", GOOGLETEST_XML % "") + self.end(3))
        self.assertEqual((code, last), (1, "2 passed, 1 failed, 1 skipped"))
        self.assertIn("failed  release  //:serial (FAILED): ", lines[1])

    def test_tells_an_attempt_that_was_repeated(self):
        first = self.result("//:boots", "FAILED", BAZEL_XML)
        code, lines, last = self.count_run(first + self.result("//:boots", "FLAKY", BAZEL_XML, attempt=2) + self.end())
        self.assertEqual((code, last), (0, "1 passed, 0 failed, 0 skipped, 1 retried"))
        self.assertTrue(lines[0].startswith("retried release  //:boots (FAILED): "), lines)

    def test_fails_when_every_attempt_did(self):
        first = self.result("//:boots", "FAILED", BAZEL_XML)
        code, _, last = self.count_run(first + self.result("//:boots", "FAILED", BAZEL_XML, attempt=2) + self.end(3))
        self.assertEqual((code, last), (1, "0 passed, 1 failed, 0 skipped, 1 retried"))

    def test_counts_other_tests_per_target(self):
        code, lines, last = self.count_run(
            self.result("//:boots", xml=BAZEL_XML)
            + self.result("//:broken", "FAILED", BAZEL_XML)
            + self.result("//:slow", "TIMEOUT")
            + self.result("//:picky", xml=BAZEL_XML, log="looking\nSKIPPED: no shellcheck\n")
            + self.result("//:failed_anyway", "FAILED", log="SKIPPED: no\n")
            + self.end(3)
        )
        self.assertEqual((code, last), (1, "1 passed, 3 failed, 1 skipped"))
        self.assertIn("skipped release  //:picky: no shellcheck", lines)

    def test_counts_what_was_not_built(self):
        events = [
            {"id": {"targetConfigured": {"label": "//:no_compile"}}},
            {"id": {"targetCompleted": {"label": "//:no_compile"}}, "completed": {}},
            {"id": {"targetCompleted": {"label": "//:no_analysis"}}, "aborted": {"reason": "ANALYSIS_FAILURE"}},
        ]
        code, lines, last = self.count_run(self.result("//:boots") + events + self.end(1))
        self.assertEqual((code, last), (1, "1 passed, 2 failed, 0 skipped"))
        self.assertIn("failed  release  //:no_compile (not built, or not run)", lines)

    def test_counts_a_failure_that_is_no_targets(self):
        code, _, last = self.count_run(self.result("//:boots") + self.end(1))
        self.assertEqual((code, last), (1, "1 passed, 1 failed, 0 skipped"))

    def test_counts_a_run_that_never_ended(self):
        path = self.write("release", self.result("//:boots"))
        with open(path, "a") as file:
            file.write('{"id": {"testRes')
        code, _, last = self.count(path, self.folder / "absent.json")
        self.assertEqual((code, last), (1, "1 passed, 2 failed, 0 skipped"))

    def test_sums_runs(self):
        release = self.write("release", self.result("//:boots") + self.end())
        asan = self.write("asan", self.result("//:boots") + self.end())
        tsan = self.write("tsan", self.end(4))  # no test under its filters
        code, lines, last = self.count(release, asan, tsan)
        self.assertEqual((code, last), (0, "2 passed, 0 failed, 0 skipped"))
        self.assertIn("asan     1 passed, 0 failed, 0 skipped", lines)

    def test_no_test_is_no_success(self):
        self.assertEqual(self.count_run(self.end(4))[0], 1)


if __name__ == "__main__":
    unittest.main()
