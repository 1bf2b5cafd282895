// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The driver's account of itself and of the card.

use std::ops::{
    Range,
    RangeInclusive, //
};

use amdgpu_client::{
    drm::Node,
    libdrm::Device,
    report::Tally,
    uapi::{
        self,
        DevInfo,
        Memory, //
    }, //
};

use crate::{
    at,
    expect, //
};

/// The oldest interface that Mesa 26.1 takes.
const FEWEST_MINOR: u32 = 54;

/// Registers that libdrm and Mesa read: name, dword offset, instance, how many, and how many of
/// them are not zero on any card. Offsets from `asic_reg/gca/gfx_7_2_d.h` and
/// `asic_reg/gmc/gmc_7_1_d.h`.
const REGISTERS: [(&str, u32, u32, usize, usize); 7] = [
    ("CC_RB_BACKEND_DISABLE", 0x263d, SE0, 1, 0),
    ("PA_SC_RASTER_CONFIG", 0xa0d4, SE0, 1, 1),
    ("PA_SC_RASTER_CONFIG_1", 0xa0d5, SE0, 1, 0),
    ("GB_ADDR_CONFIG", GB_ADDR_CONFIG, BROADCAST, 1, 1),
    ("GB_TILE_MODE0-31", 0x2644, BROADCAST, 32, 24),
    ("GB_MACROTILE_MODE0-15", 0x2664, BROADCAST, 16, 12),
    ("MC_ARB_RAMCFG", 0x9d8, BROADCAST, 1, 1),
];
const GB_ADDR_CONFIG: u32 = 0x263e;
/// Size of the memory's rows in that register, which is the board's.
const ROW_SIZE: u32 = 3 << 28;

/// Shader engine 0, all shader arrays.
const SE0: u32 = 0xff00;
/// All of them.
const BROADCAST: u32 = 0xffff_ffff;

/// Facts by which user space tells a chip.
struct Chip {
    /// First part of the names of its firmware files.
    name: &'static str,
    devices: RangeInclusive<u32>,
    external_revs: Range<u32>,
    shader_engines: u32,
    /// Compute units of an engine, and render backends of the chip, as designed.
    units_per_engine: u32,
    backends: u32,
    /// `GB_ADDR_CONFIG`, but for the rows.
    address_config: u32,
}

/// Numbers from the C driver's `amdgpu_drv.c`, `gfx_v7_0.c` and `cik.c`.
const CHIPS: [Chip; 2] = [
    // Bonaire
    Chip {
        name: "bonaire",
        devices: 0x6640..=0x665f,
        external_revs: 0x14..0x28,
        shader_engines: 2,
        units_per_engine: 7,
        backends: 4,
        address_config: 0x0201_0001,
    },
    // Hawaii
    Chip {
        name: "hawaii",
        devices: 0x67a0..=0x67be,
        external_revs: 0x28..0x29,
        shader_engines: 4,
        units_per_engine: 11,
        backends: 16,
        address_config: 0x0201_1003,
    },
];

pub fn checks(device: &Device, node: &Node, tally: &mut Tally) {
    let (major, minor) = device.version;
    tally.check("DRM version", || {
        expect(major == 3 && minor >= FEWEST_MINOR, || {
            format!("{major}.{minor}, where Mesa wants 3.{FEWEST_MINOR} or later")
        })?;
        Ok(format!("{major}.{minor}"))
    });
    tally.check("PCI slot of the node", || {
        expect(!node.slot.is_empty(), || "sysfs does not say".into())?;
        Ok(node.slot.clone())
    });
    tally.check("DEV_INFO", || device_info(device));
    tally.check("MEMORY", || memory(device));
    for (name, ip_type, major, rings) in [
        ("GFX", uapi::HW_IP_GFX, 7, 1),
        ("COMPUTE", uapi::HW_IP_COMPUTE, 7, 4),
        ("DMA", uapi::HW_IP_DMA, 2, 2),
    ] {
        tally.check(format_args!("HW_IP_INFO {name}"), || {
            let ip = device.hw_ip(ip_type).map_err(at("query"))?;
            let count = ip.available_rings.count_ones();
            expect(ip.hw_ip_version_major == major && count == rings, || {
                format!("version {}, {count} rings", ip.hw_ip_version_major)
            })?;
            Ok(format!(
                "version {major}.{}, rings {:#x}, IB alignment {}/{}",
                ip.hw_ip_version_minor,
                ip.available_rings,
                ip.ib_start_alignment,
                ip.ib_size_alignment,
            ))
        });
    }
    for (name, kind, index, file) in [
        ("ME", uapi::FW_GFX_ME, 0, "me"),
        ("PFP", uapi::FW_GFX_PFP, 0, "pfp"),
        ("MEC", uapi::FW_GFX_MEC, 0, "mec"),
        ("SDMA0", uapi::FW_SDMA, 0, "sdma"),
        ("SDMA1", uapi::FW_SDMA, 1, "sdma1"),
    ] {
        tally.check(format_args!("FW_VERSION {name}"), || {
            let (version, feature) = device.firmware(kind, index).map_err(at("query"))?;
            let has = versions(chip(device)?.name, file)?;
            expect(has == (version, feature), || {
                format!("version {version}, feature {feature}; the file has {has:?}")
            })?;
            Ok(format!("version {version}, feature {feature}"))
        });
    }
    for (name, offset, instance, count, least) in REGISTERS {
        tally.check(format_args!("READ_MMR {name}"), || {
            let mut values = vec![0; count];
            device.registers(offset, instance, &mut values).map_err(at("query"))?;
            // Most of what is right is for the comparison with the other driver to say; but zeros
            // are not, and each register, asked for alone, must read the same.
            let set = values.iter().filter(|value| **value != 0).count();
            expect(set >= least, || format!("all but {set} of {count} are zero"))?;
            if offset == GB_ADDR_CONFIG {
                let wanted = chip(device)?.address_config;
                expect(values[0] & !ROW_SIZE == wanted, || {
                    format!("{:#x}, where the chip has {wanted:#x} and the rows", values[0])
                })?;
            }
            for (i, &value) in (0..).zip(&values) {
                let mut one = [0];
                device.registers(offset + i, instance, &mut one).map_err(at("query of one"))?;
                expect(one[0] == value, || {
                    format!("word {i} is {value:#x} in the block, {:#x} alone", one[0])
                })?;
            }
            let hex: Vec<_> = values.iter().map(|v| format!("{v:x}")).collect();
            Ok(hex.join(" "))
        });
    }
}

fn chip(device: &Device) -> Result<&'static Chip, String> {
    let info: DevInfo = device.info(uapi::INFO_DEV_INFO).map_err(at("query"))?;
    CHIPS
        .iter()
        .find(|chip| chip.devices.contains(&info.device_id))
        .ok_or_else(|| format!("device {:#x} is no Sea Islands card", info.device_id))
}

/// The versions of a firmware file and of its features (`struct gfx_firmware_header_v1_0` and
/// `sdma_firmware_header_v1_0` of the kernel's `amdgpu_ucode.h` begin alike).
fn versions(chip: &str, file: &str) -> Result<(u32, u32), String> {
    const VERSION: usize = 16;
    const FEATURE: usize = 32;
    let path = format!("/lib/firmware/amdgpu/{chip}_{file}.bin");
    let bytes = std::fs::read(&path).map_err(|e| format!("{path}: {e}"))?;
    let word = |at: usize| {
        let word = bytes.get(at..).and_then(<[u8]>::first_chunk).ok_or("it is too short");
        word.map(|word| u32::from_le_bytes(*word)).map_err(|e| format!("{path}: {e}"))
    };
    Ok((word(VERSION)?, word(FEATURE)?))
}

fn device_info(device: &Device) -> Result<String, String> {
    let info: DevInfo = device.info(uapi::INFO_DEV_INFO).map_err(at("query"))?;
    expect(info.family == uapi::FAMILY_CI, || format!("family {}", info.family))?;
    let chip = chip(device)?;
    expect(chip.external_revs.contains(&info.external_rev), || {
        format!("external revision {:#x}", info.external_rev)
    })?;
    let has = (info.num_shader_engines, info.num_rb_pipes);
    expect(has == (chip.shader_engines, chip.backends), || {
        format!("{} shader engines, {} render backends", has.0, has.1)
    })?;
    let units: Vec<u32> =
        info.cu_bitmap.as_flattened().iter().copied().filter(|u| *u != 0).collect();
    expect(units.iter().map(|u| u.count_ones()).sum::<u32>() == info.cu_active_number, || {
        format!("{} CUs, and {units:x?}", info.cu_active_number)
    })?;
    expect(units.iter().all(|u| u >> chip.units_per_engine == 0), || format!("CUs {units:x?}"))?;
    expect(info.gpu_counter_freq != 0, || "GPU counter frequency 0".into())?;
    expect(info.gart_page_size != 0 && info.pte_fragment_size != 0, || {
        format!("GART page {}, fragment {}", info.gart_page_size, info.pte_fragment_size)
    })?;
    // libdrm withholds half of the address space on this generation, and wants more than 4 GiB
    // of what is left.
    expect(info.virtual_address_max > 8 << 30, || {
        format!("address space ends at {:#x}", info.virtual_address_max)
    })?;
    Ok(format!(
        "{:#x} rev {:#x}, {} SE x {} SH, {} CUs, {} RBs, addresses {:#x}-{:#x}",
        info.device_id,
        info.external_rev,
        info.num_shader_engines,
        info.num_shader_arrays_per_engine,
        info.cu_active_number,
        info.num_rb_pipes,
        info.virtual_address_offset,
        info.virtual_address_max,
    ))
}

fn memory(device: &Device) -> Result<String, String> {
    let Memory { vram, cpu_accessible_vram: visible, gtt } =
        device.info(uapi::INFO_MEMORY).map_err(at("query"))?;
    for (name, heap) in [("VRAM", vram), ("visible VRAM", visible), ("GTT", gtt)] {
        expect(0 < heap.usable_heap_size && heap.usable_heap_size <= heap.total_heap_size, || {
            format!("{name}: {} of {} bytes usable", heap.usable_heap_size, heap.total_heap_size)
        })?;
        expect(heap.max_allocation <= heap.usable_heap_size, || {
            format!("{name}: largest allocation {}", heap.max_allocation)
        })?;
    }
    expect(visible.total_heap_size <= vram.total_heap_size, || {
        "more VRAM is visible than there is".into()
    })?;
    Ok(format!(
        "VRAM {} MiB ({} MiB visible), GTT {} MiB",
        vram.total_heap_size >> 20,
        visible.total_heap_size >> 20,
        gtt.total_heap_size >> 20,
    ))
}
