// SPDX-License-Identifier: GPL-2.0 OR MIT
//! State of a wave: 64 lanes that execute one program.

use crate::{
    isa::{
        Inst,
        code, //
    },
    mode::Mode,
    pending::Pending, //
};

/// Lanes of a wave.
pub const LANES: usize = 64;
/// A vector register.
pub type Row = [u32; LANES];
/// A pair of vector registers.
pub type Row64 = [u64; LANES];

/// Where a wave is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It can execute.
    Ready,
    /// It waits for the others of its group.
    AtBarrier,
    /// It has ended.
    Ended,
}

/// A wave.
#[derive(Clone, Debug)]
pub struct Wave {
    /// Scalar registers, at their operand codes 0 to 127.
    pub scalar: [u32; 128],
    /// Vector registers that it has been allocated.
    pub vector: Vec<Row>,
    /// Scalar condition.
    pub scc: bool,
    /// Address of the next instruction.
    pub pc: u64,
    /// Mode register.
    pub mode: Mode,
    /// Where it is.
    pub state: State,
    /// Results that are on their way.
    pub pending: Pending,
    /// HW_ID: where it runs.
    pub hardware: u32,
    /// EXEC as a mask of each lane, and the value that it was made from.
    lanes: (u64, Row),
    /// Sources of floats that are no register as it is: see [`Wave::spread`]. They are here so that
    /// no instruction has to clear memory for them.
    spread: [Row; 3],
}

/// The float that a source code from 240 to 247 stands for.
fn inline_float(operand: u16) -> f32 {
    [0.5, -0.5, 1.0, -1.0, 2.0, -2.0, 4.0, -4.0][usize::from(operand - 240) & 7]
}

/// No bit is cleared, none flipped.
const AS_IT_IS: (u32, u32) = (!0, 0);

/// ABS and NEG of source `n` of single precision: bits that stay, and bits that are flipped.
#[inline(always)]
fn modifiers(i: &Inst, n: usize) -> (u32, u32) {
    const SIGN: u32 = 1 << 31;
    let abs = if i.flags.abs >> n & 1 != 0 { !SIGN } else { !0 };
    let neg = if i.flags.neg >> n & 1 != 0 { SIGN } else { 0 };
    (abs, neg)
}

impl Wave {
    /// A wave that starts at `pc` with the registers given.
    pub fn new(pc: u64, mode: Mode, scalar: [u32; 128], vector: Vec<Row>) -> Self {
        let state = State::Ready;
        let pending = Pending::default();
        let (lanes, spread) = ((0, [0; LANES]), [[0; LANES]; 3]);
        Wave { scalar, vector, scc: false, pc, mode, state, pending, hardware: 0, lanes, spread }
    }

    /// The pair at an operand code.
    #[inline]
    pub fn pair(&self, operand: u16) -> u64 {
        let n = usize::from(operand & 127);
        u64::from(self.scalar[n]) | u64::from(self.scalar[(n + 1) & 127]) << 32
    }

    /// Writes one scalar.
    #[inline]
    pub fn set(&mut self, operand: u16, value: u32) {
        self.scalar[usize::from(operand & 127)] = value;
    }

    /// Writes a pair.
    #[inline]
    pub fn set_pair(&mut self, operand: u16, value: u64) {
        self.set(operand, value as u32);
        self.set((operand + 1) & 127, (value >> 32) as u32);
    }

    /// Active lanes.
    #[inline]
    pub fn exec(&self) -> u64 {
        self.pair(code::EXEC)
    }

    /// A scalar source of 32 bits.
    #[inline]
    pub fn source(&self, i: &Inst, n: usize) -> u32 {
        let operand = i.src[n];
        match operand {
            0..=127 => self.scalar[usize::from(operand)],
            128..=192 => u32::from(operand - 128),
            193..=208 => (192 - i32::from(operand)) as u32,
            240..=247 => inline_float(operand).to_bits(),
            code::VCCZ => (self.pair(code::VCC) == 0).into(),
            code::EXECZ => (self.exec() == 0).into(),
            code::SCC => self.scc.into(),
            code::LITERAL => i.literal,
            _ => 0,
        }
    }

    /// A scalar source of 64 bits. Constants are extended with their sign, floats to doubles,
    /// literals with zeros.
    #[inline]
    pub fn source64(&self, i: &Inst, n: usize) -> u64 {
        let operand = i.src[n];
        match operand {
            0..=127 => self.pair(operand),
            193..=208 => (192 - i64::from(operand)) as u64,
            240..=247 => f64::from(inline_float(operand)).to_bits(),
            _ => self.source(i, n).into(),
        }
    }

    /// A source of 32 bits for each lane; a scalar is spread over `buffer`.
    #[inline(always)]
    pub fn row<'a>(&'a self, i: &Inst, n: usize, buffer: &'a mut Row) -> &'a Row {
        match i.src[n].checked_sub(code::VGPR) {
            Some(v) => &self.vector[usize::from(v)],
            None => {
                buffer.fill(self.source(i, n));
                buffer
            }
        }
    }

    /// Makes float `n` ready for [`Wave::float`]: a scalar is spread over the lanes, ABS and NEG
    /// act on a copy.
    #[inline(always)]
    pub fn spread(&mut self, i: &Inst, n: usize) {
        let (abs, neg) = modifiers(i, n);
        match i.src[n].checked_sub(code::VGPR) {
            Some(_) if (abs, neg) == AS_IT_IS => {}
            Some(v) => {
                self.spread[n] = self.vector[usize::from(v)].map(|bits| bits & abs ^ neg);
            }
            None => {
                let value = self.source(i, n) & abs ^ neg;
                self.spread[n].fill(value);
            }
        }
    }

    /// Float `n` of each lane, with ABS and NEG. [`Wave::spread`] was called before.
    #[inline(always)]
    pub fn float(&self, i: &Inst, n: usize) -> &Row {
        match i.src[n].checked_sub(code::VGPR) {
            Some(v) if modifiers(i, n) == AS_IT_IS => &self.vector[usize::from(v)],
            _ => &self.spread[n],
        }
    }

    /// A source of 64 bits for each lane.
    #[inline(always)]
    pub fn row64(&self, i: &Inst, n: usize) -> Row64 {
        match i.src[n].checked_sub(code::VGPR) {
            Some(v) => join(&self.vector[usize::from(v)], &self.vector[usize::from(v) + 1]),
            None => [self.source64(i, n); LANES],
        }
    }

    /// A double for each lane: of a literal it is the high half.
    #[inline(always)]
    pub fn row_double(&self, i: &Inst, n: usize) -> Row64 {
        match i.src[n] {
            code::LITERAL => [u64::from(i.literal) << 32; LANES],
            _ => self.row64(i, n),
        }
    }

    /// Makes the lane mask of EXEC if it has changed.
    #[inline]
    fn lane_mask(&mut self, exec: u64) {
        if self.lanes.0 != exec {
            self.lanes =
                (exec, std::array::from_fn(|lane| 0u32.wrapping_sub((exec >> lane & 1) as u32)));
        }
    }

    /// Writes the active lanes of a vector register.
    #[inline]
    pub fn put(&mut self, register: u16, row: &Row) {
        let exec = self.exec();
        let n = usize::from(register);
        if exec == !0 {
            self.vector[n] = *row;
            return;
        }
        self.lane_mask(exec);
        let to = &mut self.vector[n];
        for lane in 0..LANES {
            let mask = self.lanes.1[lane];
            to[lane] = row[lane] & mask | to[lane] & !mask;
        }
    }

    /// Writes the active lanes of a pair of vector registers.
    #[inline]
    pub fn put64(&mut self, register: u16, row: &Row64) {
        self.put(register, &std::array::from_fn(|lane| row[lane] as u32));
        self.put(register + 1, &std::array::from_fn(|lane| (row[lane] >> 32) as u32));
    }

    /// Writes a lane of a vector register.
    #[inline]
    pub fn put_lane(&mut self, register: u16, lane: usize, value: u32) {
        self.vector[usize::from(register)][lane] = value;
    }
}

/// Two registers as one.
#[inline(always)]
pub fn join(low: &Row, high: &Row) -> Row64 {
    std::array::from_fn(|lane| u64::from(low[lane]) | u64::from(high[lane]) << 32)
}

/// A bit for each lane of which the test is true.
#[inline(always)]
pub fn mask_of(test: impl Fn(usize) -> bool) -> u64 {
    let bytes: [u8; LANES] = std::array::from_fn(|lane| test(lane).into());
    let mut mask = 0;
    for (n, eight) in bytes.chunks_exact(8).enumerate() {
        let bytes = u64::from_le_bytes([
            eight[0], eight[1], eight[2], eight[3], eight[4], eight[5], eight[6], eight[7],
        ]);
        // Gathers the low bit of each byte in the highest byte.
        mask |= (bytes.wrapping_mul(0x0102_0408_1020_4080) >> 56) << (8 * n);
    }
    mask
}

/// The lanes of a mask, ascending.
pub fn lanes(mut mask: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let lane = mask.trailing_zeros();
        mask &= mask.wrapping_sub(1);
        (lane < 64).then_some(lane as usize)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_have_a_bit_a_lane() {
        let pattern = 0x8000_0001_f00d_1234u64;
        assert_eq!(mask_of(|lane| pattern >> lane & 1 != 0), pattern);
        assert_eq!(lanes(pattern).fold(0, |m, lane| m | 1u64 << lane), pattern);
        assert_eq!(lanes(0).count(), 0);
    }
}
