// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Registers that user space may read (the C driver's `cik_allowed_read_registers`).
//!
//! Drivers in user space need some to learn how memory is tiled and which render backends work.
//! Monitoring tools need those that report what is busy. Registers that bring-up wrote once, or
//! that are banked by shader engine, are answered from the values that bring-up kept. So no bank
//! has to be switched while jobs run.
//!
//! User space names registers by their dword index.

use kernel::{
    io::Io,
    prelude::*, //
};

use crate::hw::{
    card::Card,
    GraphicsInfo,
    MemoryInfo,
    Raster, //
};

/// Status registers, which are read from the card.
const STATUS: [usize; 20] = [
    0x0393, // SRBM_STATUS2
    0x0394, // SRBM_STATUS
    0x2002, // GRBM_STATUS2
    0x2004, // GRBM_STATUS
    0x2005, // GRBM_STATUS_SE0
    0x2006, // GRBM_STATUS_SE1
    0x200e, // GRBM_STATUS_SE2
    0x200f, // GRBM_STATUS_SE3
    0x2084, // CP_CPC_STATUS
    0x2085, // CP_CPC_BUSY_STAT
    0x2086, // CP_CPC_STALLED_STAT1
    0x2087, // CP_CPF_STATUS
    0x2088, // CP_CPF_BUSY_STAT
    0x2089, // CP_CPF_STALLED_STAT1
    0x219c, // CP_STALLED_STAT3
    0x219d, // CP_STALLED_STAT1
    0x219e, // CP_STALLED_STAT2
    0x21a0, // CP_STAT
    0x340d, // SDMA0_STATUS_REG
    0x360d, // SDMA1_STATUS_REG
];

const MC_ARB_RAMCFG: usize = 0x09d8;
const CC_RB_BACKEND_DISABLE: usize = 0x263d;
const GB_ADDR_CONFIG: usize = 0x263e;
const GB_BACKEND_MAP: usize = 0x263f;
const GB_TILE_MODE0: usize = 0x2644;
const GB_MACROTILE_MODE0: usize = 0x2664;
const GC_USER_RB_BACKEND_DISABLE: usize = 0x26df;
const PA_SC_RASTER_CONFIG: usize = 0xa0d4;
const PA_SC_RASTER_CONFIG_1: usize = 0xa0d5;

/// Returns the value of a register that user space may read. `raster` is that of the shader engine
/// that user space asks for.
pub(super) fn read(
    card: &Card<'_>,
    graphics: &GraphicsInfo,
    memory: &MemoryInfo,
    raster: &Raster,
    register: usize,
) -> Option<u32> {
    kept(graphics, memory, raster, register).or_else(|| {
        let readable = STATUS.contains(&register) || register == GB_BACKEND_MAP;
        readable
            .then(|| card.regs().try_read32(register * size_of::<u32>()).ok())
            .flatten()
    })
}

/// Returns the value that bring-up kept of a register, if it kept one.
fn kept(
    graphics: &GraphicsInfo,
    memory: &MemoryInfo,
    raster: &Raster,
    register: usize,
) -> Option<u32> {
    match register {
        MC_ARB_RAMCFG => Some(memory.ram_config),
        GB_ADDR_CONFIG => Some(graphics.address_config),
        CC_RB_BACKEND_DISABLE => Some(raster.backend_disable),
        GC_USER_RB_BACKEND_DISABLE => Some(raster.user_backend_disable),
        PA_SC_RASTER_CONFIG => Some(raster.config),
        PA_SC_RASTER_CONFIG_1 => Some(raster.config_1),
        GB_MACROTILE_MODE0.. => {
            let modes = &graphics.tiling.macrotile_modes;
            modes.get(register - GB_MACROTILE_MODE0).copied()
        }
        GB_TILE_MODE0.. => {
            let modes = &graphics.tiling.tile_modes;
            modes.get(register - GB_TILE_MODE0).copied()
        }
        _ => None,
    }
}

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
#[kunit_tests(amdgpu_rs_readable)]
mod tests {
    use super::*;
    use crate::hw::{
        on_chip::OnChip,
        TilingTables, //
    };

    #[test]
    fn kept_registers() {
        let raster = Raster {
            backend_disable: 1,
            user_backend_disable: 2,
            config: 3,
            config_1: 4,
        };
        let mut tiling = TilingTables {
            tile_modes: [0; 32],
            macrotile_modes: [0; 16],
        };
        tiling.tile_modes[0] = 10;
        tiling.tile_modes[31] = 11;
        tiling.macrotile_modes[0] = 12;
        tiling.macrotile_modes[15] = 13;
        let graphics = GraphicsInfo {
            shader_engines: 2,
            arrays_per_engine: 1,
            max_units_per_array: 7,
            max_backends_per_engine: 2,
            texture_caches: 4,
            gs_threads: 32,
            contexts: 8,
            backends: 0xf,
            units: [0x7f, 0x7f, 0, 0],
            rasters: [raster; 4],
            address_config: 5,
            on_chip: OnChip::NONE,
            tiling,
        };
        let memory = MemoryInfo {
            kind: 5,
            bus_width: 128,
            ram_config: 6,
            row_kib: 4,
        };
        let cases = [
            (0x263d, Some(1)),
            (0x26df, Some(2)),
            (0xa0d4, Some(3)),
            (0xa0d5, Some(4)),
            (0x263e, Some(5)),
            (0x09d8, Some(6)),
            (0x2644, Some(10)),
            (0x2663, Some(11)),
            (0x2664, Some(12)),
            (0x2673, Some(13)),
            (0x2674, None),
            (0x2643, None),
            (0, None),
            (usize::MAX, None),
        ];
        for (register, value) in cases {
            assert_eq!(kept(&graphics, &memory, &raster, register), value);
        }
    }
}
