// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Gives out video memory (VRAM), by means of the kernel's buddy allocator.
//!
//! Only VRAM that the CPU reaches is given out, for as long as the CPU is what clears and moves it.

use core::ops::Range;

use kernel::{
    gpu::buddy::{
        AllocatedBlocks,
        GpuBuddy,
        GpuBuddyAllocFlag,
        GpuBuddyAllocFlags,
        GpuBuddyAllocMode,
        GpuBuddyParams, //
    },
    prelude::*,
    ptr::Alignment,
    sync::Arc, //
};

use crate::{
    abstractions::drm::ttm::{
        Place,
        ResourceManager,
        ResourceRequest, //
    },
    device::VramLayout,
    hw::gfx7::pte::{
        PAGE_SHIFT,
        PAGE_SIZE, //
    },
    vm::Block,
};

/// The manager of VRAM.
pub(crate) struct Vram {
    buddy: GpuBuddy,
}

impl Vram {
    /// Manages VRAM up to what the driver keeps for itself.
    pub(crate) fn new(layout: &VramLayout) -> Result<Self> {
        Ok(Self {
            buddy: GpuBuddy::new(GpuBuddyParams {
                base_offset: 0,
                size: Self::managed(layout),
                chunk_size: Alignment::new::<{ PAGE_SIZE as usize }>(),
            })?,
        })
    }

    /// How many bytes of VRAM, from its start, are given out.
    pub(crate) fn managed(layout: &VramLayout) -> u64 {
        let end = layout.visible.min(layout.reserved().start);
        end - end % PAGE_SIZE
    }

    /// How many bytes are given out at present.
    pub(crate) fn used(&self) -> u64 {
        self.buddy.size() - self.buddy.avail()
    }

    /// Allocates `size` bytes, of which no block is less aligned than `alignment`.
    fn allocate(
        &self,
        size: usize,
        alignment: Alignment,
        place: &Place,
    ) -> Result<Pin<KBox<AllocatedBlocks>>> {
        let mode = match within(place, self.buddy.size()) {
            Some(range) => GpuBuddyAllocMode::Range(range),
            None if place.is_top_down() => GpuBuddyAllocMode::TopDown,
            None => GpuBuddyAllocMode::Simple,
        };
        let flags = if place.is_contiguous() {
            GpuBuddyAllocFlag::Contiguous.into()
        } else {
            GpuBuddyAllocFlags::default()
        };

        KBox::pin_init(
            self.buddy.alloc_blocks(mode, size as u64, alignment, flags),
            GFP_KERNEL,
        )
    }
}

/// The bytes that `place` is limited to, if it is.
fn within(place: &Place, size: u64) -> Option<Range<u64>> {
    let pages = place.pages();
    if pages.start == 0 && pages.end == 0 {
        return None;
    }
    let end = match pages.end {
        0 => size,
        end => (end << PAGE_SHIFT).min(size),
    };
    Some(pages.start << PAGE_SHIFT..end)
}

/// A piece of VRAM.
pub(crate) struct VramPiece {
    blocks: KVec<Block>,
    _owner: Pin<KBox<AllocatedBlocks>>,
}

impl VramPiece {
    /// The blocks that it consists of, in order.
    pub(crate) fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// Whether the piece has memory in `place`.
    fn touches(&self, place: &Place) -> bool {
        within(place, u64::MAX).is_none_or(|range| {
            self.blocks
                .iter()
                .any(|block| block.offset < range.end && range.start < block.offset + block.size)
        })
    }

    /// Whether the piece is as `place` asks for.
    fn fits(&self, place: &Place) -> bool {
        let within = within(place, u64::MAX).is_none_or(|range| {
            self.blocks
                .iter()
                .all(|block| range.start <= block.offset && block.offset + block.size <= range.end)
        });
        within && (!place.is_contiguous() || self.is_contiguous())
    }

    fn is_contiguous(&self) -> bool {
        self.blocks
            .windows(2)
            .all(|pair| pair[0].offset + pair[0].size == pair[1].offset)
    }
}

impl ResourceManager for Vram {
    type Allocation = Arc<VramPiece>;

    const USES_TT: bool = false;

    fn alloc(&self, request: ResourceRequest<'_>) -> Result<(Arc<VramPiece>, u64)> {
        let pages = usize::try_from(request.align_pages)?.max(1);
        let alignment = pages
            .checked_mul(PAGE_SIZE as usize)
            .and_then(Alignment::new_checked)
            .ok_or(EINVAL)?;
        let owner = self
            .allocate(request.size, alignment, request.place)
            // Whatever the allocator cannot do with what is free, it may be able to do with more.
            .map_err(|e| if e == ENOMEM { e } else { ENOSPC })?;

        let mut blocks = KVec::with_capacity(owner.iter().count(), GFP_KERNEL)?;
        for block in owner.iter() {
            let block = Block {
                offset: block.offset(),
                size: block.size(),
            };
            blocks.push(block, GFP_KERNEL)?;
        }
        let first = blocks.first().ok_or(ENOSPC)?.offset >> PAGE_SHIFT;
        let piece = VramPiece {
            blocks,
            _owner: owner,
        };
        Ok((Arc::new(piece, GFP_KERNEL)?, first))
    }

    fn intersects(&self, piece: &Arc<VramPiece>, place: &Place, _size: usize) -> bool {
        piece.touches(place)
    }

    fn compatible(&self, piece: &Arc<VramPiece>, place: &Place, _size: usize) -> bool {
        piece.fits(place)
    }
}
