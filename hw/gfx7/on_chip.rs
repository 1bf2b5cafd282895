// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Registers that give parts of the on-chip memories to VM contexts (the C driver's
//! `gfx_v7_0_ring_emit_gds_switch` and `gfx_v7_0_init_gds_vmid`).
//!
//! Context 0, the kernel's own, has all of the global data share from reset on.

use kernel::io::{
    register::Array,
    Io, //
};

use super::{
    pm4,
    regs::*, //
};
use crate::hw::{
    card::Card,
    command::Vmid,
    on_chip::{
        OnChip,
        OnChipKind,
        OnChipRange, //
    },
};

/// Number of counters of global wave sync.
const GWS: u32 = 64;
/// Number of counters of ordered append.
const OA: u32 = 16;
/// Largest global data share in bytes.
const GDS_MOST: u32 = 0x1_0000;

/// Returns all on-chip memory of a card whose global data share has `gds` bytes, as read from it.
pub(super) fn all(gds: u32) -> OnChip {
    let all = |count| OnChipRange { first: 0, count };
    OnChip::NONE
        .with(OnChipKind::Gds, all(gds.min(GDS_MOST)))
        .with(OnChipKind::Gws, all(GWS))
        .with(OnChipKind::Oa, all(OA))
}

/// Values of a context's registers.
struct Values {
    base: u32,
    size: u32,
    gws: u32,
    oa: u32,
}

impl From<&OnChip> for Values {
    fn from(on_chip: &OnChip) -> Self {
        let [gds, gws, oa] = OnChipKind::ALL.map(|kind| on_chip.get(kind));
        // One bit for each counter. There are no more than half as many as the shifts reach.
        let before = |counters: u32| (1 << counters.min(OA)) - 1;
        Self {
            base: gds.first,
            size: gds.count,
            gws: gws.count << GDS_GWS_VMID0::SIZE_SHIFT | gws.first,
            oa: before(oa.first.saturating_add(oa.count)) & !before(oa.first),
        }
    }
}

/// Returns registers (numbers in dwords) and values that give a context on-chip memory.
pub(super) fn writes(vmid: Vmid, on_chip: &OnChip) -> [(u32, u32); 4] {
    let vmid = u32::from(vmid.get());
    let values = Values::from(on_chip);
    [
        (pm4::register::<GDS_VMID0_BASE>() + 2 * vmid, values.base),
        (pm4::register::<GDS_VMID0_SIZE>() + 2 * vmid, values.size),
        (pm4::register::<GDS_GWS_VMID0>() + vmid, values.gws),
        (pm4::register::<GDS_OA_VMID0>() + vmid, values.oa),
    ]
}

/// Gives a context on-chip memory. No job may run in it.
pub(super) fn give(card: &Card<'_>, vmid: Vmid, on_chip: &OnChip) {
    let regs = card.regs();
    let context = usize::from(vmid.get());
    let values = Values::from(on_chip);
    if let (Some(base), Some(size), Some(gws), Some(oa)) = (
        GDS_VMID0_BASE::try_at(context),
        GDS_VMID0_SIZE::try_at(context),
        GDS_GWS_VMID0::try_at(context),
        GDS_OA_VMID0::try_at(context),
    ) {
        regs.write(base, GDS_VMID0_BASE::from(values.base));
        regs.write(size, GDS_VMID0_SIZE::from(values.size));
        regs.write(gws, GDS_GWS_VMID0::from(values.gws));
        regs.write(oa, GDS_OA_VMID0::from(values.oa));
    }
}

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
#[kernel::prelude::kunit_tests(amdgpu_rs_on_chip)]
mod tests {
    use super::*;
    use crate::hw::fake::write;
    use kernel::{
        num::casts::u32_as_usize,
        prelude::*, //
    };

    fn some() -> OnChip {
        let range = |first, count| OnChipRange { first, count };
        OnChip::NONE
            .with(OnChipKind::Gds, range(0x1000, 0x400))
            .with(OnChipKind::Gws, range(3, 61))
            .with(OnChipKind::Oa, range(2, 3))
    }

    #[test]
    fn registers_of_a_context() {
        let vmid = Vmid::new(9).unwrap();
        let expected = [
            (0x3312, 0x1000),
            (0x3313, 0x400),
            (0x3329, 0x3d_0003),
            (0x3339, 0x1c),
        ];
        assert_eq!(writes(vmid, &some()), expected);
        assert!(writes(vmid, &OnChip::NONE)
            .iter()
            .all(|(_, value)| *value == 0));
    }

    #[test]
    fn the_processor_writes_the_same() -> Result {
        let card = Card::fake(&[])?;
        let vmid = Vmid::new(15).unwrap();
        give(&card, vmid, &some());
        let expected = writes(vmid, &some());
        // The fake card logs byte offsets.
        let expected = expected.map(|(at, value)| write(u32_as_usize(4 * at), value));
        assert!(card.saw(&expected));
        Ok(())
    }

    #[test]
    fn all_there_is() {
        let mask = |on_chip: &OnChip| Values::from(on_chip).oa;
        assert_eq!(mask(&all(0x1_0000)), 0xffff);
        assert_eq!(Values::from(&all(0x1_0000)).gws, 0x40_0000);
        assert_eq!(all(0x8000).get(OnChipKind::Gds).count, 0x8000);
        // A card that is gone reads as all ones.
        assert_eq!(all(!0).get(OnChipKind::Gds).count, GDS_MOST);
        let beyond = OnChipRange {
            first: !0,
            count: !0,
        };
        assert_eq!(mask(&OnChip::NONE.with(OnChipKind::Oa, beyond)), 0);
    }
}
