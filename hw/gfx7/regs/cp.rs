// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Command processors: graphics (PFP, ME, CE) and compute (MEC) (GFX 7.2).
//!
//! The C driver has them in gfx_7_2_d.h.

use kernel::io::register;

// Whether they run

register! {
    pub(crate) CP_ME_CNTL(u32) @ 0x086d8 {
        24:24 ce_halt => bool;
        26:26 pfp_halt => bool;
        28:28 me_halt => bool;
    }

    pub(crate) CP_MEC_CNTL(u32) @ 0x08234 {
        30:30 mec_me1_halt => bool;
        28:28 mec_me2_halt => bool;
    }

    pub(crate) CP_STALLED_STAT3(u32) @ 0x08670 {}

    pub(crate) CP_STALLED_STAT1(u32) @ 0x08674 {}

    pub(crate) CP_STALLED_STAT2(u32) @ 0x08678 {}

    pub(crate) CP_BUSY_STAT(u32) @ 0x0867c {}

    pub(crate) CP_STAT(u32) @ 0x08680 {}

    pub(crate) GRBM_STATUS(u32) @ 0x08010 {
        31:31 gui_active => bool;
    }

    pub(crate) GRBM_STATUS2(u32) @ 0x08008 {}

    pub(crate) GRBM_STATUS_SE0(u32) @ 0x08014 {}

    pub(crate) GRBM_STATUS_SE1(u32) @ 0x08018 {}

    pub(crate) CP_CPC_STATUS(u32) @ 0x08210 {}

    pub(crate) CP_CPC_BUSY_STAT(u32) @ 0x08214 {}

    pub(crate) CP_CPC_STALLED_STAT1(u32) @ 0x08218 {}

    pub(crate) CP_CPF_STATUS(u32) @ 0x0821c {}

    pub(crate) CP_CPF_BUSY_STAT(u32) @ 0x08220 {}

    pub(crate) CP_CPF_STALLED_STAT1(u32) @ 0x08224 {}
}

// Microcode

register! {
    pub(crate) CP_PFP_UCODE_ADDR(u32) @ 0x0c150 {}

    pub(crate) CP_PFP_UCODE_DATA(u32) @ 0x0c154 {}

    pub(crate) CP_CE_UCODE_ADDR(u32) @ 0x0c168 {}

    pub(crate) CP_CE_UCODE_DATA(u32) @ 0x0c16c {}

    pub(crate) CP_ME_RAM_WADDR(u32) @ 0x0c15c {}

    pub(crate) CP_ME_RAM_DATA(u32) @ 0x0c160 {}

    pub(crate) CP_MEC_ME1_UCODE_ADDR(u32) @ 0x0c170 {}

    pub(crate) CP_MEC_ME1_UCODE_DATA(u32) @ 0x0c174 {}
}

// The graphics ring

register! {
    pub(crate) CP_SEM_WAIT_TIMER(u32) @ 0x301bc {}

    pub(crate) CP_SEM_INCOMPLETE_TIMER_CNTL(u32) @ 0x301c8 {}

    pub(crate) CP_RB_WPTR_DELAY(u32) @ 0x08704 {}

    pub(crate) CP_RB_VMID(u32) @ 0x0c144 {}

    pub(crate) CP_MAX_CONTEXT(u32) @ 0x0c2b8 {}

    pub(crate) CP_ENDIAN_SWAP(u32) @ 0x0c140 {}

    pub(crate) CP_DEVICE_ID(u32) @ 0x0c12c {}

    /// Sizes are logarithms, in units of 8 bytes.
    pub(crate) CP_RB0_CNTL(u32) @ 0x0c104 {
        5:0 rb_bufsz;
        13:8 rb_blksz;
        31:31 rb_rptr_wr_ena => bool;
    }

    /// Pointers are in dwords.
    pub(crate) CP_RB0_RPTR(u32) @ 0x08700 {}

    pub(crate) CP_RB0_WPTR(u32) @ 0x0c114 {}

    /// Address of the ring in units of 256 bytes.
    pub(crate) CP_RB0_BASE(u32) @ 0x0c100 {}

    pub(crate) CP_RB0_BASE_HI(u32) @ 0x0c2c4 {}

    pub(crate) CP_RB0_RPTR_ADDR(u32) @ 0x0c10c {}

    pub(crate) CP_RB0_RPTR_ADDR_HI(u32) @ 0x0c110 {}
}

// Command buffers that the graphics ring has called, and those that these have

register! {
    pub(crate) CP_IB1_OFFSET(u32) @ 0x30248 {}

    pub(crate) CP_IB1_BASE_LO(u32) @ 0x30330 {}

    pub(crate) CP_IB1_BASE_HI(u32) @ 0x30334 {}

    pub(crate) CP_IB1_BUFSZ(u32) @ 0x30338 {}

    pub(crate) CP_IB2_BASE_LO(u32) @ 0x3033c {}

    pub(crate) CP_IB2_BASE_HI(u32) @ 0x30340 {}

    pub(crate) CP_IB2_BUFSZ(u32) @ 0x30344 {}
}

// Scratch registers

register! {
    pub(crate) SCRATCH_REG0(u32) @ 0x30100 {}

    pub(crate) SCRATCH_UMSK(u32) @ 0x30140 {}

    pub(crate) SCRATCH_ADDR(u32) @ 0x30144 {}
}

// Interrupts

register! {
    pub(crate) CP_INT_CNTL_RING0(u32) @ 0x0c1a8 {
        19:19 cntx_busy_int_enable => bool;
        20:20 cntx_empty_int_enable => bool;
        23:23 priv_reg_int_enable => bool;
        22:22 priv_instr_int_enable => bool;
        26:26 time_stamp_int_enable => bool;
    }

    pub(crate) CP_ME1_PIPE0_INT_CNTL(u32) @ 0x0c214 {
        26:26 time_stamp_int_enable => bool;
    }
}

// What all compute queues share

register! {
    pub(crate) CP_CPF_DEBUG(u32) @ 0x0c200 {}

    pub(crate) CP_PQ_WPTR_POLL_CNTL(u32) @ 0x0c20c {
        31:31 en => bool;
    }

    pub(crate) CP_HPD_EOP_BASE_ADDR(u32) @ 0x0c904 {}

    pub(crate) CP_HPD_EOP_BASE_ADDR_HI(u32) @ 0x0c908 {}

    pub(crate) CP_HPD_EOP_VMID(u32) @ 0x0c90c {}

    pub(crate) CP_HPD_EOP_CONTROL(u32) @ 0x0c910 {
        5:0 eop_size;
    }
}

// One compute queue (SRBM_GFX_CNTL chooses)

register! {
    pub(crate) CP_MQD_BASE_ADDR(u32) @ 0x0c914 {}

    pub(crate) CP_MQD_BASE_ADDR_HI(u32) @ 0x0c918 {}

    pub(crate) CP_MQD_CONTROL(u32) @ 0x0c99c {
        3:0 vmid;
    }

    pub(crate) CP_HQD_ACTIVE(u32) @ 0x0c91c {
        0:0 active => bool;
    }

    pub(crate) CP_HQD_VMID(u32) @ 0x0c920 {}

    pub(crate) CP_HQD_IQ_TIMER(u32) @ 0x0c96c {}

    pub(crate) CP_HQD_DMA_OFFLOAD(u32) @ 0x0c978 {}

    pub(crate) CP_HQD_HQ_SCHEDULER0(u32) @ 0x0c994 {}

    pub(crate) CP_HQD_HQ_SCHEDULER1(u32) @ 0x0c998 {}

    pub(crate) CP_HQD_PERSISTENT_STATE(u32) @ 0x0c924 {}

    pub(crate) CP_HQD_PIPE_PRIORITY(u32) @ 0x0c928 {}

    pub(crate) CP_HQD_QUEUE_PRIORITY(u32) @ 0x0c92c {}

    pub(crate) CP_HQD_QUANTUM(u32) @ 0x0c930 {
        0:0 quantum_en => bool;
        4:4 quantum_scale => bool;
        13:8 quantum_duration;
    }

    /// Address of the ring in units of 256 bytes.
    pub(crate) CP_HQD_PQ_BASE(u32) @ 0x0c934 {}

    pub(crate) CP_HQD_PQ_BASE_HI(u32) @ 0x0c938 {}

    pub(crate) CP_HQD_PQ_RPTR(u32) @ 0x0c93c {}

    pub(crate) CP_HQD_PQ_RPTR_REPORT_ADDR(u32) @ 0x0c940 {}

    pub(crate) CP_HQD_PQ_RPTR_REPORT_ADDR_HI(u32) @ 0x0c944 {}

    pub(crate) CP_HQD_PQ_WPTR_POLL_ADDR(u32) @ 0x0c948 {}

    pub(crate) CP_HQD_PQ_WPTR_POLL_ADDR_HI(u32) @ 0x0c94c {}

    pub(crate) CP_HQD_PQ_DOORBELL_CONTROL(u32) @ 0x0c950 {
        22:2 doorbell_offset;
        28:28 doorbell_source => bool;
        30:30 doorbell_en => bool;
        31:31 doorbell_hit => bool;
    }

    pub(crate) CP_HQD_PQ_WPTR(u32) @ 0x0c954 {}

    pub(crate) CP_HQD_PQ_CONTROL(u32) @ 0x0c958 {
        5:0 queue_size;
        13:8 rptr_block_size;
        26:26 pq_volatile => bool;
        28:28 unord_dispatch => bool;
        29:29 roq_pq_ib_flip => bool;
        30:30 priv_state => bool;
        31:31 kmd_queue => bool;
    }

    pub(crate) CP_HQD_IB_BASE_ADDR(u32) @ 0x0c95c {}

    pub(crate) CP_HQD_IB_BASE_ADDR_HI(u32) @ 0x0c960 {}

    pub(crate) CP_HQD_IB_RPTR(u32) @ 0x0c964 {}

    pub(crate) CP_HQD_IB_CONTROL(u32) @ 0x0c968 {
        19:0 ib_size;
        31:31 processing_ib => bool;
    }

    pub(crate) CP_HQD_IQ_RPTR(u32) @ 0x0c970 {}

    pub(crate) CP_HQD_SEMA_CMD(u32) @ 0x0c97c {}

    pub(crate) CP_HQD_MSG_TYPE(u32) @ 0x0c980 {}

    pub(crate) CP_HQD_ATOMIC0_PREOP_LO(u32) @ 0x0c984 {}

    pub(crate) CP_HQD_ATOMIC0_PREOP_HI(u32) @ 0x0c988 {}

    pub(crate) CP_HQD_ATOMIC1_PREOP_LO(u32) @ 0x0c98c {}

    pub(crate) CP_HQD_ATOMIC1_PREOP_HI(u32) @ 0x0c990 {}

    pub(crate) CP_HQD_DEQUEUE_REQUEST(u32) @ 0x0c974 {
        1:0 dequeue_req;
    }
}
