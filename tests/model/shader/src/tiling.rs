// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Tiled surfaces.

/// Contents of GB_TILE_MODE0 to 31 and GB_MACROTILE_MODE0 to 15, and GB_ADDR_CONFIG.ROW_SIZE.
#[derive(Clone, Debug, Default)]
pub struct Modes {
    /// GB_TILE_MODE.
    pub tile: [u32; 32],
    /// GB_MACROTILE_MODE.
    pub macrotile: [u32; 16],
    /// DRAM row size in bytes.
    pub row: u64,
}
