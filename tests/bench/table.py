#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0 OR MIT
"""Sets the figures of `bench` runs side by side, as a Markdown table.

Arguments are files DRIVER-N.txt, each the output of one run. A figure is the median over the runs of a
driver; the noise is the largest distance of a run from it, as a share of it.
"""

import collections
import pathlib
import re
import statistics
import sys

DRIVERS = {"amdgpu": "C", "amdgpu_rs": "ours"}


def read(paths):
    """{(row, point): {driver: [value, ...]}}, in the order in which the rows came."""
    figures = collections.OrderedDict()
    for path in map(pathlib.Path, paths):
        driver = re.fullmatch(r"(\w+)-\d+", path.stem)[1]
        for line in path.read_text().splitlines():
            fields = line.strip().split("\t")
            if fields[0] == "row" and len(fields) == 4:
                key = (fields[1], fields[2])
                figures.setdefault(key, {}).setdefault(driver, []).append(int(fields[3]))
            elif fields[0] == "clock" and fields[1] != "instructions":
                print(f"{path}: the clock counts {fields[1]}", file=sys.stderr)
    return figures


def noise(values):
    middle = statistics.median(values)
    return max(abs(v - middle) for v in values) / middle if middle else 0.0


def number(value):
    return f"{round(value):,}".replace(",", " ")


def main(paths):
    figures = read(paths)
    if not figures:
        sys.exit("no figures")
    print("| what | size or count | C | ours | ours / C | noise |")
    print("|---|---|--:|--:|--:|--:|")
    last = None
    for (row, point), by_driver in figures.items():
        middle = {d: statistics.median(v) for d, v in by_driver.items()}
        cells = [number(middle[d]) if d in middle else "-" for d in DRIVERS]
        c, ours = (middle.get(d) for d in DRIVERS)
        ratio = f"{ours / c:.2f}" if c and ours is not None else "-"
        worst = max(noise(v) for v in by_driver.values())
        name = row if row != last else ""
        last = row
        print(f"| {name} | {point} | {cells[0]} | {cells[1]} | {ratio} | {worst:.1%} |")


main(sys.argv[1:])
