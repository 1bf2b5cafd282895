#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0 OR MIT
"""Lays the bring-ups of two drivers side by side, and holds the differences against what is explained.

    compare.py --headers DIR --descriptor FILE --report FILE --page FILE
               --chip NAME SHADER-ENGINES C-TRACE OUR-TRACE...

A difference must match an entry of explained.toml, and each of an entry's patterns a difference on one of the chips. A
line for each block of each chip and for each thing that is wrong; the whole comparison goes to the report; the page is
what docs/bringup.md must be.
"""

import argparse
import re
import tomllib
from collections import Counter
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from accesses import SELECTORS, BringUp, Register, bare, descriptor_names, indirect_names

HERE = Path(__file__).parent

# Blocks of the card, and the names that belong to each; the first that matches.
BLOCKS = [
    ("Commands around a command buffer", r"(job|space) .*> "),
    ("Commands on the rings", r".*> "),
    ("Descriptors of compute queues (memory)", r"MQD "),
    ("PCI configuration", r"config "),
    ("Clock and power gating", r".*(CGTT|CGTS|_CG$|CG_|CLK|MEM_LS|SLP_CNTL|POWER_(LS|CNTL)|DVS|PG_CNTL|HWCNTL)|CG_|GMCON_"
                               r"|RLC_SERDES_WR_|PCIE_CNTL2"),
    ("Bus interface", r"BIF_|BUS_|PCIE_|CONFIG_|MM_INDEX|BIOS_SCRATCH_|GPU_HDP_|CC_DRM|ROM_|THM_|SMC_|GENERAL_PWRMGT"),
    ("Host data path", r"HDP_|reg_0b|VGA_HDP"),
    ("Translation (GART, VM)", r"VM_|MC_VM_MX|ATC_"),
    ("Memory controller", r"MC_|VGA_|D[12]VGA|DMIF|DCI|FBC|HDMI|VIEWPORT"),
    ("Interrupts (IH)", r"IH_|INTERRUPT_CNTL|SEM_"),
    ("DMA engines (SDMA)", r"SDMA"),
    ("Run list controller (RLC)", r"RLC_"),
    ("Compute command processor (MEC)", r"CP_(HQD|MQD|HPD|MEC|PQ|CPF|ME1)"),
    ("Graphics command processor (CP)", r"CP_|SCRATCH_"),
    ("Shaders and fixed functions", r"SH_|SQ_|SPI_|T[ACD]P?_|PA_|DB_|CB_|SX_|VGT_|GB_|GDS_|GRBM_|CC_|GC_"),
    ("System (SRBM)", r"SRBM_"),
]


def block_of(key: str) -> str:
    return next((block for block, pattern in BLOCKS if re.match(pattern, key)), "Others")


KINDS = {
    "missing": "only the C driver writes it",
    "extra": "only ours writes it",
    "value": "it ends with another value",
    "steps": "it ends the same, by other values",
    "unread": "only the C driver reads it",
    "read": "only ours reads it",
    "order": "written at another place in the order",
}


@dataclass
class Difference:
    key: str
    kind: str
    c: str = ""
    ours: str = ""
    chip: str = ""
    explanation: "Explanation | None" = None

    @property
    def block(self) -> str:
        return block_of(self.key)


@dataclass
class Explanation:
    registers: list[str]
    kind: str
    why: str
    address: bool = False
    c: str | None = None
    ours: str | None = None
    used: Counter = field(default_factory=Counter)

    def __post_init__(self):
        if self.kind not in KINDS:
            raise SystemExit(f"explained.toml: there is no kind of difference '{self.kind}'")
        if self.kind == "value" and not self.address and (self.c is None or self.ours is None):
            raise SystemExit(f"explained.toml: {self.registers}: a value is an address, or both values are named")

    def covers(self, d: Difference) -> bool:
        """Whether it explains the difference; values that it names must be the very ones."""
        pattern = next((p for p in self.registers if fnmatchcase(d.key, p) or fnmatchcase(bare(d.key), p)), None)
        if pattern is None or self.kind != d.kind:
            return False
        if any(want is not None and want != got for want, got in [(self.c, d.c), (self.ours, d.ours)]):
            return False
        self.used[pattern] += 1
        return True


def text(value) -> str:
    return f"{value:#x}" if isinstance(value, int) else str(value)


def texts(values) -> str:
    return " ".join(text(v) for v in values)


def values_differ(key: str, c, ours) -> Difference | None:
    if c.written and not ours.written:
        return Difference(key, "missing", texts(once(c.values)), "")
    if ours.written and not c.written:
        return Difference(key, "extra", "", texts(once(ours.values)))
    if not c.written:
        return None
    if c.final != ours.final:
        return Difference(key, "value", text(c.final), text(ours.final))
    if c.steps != ours.steps and key not in SELECTORS:
        return Difference(key, "steps", texts(once(c.values)), texts(once(ours.values)))
    return None


def once(values: list) -> list:
    """Values without repeats, in the order in which they first came."""
    return list(dict.fromkeys(values))


def reads_differ(key: str, c, ours) -> Difference | None:
    """Reads only one has. How often it reads is left out: with a poll, that is up to the host's speed."""
    if c.reads and not ours.reads:
        return Difference(key, "unread", "reads", "")
    if ours.reads and not c.reads:
        return Difference(key, "read", "", "reads")
    return None


def differences(c: BringUp, ours: BringUp) -> list[Difference]:
    found = []
    for key in sorted(c.registers.keys() | ours.registers.keys()):
        pair = c.registers.get(key, Register()), ours.registers.get(key, Register())
        found += [d for d in (values_differ(key, *pair), reads_differ(key, *pair)) if d]
    found += order_differs(c.order, ours.order)
    return found


def order_differs(c: list[str], ours: list[str]) -> list[Difference]:
    """Registers that both write, whose first or last writes come at another place within their block."""
    both = set(c) & set(ours)
    moved: dict[str, Difference] = {}
    for first in (True, False):
        for block in sorted({order_block(name) for name in both}):
            a, b = (sequence(order, both, block, first) for order in (c, ours))
            kept = common_subsequence(a, b)
            for name in a:
                if name not in kept:
                    what = "first" if first else "last"
                    moved.setdefault(name, Difference(name, "order", f"{what} {after(name, a, kept)}",
                                                      f"{what} {after(name, b, kept)}"))
    return sorted(moved.values(), key=lambda d: d.key)


def order_block(name: str) -> str:
    """Within what the order counts: of jobs, a ring."""
    ring, on_ring, _ = name.partition("> ")
    return ring if on_ring and ring.startswith(("job", "space")) else block_of(name)


def sequence(order: list[str], both: set[str], block: str, first: bool) -> list[str]:
    names = [name for name in order if name in both and order_block(name) == block]
    if first:
        return list(dict.fromkeys(names))
    return list(reversed(dict.fromkeys(reversed(names))))


def after(name: str, order: list[str], kept: set[str]) -> str:
    before = [n for n in order[: order.index(name)] if n in kept]
    return f"after {before[-1]}" if before else "before all others"


def common_subsequence(a: list[str], b: list[str]) -> set[str]:
    """The longest common subsequence of two orders of the same names: the longest run of rising places."""
    place = {name: n for n, name in enumerate(b)}
    best: list[tuple[int, int | None]] = []  # length of the longest run that ends here, and what stands before it
    for n, name in enumerate(a):
        runs = [(best[m][0] + 1, m) for m in range(n) if place[a[m]] < place[name]]
        best.append(max(runs, key=lambda r: r[0], default=(1, None)))
    at = max(range(len(a)), key=lambda n: best[n][0], default=None)
    kept = set()
    while at is not None:
        kept.add(a[at])
        at = best[at][1]
    return kept


def load_explanations(path: Path) -> tuple[str, list[Explanation]]:
    table = tomllib.loads(path.read_text())
    return table["introduction"], [Explanation(**entry) for entry in table["explained"]]


def judge(found: list[Difference], explanations: list[Explanation]) -> list[str]:
    """Gives each difference its explanation; what is left on either side, as lines."""
    for d in found:
        for e in explanations:
            if e.covers(d):
                d.explanation = d.explanation or e
    wrong = [f"not explained: {d.chip}: {d.block}: {d.key}: {KINDS[d.kind]}{values(d)}"
             for d in found if not d.explanation]
    for e in explanations:
        wrong += [f"explains nothing: {pattern} ({e.kind})" for pattern in e.registers if not e.used[pattern]]
    return wrong


def values(d: Difference) -> str:
    return "".join(f"; {who} {what}" for who, what in [("C:", d.c), ("ours:", d.ours)] if what)


def report(chip: "Chip") -> str:
    """Everything of a chip, block by block, for the reader."""
    c, ours, found = chip.c, chip.ours, chip.found
    marks = {d.key: d for d in reversed(found) if d.kind != "order"}
    lines = []
    for block in [block for block, _ in BLOCKS] + ["Others"]:
        keys = [k for k in sorted(c.registers.keys() | ours.registers.keys()) if block_of(k) == block]
        if not keys:
            continue
        lines += ["", f"== {block}", ""]
        for key in keys:
            d = marks.get(key)
            mark = " " if d is None else "~" if d.explanation else "!"
            lines.append(f"{mark} {key:<52} {side(c, key):<40} {side(ours, key)}")
        for d in found:
            if d.kind == "order" and d.block == block:
                lines.append(f"{'~' if d.explanation else '!'} {d.key:<52} {d.c:<40} {d.ours}")
    head = [f"==== {chip.name}",
            "  register, what the C driver did, what ours did; ~ a difference that is explained, ! one that is not"]
    return "\n".join(head + lines) + "\n"


def side(run: BringUp, key: str) -> str:
    register = run.registers.get(key)
    if register is None:
        return "-"
    said = once(register.values)
    parts = [text(v) for v in (said if len(said) <= 3 else [*said[:2], "...", said[-1]])]
    if register.reads:
        parts.append("(polled)" if register.polled else "(read)")
    return " ".join(parts)


@dataclass
class Chip:
    """The two bring-ups of one chip, and how they differ."""

    name: str
    c: BringUp
    ours: BringUp
    found: list[Difference] = field(default_factory=list)

    def __post_init__(self):
        self.found = differences(self.c, self.ours)
        for d in self.found:
            d.chip = self.name

    def blocks(self):
        """Lines for the blocks in which nothing is unexplained."""
        for block in [block for block, _ in BLOCKS] + ["Others"]:
            keys = [k for k in self.c.registers.keys() | self.ours.registers.keys() if block_of(k) == block]
            here = [d for d in self.found if d.block == block]
            if keys and all(d.explanation for d in here):
                yield f"{block}: {len(keys)} registers, {len(here)} differences, all explained"

    def summary(self) -> str:
        c, ours = self.c.registers, self.ours.registers
        both = [k for k in c.keys() & ours.keys() if c[k].written and ours[k].written]
        unlike = {d.key for d in self.found if d.kind == "value"}
        return (f"On {self.name} both write {len(both)} registers and dwords of descriptors (banks counted each), of which "
                f"{len(both) - len(unlike)} end with the same value, microcode included.")


def page(introduction: str, chips: list[Chip]) -> str:
    """The document: all differences with their explanations."""
    lines = ["# Bring-up beside the C driver's", "", introduction.strip(), "", *(chip.summary() for chip in chips),
             "Everything in which they differ; a difference with a chip's name is seen on that one only:"]
    found = [d for chip in chips for d in chip.found]
    for block in [block for block, _ in BLOCKS] + ["Others"]:
        rows = merge([d for d in found if d.block == block], {chip.name for chip in chips})
        if rows:
            lines += ["", f"## {block}", "", "| register | difference | C | ours | why |", "|---|---|---|---|---|"]
            lines += rows
    return "\n".join(lines) + "\n"


def merge(found: list[Difference], chips: set[str]) -> list[str]:
    """Rows of the table; what differs alike for one reason shares a row."""
    shown = {id(d): row(d) for d in found}
    # Of banked registers one chip has more.
    seen: dict[tuple, set[str]] = {}
    for d in found:
        seen.setdefault((bare(d.key), *shown[id(d)]), set()).add(d.chip)
    groups: dict[tuple, list[str]] = {}
    for d in found:
        on = seen[bare(d.key), *shown[id(d)]]
        only = "" if on == chips else f" ({', '.join(sorted(on))})"
        groups.setdefault((*shown[id(d)], only), []).append(d.key)
    rows = []
    for (why, kind, c, ours, only), keys in groups.items():
        names = ", ".join(f"`{k}`" for k in banks_together(list(dict.fromkeys(keys))))
        rows.append(f"| {names} | {KINDS[kind]}{only} | {c} | {ours} | {' '.join(why.split())} |")
    return rows


def row(d: Difference) -> tuple[str, str, str, str]:
    """What a row says of a difference, but for the names."""
    e = d.explanation
    sides = ("", "") if e and e.address else (d.c, d.ours)
    return e.why if e else "**not explained**", d.kind, *map(short, sides)


def short(value: str) -> str:
    words = value.split()
    return " ".join(words) if len(words) <= 6 else " ".join([*words[:4], "…", words[-1]])


def banks_together(keys: list[str]) -> list[str]:
    """Names, each once; of banks, as of rings that a command is on, the first and the last."""
    names: dict[str, list[str]] = {}
    for key in keys:
        ring, on_ring, command = key.partition("> ")
        name, bank = (command, ring) if on_ring else (bare(key), key.partition("@")[2])
        names.setdefault(name, []).append(bank)
    return [name + (f"@{banks[0]}" if banks[0] else "") + (f"…{banks[-1]}" if len(banks) > 1 else "")
            for name, banks in names.items()]


def main():
    parser = argparse.ArgumentParser()
    for option in ("headers", "descriptor", "report", "page"):
        parser.add_argument(f"--{option}", type=Path, required=True)
    parser.add_argument("--chip", nargs=4, action="append", required=True,
                        metavar=("NAME", "SHADER-ENGINES", "C-TRACE", "OUR-TRACE"))
    options = parser.parse_args()

    names = indirect_names(options.headers)
    descriptor = descriptor_names(options.descriptor)
    chips = [Chip(name, *(BringUp.of_file(Path(trace), names, int(engines), descriptor) for trace in traces))
             for name, engines, *traces in options.chip]
    introduction, explanations = load_explanations(HERE / "explained.toml")
    wrong = judge([d for chip in chips for d in chip.found], explanations)
    for chip in chips:
        if not any(key.startswith("job ") for key in chip.c.registers.keys() & chip.ours.registers.keys()):
            wrong.append(f"no job was compared: {chip.name}")
    options.report.write_text("\n".join(report(chip) for chip in chips))
    options.page.write_text(page(introduction, chips))

    for chip in chips:
        print(f"part: {chip.name.lower()}")
        for line in chip.blocks():
            print(f"ok {line}")
    for line in wrong:
        print(f"not ok {line}")


if __name__ == "__main__":
    main()
