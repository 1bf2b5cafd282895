// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Packets as a person reads them, in the dump of a hang.
//!
//! The C driver's dumps have dwords only; umr decodes them.

use super::command::Ib;

/// The packet at the start of some commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DecodedPacket {
    pub(crate) name: &'static str,
    /// Length in dwords, at least 1; more than there are if the packet is cut off.
    pub(crate) dwords: usize,
    /// The command buffer that the packet calls or jumps to.
    pub(crate) call: Option<Call>,
}

impl DecodedPacket {
    /// Creates one that calls nothing.
    pub(crate) const fn new(name: &'static str, dwords: usize) -> Self {
        Self {
            name,
            dwords,
            call: None,
        }
    }
}

/// Call of a command buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) ib: Ib,
    /// Context in which it runs. Only the kernel's own packets say so.
    pub(crate) vmid: u8,
}

/// Returns the packets of some commands, and for each the place of its first dword. `decode` is the
/// engine's.
pub(crate) fn packets<'a>(
    dwords: &'a [u32],
    decode: impl Fn(&[u32]) -> DecodedPacket + 'a,
) -> impl Iterator<Item = (usize, DecodedPacket)> + 'a {
    let mut next = 0;
    core::iter::from_fn(move || {
        let rest = dwords.get(next..).filter(|rest| !rest.is_empty())?;
        let packet = decode(rest);
        let at = next;
        next += packet.dwords.max(1);
        Some((at, packet))
    })
}

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
#[kernel::prelude::kunit_tests(amdgpu_rs_decode)]
mod tests {
    use super::*;

    #[test]
    fn packets_follow_each_other() {
        // The first dword is the length, which may be wrong.
        let decode = |rest: &[u32]| DecodedPacket::new("", rest[0] as usize);
        let commands = [2, 9, 1, 0, 7, 9];
        let starts = [0, 2, 3, 4];
        assert!(packets(&commands, decode).map(|(at, _)| at).eq(starts));
        assert!(packets(&[], decode).next().is_none());
    }
}
