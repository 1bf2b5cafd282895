// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Acts of a process beside the ioctls of the device: its memory comes and goes, its descriptors
//! are closed and used in other ways, and it forks. As with the ioctls, nothing allocates.

use std::{
    io::Write,
    os::fd::RawFd, //
};

use amdgpu_client::{
    PAGE,
    num::{
        lo32,
        u64_of,
        usize_of, //
    },
    uapi, //
};

use crate::{
    calls::{
        Action,
        Arg,
        CALLS,
        Done,
        Worker, //
    },
    world::{
        self,
        MAPPED,
        pointer, //
    }, //
};

const READ_WRITE: i32 = libc::PROT_READ | libc::PROT_WRITE;
const ANONYMOUS: i32 = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;

/// DMA_BUF_IOCTL_SYNC
const DMA_BUF_SYNC: u64 = uapi::encode(1, b'b' as u64, 0, 8);

pub static ACTS: &[Action] = &[
    ("mmap of a BO", 6, |w| {
        let mut arg = Arg::new();
        arg.w(w.pick.bo()).w(0);
        let fd = w.world.file(w.pick.index(2));
        if !arg.call(fd, uapi::GEM_MMAP.request) {
            return false;
        }
        let offset = u64::from(arg.at(1)) << 32 | u64::from(arg.at(0));
        map(w, fd, offset)
    }),
    ("munmap of a BO", 3, |w| {
        let slot = w.pick.index(8);
        w.world.keep_map(slot, 0);
        true
    }),
    ("a page of a BO, read", 3, |w| {
        let at = place(w);
        // SAFETY: the kernel reads memory that nobody borrows, or none: then it says EFAULT.
        at != 0 && unsafe { libc::pwrite(w.scratch, pointer(at), PAGE, 0) } > 0
    }),
    ("a page of a BO, written", 3, |w| {
        let at = place(w);
        // SAFETY: as above, but written.
        at != 0 && unsafe { libc::pread(w.scratch, pointer(at), PAGE, 0) } > 0
    }),
    ("memory replaced", 6, |w| {
        let (at, len) = w.pick.user_range();
        let prot = w.pick.one(&[READ_WRITE, READ_WRITE, READ_WRITE, libc::PROT_READ]);
        // SAFETY: replaces memory that nobody borrows.
        let at = unsafe { libc::mmap(pointer(at), usize_of(len), prot, ANONYMOUS, -1, 0) };
        at != libc::MAP_FAILED
    }),
    ("memory of a file in place of it", 1, |w| {
        let (at, len) = w.pick.user_range();
        let flags = w.pick.one(&[libc::MAP_SHARED, libc::MAP_PRIVATE]) | libc::MAP_FIXED;
        // SAFETY: as above.
        let at = unsafe { libc::mmap(pointer(at), usize_of(len), READ_WRITE, flags, w.scratch, 0) };
        at != libc::MAP_FAILED
    }),
    ("memory taken away", 2, |w| {
        let (at, len) = w.pick.user_range();
        let flags = ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: replaces memory that nobody borrows by nothing. A hole would not do: the
        // allocator of another thread might fill it.
        let at = unsafe { libc::mmap(pointer(at), usize_of(len), libc::PROT_NONE, flags, -1, 0) };
        at != libc::MAP_FAILED
    }),
    ("mprotect", 3, |w| {
        let (at, len) = w.pick.user_range();
        let prot = w.pick.one(&[READ_WRITE, READ_WRITE, libc::PROT_READ, libc::PROT_NONE]);
        // SAFETY: nobody borrows it.
        unsafe { libc::mprotect(pointer(at), usize_of(len), prot) == 0 }
    }),
    ("madvise", 3, |w| {
        let (at, len) = w.pick.user_range();
        let advice = w.pick.one(&[
            libc::MADV_DONTNEED,
            libc::MADV_PAGEOUT,
            libc::MADV_COLD,
            libc::MADV_HUGEPAGE,
            libc::MADV_COLLAPSE,
            libc::MADV_FREE,
            libc::MADV_POPULATE_WRITE,
            libc::MADV_DONTFORK,
            libc::MADV_DOFORK,
        ]);
        // SAFETY: nobody borrows it.
        unsafe { libc::madvise(pointer(at), usize_of(len), advice) == 0 }
    }),
    ("a descriptor closed", 3, |w| {
        let slot = w.pick.index(24);
        w.world.keep_fd(slot, -1);
        true
    }),
    ("a file opened anew", 1, |w| {
        if !w.may_allocate || !w.pick.once_in(8) {
            return false;
        }
        let index = w.pick.index(2);
        let mut rng = amdgpu_client::rng::Rng::new(w.pick.any());
        w.world.reopen(index, &mut rng).is_ok()
    }),
    ("dup of a file", 1, |w| {
        let (slot, index) = (w.pick.index(24), w.pick.index(2));
        // SAFETY: a number, which may be that of no descriptor.
        let fd = unsafe { libc::dup(w.world.file(index)) };
        w.world.keep_fd(slot, fd);
        fd >= 0
    }),
    ("fdinfo", 3, |w| {
        let any = w.pick.index(24);
        let fd = if w.pick.once_in(3) { w.world.fd(any) } else { w.world.file(any) };
        fdinfo(fd)
    }),
    ("sync of a DMA buffer", 3, |w| {
        let mut arg = Arg::new();
        arg.d(w.pick.flags(&[1, 2, 3, 5, 6, 7]));
        arg.call(any_fd(w), DMA_BUF_SYNC)
    }),
    ("a sync file of a DMA buffer", 3, |w| {
        let mut arg = Arg::new();
        arg.w(lo32(w.pick.flags(&[1, 2, 3]))).w(u32::MAX);
        let done = arg.call(any_fd(w), uapi::DMA_BUF_EXPORT_SYNC_FILE);
        if done {
            let slot = w.pick.index(24);
            w.world.keep_fd(slot, arg.at(1).cast_signed());
        }
        done
    }),
    ("a sync file into a DMA buffer", 3, |w| {
        let mut arg = Arg::new();
        let file = any_fd(w).cast_unsigned();
        arg.w(lo32(w.pick.flags(&[1, 2, 3]))).w(file);
        arg.call(any_fd(w), uapi::DMA_BUF_IMPORT_SYNC_FILE)
    }),
    ("poll", 2, |w| {
        let mut poll = libc::pollfd { fd: any_fd(w), events: 7, revents: 0 };
        // SAFETY: one structure, which the call may write.
        unsafe { libc::poll(&raw mut poll, 1, 1) == 1 }
    }),
    ("mmap of a DMA buffer", 2, |w| {
        let (fd, offset) = (any_fd(w), 0x1000 * w.pick.below(3));
        map(w, fd, offset)
    }),
    ("a child", 1, |w| {
        if !w.may_allocate || !w.pick.once_in(4) {
            return false;
        }
        // SAFETY: the child does what needs no allocation and takes no lock, and ends.
        match unsafe { libc::fork() } {
            0 => {
                w.may_allocate = false;
                // The parent's timer is not inherited, so that nothing would end a wait.
                // SAFETY: the signal's own effect is wanted, which is to end this process.
                unsafe {
                    libc::signal(libc::SIGALRM, libc::SIG_DFL);
                    libc::alarm(3);
                }
                (0..20).for_each(|_| w.act(CALLS));
                (0..10).for_each(|_| w.act(ACTS));
                // SAFETY: ends the child without the parent's exit handlers.
                unsafe { libc::_exit(0) }
            }
            pid => pid > 0,
        }
    }),
];

fn any_fd(w: &mut Worker<'_>) -> RawFd {
    w.world.fd(w.pick.index(24))
}

/// Returns the address of a page of a mapped BO; 0 if there is none.
fn place(w: &mut Worker<'_>) -> u64 {
    match w.world.map(w.pick.index(8)) {
        0 => 0,
        at => at + u64_of(PAGE) * w.pick.below(u64_of(MAPPED / PAGE)),
    }
}

fn map(w: &mut Worker<'_>, fd: RawFd, offset: u64) -> Done {
    let flags = w.pick.one(&[libc::MAP_SHARED, libc::MAP_SHARED, libc::MAP_PRIVATE]);
    let prot = w.pick.one(&[READ_WRITE, READ_WRITE, libc::PROT_READ]);
    // SAFETY: a new mapping, at an address of the kernel's choice, disturbs nothing.
    let at =
        unsafe { libc::mmap(std::ptr::null_mut(), MAPPED, prot, flags, fd, offset.cast_signed()) };
    if at == libc::MAP_FAILED {
        return false;
    }
    let slot = w.pick.index(8);
    w.world.keep_map(slot, u64_of(at.expose_provenance()));
    true
}

/// Reads what monitors read.
fn fdinfo(fd: RawFd) -> Done {
    let (mut path, mut text) = ([0_u8; 64], [0_u8; 4096]);
    if write!(&mut path[..63], "/proc/self/fdinfo/{fd}").is_err() {
        return false;
    }
    // SAFETY: the path ends with a zero, and the text has as many bytes as may be written.
    unsafe {
        let info = libc::open(path.as_ptr().cast(), libc::O_RDONLY | libc::O_CLOEXEC);
        let len = libc::read(info, text.as_mut_ptr().cast(), text.len());
        world::close(info);
        len > 0
    }
}
