// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Draws on the gfx ring, and the state that CLEAR_STATE brings back.
//!
//! The pipeline is the shader core's (`shader/src/draw.rs`). A draw begins with the registers as
//! they are, and is executed in slices, as a dispatch is.

use amdgpu_shader::draw::{
    Draw,
    Registers,
    packets::Sources, //
};

use super::dispatch::{
    Job,
    Running, //
};
use crate::{
    engine::{
        EngineId,
        Front,
        Stop,
        Stream, //
    },
    gpu::{
        Flow,
        Gpu, //
    },
    mc::Access,
    regs::index::*, //
};

/// Context registers, and registers of the graphics programs: first index.
const CONTEXT: u32 = 0xa000;
const PROGRAMS: u32 = 0x2c00;
/// PREAMBLE_CNTL: between these two, CLEAR_STATE's values are taught.
const BEGIN_CLEAR_STATE: u32 = 2 << 28;
const END_CLEAR_STATE: u32 = 3 << 28;

/// Graphics state of the command processor besides registers.
#[derive(Default)]
pub(crate) struct Graphics {
    sources: Sources,
    /// Context registers that the kernel has taught, if it has.
    clear_state: Option<Vec<(u32, u32)>>,
    teaching: bool,
}

impl Graphics {
    /// Notes a write of a context register while CLEAR_STATE's values are taught.
    pub fn register(&mut self, reg: u32, value: u32) {
        if self.teaching && (CONTEXT..CONTEXT + 0x400).contains(&reg) {
            self.clear_state.get_or_insert_default().push((reg, value));
        }
    }
}

impl Gpu {
    /// PREAMBLE_CNTL. A user's teaches nothing.
    pub(super) fn preamble(&mut self, s: &Stream, what: u32) {
        match what {
            BEGIN_CLEAR_STATE if s.vmid == 0 => {
                self.graphics.teaching = true;
                self.graphics.clear_state = None;
            }
            END_CLEAR_STATE => self.graphics.teaching = false,
            _ => {}
        }
    }

    /// CLEAR_STATE: the context registers as they were taught.
    pub(super) fn clear_state(&mut self) -> Result<(), Stop> {
        let Some(values) = self.graphics.clear_state.take() else {
            return Err(Stop::Illegal("CLEAR_STATE before its values were taught".into()));
        };
        for (reg, value) in &values {
            self.regs.set(*reg, *value);
        }
        self.graphics.clear_state = Some(values);
        Ok(())
    }

    /// A draw, or a packet that says where its indices are.
    pub(super) fn draw(
        &mut self,
        id: EngineId,
        front: &mut Front,
        s: &Stream,
        opcode: u32,
        body: &[u32],
    ) -> Result<Flow, Stop> {
        self.slice_of(id, front, |gpu| {
            let call = gpu
                .graphics
                .sources
                .packet(opcode, body)
                .map_err(|stop| Stop::Illegal(stop.what))?;
            let Some(call) = call else { return Ok(None) };
            let draw =
                Draw::new(gpu.draw_registers(), call, gpu.shader_config(s.vmid, TA_BC_BASE_ADDR));
            let draw = draw.map_err(|stop| gpu.shader_stop(stop))?;
            let access = Access { vmid: s.vmid, client: "TC0", client_id: 0x40, copied: false };
            Ok(Some(Running(Job::Draw(Box::new(draw)), access)))
        })
    }

    fn draw_registers(&self) -> Registers {
        let of = |first: u32| move |n: usize| self.regs.get(first + n as u32);
        Registers {
            context: Box::new(std::array::from_fn(of(CONTEXT))),
            shader: Box::new(std::array::from_fn(of(PROGRAMS))),
            primitive: self.regs.get(VGT_PRIMITIVE_TYPE),
        }
    }
}
