// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Caches as forgetful as hardware may be: a line stays as it was until it is invalidated.
//!
//! There are an instruction cache, a scalar cache, a vector cache for each compute unit, and a
//! second level that they all go through. Vector stores and atomics stay in the second level until
//! it is written back. All of them are unlimited; a few lines fall out at the seed's will, as
//! others would push them out. So a flush that is missing shows as old data, and no rule has to be
//! written for it. What other engines and the host write goes past these caches, as on this
//! generation.

use crate::{
    memory::{
        Access,
        Memory,
        PAGE,
        PageMap,
        Path,
        Place, //
    },
    rng::Rng,
    stop::Stop, //
};

/// Bytes of a line.
const LINE: u64 = 64;
/// Lines of a page.
const LINES: usize = (PAGE / LINE) as usize;
/// No page has this number.
const NO_PAGE: u64 = !0;
/// Most pages of which a line falls out of the second level in [`Caches::age`].
const AGING: usize = 8;

/// Actions of CP_COHER_CNTL.
pub mod action {
    #![allow(missing_docs, reason = "the names say it")]
    pub const VECTOR: u32 = 1 << 22;
    /// Writes back and invalidates: this generation cannot do one alone.
    pub const SECOND_LEVEL: u32 = 1 << 23;
    pub const SCALAR: u32 = 1 << 27;
    pub const INSTRUCTION: u32 = 1 << 29;
}

type Bytes = [u8; LINE as usize];

/// What a cache keeps, page by page, and the page that was asked for last.
struct Pages<T> {
    index: PageMap<usize>,
    pages: Vec<(u64, Box<T>)>,
    last: (u64, usize),
}

impl<T> Default for Pages<T> {
    fn default() -> Self {
        Pages { index: PageMap::default(), pages: vec![], last: (NO_PAGE, 0) }
    }
}

impl<T: Default> Pages<T> {
    /// The page of a line, if there is something of it.
    fn find(&mut self, line: u64) -> Option<&mut T> {
        let page = line / LINES as u64;
        if self.last.0 != page {
            self.last = (page, *self.index.get(&page)?);
        }
        Some(&mut self.pages[self.last.1].1)
    }

    /// The page of a line.
    fn page(&mut self, line: u64) -> &mut T {
        let page = line / LINES as u64;
        if self.last.0 != page {
            let next = self.pages.len();
            let at = *self.index.entry(page).or_insert(next);
            if at == next {
                self.pages.push((page, Box::default()));
            }
            self.last = (page, at);
        }
        &mut self.pages[self.last.1].1
    }
}

/// Lines of a page, and a bit for each that there is.
struct First {
    present: u64,
    lines: [Bytes; LINES],
}

impl Default for First {
    fn default() -> Self {
        First { present: 0, lines: [[0; LINE as usize]; LINES] }
    }
}

/// A cache of the first level.
#[derive(Default)]
struct FirstLevel(Pages<First>);

impl FirstLevel {
    /// A line, if it is there.
    fn line(&mut self, line: u64) -> Option<&mut Bytes> {
        let n = line as usize % LINES;
        let page = self.0.find(line)?;
        (page.present >> n & 1 != 0).then(|| &mut page.lines[n])
    }

    fn insert(&mut self, line: u64, bytes: Bytes) {
        let n = line as usize % LINES;
        let page = self.0.page(line);
        page.present |= 1 << n;
        page.lines[n] = bytes;
    }

    fn clear(&mut self) {
        self.0 = Pages::default();
    }
}

/// A line of the second level. Masks have a bit a byte.
#[derive(Clone, Copy)]
struct Second {
    bytes: Bytes,
    valid: u64,
    dirty: u64,
}

impl Second {
    const EMPTY: Second = Second { bytes: [0; LINE as usize], valid: 0, dirty: 0 };
}

/// Lines of a page in the second level.
struct SecondPage([Second; LINES]);

impl Default for SecondPage {
    fn default() -> Self {
        SecondPage([Second::EMPTY; LINES])
    }
}

/// The caches of a GPU.
#[derive(Default)]
pub struct Caches {
    instruction: FirstLevel,
    scalar: FirstLevel,
    /// One for each compute unit that was seen.
    vector: Vec<FirstLevel>,
    second: Pages<SecondPage>,
}

/// Memory behind the caches.
pub struct Cached<'a, M: Memory + ?Sized> {
    caches: &'a mut Caches,
    memory: &'a mut M,
}

/// The bits of `len` bytes from `at` in a line.
fn mask(at: usize, len: usize) -> u64 {
    if len >= 64 { !0 } else { ((1 << len) - 1) << at }
}

impl Caches {
    /// The vector cache of a unit.
    fn unit(&mut self, unit: u8) -> &mut FirstLevel {
        let n = usize::from(unit);
        if self.vector.len() <= n {
            self.vector.resize_with(n + 1, FirstLevel::default);
        }
        &mut self.vector[n]
    }

    /// Memory as a shader sees it through these caches.
    pub fn over<'a, M: Memory + ?Sized>(&'a mut self, memory: &'a mut M) -> Cached<'a, M> {
        Cached { caches: self, memory }
    }

    /// Does what a packet asks for.
    pub fn act<M: Memory + ?Sized>(&mut self, actions: u32, memory: &mut M) {
        if actions & action::INSTRUCTION != 0 {
            self.instruction.clear();
        }
        if actions & action::SCALAR != 0 {
            self.scalar.clear();
        }
        if actions & action::VECTOR != 0 {
            self.vector.iter_mut().for_each(FirstLevel::clear);
        }
        if actions & action::SECOND_LEVEL != 0 {
            for (page, lines) in std::mem::take(&mut self.second).pages {
                lines.write_back(page, memory);
            }
        }
    }

    /// Takes the lines of a page out of the second level: something goes past the caches there that
    /// would go through them.
    pub fn release<M: Memory + ?Sized>(&mut self, page: Place, memory: &mut M) {
        let first = page.0 / LINE;
        if let Some(lines) = self.second.find(first) {
            std::mem::take(lines).write_back(page.0 / PAGE, memory);
        }
    }

    /// Lets some lines fall out.
    pub fn age<M: Memory + ?Sized>(&mut self, rng: &mut Rng, memory: &mut M) {
        let pages = &mut self.second.pages;
        for _ in 0..AGING.min(pages.len()) {
            let at = rng.below(pages.len());
            let (page, lines) = &mut pages[at];
            let n = rng.below(LINES);
            std::mem::replace(&mut lines.0[n], Second::EMPTY)
                .write_back(*page * LINES as u64 + n as u64, memory);
        }
    }

    /// Lines of the second level that memory does not have yet.
    pub fn dirty(&self) -> usize {
        self.second
            .pages
            .iter()
            .flat_map(|(_, lines)| lines.0)
            .filter(|line| line.dirty != 0)
            .count()
    }
}

impl SecondPage {
    fn write_back<M: Memory + ?Sized>(&self, page: u64, memory: &mut M) {
        for (line, second) in (page * LINES as u64..).zip(self.0) {
            second.write_back(line, memory);
        }
    }
}

impl Second {
    /// Writes the dirty bytes, run by run.
    fn write_back<M: Memory + ?Sized>(mut self, line: u64, memory: &mut M) {
        while self.dirty != 0 {
            let at = self.dirty.trailing_zeros() as usize;
            let len = (!(self.dirty >> at)).trailing_zeros().min(64 - at as u32) as usize;
            memory.write(
                Path::Coherent(0),
                Place(line * LINE + at as u64),
                &self.bytes[at..at + len],
            );
            self.dirty &= !mask(at, len);
        }
    }
}

impl<M: Memory + ?Sized> Cached<'_, M> {
    /// The line in the second level with these bytes valid.
    fn second(&mut self, line: u64, wanted: u64) -> &mut Second {
        let second = &mut self.caches.second.page(line).0[line as usize % LINES];
        if second.valid & wanted != wanted {
            let mut fresh = [0; LINE as usize];
            self.memory.read(Path::Coherent(0), Place(line * LINE), &mut fresh);
            for (n, byte) in
                fresh.into_iter().enumerate().filter(|(n, _)| second.valid >> n & 1 == 0)
            {
                second.bytes[n] = byte;
            }
            second.valid = !0;
        }
        second
    }

    /// The line as the first level has it; it is filled if it is not there.
    fn first(&mut self, path: Path, line: u64) -> &Bytes {
        if matches!(path, Path::Coherent(_) | Path::Target) {
            return &self.second(line, !0).bytes;
        }
        if self.level(path).line(line).is_none() {
            let bytes = self.second(line, !0).bytes;
            self.level(path).insert(line, bytes);
        }
        &self.level(path).0.page(line).lines[line as usize % LINES]
    }

    /// The cache that a path goes through first.
    fn level(&mut self, path: Path) -> &mut FirstLevel {
        match path {
            Path::Instruction => &mut self.caches.instruction,
            Path::Scalar => &mut self.caches.scalar,
            Path::Vector(unit) | Path::Coherent(unit) => self.caches.unit(unit),
            Path::Target => self.caches.unit(0),
        }
    }

    /// Writes bytes of one line: into the second level, and through the unit's cache if it has it.
    fn write_line(&mut self, path: Path, at: u64, from: &[u8]) {
        let (line, offset) = (at / LINE, (at % LINE) as usize);
        let second = &mut self.caches.second.page(line).0[line as usize % LINES];
        second.bytes[offset..offset + from.len()].copy_from_slice(from);
        second.valid |= mask(offset, from.len());
        second.dirty |= mask(offset, from.len());
        if let Path::Vector(unit) | Path::Coherent(unit) = path {
            if let Some(first) = self.caches.unit(unit).line(line) {
                first[offset..offset + from.len()].copy_from_slice(from);
            }
        }
    }
}

/// Pieces of a range that lie in one line each: position from the start, and length.
fn pieces(at: u64, len: usize) -> impl Iterator<Item = (usize, usize)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let rest = LINE - (at + done as u64) % LINE;
        let piece = (done, (rest as usize).min(len - done));
        done += piece.1;
        (piece.1 > 0).then_some(piece)
    })
}

impl<M: Memory + ?Sized> Memory for Cached<'_, M> {
    fn translate(&mut self, va: u64, access: Access) -> Result<Place, Stop> {
        self.memory.translate(va, access)
    }

    fn read(&mut self, path: Path, at: Place, to: &mut [u8]) {
        if at.0 >= Place::NOWHERE || path == Path::Target {
            return self.memory.read(path, at, to);
        }
        for (start, len) in pieces(at.0, to.len()) {
            let place = at.0 + start as u64;
            let bytes = self.first(path, place / LINE);
            let offset = (place % LINE) as usize;
            to[start..start + len].copy_from_slice(&bytes[offset..offset + len]);
        }
    }

    fn write(&mut self, path: Path, at: Place, from: &[u8]) {
        if at.0 >= Place::NOWHERE || path == Path::Target {
            return self.memory.write(path, at, from);
        }
        for (start, len) in pieces(at.0, from.len()) {
            self.write_line(path, at.0 + start as u64, &from[start..start + len]);
        }
    }

    /// Atomics act in the second level.
    fn update(&mut self, at: Place, bytes: usize, f: &mut dyn FnMut(u64) -> u64) -> u64 {
        if at.0 >= Place::NOWHERE {
            return self.memory.update(at, bytes, f);
        }
        let offset = (at.0 % LINE) as usize;
        let second = self.second(at.0 / LINE, mask(offset, bytes));
        let old = second.bytes[offset..offset + bytes]
            .iter()
            .rev()
            .fold(0, |v, b| v << 8 | u64::from(*b));
        second.bytes[offset..offset + bytes].copy_from_slice(&f(old).to_le_bytes()[..bytes]);
        second.dirty |= mask(offset, bytes);
        old
    }

    fn drop_vector(&mut self, unit: u8) {
        self.caches.unit(unit).clear();
    }

    fn drop_scalar(&mut self) {
        self.caches.scalar.clear();
    }

    fn clock(&mut self) -> u64 {
        self.memory.clock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Flat;

    fn read(caches: &mut Caches, memory: &mut Flat, path: Path, at: u64) -> u32 {
        let mut bytes = [0; 4];
        caches.over(memory).read(path, Place(at), &mut bytes);
        u32::from_le_bytes(bytes)
    }

    #[test]
    fn a_line_is_old_until_it_is_invalidated() {
        let (mut caches, mut memory) = (Caches::default(), Flat::default());
        memory.put_words(0x1000, &[1]);
        for (path, action) in [
            (Path::Scalar, action::SCALAR),
            (Path::Instruction, action::INSTRUCTION),
            (Path::Vector(1), action::VECTOR),
        ] {
            memory.put_words(0x1000, &[1]);
            caches.act(!0, &mut memory);
            assert_eq!(read(&mut caches, &mut memory, path, 0x1000), 1);
            memory.put_words(0x1000, &[2]);
            caches.act(action, &mut memory);
            assert_eq!(
                read(&mut caches, &mut memory, path, 0x1000),
                1,
                "{path:?}: the second level has it"
            );
            caches.act(action::SECOND_LEVEL, &mut memory);
            assert_eq!(
                read(&mut caches, &mut memory, path, 0x1000),
                1,
                "{path:?}: the first level has it"
            );
            caches.act(action | action::SECOND_LEVEL, &mut memory);
            assert_eq!(read(&mut caches, &mut memory, path, 0x1000), 2, "{path:?}");
        }
    }

    #[test]
    fn stores_stay_until_they_are_written_back_and_only_their_bytes() {
        let (mut caches, mut memory) = (Caches::default(), Flat::default());
        memory.put_words(0x1000, &[1, 2, 3, 4]);
        caches.over(&mut memory).write(Path::Vector(0), Place(0x1004), &7u32.to_le_bytes());
        assert_eq!(memory.words(0x1000, 4), [1, 2, 3, 4]);
        // Another engine writes beside it.
        memory.put_words(0x1008, &[9]);
        caches.act(action::SECOND_LEVEL, &mut memory);
        assert_eq!(memory.words(0x1000, 4), [1, 7, 9, 4]);
        assert_eq!(caches.dirty(), 0);
    }

    #[test]
    fn a_unit_sees_its_own_stores_and_others_old_lines() {
        let (mut caches, mut memory) = (Caches::default(), Flat::default());
        memory.put_words(0x1000, &[1]);
        for unit in 0..2 {
            assert_eq!(read(&mut caches, &mut memory, Path::Vector(unit), 0x1000), 1);
        }
        caches.over(&mut memory).write(Path::Vector(0), Place(0x1000), &5u32.to_le_bytes());
        assert_eq!(read(&mut caches, &mut memory, Path::Vector(0), 0x1000), 5);
        assert_eq!(read(&mut caches, &mut memory, Path::Vector(1), 0x1000), 1);
        assert_eq!(read(&mut caches, &mut memory, Path::Coherent(1), 0x1000), 5);
        assert_eq!(caches.over(&mut memory).update(Place(0x1000), 4, &mut |v| v + 1), 5);
        assert_eq!(read(&mut caches, &mut memory, Path::Coherent(1), 0x1000), 6);
    }
}
