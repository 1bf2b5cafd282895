// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Shaders, render backends and the blocks around them (the C driver's `gfx_v7_0_constants_init`).
//!
//! The chip has shader engines with one shader array each. An array has compute units, and an
//! engine has render backends. Boards are sold with some of these disabled, as registers of each
//! engine report. `GRBM_GFX_INDEX` selects one engine, or all of them, for banked registers.

use kernel::{
    io::{
        register::Array,
        Io, //
    },
    num::{
        casts::u32_as_usize,
        Bounded, //
    },
    prelude::*,
    time::{
        delay::fsleep,
        Delta, //
    },
};

use super::{
    dispatch,
    on_chip,
    raster,
    readable,
    regs::*,
    tiling,
    Parts, //
};
use crate::hw::{
    card::Card,
    command::{
        Sink,
        Vmid, //
    },
    on_chip::OnChip,
    Graphics,
    GraphicsInfo,
    MemoryInfo,
    Raster,
    ShaderTest,
    MAX_SHADER_ENGINES, //
};

/// Number of virtual memory contexts.
const CONTEXTS: u32 = 16;
/// Command to waves: that they end. Mode of a command: it is for all waves that are chosen.
const KILL: u32 = 3;
const BROADCAST: u32 = 1;

impl Graphics for Parts {
    fn describe(&self, card: &Card<'_>, memory: &MemoryInfo) -> GraphicsInfo {
        let mut units = [0; MAX_SHADER_ENGINES];
        let mut rasters = [Raster::default(); MAX_SHADER_ENGINES];
        let mut backends = 0;
        for_each_engine(card, self.shader_engines, |engine| {
            let raster = read_raster(card);
            let working = working(self.backends_per_engine, disabled_backends(&raster));
            backends |= working << (engine * self.backends_per_engine);
            rasters[u32_as_usize(engine)] = raster;
            units[u32_as_usize(engine)] = working_units(card, self.units_per_array);
        });
        for (engine, raster) in (0..self.shader_engines).zip(&mut rasters) {
            let config = raster::config(self, backends, engine);
            raster.config = config.config;
            raster.config_1 = config.config_1;
        }

        GraphicsInfo {
            shader_engines: self.shader_engines,
            arrays_per_engine: 1,
            max_units_per_array: self.units_per_array,
            max_backends_per_engine: self.backends_per_engine,
            texture_caches: self.texture_caches,
            gs_threads: 32,
            contexts: 8,
            backends,
            units,
            rasters,
            address_config: GB_ADDR_CONFIG::from(self.address_config)
                .with_row_size(row_size(memory.row_kib))
                .into_raw(),
            on_chip: on_chip::all(card.regs().read(GDS_VMID0_SIZE::at(0)).into_raw()),
            tiling: tiling::tables(self, memory.row_kib),
        }
    }

    fn configure(&self, card: &Card<'_>, info: &GraphicsInfo) {
        let regs = card.regs();
        regs.write_reg(GRBM_CNTL::zeroed().with_const_read_timeout::<0xff>());
        regs.write_reg(GB_ADDR_CONFIG::from(info.address_config));
        regs.write_reg(HDP_ADDR_CONFIG::from(info.address_config));
        regs.write_reg(DMIF_ADDR_CALC::from(info.address_config));
        tiling::program(card, &info.tiling);
        configure_rasters(card, info);
        regs.write_reg(
            CP_MEQ_THRESHOLDS::zeroed()
                .with_const_meq1_start::<0x30>()
                .with_const_meq2_start::<0x60>(),
        );
        select_all(card);
        configure_shader_memory(card);
        keep_on_chip(card);
        configure_pipeline(card);
        fsleep(Delta::from_micros(50));
    }

    fn give_on_chip(&self, card: &Card<'_>, vmid: Vmid, on_chip: &OnChip) {
        on_chip::give(card, vmid, on_chip);
    }

    fn register(
        &self,
        card: &Card<'_>,
        info: &GraphicsInfo,
        memory: &MemoryInfo,
        engine: usize,
        register: usize,
    ) -> Option<u32> {
        readable::read(card, info, memory, info.rasters.get(engine)?, register)
    }

    fn kill_waves(&self, card: &Card<'_>, vmid: Vmid) {
        // All compute units are selected when nobody reads banked registers. If somebody does just
        // now, only some of the waves are killed this time.
        let context = u32::from(vmid.get()) << SQ_CMD::VM_ID_SHIFT;
        card.regs().write_reg(
            SQ_CMD::from(context)
                .with_const_cmd::<KILL>()
                .with_const_mode::<BROADCAST>()
                .with_check_vmid(true),
        );
    }

    fn clock(&self, card: &Card<'_>) -> u64 {
        card.regs().write_reg(RLC_CAPTURE_GPU_CLOCK_COUNT::from(1));
        let low = card.regs().read(RLC_GPU_CLOCK_COUNT_LSB).into_raw();
        let high = card.regs().read(RLC_GPU_CLOCK_COUNT_MSB).into_raw();
        u64::from(high) << 32 | u64::from(low)
    }

    fn test_shader(&self) -> &'static [u32] {
        &dispatch::SHADER
    }

    fn emit_test(&self, out: &mut dyn Sink, test: &ShaderTest) {
        dispatch::emit_test(out, test);
    }
}

/// Returns the size of a memory row as encoded in the address configuration.
fn row_size(row_kib: u32) -> Bounded<u32, 2> {
    match row_kib {
        2 => Bounded::<u32, 2>::new::<1>(),
        4 => Bounded::<u32, 2>::new::<2>(),
        _ => Bounded::<u32, 2>::new::<0>(),
    }
}

/// Selects one shader engine for banked registers.
fn select_engine(card: &Card<'_>, engine: u32) {
    const SE_SHIFT: u32 = GRBM_GFX_INDEX::SE_INDEX_SHIFT;
    let index = GRBM_GFX_INDEX::zeroed()
        .with_instance_broadcast_writes(true)
        .with_sh_broadcast_writes(true);
    card.regs()
        .write_reg(GRBM_GFX_INDEX::from(index.into_raw() | engine << SE_SHIFT));
}

/// Selects all shader engines: writes to banked registers reach all of them.
pub(super) fn select_all(card: &Card<'_>) {
    card.regs().write_reg(
        GRBM_GFX_INDEX::zeroed()
            .with_instance_broadcast_writes(true)
            .with_sh_broadcast_writes(true)
            .with_se_broadcast_writes(true),
    );
}

/// Runs `f` for each of `engines` shader engines with that engine selected, and then selects all of
/// them.
pub(super) fn for_each_engine(card: &Card<'_>, engines: u32, mut f: impl FnMut(u32)) {
    for engine in 0..engines {
        select_engine(card, engine);
        f(engine);
    }
    select_all(card);
}

fn read_raster(card: &Card<'_>) -> Raster {
    Raster {
        backend_disable: card.regs().read(CC_RB_BACKEND_DISABLE).into_raw(),
        user_backend_disable: card.regs().read(GC_USER_RB_BACKEND_DISABLE).into_raw(),
        config: 0,
        config_1: 0,
    }
}

/// Returns the render backends of an engine that fuses or software disabled.
fn disabled_backends(raster: &Raster) -> u32 {
    (raster.backend_disable | raster.user_backend_disable)
        >> CC_RB_BACKEND_DISABLE::BACKEND_DISABLE_SHIFT
}

/// Returns the compute units of the selected engine that neither fuses nor software disabled.
fn working_units(card: &Card<'_>, count: u32) -> u32 {
    let fuses = card.regs().read(CC_GC_SHADER_ARRAY_CONFIG).into_raw();
    let user = card.regs().read(GC_USER_SHADER_ARRAY_CONFIG).into_raw();
    let disabled = (fuses | user) >> CC_GC_SHADER_ARRAY_CONFIG::INACTIVE_CUS_SHIFT;
    working(count, disabled)
}

/// Returns the mask of those of `count` parts that are not disabled.
const fn working(count: u32, disabled: u32) -> u32 {
    !disabled & ((1 << count) - 1)
}

fn configure_rasters(card: &Card<'_>, info: &GraphicsInfo) {
    for_each_engine(card, info.shader_engines, |engine| {
        let raster = &info.rasters[u32_as_usize(engine)];
        card.regs()
            .write_reg(PA_SC_RASTER_CONFIG::from(raster.config));
        card.regs()
            .write_reg(PA_SC_RASTER_CONFIG_1::from(raster.config_1));
    });
}

/// Selects a virtual memory context for banked registers.
pub(super) fn select_context(card: &Card<'_>, context: u32) {
    card.regs()
        .write_reg(SRBM_GFX_CNTL::from(context << SRBM_GFX_CNTL::VMID_SHIFT));
}

/// Configures the shaders' view of memory in each context.
fn configure_shader_memory(card: &Card<'_>) {
    /// Alignment mode that allows unaligned accesses.
    const UNALIGNED: u32 = 3;
    const MTYPE_NONCACHED: u32 = 1;
    const MTYPE_UNCACHED: u32 = 3;
    /// Upper 16 bits of the address at which a process's private memory begins.
    const PRIVATE_BASE: u32 = 0x2000;

    let regs = card.regs();
    regs.write_reg(
        SH_STATIC_MEM_CONFIG::zeroed()
            .with_swizzle_enable(true)
            .with_const_element_size::<1>()
            .with_const_index_stride::<3>(),
    );
    let config = SH_MEM_CONFIG::zeroed()
        .with_const_alignment_mode::<UNALIGNED>()
        .with_const_default_mtype::<MTYPE_NONCACHED>()
        .with_const_ape1_mtype::<MTYPE_UNCACHED>();
    for context in 0..CONTEXTS {
        select_context(card, context);
        regs.write_reg(config);
        // The second aperture is closed: its base is above its limit.
        regs.write_reg(SH_MEM_APE1_BASE::from(1));
        regs.write_reg(SH_MEM_APE1_LIMIT::zeroed());
        let bases = if context == 0 { 0 } else { PRIVATE_BASE };
        regs.write_reg(SH_MEM_BASES::from(bases));
    }
    select_context(card, 0);
}

/// Keeps the on-chip memories: no process has a part of them yet.
fn keep_on_chip(card: &Card<'_>) {
    for vmid in (1..).map_while(Vmid::new) {
        on_chip::give(card, vmid, &OnChip::NONE);
    }
}

/// Configures the fixed parts of the pipeline.
fn configure_pipeline(card: &Card<'_>) {
    let regs = card.regs();
    let set = |old: u32, clear: u32, value: u32| (old & !clear) | value;

    regs.write_reg(SX_DEBUG_1::from(0x20));
    regs.write_reg(TA_CNTL_AUX::from(0x0001_0000));
    regs.update(SPI_CONFIG_CNTL, |r| {
        set(r.into_raw(), 0, 0x0300_0000).into()
    });
    regs.write_reg(SQ_CONFIG::from(1));
    regs.write_reg(DB_DEBUG::zeroed());
    regs.update(DB_DEBUG2, |r| {
        set(r.into_raw(), 0xf00f_ffff, 0x0000_0400).into()
    });
    regs.update(DB_DEBUG3, |r| {
        set(r.into_raw(), 0x0002_021c, 0x0002_0200).into()
    });
    regs.update(CB_HW_CONTROL, |r| {
        set(r.into_raw(), 0x0001_0000, 0x0001_8208).into()
    });
    regs.write_reg(SPI_CONFIG_CNTL_1::zeroed().with_const_vtx_done_delay::<4>());
    regs.write_reg(
        PA_SC_FIFO_SIZE::zeroed()
            .with_const_sc_frontend_prim_fifo_size::<0x20>()
            .with_const_sc_backend_prim_fifo_size::<0x100>()
            .with_const_sc_hiz_tile_fifo_size::<0x30>()
            .with_const_sc_earlyz_tile_fifo_size::<0x130>(),
    );
    regs.write_reg(VGT_NUM_INSTANCES::from(1));
    regs.write_reg(CP_PERFMON_CNTL::zeroed());
    regs.write_reg(SQ_CONFIG::zeroed());
    regs.write_reg(
        PA_SC_FORCE_EOV_MAX_CNTS::zeroed()
            .with_const_force_eov_max_clk_cnt::<4095>()
            .with_const_force_eov_max_rez_cnt::<255>(),
    );
    /// Vertex and texture caches together; automatically for ES and GS.
    const VC_AND_TC: u32 = 2;
    const ES_AND_GS_AUTO: u32 = 3;
    regs.write_reg(
        VGT_CACHE_INVALIDATION::zeroed()
            .with_const_cache_invalidation::<VC_AND_TC>()
            .with_const_auto_invld_en::<ES_AND_GS_AUTO>(),
    );
    regs.write_reg(VGT_GS_VERTEX_REUSE::from(16));
    regs.write_reg(PA_SC_LINE_STIPPLE_STATE::zeroed());
    regs.write_reg(
        PA_CL_ENHANCE::zeroed()
            .with_clip_vtx_reorder_ena(true)
            .with_const_num_clip_seq::<3>(),
    );
    regs.write_reg(PA_SC_ENHANCE::zeroed().with_enable_pa_sc_out_of_order(true));
    regs.update(SPI_ARB_PRIORITY, |r| {
        r.with_const_pipe_order_ts0::<2>()
            .with_const_pipe_order_ts1::<2>()
            .with_const_pipe_order_ts2::<2>()
            .with_const_pipe_order_ts3::<2>()
    });
}

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
#[kunit_tests(amdgpu_rs_shaders)]
mod tests {
    use super::{
        super::{
            bonaire,
            inputs::Inputs, //
        },
        *, //
    };
    use crate::hw::fake::{
        write,
        Effect, //
    };

    #[test]
    fn configuration() -> Result {
        let inputs = Inputs::new(&[
            (0x9100, 0x1), // SPI_CONFIG_CNTL
            (0x9834, !0),  // DB_DEBUG2
            (0x9838, !0),  // DB_DEBUG3
            (0x9a10, 0x1), // CB_HW_CONTROL
            (0xc700, !0),  // SPI_ARB_PRIORITY
        ])?;
        bonaire::PARTS.configure(&inputs.card, &inputs.graphics);

        let mut expected = KVec::new();
        let mut expect = |effects: &[Effect]| expected.extend_from_slice(effects, GFP_KERNEL);
        expect(&[
            write(0x8000, 0xff),        // GRBM_CNTL
            write(0x98f8, 0x1201_0001), // GB_ADDR_CONFIG
            write(0x2f48, 0x1201_0001), // HDP_ADDR_CONFIG
            write(0xc00, 0x1201_0001),  // DMIF_ADDR_CALC
        ])?;
        // GB_TILE_MODE and GB_MACROTILE_MODE, of which the video BIOS sets the eighth.
        let tiling = &inputs.graphics.tiling;
        for (at, mode) in (0x9910..).step_by(4).zip(tiling.tile_modes) {
            expect(&[write(at, mode)])?;
        }
        for (at, mode) in (0x9990..).step_by(4).zip(tiling.macrotile_modes) {
            if at != 0x9990 + 7 * 4 {
                expect(&[write(at, mode)])?;
            }
        }
        for engine in [0x6000_0000, 0x6001_0000] {
            expect(&[
                write(0x3_0800, engine),      // GRBM_GFX_INDEX
                write(0x2_8350, 0x1600_0012), // PA_SC_RASTER_CONFIG
                write(0x2_8354, 0),           // PA_SC_RASTER_CONFIG_1
            ])?;
        }
        expect(&[
            write(0x3_0800, 0xe000_0000), // GRBM_GFX_INDEX
            write(0x8764, 0x6030),        // CP_MEQ_THRESHOLDS
            write(0x3_0800, 0xe000_0000), // GRBM_GFX_INDEX
            write(0x9604, 0x1b),          // SH_STATIC_MEM_CONFIG
        ])?;
        for context in 0..16 {
            expect(&[
                write(0xe44, context << 4),                           // SRBM_GFX_CNTL
                write(0x8c34, 0x19c),                                 // SH_MEM_CONFIG
                write(0x8c2c, 1),                                     // SH_MEM_APE1_BASE
                write(0x8c30, 0),                                     // SH_MEM_APE1_LIMIT
                write(0x8c28, if context == 0 { 0 } else { 0x2000 }), // SH_MEM_BASES
            ])?;
        }
        expect(&[write(0xe44, 0)])?; // SRBM_GFX_CNTL
        for context in 1..16 {
            expect(&[
                write(0xcc00 + context * 8, 0), // GDS_VMID0_BASE
                write(0xcc04 + context * 8, 0), // GDS_VMID0_SIZE
                write(0xcc80 + context * 4, 0), // GDS_GWS_VMID0
                write(0xccc0 + context * 4, 0), // GDS_OA_VMID0
            ])?;
        }
        expect(&[
            write(0x9060, 0x20),        // SX_DEBUG_1
            write(0x9508, 0x1_0000),    // TA_CNTL_AUX
            write(0x9100, 0x0300_0001), // SPI_CONFIG_CNTL
            write(0x8c00, 1),           // SQ_CONFIG
            write(0x9830, 0),           // DB_DEBUG
            write(0x9834, 0x0ff0_0400), // DB_DEBUG2
            write(0x9838, 0xffff_ffe3), // DB_DEBUG3
            write(0x9a10, 0x1_8209),    // CB_HW_CONTROL
            write(0x913c, 4),           // SPI_CONFIG_CNTL_1
            write(0x8bcc, 0x9818_4020), // PA_SC_FIFO_SIZE
            write(0x3_0934, 1),         // VGT_NUM_INSTANCES
            write(0x3_6020, 0),         // CP_PERFMON_CNTL
            write(0x8c00, 0),           // SQ_CONFIG
            write(0x8b24, 0x00ff_0fff), // PA_SC_FORCE_EOV_MAX_CNTS
            write(0x88c4, 0xc2),        // VGT_CACHE_INVALIDATION
            write(0x88d4, 16),          // VGT_GS_VERTEX_REUSE
            write(0x3_0a04, 0),         // PA_SC_LINE_STIPPLE_STATE
            write(0x8a14, 7),           // PA_CL_ENHANCE
            write(0x8bf0, 1),           // PA_SC_ENHANCE
            write(0xc700, 0xffff_f492), // SPI_ARB_PRIORITY
        ])?;
        assert!(inputs.card.saw(&expected));
        Ok(())
    }

    #[test]
    fn backends() {
        let raster = |disable: u32| Raster {
            backend_disable: disable << 16,
            ..Raster::default()
        };
        let working = |disable| working(2, disabled_backends(&raster(disable)));
        assert_eq!(working(0), 0b11);
        assert_eq!(working(0b01), 0b10);
        assert_eq!(working(0b11), 0);
    }
}
