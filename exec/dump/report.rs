// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The text of a dump.
//!
//! The C driver's is that of `amdgpu_devcoredump_format`.

use core::fmt::Write;

use kernel::{
    num::casts::{
        u32_as_usize,
        usize_as_u64, //
    },
    prelude::*, //
};

use super::{
    left_in_page,
    Snapshot,
    Subject,
    CALLS, //
};
use crate::{
    abstractions::clock::kernel_release,
    debug::text::BoundedText,
    exec::{
        ring::Captured,
        view::JobMemory, //
    },
    hw::{
        card::Card,
        command::{
            RingId,
            RING_MASK, //
        },
        decode::{
            packets,
            Call,
            DecodedPacket, //
        },
        engine::Engine,
        Chip, //
    },
};

/// Length of the longest dump in bytes.
pub(super) const LENGTH: usize = 512 << 10;
/// Number of dwords that are read of an IB.
const IB_DWORDS: u32 = 4096;
/// Number of dwords of a packet that are shown.
const PACKET_DWORDS: usize = 24;

/// Adds to a text. What does not fit is left out.
macro_rules! say {
    ($text:expr, $($arg:tt)+) => {{
        let _ = $text.write_fmt(fmt!($($arg)+));
    }};
}

/// Writes the registers that may tell why a ring hangs.
pub(super) fn registers(text: &mut BoundedText, hw: &Chip, card: &Card<'_>, ring: RingId) {
    hw.system.survey_stuck(card, ring, &mut |name, value| {
        say!(text, "{name}: {value}\n");
    });
}

/// Writes the dump. `card` describes the card.
pub(super) fn write(text: &mut BoundedText, hw: &Chip, card: &str, snapshot: &Snapshot) {
    say!(text, "**** AMDGPU Device Coredump ****\nversion: 1\n");
    say!(text, "kernel: {}\n", kernel_release());
    say!(text, "module: amdgpu_rs\ntime: {} s\n", snapshot.time);
    say!(text, "{card}");
    write_subject(text, &snapshot.subject);
    say!(text, "block: {}\n", snapshot.block);
    say!(text, "\nRegisters\n{}", snapshot.registers.as_str());
    write_contexts(text, hw, snapshot);
    for ring in &snapshot.rings {
        write_ring(text, hw, ring);
    }
    write_ibs(text, hw, &snapshot.subject);
    say!(text, "\nend\n");
}

/// Writes whose job hangs, and what it has last done wrong.
fn write_subject(text: &mut BoundedText, subject: &Subject) {
    say!(
        text,
        "\nring: {}\njob: {}\n",
        subject.ring.name(),
        subject.number
    );
    match &subject.tenant {
        None => say!(text, "process: none, the kernel itself\n"),
        Some(tenant) => {
            say!(text, "process: {}\n", tenant.submitter.name());
            say!(text, "command: {}\n", tenant.submitter.command());
        }
    }
    match subject.fault {
        None => say!(text, "fault: none\n"),
        Some(fault) => {
            let access = if fault.write { "write to" } else { "read of" };
            let client = fault.client_name();
            let (addr, status) = (fault.addr(), fault.status);
            say!(
                text,
                "fault: {access} {addr:#x} by {client}, status {status:#x}\n"
            );
        }
    }
    for walk in &subject.walks {
        say!(text, "walk: {walk}\n");
    }
}

/// Writes who has which context (VMID).
fn write_contexts(text: &mut BoundedText, hw: &Chip, snapshot: &Snapshot) {
    say!(text, "\nContexts\n");
    for (vmid, context) in &snapshot.contexts {
        let Some(space) = context.space else {
            continue;
        };
        say!(text, "vmid {vmid}: address space {space}");
        if let Some(tenant) = &context.tenant {
            say!(text, ", {}", tenant.submitter.name());
        }
        let in_use = |ring: &&RingId| context.rings & 1 << ring.place() != 0;
        for ring in hw.rings.iter().filter(in_use) {
            say!(text, ", in use by {}", ring.name());
        }
        say!(text, "\n");
    }
}

/// Writes the state of a ring, and its oldest unfinished submission.
fn write_ring(text: &mut BoundedText, hw: &Chip, ring: &Captured) {
    let unfinished = &ring.unfinished;
    say!(text, "\nRing {}\n", ring.ring.name());
    say!(
        text,
        "read at {:#x}, written up to {:#x}; completed {:#x}, begun {:#x}, gate {}\n",
        ring.read,
        // CAST: The mask has fewer bits.
        ring.written as u32 & RING_MASK,
        ring.completed,
        ring.begun,
        ring.gate
    );
    let Some(oldest) = &ring.oldest else {
        say!(text, "nothing is unfinished\n");
        return;
    };
    say!(
        text,
        "unfinished: {} to {}",
        unfinished.start,
        unfinished.end.saturating_sub(1)
    );
    match &oldest.tenant {
        None => say!(text, "; the first is the kernel's\n"),
        Some(tenant) => say!(text, "; the first is of {}\n", tenant.submitter.name()),
    }
    let start = oldest.span.start;
    let engine = hw.engine(ring.ring.engine()).driver;
    for (at, packet) in packets(&ring.words, |rest| engine.decode(rest)) {
        // CAST: The mask has fewer bits.
        let place = (start + usize_as_u64(at)) as u32 & RING_MASK;
        let into = u32_as_usize(ring.read.wrapping_sub(place) & RING_MASK);
        let mark = if into < packet.dwords { '>' } else { ' ' };
        say!(text, "{mark} {place:#06x}:");
        write_packet(text, &ring.words[at..], &packet);
    }
}

/// Writes the packet at the start of `words`.
fn write_packet(text: &mut BoundedText, words: &[u32], packet: &DecodedPacket) {
    let words = &words[..packet.dwords.min(words.len())];
    for word in words.iter().take(PACKET_DWORDS) {
        say!(text, " {word:08x}");
    }
    if words.len() > PACKET_DWORDS {
        say!(text, " ... ({} dwords)", words.len());
    }
    say!(text, "  {}\n", packet.name);
}

/// Writes the IBs of the job that hangs, and those that they call in turn.
fn write_ibs(text: &mut BoundedText, hw: &Chip, subject: &Subject) {
    let memory = subject.tenant.as_ref().and_then(|t| t.view.memory());
    let engine = hw.engine(subject.ring.engine()).driver;
    let mut calls = [None; CALLS];
    let mut count = 0;
    let mut add = |calls: &mut [Option<Call>; CALLS], call: Call| {
        if let Some(place) = calls.get_mut(count) {
            *place = Some(call);
            count += 1;
        }
    };
    for call in &subject.calls {
        add(&mut calls, *call);
    }
    for index in 0..CALLS {
        let Some(call) = calls[index] else { break };
        say!(text, "\nIB {:#x}, {} dwords\n", call.ib.va, call.ib.dwords);
        let Some(memory) = &memory else {
            say!(text, "its file is closed\n");
            continue;
        };
        let found = write_ib(text, engine, &**memory, call);
        found
            .iter()
            .flatten()
            .for_each(|call| add(&mut calls, *call));
    }
}

/// Writes an IB. Returns the calls in it, or the first of them.
fn write_ib(
    text: &mut BoundedText,
    engine: &dyn Engine,
    memory: &dyn JobMemory,
    call: Call,
) -> [Option<Call>; 4] {
    let mut calls = [None; 4];
    let wanted = u32_as_usize(call.ib.dwords.min(IB_DWORDS));
    let Ok(mut words) = KVec::with_capacity(wanted, GFP_KERNEL) else {
        return calls;
    };
    let read = read_words(memory, call.ib.va, wanted, &mut words);
    for (at, packet) in packets(&words, |rest| engine.decode(rest)) {
        say!(text, "  {:#x}:", call.ib.va + 4 * usize_as_u64(at));
        write_packet(text, &words[at..], &packet);
        if let (Some(found), Some(place)) = (packet.call, calls.iter_mut().find(|c| c.is_none())) {
            *place = Some(found);
        }
    }
    if let Err(error) = read {
        let errno = error.to_errno();
        match error {
            EFAULT => say!(text, "  the rest cannot be read: nothing is mapped there\n"),
            EACCES => say!(text, "  the rest cannot be read: jobs may not do so\n"),
            _ => say!(text, "  the rest cannot be read (error {errno})\n"),
        }
    } else if wanted < u32_as_usize(call.ib.dwords) {
        say!(text, "  and so on\n");
    }
    calls
}

/// Reads `wanted` dwords, page by page, up to the first that cannot be read.
fn read_words(memory: &dyn JobMemory, va: u64, wanted: usize, words: &mut KVec<u32>) -> Result {
    let mut bytes = KVec::from_elem(0, 4096, GFP_KERNEL)?;
    while words.len() < wanted {
        let at = va + 4 * usize_as_u64(words.len());
        let count = left_in_page(at).min(wanted - words.len());
        let bytes = &mut bytes[..4 * count];
        memory.read(at, bytes)?;
        for word in bytes.chunks_exact(4) {
            let word = u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
            words.push(word, GFP_KERNEL)?;
        }
    }
    Ok(())
}
