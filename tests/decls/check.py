#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0 OR MIT
"""Compares the driver's register and packet declarations with the kernel's own headers.

    check.py CHECKOUT KERNEL-SOURCE

Reads every `register! { ... }` below hw/gfx7 and the opcodes of the packets, and looks each name,
offset and field up in the headers of AMD's C driver. One line for each register and opcode.
"""

import re
import sys
from dataclasses import dataclass
from pathlib import Path

# Which headers describe Bonaire: GFX 7.0 and 7.2 (7.0 has no fields), GMC 7.1, OSS 2.0, BIF 4.1, SMU 7.0.1, DCE 8.0.
HEADERS = ["gca/gfx_7_0", "gca/gfx_7_2", "gmc/gmc_7_1", "oss/oss_2_0", "bif/bif_4_1", "smu/smu_7_0_1", "dce/dce_8_0"]
PACKETS = "drivers/gpu/drm/amd/amdgpu/cikd.h"


@dataclass
class Field:
    name: str
    high: int
    low: int


@dataclass
class Register:
    where: str
    name: str
    base: str | None
    offset: int
    count: int
    stride: int
    fields: list[Field]


class Headers:
    """The registers of the kernel's headers: names to byte offsets, and (register, field) to masks."""

    def __init__(self, folder: Path):
        self.offsets: dict[str, set[int]] = {}
        self.masks: dict[tuple[str, str], int] = {}
        for header in HEADERS:
            text = (folder / f"{header}_d.h").read_text()
            # mm: in dwords of the register aperture; ix: an index behind an index/data pair.
            for kind, name, value in re.findall(r"^#define\s+(mm|ix)(\w+)\s+(0x[0-9a-fA-F]+)", text, re.M):
                self.offsets.setdefault(name, set()).add(int(value, 16) * (4 if kind == "mm" else 1))
            masks = folder / f"{header}_sh_mask.h"
            text = masks.read_text() if masks.exists() else ""
            for name, field, value in re.findall(r"^#define\s+(\w+?)__(\w+)_MASK\s+(0x[0-9a-fA-F]+)", text, re.M):
                self.masks[name, field] = int(value, 16)
        self.at: dict[int, set[str]] = {}
        for name, offsets in self.offsets.items():
            for offset in offsets:
                self.at.setdefault(offset, set()).add(name)

    def instance(self, name: str, offset: int) -> str | None:
        """The register at `offset` whose name is `name` but for the number of its instance."""
        same = [n for n in self.at.get(offset, ()) if n == name]
        return next(iter(same or sorted(n for n in self.at.get(offset, ()) if plain(n) == plain(name))), None)


def plain(name: str) -> str:
    """A name without the numbers of instances: IH_VMID_3_LUT and IH_VMID_LUT are one family."""
    return re.sub(r"_+", "_", re.sub(r"\d+", "", name)).strip("_")


def without_instance(name: str) -> str:
    """The name under which the headers have the fields of a display controller's register, once for all."""
    return re.sub(r"^(DCP|CRTC)\d_", "", name)


def number(text: str) -> int:
    return int(text.replace("_", ""), 0)


def without_comments(text: str) -> str:
    return re.sub(r"//[^\n]*", "", text)


def blocks(text: str):
    """The bodies of all `register! { ... }`."""
    for start in re.finditer(r"\bregister!\s*\{", text):
        depth, at = 1, start.end()
        while depth:
            depth += {"{": 1, "}": -1}.get(text[at], 0)
            at += 1
        yield start.end(), text[start.end() : at - 1]


DECLARATION = re.compile(
    r"(?P<name>[A-Z]\w*)\s*\(\s*u(?P<bits>\d+)\s*\)"
    r"(?:\s*\[\s*(?P<count>\w+)(?:\s*,\s*stride\s*=\s*(?P<stride>\w+))?\s*\])?"
    r"\s*@\s*(?:(?P<base>[A-Z]\w*)\s*\+\s*)?(?P<offset>0x[0-9a-fA-F_]+|\d+)\s*"
    r"(?:\{(?P<fields>[^}]*)\}|;)"
)
FIELD = re.compile(r"(\d+):(\d+)\s+(\w+)")


def registers(path: Path, shown: str):
    text = path.read_text()
    for start, body in blocks(text):
        for m in DECLARATION.finditer(without_comments(body)):
            width = int(m["bits"]) // 8
            fields = [
                Field(name, max(int(a), int(b)), min(int(a), int(b)))
                for a, b, name in FIELD.findall(m["fields"] or "")
            ]
            yield Register(
                shown,
                m["name"],
                m["base"],
                number(m["offset"]),
                number(m["count"] or "1"),
                number(m["stride"]) if m["stride"] else width,
                fields,
            )


def bases(texts: list[str]) -> dict[str, list[int]]:
    """Families of registers: the offset of each of their instances."""
    found: dict[str, list[int]] = {}
    pattern = r"impl\s+RegisterBase<(\w+)>\s+for\s+\w+\s*\{\s*const\s+BASE:\s*usize\s*=\s*(\w+)\s*;"
    for text in texts:
        for family, offset in re.findall(pattern, text):
            found.setdefault(family, []).append(number(offset))
    return found


def mask(high: int, low: int) -> int:
    return ((1 << (high - low + 1)) - 1) << low


def mistakes(reg: Register, headers: Headers, families: dict[str, list[int]]) -> list[str]:
    if reg.base is not None and reg.base not in families:
        return [f"the family {reg.base} has no instance"]
    starts = families[reg.base] if reg.base else [0]
    wrong, names = [], []
    for instance, start in enumerate(starts):
        for i in range(reg.count):
            offset = start + reg.offset + i * reg.stride
            # The first instance gives its name to the declaration, the others have a number of theirs.
            first = instance == 0 and i == 0
            name = reg.name if first and offset in headers.offsets.get(reg.name, ()) else None
            name = name or (headers.instance(reg.name, offset) if not first or reg.count > 1 else None)
            if name is None:
                known = sorted(hex(o) for o in headers.offsets.get(reg.name, ()))
                there = ", ".join(sorted(headers.at.get(offset, ()))) or "nothing"
                wrong.append(f"{offset:#x}: the headers have {there} there, and {reg.name} at {known or 'no place'}")
            else:
                names.append(name)
    for field in reg.fields:
        ours = mask(field.high, field.low)
        for name in names:
            theirs = headers.masks.get((name, field.name.upper())) or headers.masks.get(
                (without_instance(name), field.name.upper())
            )
            if theirs is None:
                wrong.append(f"{name} has no field {field.name.upper()}")
            elif theirs != ours:
                wrong.append(f"{name}.{field.name.upper()} is {theirs:#010x}, declared {ours:#010x}")
    return sorted(set(wrong))


def packets(path: Path, constant: str, prefix: str, header: str):
    """Opcodes with the vendor's name in a comment: `const OPCODE: u8 = 0x37; // WRITE_DATA`."""
    known = {n: number(v) for n, v in re.findall(rf"^#define\s+{prefix}(\w+)\s+(0x[0-9a-fA-F]+|\d+)\s*$", header, re.M)}
    for value, name in re.findall(rf"const {constant}: u8 = (\w+);(?:\s*//\s*(\w+))?", path.read_text()):
        opcode = number(value)
        names = [n for n, v in known.items() if v == opcode]
        if name and known.get(name) == opcode:
            yield f"ok {path.name}: {name} is {opcode:#04x}"
        elif name:
            yield f"not ok {path.name}: {name} is {known.get(name)} in the headers, declared {opcode:#04x}"
        elif names:
            yield f"ok {path.name}: {opcode:#04x} is {names[0]}"
        else:
            yield f"not ok {path.name}: no packet has the opcode {opcode:#04x}"


def main() -> int:
    checkout, kernel = Path(sys.argv[1]), Path(sys.argv[2])
    headers = Headers(kernel / "drivers/gpu/drm/amd/include/asic_reg")
    sources = sorted((checkout / "hw/gfx7").rglob("*.rs"))
    families = bases([without_comments(path.read_text()) for path in sources])
    lines, seen = [], 0
    for path in sources:
        # Each file is a part of the suite, for scripts/test to count.
        lines.append(f"part: {path.relative_to(checkout / 'hw/gfx7')}")
        for reg in registers(path, str(path.relative_to(checkout))):
            seen += 1
            wrong = mistakes(reg, headers, families)
            lines += [f"not ok {reg.where}: {reg.name}: {w}" for w in wrong]
            if not wrong:
                fields = f", {len(reg.fields)} fields" if reg.fields else ""
                lines.append(f"ok {reg.where}: {reg.name}{fields}")
    # A declaration that is written in a way not understood here must not go unseen.
    declared = sum(
        len(re.findall(r"^\s*(?:pub(?:\([^)]*\))?\s+)?[A-Z]\w*\s*\(\s*u\d+\s*\)", without_comments(body), re.M))
        for path in sources
        for _, body in blocks(path.read_text())
    )
    if seen != declared or not seen:
        lines.append(f"not ok {seen} declarations understood of {declared}")
    header = (kernel / PACKETS).read_text()
    gfx7 = checkout / "hw/gfx7"
    for name, constant, prefix in [("pm4.rs", "OPCODE", "PACKET3_"), ("sdma_packet.rs", "OPERATION", "SDMA_OPCODE_")]:
        if (gfx7 / name).exists():
            lines.append(f"part: packets/{name}")
            lines += packets(gfx7 / name, constant, prefix, header)
    print("\n".join(lines))
    return any(line.startswith("not ok") for line in lines)


if __name__ == "__main__":
    sys.exit(main())
