// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Memory controller, virtual memory and host data path (GMC 7.1, and the HDP part of OSS 2.0).
//!
//! The C driver has them in gmc_7_1_d.h, oss_2_0_d.h and bif_4_1_d.h.

use kernel::io::register;

// Where memory lies, and how it is wired

register! {
    /// Frame buffer's place in the GPU's address space, in units of 16 MiB.
    pub(crate) MC_VM_FB_LOCATION(u32) @ 0x02024 {
        15:0 fb_base;
        31:16 fb_top;
    }

    /// Memory configuration: banks, ranks, rows, columns.
    pub(crate) MC_ARB_RAMCFG(u32) @ 0x02760 {
        1:0 noofbank;
        2:2 noofranks => bool;
        5:3 noofrows;
        7:6 noofcols;
        8:8 chansize => bool;
    }

    pub(crate) MC_SHARED_CHMAP(u32) @ 0x02004 {
        15:12 noofchan;
    }

    pub(crate) MC_SEQ_MISC0(u32) @ 0x02a00 {}

    pub(crate) MC_SHARED_BLACKOUT_CNTL(u32) @ 0x020ac {
        2:0 blackout_mode;
    }
}

// The memory sequencer's microcode

register! {
    pub(crate) MC_SEQ_SUP_CNTL(u32) @ 0x028c8 {
        0:0 run => bool;
    }

    pub(crate) MC_SEQ_SUP_PGM(u32) @ 0x028cc {}

    pub(crate) MC_SEQ_IO_DEBUG_INDEX(u32) @ 0x02a44 {}

    pub(crate) MC_SEQ_IO_DEBUG_DATA(u32) @ 0x02a48 {}

    pub(crate) MC_SEQ_TRAIN_WAKEUP_CNTL(u32) @ 0x028e8 {
        30:30 train_done_d0 => bool;
        31:31 train_done_d1 => bool;
    }
}

// Apertures (page numbers)

register! {
    pub(crate) MC_VM_SYSTEM_APERTURE_LOW_ADDR(u32) @ 0x02034 {}

    pub(crate) MC_VM_SYSTEM_APERTURE_HIGH_ADDR(u32) @ 0x02038 {}

    pub(crate) MC_VM_SYSTEM_APERTURE_DEFAULT_ADDR(u32) @ 0x0203c {}

    /// The AGP aperture, in units of 4 MiB; closed when the bottom lies above the top.
    pub(crate) MC_VM_AGP_BASE(u32) @ 0x02030 {}

    pub(crate) MC_VM_AGP_TOP(u32) @ 0x02028 {}

    pub(crate) MC_VM_AGP_BOT(u32) @ 0x0202c {}
}

// Translation caches

register! {
    pub(crate) MC_VM_MX_L1_TLB_CNTL(u32) @ 0x02064 {
        0:0 enable_l1_tlb => bool;
        1:1 enable_l1_fragment_processing => bool;
        4:3 system_access_mode;
        5:5 system_aperture_unmapped_access => bool;
        6:6 enable_advanced_driver_model => bool;
    }

    pub(crate) VM_L2_CNTL(u32) @ 0x01400 {
        0:0 enable_l2_cache => bool;
        1:1 enable_l2_fragment_processing => bool;
        9:9 enable_l2_pte_cache_lru_update_by_write => bool;
        10:10 enable_l2_pde0_cache_lru_update_by_write => bool;
        17:15 effective_l2_queue_size;
        20:19 context1_identity_access_mode;
        11:11 enable_default_page_out_to_system_memory => bool;
    }

    pub(crate) VM_L2_CNTL2(u32) @ 0x01404 {
        0:0 invalidate_all_l1_tlbs => bool;
        1:1 invalidate_l2_cache => bool;
    }

    pub(crate) VM_L2_CNTL3(u32) @ 0x01408 {
        5:0 bank_select;
        19:15 l2_cache_bigk_fragment_size;
        20:20 l2_cache_bigk_associativity => bool;
    }

    /// One bit for each virtual memory context whose cached translations are to be dropped.
    pub(crate) VM_INVALIDATE_REQUEST(u32) @ 0x01478 {}
}

// Contexts: 0 is the kernel's, 1 to 15 share one set of controls

register! {
    pub(crate) VM_CONTEXT0_PAGE_TABLE_START_ADDR(u32) @ 0x0155c {}

    pub(crate) VM_CONTEXT0_PAGE_TABLE_END_ADDR(u32) @ 0x0157c {}

    /// Page directories of contexts 0 to 7, as page numbers.
    pub(crate) VM_CONTEXT0_PAGE_TABLE_BASE_ADDR(u32)[8] @ 0x0153c {}

    /// Page directories of contexts 8 to 15, as page numbers.
    pub(crate) VM_CONTEXT8_PAGE_TABLE_BASE_ADDR(u32)[8] @ 0x01438 {}

    /// Pages in which `VM_PRT_CNTL` holds: the first of each aperture, and the last.
    pub(crate) VM_PRT_APERTURE0_LOW_ADDR(u32)[4] @ 0x014b0 {}

    pub(crate) VM_PRT_APERTURE0_HIGH_ADDR(u32)[4] @ 0x014c0 {}

    pub(crate) VM_PRT_CNTL(u32) @ 0x014d0 {
        0:0 cb_disable_read_fault_on_unmapped_access => bool;
        1:1 tc_disable_read_fault_on_unmapped_access => bool;
        2:2 l2_cache_store_invalid_entries => bool;
        3:3 l1_tlb_store_invalid_entries => bool;
        4:4 cb_disable_write_fault_on_unmapped_access => bool;
        5:5 tc_disable_write_fault_on_unmapped_access => bool;
        6:6 mask_pde0_fault => bool;
    }

    pub(crate) VM_CONTEXT0_PROTECTION_FAULT_DEFAULT_ADDR(u32) @ 0x01518 {}

    pub(crate) VM_CONTEXT0_CNTL(u32) @ 0x01410 {
        0:0 enable_context => bool;
        2:1 page_table_depth;
        3:3 range_protection_fault_enable_interrupt => bool;
        4:4 range_protection_fault_enable_default => bool;
        6:6 dummy_page_protection_fault_enable_interrupt => bool;
        9:9 pde0_protection_fault_enable_interrupt => bool;
        12:12 valid_protection_fault_enable_interrupt => bool;
        15:15 read_protection_fault_enable_interrupt => bool;
        18:18 write_protection_fault_enable_interrupt => bool;
    }

    pub(crate) VM_CONTEXT0_CNTL2(u32) @ 0x01430 {}

    pub(crate) VM_CONTEXT1_PAGE_TABLE_START_ADDR(u32) @ 0x01560 {}

    pub(crate) VM_CONTEXT1_PAGE_TABLE_END_ADDR(u32) @ 0x01580 {}

    pub(crate) VM_CONTEXT1_PROTECTION_FAULT_DEFAULT_ADDR(u32) @ 0x0151c {}

    pub(crate) VM_CONTEXT1_CNTL(u32) @ 0x01414 {
        0:0 enable_context => bool;
        2:1 page_table_depth;
        3:3 range_protection_fault_enable_interrupt => bool;
        4:4 range_protection_fault_enable_default => bool;
        6:6 dummy_page_protection_fault_enable_interrupt => bool;
        7:7 dummy_page_protection_fault_enable_default => bool;
        9:9 pde0_protection_fault_enable_interrupt => bool;
        10:10 pde0_protection_fault_enable_default => bool;
        12:12 valid_protection_fault_enable_interrupt => bool;
        13:13 valid_protection_fault_enable_default => bool;
        15:15 read_protection_fault_enable_interrupt => bool;
        16:16 read_protection_fault_enable_default => bool;
        18:18 write_protection_fault_enable_interrupt => bool;
        19:19 write_protection_fault_enable_default => bool;
        27:24 page_table_block_size;
    }

    pub(crate) VM_CONTEXT1_CNTL2(u32) @ 0x01434 {
        0:0 clear_protection_fault_status_addr => bool;
        2:2 enable_interrupt_processing_for_subsequent_faults_per_context => bool;
    }

    pub(crate) VM_CONTEXT1_PROTECTION_FAULT_ADDR(u32) @ 0x014fc {}

    pub(crate) VM_CONTEXT0_PROTECTION_FAULT_ADDR(u32) @ 0x014f8 {}

    pub(crate) VM_CONTEXT0_PROTECTION_FAULT_STATUS(u32) @ 0x014d8 {}

    pub(crate) VM_CONTEXT1_PROTECTION_FAULT_STATUS(u32) @ 0x014dc {
        7:0 protections;
        20:12 memory_client_id;
        24:24 memory_client_rw => bool;
        28:25 vmid;
    }

    pub(crate) VM_CONTEXT1_PROTECTION_FAULT_MCCLIENT(u32) @ 0x014e4 {}
}

// Host data path: the CPU's way to VRAM

register! {
    pub(crate) HDP_REG_COHERENCY_FLUSH_CNTL(u32) @ 0x054a0 {}

    pub(crate) HDP_MEM_COHERENCY_FLUSH_CNTL(u32) @ 0x05480 {}

    pub(crate) HDP_DEBUG0(u32) @ 0x02f30 {}

    pub(crate) HDP_MISC_CNTL(u32) @ 0x02f4c {
        0:0 flush_invalidate_cache => bool;
    }

    pub(crate) HDP_HOST_PATH_CNTL(u32) @ 0x02c00 {
        23:23 clock_gating_dis => bool;
    }

    pub(crate) HDP_MEM_POWER_LS(u32) @ 0x02f50 {
        0:0 ls_enable => bool;
    }

    pub(crate) HDP_ADDR_CONFIG(u32) @ 0x02f48 {}
}

// Identity apertures of context 1, which stay closed

register! {
    pub(crate) VM_L2_CONTEXT1_IDENTITY_APERTURE_LOW_ADDR(u32) @ 0x015d4 {}

    pub(crate) VM_L2_CONTEXT1_IDENTITY_APERTURE_HIGH_ADDR(u32) @ 0x015d8 {}

    pub(crate) VM_L2_CONTEXT_IDENTITY_PHYSICAL_OFFSET(u32) @ 0x015dc {}
}

// Requests of the graphics block

register! {
    pub(crate) GMCON_DEBUG(u32) @ 0x0357c {
        0:0 gfx_stall => bool;
        1:1 gfx_clear => bool;
    }
}

// Clock gating

register! {
    pub(crate) MC_HUB_MISC_HUB_CG(u32) @ 0x020b8 {
        18:18 enable => bool;
        19:19 mem_ls_enable => bool;
    }

    pub(crate) MC_HUB_MISC_SIP_CG(u32) @ 0x020c0 {
        18:18 enable => bool;
        19:19 mem_ls_enable => bool;
    }

    pub(crate) MC_HUB_MISC_VM_CG(u32) @ 0x020bc {
        18:18 enable => bool;
        19:19 mem_ls_enable => bool;
    }

    pub(crate) MC_XPB_CLK_GAT(u32) @ 0x02478 {
        18:18 enable => bool;
        19:19 mem_ls_enable => bool;
    }

    pub(crate) ATC_MISC_CG(u32) @ 0x03350 {
        18:18 enable => bool;
        19:19 mem_ls_enable => bool;
    }

    pub(crate) MC_CITF_MISC_WR_CG(u32) @ 0x0264c {
        18:18 enable => bool;
        19:19 mem_ls_enable => bool;
    }

    pub(crate) MC_CITF_MISC_RD_CG(u32) @ 0x02648 {
        18:18 enable => bool;
        19:19 mem_ls_enable => bool;
    }

    pub(crate) MC_CITF_MISC_VM_CG(u32) @ 0x02650 {
        18:18 enable => bool;
        19:19 mem_ls_enable => bool;
    }

    pub(crate) VM_L2_CG(u32) @ 0x015c0 {
        18:18 enable => bool;
        19:19 mem_ls_enable => bool;
    }
}
