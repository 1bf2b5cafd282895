// SPDX-License-Identifier: GPL-2.0 OR MIT
//! The programs of a draw: their registers (SPI_SHADER_PGM_*), and how their waves start.

use super::registers::Registers;
use crate::{
    isa::code,
    mode::Mode,
    noise::Noise,
    program::{
        Allocation,
        Program, //
    },
    rng::Rng,
    stop::Stop,
    wave::{
        Row,
        Wave, //
    }, //
};

/// Index of SPI_SHADER_PGM_LO_VS and of SPI_SHADER_PGM_LO_PS. HI, RSRC1, RSRC2 and the user data
/// follow.
pub const VERTEX: u32 = 0x2c48;
pub const PIXEL: u32 = 0x2c08;

/// The program of a stage.
pub struct Stage {
    pub program: Program,
    start: u64,
    allocation: Allocation,
    mode: Mode,
    user: Vec<u32>,
    scratch: bool,
    /// VGPR_COMP_CNT of vertices.
    pub components: u32,
    spare: Vec<Vec<Row>>,
}

impl Stage {
    /// From the registers of a stage.
    pub fn new(r: &Registers, first: u32) -> Result<Stage, Stop> {
        let word = |n: u32| r.program(first + n);
        let (rsrc1, rsrc2) = (word(2), word(3));
        let absent = [
            (rsrc1 & 1 << 20, "PRIV"),
            (rsrc1 & 1 << 22, "DEBUG_MODE"),
            (rsrc2 & 1 << 6, "TRAP_PRESENT"),
            (
                if first == VERTEX { rsrc2 & 0x1f80 } else { rsrc2 & 0x80 },
                "stream output or wave counts",
            ),
            (u32::from(rsrc2 >> 1 & 0x1f > 16), "more than 16 user scalars"),
        ];
        if let Some((_, name)) = absent.iter().find(|(set, _)| *set != 0) {
            return Err(Stop::illegal(format!(
                "program of a draw: {name} (RSRC1 {rsrc1:#x}, RSRC2 {rsrc2:#x})"
            )));
        }
        let allocation = Allocation {
            vector: ((rsrc1 & 0x3f) as u16 + 1) * 4,
            scalar: ((((rsrc1 >> 6) & 0xf) as u16 + 1) * 8).min(104),
        };
        Ok(Stage {
            program: Program::new(allocation),
            start: u64::from(word(0)) << 8 | u64::from(word(1) & 0xff) << 40,
            allocation,
            mode: Mode::from_rsrc1(rsrc1),
            user: (0..rsrc2 >> 1 & 0x1f).map(|n| word(4 + n)).collect(),
            scratch: rsrc2 & 1 != 0,
            components: rsrc1 >> 24 & 3,
            spare: vec![],
        })
    }

    /// A wave with these active lanes and vector registers; `scalars` follow the user data.
    pub fn wave(
        &mut self,
        (rng, noise): (&mut Rng, &Noise),
        exec: u64,
        scalars: &[u32],
        inputs: &[Row],
    ) -> Result<Wave, Stop> {
        let vector_registers = usize::from(self.allocation.vector);
        if inputs.len() > vector_registers {
            return Err(Stop::bounds(format!(
                "{} inputs, {vector_registers} vector registers",
                inputs.len()
            )));
        }
        let mut vector = self.spare.pop().unwrap_or_default();
        noise.rows(rng, vector_registers, &mut vector);
        vector[..inputs.len()].copy_from_slice(inputs);
        let mut scalar = noise.scalars(rng);
        // One wave runs at a time: it has the first slot of scratch.
        let scratch = if self.scratch { &[0][..] } else { &[] };
        for (to, from) in scalar.iter_mut().zip(self.user.iter().chain(scalars).chain(scratch)) {
            *to = *from;
        }
        let mut wave = Wave::new(self.start, self.mode, scalar, vector);
        wave.set_pair(code::EXEC, exec);
        Ok(wave)
    }

    /// Takes back the registers of a wave that has ended.
    pub fn ended(&mut self, wave: Wave) {
        self.spare.push(wave.vector);
    }
}
