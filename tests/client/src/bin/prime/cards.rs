// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Two amdgpu cards: one uses the memory of the other.

use crate::CardCase;
use crate::view::{
    ENGINE,
    PLACE,
    SIZE,
    View,
    at,
    expect,
    map_buffer, //
};
use amdgpu_client::Errno;
use amdgpu_client::drm::{
    Driver,
    Node,
    export_sync_file,
    is_ready, //
};
use amdgpu_client::engine::Engine;
use amdgpu_client::ib::Stream;
use amdgpu_client::race::{
    Gate,
    Latch,
    wait_at_gate, //
};
use amdgpu_client::session::{
    PATIENCE_MS,
    Session, //
};
use amdgpu_client::uapi::{
    DMA_BUF_SYNC_READ,
    DOMAIN_GTT,
    DOMAIN_VRAM,
    VA_OP_MAP, //
};

type Outcome = Result<(), String>;

/// The card whose memory it is, and the card that uses it.
pub struct Pair<'n> {
    exporter: Session,
    importer: Session,
    importer_node: &'n Node,
}

impl<'n> Pair<'n> {
    pub fn new(exporter: &Node, importer: &'n Node) -> Result<Self, String> {
        let open = |node: &Node| at(&node.slot, Session::open(node));
        Ok(Self { exporter: open(exporter)?, importer: open(importer)?, importer_node: importer })
    }

    /// Runs `f` with a BO as the exporter and the importer have it.
    fn shared(&self, domain: u64, f: impl FnOnce(&View<'_>, &View<'_>) -> Outcome) -> Outcome {
        let ours = View::create(&self.exporter, domain)?;
        let theirs = View::import(&self.importer, &ours.export()?)?;
        f(&ours, &theirs)
    }
}

pub const CASES: [CardCase; 12] = [
    ("GTT is one memory for both", |pair| pair.shared(DOMAIN_GTT, one_memory)),
    ("VRAM is one memory for both", |pair| pair.shared(DOMAIN_VRAM, one_memory)),
    ("a job waits for the exporter's", |pair| pair.shared(DOMAIN_GTT, in_order)),
    ("a job of the exporter waits for the importer's", |pair| {
        pair.shared(DOMAIN_GTT, |ours, theirs| in_order(theirs, ours))
    }),
    ("a buffer that moves is found again", |pair| pair.shared(DOMAIN_GTT, moved)),
    ("a buffer that moves waits for the importer's job", |pair| {
        pair.shared(DOMAIN_GTT, moved_under_a_job)
    }),
    ("no job reaches a buffer before its bytes are there", |pair| {
        pair.shared(DOMAIN_VRAM, bytes_first)
    }),
    ("a buffer imported twice is one handle", twice),
    ("a buffer outlives its exporter's handle", |pair| {
        let ours = View::create(&pair.exporter, DOMAIN_VRAM)?;
        let theirs = View::import(&pair.importer, &ours.export()?)?;
        ours.write(0x5eed)?;
        drop(ours);
        theirs.expect(0x5eed)?;
        theirs.write(0x5eee)?;
        theirs.expect(0x5eee)
    }),
    ("a buffer outlives its importer", |pair| {
        let ours = View::create(&pair.exporter, DOMAIN_GTT)?;
        let theirs = View::import(&pair.importer, &ours.export()?)?;
        theirs.write(0xcafe)?;
        drop(theirs);
        ours.expect(0xcafe)?;
        ours.move_to(DOMAIN_VRAM)?;
        ours.expect(0xcafe)
    }),
    ("no more is mapped than there is", |pair| {
        pair.shared(DOMAIN_GTT, |_, theirs| {
            let file = &theirs.session.file;
            let va = theirs.session.reserve_va(2 * SIZE);
            let answer = file.gem_va(VA_OP_MAP, theirs.handle, va, 0, 2 * SIZE);
            expect(answer == Err(Errno(libc::EINVAL)), || format!("GEM_VA: {answer:?}"))
        })
    }),
    ("the processor sees what the importer writes", seen_by_the_processor),
];

/// One card reads the bytes that the other writes.
fn one_memory(ours: &View<'_>, theirs: &View<'_>) -> Outcome {
    ours.write(0x1111)?;
    theirs.expect(0x1111)?;
    theirs.write(0x2222)?;
    ours.expect(0x2222)?;
    theirs.expect(0x2222)
}

/// A job of `second` that reads comes after one of `first` that is held and then writes.
fn in_order(first: &View<'_>, second: &View<'_>) -> Outcome {
    // So that both have it in place.
    second.expect(first.read()?)?;
    let gate = Latch::shut(&first.session.data.map);
    let mut stream = Stream::new();
    wait_at_gate(first.session, ENGINE, &mut stream);
    first.store(&mut stream, 0x3333);
    let writer = at("CS", first.session.submit(ENGINE, &stream, &[first.handle]))?;
    let reader = second.begin_read();
    let early = match &reader {
        Ok(reader) => at("WAIT_CS", second.session.wait(ENGINE, *reader, 300)),
        Err(_) => Ok(false),
    };
    // The fence that user space gets of the buffer is that of the writer.
    let fence = first
        .export()
        .and_then(|buffer| at("EXPORT_SYNC_FILE", export_sync_file(&buffer, DMA_BUF_SYNC_READ)));
    let ready = fence.as_ref().is_ok_and(is_ready);
    gate.open();
    let done = at("WAIT_CS", first.session.wait(ENGINE, writer, PATIENCE_MS))?;
    let seen = second.end_read(reader?)?;
    expect(done && !early?, || "the second job did not wait".into())?;
    expect(!ready && is_ready(&fence?), || "the sync file is not that of the writer".into())?;
    expect(seen == 0x3333, || format!("the second job read {seen:#x}"))
}

/// The exporter moves the buffer after the importer has used it.
fn moved(ours: &View<'_>, theirs: &View<'_>) -> Outcome {
    for round in 0..3 {
        ours.write(0x4000 + round)?;
        theirs.expect(0x4000 + round)?;
        ours.move_to(DOMAIN_VRAM)?;
        ours.write(0x5000 + round)?;
        theirs.expect(0x5000 + round)?;
        theirs.write(0x6000 + round)?;
        ours.expect(0x6000 + round)?;
    }
    Ok(())
}

/// The exporter moves the buffer while a job of the importer is about to write to it.
fn moved_under_a_job(ours: &View<'_>, theirs: &View<'_>) -> Outcome {
    theirs.expect(ours.read()?)?;
    let gate = Gate::shut(theirs.session)?;
    let mut stream = Stream::new();
    gate.wait(ENGINE, &mut stream);
    theirs.store(&mut stream, 0x7777);
    let job = at("CS", theirs.session.submit(ENGINE, &stream, &[theirs.handle]))?;
    // It may have to wait for the job.
    let (moved, _) = gate.open_soon(|| ours.move_to(DOMAIN_VRAM));
    let done = at("WAIT_CS", theirs.session.wait(ENGINE, job, PATIENCE_MS))?;
    moved?;
    expect(done, || "the job does not end".into())?;
    ours.expect(0x7777)
}

/// The exporter's copy to memory that the importer reaches waits for a job of the exporter's. A job
/// of the importer's that does not name the buffer, but knows its address, comes after the copy,
/// too: what is there before is somebody else's.
fn bytes_first(ours: &View<'_>, theirs: &View<'_>) -> Outcome {
    const OTHER: Engine = Engine::Compute(0);
    let again = at("another session", theirs.session.another())?;
    at("a job", again.submit(OTHER, &Stream::new(), &[]))?;
    ours.write(0xaaaa)?;
    let gate = Latch::shut(&ours.session.data.map);
    let mut stream = Stream::new();
    wait_at_gate(ours.session, ENGINE, &mut stream);
    let holder = at("CS", ours.session.submit(ENGINE, &stream, &[ours.handle]))?;
    let reader = theirs.begin_read()?;
    let mut stream = Stream::new();
    theirs.store_by(OTHER, &mut stream, 0xbbbb);
    let writer = at("CS", again.submit(OTHER, &stream, &[]))?;
    let early = at("WAIT_CS", again.wait(OTHER, writer, 300));
    gate.open();
    let held = at("WAIT_CS", ours.session.wait(ENGINE, holder, PATIENCE_MS))?;
    let done = at("WAIT_CS", again.wait(OTHER, writer, PATIENCE_MS))?;
    let _ = theirs.end_read(reader)?;
    expect(held && done, || "a job does not end".into())?;
    expect(!early?, || "a job was done before the bytes were there".into())?;
    ours.expect(0xbbbb)
}

fn twice(pair: &Pair<'_>) -> Outcome {
    pair.shared(DOMAIN_GTT, |ours, theirs| {
        let buffer = ours.export()?;
        let again = at("PRIME_FD_TO_HANDLE", theirs.session.file.import(&buffer))?;
        expect(again == theirs.handle, || format!("{} and {again}", theirs.handle))?;
        // What comes home is the BO itself.
        let buffer = theirs.export()?;
        let home = at("PRIME_FD_TO_HANDLE", ours.session.file.import(&buffer))?;
        expect(home == ours.handle, || format!("{} came home as {home}", ours.handle))
    })
}

fn seen_by_the_processor(pair: &Pair<'_>) -> Outcome {
    let reference = pair.importer_node.driver == Driver::Reference;
    pair.shared(DOMAIN_VRAM, |ours, theirs| {
        let buffer = map_buffer(&ours.export()?)?;
        theirs.write(0x8888)?;
        let seen = buffer.read(PLACE);
        expect(seen == 0x8888, || format!("the DMA buffer shows {seen:#x}"))?;
        ours.map()?.write(PLACE, 0x9999);
        theirs.expect(0x9999)?;
        // A bus error there is what the C driver has for the processor.
        if !reference {
            let seen = theirs.map()?.read(PLACE);
            expect(seen == 0x9999, || format!("the importer's mapping shows {seen:#x}"))?;
        }
        Ok(())
    })
}
