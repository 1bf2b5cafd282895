#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0 OR MIT
"""Instructions by function, from the output of profile.c and the guest's /proc/kallsyms.

Arguments: profile.txt, kallsyms, and how many functions to show.
"""

import bisect
import collections
import re
import sys


def plain(name):
    """A Rust function's name without what the compiler added to it: the words of its path."""
    symbol, _, module = name.partition(" ")
    if not symbol.startswith("_R"):
        return name
    words, rest = [], symbol
    while match := re.search(r"(\d+)_?([A-Za-z_]\w*)", rest):
        length = int(match[1])
        words.append(match[2][:length])
        rest = match[2][length:]
    path = [w for w in words if w not in ("core", "kernel", "sync", "aref", "ARef", "amdgpu_rs")]
    return "::".join(dict.fromkeys(path[:9])) + " " + module



def main(profile, kallsyms, most):
    symbols = []
    for line in open(kallsyms):
        fields = line.split()
        if len(fields) >= 3 and fields[1] in "tTwW":
            symbols.append((int(fields[0], 16), fields[2] + (f" {fields[3]}" if len(fields) > 3 else "")))
    symbols.sort()
    starts = [address for address, _ in symbols]
    lines = open(profile).read().splitlines()
    measurements = int(lines[0].split()[1])
    functions = collections.Counter()
    for line in lines[1:]:
        address, count = line.split()
        address = int(address, 16)
        at = bisect.bisect(starts, address) - 1
        name = symbols[at][1] if address >= 1 << 63 and at >= 0 else "(user space)"
        functions[name] += int(count)
    total = sum(functions.values())
    print(f"{measurements} measurements, {total / measurements:.0f} instructions in each")
    for name, count in functions.most_common(int(most)):
        print(f"{count / measurements:10.1f}  {count / total:6.1%}  {plain(name)}")


main(*sys.argv[1:])
