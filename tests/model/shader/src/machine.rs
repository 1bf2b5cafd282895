// SPDX-License-Identifier: GPL-2.0 OR MIT
//! The execution of one wave.

use crate::{
    buffer,
    bus::Bus,
    context::Context,
    export::{
        Exports,
        Parameters, //
    },
    gfx7::text,
    image,
    isa::{
        Access,
        Control,
        Inst,
        Lds,
        Op,
        ScalarMemory,
        Vector, //
    },
    lds,
    memory::Memory,
    pending::Unit,
    program::Program,
    scalar,
    scalar_memory,
    stop::Stop,
    vector,
    wave::{
        State,
        Wave, //
    }, //
};

/// State that the waves of a group share.
pub struct Shared<'a> {
    /// The program.
    pub program: &'a mut Program,
    /// Local data share.
    pub lds: &'a mut [u8],
    /// Settings.
    pub context: &'a Context,
    /// Waits are checked.
    pub waits: bool,
    /// State that only a program of a draw has.
    pub graphics: Option<Graphics<'a>>,
}

/// State of a program of a draw: the place of its exports, and its interpolated parameters.
pub struct Graphics<'a> {
    /// Exports so far.
    pub exports: &'a mut Exports,
    /// Parameters of the primitive.
    pub parameters: &'a Parameters,
}

/// Executes a wave until it stops at something, at most `most` instructions. Returns how many.
pub fn run<M: Memory + ?Sized>(
    w: &mut Wave,
    shared: &mut Shared<'_>,
    bus: &mut Bus<'_, M>,
    most: u64,
) -> Result<u64, Stop> {
    for done in 0..most {
        let pc = w.pc;
        let position = shared.program.position(pc, bus)?;
        let inst = shared.program.at(position)?;
        w.pc = pc + u64::from(inst.size) * 4;
        if shared.waits && !w.pending.is_empty() {
            check_waits(w, inst, pc)?;
        }
        let outcome = match (inst.op, &mut shared.graphics) {
            (Op::Export, Some(graphics)) => {
                graphics.exports.execute(w, inst);
                Ok(())
            }
            (Op::Interpolate(op), Some(graphics)) => {
                graphics.parameters.execute(w, inst, op);
                Ok(())
            }
            _ => execute(w, inst, shared.lds, shared.context, bus),
        };
        outcome.map_err(|stop| located(stop, pc))?;
        if shared.waits {
            note_pending(w, inst);
        }
        if w.state != State::Ready {
            return Ok(done + 1);
        }
    }
    Ok(most)
}

/// Says where the wave was.
fn located(stop: Stop, pc: u64) -> Stop {
    Stop { what: format!("at {pc:#x}: {}", stop.what), ..stop }
}

#[inline]
fn execute<M: Memory + ?Sized>(
    w: &mut Wave,
    i: &Inst,
    share: &mut [u8],
    context: &Context,
    bus: &mut Bus<'_, M>,
) -> Result<(), Stop> {
    match i.op {
        Op::Vector(op) => vector::execute(w, i, op)?,
        Op::Scalar(op) => scalar::execute(w, i, op)?,
        Op::ScalarCompare(op) => scalar::compare(w, i, op),
        Op::Control(op) => control(w, i, op),
        Op::Compare(op) => vector::compare(w, i, op),
        Op::ScalarMemory(op) => scalar_memory::execute(w, i, op, bus)?,
        Op::Lds(op) => lds::execute(w, i, op, share),
        Op::Memory(op) if i.entry.format == crate::isa::Format::Flat => {
            buffer::flat(w, i, op, bus, context)?
        }
        Op::Memory(op) => buffer::execute(w, i, op, bus, context)?,
        Op::Image(op) => image::execute(w, i, op, bus, context)?,
        Op::Interpolate(_) | Op::Export => {
            return Err(Stop::illegal(format!("{} of no draw", i.entry.name)));
        }
        Op::Absent => return Err(Stop::illegal(format!("{} is not implemented", i.entry.name))),
    }
    Ok(())
}

fn control(w: &mut Wave, i: &Inst, op: Control) {
    let jump = match op {
        Control::Nothing => false,
        Control::End => {
            w.state = State::Ended;
            false
        }
        Control::Barrier => {
            w.state = State::AtBarrier;
            false
        }
        Control::WaitCount => {
            w.pending.wait(i.imm);
            false
        }
        Control::Branch => true,
        Control::BranchIf(flag, wanted) => scalar::taken(w, flag, wanted),
    };
    if jump {
        let offset = i64::from(i.imm as u16 as i16) * 4;
        w.pc = w.pc.wrapping_add_signed(offset) & 0xffff_ffff_ffff;
    }
}

/// The unit that an instruction's result comes from, if it is waited for.
fn unit(i: &Inst) -> Option<Unit> {
    match i.op {
        Op::Lds(Lds::Nothing) => None,
        Op::Lds(_) => Some(Unit::Lds),
        Op::ScalarMemory(ScalarMemory::Invalidate) => None,
        Op::ScalarMemory(_) => Some(Unit::Scalar),
        Op::Memory(Access::Invalidate) => None,
        Op::Memory(_) | Op::Image(_) => Some(Unit::Vector),
        _ => None,
    }
}

fn check_waits(w: &Wave, i: &Inst, pc: u64) -> Result<(), Stop> {
    // Movement from lane to lane looks at all of them.
    let all =
        matches!(i.op, Op::Vector(Vector::ReadLane | Vector::ReadFirstLane | Vector::WriteLane));
    let lanes = if all { !0 } else { w.exec() };
    if !w.pending.too_early(&i.reads, &i.writes, unit(i), lanes) {
        return Ok(());
    }
    Err(Stop::hazard(format!("at {pc:#x}: {}: a register's content was not waited for", text(i))))
}

fn note_pending(w: &mut Wave, i: &Inst) {
    if let Some(unit) = unit(i) {
        let lanes = w.exec();
        w.pending.issue(unit, i.writes, lanes);
        if i.entry.format == crate::isa::Format::Flat {
            w.pending.was_flat();
        }
    }
}
