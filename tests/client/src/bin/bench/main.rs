// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Costs of the driver's calls, in instructions.
//!
//! To be run in a machine with one processor whose clock counts instructions (QEMU's
//! `-icount shift=0`: a nanosecond is an instruction), by `make bench`, which runs it on both
//! drivers and sets the figures side by side. Elsewhere the figures are nanoseconds.
//!
//! Each line of the result is `row`, a name, a point of that row (a size or a count), a value, all
//! separated by tabs. A value is the median of many samples: the processor time of the calling
//! thread within the ioctl, or, in rows whose name ends in `all`, of the whole machine, the
//! kernel's own threads included, until the work is done (see [`amdgpu_client::clock`]).

mod held;
mod load;
mod memory;
mod other;
mod pressure;
mod submit;

use std::{
    fmt::Display,
    path::PathBuf,
    process::ExitCode, //
};

use amdgpu_client::{
    args::Args,
    clock::Meter,
    drm::Node,
    report::give_up, //
};

/// Input of a row.
struct Bench {
    node: Node,
    meter: Meter,
    /// Number of samples behind a value, where one is cheap.
    samples: usize,
    /// The largest buffer that is made, in MiB.
    max_mib: usize,
}

/// Why a row has no figures.
type Outcome = Result<(), String>;

impl Bench {
    /// Sizes in pages that a row is made for, without those that are too large for this run.
    fn sizes(&self, pages: &[usize]) -> Vec<usize> {
        pages.iter().copied().filter(|&n| n <= self.max_mib * PAGES_PER_MIB).collect()
    }
}

/// Pages in a MiB.
const PAGES_PER_MIB: usize = 256;

/// Makes the figures of a row.
type Row = fn(&Bench) -> Outcome;

/// Every row, in the order of the table.
const ROWS: &[(&str, Row)] = &[
    ("submit-empty", submit::empty),
    ("submit-fence", submit::user_fence),
    ("submit-bos", submit::bos),
    ("submit-handles", submit::handles),
    ("submit-userptr", submit::userptr),
    ("submit-invalidated", submit::invalidated),
    ("userptr", memory::userptr),
    ("bo", memory::bos),
    ("va", memory::va),
    ("fault-in", memory::fault_in),
    ("evicted", pressure::evicted),
    ("thrash", pressure::thrash),
    ("mappings", pressure::mappings),
    ("destroy", pressure::destroy),
    ("fork", pressure::fork),
    ("wait-signaled", other::wait),
    ("ctx", other::ctx),
    ("file", other::file),
    ("stall", other::stall),
    ("held", held::calls),
];

/// Prints a figure.
fn say(row: &str, point: impl Display, value: impl Display) {
    println!("row\t{row}\t{point}\t{value}");
}

/// A size in words.
fn size(pages: usize) -> String {
    match pages * 4 {
        kib if kib >= 1 << 20 => format!("{} GiB", kib >> 20),
        kib if kib >= 1 << 10 => format!("{} MiB", kib >> 10),
        kib => format!("{kib} KiB"),
    }
}

fn run() -> Outcome {
    let args = Args::parse(
        "Counts the instructions of a driver's calls.",
        &[
            ("node", "device node (default: the first amdgpu render node)"),
            ("rows", "names of rows, or how they begin, separated by commas (default: all)"),
            ("samples", "samples of each value (default 101)"),
            ("max-mib", "largest buffer that is made (default 1024)"),
            ("load", "instead: a command that loads the driver, to be measured"),
        ],
    );
    let meter = Meter::new()?;
    if let Some(command) = args.get::<String>("load") {
        return load::to_first_fence(&meter, &command);
    }
    let bench = Bench {
        node: Node::find(args.get::<PathBuf>("node").as_deref())?,
        meter,
        samples: args.get("samples").unwrap_or(101),
        max_mib: args.get("max-mib").unwrap_or(1024),
    };
    println!("driver\t{}", bench.node.driver.name());
    println!("clock\t{}\t{}", bench.meter.unit().name(), bench.meter.known_loop());
    let chosen = args.get::<String>("rows").unwrap_or_default();
    let is_chosen = |name: &str| chosen.split(',').any(|prefix| name.starts_with(prefix));
    let mut failures = Vec::new();
    for (name, row) in ROWS.iter().filter(|(name, _)| is_chosen(name)) {
        if let Err(why) = row(&bench) {
            failures.push(format!("{name}: {why}"));
        }
    }
    if failures.is_empty() { Ok(()) } else { Err(failures.join("; ")) }
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => give_up("bench", why),
    }
}
