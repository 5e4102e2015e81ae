#!/usr/bin/env python3
"""Every #include follows an arrow of ARCHITECTURE.md: the table of rooms there says what each room may use.

The BUILD files' visibilities say it too, but more coarsely; and a header that is included without being a dependency
escapes them wherever a build is not sandboxed.
"""

import os
import pathlib
import re
import unittest

# The sources, not their copies in Bazel's runfiles: a file this test does not name counts too.
TOP = pathlib.Path(os.path.realpath("ARCHITECTURE.md")).parent


def read_rooms(text):
    """{room: rooms it may use} out of ARCHITECTURE.md; rooms are paths without a slash at the end."""
    rooms = {}
    for room, uses in re.findall(r"^\| `([a-z_/]+)/` \|.*\| ([a-z_/, ]+) \|$", text, re.MULTILINE):
        rooms[room] = [] if uses == "nothing" else uses.split(", ")
    return rooms


def room_of(path, rooms):
    """The innermost room that the path lies in."""
    return max((room for room in rooms if path.startswith(room + "/")), key=len, default=None)


def wrong_arrows(path, text, rooms):
    """Complaints about a source file, given its path from the top."""
    room = room_of(path, rooms)
    if room is None:
        return ["%s lies in no room" % path]
    complaints = []
    for header in re.findall(r'^#include "([^"]+)"', text, re.MULTILINE):
        other = room_of(header, rooms)
        if other is None or other == room or rooms[room] == ["everything"]:
            continue
        if not any(header.startswith(use + "/") for use in rooms[room]):
            complaints.append("%s includes %s, and %s may use: %s" % (path, header, room, ", ".join(rooms[room])))
    return complaints


class ArrowsTest(unittest.TestCase):
    ROOMS = {"base": [], "devices": ["base"], "vmm/kvm": ["base"], "vmm/cli": ["vmm"], "tests": ["everything"]}

    def setUp(self):
        self.maxDiff = None

    def test_the_tree(self):
        rooms = read_rooms((TOP / "ARCHITECTURE.md").read_text())
        self.assertIn("vmm/machine", rooms)
        for room, uses in rooms.items():
            for use in uses:
                self.assertTrue(use == "everything" or (TOP / use).is_dir(), "%s may use %s" % (room, use))
        files = [file for top in {room.split("/")[0] for room in rooms} for file in (TOP / top).rglob("*.[ch]*")]
        sources = [file for file in files if file.suffix in (".h", ".cc", ".c")]
        self.assertGreater(len(sources), 50)
        complaints = []
        for source in sorted(sources):
            complaints += wrong_arrows(str(source.relative_to(TOP)), source.read_text(), rooms)
        self.assertEqual(complaints, [])

    def test_reads_the_table(self):
        text = "| room | what | may use |\n|---|---|---|\n| `base/` | a `Tree` | nothing |\n| `a/b/` | x | base, c/d |\n"
        self.assertEqual(read_rooms(text), {"base": [], "a/b": ["base", "c/d"]})

    def test_sees_a_wrong_arrow(self):
        text = '#include "devices/bus.h"\n\n#include <vector>\n\n#include "absl/x.h"\n#include "vmm/kvm/vm.h"\n'
        self.assertEqual(len(wrong_arrows("devices/bus.cc", text, self.ROOMS)), 1)
        self.assertEqual(len(wrong_arrows("base/status.cc", text, self.ROOMS)), 2)
        self.assertEqual(wrong_arrows("vmm/kvm/vm.cc", '#include "vmm/cli/run.h"', self.ROOMS)[0].split(",")[0],
                         "vmm/kvm/vm.cc includes vmm/cli/run.h")

    def test_follows_right_arrows(self):
        self.assertEqual(wrong_arrows("vmm/cli/run.cc", '#include "vmm/kvm/vm.h"', self.ROOMS), [])
        self.assertEqual(wrong_arrows("tests/fuzz/x.cc", '#include "vmm/kvm/vm.h"', self.ROOMS), [])

    def test_sees_a_file_in_no_room(self):
        self.assertEqual(wrong_arrows("vmm/new/x.cc", "", self.ROOMS), ["vmm/new/x.cc lies in no room"])


if __name__ == "__main__":
    unittest.main()
