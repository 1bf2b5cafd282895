// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The `INFO` ioctl: user space's queries about the card, the driver and its use of memory.
//!
//! The C driver has this in amdgpu_kms.c (`amdgpu_info_ioctl`).
//!
//! A query has a number, up to four words of arguments, and the address and size of a buffer for
//! the answer. The answer is cut to the size of the buffer. Queries for features that the driver
//! does not have (video engines, power management, queues that user space owns) answer as the C
//! driver does on a card without them.

use kernel::{
    new_spinlock,
    prelude::*,
    sync::SpinLock, //
};
use zerocopy::Immutable;
use zerocopy_derive::Immutable;

use crate::{
    bindings::{
        self,
        drm_amdgpu_heap_info,
        drm_amdgpu_info,
        drm_amdgpu_info_device,
        drm_amdgpu_info_firmware,
        drm_amdgpu_info_gds,
        drm_amdgpu_info_gpuvm_fault,
        drm_amdgpu_info_num_handles,
        drm_amdgpu_info_vbios,
        drm_amdgpu_info_vce_clock_table,
        drm_amdgpu_info_video_caps,
        drm_amdgpu_info_vram_gtt,
        drm_amdgpu_memory_info, //
    },
    drm::{
        DrmDevice,
        DrmFile, //
    },
    gem,
    hw::{
        command::EngineKind,
        firmware,
        on_chip::OnChipKind,
        page_table::PAGE_SIZE,
        vbios,
        GraphicsInfo,
        MAX_SHADER_ENGINES, //
    },
    uapi, //
};

/// State shared by queries.
#[pin_data]
pub(crate) struct Info {
    /// Held while the card's clock is read, which takes several accesses.
    #[pin]
    clock: SpinLock<()>,
}

impl Info {
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            clock <- new_spinlock!((), "Info::clock"),
        })
    }
}

/// A query, as user space wrote it.
struct Query<'a> {
    dev: &'a DrmDevice,
    file: &'a DrmFile,
    number: u32,
    args: [u32; 4],
    to: u64,
    room: u32,
}

/// Handles the `INFO` ioctl.
pub(crate) fn ioctl(dev: &DrmDevice, args: &mut drm_amdgpu_info, file: &DrmFile) -> Result<u32> {
    if args.return_size == 0 || args.return_pointer == 0 {
        return Err(EINVAL);
    }
    let query = Query {
        dev,
        file,
        number: args.query,
        args: args.__bindgen_anon_1._bindgen_opaque_blob,
        to: args.return_pointer,
        room: args.return_size,
    };
    query.answer()?;
    Ok(0)
}

impl Query<'_> {
    /// Writes as much of the answer as the buffer has room for.
    fn give<T: IntoBytes + Immutable + ?Sized>(&self, answer: &T) -> Result {
        uapi::write_up_to(self.to, self.room, answer)
    }

    fn answer(&self) -> Result {
        let memory = &self.dev.memory;
        // Argument on which the answer depends, if it depends on one.
        let kind = self.args[0];

        match self.number {
            bindings::AMDGPU_INFO_ACCEL_WORKING => self.give(&1u32),
            bindings::AMDGPU_INFO_HW_IP_INFO => self.give(&self.engines()?),
            bindings::AMDGPU_INFO_HW_IP_COUNT => {
                self.give(&engine_count(|kind| self.dev.working_rings(kind), kind)?)
            }
            bindings::AMDGPU_INFO_TIMESTAMP => self.give(&self.clock()?),
            bindings::AMDGPU_INFO_FW_VERSION => self.give(&self.firmware_version()?),
            bindings::AMDGPU_INFO_NUM_BYTES_MOVED => self.give(&memory.bytes_moved()),
            bindings::AMDGPU_INFO_NUM_EVICTIONS => self.give(&memory.evictions()),
            bindings::AMDGPU_INFO_NUM_VRAM_CPU_PAGE_FAULTS => self.give(&memory.vram_faults()),
            bindings::AMDGPU_INFO_VRAM_USAGE => self.give(&memory.vram_used()),
            bindings::AMDGPU_INFO_VIS_VRAM_USAGE => self.give(&memory.visible_vram_used()),
            bindings::AMDGPU_INFO_GTT_USAGE => self.give(&memory.gtt_used()),
            bindings::AMDGPU_INFO_GDS_CONFIG => self.give(&self.on_chip()),
            bindings::AMDGPU_INFO_VRAM_GTT => self.give(&self.sizes()),
            bindings::AMDGPU_INFO_MEMORY => self.give(&self.heaps()),
            bindings::AMDGPU_INFO_READ_MMR_REG => self.registers(),
            bindings::AMDGPU_INFO_DEV_INFO => self.give(&*self.device()?),
            bindings::AMDGPU_INFO_VCE_CLOCK_TABLE => {
                self.give(&drm_amdgpu_info_vce_clock_table::default())
            }
            bindings::AMDGPU_INFO_VBIOS => self.vbios(),
            bindings::AMDGPU_INFO_NUM_HANDLES if kind == bindings::AMDGPU_HW_IP_UVD => {
                self.give(&drm_amdgpu_info_num_handles::default())
            }
            bindings::AMDGPU_INFO_SENSOR => Err(ENOENT),
            bindings::AMDGPU_INFO_VRAM_LOST_COUNTER => {
                // CAST: The interface has the lower half only.
                self.give(&(self.dev.schedulers.vram_losses() as u32))
            }
            bindings::AMDGPU_INFO_VIDEO_CAPS => self.video(),
            bindings::AMDGPU_INFO_MAX_IBS => self.give(&MAX_IBS),
            bindings::AMDGPU_INFO_GPUVM_FAULT => self.give(&self.last_fault()),
            bindings::AMDGPU_INFO_UQ_FW_AREAS if kind <= bindings::AMDGPU_HW_IP_DMA => {
                Err(EOPNOTSUPP)
            }
            _ => Err(EINVAL),
        }
    }

    /// Returns the last fault of the file's own address space, or zeros if there was none.
    fn last_fault(&self) -> drm_amdgpu_info_gpuvm_fault {
        let fault = self.file.inner().vm.last_fault();
        fault.map_or_else(Default::default, |fault| drm_amdgpu_info_gpuvm_fault {
            addr: fault.addr(),
            status: fault.status,
            ..Default::default()
        })
    }

    /// Returns the rings of one kind of engine, and the format of command buffers for them.
    fn engines(&self) -> Result<EngineInfo> {
        let [kind, instance, ..] = self.args;
        let hw = self.dev.hw;

        if instance >= bindings::AMDGPU_HW_IP_INSTANCE_MAX_COUNT {
            return Err(EINVAL);
        }
        let Some(kind) = engine_kind(kind) else {
            return match kind {
                0..bindings::AMDGPU_HW_IP_NUM => Ok(EngineInfo::default()),
                _ => Err(EINVAL),
            };
        };
        let facts = hw.engine(kind);
        Ok(EngineInfo {
            version_major: facts.version.0,
            version_minor: facts.version.1,
            start_alignment: facts.ib_alignment,
            size_alignment: facts.ib_size_alignment,
            rings: (1 << rings(self.dev.working_rings(kind), kind)) - 1,
            ..Default::default()
        })
    }

    fn clock(&self) -> Result<u64> {
        let card = self.dev.card().ok_or(ENODEV)?;
        let _one_reader = self.dev.info.clock.lock();
        Ok(self.dev.hw.graphics.clock(&card))
    }

    fn firmware_version(&self) -> Result<drm_amdgpu_info_firmware> {
        /// Index of the first engine of the security processor, which requests firmware by number.
        const FIRST_TRUSTED: u32 = 2;
        const LAST_TRUSTED: u32 = 7;
        /// Number that has no meaning.
        const UNUSED: u32 = 9;

        let [kind, instance, index, _] = self.args;
        if instance != 0 {
            return Err(EINVAL);
        }
        let has = &self.dev.facts.firmware;
        let version = match (kind, index) {
            (bindings::AMDGPU_INFO_FW_GMC, _) => firmware::Version {
                feature: 0,
                ..has.mc
            },
            (bindings::AMDGPU_INFO_FW_GFX_ME, _) => has.me,
            (bindings::AMDGPU_INFO_FW_GFX_PFP, _) => has.pfp,
            (bindings::AMDGPU_INFO_FW_GFX_CE, _) => has.ce,
            (bindings::AMDGPU_INFO_FW_GFX_RLC, _) => has.rlc,
            (bindings::AMDGPU_INFO_FW_GFX_MEC, 0) => has.mec,
            (bindings::AMDGPU_INFO_FW_GFX_MEC, 1) => NO_FIRMWARE,
            (bindings::AMDGPU_INFO_FW_SDMA, _) => *has.sdma.get(index as usize).ok_or(EINVAL)?,
            (bindings::AMDGPU_INFO_FW_TA, FIRST_TRUSTED..=LAST_TRUSTED) => NO_FIRMWARE,
            (bindings::AMDGPU_INFO_FW_TA | bindings::AMDGPU_INFO_FW_GFX_MEC | UNUSED, _) => {
                return Err(EINVAL)
            }
            (bindings::AMDGPU_INFO_FW_VCE..=bindings::AMDGPU_INFO_FW_VPE, _) => NO_FIRMWARE,
            _ => return Err(EINVAL),
        };
        Ok(drm_amdgpu_info_firmware {
            ver: version.version,
            feature: version.feature,
        })
    }

    fn on_chip(&self) -> drm_amdgpu_info_gds {
        let on_chip = &self.dev.facts.graphics.on_chip;
        let [gds, gws, oa] = OnChipKind::ALL.map(|kind| on_chip.get(kind).count);

        drm_amdgpu_info_gds {
            compute_partition_size: gds,
            gds_total_size: gds,
            gws_per_compute_partition: gws,
            oa_per_compute_partition: oa,
            ..Default::default()
        }
    }

    fn sizes(&self) -> drm_amdgpu_info_vram_gtt {
        let memory = &self.dev.memory;

        drm_amdgpu_info_vram_gtt {
            vram_size: memory.vram_size(),
            vram_cpu_accessible_size: memory.visible_vram_size(),
            gtt_size: memory.gtt_size(),
        }
    }

    fn heaps(&self) -> drm_amdgpu_memory_info {
        let (memory, vram) = (&self.dev.memory, &self.dev.facts.vram);

        drm_amdgpu_memory_info {
            vram: heap(vram.size, memory.vram_size(), memory.vram_used()),
            cpu_accessible_vram: heap(
                vram.visible,
                memory.visible_vram_size(),
                memory.visible_vram_used(),
            ),
            gtt: heap(memory.gtt_size(), memory.gtt_size(), memory.gtt_used()),
        }
    }

    /// Reads registers that user space may read.
    fn registers(&self) -> Result {
        const MAX: u32 = 128;

        let [first, count, instance, _] = self.args;
        let engine = Bank::from_user(instance)?.engine;
        if count > MAX {
            return Err(EINVAL);
        }
        let facts = &self.dev.facts;
        let mut values = KVec::with_capacity(count as usize, GFP_KERNEL)?;
        for n in 0..count {
            let register = first.checked_add(n).ok_or(EFAULT)? as usize;
            let card = self.dev.card().ok_or(ENODEV)?;
            let graphics = self.dev.hw.graphics;
            let value = graphics
                .register(&card, &facts.graphics, &facts.memory, engine, register)
                .ok_or(EFAULT)?;
            // Nothing may be allocated while the card is held; the capacity was reserved before.
            let _ = values.push_within_capacity(value);
        }
        self.give(&values[..])
    }

    fn device(&self) -> Result<KBox<drm_amdgpu_info_device>> {
        const KHZ_PER_CLOCK_UNIT: u32 = 10;

        let (hw, facts) = (self.dev.hw, &self.dev.facts);
        let (graphics, clocks) = (&facts.graphics, &facts.vbios.clocks);
        let engine_clock = u64::from(clocks.engine) * u64::from(KHZ_PER_CLOCK_UNIT);
        let memory_clock = u64::from(clocks.memory) * u64::from(KHZ_PER_CLOCK_UNIT);
        let units = units(graphics);
        let space = gem::user_space(hw.format);

        let mut info = KBox::new(drm_amdgpu_info_device::default(), GFP_KERNEL)?;
        *info = drm_amdgpu_info_device {
            device_id: facts.pci.device.into(),
            chip_rev: facts.revision.internal,
            external_rev: facts.revision.external,
            pci_rev: facts.pci.revision.into(),
            family: hw.family,
            num_shader_engines: graphics.shader_engines,
            num_shader_arrays_per_engine: graphics.arrays_per_engine,
            gpu_counter_freq: clocks.reference * KHZ_PER_CLOCK_UNIT,
            max_engine_clock: engine_clock,
            max_memory_clock: memory_clock,
            min_engine_clock: engine_clock,
            min_memory_clock: memory_clock,
            cu_active_number: graphics.units.iter().map(|units| units.count_ones()).sum(),
            cu_ao_mask: always_on(graphics),
            cu_bitmap: units,
            cu_ao_bitmap: units,
            enabled_rb_pipes_mask: graphics.backends,
            num_rb_pipes: graphics.max_backends_per_engine * graphics.shader_engines,
            num_hw_gfx_contexts: graphics.contexts,
            ids_flags: u64::from(bindings::AMDGPU_IDS_FLAGS_GANG_SUBMIT),
            pcie_gen: facts.link.generation,
            pcie_num_lanes: facts.link.lanes,
            virtual_address_offset: space.start,
            virtual_address_max: space.end,
            virtual_address_alignment: PAGE_SIZE as u32,
            pte_fragment_size: u32::try_from(hw.format.fragment_bytes())?,
            gart_page_size: PAGE_SIZE as u32,
            ce_ram_size: hw.constant_ram,
            vram_type: facts.memory.kind,
            vram_bit_width: facts.memory.bus_width,
            gc_double_offchip_lds_buf: hw.has_double_offchip_buffers.into(),
            wave_front_size: hw.wave_size,
            num_shader_visible_vgprs: hw.vector_registers,
            num_cu_per_sh: graphics.max_units_per_array,
            num_tcc_blocks: graphics.texture_caches,
            max_gs_waves_per_vgt: graphics.gs_threads,
            ..Default::default()
        };
        Ok(info)
    }

    fn vbios(&self) -> Result {
        let [kind, offset, ..] = self.args;
        let image = &self.dev.facts.vbios.image;

        match kind {
            bindings::AMDGPU_INFO_VBIOS_SIZE => self.give(&u32::try_from(image.len())?),
            bindings::AMDGPU_INFO_VBIOS_IMAGE => {
                let rest = image.get(offset as usize..).unwrap_or(&[]);
                if rest.is_empty() {
                    return Err(EINVAL);
                }
                self.give(rest)
            }
            bindings::AMDGPU_INFO_VBIOS_INFO => self.give(&identity(image)),
            _ => Err(EINVAL),
        }
    }

    /// Returns the formats that can be decoded and encoded: none, as there is no video engine.
    fn video(&self) -> Result {
        match self.args[0] {
            bindings::AMDGPU_INFO_VIDEO_CAPS_DECODE | bindings::AMDGPU_INFO_VIDEO_CAPS_ENCODE => {
                self.give(&drm_amdgpu_info_video_caps::default())
            }
            _ => Err(EINVAL),
        }
    }
}

/// Returns the video BIOS's description of itself.
fn identity(image: &[u8]) -> drm_amdgpu_info_vbios {
    let identity = vbios::Identity::of(image);

    drm_amdgpu_info_vbios {
        name: identity.name,
        vbios_pn: identity.part_number,
        version: identity.version,
        pad: 0,
        vbios_ver_str: identity.version_text,
        date: identity.date,
    }
}

const NO_FIRMWARE: firmware::Version = firmware::Version {
    version: 0,
    feature: 0,
};

/// Largest number of command buffers in one submission, by kind of engine.
const MAX_IBS: [u32; bindings::AMDGPU_HW_IP_NUM as usize] = {
    const VIDEO: u32 = 49;

    let mut max = [VIDEO; bindings::AMDGPU_HW_IP_NUM as usize];
    max[bindings::AMDGPU_HW_IP_GFX as usize] = 192;
    max[bindings::AMDGPU_HW_IP_COMPUTE as usize] = 125;
    max[bindings::AMDGPU_HW_IP_VCN_JPEG as usize] = 16;
    max
};

/// `drm_amdgpu_info_hw_ip`, without gaps.
#[repr(C)]
#[derive(Default, Immutable, IntoBytes)]
struct EngineInfo {
    version_major: u32,
    version_minor: u32,
    capabilities: u64,
    start_alignment: u32,
    size_alignment: u32,
    /// Available rings, one bit each.
    rings: u32,
    discovery_version: u32,
    user_queues: u32,
    _gap: u32,
}

const _: () = assert!(size_of::<EngineInfo>() == size_of::<bindings::drm_amdgpu_info_hw_ip>());

/// Returns the kind of engine that user space knows by this number, if there is such an engine.
fn engine_kind(ip: u32) -> Option<EngineKind> {
    match ip {
        bindings::AMDGPU_HW_IP_GFX => Some(EngineKind::Gfx),
        bindings::AMDGPU_HW_IP_COMPUTE => Some(EngineKind::Compute),
        bindings::AMDGPU_HW_IP_DMA => Some(EngineKind::Sdma),
        _ => None,
    }
}

/// Returns the number of rings of a kind of engine that user space may choose from, of those that
/// work.
fn rings(working: usize, kind: EngineKind) -> usize {
    /// Limit of compute rings: a context has no more compute queues.
    const MAX_COMPUTE: usize = 4;

    match kind {
        EngineKind::Compute => working.min(MAX_COMPUTE),
        EngineKind::Gfx | EngineKind::Sdma => working,
    }
}

/// Returns the number of engines of a kind. `working` says how many rings of a kind work.
fn engine_count(working: impl Fn(EngineKind) -> usize, ip: u32) -> Result<u32> {
    match engine_kind(ip).ok_or(EINVAL)? {
        EngineKind::Gfx | EngineKind::Compute => Ok(1),
        // Each has a ring.
        EngineKind::Sdma => Ok(u32::try_from(working(EngineKind::Sdma))?),
    }
}

fn heap(total: u64, usable: u64, used: u64) -> drm_amdgpu_heap_info {
    drm_amdgpu_heap_info {
        total_heap_size: total,
        usable_heap_size: usable,
        heap_usage: used,
        max_allocation: usable / 4 * 3,
    }
}

/// Returns the working compute units, by engine and array; each engine has one array.
fn units(graphics: &GraphicsInfo) -> [[u32; 4]; 4] {
    graphics.units.map(|units| [units, 0, 0, 0])
}

/// Returns the working compute units of the first two engines in one word, as old user space
/// expects.
fn always_on(graphics: &GraphicsInfo) -> u32 {
    graphics.units[0] | graphics.units[1] << 16
}

/// The bank of a register that user space asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Bank {
    /// Shader engine. A request for all engines gets the first.
    engine: usize,
}

impl Bank {
    fn from_user(instance: u32) -> Result<Self> {
        /// Number of arrays in an engine of the largest chip.
        const MAX_ARRAYS: u32 = 2;
        const MASK: u32 = bindings::AMDGPU_INFO_MMR_SE_INDEX_MASK;

        let engine = (instance >> bindings::AMDGPU_INFO_MMR_SE_INDEX_SHIFT) & MASK;
        let array = (instance >> bindings::AMDGPU_INFO_MMR_SH_INDEX_SHIFT) & MASK;
        if array >= MAX_ARRAYS && array != MASK {
            return Err(EINVAL);
        }
        match engine as usize {
            engine if engine < MAX_SHADER_ENGINES => Ok(Self { engine }),
            _ if engine == MASK => Ok(Self { engine: 0 }),
            _ => Err(EINVAL),
        }
    }
}

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
#[kunit_tests(amdgpu_rs_info)]
mod tests {
    use super::*;
    use crate::hw::ChipId;

    #[test]
    fn banks() {
        let cases = [
            (0xffff_ffff, Ok(0)),
            (0xff00, Ok(0)),
            (0xff03, Ok(3)),
            (0x0103, Ok(3)),
            (0xff04, Err(EINVAL)),
            (0x0200, Err(EINVAL)),
            (0xfe00, Err(EINVAL)),
            (0x00fe, Err(EINVAL)),
        ];
        for (instance, engine) in cases {
            assert_eq!(Bank::from_user(instance).map(|bank| bank.engine), engine);
        }
    }

    #[test]
    fn engines_of_user_space() {
        let hw = ChipId::Bonaire.chip();
        let made = |kind| hw.rings.iter().filter(|ring| ring.engine() == kind).count();
        let engine_count = |ip| engine_count(made, ip);
        let all = |kind| rings(made(kind), kind);
        assert_eq!(all(EngineKind::Gfx), 1);
        assert_eq!(all(EngineKind::Compute), 4);
        assert_eq!(all(EngineKind::Sdma), 2);
        // One or more that have failed.
        assert_eq!(rings(0, EngineKind::Gfx), 0);
        assert_eq!(rings(7, EngineKind::Compute), 4);
        assert_eq!(rings(3, EngineKind::Compute), 3);
        assert_eq!(rings(1, EngineKind::Sdma), 1);
        assert!(engine_kind(bindings::AMDGPU_HW_IP_UVD).is_none());
        assert_eq!(engine_count(bindings::AMDGPU_HW_IP_DMA), Ok(2));
        assert_eq!(engine_count(bindings::AMDGPU_HW_IP_UVD), Err(EINVAL));
        assert_eq!(engine_count(u32::MAX), Err(EINVAL));
    }
}
