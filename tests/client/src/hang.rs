// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Jobs that hang an engine, and what contexts are told of it.

use std::str::FromStr;

use crate::{
    Errno,
    PAGE,
    Result,
    drm,
    engine::Engine,
    ib::{
        Packet,
        START_ALIGN,
        Stream, //
    },
    num::{
        hi32,
        lo32,
        u64_of, //
    },
    pm4::{
        Dispatch,
        SetComputeRegs, //
    },
    report::Outcome,
    session::{
        PATIENCE_MS,
        Session, //
    },
    uapi::{
        self,
        Chunk, //
    }, //
};

/// Words that are no packet of the library.
#[derive(Debug)]
pub struct Raw<'a>(pub &'a [u32]);

impl Packet for Raw<'_> {
    fn encode(&self, words: &mut Vec<u32>) {
        words.extend(self.0);
    }
}

/// A way to hang an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hang {
    /// A wait for what never comes.
    Wait,
    /// A command that does not exist.
    Illegal,
    /// A register that is not for users.
    Privileged,
    /// A command buffer where there is none.
    Unmapped,
    /// Shaders that do not end. Not for DMA engines.
    Shader,
}

impl Hang {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Wait, Self::Illegal, Self::Privileged, Self::Unmapped, Self::Shader];

    /// Its name in options.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Wait => "wait",
            Self::Illegal => "illegal",
            Self::Privileged => "privileged",
            Self::Unmapped => "unmapped",
            Self::Shader => "shader",
        }
    }

    /// Its name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Wait => "a wait without end",
            Self::Illegal => "an illegal command",
            Self::Privileged => "a privileged register",
            Self::Unmapped => "a command buffer at an unmapped address",
            Self::Shader => "an endless shader",
        }
    }

    /// Returns true if the engine says at once that something is wrong, and which ring it is.
    pub const fn is_told(self, engine: Engine) -> bool {
        matches!(self, Self::Illegal | Self::Privileged) && !matches!(engine, Engine::Compute(_))
    }

    fn stream(self, engine: Engine, session: &Session) -> Stream {
        /// `CP_ME_CNTL`
        const REGISTER: u32 = 0x21b6;
        let never = session.data.va + u64_of(PAGE) - 4;
        let mut stream = Stream::new();
        match (self, engine.is_dma()) {
            (Self::Wait, _) => stream.wait_equal(engine, never, 0xdead),
            (Self::Illegal, true) => stream.push(Raw(&[0xff])),
            (Self::Illegal, false) => stream.push(Raw(&[0xc000_fe00, 0])),
            (Self::Privileged, true) => stream.push(Raw(&[0xf000_000e, REGISTER, 0])),
            (Self::Privileged, false) => stream.push(Raw(&[0xc003_3700, 0, REGISTER, 0, 0])),
            (Self::Shader, _) => endless(&mut stream, session),
            (Self::Unmapped, _) => &mut stream,
        };
        stream
    }
}

/// Appends a dispatch of a shader that branches to itself, in more groups than there is room for at
/// a time.
fn endless<'a>(stream: &'a mut Stream, session: &Session) -> &'a mut Stream {
    /// `s_branch`, to itself.
    const BRANCH: u32 = 0xbf82_ffff;
    /// Its place in the page of results.
    const AT: usize = 0x800;
    const GROUPS: u32 = 24;
    session.data.map.write(AT, BRANCH);
    let code = session.data.va + u64_of(AT);
    let all_units = !0;
    // COMPUTE_NUM_THREAD_X to Z; COMPUTE_PGM_LO, HI; COMPUTE_PGM_RSRC1, 2; RESOURCE_LIMITS and the
    // units of the shader engines; COMPUTE_TMPRING_SIZE; the other shader engines.
    let registers: [(u32, &[u32]); 6] = [
        (0x2e07, &[64, 1, 1]),
        (0x2e0c, &[lo32(code >> 8), hi32(code >> 8)]),
        (0x2e12, &[0xc0 << 12 | 1 << 21, 0]),
        (0x2e15, &[0, all_units, all_units]),
        (0x2e18, &[0]),
        (0x2e19, &[all_units, all_units]),
    ];
    for (first, values) in registers {
        stream.push(SetComputeRegs { first, values });
    }
    stream.push(Dispatch { groups: GROUPS })
}

/// An engine and a way to hang it, as options name them.
#[derive(Clone, Copy, Debug)]
pub struct Named(pub Engine, pub Hang);

impl FromStr for Named {
    type Err = String;

    fn from_str(name: &str) -> std::result::Result<Self, String> {
        let (engine, key) = name.split_once(':').ok_or("ENGINE:KIND is needed")?;
        let hang = Hang::ALL.into_iter().find(|hang| hang.key() == key);
        Ok(Self(engine.parse()?, hang.ok_or_else(|| format!("no kind of hang is called {key}"))?))
    }
}

/// Submits a stream from a place of its own in the command buffer.
///
/// # Errors
///
/// The kernel's.
pub fn submit(session: &Session, place: usize, engine: Engine, stream: &Stream) -> Result<u64> {
    submit_ib(session, session.place_ib_at(place * 4 * START_ALIGN, engine, stream))
}

fn submit_ib(session: &Session, ib: uapi::ChunkIb) -> Result<u64> {
    let entries = drm::list_entries(&[session.ib.handle, session.data.handle]);
    let (ib, list) = ([ib], [drm::list_request(&entries)]);
    let chunks = [Chunk::of(uapi::CHUNK_ID_BO_HANDLES, &list), Chunk::of(uapi::CHUNK_ID_IB, &ib)];
    session.file.cs(session.ctx, 0, &chunks)
}

/// Submits a job that hangs its engine.
///
/// # Errors
///
/// The kernel's.
pub fn submit_hang(session: &Session, engine: Engine, hang: Hang) -> Result<u64> {
    let mut ib = session.place_ib_at(0, engine, &hang.stream(engine, session));
    if hang == Hang::Unmapped {
        ib.va_start = session.reserve_va(u64_of(PAGE));
    }
    submit_ib(session, ib)
}

/// Flags of the newer query of a context.
pub mod flag {
    /// A part of the card was reset.
    pub const RESET: u64 = 1 << 0;
    /// The contents of VRAM are lost.
    pub const VRAM_LOST: u64 = 1 << 1;
    /// A job of the context was to blame.
    pub const GUILTY: u64 = 1 << 2;
}

/// Asks for the state of a context, in the way that `op` names.
///
/// # Errors
///
/// As text.
pub fn query(
    session: &Session,
    op: u32,
    ctx_id: u32,
) -> std::result::Result<uapi::CtxState, String> {
    let request = uapi::Ctx { op, ctx_id, ..Default::default() };
    session.file.call(uapi::CTX_QUERY, &request).map_err(|e| format!("a query: {e}"))
}

/// The flags that the newer query answers: see [`flag`].
///
/// # Errors
///
/// As text.
pub fn flags(session: &Session, ctx_id: u32) -> std::result::Result<u64, String> {
    query(session, uapi::CTX_OP_QUERY_STATE2, ctx_id).map(|state| state.flags)
}

/// Waits for a job, which has to end with one of these errors.
///
/// # Errors
///
/// In words, if it ends in another way.
pub fn ends_with(session: &Session, engine: Engine, seq: u64, expected: &[i32]) -> Outcome {
    match session.wait(engine, seq, PATIENCE_MS) {
        Err(Errno(error)) if expected.contains(&error) => Ok(String::new()),
        answer => Err(format!("{answer:?}, not errno {expected:?}")),
    }
}
