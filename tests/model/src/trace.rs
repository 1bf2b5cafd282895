// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Record of all that happened: every event can go to a trace file (one JSON object a line), the
//! last ones are kept as history, and a rule that was broken becomes a [`Violation`] that carries
//! that history.
//!
//! Trace lines have `n` (running number), `us` (microseconds since start), `k` (kind) and then by
//! kind: `r`/`w` a register read/write (`reg`, `val`, `by`), `pkt` a packet (`eng`, `vmid`, `at`,
//! `op`, `dw`), `walk` a page-table walk, `db` a doorbell, `irq` an interrupt vector, `msi`,
//! `tlb` a flush, `cfg` a write to configuration space, `mqd` a queue's descriptor, `fault`,
//! `note`, `job-error`, `violation`.

use std::{
    collections::{
        BTreeMap,
        VecDeque, //
    },
    fmt,
    fs::File,
    io::{
        BufWriter,
        Write, //
    },
    time::Instant, //
};

use serde_json::{
    Value,
    json, //
};

use crate::{
    engine::EngineId,
    regs::{
        self,
        QueueSel, //
    }, //
};

/// Events kept for a report.
const HISTORY: usize = 512;
/// Events printed with a violation.
const REPORTED: usize = 48;
/// Violations kept of one rule; later ones are only counted.
const KEPT: usize = 16;

/// Initiator of an access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The host, through the BAR.
    Host,
    /// An engine, by a packet.
    Engine(EngineId),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Host => write!(f, "host"),
            Source::Engine(e) => write!(f, "{e}"),
        }
    }
}

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// A register was read.
    Read { reg: u32, value: u32, by: Source },
    /// A register was written.
    Write { reg: u32, value: u32, by: Source },
    /// An indexed register (PCIE, SMC) was accessed.
    Indexed { space: &'static str, index: u32, value: u32, write: bool },
    /// The host writes bytes of the configuration space.
    Config { at: usize, bytes: Vec<u8> },
    /// A packet begins to execute.
    Packet { engine: EngineId, vmid: u8, addr: u64, name: &'static str, dwords: Vec<u32> },
    /// A page-table walk and what it found.
    Walk { vmid: u8, va: u64, pde: Option<u64>, pte: u64 },
    /// A doorbell write: byte offset and value.
    Doorbell { offset: u64, value: u32 },
    /// An interrupt vector was written to the ring.
    Vector { source: u8, dwords: [u32; 4], wptr: u32 },
    /// The interrupt was delivered, or could not be.
    Msi { delivered: bool },
    /// TLB entries dropped for the VMIDs in the mask.
    TlbFlush { vmids: u32 },
    /// A VM fault.
    Fault { vmid: u8, va: u64, write: bool, protections: u32, client: &'static str },
    /// A user's job did what only breaks that job.
    JobError { rule: &'static str, what: String },
    /// A compute queue was started with this descriptor in memory.
    Descriptor { queue: QueueSel, dwords: Vec<u32> },
    /// Anything else worth a line.
    Note(String),
}

impl Event {
    fn json(&self) -> Value {
        let hex = |v: u64| format!("{v:#x}");
        match self {
            Event::Read { reg, value, by } => {
                let val = hex((*value).into());
                json!({"k":"r","reg":regs::label(*reg),"val":val,"by":by.to_string()})
            }
            Event::Write { reg, value, by } => {
                let val = hex((*value).into());
                json!({"k":"w","reg":regs::label(*reg),"val":val,"by":by.to_string()})
            }
            Event::Indexed { space, index, value, write } => {
                let (kind, reg) = (if *write { "w" } else { "r" }, format!("{space}[{index:#x}]"));
                json!({"k":kind,"reg":reg,"val":hex((*value).into()),"by":"host"})
            }
            Event::Config { at, bytes } => {
                json!({"k":"cfg","at":hex(*at as u64),"val":hex(little_endian(bytes))})
            }
            Event::Packet { engine, vmid, addr, name, dwords } => {
                let dw: Vec<String> = dwords.iter().map(|d| format!("{d:08x}")).collect();
                let (eng, at) = (engine.to_string(), hex(*addr));
                json!({"k":"pkt","eng":eng,"vmid":vmid,"at":at,"op":name,"dw":dw})
            }
            Event::Walk { vmid, va, pde, pte } => {
                json!({"k":"walk","vmid":vmid,"va":hex(*va),"pde":pde.map(hex),"pte":hex(*pte)})
            }
            Event::Doorbell { offset, value } => {
                json!({"k":"db","off":hex(*offset),"val":hex((*value).into())})
            }
            Event::Vector { source, dwords, wptr } => {
                let dw: Vec<String> = dwords.iter().map(|d| format!("{d:08x}")).collect();
                json!({"k":"irq","src":source,"dw":dw,"wptr":hex((*wptr).into())})
            }
            Event::Msi { delivered } => json!({"k":"msi","delivered":delivered}),
            Event::TlbFlush { vmids } => json!({"k":"tlb","vmids":hex((*vmids).into())}),
            Event::Fault { vmid, va, write, protections, client } => {
                let (va, prot) = (hex(*va), hex((*protections).into()));
                json!({"k":"fault","vmid":vmid,"va":va,"write":write,"prot":prot,"client":client})
            }
            Event::JobError { rule, what } => json!({"k":"job-error","rule":rule,"what":what}),
            Event::Descriptor { queue: (me, pipe, queue), dwords } => {
                let dw: Vec<String> = dwords.iter().map(|d| format!("{d:08x}")).collect();
                json!({"k":"mqd","queue":format!("{me}.{pipe}.{queue}"),"dw":dw})
            }
            Event::Note(s) => json!({"k":"note","text":s}),
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Read { reg, value, by } => {
                write!(f, "{by} reads {} = {value:#x}", regs::label(*reg))
            }
            Event::Write { reg, value, by } => {
                write!(f, "{by} writes {} := {value:#x}", regs::label(*reg))
            }
            Event::Indexed { space, index, value, write } => {
                let how = if *write { ":=" } else { "=" };
                write!(f, "host {space}[{index:#x}] {how} {value:#x}")
            }
            Event::Config { at, bytes } => {
                write!(f, "host configures {at:#x} := {:#x}", little_endian(bytes))
            }
            Event::Packet { engine, vmid, addr, name, dwords } => {
                write!(f, "{engine} vmid {vmid} at {addr:#x}: {name}")?;
                dwords.iter().take(12).try_for_each(|d| write!(f, " {d:08x}"))?;
                if dwords.len() > 12 { write!(f, " … ({} dwords)", dwords.len()) } else { Ok(()) }
            }
            Event::Walk { vmid, va, pde, pte } => {
                write!(f, "walk vmid {vmid} va {va:#x}: pde {:#x} pte {pte:#x}", pde.unwrap_or(0))
            }
            Event::Doorbell { offset, value } => write!(f, "doorbell {offset:#x} := {value:#x}"),
            Event::Vector { source, dwords, wptr } => {
                write!(f, "interrupt vector source {source} {dwords:08x?} wptr {wptr:#x}")
            }
            Event::Msi { delivered } => {
                write!(f, "MSI{}", if *delivered { "" } else { " (not enabled by the host)" })
            }
            Event::TlbFlush { vmids } => write!(f, "TLB flush of vmids {vmids:#x}"),
            Event::Fault { vmid, va, write, protections, client } => {
                let rw = if *write { "write" } else { "read" };
                write!(
                    f,
                    "VM fault vmid {vmid} va {va:#x} {rw} protections {protections:#x} \
                     client {client}"
                )
            }
            Event::JobError { rule, what } => write!(f, "error of a job: {rule}: {what}"),
            Event::Descriptor { queue, dwords } => {
                write!(f, "queue {queue:?} starts: header {:08x}", dwords[0])
            }
            Event::Note(s) => f.write_str(s),
        }
    }
}

fn little_endian(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |v, b| v << 8 | u64::from(*b))
}

/// A rule that the guest broke, or something that the model does not know.
#[derive(Clone, Debug)]
pub struct Violation {
    /// Short name of the rule.
    pub rule: &'static str,
    /// The violation, in words.
    pub what: String,
    /// Events that led there, oldest first.
    pub history: Vec<String>,
}

/// Trace, history and violations.
pub struct Log {
    out: Option<BufWriter<File>>,
    start: Instant,
    number: u64,
    history: VecDeque<(u64, Event)>,
    violations: Vec<Violation>,
    suspicions: Vec<Violation>,
    counts: BTreeMap<&'static str, u64>,
    /// Set if a user's indirect buffer executes now.
    user: bool,
    job_errors: BTreeMap<&'static str, JobErrors>,
}

/// Errors of users' jobs against one rule.
#[derive(Default)]
pub struct JobErrors {
    /// Their number.
    pub count: u64,
    /// Text of the first.
    pub first: String,
}

/// Rules about what commands say. The kernel's own commands may not break them. A user's indirect
/// buffer may say anything: it is an error of that job, which hardware answers, and no fault of the
/// driver.
const OF_COMMANDS: &[&str] = &[
    "unknown-register",
    "reserved-bits",
    "read-only",
    "illegal-packet",
    "packet-overrun",
    "engine-hang",
    "privilege",
    "address-bits",
    "fence",
    "hdp-client",
];

impl Default for Log {
    fn default() -> Self {
        Log {
            out: None,
            start: Instant::now(),
            number: 0,
            history: VecDeque::with_capacity(HISTORY),
            violations: Vec::new(),
            suspicions: Vec::new(),
            counts: BTreeMap::new(),
            user: false,
            job_errors: BTreeMap::new(),
        }
    }
}

impl Log {
    /// Writes every event to `file` from now on.
    pub fn trace_to(&mut self, file: File) {
        self.out = Some(BufWriter::with_capacity(1 << 16, file));
    }

    /// Returns true if a trace is being written.
    pub fn tracing(&self) -> bool {
        self.out.is_some()
    }

    /// Records an event.
    pub fn event(&mut self, event: Event) {
        self.number += 1;
        if self.out.is_some() {
            self.line(event.json());
        }
        // A poll repeats one read: keep the history for what is new.
        match (&event, self.history.back()) {
            (Event::Read { reg, value, .. }, Some((_, Event::Read { reg: r, value: v, .. })))
                if (reg, value) == (r, v) =>
            {
                return;
            }
            _ => {}
        }
        if self.history.len() == HISTORY {
            self.history.pop_front();
        }
        self.history.push_back((self.number, event));
    }

    /// Records a remark.
    pub fn note(&mut self, text: impl Into<String>) {
        self.event(Event::Note(text.into()));
    }

    /// Says whether what executes from now on is a user's indirect buffer.
    pub(crate) fn user(&mut self, user: bool) {
        self.user = user;
    }

    /// Records a broken rule, once per distinct rule and text. What a user's commands say wrong is
    /// counted apart.
    pub fn violation(&mut self, rule: &'static str, what: impl Into<String>) {
        let what = what.into();
        if self.user && OF_COMMANDS.contains(&rule) {
            let errors = self.job_errors.entry(rule).or_default();
            if errors.count == 0 {
                errors.first.clone_from(&what);
            }
            errors.count += 1;
            self.event(Event::JobError { rule, what });
            return;
        }
        *self.counts.entry(rule).or_default() += 1;
        self.number += 1;
        if self.out.is_some() {
            self.line(json!({"k":"violation","rule":rule,"what":what}));
        }
        let of_rule = self.violations.iter().filter(|v| v.rule == rule);
        if of_rule.clone().count() >= KEPT || of_rule.clone().any(|v| v.what == what) {
            return;
        }
        let history = self.lately();
        self.violations.push(Violation { rule, what, history });
    }

    /// Records a broken rule that may turn out to be none: see [`Log::settle`].
    pub fn suspicion(&mut self, rule: &'static str, what: String) {
        let history = if self.suspicions.len() < KEPT { self.lately() } else { vec![] };
        self.suspicions.push(Violation { rule, what, history });
    }

    /// The suspicions are violations, or are dropped.
    pub fn settle(&mut self, guilty: bool) {
        for s in std::mem::take(&mut self.suspicions) {
            if !guilty {
                continue;
            }
            self.violation(s.rule, s.what.clone());
            if let Some(v) =
                self.violations.iter_mut().find(|v| v.rule == s.rule && v.what == s.what)
            {
                v.history = s.history;
            }
        }
    }

    /// The last events, oldest first.
    fn lately(&self) -> Vec<String> {
        let skip = self.history.len().saturating_sub(REPORTED);
        self.history.iter().skip(skip).map(|(n, e)| format!("{n:>8} {e}")).collect()
    }

    /// The violations so far, without repeats.
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// Returns the number of violations, with repeats.
    pub fn violation_count(&self) -> u64 {
        self.counts.values().sum()
    }

    /// Returns the numbers of violations, by rule.
    pub fn violation_counts(&self) -> &BTreeMap<&'static str, u64> {
        &self.counts
    }

    /// The errors that users' jobs made, by rule.
    pub fn job_errors(&self) -> &BTreeMap<&'static str, JobErrors> {
        &self.job_errors
    }

    /// Takes the violations out (tests that provoke one).
    pub fn take_violations(&mut self) -> Vec<Violation> {
        self.counts.clear();
        std::mem::take(&mut self.violations)
    }

    /// The events kept, oldest first.
    pub fn history(&self) -> impl Iterator<Item = &Event> {
        self.history.iter().map(|(_, e)| e)
    }

    /// Writes what is buffered to the file.
    pub fn flush(&mut self) {
        if let Some(Err(e)) = self.out.as_mut().map(|out| out.flush()) {
            eprintln!("amdgpu-model: trace: {e}");
            self.out = None;
        }
    }

    fn line(&mut self, mut value: Value) {
        let us = self.start.elapsed().as_micros() as u64;
        if let Some(map) = value.as_object_mut() {
            map.insert("n".into(), self.number.into());
            map.insert("us".into(), us.into());
        }
        if let Some(Err(e)) = self.out.as_mut().map(|out| writeln!(out, "{value}")) {
            eprintln!("amdgpu-model: trace: {e}");
            self.out = None;
        }
    }
}
