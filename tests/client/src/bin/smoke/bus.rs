// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The card's place in the machine: the addresses that it may be given, the link to it, and legacy
//! VGA. The latter two are checked where there are such things: a card may be plugged into no port,
//! and be of a class that knows no VGA. The C driver answers them otherwise.

use std::{
    fs::{
        self,
        File, //
    },
    io::{
        Read,
        Write, //
    },
    path::Path, //
};

use amdgpu_client::{
    drm::{
        Driver,
        Node, //
    },
    libdrm::Device,
    report::Tally,
    uapi::{
        self,
        DevInfo, //
    }, //
};

use crate::{
    at,
    expect, //
};

/// PCI class of VGA devices, without the interface.
const VGA: &str = "0x0300";

/// The memory controller's addresses on the bus.
const ADDRESS_BITS: &str = "40";

pub fn checks(device: &Device, node: &Node, tally: &mut Tally) {
    let place = fs::canonicalize(format!("/sys/bus/pci/devices/{}", node.slot)).unwrap_or_default();
    tally.check(format_args!("bus addresses have {ADDRESS_BITS} bits"), || mask(&place));
    if node.driver == Driver::Reference {
        return;
    }
    // The card, and the bridges before it.
    let links: Vec<_> = place.ancestors().filter_map(Link::of).collect();
    if let Some(slowest) = links.iter().rev().min_by_key(|link| link.bandwidth()) {
        tally.check("DEV_INFO has the link to the card as it is", || is_told(device, slowest));
    }
    if fs::read_to_string(place.join("class")).is_ok_and(|class| class.starts_with(VGA)) {
        tally.check("the card answers to no legacy VGA address", || legacy(node));
    }
}

/// What the kernel was told of the addresses: of memory that it makes for the card, and of memory
/// that it maps for the card.
fn mask(place: &Path) -> Result<String, String> {
    for file in ["dma_mask_bits", "consistent_dma_mask_bits"] {
        let path = place.join(file);
        let bits = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        expect(bits.trim() == ADDRESS_BITS, || format!("{file} is {}", bits.trim()))?;
    }
    Ok(String::new())
}

/// The upper link of a device on the bus, as it is now.
struct Link {
    generation: u32,
    lanes: u32,
}

impl Link {
    /// Nothing where there is none.
    fn of(device: &Path) -> Option<Self> {
        const SPEEDS: [&str; 6] = ["2.5", "5.0", "8.0", "16.0", "32.0", "64.0"];
        let read = |name: &str| fs::read_to_string(device.join(name)).ok();
        let (speed, lanes) = (read("current_link_speed")?, read("current_link_width")?);
        let lanes = lanes.trim().parse().ok().filter(|lanes| (1..=32).contains(lanes))?;
        let mut known = SPEEDS.iter().zip(1..);
        let (_, generation) = known.find(|(text, _)| speed.starts_with(&format!("{text} GT/s")))?;
        Some(Self { generation, lanes })
    }

    /// In units of a lane's of the first generation.
    const fn bandwidth(&self) -> u32 {
        self.lanes << self.generation
    }
}

fn is_told(device: &Device, link: &Link) -> Result<String, String> {
    let info: DevInfo = device.info(uapi::INFO_DEV_INFO).map_err(at("query"))?;
    let (has, is) = ((info.pcie_gen, info.pcie_num_lanes), (link.generation, link.lanes));
    expect(has == is, || format!("generation and lanes {has:?}; the bus says {is:?}"))?;
    Ok(format!("generation {}, {} lanes", link.generation, link.lanes))
}

/// The arbiter knows that the card needs none, and nobody may tell it otherwise.
fn legacy(node: &Node) -> Result<String, String> {
    let mut arbiter = File::options()
        .read(true)
        .write(true)
        .open("/dev/vga_arbiter")
        .map_err(|e| format!("/dev/vga_arbiter: {e}"))?;
    let mut seen = String::new();
    for request in [format!("target PCI:{}", node.slot), "decodes io+mem".into()] {
        arbiter.write_all(request.as_bytes()).map_err(|e| format!("{request}: {e}"))?;
        let mut text = [0; 256];
        let len = arbiter.read(&mut text).map_err(|e| format!("after {request}: {e}"))?;
        seen = String::from_utf8_lossy(&text[..len]).trim().to_owned();
        expect(seen.contains(&node.slot) && seen.contains(",decodes=none,"), || {
            format!("after '{request}': {seen}")
        })?;
    }
    Ok(seen)
}
