# SPDX-License-Identifier: GPL-2.0 OR MIT
"""A bring-up as the model's trace has it: which registers were written with what, which were read."""

import json
import re
import zlib
from dataclasses import dataclass, field
from pathlib import Path

# The guest writes these to the interrupt line, a byte of configuration space that means nothing to the card,
# before it loads a driver and when the driver is there (tests/rig/bin/marked-load).
INTERRUPT_LINE = "0x3c"
BEGIN, END = "0xa5", "0x5a"

# Ports of indirect spaces: the trace names the register behind them too.
PORT = re.compile(r"(PCIE|SMC_IND|MC_SEQ_IO_DEBUG|DIDT_IND)_(INDEX|DATA)(_\d)?")
# They choose what the next accesses are about.
SELECTORS = {"SRBM_GFX_CNTL", "GRBM_GFX_INDEX"}
# Microcode goes through one register, dword after dword.
STREAM = re.compile(r"CP_\w+_UCODE_DATA|CP_ME_RAM_DATA|RLC_GPM_UCODE_DATA|SDMA\d_UCODE_DATA|MC_SEQ_SUP_PGM")

PER_VMID = re.compile(r"SH_MEM_(BASES|APE1_BASE|APE1_LIMIT|CONFIG)|SDMA\d_GFX_(VIRTUAL_ADDR|APE1_CNTL)")
PER_PIPE = re.compile(r"CP_HPD_EOP_\w+")
PER_QUEUE = re.compile(r"CP_(HQD|MQD)_\w+")
PER_ENGINE = re.compile(r"(CC|GC_USER)_(RB_BACKEND_DISABLE|GC_SHADER_ARRAY_CONFIG|SHADER_ARRAY_CONFIG)"
                        r"|PA_SC_RASTER_CONFIG(_1)?|RLC_SERDES_CU_MASTER_BUSY")


@dataclass
class Register:
    """What one driver did with one register (of one bank)."""

    values: list = field(default_factory=list)
    reads: int = 0
    polled: bool = False

    @property
    def written(self) -> bool:
        return bool(self.values)

    @property
    def final(self):
        return self.values[-1]

    @property
    def steps(self) -> set:
        return set(self.values)


class Microcode:
    """What was sent through a data register: how much, and its checksum."""

    def __init__(self):
        self.dwords, self.crc = 0, 0

    def add(self, value: int):
        self.dwords += 1
        self.crc = zlib.crc32(value.to_bytes(4, "little"), self.crc)

    def __str__(self):
        return f"{self.dwords} dwords, CRC {self.crc:08x}"


class BringUp:
    """One driver's bring-up.

    Registers are known by name, with an '@' and the bank if they are banked; what a ring's commands write has the
    engine's name in front. What a compute queue's descriptor held when the queue was started is known as 'MQD ' and
    the name of the dword, of which `descriptor` has the list. `shader_engines` is how many of them the card has.
    """

    def __init__(self, events, names: dict[tuple[str, int], str] | None = None, shader_engines: int = 2,
                 descriptor: list[str] | None = None):
        self.names = names or {}
        self.shader_engines = shader_engines
        self.descriptor = descriptor or []
        self.registers: dict[str, Register] = {}
        # Names in the order in which they were written, with repeats, selectors left out.
        self.order: list[str] = []
        self._selected = {name: 0 for name in SELECTORS}
        self._streams: dict[str, Microcode] = {}
        self._last_read: tuple[str, int] | None = None
        for event in events:
            self._take(event)
        self._flush_read()
        for key, stream in self._streams.items():
            self.registers[key].values = [str(stream)]

    @classmethod
    def of_file(cls, path: Path, names, shader_engines: int, descriptor: list[str]) -> "BringUp":
        with path.open() as lines:
            return cls(between_marks(json.loads(line) for line in lines), names, shader_engines, descriptor)

    def _take(self, event: dict):
        kind = event["k"]
        if kind == "cfg":
            self._write(f"config {event['at']}", event["val"])
        elif kind == "mqd":
            self._take_descriptor(event["queue"], [int(dword, 16) for dword in event["dw"]])
        elif kind == "pkt" and not event["op"].startswith(("SET_", "NOP")):
            self._write(f"{event['eng']}> {event['op']}", " ".join(event["dw"][1:]))
        elif kind in "rw" and not PORT.fullmatch(event["reg"]):
            name, value = self._name(event["reg"]), int(event["val"], 16)
            by = "" if event["by"] == "host" else f"{event['by']}> "
            if kind == "w":
                self._register_write(by, name, value)
            elif not by:
                self._read(name)

    def _take_descriptor(self, queue: str, dwords: list[int]):
        """The last dwords that a descriptor held are the ones that count; a dword without a name has its number."""
        for n, value in enumerate(dwords):
            name = self.descriptor[n] if n < len(self.descriptor) else f"dword {n}"
            self.registers.setdefault(f"MQD {name}@queue{queue}", Register()).values = [value]

    def _name(self, label: str) -> str:
        indirect = re.fullmatch(r"(\w+)\[(0x[0-9a-f]+)\]", label)
        if indirect:
            space, index = indirect[1], int(indirect[2], 16)
            return self.names.get((space, index), f"{space}_{index:x}")
        return label

    def _register_write(self, by: str, name: str, value: int):
        if name in SELECTORS:
            self._flush_read()
            self._selected[name] = value
            self.registers.setdefault(by + name, Register()).values.append(value)
        elif STREAM.fullmatch(name):
            self._flush_read()
            self._streams.setdefault(name, Microcode()).add(value)
            self.registers.setdefault(name, Register())
        else:
            for key in self.banks(name):
                self._write(by + key, value)

    def banks(self, name: str) -> list[str]:
        """The register's name with each bank that is chosen."""
        srbm, grbm = self._selected["SRBM_GFX_CNTL"], self._selected["GRBM_GFX_INDEX"]
        pipe, engine, vmid, queue = srbm & 3, srbm >> 2 & 3, srbm >> 4 & 0xF, srbm >> 8 & 7
        if PER_VMID.fullmatch(name):
            return [f"{name}@vmid{vmid}"]
        if PER_PIPE.fullmatch(name):
            return [f"{name}@pipe{engine}.{pipe}"]
        if PER_QUEUE.fullmatch(name):
            return [f"{name}@queue{engine}.{pipe}.{queue}"]
        if PER_ENGINE.fullmatch(name):
            engines = range(self.shader_engines) if grbm >> 31 else [grbm >> 16 & 0xFF]
            return [f"{name}@se{n}" for n in engines]
        return [name]

    def _write(self, key: str, value):
        # A read right before a write of the same register belongs to the change.
        if not (self._last_read and self._last_read[0] == key):
            self._flush_read()
        self._last_read = None
        self.registers.setdefault(key, Register()).values.append(value)
        self.order.append(bare(key))

    def _read(self, name: str):
        key = self.banks(name)[0]
        if self._last_read and self._last_read[0] == key:
            self._last_read = (key, self._last_read[1] + 1)
        else:
            self._flush_read()
            self._last_read = (key, 1)

    def _flush_read(self):
        if self._last_read:
            register = self.registers.setdefault(self._last_read[0], Register())
            register.reads += self._last_read[1]
            register.polled |= self._last_read[1] > 2
            self._last_read = None


def bare(key: str) -> str:
    """A register's name without its bank."""
    return key.split("@")[0]


def between_marks(events):
    """The events from the begin mark to the end mark, both left out."""
    inside = False
    for event in events:
        if event["k"] == "cfg" and event["at"] == INTERRUPT_LINE and event["val"] in (BEGIN, END):
            if inside and event["val"] == END:
                return
            inside = event["val"] == BEGIN
        elif inside:
            yield event
    raise SystemExit("compare: the trace has no bring-up between two marks")


def indirect_names(headers: Path) -> dict[tuple[str, int], str]:
    """Names of the registers behind index and data ports, by space and index, from the kernel's headers."""
    names = {}
    for space, header in [("PCIE", "bif/bif_4_1_d.h"), ("SMC", "smu/smu_7_0_1_d.h")]:
        for name, index in re.findall(r"^#define\s+ix(\w+)\s+(0x[0-9a-fA-F]+)", (headers / header).read_text(), re.M):
            names.setdefault((space, int(index, 16)), name)
    return names


def descriptor_names(header: Path) -> list[str]:
    """Names of the dwords of a compute queue's descriptor, from the kernel's structure."""
    body = re.search(r"struct cik_mqd \{(.*?)\n\};", header.read_text(), re.S)
    return re.findall(r"uint32_t\s+(\w+);", body[1])
