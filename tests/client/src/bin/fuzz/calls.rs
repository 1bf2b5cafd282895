// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The ioctls, with random arguments of which most make sense. Nothing here allocates, so that all
//! of it can be done in a process that was forked from one with several threads.

use std::os::fd::RawFd;

use amdgpu_client::{
    num::{
        hi32,
        lo32,
        u32_of, //
    },
    uapi, //
};

use crate::{
    Counts,
    pick::{
        Pick,
        STREAM,
        STREAMS,
        STREAMS_VA, //
    },
    world::World, //
};

/// One thread's part of the fuzzing.
pub struct Worker<'a> {
    pub pick: Pick,
    pub world: &'a World,
    pub counts: &'static Counts,
    /// A file of memory.
    pub scratch: RawFd,
    /// False in a process that was forked from one of several threads.
    pub may_allocate: bool,
}

/// Success of an action.
pub type Done = bool;

/// An action: what it is called, how often it is chosen, and what does it.
pub type Action = (&'static str, u64, fn(&mut Worker<'_>) -> Done);

/// An argument of an ioctl, under construction.
pub struct Arg {
    words: [u32; WORDS],
    len: usize,
}

/// More than the longest argument has.
const WORDS: usize = 96;

impl Arg {
    pub const fn new() -> Self {
        Self { words: [0; WORDS], len: 0 }
    }

    /// Appends 32 bits.
    pub fn w(&mut self, word: u32) -> &mut Self {
        self.words[self.len] = word;
        self.len += 1;
        self
    }

    /// Appends 64 bits.
    pub fn d(&mut self, value: u64) -> &mut Self {
        self.w(lo32(value)).w(hi32(value))
    }

    fn words(&self) -> &[u32] {
        &self.words[..self.len]
    }

    /// The word at an index, for what comes out.
    pub const fn at(&self, index: usize) -> u32 {
        self.words[index]
    }

    /// Issues an ioctl of any file.
    pub fn call(&mut self, fd: RawFd, request: u64) -> Done {
        assert!(request >> 16 & 0x3fff <= 4 * WORDS as u64);
        // SAFETY: the kernel touches as many bytes as the request says, which the argument has.
        // What the argument points at is an arena, memory that nobody borrows, or nothing.
        unsafe { libc::ioctl(fd, request, self.words.as_mut_ptr()) == 0 }
    }
}

impl Worker<'_> {
    /// Issues an ioctl of one of the files of the device.
    fn drm(&mut self, arg: &mut Arg, request: u64) -> Done {
        let index = self.pick.index(2);
        let request = match self.pick.below(400) {
            // Other sizes than the header's: shorter and longer structures are of other versions.
            0 => request & !(0x3fff << 16) | (4 * self.pick.below(WORDS as u64)) << 16,
            _ => request,
        };
        arg.call(self.world.file(index), request)
    }
}

/// The DRM core's, with its structures of the same names.
const fn core(nr: u64, size: usize) -> u64 {
    uapi::encode(3, uapi::DRM_TYPE, nr, size)
}

pub static CALLS: &[Action] = &[
    ("GEM_CREATE", 10, |w| {
        let mut arg = Arg::new();
        let size = w.pick.size();
        let align = w.pick.one(&[0, 0, 0, 0x1000, 0x10000, 3, 1 << 40]);
        let domains = w.pick.domains();
        let usual = [0, 0, 1, 2, 4, 8, 1 << 6, 1 << 7, 1 << 9, 1 << 12, 1 << 5];
        let flags = w.pick.flags(&usual);
        arg.d(size).d(align).d(domains).d(flags);
        w.drm(&mut arg, uapi::GEM_CREATE.request)
    }),
    ("GEM_CLOSE", 6, |w| {
        let mut arg = Arg::new();
        arg.w(w.pick.bo()).w(0);
        w.drm(&mut arg, uapi::GEM_CLOSE.request)
    }),
    ("GEM_USERPTR", 6, |w| {
        let mut arg = Arg::new();
        let (mut at, size) = w.pick.user_range();
        if w.pick.once_in(16) {
            at = w.pick.memory();
        }
        let flags = lo32(w.pick.flags(&[8, 9, 10, 12, 14, 15, 13, 1]));
        arg.d(at).d(size).w(flags).w(0);
        w.drm(&mut arg, uapi::GEM_USERPTR.request)
    }),
    ("GEM_VA", 12, |w| {
        let mut arg = Arg::new();
        let (bo, op) = (w.pick.bo(), lo32(w.pick.flags(&[1, 1, 2, 3, 4, 4])));
        let flags = lo32(w.pick.flags(&[0xe, 0xe, 2, 6, 1, 0x10, 0x200, 0x400]));
        let (va, offset) = (w.pick.va(), if w.pick.once_in(4) { w.pick.size() } else { 0 });
        let size = w.pick.size();
        arg.w(bo).w(0).w(op).w(flags).d(va).d(offset).d(size);
        if w.pick.once_in(4) {
            let (point, out) = (w.pick.point(), w.pick.syncobj());
            let waits = [w.pick.syncobj(), w.pick.syncobj()];
            let at = w.pick.array(&waits);
            arg.d(point).w(out).w(w.pick.len(2)).d(at);
        }
        w.drm(&mut arg, uapi::GEM_VA.request)
    }),
    ("GEM_OP", 5, |w| {
        let mut arg = Arg::new();
        let (bo, op) = (w.pick.bo(), lo32(w.pick.flags(&[0, 1, 1, 2])));
        let value = if w.pick.once_in(3) { w.pick.memory() } else { w.pick.domains() };
        arg.w(bo).w(op).d(value).w(w.pick.len(8)).w(0);
        w.drm(&mut arg, uapi::GEM_OP.request)
    }),
    ("GEM_METADATA", 3, |w| {
        let mut arg = Arg::new();
        arg.w(w.pick.bo()).w(lo32(w.pick.flags(&[1, 2]))).d(w.pick.any()).d(w.pick.any());
        arg.w(w.pick.len(256)).w(7);
        w.drm(&mut arg, uapi::GEM_METADATA.request)
    }),
    ("GEM_WAIT_IDLE", 4, |w| {
        let mut arg = Arg::new();
        arg.w(w.pick.bo()).w(0).d(w.pick.deadline());
        w.drm(&mut arg, uapi::GEM_WAIT_IDLE.request)
    }),
    ("GEM_LIST_HANDLES", 2, |w| {
        let mut arg = Arg::new();
        arg.d(w.pick.memory()).w(w.pick.len(40)).w(0);
        w.drm(&mut arg, uapi::GEM_LIST_HANDLES.request)
    }),
    ("CTX", 5, |w| {
        let mut arg = Arg::new();
        let op = lo32(w.pick.flags(&[1, 1, 2, 3, 4, 5, 6]));
        let (flags, ctx) = (lo32(w.pick.flags(&[0, 0, 1, 2, 4])), w.pick.ctx());
        let priority = w.pick.one(&[
            0,
            0,
            512_u32,
            1023,
            (-512_i32).cast_unsigned(),
            (-1023_i32).cast_unsigned(),
            77,
        ]);
        arg.w(op).w(flags).w(ctx).w(priority);
        w.drm(&mut arg, uapi::CTX.request)
    }),
    ("BO_LIST", 5, |w| {
        let mut arg = Arg::new();
        let entries = entries(&mut w.pick);
        let at = w.pick.array(entries.words());
        let (op, list) = (lo32(w.pick.flags(&[0, 1, 2])), w.pick.list());
        let (count, size) = (w.pick.len(entries.len / 2), w.pick.len(8));
        arg.w(op).w(list).w(count).w(size).d(at);
        w.drm(&mut arg, uapi::BO_LIST.request)
    }),
    ("CS", 40, submit),
    ("WAIT_CS", 6, |w| {
        let mut arg = Arg::new();
        arg.d(w.pick.point()).d(w.pick.deadline());
        let ring = ring(&mut w.pick);
        arg.w(ring.0).w(0).w(ring.1).w(w.pick.ctx());
        w.drm(&mut arg, uapi::WAIT_CS.request)
    }),
    ("WAIT_FENCES", 5, |w| {
        let mut fences = Arg::new();
        let count = w.pick.below(6);
        for _ in 0..count {
            fence(&mut w.pick, &mut fences);
        }
        let at = w.pick.array(fences.words());
        let mut arg = Arg::new();
        arg.d(at).w(w.pick.len(fences.len / 6)).w(lo32(w.pick.below(3))).d(w.pick.deadline());
        w.drm(&mut arg, uapi::WAIT_FENCES.request)
    }),
    ("FENCE_TO_HANDLE", 4, |w| {
        let mut arg = Arg::new();
        fence(&mut w.pick, &mut arg);
        let what = lo32(w.pick.flags(&[0, 1, 2]));
        arg.w(what).w(0);
        let done = w.drm(&mut arg, uapi::FENCE_TO_HANDLE.request);
        if done && (what == 1 || what == 2) {
            let slot = w.pick.index(24);
            w.world.keep_fd(slot, arg.at(0).cast_signed());
        }
        done
    }),
    ("INFO", 6, |w| {
        let mut arg = Arg::new();
        arg.d(w.pick.memory())
            .w(w.pick.len(64))
            .w(lo32(w.pick.flags(&[0x15, 0x16, 0x19, 0x1b, 0x1d])));
        for _ in 0..4 {
            arg.w(match w.pick.below(3) {
                0 => lo32(w.pick.any()),
                1 => lo32(w.pick.below(0x10000)),
                _ => lo32(w.pick.below(8)),
            });
        }
        if w.pick.once_in(2) {
            arg.words[3] = lo32(w.pick.below(0x28));
        }
        w.drm(&mut arg, uapi::INFO.request)
    }),
    ("SCHED", 1, |w| {
        let mut arg = Arg::new();
        arg.w(lo32(w.pick.below(4))).w(lo32(w.pick.below(32))).w(0).w(w.pick.ctx());
        w.drm(&mut arg, uapi::SCHED.request)
    }),
    ("VM", 2, |w| {
        let mut arg = Arg::new();
        arg.w(lo32(w.pick.flags(&[1, 2, 2]))).w(0);
        w.drm(&mut arg, uapi::VM.request)
    }),
    ("any number", 2, |w| {
        let mut arg = Arg::new();
        for _ in 0..WORDS {
            let word = match w.pick.below(3) {
                0 => lo32(w.pick.any()),
                1 => lo32(w.pick.below(20)),
                _ => 0,
            };
            arg.w(word);
        }
        // No number of those that need the rights of a master, or that take addresses.
        let numbers = [0x54, 0x56, 0x57, 0x58, 0x5a, 0x5b, 0x60, 0x0b, 0xc9];
        let nr = w.pick.one(&numbers);
        let size = 4 * w.pick.below(WORDS as u64);
        w.drm(&mut arg, uapi::encode(3, uapi::DRM_TYPE, nr, 0) | size << 16)
    }),
    ("SYNCOBJ_CREATE", 2, |w| {
        let mut arg = Arg::new();
        arg.w(0).w(lo32(w.pick.flags(&[0, 0, 1])));
        w.drm(&mut arg, uapi::SYNCOBJ_CREATE.request)
    }),
    ("SYNCOBJ_DESTROY", 1, |w| {
        let mut arg = Arg::new();
        arg.w(w.pick.syncobj()).w(0);
        w.drm(&mut arg, uapi::SYNCOBJ_DESTROY.request)
    }),
    ("SYNCOBJ_HANDLE_TO_FD", 3, |w| {
        let mut arg = Arg::new();
        arg.w(w.pick.syncobj()).w(lo32(w.pick.flags(&[0, 1, 1, 2]))).w(0).w(0).d(w.pick.point());
        let done = w.drm(&mut arg, uapi::SYNCOBJ_HANDLE_TO_FD.request);
        if done {
            let slot = w.pick.index(24);
            w.world.keep_fd(slot, arg.at(2).cast_signed());
        }
        done
    }),
    ("SYNCOBJ_FD_TO_HANDLE", 3, |w| {
        let mut arg = Arg::new();
        let (syncobj, slot) = (w.pick.syncobj(), w.pick.index(24));
        arg.w(syncobj).w(lo32(w.pick.flags(&[0, 1, 1, 2])));
        arg.w(w.world.fd(slot).cast_unsigned()).w(0).d(w.pick.point());
        w.drm(&mut arg, uapi::SYNCOBJ_FD_TO_HANDLE.request)
    }),
    ("SYNCOBJ_SIGNAL", 4, |w| syncobjs(w, 0xc5)),
    ("SYNCOBJ_RESET", 1, |w| syncobjs(w, 0xc4)),
    ("SYNCOBJ_TIMELINE_SIGNAL", 4, |w| points(w, 0xcd)),
    ("SYNCOBJ_QUERY", 1, |w| points(w, 0xcb)),
    ("SYNCOBJ_TRANSFER", 2, |w| {
        let mut arg = Arg::new();
        arg.w(w.pick.syncobj()).w(w.pick.syncobj()).d(w.pick.point()).d(w.pick.point());
        arg.w(lo32(w.pick.flags(&[0, 2]))).w(0);
        w.drm(&mut arg, core(0xcc, 32))
    }),
    ("SYNCOBJ_TIMELINE_WAIT", 2, |w| {
        let (handles, wanted) = ([w.pick.syncobj(), w.pick.syncobj()], w.pick.point());
        let mut values = Arg::new();
        values.d(wanted).d(0);
        let (at, points) = (w.pick.array(&handles), w.pick.array(values.words()));
        let mut arg = Arg::new();
        arg.d(at).d(points).d(w.pick.deadline()).w(lo32(w.pick.below(4)));
        arg.w(lo32(w.pick.flags(&[0, 1, 2, 3, 4]))).w(0).w(0).d(0);
        w.drm(&mut arg, uapi::SYNCOBJ_TIMELINE_WAIT.request)
    }),
    ("PRIME_HANDLE_TO_FD", 4, |w| {
        let mut arg = Arg::new();
        let flags = w.pick.one(&[0o2_000_002, 0o2_000_000, 2]);
        arg.w(w.pick.bo()).w(flags).w(0);
        let done = w.drm(&mut arg, uapi::PRIME_HANDLE_TO_FD.request);
        if done {
            let slot = w.pick.index(24);
            w.world.keep_fd(slot, arg.at(2).cast_signed());
        }
        done
    }),
    ("PRIME_FD_TO_HANDLE", 4, |w| {
        let mut arg = Arg::new();
        let slot = w.pick.index(24);
        arg.w(0).w(0).w(w.world.fd(slot).cast_unsigned());
        w.drm(&mut arg, uapi::PRIME_FD_TO_HANDLE.request)
    }),
];

/// The entries of a BO list.
fn entries(pick: &mut Pick) -> Arg {
    let mut entries = Arg::new();
    for _ in 0..pick.below(16) {
        let priority = pick.one(&[0, 0, 1, 31, 32, u32::MAX]);
        // What exists from the beginning, as a rule.
        let bo = if pick.once_in(30) { pick.bo() } else { lo32(1 + pick.below(16)) };
        entries.w(bo).w(priority);
    }
    entries
}

/// A kind of engine and a ring of it.
fn ring(pick: &mut Pick) -> (u32, u32) {
    match pick.below(40) {
        0 => (lo32(pick.any()), lo32(pick.any())),
        1 => (lo32(pick.below(12)), lo32(pick.below(12))),
        2..16 => (uapi::HW_IP_DMA, lo32(pick.below(2))),
        16..28 => (uapi::HW_IP_GFX, 0),
        _ => (uapi::HW_IP_COMPUTE, lo32(pick.below(4))),
    }
}

/// A `drm_amdgpu_fence`.
fn fence(pick: &mut Pick, to: &mut Arg) {
    let ring = ring(pick);
    to.w(pick.ctx()).w(ring.0).w(0).w(ring.1).d(pick.point());
}

/// An ioctl that takes an array of synchronization objects. The core takes any count for the size
/// of an allocation, and the kernel warns of some: so the counts are small.
fn syncobjs(w: &mut Worker<'_>, nr: u64) -> Done {
    let handles = [w.pick.syncobj(), w.pick.syncobj()];
    let at = w.pick.array(&handles);
    let mut arg = Arg::new();
    arg.d(at).w(lo32(w.pick.below(4))).w(0);
    w.drm(&mut arg, core(nr, 16))
}

/// An ioctl that takes arrays of synchronization objects and points.
fn points(w: &mut Worker<'_>, nr: u64) -> Done {
    let handles = [w.pick.syncobj(), w.pick.syncobj()];
    let mut values = Arg::new();
    values.d(w.pick.point()).d(w.pick.point());
    let (at, points) = (w.pick.array(&handles), w.pick.array(values.words()));
    let mut arg = Arg::new();
    arg.d(at).d(points).w(lo32(w.pick.below(4))).w(0);
    w.drm(&mut arg, core(nr, 24))
}

/// An IB chunk's body: one of the streams.
fn ib(pick: &mut Pick, hangs: u64) -> Arg {
    let ring = ring(pick);
    let first = if ring.0 == uapi::HW_IP_DMA { 0 } else { STREAMS };
    let stream =
        if hangs > 0 && pick.once_in(hangs) { STREAMS - 1 } else { pick.below(STREAMS - 1) };
    let va = match pick.below(40) {
        0 if hangs > 0 => pick.va(),
        _ => STREAMS_VA + STREAM * (first + stream),
    };
    let mut ib = Arg::new();
    let (flags, instance) = match pick.below(24) {
        0 => (lo32(pick.any()), 0),
        1 => (1 << pick.below(9), 0),
        2 => (0, 1),
        _ => (0, 0),
    };
    let bytes = if pick.once_in(40) { pick.len(256) } else { lo32(STREAM) };
    ib.w(0).w(flags).d(va).w(bytes).w(ring.0).w(instance).w(ring.1);
    ib
}

fn submit(w: &mut Worker<'_>) -> Done {
    let pick = &mut w.pick;
    let mut addresses = Arg::new();
    let mut chunk = |pick: &mut Pick, id: u32, body: &Arg| {
        let data = pick.array(body.words());
        let id = if pick.once_in(80) { lo32(pick.below(16)) } else { id };
        let mut header = Arg::new();
        header.w(id).w(pick.len(body.len)).d(data);
        let at = pick.array(header.words());
        addresses.d(at);
    };
    let by_list = pick.once_in(4);
    if !by_list {
        let entries = entries(pick);
        let at = pick.array(entries.words());
        let mut list = Arg::new();
        list.w(0).w(0).w(pick.len(entries.len / 2)).w(8).d(at);
        chunk(pick, uapi::CHUNK_ID_BO_HANDLES, &list);
    }
    for _ in 0..pick.one(&[1, 1, 1, 1, 2, 3, 5, 0]) {
        let ib = ib(pick, w.world.hangs);
        chunk(pick, uapi::CHUNK_ID_IB, &ib);
    }
    if pick.once_in(8) {
        let mut body = Arg::new();
        body.w(pick.bo()).w(8 * lo32(pick.below(600)));
        chunk(pick, uapi::CHUNK_ID_FENCE, &body);
    }
    for id in [uapi::CHUNK_ID_DEPENDENCIES, uapi::CHUNK_ID_SCHEDULED_DEPENDENCIES] {
        if pick.once_in(8) {
            let mut body = Arg::new();
            for _ in 0..1 + pick.below(3) {
                let ring = ring(pick);
                body.w(ring.0).w(0).w(ring.1).w(pick.ctx()).d(pick.point());
            }
            chunk(pick, id, &body);
        }
    }
    for id in [uapi::CHUNK_ID_SYNCOBJ_IN, uapi::CHUNK_ID_SYNCOBJ_OUT] {
        if pick.once_in(6) {
            let mut body = Arg::new();
            for _ in 0..1 + pick.below(3) {
                body.w(pick.syncobj());
            }
            chunk(pick, id, &body);
        }
    }
    for id in [uapi::CHUNK_ID_SYNCOBJ_TIMELINE_WAIT, uapi::CHUNK_ID_SYNCOBJ_TIMELINE_SIGNAL] {
        if pick.once_in(8) {
            let mut body = Arg::new();
            body.w(pick.syncobj()).w(lo32(pick.flags(&[0, 2]))).d(pick.point());
            chunk(pick, id, &body);
        }
    }
    if pick.once_in(60) {
        let mut body = Arg::new();
        body.d(pick.va()).d(0).d(0).d(0);
        chunk(pick, uapi::CHUNK_ID_CP_GFX_SHADOW, &body);
    }
    let count = pick.len(addresses.len / 2).min(u32_of(addresses.len));
    let at = pick.array(addresses.words());
    let list = if by_list { pick.list() } else { 0 };
    let ctx = pick.ctx();
    let mut arg = Arg::new();
    arg.w(ctx).w(list).w(count).w(0).d(at);
    w.drm(&mut arg, uapi::CS.request)
}
