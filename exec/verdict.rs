// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Verdicts: what becomes of the submissions on the rings of a block that is reset.
//!
//! The C driver decides in `amdgpu_ring_set_fence_errors_and_reemit`.
//!
//! A reset interrupts at most one submission of a ring, the oldest. The mark that an engine writes
//! before the commands of a submission tells whether they have begun. *Commands of a client that
//! have begun are never begun again*: they may have changed what they read. All others run again,
//! or for the first time, and their owners notice nothing but the time.
//!
//! | oldest submission of a ring | verdict |
//! |---|---|
//! | a client's, begun, its ring is accused of the hang | fails with `ETIME` |
//! | a client's, begun, its ring is not accused | fails with `ECANCELED` |
//! | not begun, or the kernel's, accused, and nobody fails with `ETIME` | runs again, on trial |
//! | the same, but it was on trial before | the block is beyond repair |
//! | any other | runs again |
//!
//! What comes after a failed submission in its queue fails with `ECANCELED`, and so does the rest
//! of its gang. The kernel's own work can be repeated: it writes the same again.

use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    },
    time::Delta, //
};

use crate::{
    exec::{
        engine_time::EngineTime,
        gang::Gang,
        vmid::Tenant, //
    },
    hw::command::EngineKind, //
};

/// Standing of a queue of a context: whether its jobs still run, and the account that they are
/// charged to.
///
/// Kept apart from the queue, as a hang must find it without the objects of a client.
pub(crate) struct Standing {
    /// Error number of the first submission that a reset took from the queue; 0 if there is none.
    error: Atomic<i32>,
    /// Kind of engine that runs the jobs.
    engine: EngineKind,
    /// Account of the file that the queue belongs to.
    account: Arc<EngineTime>,
}

impl Standing {
    /// Creates the standing of a new queue, which has lost nothing.
    pub(crate) fn new(engine: EngineKind, account: Arc<EngineTime>) -> Result<Arc<Self>> {
        let standing = Self {
            error: Atomic::new(0),
            engine,
            account,
        };
        Ok(Arc::new(standing, GFP_KERNEL_ACCOUNT)?)
    }

    /// Creates the standing of a queue of no file.
    #[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
    pub(crate) fn for_test() -> Result<Arc<Self>> {
        Self::new(EngineKind::Gfx, EngineTime::new()?)
    }

    /// Returns the error of the queue if a reset took a submission from it: `ETIME` if that
    /// submission caused the reset.
    pub(crate) fn check(&self) -> Result {
        kernel::error::to_result(self.error.load(Relaxed))
    }

    /// Notes that a submission of the queue was lost. The first error stays.
    fn lose(&self, error: Error) {
        let _ = self.error.cmpxchg(0, error.to_errno(), Relaxed);
    }
}

/// On whose behalf a submission runs.
pub(crate) enum Party {
    Kernel,
    Client {
        standing: Arc<Standing>,
        gang: Option<Arc<Gang>>,
        tenant: Option<Tenant>,
    },
}

impl Party {
    pub(crate) fn is_kernel(&self) -> bool {
        matches!(self, Self::Kernel)
    }

    /// Returns the process and the address space, if they are known.
    pub(crate) fn tenant(&self) -> Option<&Tenant> {
        match self {
            Self::Kernel => None,
            Self::Client { tenant, .. } => tenant.as_ref(),
        }
    }

    /// Returns an error if the queue or the gang has lost a submission.
    pub(crate) fn check(&self) -> Result {
        match self {
            Self::Kernel => Ok(()),
            Self::Client { standing, gang, .. } => {
                let gang = gang.as_ref().map_or(Ok(()), |gang| gang.check_wanted());
                standing.check().and(gang)
            }
        }
    }

    /// Charges time that the submission has had its engine.
    pub(crate) fn charge(&self, time: Delta) {
        if let Self::Client { standing, .. } = self {
            standing.account.charge(standing.engine, time);
        }
    }

    /// Notes that a submission of the queue and the gang was lost.
    pub(crate) fn lose(&self, error: Error) {
        if let Self::Client { standing, gang, .. } = self {
            standing.lose(error);
            if let Some(gang) = gang {
                gang.give_up(ECANCELED);
            }
        }
    }
}

/// Facts about the oldest submission of a ring, for a verdict.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    /// Its commands have begun.
    pub(crate) begun: bool,
    /// It is the kernel's own.
    pub(crate) kernel: bool,
    /// It was on trial before.
    pub(crate) on_trial: bool,
}

/// Fate of the oldest submission of a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It runs again.
    Replay,
    /// It runs again, but not a third time.
    OnTrial,
    /// It ends with this error, and its commands do not run.
    Fail(Error),
}

/// Returns true if the submission caused the hang of its ring.
pub(crate) fn is_guilty(head: Head, accused: bool) -> bool {
    accused && head.begun && !head.kernel
}

/// Returns the verdict on the oldest submission of a ring that is, or is not, accused of the hang.
/// `solved` says that a guilty one was found in the block.
///
/// # Errors
///
/// `EIO` if a reset did not help before, and nobody is guilty of that.
pub(crate) fn verdict(head: Head, accused: bool, solved: bool) -> Result<Verdict> {
    match head {
        _ if is_guilty(head, accused) => Ok(Verdict::Fail(ETIME)),
        Head {
            begun: true,
            kernel: false,
            ..
        } => Ok(Verdict::Fail(ECANCELED)),
        _ if !accused || solved => Ok(Verdict::Replay),
        Head { on_trial: true, .. } => Err(EIO),
        _ => Ok(Verdict::OnTrial),
    }
}

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
#[kunit_tests(amdgpu_rs_verdict)]
mod tests {
    use super::*;

    #[test]
    fn verdicts() {
        let fail = |error| Ok(Verdict::Fail(error));
        let (replay, trial) = (Ok(Verdict::Replay), Ok(Verdict::OnTrial));
        // (begun, kernel, on trial, accused, solved, verdict)
        let cases = [
            // A client's commands that have begun do not begin again.
            (true, false, false, true, true, fail(ETIME)),
            (true, false, true, true, true, fail(ETIME)),
            (true, false, false, false, true, fail(ECANCELED)),
            (true, false, false, false, false, fail(ECANCELED)),
            // Others do.
            (false, false, false, false, true, replay),
            (false, false, true, false, false, replay),
            (true, true, false, false, true, replay),
            // Where another is guilty, nobody else is blamed.
            (false, false, false, true, true, replay),
            (false, false, true, true, true, replay),
            (true, true, true, true, true, replay),
            // Where nobody is, a reset is tried once.
            (false, false, false, true, false, trial),
            (true, true, false, true, false, trial),
            (false, true, false, true, false, trial),
            (false, false, true, true, false, Err(EIO)),
            (true, true, true, true, false, Err(EIO)),
        ];
        for (begun, kernel, on_trial, accused, solved, expected) in cases {
            let head = Head {
                begun,
                kernel,
                on_trial,
            };
            assert_eq!(verdict(head, accused, solved), expected);
            assert!(solved || !is_guilty(head, accused) || expected == fail(ETIME));
        }
    }

    #[test]
    fn the_first_loss_counts() -> Result {
        let standing = Standing::for_test()?;
        assert_eq!(standing.check(), Ok(()));
        standing.lose(ETIME);
        standing.lose(ECANCELED);
        assert_eq!(standing.check(), Err(ETIME));
        Ok(())
    }
}
