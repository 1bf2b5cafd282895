#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0 OR MIT
"""Writes the ACPI table VFCT that hands over a video BIOS, without the table's own header, which QEMU makes.

    vfct.py ROM BUS:SLOT.FUNCTION VENDOR:DEVICE >TABLE      numbers in hexadecimal

The layout is that of UEFI_ACPI_VFCT in the C driver's atombios.h: a UUID, the offset of the first image in the whole
table, and then images, each after a header of 28 bytes.
"""

import pathlib
import re
import struct
import sys

ACPI_HEADER = 36


def main() -> None:
    # QEMU takes tables below 64 KiB, and the end of the ROM is empty.
    rom = pathlib.Path(sys.argv[1]).read_bytes().rstrip(b"\0\xff")
    bus, slot, function = (int(n, 16) for n in re.fullmatch(r"(\w+):(\w+)\.(\w+)", sys.argv[2]).groups())
    vendor, device = (int(n, 16) for n in sys.argv[3].split(":"))
    head = struct.pack("<16sII16x", b"amdgpu_rs' rig  ", ACPI_HEADER + 40, 0)
    # A card that is not there comes first.
    images = [(bus, slot + 1, b"\0" * 512), (bus, slot, rom)]
    sys.stdout.buffer.write(head)
    for bus, slot, image in images:
        header = struct.pack("<IIIHHHHII", bus, slot, function, vendor, device, 0, 0, 0, len(image))
        sys.stdout.buffer.write(header + image)


if __name__ == "__main__":
    main()
