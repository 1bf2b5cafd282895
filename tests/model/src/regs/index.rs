// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Dword indices of the registers that do more than store. A test holds each against the table of
//! names, which has every register.

macro_rules! registers {
    ($($(#[$doc:meta])* $name:ident = $index:literal;)*) => {
        $(
            $(#[$doc])*
            #[allow(missing_docs, reason = "the names of the register headers")]
            pub const $name: u32 = $index;
        )*

        #[cfg(test)]
        const ALL: &[(&str, u32)] = &[$((stringify!($name), $index)),*];
    };
}

/// From a register of SDMA engine 0 to the same of engine 1.
pub const SDMA_STRIDE: u32 = 0x200;

/// SMC registers of the engine's clock generator (SPLL).
pub const CG_SPLL_FUNC_CNTL: u32 = 0xc050_0140;
#[expect(missing_docs, reason = "the names of the register headers")]
pub const CG_SPLL_FUNC_CNTL_3: u32 = 0xc050_0148;
#[expect(missing_docs, reason = "the names of the register headers")]
pub const CG_SPLL_STATUS: u32 = 0xc050_015c;
/// CG_SPLL_FUNC_CNTL: reset, bypass.
pub const SPLL_OFF: u32 = 1 | 1 << 3;
/// CG_SPLL_FUNC_CNTL: powered, its divider on.
pub const SPLL_ON: u32 = 1 << 1 | 1 << 2;
/// CG_SPLL_STATUS: the clock has changed.
pub const SPLL_LOCKED: u32 = 1 << 1;
/// MPLL_CNTL_MODE: the memory runs by its clock generator.
pub const MCLK_SEL: u32 = 1 << 11;

registers! {
    // Bus interface and memory access.
    MM_INDEX = 0x0000;
    MM_DATA = 0x0001;
    MM_INDEX_HI = 0x0006;
    PCIE_INDEX = 0x000e;
    PCIE_DATA = 0x000f;
    SMC_IND_INDEX_0 = 0x0080;
    SMC_IND_DATA_0 = 0x0081;
    SMC_IND_ACCESS_CNTL = 0x0090;
    BIOS_SCRATCH_7 = 0x05d0;
    CONFIG_MEMSIZE = 0x150a;
    CC_DRM_ID_STRAPS = 0x1559;
    BIF_FB_EN = 0x1524;
    HDP_MEM_COHERENCY_FLUSH_CNTL = 0x1520;
    GPU_HDP_FLUSH_REQ = 0x1537;
    GPU_HDP_FLUSH_DONE = 0x1538;
    HDP_DEBUG0 = 0x0bcc;
    INTERRUPT_CNTL = 0x151a;
    INTERRUPT_CNTL2 = 0x151b;
    // System register bus.
    SRBM_GFX_CNTL = 0x0391;
    SRBM_STATUS = 0x0394;
    SRBM_STATUS2 = 0x0393;
    SRBM_SOFT_RESET = 0x0398;
    // Memory controller.
    VM_L2_CNTL = 0x0500;
    VM_L2_CNTL2 = 0x0501;
    VM_CONTEXT0_CNTL = 0x0504;
    VM_CONTEXT1_CNTL = 0x0505;
    VM_CONTEXT0_CNTL2 = 0x050c;
    VM_CONTEXT1_CNTL2 = 0x050d;
    VM_CONTEXT0_PAGE_TABLE_BASE_ADDR = 0x054f;
    VM_CONTEXT7_PAGE_TABLE_BASE_ADDR = 0x0556;
    VM_CONTEXT8_PAGE_TABLE_BASE_ADDR = 0x050e;
    VM_CONTEXT15_PAGE_TABLE_BASE_ADDR = 0x0515;
    VM_CONTEXT0_PAGE_TABLE_START_ADDR = 0x0557;
    VM_CONTEXT1_PAGE_TABLE_START_ADDR = 0x0558;
    VM_CONTEXT0_PAGE_TABLE_END_ADDR = 0x055f;
    VM_CONTEXT1_PAGE_TABLE_END_ADDR = 0x0560;
    VM_CONTEXT0_PROTECTION_FAULT_DEFAULT_ADDR = 0x0546;
    VM_CONTEXT1_PROTECTION_FAULT_DEFAULT_ADDR = 0x0547;
    VM_CONTEXT0_PROTECTION_FAULT_STATUS = 0x0536;
    VM_CONTEXT1_PROTECTION_FAULT_STATUS = 0x0537;
    VM_CONTEXT0_PROTECTION_FAULT_ADDR = 0x053e;
    VM_CONTEXT1_PROTECTION_FAULT_ADDR = 0x053f;
    VM_CONTEXT0_PROTECTION_FAULT_MCCLIENT = 0x0538;
    VM_CONTEXT1_PROTECTION_FAULT_MCCLIENT = 0x0539;
    VM_PRT_APERTURE0_LOW_ADDR = 0x052c;
    VM_PRT_APERTURE0_HIGH_ADDR = 0x0530;
    VM_PRT_CNTL = 0x0534;
    VM_INVALIDATE_REQUEST = 0x051e;
    VM_INVALIDATE_RESPONSE = 0x051f;
    MC_VM_FB_LOCATION = 0x0809;
    MC_VM_SYSTEM_APERTURE_LOW_ADDR = 0x080d;
    MC_VM_SYSTEM_APERTURE_HIGH_ADDR = 0x080e;
    MC_VM_SYSTEM_APERTURE_DEFAULT_ADDR = 0x080f;
    MC_VM_MX_L1_TLB_CNTL = 0x0819;
    MC_ARB_RAMCFG = 0x09d8;
    MC_SHARED_CHMAP = 0x0801;
    MC_SEQ_MISC0 = 0x0a80;
    MC_SEQ_SUP_CNTL = 0x0a32;
    MC_SEQ_TRAIN_WAKEUP_CNTL = 0x0a3a;
    MPLL_CNTL_MODE = 0x0aec;
    MC_SEQ_IO_DEBUG_INDEX = 0x0a91;
    MC_SEQ_IO_DEBUG_DATA = 0x0a92;
    // Display.
    DCP0_GRPH_PRIMARY_SURFACE_ADDRESS = 0x1a04;
    DCP0_GRPH_PITCH = 0x1a06;
    DCP0_GRPH_PRIMARY_SURFACE_ADDRESS_HIGH = 0x1a07;
    DCP0_GRPH_Y_END = 0x1a0e;
    VIEWPORT_SIZE = 0x1b5d;
    CRTC0_CRTC_CONTROL = 0x1b9c;
    // Interrupt handler.
    IH_RB_CNTL = 0x0f80;
    IH_RB_BASE = 0x0f81;
    IH_RB_RPTR = 0x0f82;
    IH_RB_WPTR = 0x0f83;
    IH_RB_WPTR_ADDR_HI = 0x0f84;
    IH_RB_WPTR_ADDR_LO = 0x0f85;
    IH_CNTL = 0x0f86;
    IH_VMID_0_LUT = 0x0f50;
    // Graphics: global.
    GRBM_GFX_INDEX = 0xc200;
    GRBM_STATUS = 0x2004;
    GRBM_SOFT_RESET = 0x2008;
    RLC_GPM_STAT = 0x3100;
    RLC_CNTL = 0x30c0;
    RLC_GPR_REG2 = 0x313a;
    RLC_CAPTURE_GPU_CLOCK_COUNT = 0x30e6;
    RLC_GPU_CLOCK_COUNT_LSB = 0x30e4;
    RLC_GPU_CLOCK_COUNT_MSB = 0x30e5;
    RLC_SERDES_CU_MASTER_BUSY = 0x3121;
    RLC_SERDES_NONCU_MASTER_BUSY = 0x3122;
    RLC_SERDES_WR_CTRL = 0x311f;
    MC_SHARED_BLACKOUT_CNTL = 0x082b;
    GDS_VMID0_BASE = 0x3300;
    GDS_VMID0_SIZE = 0x3301;
    GDS_GWS_VMID0 = 0x3320;
    GDS_OA_VMID15 = 0x333f;
    GDS_COMPUTE_MAX_WAVE_ID = 0x3348;
    CC_RB_BACKEND_DISABLE = 0x263d;
    GC_USER_RB_BACKEND_DISABLE = 0x26df;
    CC_GC_SHADER_ARRAY_CONFIG = 0x226f;
    GC_USER_SHADER_ARRAY_CONFIG = 0x2270;
    PA_SC_RASTER_CONFIG = 0xa0d4;
    PA_SC_RASTER_CONFIG_1 = 0xa0d5;
    SH_MEM_BASES = 0x230a;
    SH_MEM_APE1_BASE = 0x230b;
    SH_MEM_APE1_LIMIT = 0x230c;
    SH_MEM_CONFIG = 0x230d;
    DIDT_IND_INDEX = 0x3280;
    DIDT_IND_DATA = 0x3281;
    SQ_IND_INDEX = 0x2378;
    SQ_IND_DATA = 0x2379;
    SQ_CMD = 0x237b;
    CP_HQD_IB_CONTROL = 0x325a;
    SCRATCH_REG0 = 0xc040;
    GB_ADDR_CONFIG = 0x263e;
    VGT_PRIMITIVE_TYPE = 0xc242;
    // Border colors, of draws and of dispatches; the high part follows each.
    TA_BC_BASE_ADDR = 0xa020;
    TA_CS_BC_BASE_ADDR = 0xc380;
    // Graphics command processor.
    CP_ME_CNTL = 0x21b6;
    CP_RB0_BASE = 0x3040;
    CP_RB0_BASE_HI = 0x30b1;
    CP_RB0_CNTL = 0x3041;
    CP_RB0_RPTR = 0x21c0;
    CP_RB0_RPTR_ADDR = 0x3043;
    CP_RB0_RPTR_ADDR_HI = 0x3044;
    CP_RB0_WPTR = 0x3045;
    CP_RB_VMID = 0x3051;
    CP_INT_CNTL_RING0 = 0x306a;
    CP_ME1_PIPE0_INT_CNTL = 0x3085;
    CP_ME2_PIPE0_INT_CNTL = 0x3089;
    CP_PFP_UCODE_ADDR = 0x3054;
    CP_PFP_UCODE_DATA = 0x3055;
    CP_CE_UCODE_ADDR = 0x305a;
    CP_CE_UCODE_DATA = 0x305b;
    CP_ME_RAM_WADDR = 0x3057;
    CP_ME_RAM_DATA = 0x3058;
    // Compute queues.
    CP_MEC_CNTL = 0x208d;
    CP_MEC_ME1_UCODE_ADDR = 0x305c;
    CP_MEC_ME1_UCODE_DATA = 0x305d;
    CP_HPD_EOP_BASE_ADDR = 0x3241;
    CP_HPD_EOP_BASE_ADDR_HI = 0x3242;
    CP_HPD_EOP_VMID = 0x3243;
    CP_HPD_EOP_CONTROL = 0x3244;
    CP_MQD_BASE_ADDR = 0x3245;
    CP_MQD_BASE_ADDR_HI = 0x3246;
    CP_MQD_CONTROL = 0x3267;
    CP_HQD_ACTIVE = 0x3247;
    CP_HQD_VMID = 0x3248;
    CP_HQD_PERSISTENT_STATE = 0x3249;
    CP_HQD_PQ_BASE = 0x324d;
    CP_HQD_PQ_BASE_HI = 0x324e;
    CP_HQD_PQ_RPTR = 0x324f;
    CP_HQD_PQ_RPTR_REPORT_ADDR = 0x3250;
    CP_HQD_PQ_RPTR_REPORT_ADDR_HI = 0x3251;
    CP_HQD_PQ_DOORBELL_CONTROL = 0x3254;
    CP_HQD_PQ_WPTR = 0x3255;
    CP_HQD_PQ_CONTROL = 0x3256;
    CP_HQD_DEQUEUE_REQUEST = 0x325d;
    // Dispatches of the engine that sets them.
    COMPUTE_DISPATCH_INITIATOR = 0x2e00;
    COMPUTE_STATIC_THREAD_MGMT_SE0 = 0x2e16;
    COMPUTE_STATIC_THREAD_MGMT_SE1 = 0x2e17;
    COMPUTE_STATIC_THREAD_MGMT_SE2 = 0x2e19;
    COMPUTE_STATIC_THREAD_MGMT_SE3 = 0x2e1a;
    COMPUTE_MISC_RESERVED = 0x2e1f;
    COMPUTE_USER_DATA_0 = 0x2e40;
    // System DMA engine 0; engine 1 lies `SDMA_STRIDE` above.
    SDMA0_UCODE_ADDR = 0x3400;
    SDMA0_UCODE_DATA = 0x3401;
    SDMA0_CNTL = 0x3404;
    SDMA0_STATUS_REG = 0x340d;
    SDMA0_F32_CNTL = 0x3412;
    SDMA0_GFX_RB_CNTL = 0x3480;
    SDMA0_GFX_RB_BASE = 0x3481;
    SDMA0_GFX_RB_BASE_HI = 0x3482;
    SDMA0_GFX_RB_RPTR = 0x3483;
    SDMA0_GFX_RB_WPTR = 0x3484;
    SDMA0_GFX_RB_RPTR_ADDR_HI = 0x3488;
    SDMA0_GFX_RB_RPTR_ADDR_LO = 0x3489;
    SDMA0_GFX_IB_CNTL = 0x348a;
    SDMA0_GFX_VIRTUAL_ADDR = 0x34a7;
    SDMA0_GFX_APE1_CNTL = 0x34a8;
    SDMA1_GFX_VIRTUAL_ADDR = 0x36a7;
    SDMA1_GFX_APE1_CNTL = 0x36a8;
}

#[cfg(test)]
mod tests {
    use super::ALL;

    #[test]
    fn indices_agree_with_the_table_of_names() {
        for (name, index) in ALL {
            assert_eq!(crate::regs::index_of(name), Some(*index), "{name}");
        }
    }
}
