#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0 OR MIT
"""What IGT's programs wrote on two drivers, as one table.

    table.py --wanted PROGRAM LEFT-OUT       names of subtests on stdin -> those that are to be run
    table.py --count LOG                     one line about one log
    table.py --results DIR --programs F --left-out F --causes F --empty F --page PAGE
    table.py --self-test

A log is what `igt-run` wrote (it says how it marks things), one or several guests after one another, each
closed by the host with '@guest STATUS' and '@violation LINE' for what the model reported.

The page fails (status 1) if a subtest neither passes nor is skipped without a cause in the file of causes,
or passes on the C driver and not on ours without being listed as open there. Where results of a program or of
a subtest are missing on one of the drivers, it says of which, and what it writes is no whole page (status 3).
"""

import argparse
import collections
import fnmatch
import pathlib
import re
import sys
import unittest

DRIVERS = ("amdgpu", "amdgpu_rs")
# A row of its own for each program: the rules that the model checks.
RULES = "(the model's rules)"

Result = collections.namedtuple("Result", "outcome reason")


def fields_of(path):
    """Lines of a file of tab-separated fields, without the comments."""
    for line in path.read_text().splitlines():
        if line and not line.startswith("#"):
            yield line.split("\t")


class Patterns:
    """Rows whose first fields are patterns and whose last field is a text."""

    def __init__(self, rows):
        self.rows = [(tuple(row[:-1]), row[-1]) for row in rows]
        self.used = set()

    def find(self, *names):
        for number, (patterns, text) in enumerate(self.rows):
            if all(fnmatch.fnmatchcase(name, pattern) for name, pattern in zip(names, patterns)):
                self.used.add(number)
                return text
        return None


# --- what a program wrote ----------------------------------------------------------------------


def reason_of(lines):
    """What IGT says of why it skipped or failed: the condition, and what the test adds to it."""
    # IGT begins each line of a failure with '[seconds] (program:pid) domain-LEVEL: '.
    lines = [re.sub(r"^(\[[\d.]+\] )?\(\S+\) (\S+-)?[A-Z]+: ", "", line) for line in lines]
    for number, line in enumerate(lines):
        for begin in ("Test requirement: ", "Failed assertion: "):
            if not line.startswith(begin):
                continue
            said = [line.removeprefix(begin)]
            for more in lines[number + 1 : number + 3]:
                if more.startswith(("Stack trace", "Subtest ", "\x1b")):
                    break
                if not more.startswith("Last errno"):
                    said.append(more)
            return ": ".join(said)
    return ""


def result_of(subtest, status, lines):
    complaints = [line.removeprefix("@kernel ") for line in lines if line.startswith("@kernel ")]
    own = [line for line in lines if not line.startswith("@")]
    if complaints:
        return Result("fail", "the kernel complains: " + complaints[0])
    if status == 0:
        ran = any(f"Subtest {subtest}: SUCCESS" in line for line in own)
        return Result("pass", "") if ran else Result("fail", "ended well, but did not run")
    if status == 77:
        return Result("skip", reason_of(own))
    if status in (124, 137):
        return Result("timeout", "does not end")
    if status > 128:
        return Result("crash", f"signal {status - 128}")
    return Result("fail", reason_of(own))


def parse(text):
    """Results by subtest; the model's violations are those of RULES."""
    results, current, lines, violations = {}, None, [], []
    for line in text.splitlines():
        line = line.rstrip("\r")
        word, _, rest = line.partition(" ")
        if word in ("@begin", "@guest") and current is not None:
            # Another guest went on after this one.
            results[current] = Result("lost", "the guest did not outlive it")
            current = None
        if word == "@begin":
            current, lines = rest, []
        elif word == "@end":
            name, status = rest.split()
            results[name] = result_of(name, int(status), lines)
            current = None
        elif word == "@violation":
            violations.append(rest)
        elif word != "@guest":
            lines.append(line)
    if violations:
        kinds = collections.Counter(line.split(":")[0] for line in violations)
        results[RULES] = Result("fail", ", ".join(f"{rule} ({n})" for rule, n in sorted(kinds.items())))
    else:
        results[RULES] = Result("pass", "")
    return results


def count(results):
    tally = collections.Counter(result.outcome for name, result in results.items() if name != RULES)
    said = ", ".join(f"{n} {outcome}" for outcome, n in sorted(tally.items()))
    return said + ("" if results[RULES].outcome == "pass" else f"; the model: {results[RULES].reason}")


# --- the page ----------------------------------------------------------------------------------


class Page:
    def __init__(self, causes, empty):
        self.causes = causes
        self.empty = empty
        self.notes = []
        self.unexplained = []
        self.open = []

    def note(self, text):
        if text not in self.notes:
            self.notes.append(text)
        return f"[{self.notes.index(text) + 1}]"

    def cell(self, program, subtest, driver, result, other):
        """One driver's answer; `other` is that of the C driver where this is ours."""
        if result is None:
            return "not run yet"
        if result.outcome == "pass":
            nothing = self.empty.find(program, subtest)
            return "pass" if nothing is None else f"pass {self.note(nothing)}"
        cause = self.causes.find(program, subtest, driver)
        differs = other is not None and other.outcome == "pass"
        if cause is None and (result.outcome != "skip" or differs):
            said = f"{program} {subtest} on {driver}: {result.outcome}: {result.reason}"
            self.unexplained.append(said)
            return f"**{result.outcome}**"
        if differs:
            self.open.append(f"{program} {subtest}: {cause}")
        return f"{result.outcome} {self.note(cause or result.reason or 'says no reason')}"

    def rows(self, program, results):
        reference, ours = (results[driver] for driver in DRIVERS)
        for subtest in dict.fromkeys([*reference, *ours]):
            theirs, mine = reference.get(subtest), ours.get(subtest)
            left = self.cell(program, subtest, "amdgpu", theirs, None)
            right = self.cell(program, subtest, "amdgpu_rs", mine, theirs)
            yield f"| {program} | {subtest} | {left} | {right} |"


HEAD = """# IGT on both drivers

Written by `make igt` (docs/rig.md). Debian's IGT, each subtest by itself, on the modeled card with
`--hdp strict`, in Debian's kernel: on its unmodified C driver, and on ours. A row {rules}
says whether the model saw a rule broken while the program ran (docs/model.md). Numbers in brackets are the
notes below the table.
"""


def page(results, programs, left_out, causes, empty):
    """The text, and what in it is unexplained."""
    made = Page(causes, empty)
    rows = [row for program in programs if program in results for row in made.rows(program, results[program])]
    lines = [HEAD.format(rules=f"*{RULES}*"), "| driver | pass | skip | else |", "|---|---|---|---|"]
    for driver in DRIVERS:
        tally = collections.Counter(
            result.outcome for of in results.values() for name, result in of[driver].items() if name != RULES
        )
        rest = sum(tally.values()) - tally["pass"] - tally["skip"]
        lines.append(f"| `{driver}` | {tally['pass']} | {tally['skip']} | {rest} |")
    lines += ["", "## Open: passes on the C driver, not on ours", ""]
    lines += [f"- {said}" for said in made.open] or ["Nothing."]
    lines += ["", "## All", "", "| program | subtest | C driver | ours |", "|---|---|---|---|", *rows, ""]
    lines += [f"{number}. {text}" for number, text in enumerate(made.notes, 1)]
    lines += ["", "## Not run", "", "| program | subtests | why |", "|---|---|---|"]
    lines += [f"| {patterns[0]} | {patterns[1]} | {why} |".replace("*", "\\*") for patterns, why in left_out.rows]
    return "\n".join(lines) + "\n", made.unexplained


def gaps(programs, results):
    """What has no results, as lines."""
    for program in programs:
        found = [set(results.get(program, {}).get(driver, ())) for driver in DRIVERS]
        for driver, here, there in zip(DRIVERS, found, reversed(found)):
            if not here:
                yield f"{program} on {driver}"
            else:
                yield from (f"{program} {subtest} on {driver}" for subtest in sorted(there - here))


def write_page(args):
    programs = [line.split()[0] for line in args.programs.read_text().splitlines() if line and line[0] != "#"]
    results = {}
    for program in programs:
        logs = [args.results / driver / f"{program}.log" for driver in DRIVERS]
        if any(log.exists() for log in logs):
            results[program] = {
                driver: parse(log.read_text(errors="replace")) if log.exists() else {}
                for driver, log in zip(DRIVERS, logs)
            }
    causes = Patterns(fields_of(args.causes))
    left_out, empty = Patterns(fields_of(args.left_out)), Patterns(fields_of(args.empty))
    text, unexplained = page(results, programs, left_out, causes, empty)
    args.page.write_text(text)
    missing = list(gaps(programs, results))
    for number, (patterns, _) in enumerate(causes.rows):
        if number not in causes.used and not missing:
            print(f"a cause for nothing: {' '.join(patterns)}", file=sys.stderr)
    for said in unexplained:
        print(f"no cause for {said}", file=sys.stderr)
    for said in missing:
        print(f"no results: {said}", file=sys.stderr)
    return 1 if unexplained else 3 if missing else 0


# --- its own tests -----------------------------------------------------------------------------

LOG = """@begin good
Opened device: /dev/dri/card0
\x1b[1mSubtest good: SUCCESS (0.006s)\x1b[0m
@end good 0
@begin absent
Test requirement not met in function f, file t.c:1:
Test requirement: dev.has_it
no such thing here
Last errno: 2, No such file or directory
\x1b[1mSubtest absent: SKIP (0.000s)\x1b[0m
@end absent 77
@begin bad
[6.907] (p:1) amdgpu/memory-CRITICAL: Test assertion failure function f, file t.c:1:
[6.907] (p:1) amdgpu/memory-CRITICAL: Failed assertion: r == 0
(p:1) amdgpu/memory-CRITICAL: Last errno: 22, Invalid argument
(p:1) amdgpu/memory-CRITICAL: error: -22 != 0
@end bad 98
@begin silent
@end silent 0
@begin loud
Subtest loud: SUCCESS (0.1s)
@kernel 7:WARNING: CPU: 1
@end loud 0
@begin slow
@end slow 124
@begin fatal
@guest 125
@violation stale-tlb: vmid 1
@violation stale-tlb: vmid 2
"""


class Tests(unittest.TestCase):
    def test_parses_each_outcome(self):
        results = parse(LOG)
        self.assertEqual(results["good"], ("pass", ""))
        self.assertEqual(results["absent"], ("skip", "dev.has_it: no such thing here"))
        self.assertEqual(results["bad"], ("fail", "r == 0: error: -22 != 0"))
        self.assertEqual(results["silent"].outcome, "fail")
        self.assertEqual(results["loud"].outcome, "fail")
        self.assertEqual(results["slow"].outcome, "timeout")
        self.assertEqual(results["fatal"].outcome, "lost")
        self.assertEqual(results[RULES], ("fail", "stale-tlb (2)"))

    def page(self, theirs, mine, causes=(), empty=()):
        results = {"p": {"amdgpu": {"s": Result(*theirs)}, "amdgpu_rs": {"s": Result(*mine)}}}
        return page(results, ["p"], Patterns([]), Patterns(causes), Patterns(empty))

    def test_failure_needs_a_cause(self):
        for theirs, mine in ((("fail", ""), ("pass", "")), (("pass", ""), ("fail", ""))):
            self.assertEqual(len(self.page(theirs, mine)[1]), 1)
            self.assertEqual(self.page(theirs, mine, [["p", "*", "*", "known"]])[1], [])

    def test_skip_of_ours_alone_needs_a_cause(self):
        self.assertEqual(self.page(("skip", "no"), ("skip", "no"))[1], [])
        self.assertEqual(len(self.page(("pass", ""), ("skip", "no"))[1]), 1)
        text, unexplained = self.page(("pass", ""), ("skip", "no"), [["p", "s", "amdgpu_rs", "to be done"]])
        self.assertEqual(unexplained, [])
        self.assertIn("- p s: to be done", text)

    def test_empty_pass_has_a_note(self):
        text, unexplained = self.page(("pass", ""), ("pass", ""), empty=[["p", "s", "does nothing"]])
        self.assertEqual(unexplained, [])
        self.assertIn("| p | s | pass [1] | pass [1] |", text)
        self.assertIn("1. does nothing", text)

    def test_gaps(self):
        passed = {"s": Result("pass", ""), RULES: Result("pass", "")}
        both = {"amdgpu": passed, "amdgpu_rs": passed}
        self.assertEqual(list(gaps(["p"], {"p": both})), [])
        self.assertEqual(list(gaps(["p", "q"], {"p": both})), ["q on amdgpu", "q on amdgpu_rs"])
        self.assertEqual(list(gaps(["p"], {"p": {**both, "amdgpu_rs": {}}})), ["p on amdgpu_rs"])
        more = {**passed, "t": Result("fail", "")}
        self.assertEqual(list(gaps(["p"], {"p": {**both, "amdgpu": more}})), ["p t on amdgpu_rs"])

    def test_cause_is_of_its_driver(self):
        self.assertEqual(len(self.page(("fail", ""), ("fail", ""), [["p", "s", "amdgpu", "known"]])[1]), 1)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--self-test", action="store_true")
    parser.add_argument("--wanted", nargs=2)
    parser.add_argument("--count", type=pathlib.Path)
    for name in ("results", "programs", "left-out", "causes", "empty", "page"):
        parser.add_argument(f"--{name}", type=pathlib.Path)
    args = parser.parse_args()
    if args.self_test:
        suite = unittest.defaultTestLoader.loadTestsFromTestCase(Tests)
        return 0 if unittest.TextTestRunner(verbosity=0).run(suite).wasSuccessful() else 1
    if args.wanted:
        left_out = Patterns(fields_of(pathlib.Path(args.wanted[1])))
        for name in sys.stdin.read().split():
            if left_out.find(args.wanted[0], name) is None:
                print(name)
        return 0
    if args.count:
        print(count(parse(args.count.read_text(errors="replace"))))
        return 0
    return write_page(args)


if __name__ == "__main__":
    sys.exit(main())
