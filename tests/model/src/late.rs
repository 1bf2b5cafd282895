// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Memory accesses that an engine has issued and that have not landed.
//!
//! *CP DMA*: DMA_DATA only starts a transfer. The graphics command processor goes on, past the end
//! of the pipe even, unless the packet has CP_SYNC: that one waits for itself and for all before
//! it. So a transfer without it lands at once, or after the fence that ends the job, as the seed
//! decides. Compute queues wait for each transfer.
//!
//! *Halts*: the halt bit stops the fetching of packets, not what is under way. What a halted engine
//! wrote last lands once more some time later, at the address that was translated before: whatever
//! the page tables say by then. Until then its status is busy, and its job can reach memory. A
//! reset of the engine ends it, and so does taking bus mastering away.

use std::time::{
    Duration,
    Instant, //
};

use rand::Rng;

use crate::{
    engine::{
        Block,
        EngineId,
        Stop, //
    },
    gpu::Gpu,
    mc::{
        Access,
        PAGE,
        Place,
        pte, //
    },
    strict::Rule, //
};

/// Nothing lands later than this after it may.
const LATEST: Duration = Duration::from_millis(20);
/// Bytes of a halted engine's last write that land again.
const BURST: u64 = 64;

/// A write that an engine issued, by its place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Issued {
    pub access: Access,
    pub at: u64,
    pub len: u64,
}

/// A transfer of CP DMA.
#[derive(Clone, Debug)]
pub(crate) enum Transfer {
    /// From one address to another.
    Copy { from: u64, to: u64, len: u64 },
    /// The same dword over and over.
    Fill { value: u32, to: u64, len: u64 },
}

/// Target of a translated address.
#[derive(Clone, Copy, Debug)]
enum Physical {
    Vram(u64),
    Bus(u64),
}

#[derive(Clone, Debug)]
enum What {
    Transfer(Transfer),
    /// A write that is past translation.
    Posted {
        at: Physical,
        bytes: Vec<u8>,
    },
    /// Accesses that leave no trace.
    Reads,
}

/// Something that has not landed.
#[derive(Clone, Debug)]
struct Late {
    engine: EngineId,
    access: Access,
    what: What,
    /// Not before; `None`: not before the fence that ends the job.
    due: Option<Instant>,
    /// Not before those that were issued earlier.
    ordered: bool,
}

/// Work that is under way.
#[derive(Default)]
pub(crate) struct UnderWay {
    late: Vec<Late>,
}

impl UnderWay {
    /// Returns true if something of an engine is under way.
    pub fn any(&self, id: EngineId) -> bool {
        self.late.iter().any(|l| l.engine == id)
    }

    /// Returns true if nothing is.
    pub fn is_empty(&self) -> bool {
        self.late.is_empty()
    }

    /// Engine and VMID of each job that something under way belongs to.
    pub fn jobs(&self) -> impl Iterator<Item = (EngineId, u8)> + '_ {
        self.late.iter().filter(|l| l.access.vmid != 0).map(|l| (l.engine, l.access.vmid))
    }

    /// Drops what is under way in a block.
    pub fn drop_of(&mut self, block: Block) {
        self.late.retain(|l| l.engine.block() != block);
    }

    /// Drops everything.
    pub fn clear(&mut self) {
        self.late.clear();
    }

    /// The fence that ends a job is written: from now on its transfers may land.
    pub fn fence_written(&mut self, id: EngineId, spread: Duration) {
        for l in self.late.iter_mut().filter(|l| l.engine == id) {
            l.due.get_or_insert(Instant::now() + spread);
        }
    }

    /// Takes out one that may land now.
    fn take(&mut self, now: Instant, pick: usize) -> Option<Late> {
        let first_of = |i: usize| self.late[..i].iter().all(|l| l.engine != self.late[i].engine);
        let due = |i: &usize| {
            let l = &self.late[*i];
            l.due.is_some_and(|t| t <= now) && (!l.ordered || first_of(*i))
        };
        let ready: Vec<usize> = (0..self.late.len()).filter(due).collect();
        let i = *ready.get(pick % ready.len().max(1))?;
        Some(self.late.remove(i))
    }

    /// Takes out the oldest transfer of an engine.
    fn take_first(&mut self, id: EngineId) -> Option<Late> {
        let i = self.late.iter().position(|l| l.engine == id)?;
        Some(self.late.remove(i))
    }
}

impl Gpu {
    /// DMA_DATA: starts a transfer, or with `sync` does it after all earlier ones.
    pub(crate) fn cp_dma(
        &mut self,
        id: EngineId,
        access: Access,
        transfer: Transfer,
        sync: bool,
        ordered: bool,
    ) -> Result<(), Stop> {
        if sync || !self.config.strict.has(Rule::LateDma) {
            self.finish_dma(id)?;
            return self.transfer(id, access, &transfer);
        }
        let soon = self.rng.random_ratio(1, 4);
        let due = soon.then(Instant::now);
        self.under_way.late.push(Late {
            engine: id,
            access,
            what: What::Transfer(transfer),
            due,
            ordered,
        });
        Ok(())
    }

    /// Waits for all transfers of an engine.
    pub(crate) fn finish_dma(&mut self, id: EngineId) -> Result<(), Stop> {
        while let Some(late) = self.under_way.take_first(id) {
            self.land(late)?;
        }
        Ok(())
    }

    fn transfer(&mut self, id: EngineId, a: Access, transfer: &Transfer) -> Result<(), Stop> {
        match *transfer {
            Transfer::Copy { from, to, len } => {
                self.mem_copy((a, from), (a, to), len)?;
                self.issued(id, a, to, len);
            }
            Transfer::Fill { value, to, len } => {
                self.mem_fill(a, to, &value.to_le_bytes(), len)?;
                self.issued(id, a, to, len);
            }
        }
        Ok(())
    }

    /// An engine wrote data of a job.
    pub(crate) fn issued(&mut self, id: EngineId, access: Access, at: u64, len: u64) {
        if len > 0 {
            self.last_write
                .insert(id, Issued { access, at: at + len - len.min(BURST), len: len.min(BURST) });
        }
    }

    /// Lets one access land whose time has come. Answers whether there was one.
    pub(crate) fn land_one(&mut self) -> bool {
        if self.under_way.is_empty() {
            return false;
        }
        let pick = self.rng.random_range(0..64);
        let Some(late) = self.under_way.take(Instant::now(), pick) else { return false };
        self.log.note(format!("{}: what it issued before lands: {:x?}", late.engine, late.what));
        self.log.user(late.access.vmid != 0);
        // Nobody is left to be told of a fault.
        let _ = self.land(late);
        self.log.user(false);
        true
    }

    fn land(&mut self, late: Late) -> Result<(), Stop> {
        match late.what {
            What::Transfer(t) => self.transfer(late.engine, late.access, &t),
            What::Posted { at: Physical::Vram(offset), bytes } => {
                if offset + bytes.len() as u64 <= self.config.vram {
                    self.vram.device().write(offset, &bytes);
                    self.vram.written(offset, bytes.len() as u64);
                }
                Ok(())
            }
            What::Posted { at: Physical::Bus(address), bytes } => {
                if let Place::Bytes { memory, offset, .. } =
                    self.bus_place(late.access, address, address, true)
                {
                    memory.write(offset, &bytes);
                }
                Ok(())
            }
            What::Reads => Ok(()),
        }
    }

    /// Ends the wait of all that waits for the fence of an engine.
    pub(crate) fn release_late(&mut self, id: EngineId) {
        let spread = LATEST.mul_f64(self.rng.random());
        self.under_way.fence_written(id, spread);
    }

    /// A block was halted: what its engines were doing goes on for a while.
    pub(crate) fn halted(&mut self, block: Block) {
        if !self.config.strict.has(Rule::LateHalt) {
            return;
        }
        for id in self.engines().into_iter().filter(|id| id.block() == block) {
            let Some(front) = self.front(id) else { continue };
            let Some(vmid) = front.job.or(front.fences.iter().find_map(|f| f.ends)) else {
                continue;
            };
            let access = Self::access(id, vmid);
            let last = self.last_write.get(&id).copied().filter(|w| w.access.vmid == vmid);
            let what = last.and_then(|w| self.posted(w)).unwrap_or(What::Reads);
            let due = Some(Instant::now() + LATEST.mul_f64(self.rng.random()));
            self.under_way.late.push(Late { engine: id, access, what, due, ordered: false });
        }
        self.kick();
    }

    /// The last bytes of a write, as they are on their way to memory.
    fn posted(&mut self, w: Issued) -> Option<What> {
        let end = w.at + w.len;
        let start = w.at.max((end - 1) & !(PAGE - 1));
        let at = self.physical(w.access.vmid, start)?;
        let mut bytes = vec![0; (end - start) as usize];
        match at {
            Physical::Vram(offset) if offset + (end - start) <= self.config.vram => {
                self.vram.device().read(offset, &mut bytes);
            }
            Physical::Vram(_) => return None,
            Physical::Bus(address) => {
                let reach = self.host.reach(address, true).ok()?;
                reach.memory.read(reach.offset, &mut bytes);
            }
        }
        Some(What::Posted { at, bytes })
    }

    /// Returns the target of an address by the TLB.
    fn physical(&self, vmid: u8, va: u64) -> Option<Physical> {
        if let Some(offset) = self.aperture(vmid, va) {
            return Some(Physical::Vram(offset));
        }
        let entry = self.tlb.lookup(vmid, self.page_of(vmid, va)?)?.entry;
        let address = (entry & pte::ADDRESS) + va % PAGE;
        match entry & (pte::VALID | pte::SYSTEM) {
            pte::VALID => Some(Physical::Vram(address)),
            both if both == pte::VALID | pte::SYSTEM => Some(Physical::Bus(address)),
            _ => None,
        }
    }
}
