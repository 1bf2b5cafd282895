// SPDX-License-Identifier: GPL-2.0 OR MIT
//! The graphics front end (PFP) runs ahead of the engine that executes (ME): it parses the ring,
//! and copies the commands of the next indirect buffer while ME is still at work, or waits, before
//! it. What stops it is PFP_SYNC_ME, and a wait or a write that it has to do itself.

use std::sync::Arc;

use super::{
    op,
    packets::address, //
};
use crate::{
    engine::{
        EngineId,
        Front,
        Stream, //
    },
    gpu::{
        Gpu,
        Ring, //
    },
    strict::Rule, //
};

/// Packets that the front end is ahead, at most.
const PACKETS: u32 = 32;
/// Dwords of an indirect buffer that it copies.
const DWORDS: u32 = 256;

/// Commands of an indirect buffer that were fetched before it began.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// Place of its packet on the ring.
    at: u32,
    vmid: u8,
    base: u64,
    commands: Arc<Vec<u32>>,
}

impl Gpu {
    /// Lets the front end run ahead of the position on the ring.
    pub(crate) fn run_ahead(&mut self, front: &mut Front, ring: &Ring) {
        if self.config.strict.has(Rule::Prefetch) && front.fetched.is_none() {
            front.fetched = self.fetch_ahead(ring);
        }
    }

    fn fetch_ahead(&mut self, ring: &Ring) -> Option<Fetched> {
        let a = Self::access(EngineId::Gfx, ring.vmid);
        let mut s = Stream {
            vmid: ring.vmid,
            base: ring.base,
            size: ring.size,
            pos: ring.rptr,
            ahead: None,
        };
        let mut left = ring.wptr.wrapping_sub(ring.rptr) & (ring.size - 1);
        for _ in 0..PACKETS {
            if left == 0 {
                return None;
            }
            let mut dw = vec![self.mem_read_u32(a, s.addr(0)).ok()?];
            let length = super::length(dw[0]).ok()?.dwords;
            if length > left {
                return None;
            }
            self.fetch(a, &s, &mut dw, length).ok()?;
            let body = &dw[1..];
            // A single dword is a filler.
            match if body.is_empty() { op::NOP } else { dw[0] >> 8 & 0xff } {
                op::PFP_SYNC_ME => return None,
                op::WAIT_REG_MEM if body[0] >> 8 & 1 != 0 => return None,
                op::WRITE_DATA if body[0] >> 30 == 1 => return None,
                op::COND_EXEC
                    if self.mem_read_u32(a, address(body[0] & !3, body[1], 16)).ok()? == 0 =>
                {
                    return None;
                }
                op::INDIRECT_BUFFER | op::INDIRECT_BUFFER_CONST => {
                    return self.fetch_commands(s.pos, body);
                }
                _ => {}
            }
            s.pos = (s.pos + length) & (ring.size - 1);
            left -= length;
        }
        None
    }

    fn fetch_commands(&mut self, at: u32, body: &[u32]) -> Option<Fetched> {
        let vmid = (body[2] >> 24 & 0xf) as u8;
        let size = body[2] & 0xf_ffff;
        let base = address(body[0] & !3, body[1], 16);
        let mut bytes = vec![0; size.min(DWORDS) as usize * 4];
        self.mem_read(Self::access(EngineId::Gfx, vmid), base, &mut bytes).ok()?;
        let commands = bytes.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
        self.log.note(format!(
            "gfx: the front end fetches {} bytes at {base:#x}, vmid {vmid}",
            bytes.len()
        ));
        Some(Fetched { at, vmid, base, commands: Arc::new(commands.collect()) })
    }

    /// An indirect buffer begins, by the packet at `at` of the ring: with the commands that were
    /// fetched.
    pub(crate) fn use_fetched(&mut self, front: &mut Front, at: u32, s: &mut Stream) {
        let Some(f) = front.fetched.take() else { return };
        if (f.at, f.vmid, f.base) != (at, s.vmid, s.base) {
            return;
        }
        let mut now = vec![0; f.commands.len() * 4];
        let read = self.mem_read(Self::access(EngineId::Gfx, s.vmid), s.base, &mut now);
        if read.is_ok()
            && now != f.commands.iter().flat_map(|d| d.to_le_bytes()).collect::<Vec<u8>>()
        {
            let what = format!(
                "gfx: the front end fetched the commands at {:#x} (vmid {}) before they were \
                 what they are now: nothing held it back",
                s.base, s.vmid
            );
            self.log.violation("fetched-early", what);
        }
        s.ahead = Some(f.commands);
    }
}
