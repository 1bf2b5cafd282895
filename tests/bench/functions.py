#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0 OR MIT
"""Instructions by function, from the output of profile.c and the guest's /proc/kallsyms.

Arguments: profile.txt, kallsyms, and how many functions to show.
"""

import bisect
import collections
import sys


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
        print(f"{count / measurements:10.1f}  {count / total:6.1%}  {name}")


main(*sys.argv[1:])
