// SPDX-License-Identifier: GPL-2.0 OR MIT

//! A case: one call in which one thing is wrong, and the answer that it must get.

use std::fmt;

use amdgpu_client::{
    Errno,
    drm::Driver, //
};

use crate::rig::Rig;

/// Outcome of a case that was not plain success.
#[derive(Debug)]
pub enum Failure {
    /// The kernel refused the call that the case is about.
    Refused(Errno),
    /// Something else was not as it must be.
    Wrong(String),
}

impl From<Errno> for Failure {
    fn from(e: Errno) -> Self {
        Self::Refused(e)
    }
}

/// Answer of a case's function.
pub type Outcome = Result<(), Failure>;

/// For the calls that only prepare a case: their refusal is not what the case is about, and must
/// not be taken for it.
pub trait Setup<T> {
    /// Turns a refusal into something that is wrong.
    fn setup(self, what: &str) -> Result<T, Failure>;
}

impl<T> Setup<T> for amdgpu_client::Result<T> {
    fn setup(self, what: &str) -> Result<T, Failure> {
        self.map_err(|e| Failure::Wrong(format!("while preparing: {what}: {e}")))
    }
}

/// A condition on what an accepted call did.
pub fn expect(holds: bool, otherwise: impl FnOnce() -> String) -> Outcome {
    if holds { Ok(()) } else { Err(Failure::Wrong(otherwise())) }
}

/// Answer that a driver must give.
#[derive(Clone, Copy, Debug)]
pub enum Expect {
    /// Accept.
    Success,
    /// Refuse, with this errno.
    Refusal(i32),
    /// The case is not for this driver; why.
    Skip(&'static str),
}

/// Accept.
pub const OK: Expect = Expect::Success;

impl fmt::Display for Expect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Success => f.write_str("success"),
            Self::Refusal(e) => write!(f, "{}", Errno(*e)),
            Self::Skip(why) => f.write_str(why),
        }
    }
}

impl Expect {
    /// Compares an outcome with this expectation.
    pub fn meets(self, outcome: &Outcome) -> Result<(), String> {
        match (self, outcome) {
            (_, Err(Failure::Wrong(why))) => Err(why.clone()),
            (Self::Success, Ok(())) => Ok(()),
            (Self::Refusal(e), Err(Failure::Refused(seen))) if e == seen.0 => Ok(()),
            (_, Ok(())) => Err(format!("accepted, expected {self}")),
            (_, Err(Failure::Refused(seen))) => Err(format!("{seen}, expected {self}")),
        }
    }
}

/// A call in which at most one thing is wrong.
pub struct Case {
    /// Name of the thing that is wrong in it.
    pub name: String,
    reference: Expect,
    ours: Expect,
    /// Makes the call.
    pub run: Box<dyn Fn(&Rig) -> Outcome>,
}

impl Case {
    /// Returns the answer that `driver` must give.
    pub const fn expected(&self, driver: Driver) -> Expect {
        match driver {
            Driver::Rust => self.ours,
            Driver::Reference => self.reference,
        }
    }
}

/// A case that both drivers answer alike.
pub fn both(
    name: impl Into<String>,
    expect: Expect,
    run: impl Fn(&Rig) -> Outcome + 'static,
) -> Case {
    differ(name, expect, expect, run)
}

/// A case that both drivers refuse with the same errno.
pub fn bad(name: impl Into<String>, errno: i32, run: impl Fn(&Rig) -> Outcome + 'static) -> Case {
    both(name, Expect::Refusal(errno), run)
}

/// A case that both drivers accept.
pub fn good(name: impl Into<String>, run: impl Fn(&Rig) -> Outcome + 'static) -> Case {
    both(name, OK, run)
}

/// A case in which the drivers differ by design.
pub fn differ(
    name: impl Into<String>,
    reference: Expect,
    ours: Expect,
    run: impl Fn(&Rig) -> Outcome + 'static,
) -> Case {
    Case { name: name.into(), reference, ours, run: Box::new(run) }
}

/// A case that `amdgpu_rs` refuses, being stricter.
pub fn stricter(
    name: impl Into<String>,
    reference: Expect,
    errno: i32,
    run: impl Fn(&Rig) -> Outcome + 'static,
) -> Case {
    differ(name, reference, Expect::Refusal(errno), run)
}
