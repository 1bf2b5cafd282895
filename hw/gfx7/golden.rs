// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Golden registers: values that AMD found by measurement and asks every driver to set (the C
//! driver's `cik_init_golden_registers`).
//!
//! They set clock gating, arbitration and workarounds in most blocks of the chip. No document
//! explains them one by one. Each chip has tables in its file; those that all chips have are here.

use kernel::io::Io;

use crate::hw::card::Card;

/// A register (offset in dwords), the bits to change, and their value.
pub(super) struct Golden(pub(super) usize, pub(super) u32, pub(super) u32);

/// Programs golden registers, in the order of the tables.
pub(super) fn program(card: &Card<'_>, tables: &[&[Golden]]) {
    for entry in tables.iter().copied().flatten() {
        entry.program(card);
    }
}

impl Golden {
    fn program(&self, card: &Card<'_>) {
        let Self(register, mask, value) = *self;
        let offset = register * size_of::<u32>();
        // The tables' offsets lie within the register BAR; see the test below.
        let old = match mask {
            u32::MAX => 0,
            _ => card.regs().try_read32(offset).unwrap_or(0),
        };
        let _ = card.regs().try_write32((old & !mask) | value, offset);
    }
}

/// Clock gating of blocks and of the first seven compute units of an array, on all chips.
#[rustfmt::skip]
pub(super) static BLOCK_CLOCKS: &[Golden] = &[
    Golden(0xf0a0, !0, 0x0000_0100), // CGTT_GDS_CLK_CTRL
    Golden(0xf085, !0, 0x0600_0100), // CGTT_IA_CLK_CTRL
    Golden(0xf088, !0, 0x0000_0100), // CGTT_PA_CLK_CTRL
    Golden(0xf086, !0, 0x0600_0100), // CGTT_WD_CLK_CTRL
    Golden(0xf081, !0, 0x0000_0100), // CGTT_PC_CLK_CTRL
    Golden(0xf0b8, !0, 0x0000_0100), // CGTT_RLC_CLK_CTRL
    Golden(0xf089, !0, 0x0000_0100), // CGTT_SC_CLK_CTRL
    Golden(0xf080, !0, 0x0000_0100), // CGTT_SPI_CLK_CTRL
    Golden(0xf08c, !0, 0x0000_0100), // CGTT_SQ_CLK_CTRL
    Golden(0xf08d, !0, 0x0000_0100), // CGTT_SQG_CLK_CTRL
    Golden(0xf094, !0, 0x0000_0100), // CGTT_SX_CLK_CTRL0
    Golden(0xf095, !0, 0x0000_0100), // CGTT_SX_CLK_CTRL1
    Golden(0xf096, !0, 0x0000_0100), // CGTT_SX_CLK_CTRL2
    Golden(0xf097, !0, 0x0000_0100), // CGTT_SX_CLK_CTRL3
    Golden(0xf098, !0, 0x0000_0100), // CGTT_SX_CLK_CTRL4
    Golden(0xf09f, !0, 0x0000_0100), // CGTT_TCI_CLK_CTRL
    Golden(0xf09e, !0, 0x0000_0100), // CGTT_TCP_CLK_CTRL
    Golden(0xf084, !0, 0x0600_0100), // CGTT_VGT_CLK_CTRL
    Golden(0xf0a4, !0, 0x0000_0100), // DB_CGTT_CLK_CTRL_0
    Golden(0xf09d, !0, 0x0000_0100), // TA_CGTT_CTRL
    Golden(0xf0ad, !0, 0x0000_0100), // TCA_CGTT_SCLK_CTRL
    Golden(0xf0ac, !0, 0x0000_0100), // TCC_CGTT_SCLK_CTRL
    Golden(0xf09c, !0, 0x0000_0100), // TD_CGTT_CTRL
    Golden(0xc200, !0, 0xe000_0000), // GRBM_GFX_INDEX
    Golden(0xf008, !0, 0x0001_0000), // CGTS_CU0_SP0_CTRL_REG
    Golden(0xf009, !0, 0x0003_0002), // CGTS_CU0_LDS_SQ_CTRL_REG
    Golden(0xf00a, !0, 0x0004_0007), // CGTS_CU0_TA_SQC_CTRL_REG
    Golden(0xf00b, !0, 0x0006_0005), // CGTS_CU0_SP1_CTRL_REG
    Golden(0xf00c, !0, 0x0009_0008), // CGTS_CU0_TD_TCP_CTRL_REG
    Golden(0xf00d, !0, 0x0001_0000), // CGTS_CU1_SP0_CTRL_REG
    Golden(0xf00e, !0, 0x0003_0002), // CGTS_CU1_LDS_SQ_CTRL_REG
    Golden(0xf00f, !0, 0x0004_0007), // CGTS_CU1_TA_CTRL_REG
    Golden(0xf010, !0, 0x0006_0005), // CGTS_CU1_SP1_CTRL_REG
    Golden(0xf011, !0, 0x0009_0008), // CGTS_CU1_TD_TCP_CTRL_REG
    Golden(0xf012, !0, 0x0001_0000), // CGTS_CU2_SP0_CTRL_REG
    Golden(0xf013, !0, 0x0003_0002), // CGTS_CU2_LDS_SQ_CTRL_REG
    Golden(0xf014, !0, 0x0004_0007), // CGTS_CU2_TA_CTRL_REG
    Golden(0xf015, !0, 0x0006_0005), // CGTS_CU2_SP1_CTRL_REG
    Golden(0xf016, !0, 0x0009_0008), // CGTS_CU2_TD_TCP_CTRL_REG
    Golden(0xf017, !0, 0x0001_0000), // CGTS_CU3_SP0_CTRL_REG
    Golden(0xf018, !0, 0x0003_0002), // CGTS_CU3_LDS_SQ_CTRL_REG
    Golden(0xf019, !0, 0x0004_0007), // CGTS_CU3_TA_CTRL_REG
    Golden(0xf01a, !0, 0x0006_0005), // CGTS_CU3_SP1_CTRL_REG
    Golden(0xf01b, !0, 0x0009_0008), // CGTS_CU3_TD_TCP_CTRL_REG
    Golden(0xf01c, !0, 0x0001_0000), // CGTS_CU4_SP0_CTRL_REG
    Golden(0xf01d, !0, 0x0003_0002), // CGTS_CU4_LDS_SQ_CTRL_REG
    Golden(0xf01e, !0, 0x0004_0007), // CGTS_CU4_TA_SQC_CTRL_REG
    Golden(0xf01f, !0, 0x0006_0005), // CGTS_CU4_SP1_CTRL_REG
    Golden(0xf020, !0, 0x0009_0008), // CGTS_CU4_TD_TCP_CTRL_REG
    Golden(0xf021, !0, 0x0001_0000), // CGTS_CU5_SP0_CTRL_REG
    Golden(0xf022, !0, 0x0003_0002), // CGTS_CU5_LDS_SQ_CTRL_REG
    Golden(0xf023, !0, 0x0004_0007), // CGTS_CU5_TA_CTRL_REG
    Golden(0xf024, !0, 0x0006_0005), // CGTS_CU5_SP1_CTRL_REG
    Golden(0xf025, !0, 0x0009_0008), // CGTS_CU5_TD_TCP_CTRL_REG
    Golden(0xf026, !0, 0x0001_0000), // CGTS_CU6_SP0_CTRL_REG
    Golden(0xf027, !0, 0x0003_0002), // CGTS_CU6_LDS_SQ_CTRL_REG
    Golden(0xf028, !0, 0x0004_0007), // CGTS_CU6_TA_CTRL_REG
    Golden(0xf029, !0, 0x0006_0005), // CGTS_CU6_SP1_CTRL_REG
    Golden(0xf02a, !0, 0x0009_0008), // CGTS_CU6_TD_TCP_CTRL_REG
];

/// Clock gating of the bus, the memory's side and the DMA engines, on all chips.
#[rustfmt::skip]
pub(super) static BUS_CLOCKS: &[Golden] = &[
    Golden(0x21c2, !0, 0x0090_0100), // CP_RB_WPTR_POLL_CNTL
    Golden(0x3109, !0, 0x0020_003f), // RLC_CGCG_CGLS_CTRL
    Golden(0x000e, !0, 0x0140_001c), // PCIE_INDEX
    Golden(0x000f, 0x000f_0000, 0x000f_0000), // PCIE_DATA
    Golden(0x0088, !0, 0xc060_000c), // SMC_IND_INDEX_4
    Golden(0x0089, 0xc000_0fff, 0x0000_0100), // SMC_IND_DATA_4
    Golden(0x03e4, !0, 0x0000_0100), // XDMA_CLOCK_GATING_CNTL
    Golden(0x03e6, 0x0000_0101, 0x0000_0000), // XDMA_MEM_POWER_CNTL
    Golden(0x082a, !0, 0x0000_0104), // MC_MEM_POWER_LS
    Golden(0x1579, 0xff00_0fff, 0x0000_0100), // CGTT_DRM_CLK_CTRL0
    Golden(0x0c33, 0xc000_0fff, 0x0000_0104), // HDP_XDP_CGTT_BLK_CTRL
    Golden(0x3079, 0x0000_0001, 0x0000_0001), // CP_MEM_SLP_CNTL
    Golden(0x3403, 0xff00_0ff0, 0x0000_0100), // SDMA0_CLK_CTRL
    Golden(0x3603, 0xff00_0ff0, 0x0000_0100), // SDMA1_CLK_CTRL
];

/// Broadcast of register writes to all instances, which stays in effect.
#[rustfmt::skip]
pub(super) static BROADCAST: &[Golden] = &[
    Golden(0xc200, 0xe0ff_ffff, 0xe000_0000), // GRBM_GFX_INDEX
];

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
#[kernel::macros::kunit_tests(amdgpu_rs_golden)]
mod tests {
    use super::{
        super::CHIPS,
        *, //
    };
    use crate::hw::{
        card::REGISTERS_SIZE,
        fake::write, //
    };
    use kernel::prelude::*;

    #[test]
    fn order_and_bits() -> Result {
        let card = Card::fake(&[(0x40, !0), (0x44, 0xabcd)])?;
        let tables: [&[Golden]; 2] = [
            &[Golden(0x10, !0, 0x5), Golden(0x11, 0xff, 0x12)],
            &[Golden(0x10, 0xf0, 0x20)],
        ];
        program(&card, &tables);
        assert!(card.saw(&[write(0x40, 0x5), write(0x44, 0xab12), write(0x40, 0x25)]));
        Ok(())
    }

    #[test]
    fn offsets_and_masks() {
        for parts in CHIPS {
            for Golden(register, mask, value) in parts.golden.iter().copied().flatten() {
                assert!(register * size_of::<u32>() < REGISTERS_SIZE);
                assert!(*mask != 0 || *value != 0);
            }
        }
    }
}
