// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The card's place in the machine: the link to it, and legacy VGA. Checked where there are such
//! things: a card may be plugged into no port, and be of a class that knows no VGA. The C driver
//! answers these questions otherwise.

use std::{
    fs::{
        self,
        File, //
    },
    io::{
        Read,
        Write, //
    }, //
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

pub fn checks(device: &Device, node: &Node, tally: &mut Tally) {
    if node.driver == Driver::Reference {
        return;
    }
    let of_bus = |name: &str| {
        let path = format!("/sys/bus/pci/devices/{}/{name}", node.slot);
        fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default()
    };
    let lanes = of_bus("current_link_width");
    if !matches!(lanes.as_str(), "" | "0" | "63") {
        tally.check("DEV_INFO has the link to the card as it is", || {
            link(device, &of_bus("current_link_speed"), &lanes)
        });
    }
    if of_bus("class").starts_with(VGA) {
        tally.check("the card answers to no legacy VGA address", || legacy(node));
    }
}

fn link(device: &Device, speed: &str, lanes: &str) -> Result<String, String> {
    const SPEEDS: [&str; 6] = ["2.5", "5.0", "8.0", "16.0", "32.0", "64.0"];
    let info: DevInfo = device.info(uapi::INFO_DEV_INFO).map_err(at("query"))?;
    let known = SPEEDS.iter().zip(1..).find(|(text, _)| speed.starts_with(&format!("{text} GT/s")));
    let (_, generation) = known.ok_or_else(|| format!("the bus says a speed of '{speed}'"))?;
    let has = (info.pcie_gen, info.pcie_num_lanes.to_string());
    expect(has == (generation, lanes.into()), || {
        format!("generation {}, {} lanes; the bus says {speed}, {lanes} lanes", has.0, has.1)
    })?;
    Ok(format!("generation {generation}, {lanes} lanes"))
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
