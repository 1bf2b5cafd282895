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
//! | a client's, and the whole card is reset | fails with `ECANCELED`: its page tables are lost |
//! | not begun, or the kernel's, accused, and nobody fails with `ETIME` | runs again, on trial |
//! | the same, but it was on trial before | this level of a reset does not help |
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
        level::Level,
        vmid::Tenant, //
    },
    hw::command::{
        EngineKind,
        Vmid, //
    }, //
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
    /// submission caused the reset, `ENODATA` if nothing but its waves was reset.
    pub(crate) fn check(&self) -> Result {
        kernel::error::to_result(self.error.load(Relaxed))
    }

    /// Notes that a submission of the queue was lost. The first error stays, unless it is
    /// `ENODATA`, and it turns out that more than the submission's waves had to be reset.
    fn lose(&self, error: Error) {
        let _ = self.error.cmpxchg(0, error.to_errno(), Relaxed);
        if error == ETIME {
            let (from, to) = (ENODATA.to_errno(), ETIME.to_errno());
            let _ = self.error.cmpxchg(from, to, Relaxed);
        }
    }

    /// Returns true if a submission of the queue hung.
    pub(crate) fn is_guilty(&self) -> bool {
        matches!(self.check(), Err(error) if error == ETIME || error == ENODATA)
    }
}

/// On whose behalf a submission runs.
pub(crate) enum Party {
    Kernel,
    Client {
        standing: Arc<Standing>,
        gang: Option<Arc<Gang>>,
        tenant: Option<Tenant>,
        /// VM context in which it runs, if it runs at all.
        vmid: Option<Vmid>,
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

    /// Returns the VM context in which the submission runs, if it is a client's.
    pub(crate) fn vmid(&self) -> Option<Vmid> {
        match self {
            Self::Kernel => None,
            Self::Client { vmid, .. } => *vmid,
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
    /// Highest level of a reset that was tried while it was the oldest, with nobody else to blame.
    pub(crate) tried: Option<Level>,
}

/// Fate of the oldest submission of a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It runs again.
    Replay,
    /// It runs again. If that hangs, a reset of this level does not help.
    OnTrial(Level),
    /// It ends with this error, and its commands do not run.
    Fail(Error),
}

/// Returns true if the submission caused the hang of its ring.
pub(crate) fn is_guilty(head: Head, accused: bool) -> bool {
    accused && head.begun && !head.kernel
}

/// Returns the verdict on the oldest submission of a ring that is, or is not, accused of the hang,
/// after a reset of this `level`. `solved` says that a guilty one was found among those that were
/// reset.
///
/// # Errors
///
/// `EIO` if a reset of this level did not help before, and nobody is guilty of that.
pub(crate) fn verdict(head: Head, accused: bool, solved: bool, level: Level) -> Result<Verdict> {
    match head {
        _ if is_guilty(head, accused) => Ok(Verdict::Fail(ETIME)),
        Head {
            begun,
            kernel: false,
            ..
        } if begun || level == Level::Full => Ok(Verdict::Fail(ECANCELED)),
        _ if !accused || solved => Ok(Verdict::Replay),
        _ if head.tried >= Some(level) => Err(EIO),
        _ => Ok(Verdict::OnTrial(level)),
    }
}

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
#[kunit_tests(amdgpu_rs_verdict)]
mod tests {
    use super::*;

    #[test]
    fn verdicts() {
        use Level::{
            Block,
            Full, //
        };
        let fail = |error| Ok(Verdict::Fail(error));
        let trial = |level| Ok(Verdict::OnTrial(level));
        let (replay, never) = (Ok(Verdict::Replay), None);
        // (begun, kernel, tried, accused, solved, verdict on a block's reset, on the card's)
        let cases = [
            // A client's commands that have begun do not begin again.
            (true, false, never, true, true, fail(ETIME), fail(ETIME)),
            (
                true,
                false,
                Some(Full),
                true,
                true,
                fail(ETIME),
                fail(ETIME),
            ),
            (
                true,
                false,
                never,
                false,
                true,
                fail(ECANCELED),
                fail(ECANCELED),
            ),
            (
                true,
                false,
                never,
                false,
                false,
                fail(ECANCELED),
                fail(ECANCELED),
            ),
            // Others do, unless their page tables are lost.
            (false, false, never, false, true, replay, fail(ECANCELED)),
            (
                false,
                false,
                Some(Block),
                false,
                false,
                replay,
                fail(ECANCELED),
            ),
            (true, true, never, false, true, replay, replay),
            // Where another is guilty, nobody else is blamed.
            (false, false, never, true, true, replay, fail(ECANCELED)),
            (
                false,
                false,
                Some(Block),
                true,
                true,
                replay,
                fail(ECANCELED),
            ),
            (true, true, Some(Full), true, true, replay, replay),
            // Where nobody is, each level is tried once.
            (
                false,
                false,
                never,
                true,
                false,
                trial(Block),
                fail(ECANCELED),
            ),
            (true, true, never, true, false, trial(Block), trial(Full)),
            (false, true, Some(Block), true, false, Err(EIO), trial(Full)),
            (
                false,
                false,
                Some(Block),
                true,
                false,
                Err(EIO),
                fail(ECANCELED),
            ),
            (true, true, Some(Full), true, false, Err(EIO), Err(EIO)),
        ];
        for (begun, kernel, tried, accused, solved, block, full) in cases {
            let head = Head {
                begun,
                kernel,
                tried,
            };
            assert_eq!(verdict(head, accused, solved, Block), block);
            assert_eq!(verdict(head, accused, solved, Full), full);
            assert!(solved || !is_guilty(head, accused) || block == fail(ETIME));
        }
    }

    #[test]
    fn the_first_loss_counts() -> Result {
        let standing = Standing::for_test()?;
        assert_eq!(standing.check(), Ok(()));
        standing.lose(ETIME);
        standing.lose(ECANCELED);
        assert_eq!(standing.check(), Err(ETIME));
        assert!(standing.is_guilty());
        // But if killing waves was not enough, that is said.
        let (killed, behind) = (Standing::for_test()?, Standing::for_test()?);
        killed.lose(ENODATA);
        killed.lose(ECANCELED);
        assert_eq!(killed.check(), Err(ENODATA));
        assert!(killed.is_guilty());
        killed.lose(ETIME);
        assert_eq!(killed.check(), Err(ETIME));
        behind.lose(ECANCELED);
        behind.lose(ETIME);
        assert_eq!(behind.check(), Err(ECANCELED));
        assert!(!behind.is_guilty());
        Ok(())
    }
}
