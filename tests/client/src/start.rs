// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The start of programs that test one device by raw ioctls on one engine.

use std::{
    path::PathBuf,
    process::ExitCode, //
};

use crate::{
    args::{
        Args,
        Known, //
    },
    drm::Node,
    engine::Engine,
    report::give_up,
    session::Session, //
};

/// The option that [`Start::new`] takes the device from.
pub const NODE: Known = ("node", "device node (default: the first amdgpu render node)");
/// And the engine.
pub const ENGINE: Known = ("engine", "gfx, compute0..3, dma0, dma1 (default dma0)");

/// Device, engine and file of such a program.
#[derive(Debug)]
pub struct Start {
    /// The device.
    pub node: Node,
    /// Engine on which jobs are to run.
    pub engine: Engine,
    /// An open file.
    pub session: Session,
}

impl Start {
    /// Finds what the options ask for, and says what was found.
    ///
    /// # Errors
    ///
    /// The status with which the program is to end; why was said.
    pub fn new(program: &str, args: &Args) -> Result<Self, ExitCode> {
        let engine = args.get(ENGINE.0).unwrap_or(Engine::Dma(0));
        let node = Node::find(args.get::<PathBuf>(NODE.0).as_deref())
            .map_err(|why| give_up(program, why))?;
        let session =
            Session::open(&node).map_err(|e| give_up(program, format_args!("a session: {e}")))?;
        println!(
            "{program}: {} ({}, driver {}), engine {engine}",
            node.path.display(),
            node.slot,
            node.driver.name(),
        );
        Ok(Self { node, engine, session })
    }
}
