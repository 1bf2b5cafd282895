// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Judge of what the GPU may have read from memory that another thread was replacing all the while.
//!
//! Every word of the memory says which page it belongs to, in which *generation* of that page,
//! and where in the page it lies. The thread that replaces pages writes down, on one clock that
//! all threads share, when each replacement began and when it had ended. A job has a window: from
//! just before it was submitted to just after it was known to be done.
//!
//! Pages are replaced in one of two manners ([`Manner`]), and for each the rules are sound (they
//! accuse only a driver that broke its promise) and as tight as the clock allows:
//!
//! - *Whole*: new pages are filled elsewhere and moved into place. A page that the GPU read must
//!   be whole and of one generation, and that generation must have been in place at some moment of
//!   the window: its replacement began before the window's end, and the one that took it away had
//!   not ended before the window's start. Anything else is a page that was read after it had been
//!   given back (*stale*), or before it was there.
//! - *In place*: the range is unmapped, mapped again and then filled. Words that are still zero
//!   are then allowed as well, but only if a replacement of that very page was under way within
//!   the window.

use std::{
    fmt,
    ops::Range,
    sync::{
        Mutex,
        MutexGuard,
        PoisonError,
        atomic::{
            AtomicU64,
            Ordering, //
        }, //
    }, //
};

use crate::{
    mem::Page,
    num::{
        lo32,
        u64_of,
        usize_of, //
    }, //
};

/// Ways in which pages are replaced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Manner {
    /// Filled first, then moved into place: there is never a hole.
    Whole,
    /// Unmapped, mapped, then filled: there is a hole, then zeros.
    InPlace,
}

/// Words in a page.
const WORDS: usize = crate::PAGE / 8;

/// Set in every word, so that none is zero.
const MARK: u64 = 1 << 31;

/// Pages that the page field can tell apart.
pub const MAX_PAGES: usize = 1 << 22;

fn word(page: usize, generation: u32, index: usize) -> u64 {
    u64::from(generation) << 32 | MARK | u64_of(page) << 9 | u64_of(index)
}

/// The content of a page in a generation.
///
/// # Panics
///
/// When `page` is not below [`MAX_PAGES`].
pub fn stamped(page: usize, generation: u32) -> Page {
    assert!(page < MAX_PAGES);
    let mut bytes = [0; crate::PAGE];
    for (index, to) in bytes.chunks_exact_mut(8).enumerate() {
        to.copy_from_slice(&word(page, generation, index).to_le_bytes());
    }
    bytes
}

/// Contents of a page that the GPU read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seen {
    /// The generation of the words that are stamped; none when all are zero.
    pub generation: Option<u32>,
    /// Set if there are zero words.
    pub zeros: bool,
}

/// Why a page cannot have come from the memory that the job was given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wrong {
    /// A word that never stood at this place in this page.
    Foreign {
        /// Place of the word in the page.
        index: usize,
        /// The word itself.
        word: u64,
    },
    /// Words of two generations in one page.
    Mixed(u32, u32),
    /// A generation that had been taken away before the job was submitted.
    Stale(u32),
    /// A generation that came after the job was done, or that this page never had.
    Never(u32),
    /// Zeros, though nobody was replacing the page.
    Zeros,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Foreign { index, word } if word & MARK != 0 => write!(
                f,
                "its word {index} is word {} of page {} in generation {}",
                word & 0x1ff,
                (word & (MARK - 1)) >> 9,
                word >> 32,
            ),
            Self::Foreign { index, word } => write!(f, "its word {index} is {word:#x}"),
            Self::Mixed(a, b) => write!(f, "words of generations {a} and {b} in one page"),
            Self::Stale(g) => {
                write!(f, "generation {g}, which was gone before the job was submitted")
            }
            Self::Never(g) => write!(f, "generation {g}, which was not there during the job"),
            Self::Zeros => write!(f, "zeros, though nobody was replacing it"),
        }
    }
}

/// Reads the stamps of a page.
///
/// # Errors
///
/// When no single generation of this page explains its words.
pub fn inspect(page: usize, bytes: &Page) -> Result<Seen, Wrong> {
    let mut seen = Seen { generation: None, zeros: false };
    for (index, from) in bytes.chunks_exact(8).enumerate() {
        let found = u64::from_le_bytes(from.try_into().expect("eight bytes"));
        if found == 0 {
            seen.zeros = true;
            continue;
        }
        let generation = lo32(found >> 32);
        if found != word(page, generation, index) {
            return Err(Wrong::Foreign { index, word: found });
        }
        match seen.generation {
            Some(before) if before != generation => return Err(Wrong::Mixed(before, generation)),
            _ => seen.generation = Some(generation),
        }
    }
    debug_assert_eq!(WORDS, bytes.len() / 8);
    Ok(seen)
}

/// A moment on the shared clock. No two events have the same.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Moment(u64);

/// From just before a submission to just after its end.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// Before the submission.
    pub start: Moment,
    /// After the job was seen to be done.
    pub end: Moment,
}

#[derive(Clone, Copy)]
struct Span {
    begin: Moment,
    end: Moment,
}

impl Span {
    fn meets(self, window: Window) -> bool {
        self.begin < window.end && self.end > window.start
    }
}

#[derive(Default)]
struct Log {
    /// By generation. Generation 0 is what was there at first.
    spans: Vec<Span>,
    /// The generations that each page has had, in order.
    of_page: Vec<Vec<u32>>,
}

/// Replacements, with their times.
pub struct History {
    clock: AtomicU64,
    log: Mutex<Log>,
    manner: Manner,
}

impl History {
    /// The history of `pages` pages that hold generation 0.
    pub fn new(pages: usize, manner: Manner) -> Self {
        let always = Span { begin: Moment(0), end: Moment(0) };
        let log = Log { spans: vec![always], of_page: vec![vec![0]; pages] };
        Self { clock: AtomicU64::new(1), log: Mutex::new(log), manner }
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This moment.
    pub fn now(&self) -> Moment {
        Moment(self.clock.fetch_add(1, Ordering::SeqCst))
    }

    /// The generation that the next replacement will bring. One thread replaces.
    pub fn upcoming(&self) -> u32 {
        crate::num::u32_of(self.log().spans.len())
    }

    /// Writes down that a replacement is about to begin.
    pub fn begin(&self, pages: Range<usize>) {
        let mut log = self.log();
        let generation = crate::num::u32_of(log.spans.len());
        pages.for_each(|page| log.of_page[page].push(generation));
        log.spans.push(Span { begin: self.now(), end: Moment(u64::MAX) });
    }

    /// Writes down that the replacement begun last has ended.
    pub fn end(&self) {
        let mut log = self.log();
        let now = self.now();
        if let Some(span) = log.spans.last_mut() {
            span.end = now;
        }
    }

    /// Returns the number of replacements.
    pub fn replacements(&self) -> usize {
        self.log().spans.len() - 1
    }

    /// Judges what a job read from a page.
    ///
    /// # Errors
    ///
    /// What the driver must not have let happen.
    pub fn judge(&self, page: usize, seen: Seen, window: Window) -> Result<(), Wrong> {
        let log = self.log();
        let generations = &log.of_page[page];
        let span = |generation: u32| log.spans[usize_of(u64::from(generation))];

        if seen.zeros && self.manner == Manner::Whole {
            return Err(Wrong::Zeros);
        }
        let Some(generation) = seen.generation else {
            let under_way = generations.iter().any(|&g| g != 0 && span(g).meets(window));
            return if under_way { Ok(()) } else { Err(Wrong::Zeros) };
        };
        let Some(place) = generations.iter().position(|&g| g == generation) else {
            return Err(Wrong::Never(generation));
        };
        if span(generation).begin > window.end {
            return Err(Wrong::Never(generation));
        }
        if let Some(&next) = generations.get(place + 1)
            && span(next).end < window.start
        {
            return Err(Wrong::Stale(generation));
        }
        // Zeros beside stamps: the page was still being filled.
        if seen.zeros && !span(generation).meets(window) {
            return Err(Wrong::Zeros);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seen(generation: u32) -> Seen {
        Seen { generation: Some(generation), zeros: false }
    }

    const ZEROS: Seen = Seen { generation: None, zeros: true };

    #[test]
    fn stamps_read_back() {
        assert_eq!(inspect(5, &stamped(5, 9)), Ok(seen(9)));
        assert_eq!(inspect(5, &[0; crate::PAGE]), Ok(ZEROS));
        // Another page's content, and words that moved within a page, are foreign.
        assert!(matches!(inspect(5, &stamped(6, 9)), Err(Wrong::Foreign { index: 0, .. })));
        let mut moved = stamped(5, 9);
        moved.copy_within(0..8, 8);
        assert!(matches!(inspect(5, &moved), Err(Wrong::Foreign { index: 1, .. })));
        let mut mixed = stamped(5, 9);
        mixed[2048..].copy_from_slice(&stamped(5, 8)[2048..]);
        assert_eq!(inspect(5, &mixed), Err(Wrong::Mixed(9, 8)));
        let mut partial = stamped(5, 9);
        partial[4088..].fill(0);
        assert_eq!(inspect(5, &partial), Ok(Seen { generation: Some(9), zeros: true }));
    }

    #[test]
    fn page_numbers_do_not_reach_the_mark() {
        assert_eq!(u64_of(MAX_PAGES - 1) << 9 & MARK, 0);
    }

    #[test]
    fn whole_replacements() {
        let history = History::new(2, Manner::Whole);
        let before = history.now();
        history.begin(0..1);
        let during = history.now();
        history.end();
        let after = history.now();
        let later = history.now();

        // A window that closed before the replacement began.
        let early = Window { start: before, end: before };
        assert_eq!(history.judge(0, seen(0), early), Ok(()));
        assert_eq!(history.judge(0, seen(1), early), Err(Wrong::Never(1)));
        // One that meets it: both are right.
        let meets = Window { start: during, end: later };
        assert_eq!(history.judge(0, seen(0), meets), Ok(()));
        assert_eq!(history.judge(0, seen(1), meets), Ok(()));
        assert_eq!(history.judge(0, ZEROS, meets), Err(Wrong::Zeros));
        // One that opened after it had ended: only the new page.
        let late = Window { start: after, end: later };
        assert_eq!(history.judge(0, seen(0), late), Err(Wrong::Stale(0)));
        assert_eq!(history.judge(0, seen(1), late), Ok(()));
        // The other page was not touched.
        assert_eq!(history.judge(1, seen(0), late), Ok(()));
        assert_eq!(history.judge(1, seen(1), late), Err(Wrong::Never(1)));
    }

    #[test]
    fn a_skipped_generation_is_stale() {
        let history = History::new(1, Manner::Whole);
        for _ in 0..3 {
            history.begin(0..1);
            history.end();
        }
        let window = Window { start: history.now(), end: history.now() };
        assert_eq!(history.judge(0, seen(3), window), Ok(()));
        assert_eq!(history.judge(0, seen(2), window), Err(Wrong::Stale(2)));
        assert_eq!(history.judge(0, seen(1), window), Err(Wrong::Stale(1)));
    }

    #[test]
    fn filling_in_place() {
        let history = History::new(1, Manner::InPlace);
        let before = history.now();
        history.begin(0..1);
        let during = history.now();
        let open = Window { start: before, end: during };
        let partial = Seen { generation: Some(1), zeros: true };
        assert_eq!(history.judge(0, ZEROS, open), Ok(()));
        assert_eq!(history.judge(0, partial, open), Ok(()));
        assert_eq!(history.judge(0, seen(0), open), Ok(()));
        history.end();
        let late = Window { start: history.now(), end: history.now() };
        assert_eq!(history.judge(0, ZEROS, late), Err(Wrong::Zeros));
        assert_eq!(history.judge(0, partial, late), Err(Wrong::Zeros));
        assert_eq!(history.judge(0, seen(1), late), Ok(()));
        assert_eq!(history.judge(0, seen(0), late), Err(Wrong::Stale(0)));
    }
}
