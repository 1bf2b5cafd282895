// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Facts of the graphics block of a card, most of which user space gets (the C driver's
//! `amdgpu_gfx_config`).

use super::on_chip::OnChip;

/// Number of shader engines of the largest chip.
pub(crate) const MAX_SHADER_ENGINES: usize = 4;

/// Shaders and render backends of a card.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GraphicsInfo {
    pub(crate) shader_engines: u32,
    pub(crate) arrays_per_engine: u32,
    /// Maximum number of compute units of an array.
    pub(crate) max_units_per_array: u32,
    /// Maximum number of render backends of an engine.
    pub(crate) max_backends_per_engine: u32,
    pub(crate) texture_caches: u32,
    pub(crate) gs_threads: u32,
    pub(crate) contexts: u32,
    /// Mask of the working render backends.
    pub(crate) backends: u32,
    /// Mask of the working compute units, for each engine's only array.
    pub(crate) units: [u32; MAX_SHADER_ENGINES],
    /// Render backends of each engine, as the registers describe them.
    pub(crate) rasters: [Raster; MAX_SHADER_ENGINES],
    pub(crate) address_config: u32,
    /// On-chip memories.
    pub(crate) on_chip: OnChip,
    pub(crate) tiling: TilingTables,
}

/// Registers about one shader engine's render backends, passed to user space unchanged.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Raster {
    pub(crate) backend_disable: u32,
    pub(crate) user_backend_disable: u32,
    pub(crate) config: u32,
    pub(crate) config_1: u32,
}

/// Meaning of the tile mode numbers on this card.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TilingTables {
    pub(crate) tile_modes: [u32; 32],
    pub(crate) macrotile_modes: [u32; 16],
}

/// A run of the test shader, of which each thread writes a dword: its number squared, mixed with a
/// key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ShaderTest {
    /// Address of the shader, a multiple of 256.
    pub(crate) code: u64,
    /// Address of the dwords, one for each thread.
    pub(crate) result: u64,
    pub(crate) key: u32,
    /// Masks of the compute units that may run it, for each shader engine. Not all are empty.
    pub(crate) units: [u32; MAX_SHADER_ENGINES],
}

impl ShaderTest {
    /// Number of threads.
    pub(crate) const THREADS: u32 = 1024;

    /// Returns what a thread writes.
    pub(crate) const fn expected(&self, thread: u32) -> u32 {
        (thread * thread) ^ self.key
    }
}
