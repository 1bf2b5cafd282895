// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Allocates video memory (VRAM) with the kernel's buddy allocator (`amdgpu_vram_mgr.c`).
//!
//! Only VRAM that the CPU reaches is allocated, for as long as the CPU does the moves.

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
    hw::{
        layout::VramLayout,
        page_table::{
            PAGE_SHIFT,
            PAGE_SIZE, //
        },
    },
    vm::Block, //
};

/// The manager of VRAM.
pub(crate) struct Vram {
    buddy: GpuBuddy,
    /// The displayed picture: see [`VramLayout::picture`].
    _picture: Option<Pin<KBox<AllocatedBlocks>>>,
}

impl Vram {
    /// Manages VRAM up to the part that the driver keeps for itself. The displayed picture stays in
    /// place.
    pub(crate) fn new(layout: &VramLayout) -> Result<Self> {
        let buddy = GpuBuddy::new(GpuBuddyParams {
            base_offset: 0,
            size: Self::end(layout),
            chunk_size: Alignment::new::<{ PAGE_SIZE as usize }>(),
        })?;
        let mut picture = None;
        if layout.picture != 0 {
            picture = Some(KBox::pin_init(
                buddy.alloc_blocks(
                    GpuBuddyAllocMode::Range(0..layout.picture),
                    layout.picture,
                    Alignment::new::<{ PAGE_SIZE as usize }>(),
                    GpuBuddyAllocFlags::default(),
                ),
                GFP_KERNEL,
            )?);
        }
        Ok(Self {
            buddy,
            _picture: picture,
        })
    }

    /// Returns the number of bytes of VRAM that are managed.
    pub(crate) fn managed(layout: &VramLayout) -> u64 {
        Self::end(layout).saturating_sub(layout.picture)
    }

    /// Returns the end of the managed VRAM.
    fn end(layout: &VramLayout) -> u64 {
        let end = layout.visible.min(layout.reserved().start);
        end - end % PAGE_SIZE
    }

    /// Allocates at least `size` bytes. A contiguous piece is aligned to `alignment` as a whole,
    /// otherwise each block is.
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
        let (size, flags) = Self::request(size, alignment, place.is_contiguous())?;

        KBox::pin_init(
            self.buddy.alloc_blocks(mode, size as u64, alignment, flags),
            GFP_KERNEL,
        )
    }

    /// Returns the size and flags for the allocator. It aligns a contiguous piece to its size
    /// rounded up to a power of two, and a block to the alignment asked for.
    fn request(
        size: usize,
        alignment: Alignment,
        contiguous: bool,
    ) -> Result<(usize, GpuBuddyAllocFlags)> {
        if !contiguous {
            return Ok((size, GpuBuddyAllocFlags::default()));
        }
        let block = size.checked_next_power_of_two().ok_or(ENOSPC)?;
        if alignment.as_usize() > block {
            Ok((block, GpuBuddyAllocFlags::default()))
        } else {
            Ok((size, GpuBuddyAllocFlag::Contiguous.into()))
        }
    }
}

/// Returns the bytes that `place` is limited to, if it is limited.
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
    /// Returns the blocks of the piece, in order.
    pub(crate) fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// Returns the VRAM from byte `offset` of the piece to the end of its block, or `None` beyond
    /// the end.
    pub(crate) fn run_at(&self, offset: u64) -> Option<Range<u64>> {
        run_at(&self.blocks, offset)
    }

    /// Returns true if the piece has memory in `place`.
    fn touches(&self, place: &Place) -> bool {
        within(place, u64::MAX).is_none_or(|range| {
            self.blocks
                .iter()
                .any(|block| block.offset < range.end && range.start < block.offset + block.size)
        })
    }

    /// Returns true if the piece meets the requirements of `place`.
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

/// Implements [`VramPiece::run_at`].
fn run_at(blocks: &[Block], offset: u64) -> Option<Range<u64>> {
    let mut within = offset;
    for block in blocks {
        if within < block.size {
            return Some(block.offset + within..block.offset + block.size);
        }
        within -= block.size;
    }
    None
}

/// Returns the blocks of an allocation, with adjacent ones merged.
fn blocks(allocated: &AllocatedBlocks) -> Result<KVec<Block>> {
    let mut blocks: KVec<Block> = KVec::with_capacity(allocated.iter().count(), GFP_KERNEL)?;

    for block in allocated.iter() {
        match blocks.last_mut() {
            Some(last) if last.offset + last.size == block.offset() => last.size += block.size(),
            _ => blocks.push(
                Block {
                    offset: block.offset(),
                    size: block.size(),
                },
                GFP_KERNEL,
            )?,
        }
    }
    Ok(blocks)
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
            // A request that the allocator cannot meet with the free memory may succeed with more.
            .map_err(|e| if e == ENOMEM { e } else { ENOSPC })?;
        let blocks = blocks(&owner)?;
        let first = blocks.first().ok_or(ENOSPC)?.offset >> PAGE_SHIFT;
        let piece = VramPiece {
            blocks,
            _owner: owner,
        };
        if request.place.is_contiguous() && !piece.is_contiguous() {
            return Err(ENOSPC);
        }
        Ok((Arc::new(piece, GFP_KERNEL)?, first))
    }

    fn intersects(&self, piece: &Arc<VramPiece>, place: &Place, _size: usize) -> bool {
        piece.touches(place)
    }

    fn compatible(&self, piece: &Arc<VramPiece>, place: &Place, _size: usize) -> bool {
        piece.fits(place)
    }
}

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
#[kunit_tests(amdgpu_rs_vram)]
mod tests {
    use super::*;
    use crate::abstractions::drm::ttm::MemType;

    const MIB: usize = 1 << 20;

    fn layout(picture: u64) -> VramLayout {
        // 63 MiB and 4 KiB can be given out.
        let end = 63 * MIB as u64 + PAGE_SIZE;
        VramLayout {
            start: 0xf4_0000_0000,
            size: 256 * MIB as u64,
            visible: 64 * MIB as u64,
            picture,
            reserved: (end, 64 * MIB as u64),
        }
    }

    fn manager() -> Result<Vram> {
        Vram::new(&layout(0))
    }

    #[test]
    fn the_picture_stays_on_the_screen() -> Result {
        let picture = 3 * MIB as u64;
        let vram = Vram::new(&layout(picture))?;
        let place = Place::new(MemType::VRAM);
        let mut pieces = KVec::new();
        while let Ok(piece) = alloc(&vram, MIB, 1, place) {
            assert!(piece.blocks().iter().all(|block| block.offset >= picture));
            pieces.push(piece, GFP_KERNEL)?;
        }
        assert_eq!(pieces.len(), 60);
        assert_eq!(Vram::managed(&layout(picture)), 60 * MIB as u64 + PAGE_SIZE);
        Ok(())
    }

    fn alloc(vram: &Vram, size: usize, align_pages: u32, place: Place) -> Result<Arc<VramPiece>> {
        let request = ResourceRequest {
            size,
            align_pages,
            place: &place,
        };
        vram.alloc(request).map(|(piece, _)| piece)
    }

    fn size(piece: &VramPiece) -> u64 {
        piece.blocks().iter().map(|block| block.size).sum()
    }

    #[test]
    fn contiguous_pieces() -> Result {
        let vram = manager()?;
        let place = Place::new(MemType::VRAM).contiguous();
        for (pages, align) in [(1, 0), (3, 1), (5, 16), (1, 512), (1000, 4), (4096, 1)] {
            let piece = alloc(&vram, pages << PAGE_SHIFT, align, place)?;
            assert_eq!(piece.blocks().len(), 1);
            assert!(size(&piece) >= (pages as u64) << PAGE_SHIFT);
            let alignment = u64::from(align.max(1)) << PAGE_SHIFT;
            assert_eq!(piece.blocks()[0].offset % alignment, 0);
            assert!(piece.fits(&place));
        }
        Ok(())
    }

    #[test]
    fn no_more_than_there_is() -> Result {
        let vram = manager()?;
        let place = Place::new(MemType::VRAM).contiguous();
        assert!(matches!(alloc(&vram, 64 * MIB, 1, place), Err(e) if e == ENOSPC));
        assert!(matches!(alloc(&vram, 1 << 40, 1, place), Err(e) if e == ENOSPC));
        assert!(matches!(alloc(&vram, 4096, 3, place), Err(e) if e == EINVAL));

        let most = alloc(&vram, 32 * MIB, 1, place)?;
        assert!(matches!(alloc(&vram, 32 * MIB, 1, place), Err(e) if e == ENOSPC));
        drop(most);
        alloc(&vram, 32 * MIB, 1, place)?;
        Ok(())
    }

    #[test]
    fn runs_of_bytes() {
        let block = |offset, size| Block { offset, size };
        let blocks = [block(0x8000, 0x1000), block(0x2000, 0x3000)];
        assert_eq!(run_at(&blocks, 0), Some(0x8000..0x9000));
        assert_eq!(run_at(&blocks, 0xfff), Some(0x8fff..0x9000));
        assert_eq!(run_at(&blocks, 0x1000), Some(0x2000..0x5000));
        assert_eq!(run_at(&blocks, 0x3fff), Some(0x4fff..0x5000));
        assert_eq!(run_at(&blocks, 0x4000), None);
        assert_eq!(run_at(&blocks, u64::MAX), None);
        assert_eq!(run_at(&[], 0), None);
    }

    #[test]
    fn within_a_range() -> Result {
        let vram = manager()?;
        let place = Place::new(MemType::VRAM).within(256..512);
        let piece = alloc(&vram, MIB, 1, place)?;
        assert!(piece.fits(&place));
        assert!(piece.touches(&place));
        let elsewhere = Place::new(MemType::VRAM).within(512..0);
        assert!(!piece.fits(&elsewhere));
        assert!(!piece.touches(&elsewhere));
        assert!(piece.touches(&Place::new(MemType::VRAM)));
        Ok(())
    }
}
