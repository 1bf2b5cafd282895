// SPDX-License-Identifier: GPL-2.0 OR MIT

//! A job that interrupts more often than there is room for in the ring of interrupts.

use std::{
    fs,
    thread,
    time::{
        Duration,
        Instant, //
    }, //
};

use amdgpu_client::{
    drm::Node,
    engine::Engine,
    ib::Stream,
    report::Outcome,
    sdma::Trap,
    session::{
        PATIENCE_MS,
        Session, //
    }, //
};

const ENGINE: Engine = Engine::Dma(0);
/// More than three times what the ring has room for.
const TRAPS: usize = 15_000;
/// Units of `/proc/PID/stat` in a second.
const USER_HZ: u64 = 100;
/// Time for which the thread that serves interrupts is watched afterward.
const QUIET: Duration = Duration::from_secs(1);

/// The processor time that the card's interrupt thread has taken.
fn time_of_thread() -> Result<Duration, String> {
    let ticks = |pid: &str| -> Option<u64> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (name, rest) = stat.rsplit_once(')')?;
        // utime and stime are the 14th and 15th field; the third comes first here.
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let time = |n: usize| fields.get(n)?.parse::<u64>().ok();
        (name.contains("(irq/") && name.contains("amdgpu"))
            .then(|| time(11).zip(time(12)))?
            .map(|(user, system)| user + system)
    };
    let processes = fs::read_dir("/proc").map_err(|e| format!("/proc: {e}"))?;
    processes
        .flatten()
        .find_map(|entry| ticks(entry.file_name().to_str()?))
        .map(|ticks| Duration::from_millis(ticks * 1000 / USER_HZ))
        .ok_or_else(|| "no interrupt thread is there".into())
}

pub fn run(node: &Node) -> Outcome {
    let session = Session::open(node).map_err(|e| format!("a session: {e}"))?;
    let other = Session::open(node).map_err(|e| format!("a session: {e}"))?;
    let mut stream = Stream::new();
    for _ in 0..TRAPS {
        stream.push(Trap);
    }
    let start = Instant::now();
    let seq = session.submit(ENGINE, &stream, &[]).map_err(|e| format!("CS: {e}"))?;
    for engine in [Engine::Gfx, Engine::Compute(0)] {
        other.prove_alive(engine)?;
    }
    let others = start.elapsed();
    match session.wait(ENGINE, seq, PATIENCE_MS) {
        Ok(true) => {}
        answer => return Err(format!("the job: {answer:?}")),
    }
    let own = start.elapsed();
    let before = time_of_thread()?;
    thread::sleep(QUIET);
    let busy = time_of_thread()?.saturating_sub(before);
    let seen = format!(
        "{TRAPS} interrupts in {own:.0?}, others' jobs done after {others:.0?}, \
         then {busy:?} of {QUIET:?} in the interrupt thread"
    );
    if busy > QUIET / 4 {
        return Err(format!("{seen}: it does not come to rest"));
    }
    if others > Duration::from_secs(5) {
        return Err(format!("{seen}: others had to wait"));
    }
    Ok(seen)
}
