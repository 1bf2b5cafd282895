#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0 OR MIT
"""Lays the report of one card's first boot beside another's: what differs, line by line.

    compare.py [--only-keys] REPORT OTHER
    compare.py --self-test

A report is a file of `key=value` lines, or an archive of scripts/first-boot. Status 0 if they are alike, 1 if not.
--only-keys says the keys only. Lines of a log are taken too: what stands before 'first-boot ' does not count.
"""

import argparse
import re
import sys
import tarfile
import unittest
from pathlib import Path

REPORT = "report"
LINE = re.compile(r"(?:.*\bfirst-boot )?([\w.:/-]+)=(.*)")


def parse(text: str) -> dict[str, str]:
    matches = (LINE.fullmatch(line.strip()) for line in text.splitlines())
    return {m[1]: m[2].strip() for m in matches if m}


def read(path: Path) -> dict[str, str]:
    if tarfile.is_tarfile(path):
        with tarfile.open(path) as archive:
            member = next(m for m in archive if m.name.rsplit("/", 1)[-1] == REPORT)
            text = archive.extractfile(member).read().decode()
    else:
        text = path.read_text()
    found = parse(text)
    if not found.get("version", "").isdigit():
        raise SystemExit(f"first-boot: {path} is no report of a first boot")
    return found


def differences(a: dict[str, str], b: dict[str, str]) -> list[tuple[str, str, str]]:
    """Keys with their values in both, in the order of the first; what one of them lacks is '-'."""
    keys = list(a) + [key for key in b if key not in a]
    return [(key, a.get(key, "-"), b.get(key, "-")) for key in keys if a.get(key) != b.get(key)]


class Test(unittest.TestCase):
    A = "version=1\nfound.MC_SEQ_MISC0=0x50000000\nring.gfx.write=ok\n"

    def test_alike(self):
        self.assertEqual(differences(parse(self.A), parse(self.A)), [])

    def test_values_and_what_only_one_has(self):
        b = "version=1\nring.gfx.write=failed\nring.gfx.GRBM_STATUS=0x0\n"
        self.assertEqual(differences(parse(self.A), parse(b)), [
            ("found.MC_SEQ_MISC0", "0x50000000", "-"),
            ("ring.gfx.write", "ok", "failed"),
            ("ring.gfx.GRBM_STATUS", "-", "0x0"),
        ])

    def test_lines_of_a_log(self):
        log = "[   1.0] amdgpu_rs 0000:00:10.0: first-boot version=1\n[   1.1] usb 1-1: speed=high-speed is not one\n"
        self.assertEqual(parse(log), {"version": "1"})

    def test_other_files(self):
        with self.assertRaises(SystemExit):
            read(Path(__file__))


def main() -> int:
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--only-keys", action="store_true")
    parser.add_argument("reports", nargs=2, type=Path)
    options = parser.parse_args()
    found = differences(*map(read, options.reports))
    if options.only_keys:
        print("\n".join(key for key, _, _ in found))
        return bool(found)
    width = max((len(key) for key, _, _ in found), default=0)
    for key, a, b in found:
        print(f"{key:<{width}}  {a:<24} {b}")
    print(f"{len(found)} lines differ")
    return bool(found)


if __name__ == "__main__":
    if sys.argv[1:] == ["--self-test"]:
        unittest.main(argv=[sys.argv[0]])
    sys.exit(main())
