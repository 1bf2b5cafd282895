// SPDX-License-Identifier: GPL-2.0 OR MIT
//! The global data share (GDS): memory within the graphics block, of which each VMID reaches the
//! part that its registers give to it. CP DMA reads and writes it; shaders here do not.
//!
//! What is outside of the part is not reached: reads find zeros, and writes vanish. (Neither the
//! headers nor the C driver say what hardware does then.) What is in it at power-up is arbitrary.
//! The counters of global wave sync (GWS) and ordered append (OA) are not modeled; their registers
//! are, by the same rule: a VMID's are not changed while a job of it runs elsewhere.

use crate::{
    engine::{
        EngineId,
        Stop,
        Stream, //
    },
    gpu::Gpu,
    regs::index::{
        GDS_GWS_VMID0,
        GDS_VMID0_BASE,
        GDS_VMID0_SIZE, //
    },
    trace::Source, //
};

/// Bytes of the data share.
const SIZE: usize = 0x1_0000;

/// The contents of the data share.
pub(crate) struct DataShare(Box<[u8]>);

impl Default for DataShare {
    fn default() -> Self {
        DataShare(vec![0xa5; SIZE].into())
    }
}

impl Gpu {
    /// A write to a register that gives a VMID on-chip memory.
    pub(crate) fn set_on_chip(&mut self, by: Source, reg: u32, value: u32) {
        let vmid = match reg {
            GDS_VMID0_BASE..GDS_GWS_VMID0 => (reg - GDS_VMID0_BASE) / 2,
            _ => (reg - GDS_GWS_VMID0) % 16,
        };
        if vmid != 0 && self.regs.get(reg) != value {
            self.check_vmid_unused(by, vmid, "its on-chip memory is changed");
        }
        self.regs.write(reg, value);
    }

    /// DMA_DATA from or to the data share (SRC_SEL or DST_SEL 1). Waits for what was issued before.
    pub(super) fn share_dma(
        &mut self,
        id: EngineId,
        s: &Stream,
        (from, src): (u32, u64),
        (to, dst): (u32, u64),
        len: u64,
    ) -> Result<(), Stop> {
        let in_share = |sel: u32, at: u64| sel == 1 && at % 4 != 0;
        if in_share(from, src) || in_share(to, dst) || len % 4 != 0 {
            return Err(Stop::Illegal(format!(
                "DMA_DATA of {len:#x} bytes from {src:#x} to {dst:#x} in the data share: not aligned"
            )));
        }
        self.finish_dma(id)?;
        let a = Self::access(id, s.vmid);
        let mut bytes = vec![0; len as usize];
        match from {
            1 => {
                for (n, byte) in (0..).zip(bytes.iter_mut()) {
                    *byte = self.share_at(s.vmid, src + n).map_or(0, |at| self.share.0[at]);
                }
            }
            2 => {
                let dword = (src as u32).to_le_bytes();
                bytes.chunks_mut(4).for_each(|to| to.copy_from_slice(&dword));
            }
            _ => self.mem_read(a, src, &mut bytes)?,
        }
        if to != 1 {
            self.mem_write(a, dst, &bytes)?;
            self.issued(id, a, dst, len);
            return Ok(());
        }
        for (n, byte) in (0..).zip(bytes) {
            if let Some(at) = self.share_at(s.vmid, dst + n) {
                self.share.0[at] = byte;
            }
        }
        Ok(())
    }

    /// Where a byte of a VMID's part of the data share is.
    fn share_at(&self, vmid: u8, offset: u64) -> Option<usize> {
        let register = |first: u32| u64::from(self.regs.get(first + 2 * u32::from(vmid)));
        let at = register(GDS_VMID0_BASE) + offset;
        (offset < register(GDS_VMID0_SIZE) && at < SIZE as u64).then_some(at as usize)
    }
}
