// SPDX-License-Identifier: GPL-2.0 OR MIT

//! An image of a video BIOS: bounded reads, and its lists of tables.
//!
//! The C driver reads them with `U16` and `CU16` (atom-bits.h), without a bound.
//!
//! The word at 0x48 points to the ATOM header, which points to the list of command tables and to
//! that of data tables. A list is a table itself: four bytes of header, then a word for each table,
//! zero if there is none. All offsets count from the start of the image.

/// Offset of the word that points to the ATOM header.
pub(crate) const ATOM_HEADER: usize = 0x48;

/// Offset of the letters "ATOM" in the ATOM header, and of the pointers to the lists of tables.
const ATOM_LETTERS: usize = 4;
const COMMAND_TABLES: usize = 0x1e;
const DATA_TABLES: usize = 0x20;

/// An image that nobody has checked. Every read checks that it is within the image.
#[derive(Clone, Copy)]
pub(crate) struct Image<'a>(pub(crate) &'a [u8]);

/// Offsets of the lists of tables.
#[derive(Clone, Copy)]
pub(super) struct Tables {
    pub(super) commands: usize,
    pub(super) data: usize,
}

/// Header of a command table.
#[derive(Clone, Copy, Default)]
pub(super) struct Header {
    /// Dwords of workspace.
    pub(super) workspace: u8,
    /// Dwords of parameters that are not shared with called tables.
    pub(super) parameters: u8,
}

impl Header {
    /// Size of the header in bytes. The code follows.
    pub(super) const SIZE: usize = 6;
}

impl Image<'_> {
    pub(crate) fn bytes<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        let bytes = self.0.get(offset..offset.checked_add(N)?)?;
        bytes.try_into().ok()
    }

    pub(crate) fn byte(&self, offset: usize) -> Option<u8> {
        self.0.get(offset).copied()
    }

    pub(crate) fn word(&self, offset: usize) -> Option<u16> {
        Some(u16::from_le_bytes(self.bytes(offset)?))
    }

    pub(crate) fn dword(&self, offset: usize) -> Option<u32> {
        Some(u32::from_le_bytes(self.bytes(offset)?))
    }

    /// Returns the offset that the word at `offset` points to, unless the word is zero.
    pub(crate) fn pointer(&self, offset: usize) -> Option<usize> {
        let target = self.word(offset).filter(|target| *target != 0)?;
        Some(usize::from(target))
    }

    /// Returns the offset of the ATOM header.
    pub(crate) fn atom_header(&self) -> Option<usize> {
        self.pointer(ATOM_HEADER)
            .filter(|header| self.bytes(header + ATOM_LETTERS) == Some(*b"ATOM"))
    }

    /// Returns the lists of tables.
    pub(super) fn tables(&self) -> Option<Tables> {
        let header = self.atom_header()?;
        Some(Tables {
            commands: self.pointer(header + COMMAND_TABLES)?,
            data: self.pointer(header + DATA_TABLES)?,
        })
    }

    /// Returns the offset of data table `index`.
    pub(crate) fn data_table(&self, index: u8) -> Option<usize> {
        let tables = self.pointer(self.atom_header()? + DATA_TABLES)?;
        self.pointer(entry(tables, index))
    }

    /// Returns the size of the scratch area that the image asks for, in dwords.
    pub(crate) fn scratch(&self) -> Option<usize> {
        /// Number of VRAM_UsageByFirmware among the data tables.
        const VRAM_USAGE: u8 = 11;
        /// Flags in the upper bits of an area's address, and those of one that is something else:
        /// shared with virtual machines.
        const FLAGS: u32 = 3 << 30;
        const SHARED: u32 = 2 << 30;

        let usage = self.data_table(VRAM_USAGE)?;
        let address = self.dword(usage + 4)?;
        let kib = usize::from(self.word(usage + 8)?);
        (address & FLAGS != SHARED && kib != 0).then_some(kib * 256)
    }

    /// Returns the header of the command table at `start`.
    pub(super) fn header(&self, start: u16) -> Option<Header> {
        /// Bits of the size of the parameters in bytes. The other bit is for AMD's tools.
        const PARAMETERS: u8 = 0x7f;

        let [workspace, parameters] = self.bytes(usize::from(start) + 4)?;
        Some(Header {
            workspace,
            parameters: (parameters & PARAMETERS) / 4,
        })
    }
}

/// Returns the offset of the pointer to a table in the list of tables at `tables`.
pub(super) fn entry(tables: usize, index: u8) -> usize {
    tables + 4 + 2 * usize::from(index)
}
