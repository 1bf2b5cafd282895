// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Views of a card that was given up: of jobs, of mappings, and of who listens.

use std::{
    thread,
    time::{
        Duration,
        Instant, //
    }, //
};

use crate::{
    Errno,
    engine::Engine,
    hang::submit,
    ib::Stream,
    loss::Marked,
    report::Outcome,
    session::{
        PATIENCE_MS,
        Session, //
    },
    uevent::Uevents, //
};

/// Checks that a job is refused, or ends with that error.
///
/// # Errors
///
/// As text.
pub fn refuses(session: &Session, engine: Engine) -> Outcome {
    let answer = submit(session, 0, engine, &Stream::new())
        .and_then(|seq| session.wait(engine, seq, PATIENCE_MS));
    match answer {
        Err(Errno(libc::ECANCELED)) => Ok("ECANCELED".into()),
        answer => Err(format!("{engine}: {answer:?}, not ECANCELED")),
    }
}

/// Checks that mappings show system memory, and of VRAM a page that can be written.
///
/// The kernel takes the mapping away after it has ended the last job, and said that the card is
/// lost: that may take so long.
///
/// # Errors
///
/// As text.
pub fn shows_nobodys_page(system: &Marked, vram: &Marked, patience: Duration) -> Outcome {
    let start = Instant::now();
    while vram.right_here() != 0 && start.elapsed() < patience {
        thread::sleep(Duration::from_millis(10));
    }
    let map = &vram.buffer().map;
    map.write(64, 7);
    match (system.right_here(), vram.right_here(), map.read(64)) {
        (all, 0, 7) if all == system.pages() => Ok("and can be written".into()),
        seen => Err(format!("pages as they were, of system memory and VRAM: {seen:?}")),
    }
}

/// Checks that user space is asked to bind the driver again, within this time.
///
/// # Errors
///
/// As text.
pub fn asks_for_rebind(events: &Uevents, patience: Duration) -> Outcome {
    let lines = events.next_with("WEDGED=", patience).ok_or("there was no event")?;
    let told = lines.into_iter().find(|line| line.starts_with("WEDGED="));
    match told.as_deref() {
        Some("WEDGED=rebind") => Ok("WEDGED=rebind".into()),
        told => Err(format!("{told:?}")),
    }
}
