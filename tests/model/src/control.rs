// SPDX-License-Identifier: GPL-2.0 OR MIT
//! The control socket: one command a line, one line of answer each.
//!
//! `hold BLOCK` stops a block before its next packet, `release BLOCK` lets it go on (blocks: gfx,
//! compute, sdma0, sdma1, sdma), `fail NAME` injects a fault from now on, `status` tells what each
//! engine does and what is held, `violations` how many rules were broken, `job-errors` how many
//! errors users' jobs made, `help` the commands.

use std::{
    io::{
        BufRead,
        BufReader,
        Write, //
    },
    os::unix::net::{
        UnixListener,
        UnixStream, //
    },
    path::Path,
    thread, //
};

use anyhow::{
    Context,
    Result, //
};

use crate::{
    engine::{
        Block,
        EngineId, //
    },
    gpu::Gpu,
    machine::Handle, //
};

const HELP: &str = "hold BLOCK | release BLOCK | fail NAME | status | violations | \
    job-errors | help; BLOCK: gfx, compute, sdma0, sdma1, sdma";

/// Listens on `path` and serves each connection on a thread of its own.
pub fn listen(path: &Path, handle: Handle) -> Result<()> {
    let listener =
        UnixListener::bind(path).with_context(|| format!("control socket {}", path.display()))?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let handle = handle.clone();
            thread::spawn(move || serve(stream, &handle));
        }
    });
    Ok(())
}

fn serve(stream: UnixStream, handle: &Handle) {
    let Ok(mut out) = stream.try_clone() else { return };
    for line in BufReader::new(stream).lines().map_while(Result::ok) {
        let answer = handle.with(|g| command(g, &line));
        if writeln!(out, "{answer}").is_err() {
            return;
        }
    }
}

/// Executes one command and answers it.
pub fn command(g: &mut Gpu, line: &str) -> String {
    let mut words = line.split_whitespace();
    match (words.next(), words.next()) {
        (Some("hold"), Some(b)) => each(b, |b| g.hold(b)),
        (Some("release"), Some(b)) => each(b, |b| g.release(b)),
        (Some("fail"), Some(name)) => match g.config.inject.add(name) {
            Ok(()) => "ok".into(),
            Err(e) => format!("error: {e}"),
        },
        (Some("status"), None) => {
            let state = |e| match (g.hung(e), g.busy(e)) {
                (Some(why), _) => format!("hung ({})", why.lines().next().unwrap_or_default()),
                (None, true) => "busy".to_owned(),
                (None, false) => "idle".to_owned(),
            };
            let held = |e: EngineId| if g.is_held(e.block()) { "held, " } else { "" };
            let all: Vec<String> =
                g.engines().into_iter().map(|e| format!("{e}={}{}", held(e), state(e))).collect();
            all.join(" ")
        }
        (Some("violations"), None) => g.log.violation_count().to_string(),
        (Some("job-errors"), None) => {
            g.log.job_errors().values().map(|errors| errors.count).sum::<u64>().to_string()
        }
        (Some("help"), None) => HELP.into(),
        _ => format!("error: no such command: {line}; try help"),
    }
}

fn each(name: &str, mut f: impl FnMut(Block)) -> String {
    match Block::parse(name) {
        Some(blocks) => {
            blocks.into_iter().for_each(&mut f);
            "ok".into()
        }
        None => format!("error: no block is called {name}"),
    }
}
