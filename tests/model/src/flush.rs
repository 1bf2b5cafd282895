// SPDX-License-Identifier: GPL-2.0 OR MIT
//! TLB flushes, and changes of page directories.
//!
//! A flush takes time. One that a packet asks for is done when its engine reads VM_INVALIDATE_REQUEST
//! or VM_INVALIDATE_RESPONSE; else some time later, and until then old entries are used. One that the
//! host asks for is done at once: the C driver writes the register and reads nothing back.
//!
//! GFX7 cannot flush a VMID, nor change its directory, while a job of it runs on another engine.

use rand::Rng;

use crate::engine::EngineId;
use crate::gpu::Gpu;
use crate::regs::index::*;
use crate::strict::Rule;
use crate::trace::{Event, Source};

/// Longest that a flush takes by itself, in packets of all engines.
const LONGEST: u32 = 64;

/// A flush that an engine asked for and that is not done.
struct Pending {
    engine: EngineId,
    vmids: u32,
    left: u32,
}

/// The flushes that are not done.
#[derive(Default)]
pub(crate) struct Flushes(Vec<Pending>);

impl Gpu {
    /// A write to VM_INVALIDATE_REQUEST.
    pub(crate) fn request_flush(&mut self, by: Source, vmids: u32) {
        for vmid in (1..16).filter(|v| vmids & 1 << v != 0) {
            self.check_vmid_unused(by, vmid, "its TLB entries are flushed");
        }
        match by {
            Source::Engine(engine) if self.config.strict.has(Rule::TlbDelay) => {
                let left = self.rng.random_range(1..=LONGEST);
                self.regs.set(VM_INVALIDATE_RESPONSE, self.regs.get(VM_INVALIDATE_RESPONSE) & !vmids);
                self.flushes.0.push(Pending { engine, vmids, left });
            }
            _ => self.flush_now(vmids),
        }
    }

    fn flush_now(&mut self, vmids: u32) {
        self.tlb_flush(vmids);
        self.regs.set(VM_INVALIDATE_RESPONSE, self.regs.get(VM_INVALIDATE_RESPONSE) | vmids);
    }

    /// Who asked for flushes reads the register: by then they are done.
    pub(crate) fn finish_flushes(&mut self, by: Source) {
        let Source::Engine(id) = by else { return };
        while let Some(i) = self.flushes.0.iter().position(|p| p.engine == id) {
            let vmids = self.flushes.0.remove(i).vmids;
            self.flush_now(vmids);
        }
    }

    /// A packet's time has passed.
    pub(crate) fn age_flushes(&mut self) {
        if self.flushes.0.is_empty() {
            return;
        }
        let mut done = 0;
        self.flushes.0.retain_mut(|p| {
            p.left -= 1;
            if p.left == 0 {
                done |= p.vmids;
            }
            p.left > 0
        });
        if done != 0 {
            self.flush_now(done);
        }
    }

    /// An engine begins an indirect buffer: by then it must have waited for its own flushes.
    pub(crate) fn check_flushes(&mut self, id: EngineId) {
        if let Some(p) = self.flushes.0.iter().find(|p| p.engine == id) {
            let what = format!(
                "{id} begins an indirect buffer and has not waited for its TLB flush of vmids {:#x}: nothing read \
                 VM_INVALIDATE_REQUEST back",
                p.vmids
            );
            self.log.violation("flush-pending", what);
        }
    }

    /// A write to the register of a VMID's page directory.
    pub(crate) fn set_directory(&mut self, by: Source, vmid: u32, reg: u32, value: u32) {
        if vmid != 0 && self.regs.get(reg) != value {
            self.check_vmid_unused(by, vmid, "its page directory is changed");
        }
        self.regs.set(reg, value);
    }

    fn check_vmid_unused(&mut self, by: Source, vmid: u32, done: &str) {
        let mine = |id: EngineId| by == Source::Engine(id);
        let other = self.executing().into_iter().find(|(id, v)| u32::from(*v) == vmid && !mine(*id));
        if let Some((id, _)) = other {
            self.log.violation("vmid-in-use", format!("vmid {vmid} runs a job on {id}, and {done} by {by}"));
        }
    }

    /// Forgets all flushes.
    pub(crate) fn forget_flushes(&mut self) {
        self.flushes.0.clear();
    }

    /// Drops TLB entries of the VMIDs in the mask.
    pub(crate) fn tlb_flush(&mut self, vmids: u32) {
        self.log.event(Event::TlbFlush { vmids });
        self.tlb.invalidate(vmids);
    }
}
