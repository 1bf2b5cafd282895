// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The location of the bytes of buffer objects (BOs): the driver's side of TTM (`amdgpu_ttm.c`).
//!
//! The kernel's TTM decides where a BO lies: in video memory (VRAM, managed by [`vram`]), in system
//! memory that the GPU reaches (TTM's kind TT; user space calls it GTT), or in system memory that
//! the GPU does not reach. TTM moves BOs to where they are asked for ([`ttm::Reserved::validate`]),
//! and evicts them from VRAM when it needs room.
//!
//! Nothing that one client wrote is ever seen by another: new system pages come zeroed, VRAM is
//! cleared when a BO gets it ([`clear`]), and a move overwrites all of the new place.
//!
//! # Moves
//!
//! A DMA engine moves the bytes from and to VRAM, as a job of the kernel ([`copy`]). Nobody waits
//! for a move:
//!
//! - Every address space that maps the BO is told ([`BoData::leave`]): no later job of it reaches
//!   the old place, and its page tables follow with its next job (see `vm.rs`).
//! - The copy comes after all jobs that may reach the bytes.
//! - The BO has its new place at once, with the fence of the copy, which its next users wait for.
//! - The old place is kept by a remnant of the BO (TTM's ghost object) until the copy has ended. If
//!   the move makes room for others, the place is given away at once, and TTM adds the fence to the
//!   reservation of whoever gets it: nothing is written there before.
//!
//! Between VRAM and system memory that the GPU does not reach, a BO makes a stop in memory that it
//! reaches. Within system memory the pages stay where they are.
//!
//! Where no engine can copy, the CPU does. CPU writes reach VRAM when the host data path (HDP) is
//! flushed, and CPU reads may return old data until it is invalidated: both are part of the move.
//!
//! # The window
//!
//! The CPU has mapped the start of VRAM only, through a window (BAR 0) that may be smaller than
//! VRAM: the *visible* part. BOs that the CPU is to access are placed there, others preferably
//! elsewhere. A BO that the CPU turns out to access moves on the page fault, and stays visible from
//! then on ([`bo::ReservedExt::place_for_cpu`]). Room in the visible part is made by evicting only
//! BOs that lie there, to the rest of VRAM if there is room.
//!
//! # On-chip memory
//!
//! A BO may also be a part of the memories within the graphics block ([`on_chip`]). No address
//! leads there: neither page tables nor the CPU show it. The part is given to the VM context of a
//! job that names the BO.
//!
//! # Debuggers
//!
//! A debugger reads and writes the memory of a process through the kernel, which finds no pages
//! where a mapping shows VRAM: [`access`] copies the bytes instead.
//!
//! # Lock order
//!
//! Reservation → [`BoData`]'s list of address spaces → publish lock of an address space. TTM may
//! move BOs within reclaim, so nothing is allocated under the latter two. The fence of a BO's
//! content has a lock that is taken last.

pub(crate) mod access;
mod bo;
mod bytes;
mod clear;
mod copy;
mod domains;
mod metadata;
mod on_chip;
mod vram;

use kernel::{
    num::casts::usize_as_u64,
    prelude::*,
    sync::atomic::{
        Atomic,
        AtomicFlag,
        Relaxed, //
    },
};

use crate::{
    abstractions::{
        dma::{
            Bounces,
            DmaReach, //
        },
        dma_fence::Interruptible,
        dma_resv::Usage,
        drm::{
            self,
            ttm, //
        },
    },
    drm::{
        Driver,
        DrmDevice, //
    },
    hw::{
        layout::VramLayout,
        on_chip::{
            OnChip,
            OnChipKind, //
        },
        page_table::PAGE_SHIFT, //
    },
    mem::TableId, //
};

use self::{
    bo::BoData,
    domains::Part,
    on_chip::{
        OnChipExt,
        OnChipMemory, //
    },
    vram::VramPiece, //
};
pub(crate) use self::{
    bo::{
        Bo,
        NewBo,
        ReservedBo,
        ReservedExt, //
    },
    domains::Domains,
    metadata::{
        Metadata,
        Words, //
    },
    vram::Vram, //
};

/// The driver's TTM callbacks.
pub(crate) struct Ttm;

impl Ttm {
    /// Flushes the HDP, so that the CPU's writes reach VRAM.
    fn flush_hdp(dev: &DrmDevice) -> Result {
        let card = dev.card().ok_or(ENODEV)?;
        dev.hw.memory.flush_hdp(&card);
        Ok(())
    }

    /// Invalidates the HDP, so that the CPU reads what the GPU wrote to VRAM.
    fn invalidate_hdp(dev: &DrmDevice) -> Result {
        let card = dev.card().ok_or(ENODEV)?;
        dev.hw.memory.invalidate_hdp(&card);
        Ok(())
    }

    /// Moves a page directory or page table into or out of memory. Its contents are not kept: in
    /// its new memory they are arbitrary.
    fn move_table(mv: ttm::Move<'_, Self>, table: TableId) -> Result<ttm::Moved> {
        let from = mv.old().map(|old| old.mem_type());

        if from == Some(ttm::MemType::VRAM) {
            mv.wait_idle()?;
            mv.buffer().leave_table(table);
        } else {
            // The CPU is about to write what somebody may still be copying from.
            mv.may_wait().wait(mv.resv(), Usage::Kernel)?;
        }
        mv.in_place()
    }

    /// Returns the part of VRAM to which a BO is evicted from VRAM if there is room: one that is in
    /// the visible part, and need not be, makes room there.
    fn part_for_evicted(bo: &ttm::Buffer<BoData>, piece: &VramPiece) -> Option<Part> {
        let dev = bo.drm();
        let layout = &dev.memory.layout;
        let stays = !layout.is_all_visible()
            && piece.bytes_before(layout.visible) != 0
            && !bo.needs_cpu()
            && !dev.memory.leaves_vram.load(Relaxed)
            && !dev.schedulers.is_given_up();
        stays.then_some(Part::Invisible(layout.visible >> PAGE_SHIFT))
    }

    /// Changes the kind of memory that a BO in system memory is counted as. Its pages stay, and are
    /// freed only when its fences have ended.
    fn keep_pages(mv: ttm::Move<'_, Self>) -> Result<ttm::Moved> {
        mv.buffer().leave(mv.held());
        if mv.buffer().is_user_memory() {
            mv.wait_idle()?;
        }
        mv.in_place()
    }
}

#[vtable]
impl ttm::Driver for Ttm {
    type Drm = Driver;
    type Bo = BoData;

    fn device(dev: &DrmDevice) -> &ttm::Device<Self> {
        &dev.memory.ttm
    }

    fn evict(bo: &ttm::Buffer<BoData>, from: ttm::Resource<'_, Self>) -> ttm::Placement {
        const TT: ttm::Place = ttm::Place::new(ttm::MemType::TT);
        const SYSTEM: ttm::Place = ttm::Place::new(ttm::MemType::SYSTEM);

        if from.allocation::<OnChipMemory>().is_some() {
            return ttm::Placement::NOWHERE;
        }
        let piece = match from.allocation::<Vram>() {
            Some(piece) if bo.table().is_none() => piece,
            _ => return const { ttm::Placement::new(&[SYSTEM]) },
        };
        match Self::part_for_evicted(bo, piece) {
            Some(part) => ttm::Placement::new(&[part.place().desired(), TT, SYSTEM]),
            None => const { ttm::Placement::new(&[TT, SYSTEM]) },
        }
    }

    fn move_(mv: ttm::Move<'_, Self>) -> Result<ttm::Moved> {
        use ttm::MemType;

        if let Some(table) = mv.buffer().table() {
            return Self::move_table(mv, table);
        }
        if mv.buffer().domains().on_chip().is_some() {
            return on_chip::move_(mv);
        }
        if let Some(stop) = copy::stop_before(&mv) {
            return mv.hop(stop);
        }
        if mv.is_eviction() {
            mv.buffer().drm().memory.evictions.add(1, Relaxed);
        }
        let from = mv.old().map(|old| old.mem_type());
        let to = mv.new_place().mem_type();
        match from {
            // Without a place there are no bytes that a job could reach.
            None if to == MemType::VRAM => clear::clear(mv),
            None => mv.in_place(),
            Some(from) if from == MemType::VRAM || to == MemType::VRAM => copy::copy(mv),
            Some(_) => Self::keep_pages(mv),
        }
    }

    fn prepare_fault(bo: &ReservedBo<'_>) -> Result {
        bo.place_for_cpu()
    }

    /// Waits until the BO has its bytes: the CPU must not see what was in its place before. Most
    /// clears and copies have ended by then, as faults wait for the kernel's work on a BO before
    /// they come here, without the `mmap_lock`.
    fn fault(bo: &ReservedBo<'_>) -> Result {
        bo.finish_content(Interruptible::Yes)
    }

    /// A card that was given up may not answer any more.
    fn is_out_of_reach(bo: &ReservedBo<'_>) -> bool {
        bo.drm().schedulers.is_given_up() && bo.mem_type() == Some(ttm::MemType::VRAM)
    }

    fn access_memory(bo: &ReservedBo<'_>, offset: usize, access: ttm::BytesAccess<'_>) -> Result {
        access::access(bo, offset, access)
    }

    fn io_memory(
        dev: &DrmDevice,
        resource: ttm::Resource<'_, Self>,
    ) -> Result<Option<ttm::IoMemory>> {
        let Some(piece) = resource.allocation::<Vram>() else {
            return Ok(None);
        };
        if !piece.is_before(dev.facts.vram.visible) {
            return Err(EINVAL);
        }
        Self::io_page(dev, resource, 0).ok_or(ENODEV).map(Some)
    }

    fn io_page(
        dev: &DrmDevice,
        resource: ttm::Resource<'_, Self>,
        page: usize,
    ) -> Option<ttm::IoMemory> {
        let piece = resource.allocation::<Vram>()?;
        let run = piece.run_at(usize_as_u64(page) << PAGE_SHIFT)?;
        dev.card()?.vram().io_memory(run.start)
    }
}

/// Returns the allocation flags for a card that reaches `reach` of the system's memory. Nobody
/// synchronizes bounce buffers here, so if there would be any, the DMA layer allocates the pages.
fn page_flags(reach: DmaReach) -> ttm::Flags {
    /// Chunks larger than 2 MiB make no entry of a page table larger.
    const ORDER: u8 = 9;

    let mut flags = ttm::Flags::NONE.beneficial_order(ORDER);
    if reach.bounces != Bounces::Nothing {
        flags = flags.and(ttm::Flags::DMA_ALLOC);
    }
    if reach.is_limited {
        flags = flags.and(ttm::Flags::DMA32);
    }
    flags
}
/// A card that may reach the memory of buffers. Dropped after the card was stopped and the DRM
/// device unplugged: files may stay open, and keep the buffers alive.
pub(crate) type Attached = ttm::Attachment<Ttm>;

/// The memory of a device that BOs are allocated from.
#[pin_data]
pub(crate) struct DeviceMemory {
    #[pin]
    ttm: ttm::Device<Ttm>,
    /// Set if the card reaches the memory of processes.
    has_user_memory: bool,
    layout: VramLayout,
    /// Bytes of system memory that BOs may have.
    gtt: u64,
    /// Set while VRAM is about to lose its contents.
    leaves_vram: AtomicFlag,
    bytes_moved: Atomic<u64>,
    evictions: Atomic<u64>,
    /// Number of page faults of the CPU for which a BO had to become visible.
    faults: Atomic<u64>,
}

impl DeviceMemory {
    /// Creates the memory managers of a card, for the DRM device that contains them. `reach` is the
    /// part of system memory that the card reaches, `on_chip` the on-chip memories that it has.
    pub(crate) fn new(
        base: &drm::device::Base,
        layout: VramLayout,
        reach: DmaReach,
        on_chip: OnChip,
    ) -> impl PinInit<Self, Error> + '_ {
        try_pin_init!(Self {
            ttm <- ttm::Device::new(base, page_flags(reach), move |setup| {
                setup.add(ttm::MemType::VRAM, layout.managed(), Vram::new(&layout))?;
                setup.charge(ttm::MemType::VRAM, c"vram", layout.managed())?;
                // TTM sets this limit when the first device is created, so it is not read earlier.
                let gtt = ttm::system_limit();
                setup.add(ttm::MemType::TT, gtt, Ok(ttm::Budget::new(gtt)))?;
                setup.charge(ttm::MemType::TT, c"gtt", gtt)?;
                for kind in OnChipKind::ALL {
                    let size = u64::from(on_chip.get(kind).count) << PAGE_SHIFT;
                    setup.add(kind.mem_type(), size, OnChipMemory::new(kind, &on_chip))?;
                }
                Ok(())
            }),
            layout,
            leaves_vram: AtomicFlag::new(false),
            has_user_memory: reach.bounces != Bounces::Everything,
            gtt: ttm::system_limit(),
            bytes_moved: Atomic::new(0),
            evictions: Atomic::new(0),
            faults: Atomic::new(0),
        })
    }

    /// Returns true if the card reaches the memory of processes, so that its writes are seen there
    /// and not in a copy.
    pub(crate) fn has_user_memory(&self) -> bool {
        self.has_user_memory
    }

    /// Moves all BOs out of VRAM, whose contents are about to be lost. Page tables lose their
    /// memory and are written again when a job needs them.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, `ENODEV`; `EBUSY` if something is still in VRAM.
    pub(crate) fn evict_vram(&self) -> Result {
        self.leaves_vram.store(true, Relaxed);
        let evicted = self.ttm.evict_all(ttm::MemType::VRAM);
        self.leaves_vram.store(false, Relaxed);
        evicted?;
        if self.vram_used() != 0 {
            return Err(EBUSY);
        }
        Ok(())
    }

    /// Moves the pages of BOs to swap space, as far as possible, so that a memory image is smaller.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn swap_out(&self) -> Result {
        self.ttm.prepare_hibernation()
    }

    /// Returns the number of bytes of VRAM that BOs may have.
    pub(crate) fn vram_size(&self) -> u64 {
        self.layout.managed()
    }

    /// Returns the number of bytes of VRAM that BOs may have and the CPU can access.
    pub(crate) fn visible_vram_size(&self) -> u64 {
        self.layout.managed_visible()
    }

    /// Returns the number of bytes of VRAM that BOs have and the CPU can access.
    pub(crate) fn visible_vram_used(&self) -> u64 {
        let vram = self.ttm.manager::<Vram>(ttm::MemType::VRAM);
        vram.map_or(0, Vram::visible_used)
    }

    /// Returns the number of bytes of VRAM that BOs have.
    pub(crate) fn vram_used(&self) -> u64 {
        self.ttm.usage(ttm::MemType::VRAM)
    }

    /// Returns the number of bytes of GPU-accessible system memory that BOs may have.
    pub(crate) fn gtt_size(&self) -> u64 {
        self.gtt
    }

    /// Returns the number of bytes of GPU-accessible system memory that BOs have.
    pub(crate) fn gtt_used(&self) -> u64 {
        self.ttm.usage(ttm::MemType::TT)
    }

    /// Returns the number of bytes that were moved for jobs.
    pub(crate) fn bytes_moved(&self) -> u64 {
        self.bytes_moved.load(Relaxed)
    }

    /// Returns the number of page faults of the CPU for which a BO had to become visible.
    pub(crate) fn vram_faults(&self) -> u64 {
        self.faults.load(Relaxed)
    }

    /// Returns the number of times a BO was evicted.
    pub(crate) fn evictions(&self) -> u64 {
        self.evictions.load(Relaxed)
    }
}
