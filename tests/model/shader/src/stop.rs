// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Why a shader cannot go on.

/// The end of a shader before its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stop {
    /// Kind of trouble.
    pub cause: Cause,
    /// In words.
    pub what: String,
}

/// Kinds of trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// An instruction, a bit of it, a descriptor or a launch that is not allowed or not
    /// implemented.
    Illegal,
    /// A register or scratch beyond what was allocated.
    Bounds,
    /// A register used before its content has come.
    Hazard,
    /// Memory said no.
    Memory,
}

impl Stop {
    /// Of [`Cause::Illegal`].
    pub fn illegal(what: String) -> Stop {
        Stop { cause: Cause::Illegal, what }
    }

    /// Of [`Cause::Bounds`].
    pub fn bounds(what: String) -> Stop {
        Stop { cause: Cause::Bounds, what }
    }

    /// Of [`Cause::Hazard`].
    pub fn hazard(what: String) -> Stop {
        Stop { cause: Cause::Hazard, what }
    }

    /// Of [`Cause::Memory`].
    pub fn memory(what: String) -> Stop {
        Stop { cause: Cause::Memory, what }
    }
}
