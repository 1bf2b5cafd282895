#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0 OR MIT
"""The floors of the driver: which file may import which.

    tests/floors/floors.py check    says each import that does not go down, and each circle that is not listed
    tests/floors/floors.py draw     the picture of the floors (docs/floors.svg)

A floor is a list of steps. A file imports from steps below its own only; files of one step may import each other.
A file and its folder are one module, whose parts may know each other. Modules that import each other in a circle are
listed, and the head of the first of them names the others.
"""

import fnmatch
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# Name, what it is for, and its steps from top to bottom: patterns of files.
FLOORS = [
    ("root", "probe, the ioctl table, open files", ["callbacks.rs", "amdgpu_rs.rs", "power.rs", "first_boot.rs", "driver.rs", "file.rs"]),
    ("ioctls", "what user space asks for; every field checked",
     ["cs.rs cs/*", "info.rs", "gem.rs gem/*", "bo_list.rs", "fences.rs", "fdinfo.rs", "sync.rs", "ctx.rs ctx/*",
      "absent.rs"]),
    ("memory", "where bytes live, and who may see them",
     ["ttm/access.rs vm/view.rs", "vm.rs vm/* ttm.rs ttm/* userptr.rs", "mem.rs"]),
    ("execution", "what runs, in which order, and when it is done",
     ["exec.rs", "exec/outage.rs", "exec/revive.rs", "exec/memory_test.rs", "exec/shader_test.rs", "exec/interrupts.rs", "device.rs", "exec/heat.rs",
      "exec/kernel_queue.rs", "exec/recovery.rs", "exec/reset.rs exec/reset/*", "exec/dump.rs exec/dump/*", "exec/job.rs", "exec/executor.rs", "exec/copy.rs", "exec/ring.rs exec/ring/*",
      "exec/fence.rs exec/fence/*", "exec/verdict.rs", "exec/level.rs", "exec/gang.rs", "exec/engine_time.rs", "exec/vmid.rs exec/vmid/*", "exec/submitter.rs", "exec/view.rs",
      "exec/faults.rs", "exec/unmapped.rs", "exec/interrupt_ring.rs", "exec/fence_pages.rs", "exec/gart.rs"]),
    ("hw", "registers, packets, page tables of each generation",
     ["hw/gfx7.rs hw/gfx7/*", "hw.rs", "hw/engine.rs", "hw/bring_up.rs", "hw/graphics.rs", "hw/firmware.rs", "hw/vbios.rs hw/vbios/*",
      "hw/atom.rs hw/atom/*", "hw/card.rs hw/card/*", "hw/fake.rs", "hw/decode.rs", "hw/command.rs", "hw/on_chip.rs", "hw/layout.rs",
      "hw/page_table.rs"]),
    ("words", "types and counters that all floors share",
     ["uapi.rs", "uapi/*", "drm.rs", "debug.rs", "debug/*"]),
    ("abstractions", "safe Rust over C subsystems that the kernel crate lacks; knows nothing of amdgpu",
     ["abstractions.rs", "abstractions/*"]),
]

# Modules that import each other in a circle.
CIRCLES = ["vm.rs ttm.rs userptr.rs"]

# Folders of modules that are no module themselves.
FOLDERS = ("exec", "hw")


def tree(text: str, at: int, prefix: tuple, paths: list) -> int:
    """Collects the paths of the `use` tree that begins at `at`; where it ends."""
    if text[at] == "{":
        at += 1
        while text[at] != "}":
            at = tree(text, at, prefix, paths)
            at += text[at] == ","
        return at + 1
    name = re.compile(r"\w+|\*").match(text, at)[0]
    at += len(name)
    if text.startswith("::", at):
        return tree(text, at + 2, (*prefix, name), paths)
    paths.append((*prefix, name))
    return at


def imports(path: str, modules: dict) -> set:
    """The files that a file imports from, outside its tests."""
    text = re.sub(r"//[^\n]*", "", (ROOT / path).read_text().split("kunit_tests(")[0])
    here, paths = tuple(path.removesuffix(".rs").split("/")), []
    for use in re.findall(r"^\s*(?:pub(?:\([^)]*\))?\s+)?use\s+([\w:{][^;]*);", text, re.M):
        tree(re.sub(r"\s+as\s+\w+|\s", "", use), 0, (), paths)
    found = set()
    for first, *rest in paths:
        base = {"crate": (), "self": here, "super": here[:-1]}.get(first)
        target = (*base, *rest) if base is not None else ()
        while target and target not in modules:
            target = target[:-1]
        found |= {modules[target]} - {path} if target else set()
    return found


def steps() -> list:
    return [step.split() for _, _, floor in FLOORS for step in floor]


def circles(graph: dict) -> list:
    """Sets of files each of which reaches all others."""
    reach = {file: set(to) for file, to in graph.items()}
    for through in graph:
        for file in graph:
            if through in reach[file]:
                reach[file] |= reach[through]
    return list({frozenset(b for b in graph if b in reach[a] and a in reach[b]) for a in graph if a in reach[a]})


def module(file: str) -> str:
    """The module that a file belongs to, by its own file: `vm.rs` for `vm/space.rs`."""
    parts, depth = file.split("/"), 1
    while "/".join(parts[:depth]) in FOLDERS and len(parts) > depth:
        depth += 1
    return "/".join(parts[:depth]).removesuffix(".rs") + ".rs"


def check() -> list:
    paths = [path.relative_to(ROOT) for path in ROOT.rglob("*.rs")]
    files = [str(path) for path in paths if path.parts[0] not in ("tests", "out")]
    modules = {tuple(file.removesuffix(".rs").split("/")): file for file in files}
    graph = {file: imports(file, modules) for file in files}
    step = {f: n for f in files for n, s in enumerate(steps()) if any(fnmatch.fnmatchcase(f, p) for p in s)
            } | {f: n for f in files for n, s in enumerate(steps()) if f in s}
    wrong = [f"{file} is on no floor" for file in files if file not in step]
    wrong += [f"{file} imports {to}, which is not below it"
              for file in files for to in graph[file] if step.get(file, 0) > step.get(to, 99)]
    of_modules: dict = {}
    for file, to in graph.items():
        of_modules.setdefault(module(file), set()).update({module(other) for other in to} - {module(file)})
    listed = {frozenset(circle.split()): circle.split() for circle in CIRCLES}
    found = set(circles(of_modules))
    wrong += [f"a circle that is not listed: {' '.join(sorted(c))}" for c in found - listed.keys()]
    wrong += [f"a circle is listed that there is not: {' '.join(sorted(c))}" for c in listed.keys() - found]
    for home, *others in listed.values():
        head = "".join(re.findall(r"^//!.*", (ROOT / home).read_text(), re.M))
        wrong += [f"the head of {home} does not say `{word}`, of the circle that it is in"
                  for word in ["circle", *others] if word not in head]
    return wrong


def draw() -> str:
    """The floors as a picture; how many files a step has is not shown, a folder is."""
    out, y = [], 84
    box = '<rect class="{}" x="{}" y="{}" width="{}" height="{}" rx="6"/>'.format
    text = lambda kind, x, y, what: f'<text class="{kind}" x="{x}" y="{y}">{what}</text>'
    arrow = '<path class="arrow" d="{}"/>'.format
    out += [box("out", 20, 14, 820, 46), text("name", 36, 43, "user space"),
            text("what", 160, 43, "libdrm_amdgpu, Mesa, IGT: unmodified; amdgpu_drm.h between them and us"),
            arrow("M430 60 V82")]
    for name, what, floor in FLOORS:
        if name == "hw":
            card = y + 29
        words = [word for step in floor for word in step.split() if not word.endswith("abstractions.rs")]
        lines = [""]
        for word in words:
            if len(lines[-1]) + len(word) > 74:
                lines.append("")
            lines[-1] += word + "  "
        height = 38 + 20 * len(lines)
        out += [box("floor", 20, y, 820, height), text("name", 36, y + 25, name)]
        out += [text("file", 160, y + 25 + 20 * n, line.rstrip()) for n, line in enumerate(lines)]
        out += [text("what", 160, y + 26 + 20 * len(lines), what)]
        y += height + 16
        if name != FLOORS[-1][0]:
            out.append(arrow(f"M430 {y - 16} V{y - 2}"))
    out += [arrow(f"M215 {y - 16} V{y + 6}"), arrow(f"M840 {card} C892 {card + 15} 892 {y + 15} 842 {y + 30}")]
    for x, name, at, what in [(20, "the Linux kernel", 180, "Rust crates; TTM, drm_sched, mm"),
                              (450, "the card", 550, "a real one, or tests/model behind QEMU")]:
        out += [box("out", x, y + 8, 390, 46), text("name", x + 16, y + 37, name), text("what", at, y + 37, what)]
    return SVG.format(height=y + 70, body="\n  ".join(out))


SVG = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 900 {height}" font-family="sans-serif" font-size="15">
  <!-- Drawn by tests/floors/floors.py. -->
  <style>
    .floor {{ fill: #f4f6f8; stroke: #8a97a6; }}
    .name {{ font-weight: bold; fill: #22303c; }}
    .file {{ fill: #3d4d5c; font-family: monospace; font-size: 14px; }}
    .what {{ fill: #66788a; font-size: 13px; }}
    .out {{ fill: #fff7e6; stroke: #c9a35b; }}
    .arrow {{ stroke: #66788a; fill: none; marker-end: url(#head); }}
  </style>
  <defs>
    <marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">
      <path d="M0 0 L8 4 L0 8 z" fill="#66788a"/>
    </marker>
  </defs>
  {body}
</svg>
"""


if __name__ == "__main__":
    if sys.argv[1:] == ["draw"]:
        print(draw(), end="")
    elif sys.argv[1:] == ["check"]:
        mistakes = check()
        if draw() != (ROOT / "docs/floors.svg").read_text():
            mistakes.append("docs/floors.svg is not what `tests/floors/floors.py draw` draws")
        print("\n".join(mistakes) or "every import goes down")
        sys.exit(bool(mistakes))
    else:
        sys.exit(__doc__)
