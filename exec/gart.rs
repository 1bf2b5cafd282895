// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The GART: the window of the GPU's address space through which the kernel shows system memory to
//! the GPU.
//!
//! The C driver has this in amdgpu_gart.c (`amdgpu_gart_bind`).
//!
//! Virtual memory context 0 is the kernel's. VRAM is not translated there. Addresses of the GART
//! window go through one flat table of page-table entries. That table lies in VRAM, in the range
//! that [`VramLayout`] reserves for the driver. The CPU writes the
//! table through the VRAM aperture. Each change also flushes the host data path and drops the
//! translations of context 0.
//!
//! A card that loses power loses the table. So what is bound is kept in system memory as well, from
//! which the table is written again ([`Gart::restore`]).
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
    new_mutex,
    num::casts::usize_as_u64,
    prelude::*,
    rbtree::{
        RBTree,
        RBTreeNodeReservation, //
    },
    sizes::SZ_4K,
    sync::{
        Arc,
        Mutex, //
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
            Format,
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
    format: &'static Format,
    layout: GartLayout,
    /// Address of the table in the GPU's address space.
    table_addr: u64,
    /// Pages of the window that are in use.
    #[pin]
    taken: SharedMapleTree<()>,
    #[pin]
    contents: Mutex<Contents>,
}

/// The contents of the table.
struct Contents {
    /// Runs of pages, by the number of their first page.
    runs: RBTree<usize, GartRun>,
    table: Table,
}

/// Consecutive pages of system memory, which are shown at consecutive addresses.
#[derive(Clone, Copy)]
pub(crate) struct GartRun {
    pub(crate) start: DmaAddress,
    /// Number of pages.
    pub(crate) count: usize,
    pub(crate) access: Access,
    pub(crate) snoop: Snoop,
}

impl GartRun {
    /// No pages.
    pub(crate) const NOTHING: Self = Self {
        start: 0,
        count: 0,
        access: Access::READ,
        snoop: Snoop::Yes,
    };

    fn entries(self, format: &Format) -> impl Iterator<Item = Pte> + '_ {
        let page = move |page| self.start + usize_as_u64(page) * PAGE_SIZE;
        (0..self.count).map(move |n| format.system(page(n), self.access, self.snoop))
    }
}

/// State of the table in VRAM.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Table {
    /// It is not there. Nothing reads it.
    Lost,
    /// It is there. Nothing reads it.
    Written,
    /// The GPU translates by it, and so may have translations in its caches.
    Used,
}

impl Gart {
    /// Creates a window in which nothing is mapped. Clears the table.
    pub(crate) fn new(
        card: CardHandle,
        dev: &device::Device<Bound>,
        (memory, format): (&'static dyn MemoryController, &'static Format),
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
                format,
                layout,
                table_addr: vram.mc_addr(layout.table),
                taken <- SharedMapleTree::new(),
                contents <- new_mutex!(
                    Contents {
                        runs: RBTree::new(),
                        table: Table::Written,
                    },
                    "Gart::contents"
                ),
            }),
            GFP_KERNEL,
        )?))
    }

    /// Called when address translation was enabled, with empty caches.
    pub(crate) fn begin_translation(&self) {
        self.0.contents.lock().table = Table::Used;
    }

    /// Called when address translation was disabled. The contents of VRAM may be lost from now on.
    pub(crate) fn end_translation(&self) {
        self.0.contents.lock().table = Table::Lost;
    }

    /// Writes the whole table again, which was lost.
    pub(crate) fn restore(&self, card: &Card<'_>) {
        let inner = &*self.0;
        let mut contents = inner.contents.lock();
        card.vram().zero(inner.layout.table, GartLayout::TABLE_SIZE);
        for (first, run) in &contents.runs {
            inner.write(card, *first, run.entries(inner.format));
        }
        inner.memory.flush_hdp(card);
        contents.table = Table::Written;
    }

    /// Maps pages of system memory into the window.
    ///
    /// Fails with `ENOSPC` if the window has no room, and with `EINVAL` if there are no pages.
    pub(crate) fn bind(&self, run: GartRun) -> Result<GartRange> {
        let range = self.reserve_to_show(run.count)?;
        range.show(run)?;
        Ok(range)
    }

    /// Reserves pages of the window that show nothing until [`GartRange::show`] is called.
    ///
    /// Fails as [`Gart::bind`] does.
    pub(crate) fn reserve_to_show(&self, count: usize) -> Result<GartRange> {
        let node = RBTreeNodeReservation::new(GFP_KERNEL)?;
        let range = self.reserve(count)?;
        let mut contents = self.0.contents.lock();
        contents
            .runs
            .insert(node.into_node(range.first, GartRun::NOTHING));
        drop(contents);
        Ok(range)
    }

    /// Reserves pages of the window without mapping anything. Entries that an engine writes there
    /// are not written again after the table was lost.
    ///
    /// Fails as [`Gart::bind`] does.
    pub(crate) fn reserve(&self, count: usize) -> Result<GartRange> {
        let first = self
            .0
            .taken
            .alloc_range(count, (), ..GartLayout::PAGES, GFP_KERNEL)
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
    /// Changes the entries of consecutive pages in the table, if that is there, and invalidates the
    /// GPU's cached translations, if it translates at all.
    fn change(
        &self,
        contents: &Contents,
        first: usize,
        entries: impl Iterator<Item = Pte>,
    ) -> Result {
        if contents.table == Table::Lost {
            return Ok(());
        }
        let card: &Card<'_> = &*self.card.try_access().ok_or(ENODEV)?;
        self.write(card, first, entries);
        self.memory.flush_hdp(card);
        if contents.table == Table::Used {
            self.memory.flush_gart_tlb(card);
        }
        Ok(())
    }

    fn write(&self, card: &Card<'_>, first: usize, entries: impl Iterator<Item = Pte>) {
        for (page, entry) in (first..).zip(entries) {
            card.vram()
                .write64(self.layout.entry(page), entry.into_raw());
        }
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
        gart.table_addr + gart.layout.entry(self.first) - gart.layout.table
    }

    /// Shows `run` instead of what pages of [`Gart::reserve_to_show`] showed before; where it is
    /// shorter, nothing behind it. Does not allocate.
    ///
    /// # Errors
    ///
    /// `ENODEV` if the card is gone; `EINVAL` for any other range.
    pub(crate) fn show(&self, run: GartRun) -> Result {
        let gart = &self.gart.0;
        let mut contents = gart.contents.lock();
        let shown = contents.runs.get_mut(&self.first).ok_or(EINVAL)?;
        let rest = self.count.checked_sub(run.count).ok_or(EINVAL)?;
        *shown = run;
        let nothing = core::iter::repeat_n(Pte::INVALID, rest);
        let entries = Iterator::chain(run.entries(gart.format), nothing);
        gart.change(&contents, self.first, entries)
    }
}

impl Drop for GartRange {
    fn drop(&mut self) {
        let gart = &self.gart.0;
        let mut contents = gart.contents.lock();
        let removed = contents.runs.remove_node(&self.first);
        let nothing = core::iter::repeat_n(Pte::INVALID, self.count);
        // Once the driver is unbound, there is neither a table nor a GPU that reads it.
        let _ = gart.change(&contents, self.first, nothing);
        drop(contents);
        drop(removed);
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
        let range = gart.bind(GartRun {
            start,
            count: pages,
            access: Access::READ_WRITE,
            snoop: Snoop::Yes,
        })?;
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
