// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The module's self-test: reports how a card comes up, in the order in which a person needs it.
//! docs/first-boot.md says what the lines mean.
//!
//! The C driver has no self-test.

use kernel::{
    device::Bound,
    fmt,
    io::Io,
    pci,
    prelude::*, //
};

use crate::{
    abstractions::pci::find_capability,
    debug::report::Report,
    device::Device,
    exec::{
        memory_test,
        shader_test, //
    },
    hw::{
        card::Card,
        vbios::Vbios,
        Chip, //
    }, //
};

/// Most memory that is tested, in MiB.
const MOST_MIB: u32 = 1024;

/// Reports the card as the firmware has left it. Called before the driver changes anything.
pub(crate) fn found(pdev: &pci::Device<Bound>, hw: &Chip, card: &Card<'_>, report: &Report) {
    report.say(fmt!("version"), fmt!("1"));
    report.say(
        fmt!("pci.id"),
        fmt!("{:04x}:{:04x}", pdev.vendor_id().as_raw(), pdev.device_id()),
    );
    report.say(fmt!("pci.revision"), fmt!("{:#04x}", pdev.revision_id()));
    report.say(
        fmt!("pci.subsystem"),
        fmt!(
            "{:04x}:{:04x}",
            pdev.subsystem_vendor_id(),
            pdev.subsystem_device_id()
        ),
    );
    report.say(fmt!("pci.class"), fmt!("{}", pdev.pci_class()));
    match link(pdev) {
        Some((capability, status)) => report.say(
            fmt!("pci.link"),
            fmt!("capability {capability:#010x}, status {status:#06x}"),
        ),
        None => report.say(fmt!("pci.link"), fmt!("none")),
    }
    for bar in [0, 2, 5] {
        let size = pdev.resource_len(bar).unwrap_or(0);
        report.say(fmt!("pci.bar{bar}"), fmt!("{size:#x}"));
    }
    let mut say = |name: fmt::Arguments<'_>, value: fmt::Arguments<'_>| {
        report.say(fmt!("found.{name}"), value);
    };
    hw.system.survey(card, &mut say);
    power("found", hw, card, report);
}

/// Returns capability and status of the card's PCI Express link, or `None` if it has none.
fn link(pdev: &pci::Device<Bound>) -> Option<(u32, u16)> {
    /// `PCI_CAP_ID_EXP`, and registers of that capability.
    const PCI_EXPRESS: u8 = 0x10;
    const LINK_CAPABILITY: usize = 0x0c;
    const LINK_STATUS: usize = 0x12;

    let at = find_capability(pdev, PCI_EXPRESS)?;
    let config = pdev.config_space();
    let capability = config.try_read32(at + LINK_CAPABILITY).ok()?;
    Some((capability, config.try_read16(at + LINK_STATUS).ok()?))
}

/// Reports what the video BIOS says.
pub(crate) fn vbios(vbios: &Vbios, report: &Report) {
    let clocks = &vbios.clocks;
    report.say(fmt!("rom.source"), fmt!("{:?}", vbios.source));
    report.say(fmt!("rom.size"), fmt!("{:#x}", vbios.image.len()));
    report.say(fmt!("rom.engine_10khz"), fmt!("{}", clocks.engine));
    report.say(fmt!("rom.memory_10khz"), fmt!("{}", clocks.memory));
    report.say(fmt!("rom.reference_10khz"), fmt!("{}", clocks.reference));
}

/// Reports what the driver takes the card for, and tests VRAM before any engine runs.
pub(crate) fn memory(device: &Device, card: &Card<'_>, report: &Report) {
    let (vram, memory) = (&device.facts.vram, &device.facts.memory);
    let graphics = &device.facts.graphics;
    report.say(
        fmt!("card.vram"),
        fmt!("{:#x} at {:#x}", vram.size, vram.start),
    );
    report.say(
        fmt!("card.memory"),
        fmt!("kind {}, {} bits", memory.kind, memory.bus_width),
    );
    let link = device.facts.link;
    report.say(
        fmt!("card.link"),
        fmt!("generation {}, {} lanes", link.generation, link.lanes),
    );
    report.say(fmt!("card.units"), fmt!("{:x?}", graphics.units));
    report.say(fmt!("card.backends"), fmt!("{:#x}", graphics.backends));
    memory_test::by_cpu(device, card, report);
}

/// Tests `mib` MiB of memory with the DMA engines, and the compute units, neither if it is 0.
/// Reports how the card is then.
pub(crate) fn engines(
    device: &Device,
    pdev: &pci::Device<Bound>,
    mib: u32,
    report: &Report,
) -> Result {
    if mib != 0 {
        memory_test::by_engines(device, pdev.as_ref(), mib.min(MOST_MIB), report)?;
        shader_test::run(device, pdev.as_ref(), report)?;
    }
    power("end", device.hw, device.card.access(pdev.as_ref())?, report);
    Ok(())
}

fn power(when: &str, hw: &Chip, card: &Card<'_>, report: &Report) {
    let mut say = |name: fmt::Arguments<'_>, value: fmt::Arguments<'_>| {
        report.say(fmt!("{when}.{name}"), value);
    };
    hw.system.survey_power(card, &mut say);
    let condition = hw.system.condition(card);
    report.say(fmt!("{when}.celsius"), fmt!("{}", condition.temperature));
}
