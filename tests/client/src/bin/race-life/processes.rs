// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Processes and threads go away.

use std::{
    io::{
        Read,
        Write, //
    },
    time::Duration, //
};

use amdgpu_client::{
    Errno,
    PAGE,
    child::{
        Child,
        WELL, //
    },
    drm::{
        Driver,
        Node, //
    },
    engine::Engine,
    ib::Stream,
    mem::UserMem,
    num::u64_of,
    race::Target,
    report::Tally,
    session::Session,
    uapi::DOMAIN_GTT, //
};

use crate::objects::each;

pub fn checks(node: &Node, engine: Engine, rounds: usize, tally: &mut Tally) {
    each(tally, rounds, "SIGKILL of a process with jobs in flight", || kill(node, engine));
    each(tally, rounds, "exit of a process with jobs in flight", || exit(node, engine));
    let name = "the owner of user memory exits, its file lives on";
    each(tally, rounds, name, || owner_exits(node, engine));
    let name = "the main thread ends, another goes on submitting";
    match node.driver {
        Driver::Rust => each(tally, rounds, name, || main_thread_ends(node, engine)),
        Driver::Reference => tally.skip(name, "the C driver promises nothing"),
    }
}

/// Fills the rings with work that takes a while.
fn busy(node: &Node, engine: Engine) -> Result<Session, String> {
    const SIZE: usize = 8 << 20;
    const JOBS: usize = 24;
    let say = |what: &'static str| move |e: Errno| format!("{what}: {e}");
    let session = Session::open(node).map_err(say("a session"))?;
    let mut mem = UserMem::anonymous(SIZE / PAGE).map_err(say("mmap"))?;
    for page in 0..SIZE / PAGE {
        mem.write_page(page, &[3; PAGE]);
    }
    let target = Target::new(&session, &mem).map_err(say("userptr"))?;
    let bo = session.buffer(u64_of(SIZE), DOMAIN_GTT, 0).map_err(say("a BO"))?;
    let mut stream = Stream::new();
    stream.copy(engine, bo.va, target.va, u64_of(SIZE));
    let mut submitted = 0;
    while submitted < JOBS {
        match session.submit(engine, &stream, &[bo.handle, target.handle]) {
            Ok(_) => submitted += 1,
            Err(Errno(libc::EAGAIN)) => {}
            Err(e) => return Err(format!("CS: {e}")),
        }
    }
    // Nothing is given back: that is for the kernel to do, when the process goes.
    std::mem::forget((mem, target.leak(), bo));
    Ok(session)
}

fn kill(node: &Node, engine: Engine) -> Result<(), String> {
    let mut child = Child::new(|report| {
        let _session = busy(node, engine)?;
        report.write_all(b"busy").map_err(|e| format!("pipe: {e}"))?;
        loop {
            std::thread::sleep(Duration::from_secs(1));
        }
    })?;
    let mut said = [0; 4];
    let heard = child.report.read_exact(&mut said);
    child.kill();
    child.reap()?;
    heard.map_err(|e| format!("pipe: {e}"))?;
    if &said == b"busy" { Ok(()) } else { Err("the child could not make itself busy".into()) }
}

fn exit(node: &Node, engine: Engine) -> Result<(), String> {
    let mut child = Child::new(|_| busy(node, engine).map(std::mem::forget))?;
    let said = child.listen();
    child.reap()?;
    said
}

/// A child makes a userptr BO and a list, forks, and exits; the grandchild, who has the file but
/// not the memory, must not reach it.
fn owner_exits(node: &Node, engine: Engine) -> Result<(), String> {
    let mut owner = Child::new(|_| {
        let say = |what: &'static str| move |e: Errno| format!("{what}: {e}");
        let session = Session::open(node).map_err(say("a session"))?;
        let mut mem = UserMem::anonymous(4).map_err(say("mmap"))?;
        (0..4).for_each(|page| mem.write_page(page, &[5; PAGE]));
        let target = Target::new(&session, &mem).map_err(say("userptr"))?;
        let handles = [session.ib.handle, session.data.handle, target.handle];
        let list = session.file.bo_list(&handles).map_err(say("BO_LIST"))?;
        let mut stream = Stream::new();
        target.stores(engine, 4, 6, &mut stream);
        session.run(engine, &stream, &[target.handle])?;

        // SAFETY: this process has one thread.
        let owner = unsafe { libc::getpid() };
        // SAFETY: as above.
        if unsafe { libc::fork() } != 0 {
            // SAFETY: the owner goes, without a word: the pipe stays with its child.
            unsafe { libc::_exit(0) };
        }
        // SAFETY: asks for the parent, which changes when the owner is gone.
        while unsafe { libc::getppid() } == owner {
            std::thread::sleep(Duration::from_millis(5));
        }
        let ib = [session.place_ib(engine, &stream)];
        let chunks = [amdgpu_client::uapi::Chunk::of(amdgpu_client::uapi::CHUNK_ID_IB, &ib)];
        let by_list = session.file.cs(session.ctx, list, &chunks);
        let refusal = [libc::ESRCH, libc::EPERM, libc::EFAULT];
        let fine = |answer: &amdgpu_client::Result<u64>| match answer {
            Err(Errno(e)) => refusal.contains(e),
            Ok(_) => false,
        };
        if !fine(&by_list) {
            return Err(format!("CS with a list made before: {by_list:?}"));
        }
        // Of a BO that is named in the submission the C driver promises nothing.
        if node.driver == Driver::Rust {
            let by_name = session.submit(engine, &stream, &[target.handle]);
            if !fine(&by_name) {
                return Err(format!("CS that names the BO: {by_name:?}"));
            }
        }
        // The file itself still works.
        session.prove_alive(engine)
    })?;
    owner.reap()?;
    owner.listen()
}

/// The memory belongs to the process, not to the thread that happened to make the BO.
fn main_thread_ends(node: &Node, engine: Engine) -> Result<(), String> {
    let mut child = Child::new(|report| {
        let say = |what: &'static str| move |e: Errno| format!("{what}: {e}");
        let session = Session::open(node).map_err(say("a session"))?;
        let mut mem = UserMem::anonymous(4).map_err(say("mmap"))?;
        (0..4).for_each(|page| mem.write_page(page, &[5; PAGE]));
        let target = Target::new(&session, &mem).map_err(say("userptr"))?.leak();
        let mut report = report.try_clone().map_err(|e| format!("pipe: {e}"))?;
        std::thread::spawn(move || {
            // Give the main thread time to go.
            std::thread::sleep(Duration::from_millis(100));
            let outcome = (|| {
                // Fresh pages, so that they must be gathered anew.
                mem.discard(0..4).map_err(say("MADV_DONTNEED"))?;
                let mut stream = Stream::new();
                for page in 0..4 {
                    stream.store(engine, target.1 + u64_of(page * PAGE), 7);
                }
                session.run(engine, &stream, &[target.0])?;
                let mut bytes = [0; PAGE];
                mem.read_page(3, &mut bytes);
                if bytes[0] == 7 { Ok(()) } else { Err(format!("memory has {}", bytes[0])) }
            })();
            let said = outcome.err().unwrap_or_else(|| WELL.into());
            let _ = report.write_all(said.as_bytes());
            // SAFETY: ends the whole child.
            unsafe { libc::_exit(0) }
        });
        // SAFETY: ends this thread alone. Nothing on its stack is used by the other.
        unsafe { libc::syscall(libc::SYS_exit, 0) };
        unreachable!("the thread has ended")
    })?;
    let said = child.listen();
    child.reap()?;
    said
}
