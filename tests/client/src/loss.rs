// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Views of a card that has lost the contents of VRAM: of clients that were there, and of one that
//! goes on in a new context whenever its old one is refused.

use std::sync::atomic::{
    AtomicBool,
    Ordering, //
};

use crate::{
    Errno,
    PAGE,
    drm::Node,
    engine::Engine,
    hang::submit,
    ib::Stream,
    num::{
        u32_of,
        u64_of, //
    },
    report::Tally,
    session::{
        Buffer,
        PATIENCE_MS,
        Session, //
    },
    uapi::{
        DOMAIN_GTT,
        DOMAIN_VRAM,
        INFO_VRAM_LOST_COUNTER, //
    }, //
};

const PAGES: usize = 256;

/// Pages with a number each.
#[derive(Debug)]
pub struct Marked {
    buffer: Buffer,
    mark: u32,
    pages: usize,
}

impl Marked {
    /// Makes them, in memory of a domain. Numbers of others are told apart by the mark.
    ///
    /// # Errors
    ///
    /// As text.
    pub fn new(session: &Session, domain: u64, mark: u32, pages: usize) -> Result<Self, String> {
        let buffer = session.buffer(u64_of(pages * PAGE), domain, 0);
        let buffer = buffer.map_err(|e| format!("a buffer: {e}"))?;
        let this = Self { buffer, mark, pages };
        (0..pages).for_each(|page| this.buffer.map.write(page * PAGE, this.word(page)));
        Ok(this)
    }

    /// Returns the buffer that they are in.
    pub fn buffer(&self) -> &Buffer {
        &self.buffer
    }

    /// Returns the number of pages.
    pub fn pages(&self) -> usize {
        self.pages
    }

    /// Counts the pages that still have their numbers.
    pub fn right_here(&self) -> usize {
        self.right(&self.buffer)
    }

    fn word(&self, page: usize) -> u32 {
        self.mark | u32_of(page)
    }

    /// Counts the pages of `buffer` that have the numbers.
    fn right(&self, buffer: &Buffer) -> usize {
        (0..self.pages).filter(|page| buffer.map.read(page * PAGE) == self.word(*page)).count()
    }

    /// Has an engine copy it to another buffer, which then has the same.
    fn copy_to(&self, session: &Session, engine: Engine, to: &Buffer) -> Result<(), Errno> {
        let mut stream = Stream::new();
        stream.copy(engine, self.buffer.va, to.va, self.buffer.size);
        let handles = [self.buffer.handle, to.handle];
        let seq = session.submit(engine, &stream, &handles)?;
        match session.wait(engine, seq, PATIENCE_MS)? {
            true => Ok(()),
            false => Err(Errno(libc::ETIMEDOUT)),
        }
    }
}

/// Returns the number of times that the card has lost the contents of VRAM.
///
/// # Errors
///
/// As text.
pub fn losses(session: &Session) -> Result<u32, String> {
    let info = session.file.info(INFO_VRAM_LOST_COUNTER, [0; 4]);
    info.map_err(|e| format!("VRAM_LOST_COUNTER: {e}"))
}

/// Checks that VRAM was counted lost once more than `before`.
pub fn check_counted(tally: &mut Tally, title: &str, session: &Session, before: u32) {
    tally.check(format!("{title}: the loss of VRAM is counted"), || {
        match losses(session)?.wrapping_sub(before) {
            1 => Ok(String::new()),
            count => Err(format!("{count} times")),
        }
    });
}

/// Has a new context, in which what was mapped before is still mapped.
///
/// # Errors
///
/// As text.
pub fn renew(session: &mut Session) -> Result<(), String> {
    session.ctx = session.file.ctx_alloc().map_err(|e| format!("a context: {e}"))?;
    Ok(())
}

/// A client that makes a new context whenever its old one is refused, and compares all it copies,
/// until told to stop. How often it had to, and how often it copied.
///
/// # Errors
///
/// As text: what it saw that is not right.
pub fn go_on(node: &Node, engine: Engine, over: &AtomicBool) -> Result<(usize, usize), String> {
    let mut session = Session::open(node).map_err(|e| format!("a session: {e}"))?;
    let source = Marked::new(&session, DOMAIN_GTT, 0x6000_0000, PAGES)?;
    let to = session.buffer(u64_of(PAGES * PAGE), DOMAIN_GTT, 0).map_err(|e| format!("{e}"))?;
    let (mut renewed, mut copied) = (0, 0);
    // On a slow machine all is over before the first copy after the reset.
    while !over.load(Ordering::Relaxed) || (copied == 0 && renewed < 3) {
        to.map.fill(0);
        match source.copy_to(&session, engine, &to) {
            Ok(()) => copied += 1,
            Err(Errno(libc::ECANCELED)) => {
                renew(&mut session)?;
                renewed += 1;
                continue;
            }
            Err(e) => return Err(format!("a copy on {engine}: {e}")),
        }
        let right = source.right(&to);
        if right != PAGES {
            return Err(format!("{right} of {PAGES} pages are right after copy {copied}"));
        }
    }
    Ok((renewed, copied))
}

/// Memory of a client from before a loss.
#[derive(Debug)]
pub struct Belongings {
    kept: Marked,
    lost: Marked,
}

impl Belongings {
    /// Makes some in system memory and some in VRAM, and has all engines know the client.
    ///
    /// # Errors
    ///
    /// As text.
    pub fn new(session: &Session) -> Result<Self, String> {
        let kept = Marked::new(session, DOMAIN_GTT, 0x5a5a_0000, PAGES)?;
        let lost = Marked::new(session, DOMAIN_VRAM, 0x7b7b_0000, PAGES)?;
        // Page tables, and whatever has to be cleared, come before the loss.
        Engine::ALL.into_iter().try_for_each(|engine| session.prove_alive(engine))?;
        Ok(Self { kept, lost })
    }
}

/// Checks what becomes of a client that was there when VRAM was lost. It has a new context
/// afterward.
///
/// # Errors
///
/// If no new context is to be had.
pub fn check_innocent(
    tally: &mut Tally,
    title: &str,
    innocent: &mut Session,
    Belongings { kept, lost }: &Belongings,
) -> Result<(), String> {
    tally.check(format!("{title}: contexts from before are refused"), || {
        for engine in Engine::ALL {
            match submit(innocent, 2, engine, &Stream::new()) {
                Err(Errno(libc::ECANCELED)) => {}
                answer => return Err(format!("{engine}: {answer:?}")),
            }
        }
        Ok(String::new())
    });
    renew(innocent)?;
    tally.check(format!("{title}: what was mapped is mapped, for all engines"), || {
        Engine::ALL.into_iter().try_for_each(|engine| innocent.prove_alive(engine))?;
        Ok(String::new())
    });
    tally.check(format!("{title}: system memory is intact, for the CPU and for engines"), || {
        let to = innocent.buffer(kept.buffer.size, DOMAIN_GTT, 0).map_err(|e| format!("{e}"))?;
        kept.copy_to(innocent, Engine::Dma(0), &to).map_err(|e| format!("a copy: {e}"))?;
        match (kept.right_here(), kept.right(&to)) {
            (PAGES, PAGES) => Ok(String::new()),
            right => Err(format!("{right:?} of {PAGES} pages are right")),
        }
    });
    tally.check(format!("{title}: VRAM was lost, and works"), || {
        let left = lost.right_here();
        if left != 0 {
            return Err(format!("{left} pages have what they had"));
        }
        kept.copy_to(innocent, Engine::Gfx, &lost.buffer).map_err(|e| format!("a copy: {e}"))?;
        match kept.right(&lost.buffer) {
            PAGES => Ok(String::new()),
            right => Err(format!("{right} of {PAGES} pages are right")),
        }
    });
    tally.check(format!("{title}: new VRAM is zeroed"), || {
        for pages in [1, PAGES] {
            let new = innocent.buffer(u64_of(pages * PAGE), DOMAIN_VRAM, 0);
            let new = new.map_err(|e| format!("a buffer: {e}"))?;
            let bad = (0..pages * PAGE).step_by(4).find(|at| new.map.read(*at) != 0);
            if let Some(at) = bad {
                return Err(format!("{:#x} at {at:#x}", new.map.read(at)));
            }
        }
        Ok(String::new())
    });
    Ok(())
}

/// Checks what has become of [`go_on`].
pub fn check_others(tally: &mut Tally, title: &str, others: Result<(usize, usize), String>) {
    tally.check(format!("{title}: whoever makes a new context goes on"), || {
        let (renewed, copied) = others?;
        let seen = format!("{copied} copies, {renewed} new contexts");
        if copied == 0 { Err(seen) } else { Ok(seen) }
    });
}
