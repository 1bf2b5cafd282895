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
//! For now the CPU moves the bytes, through the VRAM aperture. So only VRAM that the CPU reaches is
//! managed, and a BO's VRAM is in one piece. Before the bytes go, every address space that maps the
//! BO is told, and the jobs that may reach them are waited for (see `vm.rs`): [`BoData::leave`].
//! CPU writes reach VRAM when the host data path (HDP) is flushed, and CPU reads may return old
//! data until it is invalidated: both are part of the move. A copy by the GPU would replace
//! `copy_by_cpu` in `Ttm::move_`.
//!
//! # Debuggers
//!
//! A debugger reads and writes the memory of a process through the kernel, which finds no pages
//! where a mapping shows VRAM: [`access`] copies the bytes instead.
//!
//! # Lock order
//!
//! Reservation → [`BoData`]'s list of address spaces → publish lock of an address space. TTM may
//! move BOs within reclaim, so nothing is allocated under the latter two. A BO's clear has a lock
//! that is taken last.

mod access;
mod bo;
mod clear;
mod domains;
mod metadata;
mod vram;

use kernel::{
    prelude::*,
    sync::atomic::{
        Atomic,
        Relaxed, //
    },
};

use crate::{
    abstractions::{
        dma::{
            Bounces,
            Reach, //
        },
        dma_fence::Interruptible,
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
        page_table::PAGE_SHIFT, //
    },
    vm::TableId, //
};

use self::bo::BoData;
pub(crate) use self::{
    bo::{
        Bo,
        BoId,
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
        }
        mv.in_place()
    }

    /// Copies the bytes from or to VRAM by the CPU.
    fn copy(mv: ttm::Move<'_, Self>) -> Result<ttm::Moved> {
        let from = mv.old().map(|old| old.mem_type());
        let to = mv.new_place().mem_type();
        let dev = mv.buffer().drm();

        if from == Some(ttm::MemType::VRAM) {
            mv.wait_idle()?;
            let piece = || Some(mv.old()?.allocation::<Vram>()?.clone());
            // This waits for a clear that is under way.
            clear::finish(mv.buffer(), piece, Interruptible::No)?;
            Self::invalidate_hdp(dev)?;
        }
        let moved = mv.copy_by_cpu()?;
        if to == ttm::MemType::VRAM {
            // Without a card nobody can see the bytes.
            let _ = Self::flush_hdp(dev);
        }
        Ok(moved)
    }
}

#[vtable]
impl ttm::Driver for Ttm {
    type Drm = Driver;
    type Bo = BoData;

    fn device(dev: &DrmDevice) -> &ttm::Device<Self> {
        &dev.memory.ttm
    }

    fn evict(bo: &ttm::Buffer<BoData>, from: ttm::MemType) -> ttm::Placement {
        const TT: ttm::Place = ttm::Place::new(ttm::MemType::TT);
        const SYSTEM: ttm::Place = ttm::Place::new(ttm::MemType::SYSTEM);

        if from == ttm::MemType::VRAM && bo.table().is_none() {
            const { ttm::Placement::new(&[TT, SYSTEM]) }
        } else {
            const { ttm::Placement::new(&[SYSTEM]) }
        }
    }

    fn move_(mv: ttm::Move<'_, Self>) -> Result<ttm::Moved> {
        use ttm::MemType;

        let from = mv.old().map(|old| old.mem_type());
        let to = mv.new_place().mem_type();
        let memory = &mv.buffer().drm().memory;
        if mv.is_eviction() {
            memory.evictions.add(1, Relaxed);
        }
        if let Some(table) = mv.buffer().table() {
            return Self::move_table(mv, table);
        }
        // Without a place there are no bytes that a job could reach.
        if from.is_some() {
            mv.buffer().leave(mv.may_wait())?;
        }

        match from {
            None => {
                if to == MemType::VRAM {
                    clear::clear(mv)
                } else {
                    mv.in_place()
                }
            }
            Some(MemType::VRAM) => Self::copy(mv),
            Some(_) if to == MemType::VRAM => Self::copy(mv),
            Some(_) => {
                mv.wait_idle()?;
                mv.in_place()
            }
        }
    }

    /// Waits for a clear of the BO: the CPU must not see the old contents of VRAM. Most clears have
    /// ended by then, as faults wait for the kernel's work on a BO before they come here, without
    /// the `mmap_lock`.
    fn fault(bo: &ReservedBo<'_>) -> Result {
        bo.finish_clear(Interruptible::Yes)
    }

    fn access_memory(bo: &ReservedBo<'_>, offset: usize, access: ttm::Access<'_>) -> Result {
        access::access(bo, offset, access)
    }

    fn io_memory(
        dev: &DrmDevice,
        resource: ttm::Resource<'_, Self>,
    ) -> Result<Option<ttm::IoMemory>> {
        let placed = resource.placed();
        if placed.mem_type != ttm::MemType::VRAM {
            return Ok(None);
        }
        let card = dev.card().ok_or(ENODEV)?;
        let memory = card.vram().io_memory(placed.start << PAGE_SHIFT);
        memory.ok_or(EINVAL).map(Some)
    }
}

/// Returns the allocation flags for a card that reaches `reach` of the system's memory. Nobody
/// synchronizes bounce buffers here, so if there would be any, the DMA layer allocates the pages.
fn page_flags(reach: Reach) -> ttm::Flags {
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
pub(crate) struct Memory {
    #[pin]
    ttm: ttm::Device<Ttm>,
    /// Set if the card reaches the memory of processes.
    has_user_memory: bool,
    /// Bytes of VRAM and of system memory that BOs may have.
    vram: u64,
    gtt: u64,
    bytes_moved: Atomic<u64>,
    evictions: Atomic<u64>,
}

impl Memory {
    /// Creates the memory managers of a card, for the DRM device that contains them. `reach` is the
    /// part of system memory that the card reaches.
    pub(crate) fn new(
        base: &drm::device::Base,
        layout: VramLayout,
        reach: Reach,
    ) -> impl PinInit<Self, Error> + '_ {
        let vram = Vram::managed(&layout);

        try_pin_init!(Self {
            ttm <- ttm::Device::new(base, page_flags(reach), move |setup| {
                setup.add(ttm::MemType::VRAM, vram, Vram::new(&layout))?;
                // TTM sets this limit when the first device is created, so it is not read earlier.
                let gtt = ttm::system_limit();
                setup.add(ttm::MemType::TT, gtt, Ok(ttm::Budget::new(gtt)))
            }),
            vram,
            has_user_memory: reach.bounces != Bounces::Everything,
            gtt: ttm::system_limit(),
            bytes_moved: Atomic::new(0),
            evictions: Atomic::new(0),
        })
    }

    /// Returns true if the card reaches the memory of processes, so that its writes are seen there
    /// and not in a copy.
    pub(crate) fn has_user_memory(&self) -> bool {
        self.has_user_memory
    }

    /// Moves all BOs out of VRAM, whose contents are about to be lost. Page tables lose their memory
    /// and are written again when a job needs them.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, `ENODEV`; `EBUSY` if something is still in VRAM.
    pub(crate) fn evict_vram(&self) -> Result {
        self.ttm.evict_all(ttm::MemType::VRAM)?;
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
        self.vram
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

    /// Returns the number of times a BO was evicted.
    pub(crate) fn evictions(&self) -> u64 {
        self.evictions.load(Relaxed)
    }
}
