# SPDX-License-Identifier: GPL-2.0 OR MIT
"""A bring-up as the model's trace has it: which registers were written with what, which were read. And jobs that do
nothing, after it: what a driver puts around a command buffer."""

import json
import re
import zlib
from dataclasses import dataclass, field
from pathlib import Path

# The guest writes these to the interrupt line, a byte of configuration space that means nothing to the card,
# before it loads a driver and when the driver is there (tests/rig/bin/marked-load).
INTERRUPT_LINE = "0x3c"
BEGIN, END = "0xa5", "0x5a"
# And these before and after jobs that do nothing.
JOBS_BEGIN, JOBS_END = "0xc3", "0x3c"

# Stands for the value of what a submission has for the VMID of its process.
USERS = "of its VMID"

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
        # What each ring has got of a submission that goes on: commands and registers, with values.
        self._submissions: dict[str, list[tuple]] = {}
        self._job_orders: dict[str, list[str]] = {}
        for event in events:
            self._take(event)
        self._flush_read()
        for order in self._job_orders.values():
            self.order += order
        for key, stream in self._streams.items():
            self.registers[key].values = [str(stream)]

    @classmethod
    def of_file(cls, path: Path, names, shader_engines: int, descriptor: list[str]) -> "BringUp":
        with path.open() as lines:
            return cls(between_marks(json.loads(line) for line in lines), names, shader_engines, descriptor)

    def _take(self, event: dict):
        kind = event["k"]
        if event.get("job"):
            self._take_of_job(event)
            return
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

    def _take_of_job(self, event: dict):
        """Commands of submissions by processes. Those by which a kernel writes page tables are its own affair."""
        if event["k"] == "pkt" and not event["op"].startswith("NOP"):
            ring, op, dwords = event["eng"], event["op"], [int(dword, 16) for dword in event["dw"]]
            commands = self._submissions.setdefault(ring, [])
            is_users = op == "INDIRECT_BUFFER" and vmid_of_buffer(dwords)
            commands.append((command(op, dwords), USERS if is_users else "sent"))
            if ends_submission(op, dwords):
                if any(value == USERS for _, value in commands):
                    self._take_submission(ring, commands)
                del self._submissions[ring]
        elif event["k"] == "w" and event["by"] in self._submissions:
            name = re.sub(r"(VM_CONTEXT|IH_VMID_)\d+", r"\1n", event["reg"])
            is_vmids = name.startswith("VM_CONTEXTn_") or name == "VM_INVALIDATE_REQUEST"
            value = USERS if is_vmids else "of a VMID" if "n_" in name else int(event["val"], 16)
            self._submissions[event["by"]].append((name, value))

    def _take_submission(self, ring: str, commands: list[tuple]):
        """All count as written, for the kind of ring: which of a kind runs a job is up to the driver. The order is that
        of the last one, and that of the last one that changes the address space, with 'space' in place of 'job'."""
        # The second of two engines has another bit in what concerns all clients of the host data path.
        other = {"sdma1": (f"{1 << 11:08x}", f"{1 << 10:08x}", 1 << 11, 1 << 10)}.get(ring)
        kind = re.sub(r"^(comp|sdma).*", r"\1", ring)
        names = []
        for name, value in commands:
            if other:
                name, value = name.replace(*other[:2]), other[3] if value == other[2] else value
            # How often a DMA engine waits for the job before, and so where last, is up to how fast that one was.
            if not name.startswith("POLL_REG_MEM b"):
                names.append(name)
            self.registers.setdefault(f"job {kind}> {name}", Register()).values.append(value)
        self._job_orders[f"job {kind}"] = [f"job {kind}> {name}" for name in names]
        if "VM_INVALIDATE_REQUEST" in names:
            self._job_orders[f"space {kind}"] = [f"space {kind}> {name}" for name in names]

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


def words(dwords: list[int], keep: dict[int, int]) -> str:
    """Dwords after the header, of which only the bits in `keep` say something; '*' for one that says nothing."""
    def text(n: int, value: int) -> str:
        mask = keep.get(n, 0xFFFFFFFF)
        return f"{value & mask:08x}" if mask else "*"
    return " ".join(text(n, value) for n, value in enumerate(dwords))


def command(op: str, dwords: list[int]) -> str:
    """A command without what differs from one submission to the next: addresses, sequence numbers, the VMID. What it
    writes into registers is known by the registers' names."""
    header, body = dwords[0], dwords[1:]
    if header >> 30 != 3:  # a DMA engine's
        if op == "INDIRECT_BUFFER":
            return f"{op} {header & ~0xF0000:08x} * * {words(body[2:], {})}"
        if op == "POLL_REG_MEM" and header >> 31:
            return f"{op} {header:08x} {words(body, {0: 0, 1: 0, 2: 0})}"
        said = {"POLL_REG_MEM": {}, "SRBM_WRITE": {0: 0, 1: 0}}.get(op, dict.fromkeys(range(len(body)), 0))
        return f"{op} {header:08x} {words(body, said)}".rstrip()
    in_memory = {
        "WAIT_REG_MEM": body[0] >> 4 & 1,
        "WRITE_DATA": body[0] >> 8 & 0xF,
    }.get(op)
    keep = {
        "WAIT_REG_MEM": {1: 0, 2: 0, 3: 0} if in_memory else {},
        "WRITE_DATA": dict.fromkeys(range(1, len(body)), 0),
        "EVENT_WRITE_EOP": {1: 0, 2: 0xFFFF0000, 3: 0, 4: 0},
        "RELEASE_MEM": {2: 0, 3: 0, 4: 0, 5: 0},
        "INDIRECT_BUFFER": {0: 0, 1: 0, 2: 0xF0FFFFFF},
        "COND_EXEC": dict.fromkeys(range(len(body)), 0),
    }.get(op, {})
    return f"{op} {words(body, keep)}"


def vmid_of_buffer(dwords: list[int]) -> int:
    return dwords[3] >> 24 & 0xF if dwords[0] >> 30 == 3 else dwords[0] >> 16 & 0xF


def ends_submission(op: str, dwords: list[int]) -> bool:
    """Whether the command is a fence that interrupts."""
    return op in ("RELEASE_MEM", "TRAP") or op == "EVENT_WRITE_EOP" and dwords[3] >> 24 & 3 != 0


def bare(key: str) -> str:
    """A register's name without its bank."""
    return key.split("@")[0]


def between_marks(events):
    """The events from the begin mark to the end mark, both left out; then those of jobs, if there are any, with the
    key `job`."""
    inside, brought_up = "", False
    for event in events:
        if event["k"] == "cfg" and event["at"] == INTERRUPT_LINE and event["val"] in (BEGIN, END, JOBS_BEGIN, JOBS_END):
            brought_up |= inside == BEGIN and event["val"] == END
            if inside == JOBS_BEGIN and event["val"] == JOBS_END:
                return
            inside = event["val"]
        elif inside == BEGIN and not brought_up:
            yield event
        elif inside == JOBS_BEGIN and brought_up:
            yield event | {"job": True}
    if not brought_up:
        raise SystemExit("compare: the trace has no bring-up between two marks")
    if inside == JOBS_BEGIN:
        raise SystemExit("compare: the trace has no end of the jobs")


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
