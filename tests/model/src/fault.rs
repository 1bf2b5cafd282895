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

/// VM_PRT_CNTL, for accesses to what is not mapped: no faults of reads and of writes, by the color
/// blocks and by the texture caches.
mod prt {
    pub const CB_READ: u32 = 1;
    pub const TC_READ: u32 = 1 << 1;
    pub const CB_WRITE: u32 = 1 << 4;
    pub const TC_WRITE: u32 = 1 << 5;
    /// Nor where the directory has no table.
    pub const MASK_PDE0: u32 = 1 << 6;
    /// Apertures, each from the page of one register to that of another.
    pub const APERTURES: u32 = 4;
}

/// Memory of the fault logic, for contexts 0 and 1.
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
        if self.is_hole(a, va, write, bits) {
            return Ok(Place::Hole);
        }
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

    /// Returns true if an access of a process to what is not mapped is none to worry about, as it
    /// may be to a partially resident texture.
    fn is_hole(&self, a: Access, va: u64, write: bool, bits: u32) -> bool {
        let cntl = self.regs.get(VM_PRT_CNTL);
        let allowed = match (a.client.get(..2), write) {
            (Some("CB"), false) => prt::CB_READ,
            (Some("CB"), true) => prt::CB_WRITE,
            (Some("TC"), false) => prt::TC_READ,
            (Some("TC"), true) => prt::TC_WRITE,
            _ => return false,
        };
        let masked = match bits {
            protection::VALID => true,
            protection::PDE0 => cntl & prt::MASK_PDE0 != 0,
            _ => false,
        };
        let page = va >> 12;
        let inside = (0..prt::APERTURES).any(|n| {
            let low = self.regs.get(VM_PRT_APERTURE0_LOW_ADDR + n);
            let high = self.regs.get(VM_PRT_APERTURE0_HIGH_ADDR + n);
            (u64::from(low)..=u64::from(high)).contains(&page)
        });
        a.vmid != 0 && cntl & allowed != 0 && masked && inside
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
