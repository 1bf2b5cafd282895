// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Descriptors of compute queues in memory (`cik_structs.h`, `struct cik_mqd`): a packet that sets
//! the registers of dispatches, then the queue's own registers. The engine may execute the packet
//! when it takes up a queue (PRELOAD_REQ), and loads and saves the registers when it switches
//! queues.

use crate::{
    engine::{
        EngineId,
        Front, //
    },
    gpu::Gpu,
    mc::Access,
    pace::PROCESSING_IB,
    regs::{
        self,
        QueueSel,
        index::*, //
    },
    touch::address,
    trace::Event, //
};

/// Dword where the registers from CP_MQD_BASE_ADDR on are; what is before it is the packet.
const SAVED: usize = 51;
/// Dwords of a descriptor that are read.
pub const DWORDS: usize = 512;
/// A packet of type 3 with the opcode 8, as long as all that is before the registers.
const HEADER: u32 = 3 << 30 | (SAVED as u32 - 2) << 16 | 0x08 << 8;
/// Dwords of COMPUTE_STATIC_THREAD_MGMT_SE0 to SE3.
const THREAD_MANAGEMENT: [usize; 4] = [23, 24, 26, 27];
/// CP_HQD_PERSISTENT_STATE: the packet is executed.
pub(crate) const PRELOAD_REQ: u32 = 1;

impl Gpu {
    /// A queue is started: its descriptor is read, and perhaps its packet executed.
    pub(crate) fn start_queue(&mut self, sel: QueueSel) {
        let mut front = Front::default();
        if let Some(dwords) = self.read_descriptor(sel) {
            self.check_contents(sel, &dwords);
            if self.regs.queue(sel, CP_HQD_PERSISTENT_STATE) & PRELOAD_REQ != 0 {
                front.hung = self.preload(sel, &dwords).err();
            }
            self.log.event(Event::Descriptor { queue: sel, dwords });
        }
        if self.regs.queue(sel, CP_HQD_IB_CONTROL) & PROCESSING_IB != 0 {
            // Where that buffer is, and what has become of it, the model does not look.
            let what = format!("queue {sel:?} goes on with the indirect buffer that it was in");
            self.log.violation("old-buffer", what.clone());
            front.hung = Some(what);
        }
        self.mec.entry(sel).or_insert(front);
    }

    /// A queue is taken off: its registers are saved in its descriptor.
    pub(crate) fn save_descriptor(&mut self, sel: QueueSel) {
        let (a, at) = self.descriptor(sel);
        let saved = (CP_MQD_BASE_ADDR..=CP_MQD_CONTROL)
            .flat_map(|reg| self.regs.queue(sel, reg).to_le_bytes());
        let bytes: Vec<u8> = saved.collect();
        let done = self.mem_write(a, at + SAVED as u64 * 4, &bytes);
        self.check_descriptor(sel, at, done.is_ok());
    }

    fn descriptor(&self, sel: QueueSel) -> (Access, u64) {
        let r = |reg| self.regs.queue(sel, reg);
        let id = EngineId::Compute { me: sel.0, pipe: sel.1, queue: sel.2 };
        let vmid = (r(CP_MQD_CONTROL) & 0xf) as u8;
        (Self::access(id, vmid), address(r(CP_MQD_BASE_ADDR), r(CP_MQD_BASE_ADDR_HI)))
    }

    fn read_descriptor(&mut self, sel: QueueSel) -> Option<Vec<u32>> {
        let (a, at) = self.descriptor(sel);
        let dwords: Result<Vec<u32>, _> =
            (0..DWORDS as u64).map(|n| self.mem_read_u32(a, (at & !3) + 4 * n)).collect();
        self.check_descriptor(sel, at, dwords.is_ok());
        dwords.ok().filter(|_| at != 0)
    }

    fn check_descriptor(&mut self, sel: QueueSel, at: u64, reached: bool) {
        if at == 0 || !reached {
            self.log.violation(
                "descriptor",
                format!("queue {sel:?}: its descriptor at {at:#x} is no memory"),
            );
        }
    }

    /// Checks the contents that a descriptor must have, whether the engine looks at once or when it
    /// comes back to the queue.
    fn check_contents(&mut self, sel: QueueSel, dwords: &[u32]) {
        let mut wrong = Vec::new();
        if dwords[0] != HEADER {
            wrong.push(format!("its header is {:#x}, not {HEADER:#x}", dwords[0]));
        }
        let units = THREAD_MANAGEMENT.map(|n| dwords[n]);
        if units.contains(&0) {
            wrong.push(format!("dispatches may use no compute unit of an engine: {units:x?}"));
        }
        for (reg, said) in (CP_MQD_BASE_ADDR..=CP_MQD_CONTROL).zip(&dwords[SAVED..]) {
            let is = self.regs.queue(sel, reg);
            if is != *said {
                wrong.push(format!("{} is {said:#x}, and {is:#x} in the queue", regs::label(reg)));
            }
        }
        for what in wrong {
            self.log.violation("descriptor", format!("queue {sel:?}: its descriptor: {what}"));
        }
    }

    /// Executes the packet of a descriptor: the dispatches' registers. Without its header the
    /// engine finds no command.
    fn preload(&mut self, sel: QueueSel, dwords: &[u32]) -> Result<(), String> {
        if dwords[0] != HEADER {
            return Err(format!("the descriptor of queue {sel:?} begins with {:#x}", dwords[0]));
        }
        let id = EngineId::Compute { me: sel.0, pipe: sel.1, queue: sel.2 };
        let state = (COMPUTE_DISPATCH_INITIATOR..=COMPUTE_MISC_RESERVED).zip(&dwords[1..]);
        let user = (COMPUTE_USER_DATA_0..COMPUTE_USER_DATA_0 + 16).zip(&dwords[33..]);
        for (reg, value) in state.chain(user) {
            self.shaders.register(id, reg, *value);
        }
        Ok(())
    }
}
