// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Checks that the driver does what every user of an amdgpu device takes for granted, through an
//! unmodified libdrm: identity, information, memory, and work on each of the seven rings.

mod bus;
mod engines;
mod identity;
mod memory;
mod several;

use std::{
    path::PathBuf,
    process::ExitCode, //
};

use amdgpu_client::{
    args::Args,
    drm::Node,
    engine::Engine,
    libdrm::Device,
    report::{
        Tally,
        give_up, //
    }, //
};

fn main() -> ExitCode {
    let args = Args::parse(
        "Checks what every user of an amdgpu device takes for granted.",
        &[
            ("node", "device node (default: the first amdgpu render node)"),
            ("engine", "check this engine only: gfx, compute0..3, dma0, dma1"),
            ("user-memory", "'refused' where the platform bounces all DMA (default: given)"),
        ],
    );
    let node = match Node::find(args.get::<PathBuf>("node").as_deref()) {
        Ok(node) => node,
        Err(why) => return give_up("smoke", why),
    };
    println!("smoke: {} ({}, driver {})", node.path.display(), node.slot, node.driver.name());

    let mut tally = Tally::new();
    let only: Option<Engine> = args.get("engine");
    let user_memory = match args.get::<String>("user-memory").as_deref() {
        Some("refused") => UserMemory::Refused,
        _ => UserMemory::Given,
    };
    let device = Device::open(&node);
    tally.record(
        "libdrm takes the device",
        device.as_ref().map(|_| String::new()).map_err(Clone::clone),
    );
    if let Ok(device) = &device {
        if only.is_none() {
            identity::checks(device, &node, &mut tally);
            bus::checks(device, &node, &mut tally);
            memory::checks(device, user_memory, &mut tally);
            several::checks(device, &mut tally);
        }
        for engine in Engine::ALL {
            if only.is_none_or(|one| one == engine) {
                engines::checks(device, engine, user_memory, &mut tally);
            }
        }
    }
    tally.close()
}

/// Reach of the GPU to the memory of processes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum UserMemory {
    Given,
    /// The platform would have it work on copies.
    Refused,
}

/// Says what was being done when an error came.
fn at(what: &str) -> impl Fn(amdgpu_client::Errno) -> String {
    move |e| format!("{what}: {e}")
}

/// A condition, with what to say when it does not hold.
fn expect(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise()) }
}
