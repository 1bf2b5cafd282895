// SPDX-License-Identifier: GPL-2.0 OR MIT
//! The freed-page watch: pages that the host takes back while a job can still reach them.
//!
//! With a virtual IOMMU before the device the host unmaps each page from the bus when it has no
//! further use for it there. That is too early (`unmap-in-use`) while
//!
//! * a job runs in an address space of which a valid page-table entry, or an entry that the TLB
//!   still has, leads to the page. It need not have touched the page: its commands are the user's.
//!   A job runs from its first indirect buffer to the fence that follows its last one on the ring,
//!   and until what its engine issued has landed (`late.rs`). If the engine is halted, it runs
//!   until then;
//! * a translation of the kernel's address space (VMID 0) leads to it that was used before. The
//!   kernel's rings, fences and interrupts never rest, so there is no moment at which it may.
//!
//! While no job of it runs, an address space may name pages that are gone: its entries must be
//! right again when the next one begins. If they are not, the job's access is `dma-unmapped`; or,
//! if the bus address has been mapped again meanwhile, `stale-tlb`, as long as the TLB was not
//! flushed (`tlb.rs`). An entry that was left in the table for a bus address that was mapped again
//! cannot be told from a new one: the guest's own canaries have to tell.

use std::{
    collections::HashMap,
    ops::Range, //
};

use crate::{
    engine::EngineId,
    gpu::Gpu,
    mc::{
        PAGE,
        pte, //
    },
    regs::index::*,
    tlb::leads_to, //
};

/// Memory of the watch.
#[derive(Default)]
pub struct Watch {
    /// Bus pages that the kernel's translations led to, each with an address that did.
    kernel: HashMap<u64, u64>,
}

impl Watch {
    /// A walk of the tables of `vmid` found `entry` for `va`.
    pub(crate) fn saw(&mut self, vmid: u8, va: u64, entry: u64) {
        if vmid == 0 && leads_to(entry, &(0..u64::MAX)) {
            self.kernel.insert(entry & pte::ADDRESS, va & !(PAGE - 1));
        }
    }

    /// Takes out the addresses that led to these bus addresses.
    fn forget(&mut self, bus: &Range<u64>) -> Vec<u64> {
        let inside = |page: u64| page < bus.end && bus.start < page + PAGE;
        if (bus.end - bus.start) / PAGE < self.kernel.len() as u64 {
            let pages = (bus.start & !(PAGE - 1)..bus.end).step_by(PAGE as usize);
            return pages.filter_map(|page| self.kernel.remove(&page)).collect();
        }
        let vas =
            self.kernel.iter().filter(|(page, _)| inside(**page)).map(|(_, va)| *va).collect();
        self.kernel.retain(|page, _| !inside(*page));
        vas
    }
}

impl Gpu {
    /// The host unmaps bus addresses. What it does wrong counts with the next thing that it does: a
    /// machine that is switched off unmaps everything, and then there is none.
    pub fn unmap(&mut self, iova: u64, len: u64) {
        for bus in self.host.unmap(iova, len) {
            self.tlb.unmapped(bus.clone());
            self.check_kernel(&bus);
            self.check_jobs(&bus);
        }
    }

    fn check_kernel(&mut self, bus: &Range<u64>) {
        let vas = self.watch.forget(bus);
        if !self.pci.bus_master() || self.regs.get(VM_CONTEXT0_CNTL) & 1 == 0 {
            return;
        }
        let start = u64::from(self.regs.get(VM_CONTEXT0_PAGE_TABLE_START_ADDR)) << 12;
        for va in vas {
            let page = va.wrapping_sub(start) >> 12;
            let cached = self.tlb.lookup(0, page).map(|hit| hit.entry);
            let at = self.table_base(0) + page * 8;
            let entries = [cached, self.entries(at, 1, false).first().copied()];
            if let Some(entry) = entries.into_iter().flatten().find(|entry| leads_to(*entry, bus)) {
                let what = format!(
                    "the host unmaps bus {:#x} + {:#x}: vmid 0 va {va:#x} leads there \
                     by {entry:#x}",
                    bus.start,
                    bus.end - bus.start
                );
                self.log.suspicion("unmap-in-use", what);
            }
        }
    }

    fn check_jobs(&mut self, bus: &Range<u64>) {
        let mut checked = 0_u16;
        for (engine, vmid) in self.running() {
            if checked & 1 << vmid != 0 {
                continue;
            }
            checked |= 1 << vmid;
            if let Some((va, entry, place)) = self.reaches(vmid, bus) {
                let what = format!(
                    "the host unmaps bus {:#x} + {:#x} while {engine} runs a job: \
                     vmid {vmid} va {va:#x} leads there by {entry:#x} in the {place}",
                    bus.start,
                    bus.end - bus.start
                );
                self.log.suspicion("unmap-in-use", what);
            }
        }
    }

    /// The jobs that run: engine and VMID of each.
    fn running(&mut self) -> Vec<(EngineId, u8)> {
        let mut jobs = self.executing();
        jobs.extend(self.under_way.jobs());
        jobs
    }

    /// The jobs whose fence is not written.
    pub(crate) fn executing(&mut self) -> Vec<(EngineId, u8)> {
        let mut jobs = vec![];
        for id in self.engines() {
            // A halted engine begins nothing more.
            if self.ring(id).is_none() {
                continue;
            }
            let Some(front) = self.front(id) else { continue };
            let over = front.fences.iter().filter_map(|fence| fence.ends);
            jobs.extend(over.chain(front.job).map(|vmid| (id, vmid)));
        }
        jobs
    }

    /// An address of `vmid` that leads to the bus addresses, by which entry, and where that is.
    fn reaches(&self, vmid: u8, bus: &Range<u64>) -> Option<(u64, u64, &'static str)> {
        let cntl = self.regs.get(VM_CONTEXT1_CNTL);
        if !self.pci.bus_master() || cntl & 1 == 0 {
            return None;
        }
        let start = u64::from(self.regs.get(VM_CONTEXT1_PAGE_TABLE_START_ADDR));
        let end = u64::from(self.regs.get(VM_CONTEXT1_PAGE_TABLE_END_ADDR)) + 1;
        if let Some((page, entry)) = self.tlb.find(vmid, bus) {
            return Some((start + page << 12, entry, "TLB"));
        }
        let (pages, base) = (end.saturating_sub(start), self.table_base(vmid));
        let found = if cntl >> 1 & 3 == 0 {
            position(&self.entries(base, pages, false), bus)
        } else {
            let size = 1 << self.table_bits();
            let directory = self.entries(base, pages.div_ceil(size), false);
            let mut tables = (0..).zip(&directory).filter(|(_, pde)| **pde & pte::VALID != 0);
            tables.find_map(|(n, pde): (u64, _)| {
                let table = self.entries(pde & pte::ADDRESS, size, pde & pte::SYSTEM != 0);
                position(&table, bus).map(|(page, entry)| (n * size + page, entry))
            })
        };
        found.map(|(page, entry)| (start + page << 12, entry, "page table"))
    }

    /// Entries of a table, at a controller address in VRAM or in system memory; none if that is no
    /// memory.
    fn entries(&self, at: u64, count: u64, system: bool) -> Vec<u64> {
        let reach = if system { self.host.reach(at, false).ok() } else { None };
        let (memory, offset, left) = match reach {
            Some(reach) => (reach.memory, reach.offset, reach.left),
            None if system => return vec![],
            None => {
                let offset = at.wrapping_sub(self.fb_base());
                (self.vram.device().clone(), offset, self.config.vram.saturating_sub(offset))
            }
        };
        let mut bytes = vec![0; count.min(left / 8) as usize * 8];
        memory.read(if bytes.is_empty() { 0 } else { offset }, &mut bytes);
        bytes.chunks_exact(8).map(|b| u64::from_le_bytes(std::array::from_fn(|i| b[i]))).collect()
    }
}

/// The first entry that leads to the bus addresses, and its number.
fn position(entries: &[u64], bus: &Range<u64>) -> Option<(u64, u64)> {
    (0..).zip(entries).map(|(n, entry)| (n, *entry)).find(|(_, entry)| leads_to(*entry, bus))
}
