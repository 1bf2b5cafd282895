// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Draw packets, and those that say where their indices are (`cikd.h`).

use super::{
    Call,
    Indices, //
};
use crate::stop::Stop;

/// Opcodes.
pub mod op {
    #![allow(missing_docs, reason = "the names say it")]
    pub const INDEX_BUFFER_SIZE: u32 = 0x13;
    pub const INDEX_BASE: u32 = 0x26;
    pub const DRAW_INDEX_2: u32 = 0x27;
    pub const INDEX_TYPE: u32 = 0x2a;
    pub const DRAW_INDEX_AUTO: u32 = 0x2d;
    pub const NUM_INSTANCES: u32 = 0x2f;
    pub const DRAW_INDEX_OFFSET_2: u32 = 0x35;
}

/// State that draws take from packets before them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sources {
    index_type: u32,
    instances: u32,
    base: u64,
    size: u32,
}

fn address(lo: u32, hi: u32) -> u64 {
    u64::from(lo) | u64::from(hi & 0xff) << 32
}

impl Sources {
    /// Takes a packet. `Ok(Some)` is a draw; an error says why a packet of this kind is not one.
    pub fn packet(&mut self, opcode: u32, body: &[u32]) -> Result<Option<Call>, Stop> {
        match (opcode, body) {
            (op::INDEX_TYPE, [value]) => self.index_type = *value,
            (op::NUM_INSTANCES, [value]) => self.instances = *value,
            (op::INDEX_BASE, [lo, hi]) => self.base = address(lo & !1, *hi),
            (op::INDEX_BUFFER_SIZE, [value]) => self.size = *value,
            (op::DRAW_INDEX_AUTO, [count, _]) => {
                return Ok(Some(self.call(*count, Indices::Automatic)));
            }
            (op::DRAW_INDEX_2, [most, lo, hi, count, _]) => {
                let indices = self.indices(address(lo & !1, *hi), *most)?;
                return Ok(Some(self.call(*count, indices)));
            }
            (op::DRAW_INDEX_OFFSET_2, [most, offset, count, _]) => {
                let bytes = if self.index_type & 3 == 0 { 2 } else { 4 };
                let indices = self.indices(
                    self.base + bytes * u64::from(*offset),
                    most.saturating_sub(*offset),
                )?;
                return Ok(Some(self.call(*count, indices)));
            }
            _ => {
                return Err(Stop::illegal(format!(
                    "packet {opcode:#x} with {} body dwords",
                    body.len()
                )));
            }
        }
        Ok(None)
    }

    fn call(&self, count: u32, indices: Indices) -> Call {
        Call { count, instances: self.instances, indices }
    }

    /// VGT_INDEX_TYPE: 16 or 32 bits, and a byte swap.
    fn indices(&self, base: u64, most: u32) -> Result<Indices, Stop> {
        match self.index_type {
            0 => Ok(Indices::Short { base, most }),
            1 => Ok(Indices::Long { base, most }),
            other => Err(Stop::illegal(format!("index type {other:#x} is not implemented"))),
        }
    }
}
