// SPDX-License-Identifier: GPL-2.0 OR MIT
//! The memory controller: from an address as an engine uses it to bytes of VRAM or of the host.
//!
//! VMID 0: inside the system aperture an address is a position in VRAM (minus the framebuffer
//! base); elsewhere context 0 translates it through one flat table. VMIDs 1 to 15 share the
//! settings of context 1 and have a directory and tables each. Every translation goes through the
//! TLB; on a hit the tables are walked again, only to report the use of a stale entry.

use std::sync::Arc;

use crate::{
    engine::Stop,
    gpu::Gpu,
    host::NoReach,
    memory::Memory,
    regs::index::*,
    strict::Rule,
    tlb::{
        self,
        BLOCK,
        Hit, //
    },
    trace::Event, //
};

/// Page size in bytes.
pub const PAGE: u64 = 4096;
/// Addresses of the memory controller have 40 bits.
const ADDRESS_MASK: u64 = 0xff_ffff_ffff;
/// Bits of a page-table entry.
pub mod pte {
    #![expect(missing_docs, reason = "the names of the register headers")]
    pub const VALID: u64 = 1;
    pub const SYSTEM: u64 = 1 << 1;
    pub const SNOOPED: u64 = 1 << 2;
    pub const EXECUTABLE: u64 = 1 << 4;
    pub const READABLE: u64 = 1 << 5;
    pub const WRITEABLE: u64 = 1 << 6;
    /// Address bits 39:12.
    pub const ADDRESS: u64 = 0xff_ffff_f000;
    /// Bits that must be zero in a valid entry.
    pub const RESERVED: u64 = !(ADDRESS | 0xff7);
    /// Bits that must be zero in a valid directory entry.
    pub const PDE_RESERVED: u64 = !(ADDRESS | VALID | SYSTEM | SNOOPED);
}

/// PROTECTIONS bits of the fault status.
pub mod protection {
    #![expect(missing_docs, reason = "the names of the register headers")]
    pub const RANGE: u32 = 1 << 0;
    pub const PDE0: u32 = 1 << 1;
    pub const VALID: u32 = 1 << 2;
    pub const READ: u32 = 1 << 3;
    pub const WRITE: u32 = 1 << 4;
}

/// Origin of an access to memory: a client and its address space.
#[derive(Clone, Copy, Debug)]
pub struct Access {
    /// Address space.
    pub vmid: u8,
    /// Memory client, four ASCII characters in the fault registers.
    pub client: &'static str,
    /// Numeric memory client in the fault status.
    pub client_id: u32,
    /// Copied data: memory of users, also where the kernel moves it.
    pub copied: bool,
}

/// Target of an address.
pub enum Place {
    /// Bytes of VRAM or of the host.
    Bytes {
        /// The memory.
        memory: Arc<Memory>,
        /// Offset in it.
        offset: u64,
        /// Set for VRAM, of which the host may have a view of its own.
        vram: bool,
    },
    /// Nowhere: reads give ones, writes vanish.
    Void,
    /// A page of a partially resident texture (PRT) that is not there: reads give zeros, writes
    /// vanish.
    Hole,
}

impl Gpu {
    /// Reads bytes at `va`.
    pub(crate) fn mem_read(&mut self, a: Access, va: u64, to: &mut [u8]) -> Result<(), Stop> {
        let mut done = 0;
        while done < to.len() {
            let at = va.wrapping_add(done as u64);
            let n = ((PAGE - at % PAGE) as usize).min(to.len() - done);
            match self.resolve(a, at, false)? {
                Place::Bytes { memory, offset, vram } => {
                    self.check_flushed(a, at, vram, offset, n);
                    memory.read(offset, &mut to[done..done + n]);
                }
                Place::Void => to[done..done + n].fill(0xff),
                Place::Hole => to[done..done + n].fill(0),
            }
            done += n;
        }
        Ok(())
    }

    /// Writes bytes at `va`.
    pub(crate) fn mem_write(&mut self, a: Access, va: u64, from: &[u8]) -> Result<(), Stop> {
        let mut done = 0;
        while done < from.len() {
            let at = va.wrapping_add(done as u64);
            let n = ((PAGE - at % PAGE) as usize).min(from.len() - done);
            if let Place::Bytes { memory, offset, vram } = self.resolve(a, at, true)? {
                match (n, at % 8) {
                    (4, 0 | 4) => memory.write_u32(offset, u32_of(&from[done..])),
                    (8, 0) => memory.write_u64(offset, u64_of(&from[done..])),
                    _ => memory.write(offset, &from[done..done + n]),
                }
                if vram {
                    self.vram.written(offset, n as u64);
                }
            }
            done += n;
        }
        Ok(())
    }

    /// Fills `len` bytes with a pattern whose length divides a page's.
    pub(crate) fn mem_fill(
        &mut self,
        a: Access,
        to: u64,
        pattern: &[u8],
        len: u64,
    ) -> Result<(), Stop> {
        let page: Vec<u8> =
            pattern.iter().copied().cycle().take(PAGE as usize + pattern.len()).collect();
        let mut done = 0;
        while done < len {
            let n = (PAGE - (to + done) % PAGE).min(len - done);
            // Keep the pattern in phase with the start of the destination.
            let phase = (done % pattern.len() as u64) as usize;
            self.mem_write(a, to + done, &page[phase..phase + n as usize])?;
            done += n;
        }
        Ok(())
    }

    /// Copies `len` bytes from one address to another, ascending, page run by page run.
    pub(crate) fn mem_copy(
        &mut self,
        from: (Access, u64),
        to: (Access, u64),
        len: u64,
    ) -> Result<(), Stop> {
        let mut done = 0;
        while done < len {
            let (src, dst) = (from.1.wrapping_add(done), to.1.wrapping_add(done));
            let n = (PAGE - src % PAGE).min(PAGE - dst % PAGE).min(len - done);
            let size = n as usize;
            let source = self.resolve(from.0, src, false)?;
            let target = self.resolve(to.0, dst, true)?;
            if let Place::Bytes { vram, offset, .. } = &source {
                self.check_flushed(from.0, src, *vram, *offset, size);
            }
            if let Place::Bytes { memory, offset: doff, vram } = target {
                match &source {
                    Place::Bytes { memory: s, offset: soff, .. } => {
                        s.copy_to(*soff, &memory, doff, size)
                    }
                    Place::Void => memory.fill(doff, 0xff, size),
                    Place::Hole => memory.fill(doff, 0, size),
                }
                if vram {
                    self.vram.written(doff, n);
                }
            }
            done += n;
        }
        Ok(())
    }

    /// Reads one dword.
    pub(crate) fn mem_read_u32(&mut self, a: Access, va: u64) -> Result<u32, Stop> {
        if va % 4 != 0 {
            return Err(Stop::Hang(format!("unaligned dword read at {va:#x}")));
        }
        Ok(match self.resolve(a, va, false)? {
            Place::Bytes { memory, offset, vram } => {
                self.check_flushed(a, va, vram, offset, 4);
                memory.read_u32(offset)
            }
            Place::Void => !0,
            Place::Hole => 0,
        })
    }

    /// Writes one dword.
    pub(crate) fn mem_write_u32(&mut self, a: Access, va: u64, value: u32) -> Result<(), Stop> {
        self.mem_write(a, va, &value.to_le_bytes())
    }

    /// Writes 64 bits.
    pub(crate) fn mem_write_u64(&mut self, a: Access, va: u64, value: u64) -> Result<(), Stop> {
        self.mem_write(a, va, &value.to_le_bytes())
    }

    /// Reports a read of VRAM that the host wrote and did not flush.
    pub(crate) fn check_flushed(
        &mut self,
        a: Access,
        va: u64,
        vram: bool,
        offset: u64,
        len: usize,
    ) {
        if vram && self.vram.unflushed(offset, len) {
            let what = format!(
                "{} vmid {} va {va:#x}: reads VRAM {offset:#x} before the host's write was flushed",
                a.client, a.vmid
            );
            self.log.violation("hdp-stale", what);
        }
    }

    /// Reports a walk that uses an entry that the host wrote and did not flush. It may have arrived
    /// nevertheless, with its line.
    fn check_entry_flushed(&mut self, a: Access, va: u64, addr: u64) {
        let offset = addr.wrapping_sub(self.fb_base()) & !7;
        if offset < self.config.vram {
            self.check_flushed(a, va, true, offset, 8);
            self.vram.arrive(offset);
        }
    }

    /// Base of VRAM in the controller's address space.
    pub(crate) fn fb_base(&self) -> u64 {
        u64::from(self.regs.get(MC_VM_FB_LOCATION) & 0xffff) << 24
    }

    /// Translates one address.
    pub(crate) fn resolve(&mut self, a: Access, va: u64, write: bool) -> Result<Place, Stop> {
        if va > ADDRESS_MASK {
            let what =
                format!("{} vmid {}: address {va:#x} has more than 40 bits", a.client, a.vmid);
            self.log.violation("address-bits", what);
        }
        let va = va & ADDRESS_MASK;
        if let Some(offset) = self.aperture(a.vmid, va) {
            return Ok(self.vram_place(a, offset, write));
        }
        self.translate(a, va, write)
    }

    /// The offset into VRAM of an address in the system aperture, which VMID 0 has.
    pub(crate) fn aperture(&self, vmid: u8, va: u64) -> Option<u64> {
        let low = u64::from(self.regs.get(MC_VM_SYSTEM_APERTURE_LOW_ADDR)) << 12;
        let high = u64::from(self.regs.get(MC_VM_SYSTEM_APERTURE_HIGH_ADDR)) << 12 | 0xfff;
        (vmid == 0 && (low..=high).contains(&va)).then(|| va.wrapping_sub(self.fb_base()))
    }

    /// The page of an address in its context, if it is inside.
    pub(crate) fn page_of(&self, vmid: u8, va: u64) -> Option<u64> {
        let context = u32::from(vmid != 0);
        let start = u64::from(self.regs.get(VM_CONTEXT0_PAGE_TABLE_START_ADDR + context)) << 12;
        let end = u64::from(self.regs.get(VM_CONTEXT0_PAGE_TABLE_END_ADDR + context)) << 12 | 0xfff;
        (start..=end).contains(&va).then(|| (va - start) >> 12)
    }

    fn translate(&mut self, a: Access, va: u64, write: bool) -> Result<Place, Stop> {
        let context = usize::from(a.vmid != 0);
        let cntl = self.regs.get(VM_CONTEXT0_CNTL + context as u32);
        if cntl & 1 == 0 {
            let what = format!(
                "{} accesses {va:#x} as vmid {}: its context is disabled",
                a.client, a.vmid
            );
            self.log.violation("context-disabled", what.clone());
            return Err(Stop::Hang(what));
        }
        let Some(page) = self.page_of(a.vmid, va) else {
            return self.fault(a, va, write, protection::RANGE);
        };
        let depth = cntl >> 1 & 3;
        let entry = match self.tlb.lookup(a.vmid, page) {
            Some(hit) => {
                self.check_stale(a, va, page, depth, hit);
                hit.entry
            }
            None => match self.walk(a, va, page, depth, true) {
                Ok(entry) => entry,
                Err(bits) => return self.fault(a, va, write, bits),
            },
        };
        if entry & pte::VALID == 0 {
            return self.fault(a, va, write, protection::VALID);
        }
        if entry & pte::RESERVED != 0 {
            self.log.violation(
                "pte-reserved",
                format!("vmid {} va {va:#x}: PTE {entry:#x} has reserved bits", a.vmid),
            );
        }
        if !write && entry & pte::READABLE == 0 {
            return self.fault(a, va, write, protection::READ);
        }
        if write && entry & pte::WRITEABLE == 0 {
            return self.fault(a, va, write, protection::WRITE);
        }
        let address = (entry & pte::ADDRESS) + va % PAGE;
        if entry & pte::SYSTEM != 0 {
            self.check_snooped(a, va, entry);
            Ok(self.bus_place(a, va, address, write))
        } else {
            Ok(self.vram_place(a, address, write))
        }
    }

    /// Reports an access to the host's memory past its caches.
    fn check_snooped(&mut self, a: Access, va: u64, entry: u64) {
        let users = a.vmid != 0 || a.copied;
        let rule = if users { Rule::SnoopUsers } else { Rule::Snoop };
        if entry & pte::SNOOPED == 0 && self.config.strict.has(rule) {
            let what =
                format!("{} vmid {} va {va:#x}: PTE {entry:#x} does not snoop", a.client, a.vmid);
            self.log.violation("unsnooped", what);
        }
    }

    /// Reports the use of a cached entry that the tables no longer hold, or whose page the host has
    /// unmapped since.
    fn check_stale(&mut self, a: Access, va: u64, page: u64, depth: u32, hit: Hit) {
        let cached = hit.entry;
        if hit.lost {
            let what = format!(
                "{} vmid {} va {va:#x}: the host unmapped the page after the TLB cached \
                 {cached:#x}; it was not flushed",
                a.client, a.vmid
            );
            self.log.violation("stale-tlb", what);
            return;
        }
        let now = self.walk(a, va, page, depth, false).unwrap_or(0);
        // Fragment and software bits do not change where the access goes.
        let matters = pte::ADDRESS | pte::VALID | pte::SYSTEM | pte::READABLE | pte::WRITEABLE;
        let same = (cached ^ now) & matters == 0 || (cached | now) & pte::VALID == 0;
        if !same {
            let what = format!(
                "{} vmid {} va {va:#x}: the TLB holds {cached:#x}, the table {now:#x}; \
                 it was not flushed",
                a.client, a.vmid
            );
            self.log.violation("stale-tlb", what);
        }
    }

    /// Walks the tables of `a.vmid` for `page`; with `fill`, caches what it finds and traces it.
    /// The error is the fault's PROTECTIONS.
    fn walk(&mut self, a: Access, va: u64, page: u64, depth: u32, fill: bool) -> Result<u64, u32> {
        let (vmid, base) = (a.vmid, self.table_base(a.vmid));
        let (table, index, pde) = if depth == 0 {
            (base, page, None)
        } else {
            let bits = self.table_bits();
            let (dir, index) = (page >> bits, page & ((1 << bits) - 1));
            let cached = self.tlb.directory(a.vmid, dir).filter(|_| fill);
            if cached.is_none() && fill {
                self.check_entry_flushed(a, va, base + dir * 8);
            }
            let now = match cached {
                // What the table says by now is only compared.
                Some(_) => self.table_entry(a, va, base + dir * 8, false).unwrap_or(0),
                None => self.table_entry(a, va, base + dir * 8, false).ok_or(protection::PDE0)?,
            };
            let pde = cached.unwrap_or(now);
            if (pde ^ now) & (pte::ADDRESS | pte::VALID | pte::SYSTEM) != 0 {
                let what = format!(
                    "{} vmid {vmid} va {va:#x}: the TLB holds directory entry {pde:#x}, \
                     the table {now:#x}; it was not flushed",
                    a.client
                );
                self.log.violation("stale-tlb", what);
            }
            if pde & pte::VALID == 0 {
                return Err(protection::PDE0);
            }
            if pde & pte::PDE_RESERVED != 0 && fill {
                let what = format!("vmid {vmid} va {va:#x}: PDE {pde:#x} has reserved bits");
                self.log.violation("pde-reserved", what);
            }
            if fill {
                self.tlb.fill_directory(a.vmid, dir, pde);
            }
            (pde & (pte::ADDRESS | pte::SYSTEM), index, Some(pde))
        };
        let in_system = table & pte::SYSTEM != 0 && pde.is_some();
        let table = table & pte::ADDRESS;
        if !fill {
            return self.table_entry(a, va, table + index * 8, in_system).ok_or(protection::VALID);
        }
        if !in_system {
            self.check_entry_flushed(a, va, table + index * 8);
        }
        let first = table + (index & !(BLOCK - 1)) * 8;
        let mut block = [0; BLOCK as usize];
        for (slot, addr) in block.iter_mut().zip((first..).step_by(8)) {
            *slot = self.table_entry(a, va, addr, in_system).ok_or(protection::VALID)?;
        }
        let entry = block[(index % BLOCK) as usize];
        self.check_fragment(a, va, (table, index, in_system), entry);
        self.log.event(Event::Walk { vmid: a.vmid, va, pde, pte: entry });
        self.tlb.fill(a.vmid, page, block);
        self.watch.saw(a.vmid, va, entry);
        Ok(self.tlb.serve.entry(entry, page, page))
    }

    /// Any entry of a fragment may serve all of its pages: they must be contiguous and alike.
    fn check_fragment(&mut self, a: Access, va: u64, at: (u64, u64, bool), entry: u64) {
        let (table, index, in_system) = at;
        let order = tlb::fragment(entry);
        if entry & pte::VALID == 0 || order == 0 {
            return;
        }
        let pages = 1_u64 << order;
        let first = index & !(pages - 1);
        let serve = self.tlb.serve;
        let of_block =
            (index & !(BLOCK - 1)..).take(BLOCK as usize).filter(|n| n & !(pages - 1) == first);
        let others: Vec<u64> = of_block.chain([first, first + pages - 1]).collect();
        for n in others {
            // A fragment may reach beyond its table; what is there is not looked at.
            if n >= 1 << self.table_bits() && a.vmid != 0 {
                continue;
            }
            let Some(own) = self.table_entry(a, va, table + n * 8, in_system) else { continue };
            let matters = pte::ADDRESS | pte::VALID | pte::SYSTEM | pte::READABLE | pte::WRITEABLE;
            if (own ^ serve.entry(entry, index, n)) & matters != 0 {
                let what = format!(
                    "{} vmid {} va {va:#x}: PTE {entry:#x} says a fragment of {pages} pages, \
                     and {} pages on the PTE is {own:#x}",
                    a.client,
                    a.vmid,
                    n as i64 - index as i64
                );
                self.log.violation("fragment", what);
                return;
            }
        }
    }

    /// Returns the address of a VMID's page directory, or of VMID 0's one table.
    pub(crate) fn table_base(&self, vmid: u8) -> u64 {
        let vmid = u32::from(vmid);
        let reg = if vmid < 8 {
            VM_CONTEXT0_PAGE_TABLE_BASE_ADDR + vmid
        } else {
            VM_CONTEXT8_PAGE_TABLE_BASE_ADDR + vmid - 8
        };
        (u64::from(self.regs.get(reg)) << 12) & pte::ADDRESS
    }

    /// The power of two of entries in a page table of VMIDs 1 to 15.
    pub(crate) fn table_bits(&self) -> u32 {
        (self.regs.get(VM_CONTEXT1_CNTL) >> 24 & 0xf) + 9
    }

    /// Reads a table entry: at a controller address in VRAM, or in system memory.
    fn table_entry(&mut self, a: Access, va: u64, addr: u64, system: bool) -> Option<u64> {
        if system {
            if let Ok(r) = self.host.reach(addr, false) {
                return Some(r.memory.read_u64(r.offset));
            }
        } else {
            let offset = addr.wrapping_sub(self.fb_base());
            if offset < self.config.vram {
                self.vram.reach(offset);
                return Some(self.vram.device().read_u64(offset & !7));
            }
        }
        let what = format!("vmid {} va {va:#x}: page table at {addr:#x} is outside memory", a.vmid);
        self.log.violation("table-outside-memory", what);
        None
    }

    fn vram_place(&mut self, a: Access, offset: u64, write: bool) -> Place {
        if offset < self.config.vram {
            self.vram.reach(offset);
            return Place::Bytes { memory: self.vram.device().clone(), offset, vram: true };
        }
        let rw = if write { "write" } else { "read" };
        let what = format!("{} {rw} at VRAM offset {offset:#x}, beyond the end", a.client);
        self.log.violation("beyond-vram", what);
        Place::Void
    }

    /// An address on the bus.
    pub(crate) fn bus_place(&mut self, a: Access, va: u64, address: u64, write: bool) -> Place {
        let rw = if write { "write" } else { "read" };
        if !self.pci.bus_master() {
            let what =
                format!("{} {rw} of bus address {address:#x} with bus mastering off", a.client);
            self.log.violation("dma-without-bus-master", what);
            return Place::Void;
        }
        match self.host.reach(address, write) {
            Ok(r) => Place::Bytes { memory: r.memory, offset: r.offset, vram: false },
            Err(why) => {
                let why = match why {
                    NoReach::Unmapped => "unmapped",
                    NoReach::NoMemory => "not memory",
                    NoReach::ReadOnly => "mapped read-only",
                };
                let what = format!(
                    "{} vmid {} va {va:#x}: {rw} of bus address {address:#x}: {why}",
                    a.client, a.vmid
                );
                self.log.violation("dma-unmapped", what);
                Place::Void
            }
        }
    }
}

fn u32_of(b: &[u8]) -> u32 {
    u32::from_le_bytes([b[0], b[1], b[2], b[3]])
}

fn u64_of(b: &[u8]) -> u64 {
    u64::from(u32_of(&b[4..])) << 32 | u64::from(u32_of(b))
}
