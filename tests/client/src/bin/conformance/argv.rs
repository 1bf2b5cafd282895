// SPDX-License-Identifier: GPL-2.0 OR MIT

//! A process's first submission, for which a driver may want to know its command line: that is
//! memory of the process, which determines how long an access to it takes. No submission may wait
//! for that.

use std::{
    fs::File,
    io::{
        Read,
        Write, //
    },
    os::fd::AsRawFd,
    path::Path,
    process, //
};

use amdgpu_client::{
    Errno,
    child::{
        Child,
        say, //
    },
    ib::Stream,
    mem::UserMem,
    session::Session, //
};

use crate::{
    case::{
        Case,
        Expect,
        Failure,
        OK,
        Outcome,
        Setup,
        both,
        expect,
        good, //
    },
    pages::{
        Held,
        is_soon_gone, //
    },
    rig::{
        ENGINE,
        Rig, //
    }, //
};

/// `PR_SET_MM` and what it sets, of `linux/prctl.h`.
const SET_MM: libc::c_int = 35;
const ARG_START: libc::c_ulong = 8;
const ARG_END: libc::c_ulong = 9;

/// Says to the kernel that the command line of this process begins at `addr`, below its stack.
fn set_command_line(addr: u64) -> Result<(), Errno> {
    const LENGTH: u64 = 64;
    const NONE: libc::c_ulong = 0;

    // SAFETY: the kernel reads the command line there when it is asked for, and nobody else does.
    unsafe {
        Errno::of(libc::prctl(SET_MM, ARG_START, addr, NONE, NONE))?;
        Errno::of(libc::prctl(SET_MM, ARG_END, addr + LENGTH, NONE, NONE))
    }
}

/// Submits from a process whose command line is in memory that `held` makes, and whose access does
/// not end.
fn submits_soon<M>(
    rig: &Rig,
    held: impl FnOnce() -> Result<(M, u64), String>,
) -> Result<Child, Failure> {
    let body = || {
        let session = Session::open(rig.node).map_err(|e| format!("a session: {e}"))?;
        let (_memory, addr) = held()?;
        set_command_line(addr).map_err(|e| format!("PR_SET_MM: {e}"))?;
        let seq = session.submit(ENGINE, &Stream::new(), &[]).map_err(|e| format!("CS: {e}"))?;
        match session.wait(ENGINE, seq, 20_000) {
            Ok(true) => Ok(()),
            other => Err(format!("WAIT_CS: {other:?}")),
        }
    };
    Child::new(|_| body()).map_err(Failure::Wrong)
}

/// A page that a userfaultfd holds back.
fn held_by_userfaultfd(rig: &Rig) -> Outcome {
    let mut child = submits_soon(rig, || {
        let held = Held::new().map_err(|e| format!("userfaultfd: {e}"))?;
        let addr = held.mem.addr();
        Ok((held, addr))
    })?;
    finish(&mut child)
}

fn finish(child: &mut Child) -> Outcome {
    let gone = is_soon_gone(child)?;
    if !gone {
        child.kill();
    }
    expect(gone, || "the submission waits for the command line".into())?;
    child.listen().map_err(Failure::Wrong)
}

/// A page of a file of which nothing is ever read.
fn held_by_file(rig: &Rig) -> Outcome {
    let path = format!("/tmp/held-{}", process::id());
    File::create(&path).map_err(|e| Failure::Wrong(format!("{path}: {e}")))?;
    let mut server = Child::new(|report| {
        let fuse = Fuse::mount(Path::new(&path))?;
        say(report, &[0])?;
        fuse.serve()
    })
    .map_err(Failure::Wrong)?;
    let answer = server.hear().map_err(Failure::Wrong).and_then(|[_]: [u64; 1]| {
        let mut child = submits_soon(rig, || {
            let file = File::options()
                .read(true)
                .write(true)
                .open(&path)
                .map_err(|e| format!("{path}: {e}"))?;
            let mem = UserMem::of_file(&file, 1).map_err(|e| format!("mmap: {e}"))?;
            let addr = mem.addr();
            Ok(((file, mem), addr))
        })?;
        let answer = finish(&mut child);
        // Ends whatever waits for the file.
        server.kill();
        if answer.is_err() {
            child.reap().map_err(Failure::Wrong)?;
        }
        answer
    });
    server.kill();
    server.reap().map_err(Failure::Wrong)?;
    let mounted =
        std::ffi::CString::new(path.as_str()).map_err(|e| Failure::Wrong(e.to_string()))?;
    // SAFETY: a path.
    Errno::of(unsafe { libc::umount2(mounted.as_ptr(), libc::MNT_DETACH) }).setup("umount")?;
    std::fs::remove_file(&path).map_err(|e| Failure::Wrong(format!("{path}: {e}")))?;
    answer
}

/// A file system that is one file, of which no page is ever there: `linux/fuse.h`.
struct Fuse(File);

/// Size of the file.
const BYTES: u32 = 4096;

/// A request, as far as it matters.
struct Request {
    opcode: u32,
    unique: u64,
}

impl Fuse {
    const FORGET: u32 = 2;
    const GETATTR: u32 = 3;
    const OPEN: u32 = 14;
    const READ: u32 = 15;
    const INIT: u32 = 26;
    const BATCH_FORGET: u32 = 42;
    /// A regular file that everybody may use.
    const MODE: u32 = 0o100_666;

    /// Mounts the file in the place of another.
    fn mount(path: &Path) -> Result<Self, String> {
        let words = |text: String| std::ffi::CString::new(text).map_err(|e| e.to_string());
        let device = File::options().read(true).write(true).open("/dev/fuse");
        let device = device.map_err(|e| format!("/dev/fuse: {e}"))?;
        let options = words(format!(
            "fd={},rootmode={:o},user_id=0,group_id=0",
            device.as_raw_fd(),
            Self::MODE
        ))?;
        let target = words(path.display().to_string())?;
        // SAFETY: strings that end with a zero.
        let mounted = Errno::of(unsafe {
            libc::mount(
                c"held".as_ptr(),
                target.as_ptr(),
                c"fuse".as_ptr(),
                libc::MS_NODEV | libc::MS_NOSUID,
                options.as_ptr().cast(),
            )
        });
        mounted.map_err(|e| format!("mount: {e}"))?;
        Ok(Self(device))
    }

    /// Answers all requests but those for the contents of the file.
    fn serve(mut self) -> Result<(), String> {
        loop {
            let Request { opcode, unique } = self.next()?;
            let (error, words): (i32, &[u32]) = match opcode {
                Self::FORGET | Self::BATCH_FORGET | Self::READ => continue,
                // Version 7.31; writes of a page; the rest is 0.
                Self::INIT => (0, &[7, 31, 0, 0, 0, BYTES, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
                Self::GETATTR => (0, &Self::attributes()),
                Self::OPEN => (0, &[0; 4]),
                _ => (-libc::ENOSYS, &[]),
            };
            self.answer(unique, error, words)?;
        }
    }

    fn next(&mut self) -> Result<Request, String> {
        let mut request = [0; 1 << 16];
        let length = self.0.read(&mut request).map_err(|e| format!("/dev/fuse: {e}"))?;
        let word = |at: usize| {
            let bytes = request[..length].get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
            bytes.map(u32::from_le_bytes).ok_or("a short request")
        };
        Ok(Request { opcode: word(4)?, unique: u64::from(word(8)?) | u64::from(word(12)?) << 32 })
    }

    /// `struct fuse_attr_out`: node 1, a page long, one link.
    fn attributes() -> [u32; 26] {
        let mut words = [0; 26];
        words[4] = 1;
        words[6] = BYTES;
        words[19] = Self::MODE;
        words[20] = 1;
        words
    }

    fn answer(&mut self, unique: u64, error: i32, words: &[u32]) -> Result<(), String> {
        const HEADER: usize = 16;
        let length = u32::try_from(HEADER + words.len() * 4).map_err(|e| e.to_string())?;
        let mut bytes = Vec::new();
        bytes.extend(length.to_le_bytes());
        bytes.extend(error.to_le_bytes());
        bytes.extend(unique.to_le_bytes());
        words.iter().for_each(|word| bytes.extend(word.to_le_bytes()));
        self.0.write_all(&bytes).map_err(|e| format!("/dev/fuse: {e}"))
    }
}

pub fn cases() -> Vec<Case> {
    let has_files = std::fs::read_to_string("/proc/filesystems")
        .is_ok_and(|known| known.lines().any(|line| line.ends_with("\tfuse")));
    let expected = if has_files { OK } else { Expect::Skip("this kernel has no FUSE") };
    vec![
        good("a command line that a userfaultfd holds back", held_by_userfaultfd),
        both("a command line in a file of which nothing is read", expected, held_by_file),
    ]
}
