#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0 OR MIT
"""Mutants: the driver with one promise broken. Reads *.mutant, and applies them to a checkout.

    mutate.py --fields FIELD,FIELD NAME...  'NAME.FIELD VALUE' for each of these fields that a mutant has
    mutate.py --apply NAME CHECKOUT         changes the files, and prints their names
    mutate.py --batch CHECKOUT NAME...      changes the files for as many of these as go side by side:
                                            'with NAME', 'later NAME' or 'broken NAME: WHY' for each, 'file NAME'
    mutate.py --judge NAME RUN-DIR          what of a guest's run noticed it (scripts/mutants)
    mutate.py --self-test

A mutant is fields, then hunks. `#` begins a comment line among the fields.

    Breaks: what the driver promises, and this one does not keep
    Run: PROGRAM ARGUMENTS; PROGRAM ...     what is run in the guest until one of them fails
    Guest: OPTION ...                       options of scripts/guest, besides --iommu
    Log: NAME                               what these programs make the driver warn of: a file of
                                            tests/rig/expected-log
    Witness: PROGRAM: REGEX                 what must notice: a failed check of a program; or of `model` a
                                            violation, or of `kernel` a line of its log
    Broad: REASON                           why a witness may be one that matches whatever is said. Without
                                            that it is refused: also a busy machine makes checks fail
    Of: driver|model|protocol               which files (default: driver)

    @@ fn NAME
     unchanged line
    -line that goes
    +line that comes

A hunk has neither a file nor a line number: its old lines must stand in exactly one place of all the files (or of
the functions called NAME, where `@@` says one), however they are broken into lines there. So a mutant moves with
the code that it is about, and is broken only when that code changes.
"""

import argparse
import pathlib
import re
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).parent
FIELDS = {"Breaks", "Run", "Guest", "Log", "Witness", "Broad", "Of"}
NEEDED = {"Breaks", "Run", "Witness"}
# What nobody says. A witness that takes one of these for its own would take anything: an empty line, letters,
# digits, a check with a reason.
NONSENSE = ("", "q", "7", "jqz: vwx 0x7: jqz", "\N{BLACK STAR}")


class Broken(Exception):
    """A mutant that cannot be read or applied: the reason."""


# --- reading -----------------------------------------------------------------------------------


class Hunk:
    def __init__(self, function):
        self.function = function
        self.old, self.new = [], []

    def add(self, line):
        mark, text = line[:1], line[1:]
        if mark not in ("", " ", "-", "+"):
            raise Broken(f"a line of a hunk begins with ' ', '-' or '+': {line}")
        if mark != "+":
            self.old.append(text)
        if mark != "-":
            self.new.append(text)


class Mutant:
    def __init__(self, text):
        self.fields = {}
        self.hunks = []
        last = None
        for line in text.splitlines():
            if line.startswith("@@"):
                match = re.fullmatch(r"@@(?: fn (\w+))?", line.strip())
                if not match:
                    raise Broken(f"not '@@' or '@@ fn NAME': {line}")
                self.hunks.append(Hunk(match.group(1)))
            elif self.hunks:
                self.hunks[-1].add(line)
            elif line.startswith((" ", "\t")) and last:
                self.fields[last][-1] += " " + line.strip()
            elif line and not line.startswith("#"):
                last, colon, value = line.partition(":")
                if not colon or last not in FIELDS:
                    raise Broken(f"no field: {line}")
                self.fields.setdefault(last, []).append(value.strip())
        missing = sorted(NEEDED - self.fields.keys())
        if missing or not self.hunks:
            raise Broken(f"it does not say: {', '.join(missing) or 'what changes'}")
        for witness in self.fields["Witness"]:
            by, colon, pattern = witness.partition(": ")
            if not colon or not pattern.strip() or " " in by:
                raise Broken(f"not 'PROGRAM: REGEX': {witness}")
            if any(re.search(pattern, line) for line in NONSENSE) and not any(self.fields.get("Broad", [])):
                raise Broken(f"whatever fails is this witness: {witness}")

    def witnesses(self):
        return [witness.partition(": ")[::2] for witness in self.fields["Witness"]]


def load(name):
    return Mutant((HERE / f"{name}.mutant").read_text())


# --- applying ----------------------------------------------------------------------------------


def files_of(checkout, of):
    if of == "driver":
        apart = {checkout / "tests", checkout / "out"}
        found = [path for path in checkout.rglob("*.rs") if not apart & set(path.parents)]
    elif of == "model":
        found = checkout.glob("tests/model/src/**/*.rs")
    elif of == "protocol":
        found = checkout.glob("tests/protocol/*.pml")
    else:
        raise Broken(f"there are no files of '{of}'")
    return sorted(found)


TOKEN = re.compile(r"\w+|[^\w\s]")


def pattern_of(lines):
    """A regular expression for these lines, however they are broken: between tokens may be any space, and
    before a closing bracket a comma, which rustfmt puts where it breaks a list."""
    tokens = TOKEN.findall("\n".join(lines))
    if not tokens:
        raise Broken("a hunk has no old lines")
    parts, before = [], ""
    for token in tokens:
        gap = r"\s+" if before and before[-1].isalnum() and token[0].isalnum() else r"\s*"
        if token in ")]}" and before != ",":
            gap = r"\s*,?\s*"
        parts.append((gap if before else "") + re.escape(token))
        before = token
    # No part of a longer word.
    return re.compile((r"\b" if tokens[0][0].isalnum() else "") + "".join(parts) + (r"\b" if before[-1].isalnum() else ""))


# What may hold a bracket that is none: comments, strings, characters.
OPAQUE = re.compile(r'//[^\n]*|/\*.*?\*/|b?"(?:\\.|[^"\\])*"|b?\'(?:\\.|[^\'\\])\'', re.S)


def bodies(text, function):
    """Where the functions of this name begin and end."""
    blank = OPAQUE.sub(lambda m: re.sub(r"[^\n]", " ", m.group()), text)
    for match in re.finditer(rf"\bfn {function}\b", blank):
        depth = 0
        for at in range(match.end(), len(blank)):
            if blank[at] == ";" and not depth:
                break
            if blank[at] in "{[(":
                depth += 1
            elif blank[at] in "}])":
                depth -= 1
                if blank[at] == "}" and not depth:
                    yield match.start(), at + 1
                    break


def places(texts, hunk):
    pattern = pattern_of(hunk.old)
    for path, text in texts.items():
        spans = [(0, len(text))] if hunk.function is None else bodies(text, hunk.function)
        for begin, end in spans:
            for match in pattern.finditer(text, begin, end):
                yield path, match


def texts_of(checkout, mutant):
    return {path: path.read_text() for path in files_of(checkout, mutant.fields.get("Of", ["driver"])[0])}


def changed_texts(mutant, texts):
    """The files that change, with their new text."""
    changed = {}
    for number, hunk in enumerate(mutant.hunks, 1):
        found = list(places({**texts, **changed}, hunk))
        if len(found) != 1:
            where = ", ".join(str(path) for path, _ in found) or "nowhere"
            raise Broken(f"its hunk {number} must stand in one place, and does {where}: {' '.join(hunk.old[0].split())}")
        path, match = found[0]
        new = "\n".join(hunk.new).strip("\n").lstrip()
        text = match.string
        changed[path] = text[: match.start()] + new + text[match.end() :]
    return changed


def write(changed, checkout):
    for path, text in changed.items():
        path.write_text(text)
    return sorted(str(path.relative_to(checkout)) for path in changed)


def apply(mutant, checkout):
    return write(changed_texts(mutant, texts_of(checkout, mutant)), checkout)


def batch(mutants, checkout):
    """Applies as many of the mutants (name, mutant) as do not get into each other's way, which is asked of each
    both alone and after those before it. Yields (what became of it, name or file)."""
    alone, together, changed = {}, {}, {}
    for name, mutant in mutants:
        of = mutant.fields.get("Of", ["driver"])[0]
        texts = alone.setdefault(of, None) or texts_of(checkout, mutant)
        alone[of] = texts
        try:
            changed_texts(mutant, texts)
        except Broken as why:
            yield "broken", f"{name}: {why}"
            continue
        try:
            new = changed_texts(mutant, together.setdefault(of, dict(texts)))
        except Broken:
            yield "later", name
            continue
        together[of].update(new)
        changed.update(new)
        yield "with", name
    for file in write(changed, checkout):
        yield "file", file


# --- judging -----------------------------------------------------------------------------------


def read(path):
    return path.read_text(errors="replace") if path.exists() else ""


def notices(run):
    """What of a run noticed something: (by, line), in the order in which one reads them."""
    program = "hunt"
    for line in read(run / "command.log").splitlines():
        line = line.strip("\r")
        if line.startswith("== "):
            program = line.split()[1]
        elif line.startswith("FAIL "):
            yield program, line.removeprefix("FAIL").strip()
    for line in read(run / "model.log").splitlines():
        if line.startswith("amdgpu-model: violation: "):
            yield "model", line.removeprefix("amdgpu-model: violation: ")
    for line in read(run / "log-check").splitlines():
        yield "kernel", line


def judge(mutant, run):
    """(the witness's notice or None, the first of the others or None)."""
    found = list(notices(run))
    for by, line in found:
        if any(by == who and re.search(pattern, line) for who, pattern in mutant.witnesses()):
            return (by, line), None
    return None, found[0] if found else None


# --- its own tests -----------------------------------------------------------------------------

SAMPLE = """\
Breaks: a promise,
  on two lines
Run: smoke
Witness: smoke: copy .* differs

@@ fn flush
 before();
-flush(card);
+let _ = card;
"""

SOURCE = """\
fn other(card: &Card) {
    before();
    flush(card);
}

fn flush(&self, name: &str) {
    let brace = '{'; // and { here
    before();
    flush(
        card,
    );
}
"""


class Tests(unittest.TestCase):
    def checkout(self, files):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        at = pathlib.Path(folder.name)
        for name, text in files.items():
            (at / name).parent.mkdir(parents=True, exist_ok=True)
            (at / name).write_text(text)
        return at

    def applied(self, files, mutant=SAMPLE):
        at = self.checkout(files)
        return apply(Mutant(mutant), at), at

    def test_follows_its_code(self):
        changed, at = self.applied({"deep/down/here.rs": SOURCE, "tests/x.rs": SOURCE, "out/y.rs": SOURCE})
        self.assertEqual(changed, ["deep/down/here.rs"])
        text = (at / changed[0]).read_text()
        self.assertIn("let _ = card;", text)
        self.assertEqual(text.count("flush(card);"), 1)

    def test_one_place(self):
        for files in ({"a.rs": SOURCE, "b.rs": SOURCE}, {"a.rs": "fn flush() {}"}, {}):
            with self.assertRaises(Broken):
                self.applied(files)
        with self.assertRaises(Broken):
            self.applied({"a.rs": SOURCE}, SAMPLE.replace(" fn flush", ""))

    def test_whole_words(self):
        with self.assertRaises(Broken):
            self.applied({"a.rs": SOURCE.replace("before()", "not_before()")})

    def test_nothing_is_written_of_half_a_mutant(self):
        with self.assertRaises(Broken):
            apply(Mutant(SAMPLE + "@@\n-nowhere()\n+x()\n"), at := self.checkout({"a.rs": SOURCE}))
        self.assertEqual((at / "a.rs").read_text(), SOURCE)

    def test_hunks_follow_one_another(self):
        more = SAMPLE + "@@\n-let _ = card;\n+done();\n"
        changed, at = self.applied({"a.rs": SOURCE}, more)
        self.assertIn("done();", (at / "a.rs").read_text())

    def test_a_batch(self):
        other = SAMPLE.replace("fn flush", "fn other")
        again = "Breaks: a\nRun: smoke\nWitness: smoke: differs\n\n@@ fn flush\n-flush(card);\n+// never\n"
        mutants = {"first": SAMPLE, "second": other, "in-the-way": again, "wrong": SAMPLE.replace("-flush", "-no")}
        at = self.checkout({"a.rs": SOURCE})
        did = list(batch([(name, Mutant(text)) for name, text in mutants.items()], at))
        self.assertEqual(did[:3], [("with", "first"), ("with", "second"), ("later", "in-the-way")])
        self.assertEqual(did[3][0], "broken")
        self.assertEqual(did[4:], [("file", "a.rs")])
        self.assertEqual((at / "a.rs").read_text().count("let _ = card;"), 2)

    def test_what_is_needed(self):
        self.assertEqual(Mutant(SAMPLE).fields["Breaks"], ["a promise, on two lines"])
        for line in ("Breaks: a promise,\n  on two lines\n", "Run: smoke\n", "Witness: smoke: copy .* differs\n"):
            with self.assertRaises(Broken):
                Mutant(SAMPLE.replace(line, ""))
        with self.assertRaises(Broken):
            Mutant(SAMPLE.partition("@@")[0])
        with self.assertRaises(Broken):
            Mutant(SAMPLE.replace("smoke: copy", "copy"))
        with self.assertRaises(Broken):
            Mutant("Color: red\n" + SAMPLE)

    def test_a_witness_is_not_just_anything(self):
        for pattern in (".", ".*", "^", "$", "x?", "(copy)?", r"\w", r"\d", "copy|", "[^c]", ": ", "copy .*|.", r"\S+"):
            broad = SAMPLE.replace("copy .* differs", pattern)
            with self.assertRaises(Broken, msg=pattern):
                Mutant(broad)
            with self.assertRaises(Broken, msg=pattern):
                Mutant("Broad:\n" + broad)
            Mutant("Broad: it has no other message\n" + broad)
        for pattern in ("copy", "^copy: .* bytes", "[0-9]+ bytes", "CS/IB: "):
            Mutant(SAMPLE.replace("copy .* differs", pattern))
        with self.assertRaises(Broken):
            Mutant(SAMPLE.replace("Run:", "Witness: kernel: .\nRun:"))

    def test_the_witness_counts(self):
        run = self.checkout({"command.log": "== smoke --x\nok    a\nFAIL  b: wrong\nFAIL  copy 2: differs\n"})
        self.assertEqual(judge(Mutant(SAMPLE), run), (("smoke", "copy 2: differs"), None))

    def test_others_do_not(self):
        for name, text, by in (
            ("command.log", "== smoke\nFAIL  b: wrong\n", "smoke"),
            ("command.log", "== other\nFAIL  copy 2: differs\n", "other"),
            ("command.log", "FAIL  it does not load\n", "hunt"),
            ("model.log", "amdgpu-model: violation: copy 2 differs\n", "model"),
            ("log-check", "3:<4>copy 2 differs\n", "kernel"),
        ):
            witness, other = judge(Mutant(SAMPLE), self.checkout({name: text}))
            self.assertIsNone(witness)
            self.assertEqual(other[0], by)
        self.assertEqual(judge(Mutant(SAMPLE), self.checkout({})), (None, None))

    def test_the_model_and_the_kernel_are_witnesses(self):
        run = self.checkout({"model.log": "amdgpu-model: violation: stale-tlb: vmid 1\n", "log-check": "9:<4>WARNING: x\n"})
        model = Mutant(SAMPLE.replace("smoke: copy .* differs", "model: ^stale-tlb"))
        kernel = Mutant(SAMPLE.replace("smoke: copy .* differs", "kernel: WARNING"))
        self.assertEqual(judge(model, run)[0], ("model", "stale-tlb: vmid 1"))
        self.assertEqual(judge(kernel, run)[0], ("kernel", "9:<4>WARNING: x"))

    def test_all_mutants_can_be_read(self):
        for path in HERE.glob("*.mutant"):
            with self.subTest(path.name):
                load(path.stem)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--self-test", action="store_true")
    parser.add_argument("--fields", nargs="+", metavar=("FIELD,FIELD", "NAME"))
    parser.add_argument("--batch", nargs="+", metavar=("CHECKOUT", "NAME"))
    parser.add_argument("--apply", nargs=2, metavar=("NAME", "CHECKOUT"))
    parser.add_argument("--judge", nargs=2, metavar=("NAME", "RUN-DIR"))
    args = parser.parse_args()
    if args.self_test:
        suite = unittest.defaultTestLoader.loadTestsFromTestCase(Tests)
        return 0 if unittest.TextTestRunner(verbosity=0).run(suite).wasSuccessful() else 1
    try:
        if args.fields:
            for name in args.fields[1:]:
                try:
                    mutant = load(name)
                except Broken as why:
                    raise Broken(f"tests/mutants/{name}.mutant: {why}") from why
                for field in args.fields[0].split(","):
                    for value in mutant.fields.get(field, []):
                        print(f"{name}.{field} {value}")
        elif args.batch:
            for what in batch([(name, load(name)) for name in args.batch[1:]], pathlib.Path(args.batch[0])):
                print(*what)
        elif args.apply:
            print("\n".join(apply(load(args.apply[0]), pathlib.Path(args.apply[1]))))
        elif args.judge:
            witness, other = judge(load(args.judge[0]), pathlib.Path(args.judge[1]))
            kind, (by, line) = ("caught", witness) if witness else ("other", other) if other else ("none", ("", ""))
            print(f"{kind} {by}: {line}"[:200])
    except (Broken, re.error, OSError) as why:
        print(why)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
