// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Flushes of TLB and host data path, and changes of page directories.
//!
//! A packet asks for an HDP flush by a bit of GPU_HDP_FLUSH_REQ, each client of the path by its
//! own, and waits until the same bit of GPU_HDP_FLUSH_DONE is set.
//!
//! A flush takes time. One that a packet asks for is done when its engine reads
//! VM_INVALIDATE_REQUEST or VM_INVALIDATE_RESPONSE; else some time later, and until then old
//! entries are used. One that the host asks for is done at once: the C driver writes the register
//! and reads nothing back.
//!
//! GFX7 cannot flush a VMID, nor change its directory, while a job of it runs on another engine.

use rand::Rng;

use crate::{
    engine::EngineId,
    gpu::Gpu,
    regs::index::*,
    strict::Rule,
    trace::{
        Event,
        Source, //
    }, //
};

/// Longest that a flush takes by itself, in packets of all engines.
const LONGEST: u32 = 64;

/// An HDP flush is done after so many reads of GPU_HDP_FLUSH_DONE at most.
const READS: u32 = 3;

/// HDP flushes that were asked for and are not done: bit, and reads that are left.
#[derive(Default)]
pub(crate) struct HdpRequests(Vec<(u32, u32)>);

/// The bit of an engine in GPU_HDP_FLUSH_REQ and GPU_HDP_FLUSH_DONE.
fn hdp_client(id: EngineId) -> u32 {
    match id {
        EngineId::Gfx => 1,
        EngineId::Compute { me: 1, pipe, .. } => 1 << (2 + pipe),
        EngineId::Compute { pipe, .. } => 1 << (6 + pipe),
        EngineId::Sdma(n) => 1 << (10 + n),
    }
}

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
    /// Carries what the host wrote into VRAM over to the engines' view.
    pub(crate) fn hdp_flush(&mut self) {
        if let Err(e) = self.vram.flush() {
            self.log.violation("hdp", format!("flush: {e}"));
        }
    }

    /// A write to GPU_HDP_FLUSH_REQ.
    pub(crate) fn request_hdp_flush(&mut self, by: Source, bits: u32) {
        self.regs.set(GPU_HDP_FLUSH_REQ, bits);
        if let Source::Engine(id) = by
            && bits != hdp_client(id)
        {
            let what = format!(
                "{id} asks for an HDP flush as client {bits:#x}, it is {:#x}",
                hdp_client(id)
            );
            self.log.violation("hdp-client", what);
        }
        self.regs.set(GPU_HDP_FLUSH_DONE, self.regs.get(GPU_HDP_FLUSH_DONE) & !bits);
        for bit in (0..32).map(|n| 1 << n).filter(|bit| bits & bit != 0) {
            let slow = self.config.strict.has(Rule::HdpDelay);
            let reads = if slow { self.rng.random_range(0..=READS) } else { 0 };
            self.hdp_requests.0.retain(|r| r.0 != bit);
            self.hdp_requests.0.push((bit, reads));
        }
    }

    /// A read of GPU_HDP_FLUSH_DONE.
    pub(crate) fn hdp_flush_done(&mut self) -> u32 {
        let mut done = 0;
        self.hdp_requests.0.retain_mut(|(bit, left)| match left.checked_sub(1) {
            Some(n) => {
                *left = n;
                true
            }
            None => {
                done |= *bit;
                false
            }
        });
        if done != 0 {
            self.hdp_flush();
        }
        let value = self.regs.get(GPU_HDP_FLUSH_DONE) | done;
        self.regs.set(GPU_HDP_FLUSH_DONE, value);
        value
    }

    /// A write to VM_INVALIDATE_REQUEST.
    pub(crate) fn request_flush(&mut self, by: Source, vmids: u32) {
        for vmid in (1..16).filter(|v| vmids & 1 << v != 0) {
            self.check_vmid_unused(by, vmid, "its TLB entries are flushed");
        }
        match by {
            Source::Engine(engine) if self.config.strict.has(Rule::TlbDelay) => {
                let left = self.rng.random_range(1..=LONGEST);
                self.regs
                    .set(VM_INVALIDATE_RESPONSE, self.regs.get(VM_INVALIDATE_RESPONSE) & !vmids);
                self.flushes.0.push(Pending { engine, vmids, left });
            }
            _ => self.flush_now(vmids),
        }
    }

    fn flush_now(&mut self, vmids: u32) {
        self.tlb_flush(vmids);
        self.regs.set(VM_INVALIDATE_RESPONSE, self.regs.get(VM_INVALIDATE_RESPONSE) | vmids);
    }

    /// Ends the flushes of an asker that reads the register: by then they are done.
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
                "{id} begins an indirect buffer and has not waited for its TLB flush of \
                 vmids {:#x}: nothing read VM_INVALIDATE_REQUEST back",
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

    /// A VMID's registers are about to be changed: no job of it may run elsewhere.
    pub(crate) fn check_vmid_unused(&mut self, by: Source, vmid: u32, done: &str) {
        let mine = |id: EngineId| by == Source::Engine(id);
        let other =
            self.executing().into_iter().find(|(id, v)| u32::from(*v) == vmid && !mine(*id));
        if let Some((id, _)) = other {
            self.log.violation(
                "vmid-in-use",
                format!("vmid {vmid} runs a job on {id}, and {done} by {by}"),
            );
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
