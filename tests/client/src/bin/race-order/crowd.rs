// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Many processes on all rings, whose memory comes and goes.

use std::{
    collections::VecDeque,
    io::PipeWriter,
    thread,
    time::{
        Duration,
        Instant, //
    }, //
};

use amdgpu_client::{
    Errno,
    PAGE,
    Result,
    child::{
        Child,
        say, //
    },
    drm::{
        self,
        Node, //
    },
    engine::Engine,
    ib::Stream,
    mem::{
        Page,
        UserMem, //
    },
    num::u64_of,
    race::Target,
    report::Outcome,
    session::{
        PATIENCE_MS,
        Session, //
    },
    stats::FailJobs,
    uapi::{
        self,
        Chunk,
        ChunkIb, //
    }, //
};

/// Task of the crowd.
#[derive(Clone, Copy)]
pub struct Plan {
    pub clients: usize,
    pub secs: u64,
    pub jobs: u64,
    pub fail: u32,
}

/// Pages of user memory of each client.
const PAGES: usize = 4;
/// Jobs of each ring before the memory goes.
const ROUNDS: usize = 2;
/// Sets of canaries that a client keeps.
const KEPT: usize = 8;
/// Pages of canaries of the process that has no jobs.
const STRANGER_PAGES: usize = 4096;
/// Time for which they are left alone.
const STRANGER_PAUSE: Duration = Duration::from_millis(50);
const CANARY: Page = [0xca; PAGE];
const WRITTEN: u32 = 0x6666_6666;
/// Room for the commands of one ring's job.
const IB: usize = 1024;
/// Most time that the jobs that were asked for may take.
const MOST: Duration = Duration::from_secs(6 * 3600);

/// Work of a client.
#[derive(Default)]
struct Done {
    jobs: u64,
    failed: u64,
    replaced: u64,
}

fn text(what: &'static str) -> impl Fn(Errno) -> String {
    move |e| format!("{what}: {e}")
}

fn intact(canaries: &UserMem) -> std::result::Result<(), String> {
    let mut bytes = [0; PAGE];
    for page in 0..canaries.pages() {
        canaries.read_page(page, &mut bytes);
        if let Some(at) = bytes.iter().position(|b| *b != CANARY[0]) {
            let what = bytes[at];
            return Err(format!(
                "a canary has {what:#04x} at byte {at}: a job wrote memory that was given back"
            ));
        }
    }
    Ok(())
}

fn plant(pages: usize) -> std::result::Result<UserMem, String> {
    let mut canaries = UserMem::anonymous(pages).map_err(text("canaries"))?;
    (0..pages).for_each(|page| canaries.write_page(page, &CANARY));
    Ok(canaries)
}

/// One client: its file, the context in use, and where its user memory is for the GPU.
struct Client {
    session: Session,
    ctx: u32,
    va: u64,
    ibs: Vec<(Engine, ChunkIb)>,
    done: Done,
}

impl Client {
    fn new(node: &Node) -> std::result::Result<Self, String> {
        let session = Session::open(node).map_err(text("a session"))?;
        let (ctx, va) = (session.ctx, session.reserve_va(u64_of(PAGES * PAGE)));
        let ib = |(n, engine): (usize, Engine)| {
            let mut stream = Stream::new();
            for page in 0..PAGES {
                stream.store(engine, va + u64_of(page * PAGE), WRITTEN);
            }
            (engine, session.place_ib_at(n * IB, engine, &stream))
        };
        let ibs = Engine::ALL.into_iter().enumerate().map(ib).collect();
        Ok(Self { session, ctx, va, ibs, done: Done::default() })
    }

    /// A queue with a job that failed is lost, and so is its context.
    fn renew(&mut self) -> std::result::Result<(), String> {
        let file = &self.session.file;
        file.ctx_free(self.ctx).map_err(text("freeing a context"))?;
        self.ctx = file.ctx_alloc().map_err(text("a context"))?;
        Ok(())
    }

    fn submit(&self, ib: ChunkIb, handle: u32) -> Result<u64> {
        let entries =
            drm::list_entries(&[self.session.ib.handle, self.session.data.handle, handle]);
        let (list, ib) = ([drm::list_request(&entries)], [ib]);
        let chunks =
            [Chunk::of(uapi::CHUNK_ID_BO_HANDLES, &list), Chunk::of(uapi::CHUNK_ID_IB, &ib)];
        self.session.file.cs(self.ctx, 0, &chunks)
    }

    fn wait(&self, ctx: u32, engine: Engine, seq: u64) -> Result<bool> {
        let request = uapi::WaitCs {
            handle: seq,
            timeout: drm::deadline_ms(PATIENCE_MS),
            ip_type: engine.ip_type(),
            ip_instance: 0,
            ring: engine.ring(),
            ctx_id: ctx,
        };
        self.session.file.call(uapi::WAIT_CS, &request).map(|status| status == 0)
    }

    /// Jobs on all rings write a piece of memory, which goes before they are done.
    fn round(&mut self) -> std::result::Result<UserMem, String> {
        let mut mem = UserMem::anonymous(PAGES).map_err(text("mmap"))?;
        (0..PAGES).for_each(|page| mem.write_page(page, &[1; PAGE]));
        let (handle, va) =
            Target::of_any_at(&self.session, &mem, self.va).map_err(text("userptr"))?.leak();
        let mut last = Vec::new();
        let mut lost = false;
        for (engine, ib) in (0..ROUNDS).flat_map(|_| self.ibs.clone()) {
            match self.submit(ib, handle) {
                Ok(seq) => last.push((engine, seq)),
                Err(Errno(libc::EIO)) => {
                    lost = true;
                    self.done.failed += 1;
                }
                Err(e) => return Err(format!("CS on {engine}: {e}")),
            }
        }
        mem.unmap_and_map(0..PAGES).map_err(text("munmap and mmap"))?;
        // Whoever has the pages now is not to find anything in them.
        let canaries = plant(PAGES)?;
        (0..PAGES).for_each(|page| mem.write_page(page, &CANARY));
        for &(engine, seq) in &last {
            match self.wait(self.ctx, engine, seq) {
                Ok(true) => self.done.jobs += 1,
                Ok(false) => return Err(format!("job {seq} on {engine} is not done")),
                Err(Errno(libc::EIO)) => {
                    lost = true;
                    self.done.failed += 1;
                }
                Err(e) => return Err(format!("WAIT_CS for {seq} on {engine}: {e}")),
            }
        }
        intact(&mem)?;
        self.done.replaced += 1;
        let file = &self.session.file;
        file.gem_va(uapi::VA_OP_UNMAP, handle, va, 0, 0).map_err(text("unmapping"))?;
        file.gem_close(handle).map_err(text("closing a handle"))?;
        if lost {
            self.renew()?;
        }
        Ok(canaries)
    }
}

fn client(node: &Node, plan: Plan, report: &mut PipeWriter) -> std::result::Result<(), String> {
    let mut client = Client::new(node)?;
    let (start, least) = (Instant::now(), Duration::from_secs(plan.secs));
    let jobs = plan.jobs.div_ceil(u64_of(plan.clients));
    let mut kept = VecDeque::new();
    while start.elapsed() < least || (client.done.jobs < jobs && start.elapsed() < MOST) {
        kept.push_back(client.round()?);
        kept.iter().try_for_each(intact)?;
        if kept.len() > KEPT {
            kept.pop_front();
        }
    }
    let Done { jobs, failed, replaced } = client.done;
    say(report, &[jobs, failed, replaced])
}

/// A process that never had anything to do with the GPU: memory that others have given back is its
/// own. It says nothing, unless something is wrong, until it is killed.
fn stranger() -> std::result::Result<(), String> {
    loop {
        let canaries = plant(STRANGER_PAGES)?;
        thread::sleep(STRANGER_PAUSE);
        intact(&canaries)?;
    }
}

pub fn run(node: &Node, knob: Option<&FailJobs>, plan: Plan) -> Outcome {
    let mut strange = Child::new(|_| stranger())?;
    let children: std::result::Result<Vec<Child>, String> =
        (0..plan.clients).map(|_| Child::new(|report| client(node, plan, report))).collect();
    let mut children = children?;
    if let Some(knob) = knob {
        knob.set(plan.fail)?;
    }
    let began = Instant::now();
    let (mut jobs, mut failed, mut replaced, mut wrong) = (0, 0, 0, Vec::new());
    for child in &mut children {
        match child.hear() {
            Ok([done, lost, given]) => {
                jobs += done;
                failed += lost;
                replaced += given;
            }
            Err(why) => wrong.push(why),
        }
        child.reap()?;
    }
    if let Some(knob) = knob {
        knob.set(0)?;
    }
    let took = began.elapsed();
    // Once more with all of them gone.
    thread::sleep(3 * STRANGER_PAUSE);
    strange.kill();
    strange.reap()?;
    let complaint = strange.hear_all()?;
    let seen = format!(
        "{} clients, {jobs} jobs in {took:.0?}, {failed} lost with a queue that failed, \
         {replaced} pieces of memory given back",
        plan.clients
    );
    if !complaint.is_empty() {
        wrong.push(format!("the process without jobs: {complaint}"));
    }
    if let Some(why) = wrong.first() {
        return Err(format!("{seen}; {} complaints, the first: {why}", wrong.len()));
    }
    if jobs < plan.jobs || replaced == 0 || (knob.is_some() && plan.fail != 0 && failed == 0) {
        return Err(format!("{seen}: that is not enough"));
    }
    Ok(seen)
}
