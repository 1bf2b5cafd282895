// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Allocates video memory (VRAM) with the kernel's buddy allocator (`amdgpu_vram_mgr.c`).
//!
//! Both parts of VRAM are allocated from: the *visible* part, at the start, which the CPU has
//! mapped, and the rest. A piece that the CPU has to see is asked for within the visible part. A
//! piece may consist of several blocks.

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
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    }, //
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
    mem::VramBlock, //
};

/// The manager of VRAM.
pub(crate) struct Vram {
    buddy: GpuBuddy,
    /// End of the visible part.
    visible: u64,
    /// Bytes of the visible part that pieces have.
    visible_used: Atomic<u64>,
    /// Not given out: the displayed picture ([`VramLayout::picture`]), and the part that the driver
    /// keeps for itself.
    _kept: [Option<Pin<KBox<AllocatedBlocks>>>; 2],
}

impl Vram {
    /// Manages VRAM, except for the part that the driver keeps for itself. The displayed picture
    /// stays in place.
    pub(crate) fn new(layout: &VramLayout) -> Result<Self> {
        let buddy = GpuBuddy::new(GpuBuddyParams {
            base_offset: 0,
            size: layout.size,
            chunk_size: Alignment::new::<{ PAGE_SIZE as usize }>(),
        })?;
        let picture = keep(&buddy, 0..layout.picture)?;
        let reserved = keep(&buddy, layout.reserved())?;
        Ok(Self {
            buddy,
            visible: layout.visible,
            visible_used: Atomic::new(0),
            _kept: [picture, reserved],
        })
    }

    /// Returns the number of bytes of the visible part that pieces have.
    pub(crate) fn visible_used(&self) -> u64 {
        self.visible_used.load(Relaxed)
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

/// Takes a range out of what is given out, if it is not empty.
fn keep(buddy: &GpuBuddy, range: Range<u64>) -> Result<Option<Pin<KBox<AllocatedBlocks>>>> {
    if range.is_empty() {
        return Ok(None);
    }
    let size = range.end - range.start;
    let kept = buddy.alloc_blocks(
        GpuBuddyAllocMode::Range(range),
        size,
        Alignment::new::<{ PAGE_SIZE as usize }>(),
        GpuBuddyAllocFlags::default(),
    );
    KBox::pin_init(kept, GFP_KERNEL).map(Some)
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
    blocks: KVec<VramBlock>,
    _owner: Pin<KBox<AllocatedBlocks>>,
}

impl VramPiece {
    /// Returns the blocks of the piece, in order.
    pub(crate) fn blocks(&self) -> &[VramBlock] {
        &self.blocks
    }

    /// Returns the VRAM from byte `offset` of the piece to the end of its block, or `None` beyond
    /// the end.
    pub(crate) fn run_at(&self, offset: u64) -> Option<Range<u64>> {
        run_at(&self.blocks, offset)
    }

    /// Returns true if the piece lies before `end`, an offset in VRAM.
    pub(super) fn is_before(&self, end: u64) -> bool {
        self.blocks
            .iter()
            .all(|block| block.offset + block.size <= end)
    }

    /// Returns the number of bytes of the piece that lie before `end`, an offset in VRAM.
    pub(super) fn bytes_before(&self, end: u64) -> u64 {
        let before = |block: &VramBlock| end.saturating_sub(block.offset).min(block.size);
        self.blocks.iter().map(before).sum()
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
fn run_at(blocks: &[VramBlock], offset: u64) -> Option<Range<u64>> {
    let mut within = offset;
    for block in blocks {
        if within < block.size {
            return Some(block.offset + within..block.offset + block.size);
        }
        within -= block.size;
    }
    None
}

/// Returns the blocks of an allocation, with adjacent ones merged. They stay in the order in which
/// the allocator found them: large ones come first, so that they keep their alignment in the piece.
fn blocks(allocated: &AllocatedBlocks) -> Result<KVec<VramBlock>> {
    let mut blocks: KVec<VramBlock> = KVec::with_capacity(allocated.iter().count(), GFP_KERNEL)?;

    for block in allocated.iter() {
        match blocks.last_mut() {
            Some(last) if last.offset + last.size == block.offset() => last.size += block.size(),
            _ => blocks.push(
                VramBlock {
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
        let piece = Arc::new(piece, GFP_KERNEL)?;
        let visible = piece.bytes_before(self.visible);
        self.visible_used.fetch_add(visible, Relaxed);
        Ok((piece, first))
    }

    fn free(&self, piece: &Arc<VramPiece>) {
        let visible = piece.bytes_before(self.visible);
        self.visible_used.fetch_sub(visible, Relaxed);
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

    /// All of VRAM is visible. 63 MiB and 4 KiB can be given out.
    fn layout(picture: u64) -> VramLayout {
        let end = 63 * MIB as u64 + PAGE_SIZE;
        VramLayout {
            start: 0xf4_0000_0000,
            size: 64 * MIB as u64,
            visible: 64 * MIB as u64,
            picture,
            reserved: (end, 64 * MIB as u64),
        }
    }

    /// A quarter of VRAM is visible.
    fn quarter() -> Result<Vram> {
        Vram::new(&VramLayout {
            size: 256 * MIB as u64,
            ..layout(0)
        })
    }

    /// Pages of the visible part.
    const VISIBLE: u64 = 64 << 8;

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
        assert_eq!(layout(picture).managed(), 60 * MIB as u64 + PAGE_SIZE);
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
    fn all_of_vram_is_given_out() -> Result {
        let vram = quarter()?;
        let reserved = 63 * MIB as u64 + PAGE_SIZE..64 * MIB as u64;
        let place = Place::new(MemType::VRAM).top_down();
        // More than there is in one piece, on both sides of what is reserved.
        let large = alloc(&vram, 250 * MIB, 1, place)?;
        let mut pieces = KVec::new();
        pieces.push(large, GFP_KERNEL)?;
        while let Ok(piece) = alloc(&vram, PAGE_SIZE as usize, 1, place) {
            pieces.push(piece, GFP_KERNEL)?;
        }
        let mut sum = 0;
        for block in pieces.iter().flat_map(|piece| piece.blocks()) {
            assert!(block.offset >= reserved.end || block.offset + block.size <= reserved.start);
            sum += block.size;
        }
        assert_eq!(sum, 255 * MIB as u64 + PAGE_SIZE);
        assert_eq!(vram.visible_used(), reserved.start);
        for piece in pieces.iter() {
            vram.free(piece);
        }
        assert_eq!(vram.visible_used(), 0);
        Ok(())
    }

    #[test]
    fn the_visible_part_is_left_to_those_who_need_it() -> Result {
        let vram = quarter()?;
        let anywhere = Place::new(MemType::VRAM).top_down();
        let visible = Place::new(MemType::VRAM).within(0..VISIBLE);
        let beyond = Place::new(MemType::VRAM).within(VISIBLE..0);
        let mut pieces = KVec::new();
        for _ in 0..192 {
            let piece = alloc(&vram, MIB, 1, anywhere)?;
            assert!(!piece.is_before(64 * MIB as u64));
            assert!(!piece.touches(&visible) && piece.fits(&beyond));
            pieces.push(piece, GFP_KERNEL)?;
        }
        assert_eq!(vram.visible_used(), 0);
        assert!(matches!(alloc(&vram, MIB, 1, beyond), Err(e) if e == ENOSPC));
        // Freeing these would make no room for one that must be visible.
        let mut count = 0;
        while let Ok(piece) = alloc(&vram, MIB, 1, visible) {
            assert!(piece.is_before(64 * MIB as u64));
            assert!(piece.touches(&visible) && piece.fits(&visible) && !piece.fits(&beyond));
            count += 1;
            pieces.push(piece, GFP_KERNEL)?;
        }
        assert_eq!(count, 63);
        assert_eq!(vram.visible_used(), 63 * MIB as u64);
        Ok(())
    }

    #[test]
    fn pieces_that_are_visible_in_part() -> Result {
        let mut blocks = KVec::new();
        for (offset, size) in [(0x8000, 0x1000), (0x1000, 0x3000)] {
            blocks.push(VramBlock { offset, size }, GFP_KERNEL)?;
        }
        // Only the blocks matter.
        let one_page = Alignment::new::<{ PAGE_SIZE as usize }>();
        let owner = quarter()?.allocate(MIB, one_page, &Place::new(MemType::VRAM))?;
        let piece = VramPiece {
            blocks,
            _owner: owner,
        };
        for (end, bytes) in [(0, 0), (0x1000, 0), (0x2000, 0x1000), (0x8000, 0x3000)] {
            assert_eq!(piece.bytes_before(end), bytes);
            assert!(!piece.is_before(end));
        }
        assert_eq!(piece.bytes_before(0x9000), 0x4000);
        assert!(piece.is_before(0x9000));
        // In the way of both sides, and at home on neither.
        let (low, high) = (Place::new(MemType::VRAM), Place::new(MemType::VRAM));
        let (low, high) = (low.within(0..4), high.within(4..0));
        assert!(piece.touches(&low) && piece.touches(&high));
        assert!(!piece.fits(&low) && !piece.fits(&high));
        // The hole between its blocks.
        let hole = Place::new(MemType::VRAM).within(4..8);
        assert!(!piece.touches(&hole));
        Ok(())
    }

    #[test]
    fn runs_of_bytes() {
        let block = |offset, size| VramBlock { offset, size };
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
