// SPDX-License-Identifier: GPL-2.0 OR MIT
//! The operations of the machine, apart from any generation's encodings, and an instruction as the
//! executor sees it.
//!
//! A generation is a set of tables ([`crate::gfx7`]) whose entries pair an opcode with one of these
//! operations. Whatever two generations share, they share here.

use crate::regset::RegSet;

/// Operand codes that all scalar and vector sources share (ISA manual, "Scalar ALU operands").
pub mod code {
    #![allow(missing_docs, reason = "the names say it")]
    pub const VCC: u16 = 106;
    pub const M0: u16 = 124;
    pub const EXEC: u16 = 126;
    pub const VCCZ: u16 = 251;
    pub const EXECZ: u16 = 252;
    pub const SCC: u16 = 253;
    pub const LITERAL: u16 = 255;
    /// First code of a vector register.
    pub const VGPR: u16 = 256;
}

/// Instruction formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Format {
    Sop1,
    Sop2,
    Sopk,
    Sopc,
    Sopp,
    Smrd,
    Vop1,
    Vop2,
    Vopc,
    Vop3,
    Ds,
    Flat,
    Mubuf,
    Mtbuf,
    Mimg,
    Vintrp,
    Exp,
}

/// What an operand holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// 32 bits of anything.
    B32,
    /// 64 bits of anything.
    B64,
    /// Single precision.
    F32,
    /// Double precision.
    F64,
    /// Half precision in the low half of a register.
    F16,
    /// One bit for each lane, in two scalar registers.
    Mask,
}

impl Kind {
    /// Registers that it takes.
    pub fn dwords(self) -> u16 {
        match self {
            Kind::B32 | Kind::F32 | Kind::F16 => 1,
            Kind::B64 | Kind::F64 | Kind::Mask => 2,
        }
    }

    /// Returns true if ABS and NEG act on it.
    pub fn is_float(self) -> bool {
        matches!(self, Kind::F32 | Kind::F64 | Kind::F16)
    }

    fn parse(letter: char) -> Option<Kind> {
        Some(match letter {
            'b' => Kind::B32,
            'q' => Kind::B64,
            'f' => Kind::F32,
            'd' => Kind::F64,
            'h' => Kind::F16,
            'm' => Kind::Mask,
            _ => return None,
        })
    }
}

/// Operands of an ALU instruction: a text such as `f:ff`, results before the colon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signature(pub &'static str);

impl Signature {
    /// The kind of result `n`.
    pub fn result(self, n: usize) -> Option<Kind> {
        self.0.split(':').next()?.chars().nth(n).and_then(Kind::parse)
    }

    /// The kind of source `n`.
    pub fn source(self, n: usize) -> Option<Kind> {
        self.0.split(':').nth(1)?.chars().nth(n).and_then(Kind::parse)
    }
}

/// One line of a generation's table.
#[derive(Debug)]
pub struct Entry {
    /// Format that the opcode belongs to.
    pub format: Format,
    /// Opcode in that format.
    pub opcode: u16,
    /// Mnemonic, as LLVM spells it.
    pub name: &'static str,
    /// Operation.
    pub op: Op,
    /// Operands; empty for formats whose operands follow from the operation.
    pub signature: Signature,
}

/// An operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Scalar arithmetic.
    Scalar(Scalar),
    /// A comparison that sets SCC.
    ScalarCompare(ScalarCompare),
    /// Program control.
    Control(Control),
    /// A scalar memory instruction.
    ScalarMemory(ScalarMemory),
    /// Vector arithmetic.
    Vector(Vector),
    /// A comparison of each lane.
    Compare(Compare),
    /// Local data share.
    Lds(Lds),
    /// Vector memory: buffers and flat addresses.
    Memory(Access),
    /// Images.
    Image(Image),
    /// Interpolation of a parameter of the primitive.
    Interpolate(Interpolate),
    /// An export from the program to the fixed functions.
    Export,
    /// Known by name, and not implemented.
    Absent,
}

/// Bit operations of two operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Logic {
    And,
    Or,
    Xor,
    AndNot,
    OrNot,
    Nand,
    Nor,
    Xnor,
}

impl Logic {
    /// Applies it.
    pub fn apply(self, a: u64, b: u64) -> u64 {
        match self {
            Logic::And => a & b,
            Logic::Or => a | b,
            Logic::Xor => a ^ b,
            Logic::AndNot => a & !b,
            Logic::OrNot => a | !b,
            Logic::Nand => !(a & b),
            Logic::Nor => !(a | b),
            Logic::Xnor => !(a ^ b),
        }
    }
}

/// Width of a scalar operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Width {
    B32,
    B64,
}

/// Scalar arithmetic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Scalar {
    Mov,
    /// A move that happens if SCC is set.
    ConditionalMov,
    Select,
    Not(Width),
    WholeQuad(Width),
    Reverse(Width),
    CountZeros(Width),
    CountOnes(Width),
    FirstZero(Width),
    FirstOne(Width),
    LeadingBit(Width),
    LeadingSign(Width),
    SignExtend8,
    SignExtend16,
    BitSet0(Width),
    BitSet1(Width),
    GetPc,
    SetPc,
    SwapPc,
    SaveExec(Logic),
    QuadMask(Width),
    Abs,
    AddU32,
    SubU32,
    AddI32,
    SubI32,
    AddCarry,
    SubBorrow,
    MinI32,
    MinU32,
    MaxI32,
    MaxU32,
    Logic(Logic, Width),
    ShiftLeft(Width),
    ShiftRight(Width),
    ShiftRightSigned(Width),
    FieldMask(Width),
    Mul,
    ExtractUnsigned(Width),
    ExtractSigned(Width),
    AbsDifference,
    AddK,
    MulK,
    GetReg,
    SetReg,
    SetRegImmediate,
    MovRelSource(Width),
    MovRelDest(Width),
}

/// Comparisons of scalars.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum ScalarCompare {
    Signed(Condition),
    Unsigned(Condition),
    BitClear(Width),
    BitSet(Width),
}

/// Conditions, numbered as in VOPC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Condition {
    False,
    Less,
    Equal,
    LessEqual,
    Greater,
    /// Less or greater: false if unordered.
    LessGreater,
    GreaterEqual,
    Ordered,
    Unordered,
    NotGreaterEqual,
    NotLessGreater,
    NotGreater,
    NotLessEqual,
    NotEqual,
    NotLess,
    True,
}

/// Program control.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Control {
    /// Nothing that a program could see: S_NOP, S_SLEEP, priorities, prefetch.
    Nothing,
    End,
    Branch,
    BranchIf(Flag, bool),
    Barrier,
    WaitCount,
}

/// What a branch looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Flag {
    Scc,
    VccZero,
    ExecZero,
}

/// Scalar memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum ScalarMemory {
    /// So many dwords from an address.
    Load(u8),
    /// So many dwords from a buffer.
    BufferLoad(u8),
    Time,
    Invalidate,
}

/// Types of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum CompareType {
    F32,
    F64,
    I32,
    I64,
    U32,
    U64,
    Class32,
    Class64,
}

/// A comparison of each lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compare {
    /// Types of both operands.
    pub kind: CompareType,
    /// Condition.
    pub condition: Condition,
    /// Writes EXEC too (`v_cmpx`).
    pub exec: bool,
}

/// Vector arithmetic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Vector {
    Nop,
    Mov,
    ReadFirstLane,
    ReadLane,
    WriteLane,
    Select,
    // Conversions, named result then source.
    I32F64,
    F64I32,
    F32I32,
    F32U32,
    U32F32,
    I32F32,
    F16F32,
    F32F16,
    RoundI32F32,
    FloorI32F32,
    OffsetF32I4,
    F32F64,
    F64F32,
    F32Byte(u8),
    U32F64,
    F64U32,
    // Double precision.
    TruncF64,
    CeilF64,
    RoundEvenF64,
    FloorF64,
    FractF64,
    RcpF64,
    RsqF64,
    SqrtF64,
    FrexpExpF64,
    FrexpMantF64,
    AddF64,
    MulF64,
    MinF64,
    MaxF64,
    FmaF64,
    LdexpF64,
    // Single precision.
    FractF32,
    TruncF32,
    CeilF32,
    RoundEvenF32,
    FloorF32,
    ExpF32,
    LogF32,
    RcpF32,
    RsqF32,
    SqrtF32,
    SinF32,
    CosF32,
    FrexpExpF32,
    FrexpMantF32,
    AddF32,
    SubF32,
    SubRevF32,
    MulLegacyF32,
    MulF32,
    MinF32,
    MaxF32,
    MinLegacyF32,
    MaxLegacyF32,
    MacF32,
    MacLegacyF32,
    MadF32,
    MadLegacyF32,
    FmaF32,
    LdexpF32,
    Min3F32,
    Max3F32,
    Med3F32,
    CubeId,
    CubeS,
    CubeT,
    CubeMajor,
    // Integers.
    Not,
    Reverse,
    FirstBitHigh,
    FirstBitLow,
    FirstSignHigh,
    MulI24,
    MulHighI24,
    MulU24,
    MulHighU24,
    MinI32,
    MaxI32,
    MinU32,
    MaxU32,
    ShiftRight,
    ShiftRightRev,
    ShiftRightSigned,
    ShiftRightSignedRev,
    ShiftLeft,
    ShiftLeftRev,
    And,
    Or,
    Xor,
    FieldMask,
    CountOnes,
    MaskCountLow,
    MaskCountHigh,
    Add,
    Sub,
    SubRev,
    AddCarry,
    SubBorrow,
    SubBorrowRev,
    PackNormI16,
    PackNormU16,
    PackTowardZeroF16,
    PackU16,
    PackI16,
    PackU8F32,
    MadI24,
    MadU24,
    ExtractUnsigned,
    ExtractSigned,
    Insert,
    Lerp,
    AlignBit,
    AlignByte,
    Min3I32,
    Min3U32,
    Max3I32,
    Max3U32,
    Med3I32,
    Med3U32,
    SadU8,
    SadHighU8,
    SadU16,
    SadU32,
    ShiftLeft64,
    ShiftRight64,
    ShiftRightSigned64,
    MulLow,
    MulHighU32,
    MulHighI32,
    MadU64,
    MadI64,
    MovRelDest,
    MovRelSource,
    MovRelBoth,
}

/// An atomic operation. The operand's type follows from the width.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Atomic {
    Swap,
    CompareSwap,
    Add,
    Sub,
    ReverseSub,
    MinSigned,
    MinUnsigned,
    MaxSigned,
    MaxUnsigned,
    And,
    Or,
    Xor,
    Increment,
    Decrement,
    MaskOr,
    FloatCompareSwap,
    FloatMin,
    FloatMax,
}

impl Atomic {
    /// Registers of data: twice the width for a compare-and-swap.
    pub fn operands(self) -> u16 {
        match self {
            Atomic::CompareSwap | Atomic::FloatCompareSwap => 2,
            _ => 1,
        }
    }
}

/// The local data share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Lds {
    /// Bytes of one element.
    Read(Element),
    Write(Element),
    /// Two elements; the factor of both offsets.
    Read2(Width, u16),
    Write2(Width, u16),
    Atomic {
        op: Atomic,
        width: Width,
        returns: bool,
    },
    Swizzle,
    Append,
    Consume,
    Nothing,
}

/// An element in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Element {
    U8,
    I8,
    U16,
    I16,
    /// So many dwords.
    Dwords(u8),
}

impl Element {
    /// Size in bytes.
    pub fn bytes(self) -> u32 {
        match self {
            Element::U8 | Element::I8 => 1,
            Element::U16 | Element::I16 => 2,
            Element::Dwords(n) => u32::from(n) * 4,
        }
    }

    /// Registers that it takes.
    pub fn dwords(self) -> u16 {
        match self {
            Element::Dwords(n) => u16::from(n),
            _ => 1,
        }
    }
}

/// Access to memory by each lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Access {
    Load(Element),
    Store(Element),
    /// So many components, converted by the format of the descriptor.
    LoadFormat(u8),
    StoreFormat(u8),
    Atomic(Atomic, Width),
    /// Invalidates the vector L1 cache.
    Invalidate,
}

/// Image operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Image {
    Load { mip: bool },
    Store { mip: bool },
    Atomic(Atomic),
    Resource,
    Sample(Sample),
    Gather(Sample),
    Lod,
}

/// What a sampling instruction takes besides coordinates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Sample {
    /// A value to compare with.
    pub compare: bool,
    /// Texel offsets.
    pub offset: bool,
    /// How the level is chosen.
    pub level: Level,
    /// A lower bound of the level.
    pub clamp: bool,
}

/// Steps of an interpolation: a parameter at the first vertex, and its changes to the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interpolate {
    /// The first vertex's and the second's share.
    First,
    /// Adds the third's share.
    Second,
    /// One of the three as it is.
    Move,
}

/// How a sampling instruction chooses the level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Level {
    /// By the differences of coordinates in a quad.
    #[default]
    Implicit,
    /// The same, plus a bias.
    Bias,
    /// By derivatives given.
    Derivative,
    /// As given.
    Given,
    /// Level 0.
    Zero,
}

/// Bits of instructions beside operands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Flags {
    pub abs: u8,
    pub neg: u8,
    pub omod: u8,
    pub clamp: bool,
    pub glc: bool,
    pub slc: bool,
    pub tfe: bool,
    pub offen: bool,
    pub idxen: bool,
    pub addr64: bool,
    pub lds: bool,
    pub gds: bool,
    pub unorm: bool,
    pub da: bool,
    pub r128: bool,
    pub lwe: bool,
    /// SMRD: the offset is an immediate.
    pub imm: bool,
    /// EXP: two components a register.
    pub compr: bool,
    /// EXP: the program's last.
    pub done: bool,
    /// EXP: the active lanes are the valid ones.
    pub vm: bool,
}

/// A decoded instruction.
#[derive(Clone, Debug)]
pub struct Inst {
    /// Operation.
    pub op: Op,
    /// Table line.
    pub entry: &'static Entry,
    /// Dwords that it takes.
    pub size: u8,
    /// Its result takes two registers.
    pub wide: bool,
    /// Result: a vector register's number or a scalar code, as the operation has it.
    pub dst: u16,
    /// Scalar result (carry, comparison).
    pub sdst: u16,
    /// Sources, as operand codes.
    pub src: [u16; 3],
    /// Literal dword.
    pub literal: u32,
    /// Immediate: SIMM16, offsets, DMASK.
    pub imm: u32,
    /// Bits.
    pub flags: Flags,
    /// MTBUF data format and number format.
    pub typed: (u8, u8),
    /// Registers that it reads, and that it writes.
    pub reads: RegSet,
    /// Registers that it writes.
    pub writes: RegSet,
}
