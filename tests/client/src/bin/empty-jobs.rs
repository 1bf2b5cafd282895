// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Two jobs that do nothing, on each engine: for what a driver puts around a command buffer
//! (`make bringup-diff`). The first job on a ring comes with the address space, the second finds it
//! there.

use std::process::ExitCode;

use amdgpu_client::{
    args::Args,
    engine::Engine,
    ib::Stream,
    report::Tally,
    start::{
        NODE,
        Start, //
    }, //
};

fn main() -> ExitCode {
    let args = Args::parse("Runs two jobs that do nothing on each engine.", &[NODE]);
    let start = match Start::new("empty-jobs", &args) {
        Ok(start) => start,
        Err(status) => return status,
    };
    let mut tally = Tally::new();
    for engine in Engine::ALL {
        for which in ["the first", "the second"] {
            tally.check(format!("{engine}: {which}"), || {
                start.session.run(engine, &Stream::new(), &[]).map(|()| String::new())
            });
        }
    }
    tally.close()
}
