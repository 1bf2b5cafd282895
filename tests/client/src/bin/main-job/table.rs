// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The table at the end: for each phase, what was moved and what the driver counted.

use std::time::{
    Duration,
    Instant, //
};

use amdgpu_client::{
    drm::Node,
    stats::Stats,
    trace, //
};

/// Work of a phase.
#[derive(Default)]
pub struct Work {
    /// Bytes that the GPU wrote.
    pub bytes: u64,
    /// Jobs that ran.
    pub jobs: usize,
    /// Submissions that the kernel refused, as it may during a race.
    pub refused: usize,
    /// All else that there is to say.
    pub note: String,
}

struct Row {
    name: &'static str,
    work: Work,
    stats: Stats,
    time: Duration,
    ok: bool,
}

/// Rows in the making.
pub struct Table {
    slot: String,
    rows: Vec<Row>,
}

impl Table {
    /// No rows yet.
    pub fn new(node: &Node) -> Self {
        Self { slot: node.slot.clone(), rows: Vec::new() }
    }

    /// Runs a phase and gives it a row, whether it goes well or not. `judge` says what the
    /// driver's counters must have done meanwhile.
    pub fn phase(
        &mut self,
        name: &'static str,
        judge: impl FnOnce(&Stats) -> Result<(), String>,
        phase: impl FnOnce(&mut Work) -> Result<(), String>,
    ) -> Result<(), String> {
        let (before, started) = (Stats::read(&self.slot), Instant::now());
        let mut work = Work::default();
        trace::mark(&format!("phase {name}"));
        let result = phase(&mut work);
        trace::mark("phase over");
        let stats = Stats::read(&self.slot).since(before);
        let result = result.and_then(|()| judge(&stats)).map_err(|why| format!("{name}: {why}"));
        self.rows.push(Row { name, work, stats, time: started.elapsed(), ok: result.is_ok() });
        result
    }

    /// Prints what there is.
    pub fn print(&self) {
        println!(
            "{:<11} {:>9} {:>5} {:>8} {:>8} {:>13} {:>8} {:>8} {:>8} {:>8}  result",
            "phase",
            "MiB",
            "jobs",
            "gathers",
            "pages",
            "invalidations",
            "retries",
            "edeadlk",
            "refused",
            "seconds"
        );
        for Row { name, work, stats, time, ok } in &self.rows {
            println!(
                "{name:<11} {:>9} {:>5} {:>8} {:>8} {:>13} {:>8} {:>8} {:>8} {:>8.2}  {}{}{}",
                work.bytes >> 20,
                work.jobs,
                stats.gathers,
                stats.pages_gathered,
                stats.invalidations,
                stats.retries,
                stats.edeadlk,
                work.refused,
                time.as_secs_f64(),
                if *ok { "ok" } else { "FAILED" },
                if work.note.is_empty() { "" } else { ", " },
                work.note,
            );
        }
    }
}
