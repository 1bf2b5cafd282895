// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Memory controller.
//!
//! What the CPU writes through the VRAM aperture may rest in the host data path (HDP) before it
//! reaches VRAM, and what it reads may be an older copy from there. Translations are cached in
//! level-1 caches and one level-2 cache, per context; after a page-table entry was changed, the
//! context's must be dropped. A write of one bit for each context does that.

use kernel::{
    device,
    io::Io,
    prelude::*,
    sizes::{SZ_16M, SZ_1M},
};

use super::{pte::PAGE_SIZE, regs::*};
use crate::{card::Card, device::VramLayout, gart::GartLayout, hw::MemoryController};

/// End of the GPU's address space.
const ADDRESS_SPACE: u64 = 1 << 40;
/// The GART window begins at a multiple of this.
const GART_ALIGNMENT: u64 = 1 << 32;
/// The least VRAM that makes sense.
const MIN_VRAM: u64 = 64 * SZ_1M as u64;

/// What the kernel keeps of VRAM: the GART table, and a page for accesses that go astray.
const RESERVED_SIZE: u64 = GartLayout::TABLE_SIZE + PAGE_SIZE;

pub(super) struct Gmc;

impl MemoryController for Gmc {
    fn layout(&self, card: &Card<'_>, dev: &device::Device) -> Result<(VramLayout, GartLayout)> {
        let start = u64::from(card.regs.read(MC_VM_FB_LOCATION).fb_base().get()) * SZ_16M as u64;
        let size = u64::from(card.regs.read(CONFIG_MEMSIZE).into_raw()) * SZ_1M as u64;
        let visible = size.min(card.vram.size());
        if visible < MIN_VRAM || start + size > ADDRESS_SPACE {
            dev_err!(
                dev,
                "the memory controller reports {} MiB of VRAM at {start:#x}, {} MiB of them visible: not plausible\n",
                size / SZ_1M as u64,
                visible / SZ_1M as u64
            );
            return Err(ENODEV);
        }
        let reserved = visible - RESERVED_SIZE;
        let vram = VramLayout {
            start,
            size,
            visible,
            reserved: (reserved, visible),
        };
        let gart = GartLayout {
            start: gart_start(start, size),
            table: reserved,
        };
        Ok((vram, gart))
    }

    fn flush_hdp(&self, card: &Card<'_>) {
        card.regs.write_reg(HDP_MEM_COHERENCY_FLUSH_CNTL::from(1));
        // The read comes back when the write has arrived.
        card.regs.read(HDP_MEM_COHERENCY_FLUSH_CNTL);
    }

    fn invalidate_hdp(&self, card: &Card<'_>) {
        card.regs.write_reg(HDP_DEBUG0::from(1));
        card.regs.read(HDP_DEBUG0);
    }

    fn flush_gart_tlb(&self, card: &Card<'_>) {
        card.regs.write_reg(VM_INVALIDATE_REQUEST::from(1 << 0));
    }
}

/// The GART window lies at the end of the address space, or at its start if VRAM is there.
fn gart_start(vram_start: u64, vram_size: u64) -> u64 {
    let last = ADDRESS_SPACE - GART_ALIGNMENT;
    if vram_start + vram_size <= last {
        last
    } else {
        0
    }
}

#[kunit_tests(amdgpu_rs_gmc)]
mod tests {
    use super::*;

    #[test]
    fn gart_is_apart_from_vram() {
        let gib = 1 << 30;
        for (vram, size) in [
            (0xf4_0000_0000, gib),
            (0, 2 * gib),
            (0xff_0000_0000, 4 * gib),
        ] {
            let start = gart_start(vram, size);
            assert!(start + GartLayout::SIZE <= vram || vram + size <= start);
            assert!(start + GartLayout::SIZE <= ADDRESS_SPACE);
        }
        assert_eq!(gart_start(0xf4_0000_0000, gib), 0xff_0000_0000);
    }
}
