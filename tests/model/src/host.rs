// SPDX-License-Identifier: GPL-2.0 OR MIT
//! The host side of the bus: which bus addresses (IOVAs) are mapped to which memory, and the
//! message-signaled interrupt.

use std::{
    collections::{
        BTreeMap,
        HashMap, //
    },
    fs::File,
    io,
    ops::Range,
    os::unix::fs::MetadataExt,
    sync::{
        Arc,
        Weak, //
    }, //
};

use crate::memory::Memory;

/// One mapped range of bus addresses.
#[derive(Clone)]
pub struct Mapping {
    /// Length in bytes.
    pub len: u64,
    /// Start of the range in `memory`.
    pub offset: u64,
    /// The memory, or `None` where the host mapped something that cannot be shared (its ROMs).
    pub memory: Option<Arc<Memory>>,
    /// Set if the device may write.
    pub writable: bool,
}

/// A run of bytes that a bus address leads to.
pub struct Reach {
    /// The memory.
    pub memory: Arc<Memory>,
    /// Offset of the address in it.
    pub offset: u64,
    /// Bytes up to the end of the mapping.
    pub left: u64,
}

/// Why a bus address leads nowhere.
#[derive(Debug, PartialEq, Eq)]
pub enum NoReach {
    /// Nothing is mapped there.
    Unmapped,
    /// Mapped, but the host gave no memory for it.
    NoMemory,
    /// Mapped for reading only.
    ReadOnly,
}

/// The function that delivers the interrupt.
pub type Msi = Box<dyn FnMut() + Send>;

/// The bus.
#[derive(Default)]
pub struct Host {
    maps: BTreeMap<u64, Mapping>,
    files: HashMap<(u64, u64), Weak<Memory>>,
    msi: Option<Msi>,
}

impl Host {
    /// Maps `len` bytes at `iova` to `file` from `offset`. A file is mapped into this process once,
    /// whole, however many ranges name it.
    pub fn map_file(
        &mut self,
        iova: u64,
        len: u64,
        file: Option<File>,
        offset: u64,
        writable: bool,
    ) -> io::Result<()> {
        let memory = file.map(|f| self.memory_of(f)).transpose()?;
        let memory = memory.filter(|m| offset.checked_add(len).is_some_and(|e| e <= m.len()));
        self.maps.insert(iova, Mapping { len, offset, memory, writable });
        Ok(())
    }

    fn memory_of(&mut self, file: File) -> io::Result<Arc<Memory>> {
        let meta = file.metadata()?;
        let key = (meta.dev(), meta.ino());
        if let Some(m) = self.files.get(&key).and_then(Weak::upgrade) {
            return Ok(m);
        }
        let memory = Arc::new(Memory::of_file(file)?);
        self.files.insert(key, Arc::downgrade(&memory));
        Ok(memory)
    }

    /// Maps the whole of `memory` at `iova`.
    pub fn map(&mut self, iova: u64, memory: Arc<Memory>) {
        let len = memory.len();
        self.maps.insert(iova, Mapping { len, offset: 0, memory: Some(memory), writable: true });
    }

    /// Removes every mapping inside `iova .. iova + len`. Returns where they were.
    pub fn unmap(&mut self, iova: u64, len: u64) -> Vec<Range<u64>> {
        let end = iova.saturating_add(len);
        let inside: Vec<u64> = self.maps.range(iova..end).map(|(k, _)| *k).collect();
        inside.into_iter().filter_map(|k| Some(k..k + self.maps.remove(&k)?.len)).collect()
    }

    /// Removes every mapping.
    pub fn unmap_all(&mut self) {
        self.maps.clear();
    }

    /// Returns the memory that `iova` leads to.
    pub fn reach(&self, iova: u64, write: bool) -> Result<Reach, NoReach> {
        let (start, m) = self.maps.range(..=iova).next_back().ok_or(NoReach::Unmapped)?;
        let into = iova - start;
        if into >= m.len {
            return Err(NoReach::Unmapped);
        }
        if write && !m.writable {
            return Err(NoReach::ReadOnly);
        }
        let memory = m.memory.clone().ok_or(NoReach::NoMemory)?;
        Ok(Reach { memory, offset: m.offset + into, left: m.len - into })
    }

    /// Sets or clears the interrupt's delivery.
    pub fn set_msi(&mut self, msi: Option<Msi>) {
        self.msi = msi;
    }

    /// Delivers the interrupt. False if the host has not enabled it.
    pub fn raise_msi(&mut self) -> bool {
        match &mut self.msi {
            Some(raise) => {
                raise();
                true
            }
            None => false,
        }
    }
}
