// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The card's place in the machine: the link to it. Checked where there is one: a card may be plugged
//! into no port. The C driver answers otherwise.

use std::fs;

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
