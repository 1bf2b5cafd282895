// SPDX-License-Identifier: GPL-2.0 OR MIT

//! A card that the driver takes, but not without reservations: for guests with such cards.
//!
//! `--state hot`: too hot for jobs (`--fail hot` of the model): each is refused. `--state
//! left-out`: some rings have failed their tests (`--fail ring-gfx` and the like): the driver tells
//! of the others only, and jobs for a kind of ring of which none is left are refused.

use std::process::ExitCode;

use amdgpu_client::{
    Errno,
    args::{
        Args,
        Known, //
    },
    engine::Engine,
    ib::Stream,
    report::{
        Outcome,
        Tally, //
    },
    session::Session,
    start::{
        NODE,
        Start, //
    },
    uapi::{
        HwIp,
        INFO_HW_IP_INFO, //
    }, //
};

const STATE: Known = ("state", "what is the matter with the card: hot or left-out");
/// The rings that are left, as a list without blanks.
const LEFT: Known = ("left", "engines that work, with a comma between each two (default: none)");

/// A job that must be refused with this error.
fn refused(session: &Session, engine: Engine, error: Errno) -> Outcome {
    match session.submit(engine, &Stream::new(), &[]) {
        Err(e) if e == error => Ok(e.to_string()),
        Err(e) => Err(format!("{e}, not {error}")),
        Ok(_) => Err("the job is taken".into()),
    }
}

/// The rings that the driver tells of must be those that are left.
fn told(session: &Session, engine: Engine, left: bool) -> Outcome {
    let info: HwIp = session
        .file
        .info(INFO_HW_IP_INFO, [engine.ip_type(), 0, 0, 0])
        .map_err(|e| format!("HW_IP_INFO: {e}"))?;
    let rings = info.available_rings;
    if (rings >> engine.ring() & 1 != 0) == left {
        Ok(format!("rings {rings:#b}"))
    } else {
        Err(format!("rings {rings:#b}"))
    }
}

fn main() -> ExitCode {
    let args = Args::parse(
        "Runs jobs on a card with which something is the matter.",
        &[NODE, STATE, LEFT],
    );
    let start = match Start::new("poor-card", &args) {
        Ok(start) => start,
        Err(status) => return status,
    };
    let session = &start.session;
    let mut tally = Tally::new();
    if args.get::<String>(STATE.0).as_deref() == Some("hot") {
        for engine in Engine::ALL {
            tally.check(format!("{engine} takes no jobs"), || {
                refused(session, engine, Errno(libc::EBUSY))
            });
        }
        return tally.close();
    }
    let left = args.get::<String>(LEFT.0).unwrap_or_default();
    for engine in Engine::ALL {
        let is_left = left.split(',').any(|name| name == engine.to_string());
        tally.check(format!("{engine} is told of as it is"), || told(session, engine, is_left));
        if is_left {
            tally.check(format!("{engine} works"), || {
                session.prove_alive(engine).map(|()| String::new())
            });
        } else if !engine.is_dma() {
            tally.check(format!("{engine} takes no jobs"), || {
                refused(session, engine, Errno(libc::ENOENT))
            });
        }
    }
    tally.close()
}
