// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The GART: the window of the GPU's address space through which the kernel shows system memory to
//! the GPU.
//!
//! The C driver has this in amdgpu_gart.c (`amdgpu_gart_bind`).
//!
//! Virtual memory context 0 is the kernel's. VRAM is not translated there. Addresses of the GART
//! window go through one flat table of page-table entries. That table lies in VRAM, in the range
//! that [`VramLayout`](crate::hw::layout::VramLayout) reserves for the driver. The CPU writes the
//! table through the VRAM aperture. Each change also flushes the host data path and drops the
//! translations of context 0.
//!
//! [`KernelBuffer`] is memory that the kernel and the card share (rings, write-back slots, ...):
//! coherent memory with a place in the window.

use kernel::{
    device::{
        self,
        Bound, //
    },
    devres::Devres,
    dma::{
        Coherent,
        CoherentView,
        DmaAddress, //
    },
    io::{
        io_read,
        io_write,
        IoBase, //
    },
    num::casts::usize_as_u64,
    prelude::*,
    sizes::SZ_4K,
    sync::{
        atomic::{
            AtomicFlag,
            Relaxed, //
        },
        Arc, //
    }, //
};

use crate::{
    abstractions::maple_tree::SharedMapleTree,
    hw::{
        card::{
            Card,
            CardHandle, //
        },
        layout::{
            GartLayout,
            VramLayout, //
        },
        page_table::{
            Access,
            Pte,
            Snoop,
            PAGE_SIZE, //
        },
        MemoryController,
        Scratch, //
    },
};

/// The GART window and its table.
#[derive(Clone)]
pub(crate) struct Gart(Arc<Inner>);

#[pin_data]
struct Inner {
    card: CardHandle,
    memory: &'static dyn MemoryController,
    layout: GartLayout,
    /// Address of the table in the GPU's address space.
    table: u64,
    /// Set while the GPU translates, and so may have translations in its caches.
    translated: AtomicFlag,
    /// Pages of the window that are in use.
    #[pin]
    taken: SharedMapleTree<()>,
}

impl Gart {
    /// Creates a window in which nothing is mapped. Clears the table.
    pub(crate) fn new(
        card: CardHandle,
        dev: &device::Device<Bound>,
        memory: &'static dyn MemoryController,
        layout: GartLayout,
        vram: &VramLayout,
    ) -> Result<Self> {
        card.access(dev)?
            .vram()
            .zero(layout.table, GartLayout::TABLE_SIZE);
        Ok(Self(Arc::pin_init(
            try_pin_init!(Inner {
                card,
                memory,
                layout,
                table: vram.mc_addr(layout.table),
                translated: AtomicFlag::new(false),
                taken <- SharedMapleTree::new(),
            }),
            GFP_KERNEL,
        )?))
    }

    /// Called when address translation was enabled, with empty caches.
    pub(crate) fn begin_translation(&self) {
        self.0.translated.store(true, Relaxed);
    }

    /// Called when address translation was disabled.
    pub(crate) fn end_translation(&self) {
        self.0.translated.store(false, Relaxed);
    }

    /// Maps pages of system memory into the window, side by side in the order given.
    ///
    /// Fails with `ENOSPC` if the window has no room, and with `EINVAL` if there are no pages.
    pub(crate) fn bind(
        &self,
        pages: impl ExactSizeIterator<Item = DmaAddress>,
        access: Access,
        snoop: Snoop,
    ) -> Result<GartRange> {
        let range = self.reserve(pages.len())?;
        let entries = pages.map(|page| Pte::system(page, access, snoop));
        self.0.write(range.first, entries)?;
        Ok(range)
    }

    /// Reserves pages of the window without mapping anything.
    ///
    /// Fails as [`Gart::bind`] does.
    pub(crate) fn reserve(&self, count: usize) -> Result<GartRange> {
        let first = self
            .0
            .taken
            .alloc_range(count, (), ..GartLayout::PAGES, GFP_KERNEL_ACCOUNT)
            .map_err(|e| match Error::from(e) {
                EBUSY => ENOSPC,
                other => other,
            })?;
        Ok(GartRange {
            gart: self.clone(),
            first,
            count,
        })
    }
}

impl Inner {
    /// Writes the entries of consecutive pages, and invalidates the GPU's cached translations if it
    /// translates at all.
    fn write(&self, first: usize, entries: impl Iterator<Item = Pte>) -> Result {
        let card: &Card<'_> = &*self.card.try_access().ok_or(ENODEV)?;
        for (page, entry) in (first..).zip(entries) {
            card.vram()
                .write64(self.layout.entry(page), entry.into_raw());
        }
        self.memory.flush_hdp(card);
        if self.translated.load(Relaxed) {
            self.memory.flush_gart_tlb(card);
        }
        Ok(())
    }
}

/// Pages of system memory that the GPU sees at consecutive addresses; unmapped on drop.
pub(crate) struct GartRange {
    gart: Gart,
    first: usize,
    count: usize,
}

impl GartRange {
    /// Returns the address of the first page in the GPU's address space (context 0).
    pub(crate) fn gpu_addr(&self) -> u64 {
        self.gart.0.layout.gpu_addr(self.first)
    }

    /// Returns the address of the first page's entry of the GART's table, in the GPU's address
    /// space.
    pub(crate) fn entry_addr(&self) -> u64 {
        let gart = &self.gart.0;
        gart.table + gart.layout.entry(self.first) - gart.layout.table
    }
}

impl Drop for GartRange {
    fn drop(&mut self) {
        let gart = &self.gart.0;
        // Once the driver is unbound, there is neither a table nor a GPU that reads it.
        let _ = gart.write(self.first, core::iter::repeat_n(Pte::INVALID, self.count));
        gart.taken.erase(self.first);
    }
}

/// Kernel memory that the card reads and writes too.
///
/// Its memory is freed when the driver is unbound, even if the buffer lives on. Accesses have no
/// effect from then on.
pub(crate) struct KernelBuffer {
    // Dropped first: no translation may outlive the memory.
    range: GartRange,
    dma_address: DmaAddress,
    memory: Devres<Coherent<[u32]>>,
}

impl KernelBuffer {
    /// Allocates at least `size` bytes of zeroed memory.
    pub(crate) fn new(dev: &device::Device<Bound>, gart: &Gart, size: usize) -> Result<Self> {
        let pages = size.div_ceil(SZ_4K);
        let dwords = pages * SZ_4K / size_of::<u32>();
        let memory = Coherent::<u32>::zeroed_slice(dev, dwords, GFP_KERNEL)?;
        let start = memory.dma_address();
        let addresses = (0..pages).map(|page| start + usize_as_u64(page) * PAGE_SIZE);
        let range = gart.bind(addresses, Access::READ_WRITE, Snoop::Yes)?;
        Ok(Self {
            range,
            dma_address: start,
            memory: Devres::new(dev, Ok::<_, Error>(memory))?,
        })
    }

    /// Returns the address in the GPU's address space (context 0).
    pub(crate) fn gpu_addr(&self) -> u64 {
        self.range.gpu_addr()
    }

    /// Address on the bus, for what does not go through the GART.
    pub(crate) fn dma_address(&self) -> DmaAddress {
        self.dma_address
    }

    /// Calls `f` with the memory, if it is still there.
    pub(crate) fn with<R>(&self, f: impl FnOnce(CoherentView<'_, [u32]>) -> R) -> Option<R> {
        self.memory.try_access_with(|memory| f(memory.as_view()))
    }

    /// Reads dword `index`.
    pub(crate) fn read(&self, index: usize) -> Option<u32> {
        self.with(|memory| Ok::<_, Error>(io_read!(memory, [try: index])))?
            .ok()
    }

    /// Writes dword `index`.
    pub(crate) fn write(&self, index: usize, value: u32) {
        let _ = self.with(|memory| {
            io_write!(memory, [try: index], value);
            Ok::<_, Error>(())
        });
    }
}

impl Scratch for KernelBuffer {
    fn gpu_addr(&self) -> u64 {
        self.gpu_addr()
    }

    fn write(&self, index: usize, value: u32) {
        self.write(index, value);
    }
}
