// SPDX-License-Identifier: GPL-2.0 OR MIT
//! VM faults: latched in the registers of the context until cleared, reported by an interrupt,
//! and either redirected to the default page or the end of the engine.

use crate::{
    config::Chip,
    engine::Stop,
    gpu::Gpu,
    mc::{
        Access,
        PAGE,
        Place,
        protection, //
    },
    regs::index::*,
    trace::Event, //
};

/// Interrupt source: page invalid (range, directory or valid bit).
const PAGE_INVALID: u8 = 146;
/// Interrupt source: permission.
const PROTECTION: u8 = 147;
/// VM_CONTEXTx_CNTL2: clear the latched fault.
const CLEAR: u32 = 1;
/// VM_CONTEXTx_CNTL2: interrupts for further faults while one is latched.
const SUBSEQUENT: u32 = 1 << 2;

/// What the fault logic remembers, for contexts 0 and 1.
#[derive(Default)]
pub struct Faults {
    latched: [bool; 2],
    /// Last page reported, so that one copy does not fill the interrupt ring.
    last: [Option<(u8, u64)>; 2],
    /// Faults since power-up.
    pub count: u64,
}

/// Position of the interrupt-enable bit in VM_CONTEXTx_CNTL; the redirect bit is the next one.
fn enable_bit(bits: u32) -> u32 {
    match bits {
        protection::RANGE => 3,
        protection::PDE0 => 9,
        protection::VALID => 12,
        protection::READ => 15,
        _ => 18,
    }
}

impl Gpu {
    /// Takes a fault at `va`. Answers where the access goes instead, if anywhere.
    pub(crate) fn fault(
        &mut self,
        a: Access,
        va: u64,
        write: bool,
        bits: u32,
    ) -> Result<Place, Stop> {
        self.faults.count += 1;
        let n = usize::from(a.vmid != 0);
        let context = n as u32;
        let cntl = self.regs.get(VM_CONTEXT0_CNTL + context);
        let page = va >> 12;
        let again = self.faults.last[n] == Some((a.vmid, page)) && self.faults.latched[n];
        if !again {
            let e = Event::Fault { vmid: a.vmid, va, write, protections: bits, client: a.client };
            self.log.event(e);
            self.report_fault(a, va, write, bits, cntl);
            self.faults.last[n] = Some((a.vmid, page));
        }
        if cntl & 1 << (enable_bit(bits) + 1) == 0 {
            return Err(Stop::Hang(format!(
                "VM fault at {va:#x}, vmid {}, not redirected",
                a.vmid
            )));
        }
        let default =
            u64::from(self.regs.get(VM_CONTEXT0_PROTECTION_FAULT_DEFAULT_ADDR + context)) << 12;
        Ok(self.bus_place(a, va, default + va % PAGE, write))
    }

    fn report_fault(&mut self, a: Access, va: u64, write: bool, bits: u32, cntl: u32) {
        let n = usize::from(a.vmid != 0);
        let context = n as u32;
        let subsequent = self.regs.get(VM_CONTEXT0_CNTL2 + context) & SUBSEQUENT != 0;
        let first = !self.faults.latched[n];
        if first {
            self.faults.latched[n] = true;
            let status =
                bits | a.client_id << 12 | u32::from(write) << 24 | u32::from(a.vmid) << 25;
            let name: [u8; 4] =
                std::array::from_fn(|i| a.client.as_bytes().get(i).copied().unwrap_or(0));
            self.regs.set(VM_CONTEXT0_PROTECTION_FAULT_ADDR + context, (va >> 12) as u32);
            self.regs.set(VM_CONTEXT0_PROTECTION_FAULT_STATUS + context, status);
            self.regs
                .set(VM_CONTEXT0_PROTECTION_FAULT_MCCLIENT + context, u32::from_be_bytes(name));
        }
        // A fault of the interrupt ring itself cannot be told through it.
        let own = a.client == crate::ih::CLIENT;
        if cntl & 1 << enable_bit(bits) != 0 && (first || subsequent) && !own {
            let source = if bits & (protection::READ | protection::WRITE) != 0 {
                PROTECTION
            } else {
                PAGE_INVALID
            };
            // Hawaii's vectors for faults carry neither VMID nor PASID.
            let vmid = if self.config.chip == Chip::Hawaii { 0 } else { a.vmid };
            self.interrupt(source, (va >> 12) as u32 & 0x0fff_ffff, 0, vmid);
        }
    }

    /// A write to VM_CONTEXTx_CNTL2.
    pub(crate) fn fault_control(&mut self, context: u32, value: u32) {
        if value & CLEAR != 0 {
            self.faults.latched[context as usize] = false;
            self.faults.last[context as usize] = None;
            self.regs.set(VM_CONTEXT0_PROTECTION_FAULT_ADDR + context, 0);
            self.regs.set(VM_CONTEXT0_PROTECTION_FAULT_STATUS + context, 0);
            self.regs.set(VM_CONTEXT0_PROTECTION_FAULT_MCCLIENT + context, 0);
        }
        self.regs.set(VM_CONTEXT0_CNTL2 + context, value & !CLEAR);
    }
}
