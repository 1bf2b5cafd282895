// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Bus interface (BIF 4.1), system register block manager and legacy VGA.
//!
//! The C driver has them in bif_4_1_d.h, oss_2_0_d.h, smu_7_0_1_d.h and dce_8_0_d.h.

use kernel::io::register;

// Size and access of the frame buffer

register! {
    pub(crate) CONFIG_MEMSIZE(u32) @ 0x05428 {}

    pub(crate) BUS_CNTL(u32) @ 0x05420 {}

    pub(crate) BIF_FB_EN(u32) @ 0x05490 {
        0:0 fb_read_en => bool;
        1:1 fb_write_en => bool;
    }

    pub(crate) CC_DRM_ID_STRAPS(u32) @ 0x05564 {
        31:28 ati_rev_id;
    }
}

// Scratch registers shared with the video BIOS

register! {
    pub(crate) BIOS_SCRATCH_7(u32) @ 0x01740 {}
}

// Indirect access

register! {
    pub(crate) PCIE_INDEX(u32) @ 0x00038 {}

    pub(crate) PCIE_DATA(u32) @ 0x0003c {}

    pub(crate) SMC_IND_INDEX_0(u32) @ 0x00200 {}

    pub(crate) SMC_IND_DATA_0(u32) @ 0x00204 {}

    pub(crate) SMC_IND_INDEX_4(u32) @ 0x00220 {}

    pub(crate) SMC_IND_DATA_4(u32) @ 0x00224 {}
}

// What is busy

register! {
    pub(crate) SRBM_STATUS(u32) @ 0x00e50 {
        9:9 mcb_busy => bool;
        10:10 mcb_non_display_busy => bool;
        11:11 mcc_busy => bool;
        12:12 mcd_busy => bool;
        8:8 vmc_busy => bool;
        17:17 ih_busy => bool;
    }

    pub(crate) SRBM_STATUS2(u32) @ 0x00e4c {
        5:5 sdma_busy => bool;
        6:6 sdma1_busy => bool;
    }

    pub(crate) SRBM_SOFT_RESET(u32) @ 0x00e60 {
        20:20 soft_reset_sdma => bool;
        15:15 soft_reset_sem => bool;
        8:8 soft_reset_grbm => bool;
        6:6 soft_reset_sdma1 => bool;
    }

    /// Chooses the virtual memory context and queue that banked registers speak of.
    pub(crate) SRBM_GFX_CNTL(u32) @ 0x00e44 {
        1:0 pipeid;
        3:2 meid;
        7:4 vmid;
        10:8 queueid;
    }
}

// VGA

register! {
    pub(crate) CONFIG_CNTL(u32) @ 0x05424 {
        1:1 vga_dis => bool;
    }

    pub(crate) VGA_HDP_CONTROL(u32) @ 0x00328 {
        4:4 vga_memory_disable => bool;
    }

    pub(crate) VGA_RENDER_CONTROL(u32) @ 0x00300 {
        17:16 vga_vstatus_cntl;
    }
}

// Flushing the host data path from a ring: each client has a bit

register! {
    pub(crate) GPU_HDP_FLUSH_REQ(u32) @ 0x054dc {}

    pub(crate) GPU_HDP_FLUSH_DONE(u32) @ 0x054e0 {
        0:0 cp0 => bool;
        2:2 cp2 => bool;
        10:10 sdma0 => bool;
        11:11 sdma1 => bool;
    }
}
