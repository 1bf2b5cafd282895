// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Memory controller (the C driver's `gmc_v7_0.c`).
//!
//! The CPU's writes through the VRAM aperture may stay in the host data path (HDP) before they
//! reach VRAM, and its reads may return an older copy from there. Translations are cached per
//! context, in level-1 caches and one level-2 cache. After a change of a page-table entry, the
//! context's cached translations must be dropped, by a write of one bit for each context.

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
mod tests;

use kernel::{
    device,
    io::{
        poll::read_poll_timeout,
        register::Array,
        Io, //
    },
    prelude::*,
    sizes::SizeConstants,
    time::Delta, //
};

use super::{
    page_number,
    page_table::{
        FORMAT,
        FRAGMENT_SHIFT,
        TABLE_SHIFT, //
    },
    picture,
    regs::*, //
};
use crate::{
    bindings,
    hw::{
        card::Card,
        firmware::Microcode,
        layout::{
            GartLayout,
            VramLayout, //
        },
        page_table::{
            PAGE_SHIFT,
            PAGE_SIZE, //
        },
        Fault,
        MemoryController,
        MemoryInfo,
        Translation,
        UnmappedAccess, //
    }, //
};

/// End of the GPU's address space.
const ADDRESS_SPACE: u64 = 1 << FORMAT.address_bits();
/// Alignment of the start of the GART window.
const GART_ALIGNMENT: u64 = 1 << 32;
/// Smallest plausible size of VRAM.
const MIN_VRAM: u64 = 64 * u64::SZ_1M;

/// Size of the part of VRAM that the kernel keeps: the GART table, and a page for stray accesses.
const RESERVED_SIZE: u64 = GartLayout::TABLE_SIZE + PAGE_SIZE;

pub(super) struct Gmc;

impl MemoryController for Gmc {
    fn layout(&self, card: &Card<'_>, dev: &device::Device) -> Result<(VramLayout, GartLayout)> {
        let start = u64::from(card.regs().read(MC_VM_FB_LOCATION).fb_base().get()) * u64::SZ_16M;
        let size = u64::from(card.regs().read(CONFIG_MEMSIZE).into_raw()) * u64::SZ_1M;
        let visible = size.min(card.vram().size());
        if visible < MIN_VRAM || start + size > ADDRESS_SPACE {
            dev_err!(
                dev,
                "the memory controller reports {} MiB of VRAM at {start:#x}, {} MiB of them visible: not plausible\n",
                size / u64::SZ_1M,
                visible / u64::SZ_1M
            );
            return Err(ENODEV);
        }
        let reserved = visible - RESERVED_SIZE;
        let vram = VramLayout {
            start,
            size,
            visible,
            picture: picture::size(card, start, visible),
            reserved: (reserved, visible),
        };
        let gart = GartLayout {
            start: gart_start(start, size),
            table: reserved,
        };
        Ok((vram, gart))
    }

    fn describe(&self, card: &Card<'_>) -> MemoryInfo {
        let ram_config = card.regs().read(MC_ARB_RAMCFG);
        let channel_bits = if ram_config.chansize() { 64 } else { 32 };
        // Columns are counted from 256, of four bytes each; a row is taken to have 4 KiB at most.
        let row_kib = 1 << ram_config.noofcols().get();
        MemoryInfo {
            kind: vram_kind(card.regs().read(MC_SEQ_MISC0)),
            bus_width: channels(card.regs().read(MC_SHARED_CHMAP)) * channel_bits,
            ram_config: ram_config.into_raw(),
            row_kib: u32::min(row_kib, 4),
        }
    }

    fn start(
        &self,
        card: &Card<'_>,
        dev: &device::Device,
        vram: &VramLayout,
        microcode: &Microcode,
    ) {
        clear_hdp_surfaces(card);
        wait_idle(card, dev);
        lock_vga_out(card);
        open_apertures(card, vram);
        wait_idle(card, dev);
        card.regs().write_reg(
            BIF_FB_EN::zeroed()
                .with_fb_read_en(true)
                .with_fb_write_en(true),
        );
        card.regs()
            .update(HDP_MISC_CNTL, |r| r.with_flush_invalidate_cache(false));
        card.regs().update(HDP_HOST_PATH_CNTL, |r| r);
        if !card.regs().read(MC_SEQ_SUP_CNTL).run() {
            load_microcode(card, dev, microcode);
        }
    }

    fn enable_translation(&self, card: &Card<'_>, translation: &Translation) {
        self.flush_hdp(card);
        enable_caches(card);
        enable_kernel_context(card, translation);
        enable_process_contexts(card, translation);
        self.flush_gart_tlb(card);
    }

    fn disable_translation(&self, card: &Card<'_>) {
        card.regs().write_reg(VM_CONTEXT0_CNTL::zeroed());
        card.regs().write_reg(VM_CONTEXT1_CNTL::zeroed());
        card.regs().update(MC_VM_MX_L1_TLB_CNTL, |r| {
            r.with_enable_l1_tlb(false)
                .with_enable_l1_fragment_processing(false)
                .with_enable_advanced_driver_model(false)
        });
        card.regs()
            .update(VM_L2_CNTL, |r| r.with_enable_l2_cache(false));
        card.regs().write_reg(VM_L2_CNTL2::zeroed());
    }

    fn flush_hdp(&self, card: &Card<'_>) {
        card.regs().write_reg(HDP_MEM_COHERENCY_FLUSH_CNTL::from(1));
        // The read returns once the write has arrived.
        card.regs().read(HDP_MEM_COHERENCY_FLUSH_CNTL);
    }

    fn invalidate_hdp(&self, card: &Card<'_>) {
        card.regs().write_reg(HDP_DEBUG0::from(1));
        card.regs().read(HDP_DEBUG0);
    }

    fn flush_gart_tlb(&self, card: &Card<'_>) {
        card.regs().write_reg(VM_INVALIDATE_REQUEST::from(1 << 0));
    }

    fn directory(&self, card: &Card<'_>, vmid: u8) -> u64 {
        let regs = card.regs();
        let place = usize::from(vmid % 8);
        let page = match vmid {
            0..8 => VM_CONTEXT0_PAGE_TABLE_BASE_ADDR::try_at(place)
                .map_or(0, |register| regs.read(register).into_raw()),
            _ => VM_CONTEXT8_PAGE_TABLE_BASE_ADDR::try_at(place)
                .map_or(0, |register| regs.read(register).into_raw()),
        };
        u64::from(page) << PAGE_SHIFT
    }

    fn set_unmapped(&self, card: &Card<'_>, unmapped: &UnmappedAccess) {
        /// An aperture without pages: its first page is behind its last.
        const NO_PAGES: (u32, u32) = (0xfff_ffff, 0);

        let (reads_zero, (first, last)) = match unmapped {
            UnmappedAccess::Faults => (false, NO_PAGES),
            // LOSSLESS: An address has 40 bits, and a page 12.
            UnmappedAccess::ReadsZero(pages) => (true, (pages.start as u32, pages.end as u32 - 1)),
        };
        let regs = card.regs();
        // The invalid entries are kept by the translation caches, which would otherwise read them
        // anew for each access. A change of page tables flushes these.
        regs.update(VM_PRT_CNTL, |r| {
            r.with_cb_disable_read_fault_on_unmapped_access(reads_zero)
                .with_cb_disable_write_fault_on_unmapped_access(reads_zero)
                .with_tc_disable_read_fault_on_unmapped_access(reads_zero)
                .with_tc_disable_write_fault_on_unmapped_access(reads_zero)
                .with_l2_cache_store_invalid_entries(reads_zero)
                .with_l1_tlb_store_invalid_entries(reads_zero)
                .with_mask_pde0_fault(reads_zero)
        });
        for aperture in (0..4).filter_map(VM_PRT_APERTURE0_LOW_ADDR::try_at) {
            regs.write(aperture, VM_PRT_APERTURE0_LOW_ADDR::from(first));
        }
        for aperture in (0..4).filter_map(VM_PRT_APERTURE0_HIGH_ADDR::try_at) {
            regs.write(aperture, VM_PRT_APERTURE0_HIGH_ADDR::from(last));
        }
    }

    fn take_fault(&self, card: &Card<'_>) -> Option<Fault> {
        let page = card
            .regs()
            .read(VM_CONTEXT1_PROTECTION_FAULT_ADDR)
            .into_raw();
        let status = card.regs().read(VM_CONTEXT1_PROTECTION_FAULT_STATUS);
        let client = card.regs().read(VM_CONTEXT1_PROTECTION_FAULT_MCCLIENT);
        card.regs().update(VM_CONTEXT1_CNTL2, |r| {
            r.with_clear_protection_fault_status_addr(true)
        });
        if page == 0 && status.into_raw() == 0 {
            return None;
        }
        Some(Fault {
            page,
            vmid: status.vmid().cast::<u8>().get(),
            write: status.memory_client_rw(),
            protections: status.protections().cast::<u8>().get(),
            status: status.into_raw(),
            client: client.into_raw().to_be_bytes(),
        })
    }
}

/// Returns the kind of the memory chips: `AMDGPU_VRAM_TYPE_*`.
fn vram_kind(misc: MC_SEQ_MISC0) -> u32 {
    match misc.into_raw() >> 28 {
        kind @ 1..=6 => kind,
        0xb => bindings::AMDGPU_VRAM_TYPE_DDR3,
        _ => bindings::AMDGPU_VRAM_TYPE_UNKNOWN,
    }
}

/// Returns the number of memory channels.
fn channels(map: MC_SHARED_CHMAP) -> u32 {
    match map.noofchan().get() {
        1 => 2,
        2 => 4,
        3 => 8,
        4 => 3,
        5 => 6,
        6 => 10,
        7 => 12,
        8 => 16,
        _ => 1,
    }
}

/// Clears the 32 sets of surface registers of the host data path, which have no names. The CPU then
/// sees VRAM as it is.
fn clear_hdp_surfaces(card: &Card<'_>) {
    const FIRST: usize = 0xb05;
    const STRIDE: usize = 6;
    const REGISTERS: usize = 5;
    for surface in 0..32 {
        for register in 0..REGISTERS {
            let offset = (FIRST + surface * STRIDE + register) * size_of::<u32>();
            let _ = card.regs().try_write32(0, offset);
        }
    }
    card.regs()
        .write_reg(HDP_REG_COHERENCY_FLUSH_CNTL::zeroed());
}

/// Waits until the memory controller is idle. Goes on after a timeout.
fn wait_idle(card: &Card<'_>, dev: &device::Device) {
    let idle = read_poll_timeout(
        || Ok(card.regs().read(SRBM_STATUS)),
        |status| {
            !(status.mcb_busy()
                || status.mcb_non_display_busy()
                || status.mcc_busy()
                || status.mcd_busy()
                || status.vmc_busy())
        },
        Delta::from_micros(10),
        Delta::from_millis(100),
    );
    if idle.is_err() {
        dev_warn!(dev, "the memory controller is still busy; going on\n");
    }
}

/// Keeps the legacy VGA window from writing to VRAM, which the driver now owns: neither does it
/// lead there, nor does the card answer to its addresses, which another card may need.
fn lock_vga_out(card: &Card<'_>) {
    card.regs().update(CONFIG_CNTL, |r| r.with_vga_dis(true));
    card.regs()
        .update(VGA_HDP_CONTROL, |r| r.with_vga_memory_disable(true));
    card.regs()
        .update(VGA_RENDER_CONTROL, |r| r.with_const_vga_vstatus_cntl::<0>());
}

/// Tells the memory controller which addresses are VRAM.
fn open_apertures(card: &Card<'_>, vram: &VramLayout) {
    let last = vram.start + vram.size - 1;
    let regs = card.regs();
    regs.write_reg(MC_VM_SYSTEM_APERTURE_LOW_ADDR::from(page_number(
        vram.start,
    )));
    regs.write_reg(MC_VM_SYSTEM_APERTURE_HIGH_ADDR::from(page_number(last)));
    regs.write_reg(MC_VM_SYSTEM_APERTURE_DEFAULT_ADDR::from(page_number(
        vram.mc_addr(stray_page(vram)),
    )));
    // No AGP aperture: its bottom is above its top.
    regs.write_reg(MC_VM_AGP_BASE::zeroed());
    regs.write_reg(MC_VM_AGP_TOP::zeroed());
    regs.write_reg(MC_VM_AGP_BOT::from(0x3_ffff));
}

/// Returns the offset of the page of VRAM that receives accesses outside of all apertures.
fn stray_page(vram: &VramLayout) -> u64 {
    vram.reserved().end - PAGE_SIZE
}

/// Uploads the memory sequencer's microcode and lets it train the memory.
fn load_microcode(card: &Card<'_>, dev: &device::Device, microcode: &Microcode) {
    let regs = card.regs();
    let control = |value| regs.write_reg(MC_SEQ_SUP_CNTL::from(value));

    // Reset, then writeable.
    control(0x08);
    control(0x10);
    let patches = patches(card.device_id(), regs.read(MC_SEQ_MISC0).into_raw());
    for (index, value) in Iterator::chain(microcode.io_debug(), patches.iter().copied()) {
        regs.write_reg(MC_SEQ_IO_DEBUG_INDEX::from(index));
        regs.write_reg(MC_SEQ_IO_DEBUG_DATA::from(value));
    }
    for dword in microcode.code() {
        regs.write_reg(MC_SEQ_SUP_PGM::from(dword));
    }
    // Reset, then running.
    control(0x08);
    control(0x04);
    control(0x01);

    let trained = read_poll_timeout(
        || Ok(regs.read(MC_SEQ_TRAIN_WAKEUP_CNTL)),
        |status| status.train_done_d0() && status.train_done_d1(),
        Delta::from_micros(10),
        Delta::from_millis(200),
    );
    if trained.is_err() {
        dev_warn!(
            dev,
            "the memory does not say that its training is done; going on\n"
        );
    }
}

/// Returns what the interface to the memory of some boards needs besides what the microcode's file
/// says: indices and values. `memory` is `MC_SEQ_MISC0`. Of the C drivers, radeon does so
/// (`ci_mc_load_microcode`).
fn patches(device: u16, memory: u32) -> &'static [(u32, u32)] {
    const FIREPRO_W5100: u16 = 0x6649;

    match (device, memory >> 8 & 0xff) {
        (FIREPRO_W5100, 0x56) => &[(5, 0x23), (9, 0x1f0)],
        _ => &[],
    }
}

/// Sets up and empties the translation caches.
fn enable_caches(card: &Card<'_>) {
    const NOT_IN_SYSTEM_APERTURE: u32 = 3;
    const FRAGMENT: u32 = FRAGMENT_SHIFT;

    let regs = card.regs();
    regs.update(MC_VM_MX_L1_TLB_CNTL, |r| {
        r.with_enable_l1_tlb(true)
            .with_enable_l1_fragment_processing(true)
            .with_const_system_access_mode::<NOT_IN_SYSTEM_APERTURE>()
            .with_enable_advanced_driver_model(true)
            .with_system_aperture_unmapped_access(false)
    });
    regs.update(VM_L2_CNTL, |r| {
        r.with_enable_l2_cache(true)
            .with_enable_l2_fragment_processing(true)
            .with_enable_l2_pte_cache_lru_update_by_write(true)
            .with_enable_l2_pde0_cache_lru_update_by_write(true)
            .with_const_effective_l2_queue_size::<7>()
            .with_const_context1_identity_access_mode::<1>()
            .with_enable_default_page_out_to_system_memory(true)
    });
    regs.write_reg(
        VM_L2_CNTL2::zeroed()
            .with_invalidate_all_l1_tlbs(true)
            .with_invalidate_l2_cache(true),
    );
    regs.update(VM_L2_CNTL3, |r| {
        r.with_l2_cache_bigk_associativity(true)
            .with_const_bank_select::<FRAGMENT>()
            .with_const_l2_cache_bigk_fragment_size::<FRAGMENT>()
    });
}

/// Enables context 0: one flat table, which translates the GART window.
fn enable_kernel_context(card: &Card<'_>, translation: &Translation) {
    let Translation {
        vram,
        gart,
        dummy_page,
    } = *translation;
    let last = gart.start + GartLayout::SIZE - 1;
    let table = vram.mc_addr(gart.table);
    let regs = card.regs();
    regs.write_reg(VM_CONTEXT0_PAGE_TABLE_START_ADDR::from(page_number(
        gart.start,
    )));
    regs.write_reg(VM_CONTEXT0_PAGE_TABLE_END_ADDR::from(page_number(last)));
    regs.write(
        VM_CONTEXT0_PAGE_TABLE_BASE_ADDR::at(0),
        VM_CONTEXT0_PAGE_TABLE_BASE_ADDR::from(page_number(table)),
    );
    regs.write_reg(VM_CONTEXT0_PROTECTION_FAULT_DEFAULT_ADDR::from(
        page_number(dummy_page),
    ));
    regs.write_reg(VM_CONTEXT0_CNTL2::zeroed());
    regs.update(VM_CONTEXT0_CNTL, |r| {
        r.with_enable_context(true)
            .with_const_page_table_depth::<0>()
            .with_range_protection_fault_enable_default(true)
    });
    regs.write_reg(VM_L2_CONTEXT1_IDENTITY_APERTURE_LOW_ADDR::zeroed());
    regs.write_reg(VM_L2_CONTEXT1_IDENTITY_APERTURE_HIGH_ADDR::zeroed());
    regs.write_reg(VM_L2_CONTEXT_IDENTITY_PHYSICAL_OFFSET::zeroed());
}

/// Enables contexts 1 to 15, which have two levels. They get their page directories with the jobs
/// to which they are lent. Until then the GART's table stands in, whose entries are not valid
/// directory entries.
fn enable_process_contexts(card: &Card<'_>, translation: &Translation) {
    // LOSSLESS: An address has 40 bits, and a page 12.
    const LAST_PAGE: u32 = (FORMAT.pages() - 1) as u32;
    /// log2 of the number of pages of one page table, relative to 512.
    const BLOCK_SIZE: u32 = TABLE_SHIFT - 9;

    let table = page_number(translation.vram.mc_addr(translation.gart.table));
    let dummy = page_number(translation.dummy_page);
    let regs = card.regs();
    regs.write_reg(VM_CONTEXT1_PAGE_TABLE_START_ADDR::zeroed());
    regs.write_reg(VM_CONTEXT1_PAGE_TABLE_END_ADDR::from(LAST_PAGE));
    for context in (1..8).filter_map(VM_CONTEXT0_PAGE_TABLE_BASE_ADDR::try_at) {
        regs.write(context, VM_CONTEXT0_PAGE_TABLE_BASE_ADDR::from(table));
    }
    for context in (0..8).filter_map(VM_CONTEXT8_PAGE_TABLE_BASE_ADDR::try_at) {
        regs.write(context, VM_CONTEXT8_PAGE_TABLE_BASE_ADDR::from(table));
    }
    regs.write_reg(VM_CONTEXT1_PROTECTION_FAULT_DEFAULT_ADDR::from(dummy));
    regs.write_reg(
        VM_CONTEXT1_CNTL2::zeroed()
            .with_enable_interrupt_processing_for_subsequent_faults_per_context(true),
    );
    regs.update(VM_CONTEXT1_CNTL, |r| {
        r.with_enable_context(true)
            .with_const_page_table_depth::<1>()
            .with_const_page_table_block_size::<BLOCK_SIZE>()
            // A forbidden access goes to the dummy page.
            .with_range_protection_fault_enable_default(true)
            .with_dummy_page_protection_fault_enable_default(true)
            .with_pde0_protection_fault_enable_default(true)
            .with_valid_protection_fault_enable_default(true)
            .with_read_protection_fault_enable_default(true)
            .with_write_protection_fault_enable_default(true)
    });
}

/// Returns the start of the GART window: at the end of the address space, or 0 if VRAM is there.
fn gart_start(vram_start: u64, vram_size: u64) -> u64 {
    let last = ADDRESS_SPACE - GART_ALIGNMENT;
    if vram_start + vram_size <= last {
        last
    } else {
        0
    }
}
