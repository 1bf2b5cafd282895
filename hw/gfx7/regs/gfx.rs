// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Graphics: address configuration, shader arrays, RLC and the pipeline's fixed set-up (GFX 7.2).
//!
//! The C driver has them in gfx_7_2_d.h.

use kernel::io::register;

// Which shader engine, array and instance banked registers speak of

register! {
    pub(crate) GRBM_CNTL(u32) @ 0x08000 {
        7:0 read_timeout;
    }

    pub(crate) GRBM_GFX_INDEX(u32) @ 0x30800 {
        7:0 instance_index;
        15:8 sh_index;
        23:16 se_index;
        29:29 sh_broadcast_writes => bool;
        30:30 instance_broadcast_writes => bool;
        31:31 se_broadcast_writes => bool;
    }

    pub(crate) GRBM_SOFT_RESET(u32) @ 0x08020 {
        0:0 soft_reset_cp => bool;
        2:2 soft_reset_rlc => bool;
        16:16 soft_reset_gfx => bool;
        17:17 soft_reset_cpf => bool;
        18:18 soft_reset_cpc => bool;
        19:19 soft_reset_cpg => bool;
    }
}

// Commands to waves

register! {
    /// A write is a command to the waves that the other fields choose, of those that the selected
    /// compute units have.
    pub(crate) SQ_CMD(u32) @ 0x08dec {
        2:0 cmd;
        6:4 mode;
        7:7 check_vmid => bool;
        31:28 vm_id;
    }
}

// Addresses and tiling

register! {
    pub(crate) GB_ADDR_CONFIG(u32) @ 0x098f8 {
        29:28 row_size;
    }

    pub(crate) GB_TILE_MODE(u32)[32] @ 0x09910 {}

    pub(crate) GB_MACROTILE_MODE(u32)[16] @ 0x09990 {}

    pub(crate) DMIF_ADDR_CALC(u32) @ 0x00c00 {}
}

// What is there of render backends and compute units

register! {
    pub(crate) CC_RB_BACKEND_DISABLE(u32) @ 0x098f4 {
        23:16 backend_disable;
    }

    pub(crate) GC_USER_RB_BACKEND_DISABLE(u32) @ 0x09b7c {
        23:16 backend_disable;
    }

    pub(crate) CC_GC_SHADER_ARRAY_CONFIG(u32) @ 0x089bc {
        31:16 inactive_cus;
    }

    pub(crate) GC_USER_SHADER_ARRAY_CONFIG(u32) @ 0x089c0 {
        31:16 inactive_cus;
    }

    pub(crate) PA_SC_RASTER_CONFIG(u32) @ 0x28350 {
        1:0 rb_map_pkr0;
        3:2 rb_map_pkr1;
        9:8 pkr_map;
        25:24 se_map;
    }

    pub(crate) PA_SC_RASTER_CONFIG_1(u32) @ 0x28354 {
        1:0 se_pair_map;
    }
}

// Memory as shaders see it (SRBM_GFX_CNTL chooses the context)

register! {
    pub(crate) SH_MEM_BASES(u32) @ 0x08c28 {}

    pub(crate) SH_MEM_APE1_BASE(u32) @ 0x08c2c {}

    pub(crate) SH_MEM_APE1_LIMIT(u32) @ 0x08c30 {}

    pub(crate) SH_MEM_CONFIG(u32) @ 0x08c34 {
        3:2 alignment_mode;
        6:4 default_mtype;
        9:7 ape1_mtype;
    }

    pub(crate) SH_STATIC_MEM_CONFIG(u32) @ 0x09604 {
        0:0 swizzle_enable => bool;
        2:1 element_size;
        4:3 index_stride;
    }

    /// Base and size of each context's part of the global data share.
    pub(crate) GDS_VMID0_BASE(u32)[16, stride = 8] @ 0x0cc00 {}

    pub(crate) GDS_VMID0_SIZE(u32)[16, stride = 8] @ 0x0cc04 {}

    /// Counters of global wave sync that each context has.
    pub(crate) GDS_GWS_VMID0(u32)[16] @ 0x0cc80 {
        5:0 base;
        22:16 size;
    }

    /// Counters of ordered append that each context has, one bit each.
    pub(crate) GDS_OA_VMID0(u32)[16] @ 0x0ccc0 {
        15:0 mask;
    }

    pub(crate) GDS_COMPUTE_MAX_WAVE_ID(u32) @ 0x0cd20 {}
}

// The pipeline's fixed set-up

register! {
    pub(crate) CP_MEQ_THRESHOLDS(u32) @ 0x08764 {
        7:0 meq1_start;
        15:8 meq2_start;
    }

    pub(crate) SX_DEBUG_1(u32) @ 0x09060 {}

    pub(crate) TA_CNTL_AUX(u32) @ 0x09508 {}

    pub(crate) SPI_CONFIG_CNTL(u32) @ 0x09100 {}

    pub(crate) SPI_CONFIG_CNTL_1(u32) @ 0x0913c {
        3:0 vtx_done_delay;
    }

    pub(crate) SPI_ARB_PRIORITY(u32) @ 0x0c700 {
        2:0 pipe_order_ts0;
        5:3 pipe_order_ts1;
        8:6 pipe_order_ts2;
        11:9 pipe_order_ts3;
    }

    pub(crate) SQ_CONFIG(u32) @ 0x08c00 {}

    pub(crate) DB_DEBUG(u32) @ 0x09830 {}

    pub(crate) DB_DEBUG2(u32) @ 0x09834 {}

    pub(crate) DB_DEBUG3(u32) @ 0x09838 {}

    pub(crate) CB_HW_CONTROL(u32) @ 0x09a10 {}

    pub(crate) PA_SC_FIFO_SIZE(u32) @ 0x08bcc {
        5:0 sc_frontend_prim_fifo_size;
        14:6 sc_backend_prim_fifo_size;
        20:15 sc_hiz_tile_fifo_size;
        31:23 sc_earlyz_tile_fifo_size;
    }

    pub(crate) PA_SC_FORCE_EOV_MAX_CNTS(u32) @ 0x08b24 {
        15:0 force_eov_max_clk_cnt;
        31:16 force_eov_max_rez_cnt;
    }

    pub(crate) PA_SC_LINE_STIPPLE_STATE(u32) @ 0x30a04 {}

    pub(crate) PA_CL_ENHANCE(u32) @ 0x08a14 {
        0:0 clip_vtx_reorder_ena => bool;
        2:1 num_clip_seq;
    }

    pub(crate) PA_SC_ENHANCE(u32) @ 0x08bf0 {
        0:0 enable_pa_sc_out_of_order => bool;
    }

    pub(crate) VGT_NUM_INSTANCES(u32) @ 0x30934 {}

    pub(crate) VGT_CACHE_INVALIDATION(u32) @ 0x088c4 {
        1:0 cache_invalidation;
        7:6 auto_invld_en;
    }

    pub(crate) VGT_GS_VERTEX_REUSE(u32) @ 0x088d4 {}

    pub(crate) VGT_VERTEX_REUSE_BLOCK_CNTL(u32) @ 0x28c58 {}

    pub(crate) CP_PERFMON_CNTL(u32) @ 0x36020 {}
}

// The RLC, which saves, restores and balances

register! {
    pub(crate) RLC_CNTL(u32) @ 0x0c300 {
        0:0 rlc_enable_f32 => bool;
    }

    pub(crate) RLC_MC_CNTL(u32) @ 0x0c30c {}

    pub(crate) RLC_UCODE_CNTL(u32) @ 0x0c39c {}

    pub(crate) RLC_GPM_UCODE_ADDR(u32) @ 0x0c388 {}

    pub(crate) RLC_GPM_UCODE_DATA(u32) @ 0x0c38c {}

    pub(crate) RLC_GPM_STAT(u32) @ 0x0c400 {
        0:0 rlc_busy => bool;
    }

    pub(crate) RLC_CGCG_CGLS_CTRL(u32) @ 0x0c424 {
        0:0 cgcg_en => bool;
        1:1 cgls_en => bool;
    }

    pub(crate) RLC_LB_CNTR_INIT(u32) @ 0x0c36c {}

    pub(crate) RLC_LB_CNTR_MAX(u32) @ 0x0c348 {}

    pub(crate) RLC_LB_INIT_CU_MASK(u32) @ 0x0c43c {}

    pub(crate) RLC_LB_PARAMS(u32) @ 0x0c444 {}

    pub(crate) RLC_LB_CNTL(u32) @ 0x0c364 {
        0:0 load_balance_enable => bool;
    }

    pub(crate) RLC_DRIVER_CPDMA_STATUS(u32) @ 0x0c378 {}

    pub(crate) RLC_SERDES_CU_MASTER_BUSY(u32) @ 0x0c484 {}

    pub(crate) RLC_SERDES_NONCU_MASTER_BUSY(u32) @ 0x0c488 {
        15:0 se_master_busy;
        16:16 gc_master_busy => bool;
        17:17 tc0_master_busy => bool;
        18:18 tc1_master_busy => bool;
    }

    pub(crate) RLC_SPM_VMID(u32) @ 0x0c4c4 {
        3:0 rlc_spm_vmid;
    }

    pub(crate) RLC_GPU_CLOCK_COUNT_LSB(u32) @ 0x0c390 {}

    pub(crate) RLC_GPU_CLOCK_COUNT_MSB(u32) @ 0x0c394 {}

    pub(crate) RLC_CAPTURE_GPU_CLOCK_COUNT(u32) @ 0x0c398 {}
}

// Clock gating

register! {
    pub(crate) RLC_CGTT_MGCG_OVERRIDE(u32) @ 0x0c420 {}

    pub(crate) RLC_SERDES_WR_CU_MASTER_MASK(u32) @ 0x0c474 {}

    pub(crate) RLC_SERDES_WR_NONCU_MASTER_MASK(u32) @ 0x0c478 {}

    pub(crate) RLC_SERDES_WR_CTRL(u32) @ 0x0c47c {
        7:0 bpm_addr;
        22:22 mgcg_override_0 => bool;
        23:23 mgcg_override_1 => bool;
    }

    pub(crate) CP_MEM_SLP_CNTL(u32) @ 0x0c1e4 {
        0:0 cp_mem_ls_en => bool;
    }

    pub(crate) CB_CGTT_SCLK_CTRL(u32) @ 0x3c2a0 {}

    pub(crate) CGTS_SM_CTRL_REG(u32) @ 0x3c000 {
        19:17 sm_mode;
        20:20 sm_mode_enable => bool;
        22:22 ls_override => bool;
        23:23 on_monitor_add_en => bool;
        31:24 on_monitor_add;
    }
}

// A dispatch

register! {
    pub(crate) COMPUTE_DISPATCH_INITIATOR(u32) @ 0x0b800 {
        0:0 compute_shader_en => bool;
        2:2 force_start_at_000 => bool;
    }

    pub(crate) COMPUTE_NUM_THREAD_X(u32) @ 0x0b81c {}

    pub(crate) COMPUTE_PGM_LO(u32) @ 0x0b830 {}

    pub(crate) COMPUTE_PGM_RSRC1(u32) @ 0x0b848 {
        5:0 vgprs;
        9:6 sgprs;
        19:12 float_mode;
        21:21 dx10_clamp => bool;
    }

    pub(crate) COMPUTE_PGM_RSRC2(u32) @ 0x0b84c {
        5:1 user_sgpr;
        7:7 tgid_x_en => bool;
    }

    pub(crate) COMPUTE_RESOURCE_LIMITS(u32) @ 0x0b854 {}

    pub(crate) COMPUTE_STATIC_THREAD_MGMT_SE0(u32) @ 0x0b858 {}

    pub(crate) COMPUTE_TMPRING_SIZE(u32) @ 0x0b860 {}

    pub(crate) COMPUTE_STATIC_THREAD_MGMT_SE2(u32) @ 0x0b864 {}

    pub(crate) COMPUTE_USER_DATA_0(u32) @ 0x0b900 {}
}
