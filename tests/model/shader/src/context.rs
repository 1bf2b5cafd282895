// SPDX-License-Identifier: GPL-2.0 OR MIT
//! What holds for a whole dispatch, and what a caller chooses.

/// Settings of the address space and of the checks.
#[derive(Clone, Debug)]
pub struct Config {
    /// Seed of noise and of the order of waves.
    pub seed: u64,
    /// What was never written holds noise; else zeros.
    pub noise: bool,
    /// A register may not be used before S_WAITCNT has waited for its content.
    pub waits: bool,
    /// SH_MEM_CONFIG.ALIGNMENT_MODE is UNALIGNED.
    pub unaligned: bool,
    /// SH_MEM_BASES: the high 16 bits of addresses that are not memory; 0 for none.
    pub apertures: [u16; 2],
    /// Address of the table of border colors (TA_BC_BASE_ADDR, for dispatches TA_CS_BC_BASE_ADDR):
    /// 16 bytes a color.
    pub borders: u64,
    /// Compute units that there are, by shader engine (see [`crate::units`]).
    pub units: [u32; crate::units::ENGINES],
    /// Contents of GB_TILE_MODE0 to 31 and GB_MACROTILE_MODE0 to 15.
    pub tiling: crate::tiling::Modes,
}

impl Default for Config {
    fn default() -> Self {
        let tiling = crate::tiling::Modes::default();
        Config {
            seed: 0,
            noise: true,
            waits: true,
            unaligned: true,
            apertures: [0; 2],
            borders: 0,
            // Bonaire's.
            units: [0x7f, 0x7f, 0, 0],
            tiling,
        }
    }
}

/// What a memory instruction needs to know.
#[derive(Clone, Debug)]
pub struct Context {
    /// Compute unit that the group is on.
    pub unit: u8,
    /// See [`Config`].
    pub unaligned: bool,
    /// See [`Config`].
    pub apertures: [u16; 2],
    /// See [`Config`].
    pub borders: u64,
    /// See [`Config`].
    pub tiling: crate::tiling::Modes,
}
