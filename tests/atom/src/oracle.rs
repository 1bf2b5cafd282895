// SPDX-License-Identifier: GPL-2.0 OR MIT
//! The C driver's interpreter, as `oracle/oracle.c` has it.

use std::{
    cell::RefCell,
    collections::BTreeSet,
    ffi::{
        c_char,
        c_int,
        c_void,
        CStr, //
    },
    sync::Mutex, //
};

use crate::{
    card::Card,
    hw::atom::SCRATCH, //
};

/// End of a run of the oracle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Well, by its own account.
    Well,
    /// With an error, by its own account.
    Error,
    /// At a read behind the end of the image.
    OutOfImage,
    /// It had read enough.
    OutOfReads,
}

/// Lines of the interpreter that were reached, by what it printed there.
#[derive(Default)]
pub struct Coverage {
    pub opcodes: BTreeSet<u8>,
    /// Addresses of formats. They are constants of the oracle's.
    formats: BTreeSet<usize>,
}

impl Coverage {
    /// Returns the lines that were printed, without the values.
    pub fn lines(&self) -> BTreeSet<String> {
        let text = |&format: &usize| {
            // SAFETY: The oracle's `print` was given it as a string, and it is a constant.
            let text = unsafe { CStr::from_ptr(format as *const c_char) };
            text.to_string_lossy().trim().to_string()
        };
        self.formats.iter().map(text).collect()
    }
}

#[repr(C)]
struct Run {
    image: *const u8,
    size: u32,
    reads: u64,
    scratch: *mut u32,
    scratch_size: u32,
    bus: *mut c_void,
    read: extern "C" fn(*mut c_void, u32, u32) -> u32,
    write: extern "C" fn(*mut c_void, u32, u32, u32),
    delay: extern "C" fn(*mut c_void, u32),
    print: extern "C" fn(*mut c_void, *const c_char, c_int),
}

extern "C" {
    fn oracle_asic_init(run: *mut Run) -> c_int;
}

/// State of the callbacks.
struct Bus<'a> {
    card: &'a mut Card,
    image: &'a [u8],
    coverage: &'a mut Coverage,
}

/// Scratch area of the oracle. It writes to dwords whose address has wrapped around, up to 4 GiB
/// behind the start: room that is only taken where it is touched.
struct Scratch(Vec<u32>);

impl Scratch {
    const DWORDS: usize = (1 << 30) + 1024;

    fn clear(&mut self) {
        self.0[..SCRATCH].fill(0);
        self.0[Self::DWORDS - 2048..].fill(0);
    }
}

/// The oracle can do one run at a time.
static ONE: Mutex<()> = Mutex::new(());

/// Runs ASIC_Init of an image on a card, with so many reads of the image at most.
pub fn asic_init(image: &[u8], card: &mut Card, reads: u64, coverage: &mut Coverage) -> End {
    thread_local! {
        static SCRATCH_AREA: RefCell<Option<Scratch>> = const { RefCell::new(None) };
    }
    let _one = ONE.lock().unwrap_or_else(|e| e.into_inner());
    SCRATCH_AREA.with_borrow_mut(|scratch| {
        let scratch = scratch.get_or_insert_with(|| Scratch(vec![0; Scratch::DWORDS]));
        scratch.clear();
        let mut bus = Bus { card, image, coverage };
        let mut run = Run {
            image: image.as_ptr(),
            size: image.len() as u32,
            reads,
            scratch: scratch.0.as_mut_ptr(),
            scratch_size: 4 * SCRATCH as u32,
            bus: (&raw mut bus).cast(),
            read,
            write,
            delay,
            print,
        };
        // SAFETY: All pointers are to what outlives the call, and the oracle has them to itself.
        // Its own reads of the image are checked, and the scratch area is as large as any offset.
        match unsafe { oracle_asic_init(&mut run) } {
            0 => End::Well,
            1000 => End::OutOfImage,
            1001 => End::OutOfReads,
            _ => End::Error,
        }
    })
}

/// # Safety
///
/// `bus` must be that of the run, and nobody else may use it meanwhile.
unsafe fn bus<'a>(bus: *mut c_void) -> &'a mut Bus<'a> {
    // SAFETY: Promised by the caller.
    unsafe { &mut *bus.cast() }
}

extern "C" fn read(of: *mut c_void, space: u32, register: u32) -> u32 {
    // SAFETY: The oracle hands on what it was given.
    unsafe { bus(of) }.card.read(space, register)
}

extern "C" fn write(of: *mut c_void, space: u32, register: u32, value: u32) {
    // SAFETY: As above.
    unsafe { bus(of) }.card.write(space, register, value);
}

extern "C" fn delay(of: *mut c_void, microseconds: u32) {
    // SAFETY: As above.
    unsafe { bus(of) }.card.delay(microseconds);
}

extern "C" fn print(of: *mut c_void, format: *const c_char, at: c_int) {
    // SAFETY: As above.
    let bus = unsafe { bus(of) };
    bus.coverage.formats.insert(format as usize);
    if let Some(opcode) = usize::try_from(at).ok().and_then(|at| bus.image.get(at)) {
        bus.coverage.opcodes.insert(*opcode);
    }
}
