// SPDX-License-Identifier: GPL-2.0 OR MIT

//! `/proc/PID/fdinfo/FD` of an open file: engine time and memory, for monitors (nvtop, gputop,
//! amdgpu_top). The C driver has this in amdgpu_fdinfo.c (`amdgpu_show_fdinfo`).
//!
//! `Documentation/gpu/drm-usage-stats.rst` defines the keys that begin with `drm-`. The DRM core
//! prints those that identify the driver, the device and the file.
//!
//! A BO counts in its *region*, which is where its preferred domains put it (`total`, `shared`,
//! `evicted`), or where it lies (`resident`, `purgeable`, `active`). Page tables count, too. A BO
//! in system memory that the GPU does not reach counts as resident there even if it is swapped out,
//! or if it has no pages yet, as with the C driver.
//!
//! Everything is counted when the file is read, without a reservation: what moves meanwhile may
//! be counted in its former place.

use core::fmt::{
    self,
    Write, //
};

use crate::{
    abstractions::drm::{
        file::Printer,
        gem::ObjectExt,
        ttm::MemType, //
    },
    drm::{
        DrmDevice,
        DrmFile, //
    },
    exec::engine_time::EngineTime,
    hw::command::EngineKind,
    ttm::{
        Bo,
        Domains, //
    },
};

/// Writes what is known of an open file.
pub(crate) fn show(dev: &DrmDevice, file: &DrmFile, printer: &mut Printer) {
    let mut memory = Memory::default();
    let file = file.inner().get_ref();
    file.vm.for_each_bo(|bo| {
        // On-chip memory is no memory of the system or the card: its pages are units.
        if bo.domains().on_chip().is_none() {
            memory.add(&Counted::from(bo));
        }
    });

    // The printer tells the reader if there is no room.
    let _ = memory.write(printer);
    // What runs at present counts, too.
    dev.schedulers.settle();
    let _ = engines(dev, file.contexts.engine_time(), printer);
}

/// Kinds of engines, with the names that the C driver gives them.
const ENGINES: [(EngineKind, &str); 3] = [
    (EngineKind::Gfx, "gfx"),
    (EngineKind::Compute, "compute"),
    (EngineKind::Sdma, "dma"),
];

/// Writes the engine time, and how many rings share the work where there are several.
fn engines(dev: &DrmDevice, time: &EngineTime, to: &mut Printer) -> fmt::Result {
    for (engine, name) in ENGINES {
        let count = dev.schedulers.count(engine);
        writeln!(to, "drm-engine-{name}:\t{} ns", time.get(engine))?;
        if count > 1 {
            writeln!(to, "drm-engine-capacity-{name}:\t{count}")?;
        }
    }
    Ok(())
}

/// A kind of memory that BOs are counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Region {
    Vram,
    Gtt,
    Cpu,
}

impl Region {
    const ALL: [Self; 3] = [Self::Vram, Self::Gtt, Self::Cpu];

    /// Returns the name that the C driver gives the region.
    fn name(self) -> &'static str {
        match self {
            Self::Vram => "vram",
            Self::Gtt => "gtt",
            Self::Cpu => "cpu",
        }
    }

    /// Returns the region that a BO counts in by its preferred domains: of several, VRAM before GTT
    /// before the rest.
    fn preferred(domains: Domains) -> Self {
        match domains {
            _ if domains.has(Domains::VRAM) => Self::Vram,
            _ if domains.has(Domains::GTT) => Self::Gtt,
            _ => Self::Cpu,
        }
    }

    fn of(mem_type: MemType) -> Self {
        match mem_type {
            MemType::VRAM => Self::Vram,
            MemType::TT => Self::Gtt,
            _ => Self::Cpu,
        }
    }

    /// Returns true if the domains include the region.
    fn is_in(self, domains: Domains) -> bool {
        match self {
            Self::Vram => domains.has(Domains::VRAM),
            Self::Gtt => domains.has(Domains::GTT),
            Self::Cpu => domains.has(Domains::CPU),
        }
    }
}

/// Facts of a BO that are counted.
struct Counted {
    size: u64,
    domains: Domains,
    /// Kind of memory of the BO; `None` if it has none.
    lies_in: Option<Region>,
    is_shared: bool,
    is_purgeable: bool,
    is_active: bool,
}

impl From<&Bo> for Counted {
    fn from(bo: &Bo) -> Self {
        Self {
            // LOSSLESS: `usize` has 64 bits.
            size: ObjectExt::size(bo) as u64,
            domains: bo.domains(),
            lies_in: bo.last_mem_type().map(Region::of),
            is_shared: bo.is_shared(),
            is_purgeable: bo.is_discardable(),
            is_active: !bo.resv().is_idle(bo.usage_by_jobs()),
        }
    }
}

/// Bytes of the BOs that count in a region.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Bytes {
    total: u64,
    shared: u64,
    resident: u64,
    purgeable: u64,
    active: u64,
    evicted: u64,
}

/// Bytes of a file's BOs.
#[derive(Default)]
struct Memory([Bytes; Region::ALL.len()]);

impl Memory {
    fn region(&mut self, region: Region) -> &mut Bytes {
        // CAST: The discriminants are the indices.
        &mut self.0[region as usize]
    }

    fn add(&mut self, bo: &Counted) {
        let size_if = |condition: bool| if condition { bo.size } else { 0 };
        let preferred = Region::preferred(bo.domains);
        let is_evicted = bo
            .lies_in
            .is_some_and(|region| region != preferred && !region.is_in(bo.domains));

        let preferred = self.region(preferred);
        preferred.total += bo.size;
        preferred.shared += size_if(bo.is_shared);
        preferred.evicted += size_if(is_evicted);
        if let Some(region) = bo.lies_in {
            let there = self.region(region);
            there.resident += bo.size;
            there.purgeable += size_if(bo.is_purgeable);
            there.active += size_if(bo.is_active);
        }
    }

    /// Writes the keys of all regions, and then those of the C driver alone.
    fn write(&mut self, to: &mut impl Write) -> fmt::Result {
        for region in Region::ALL {
            let (bytes, name) = (*self.region(region), region.name());
            write_size(to, "drm-total", name, bytes.total)?;
            write_size(to, "drm-shared", name, bytes.shared)?;
            write_size(to, "drm-active", name, bytes.active)?;
            write_size(to, "drm-resident", name, bytes.resident)?;
            write_size(to, "drm-purgeable", name, bytes.purgeable)?;
            write_size(to, "drm-memory", name, bytes.resident)?;
        }
        let (vram, gtt) = (*self.region(Region::Vram), *self.region(Region::Gtt));
        write_size(to, "amd-evicted", Region::Vram.name(), vram.evicted)?;
        write_size(to, "amd-requested", Region::Vram.name(), vram.total)?;
        write_size(to, "amd-requested", Region::Gtt.name(), gtt.total)
    }
}

/// Writes a size under a key. Sizes are whole pages.
fn write_size(to: &mut impl Write, key: &str, region: &str, bytes: u64) -> fmt::Result {
    writeln!(to, "{key}-{region}:\t{} KiB", bytes >> 10)
}

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
#[kernel::prelude::kunit_tests(amdgpu_rs_fdinfo)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn bo(domains: Domains, lies_in: Option<Region>) -> Counted {
        Counted {
            size: MIB,
            domains,
            lies_in,
            is_shared: false,
            is_purgeable: false,
            is_active: false,
        }
    }

    fn count(bos: &[Counted]) -> Memory {
        let mut memory = Memory::default();
        for bo in bos {
            memory.add(bo);
        }
        memory
    }

    #[test]
    fn a_bo_counts_where_it_is_wanted_and_where_it_lies() {
        let mut memory = count(&[
            bo(Domains::VRAM, Some(Region::Vram)),
            bo(Domains::VRAM, Some(Region::Gtt)),
            bo(Domains::VRAM, None),
            bo(Domains::VRAM.or_gtt(), Some(Region::Gtt)),
            bo(Domains::GTT, Some(Region::Cpu)),
            bo(Domains::from_bits(0), Some(Region::Cpu)),
        ]);
        let vram = Bytes {
            total: 4 * MIB,
            resident: MIB,
            evicted: MIB,
            ..Bytes::default()
        };
        let gtt = Bytes {
            total: MIB,
            resident: 2 * MIB,
            evicted: MIB,
            ..Bytes::default()
        };
        let cpu = Bytes {
            total: MIB,
            resident: 2 * MIB,
            ..Bytes::default()
        };
        assert_eq!(*memory.region(Region::Vram), vram);
        assert_eq!(*memory.region(Region::Gtt), gtt);
        assert_eq!(*memory.region(Region::Cpu), cpu);
    }

    #[test]
    fn what_has_no_memory_is_neither_purgeable_nor_active() {
        let of = |lies_in| Counted {
            is_shared: true,
            is_purgeable: true,
            is_active: true,
            ..bo(Domains::GTT, lies_in)
        };
        let mut memory = count(&[of(None), of(Some(Region::Gtt))]);
        let gtt = Bytes {
            total: 2 * MIB,
            shared: 2 * MIB,
            resident: MIB,
            purgeable: MIB,
            active: MIB,
            evicted: 0,
        };
        assert_eq!(*memory.region(Region::Gtt), gtt);
    }

    #[test]
    fn domains_that_name_nothing_count_as_the_processors() {
        for domains in [Domains::from_bits(0), Domains::CPU] {
            assert_eq!(Region::preferred(domains), Region::Cpu);
        }
        assert_eq!(Region::preferred(Domains::masked(7)), Region::Vram);
        assert_eq!(Region::preferred(Domains::masked(3)), Region::Gtt);
    }
}
