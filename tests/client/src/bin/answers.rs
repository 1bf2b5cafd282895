// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Prints what the driver answers to every question of INFO, and to every ioctl number, for a
//! comparison of two drivers line by line. It judges nothing.

use std::{
    path::PathBuf,
    process::ExitCode, //
};

use amdgpu_client::{
    args::Args,
    drm::{
        File,
        Node, //
    },
    num::u32_of,
    report::give_up,
    uapi::{
        Addr,
        COMMAND_BASE,
        DRM_TYPE,
        INFO,
        Info,
        encode, //
    }, //
};

/// More than any answer is long.
const ROOM: usize = 1024;
const MARK: u8 = 0x5a;

/// At this one the C driver, without power management, follows a null pointer.
const VCE_CLOCK_TABLE: u32 = 0x1a;

/// Arguments that a query may take: kinds, instances, indices.
fn arguments() -> impl Iterator<Item = [u32; 4]> {
    let kinds = (0..26).map(|kind| [kind, 0, 0, 0]);
    kinds.chain([[0, 1, 0, 0], [8, 0, 1, 0], [u32::MAX; 4]])
}

fn main() -> ExitCode {
    let args = Args::parse(
        "Prints what the driver answers to every question.",
        &[("node", "device node (default: the first amdgpu render node)")],
    );
    let node = match Node::find(args.get::<PathBuf>("node").as_deref()) {
        Ok(node) => node,
        Err(why) => return give_up("answers", why),
    };
    let file = match node.open() {
        Ok(file) => file,
        Err(why) => return give_up("answers", why),
    };
    for query in (0..0x40).filter(|&query| query != VCE_CLOCK_TABLE) {
        for param in arguments() {
            println!("INFO {query:#04x} {param:x?}: {}", answer(&file, query, param, ROOM));
        }
        for size in [1, 3, 5, 17] {
            println!("INFO {query:#04x}, {size} bytes: {}", answer(&file, query, [0; 4], size));
        }
    }
    for number in 0..0x60 {
        for byte in [0, 0xff] {
            let mut argument = [byte; 256];
            let request = encode(3, DRM_TYPE, COMMAND_BASE + number, argument.len());
            let answer = file.call_any(request, &mut argument);
            println!("ioctl {number:#04x} of {byte:#04x}: {answer:?}");
        }
    }
    ExitCode::SUCCESS
}

/// The bytes that the kernel wrote, or its error.
fn answer(file: &File, query: u32, param: [u32; 4], size: usize) -> String {
    let mut out = [MARK; ROOM];
    let request =
        Info { return_pointer: Addr::of_mut(&mut out), return_size: u32_of(size), query, param };
    match file.call(INFO, &request) {
        Err(e) => e.to_string(),
        Ok(()) => {
            let end = out.iter().rposition(|&byte| byte != MARK).map_or(0, |last| last + 1);
            let hex: String = out[..end].iter().map(|byte| format!("{byte:02x}")).collect();
            format!("{end} bytes {hex}")
        }
    }
}
