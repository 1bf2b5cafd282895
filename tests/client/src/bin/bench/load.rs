// SPDX-License-Identifier: GPL-2.0 OR MIT

//! From loading the module to the first fence.

use std::process::Command;

use amdgpu_client::{
    clock::Meter,
    drm::Node,
    engine::Engine,
    ib::Stream,
    session::Session, //
};

use crate::{
    Outcome,
    say, //
};

/// Runs `command`, which loads the driver, and then a first job.
pub fn to_first_fence(meter: &Meter, command: &str) -> Outcome {
    let (loading, loaded) = meter.machine(|| Command::new("sh").args(["-c", command]).status());
    match loaded {
        Ok(status) if status.success() => {}
        Ok(status) => return Err(format!("{command}: {status}")),
        Err(e) => return Err(format!("{command}: {e}")),
    }
    let (first_job, done) = meter.machine(|| {
        let session = Session::open(&Node::find(None)?).map_err(|e| format!("open: {e}"))?;
        session.run(Engine::Gfx, &Stream::new(), &[])
    });
    done?;
    say("load the module, all", "", loading);
    say("load to first fence, all", "", loading + first_job);
    Ok(())
}
