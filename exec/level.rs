// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Levels of a reset: how much of the card is reset when a ring hangs.
//!
//! The C driver's levels are `AMDGPU_RESET_TYPE_*`.
//!
//! | level | resets | needs | loses |
//! |---|---|---|---|
//! | [`Waves`](Level::Waves) | waves of a context | an engine that runs | jobs in that context |
//! | [`Queue`](Level::Queue) | one compute queue | a compute engine that obeys | that job |
//! | [`Block`](Level::Block) | the engines of one block | nothing | jobs that had begun |
//! | [`Full`](Level::Full) | the card | a card that obeys, the video BIOS | VRAM, clients' jobs |
//!
//! The levels are tried in this order. Each begins with all that the ones before it have changed. A
//! level has failed if the engines do not stop, do not start again, or do not execute commands
//! afterward. It has also failed if the kernel's own part of a submission hangs again, as nobody
//! else is to blame for that: the memory controller may hang, which no block's reset mends.
//!
//! The first two end the guilty job and touch nobody else's. So they need a guilty job on each ring
//! that hangs. Neither is tried where an engine has met an illegal command: its command processor
//! stands still, and executes nothing that they ask for.
//!
//! All blocks that hang at once are no reason to begin with [`Full`](Level::Full): any client can
//! bring that about, and nobody else is to lose anything by it.

use crate::hw::command::EngineKind;

/// A level of a reset. The higher one loses more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// The shaders of the job that hangs.
    Waves,
    /// The compute queue that hangs.
    Queue,
    /// The engines of a block.
    Block,
    /// The whole card.
    Full,
}

impl Level {
    /// Returns true if it ends the guilty jobs alone.
    pub(crate) fn is_alone(&self) -> bool {
        *self < Self::Block
    }

    /// Returns the level to try after this one has failed, if there is one.
    fn next(self) -> Option<Self> {
        match self {
            Self::Waves => Some(Self::Queue),
            Self::Queue => Some(Self::Block),
            Self::Block => Some(Self::Full),
            Self::Full => None,
        }
    }
}

/// The oldest submission of a ring that hangs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Suspect {
    pub(crate) engine: EngineKind,
    /// It is a client's, and its commands have begun.
    pub(crate) guilty: bool,
    /// The engine has met an illegal command.
    pub(crate) stuck: bool,
    /// Highest level that was tried while it was the oldest, with nobody else to blame.
    pub(crate) tried: Option<Level>,
}

/// The levels that may help, in the order in which they are tried.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    next: Option<Level>,
    /// All rings that hang are compute queues.
    queues: bool,
}

impl Plan {
    /// Returns the levels for the rings of a block that hang.
    pub(crate) fn new(suspects: impl IntoIterator<Item = Suspect>) -> Self {
        let mut first = Some(Level::Block);
        let (mut any, mut explained, mut alone, mut queues) = (false, false, true, true);
        for suspect in suspects {
            any = true;
            // The hang is explained by one that is guilty, whatever happened before.
            explained |= suspect.guilty;
            alone &= suspect.guilty && !suspect.stuck && suspect.engine != EngineKind::Sdma;
            queues &= suspect.engine == EngineKind::Compute;
            if let (false, Some(tried)) = (suspect.guilty, suspect.tried) {
                first = first.and_then(|level| level.max(tried).next());
            }
        }
        let next = match (any && alone, explained) {
            (true, _) => Some(Level::Waves),
            (false, true) => Some(Level::Block),
            (false, false) => first,
        };
        Self { next, queues }
    }
}

impl Iterator for Plan {
    type Item = Level;

    fn next(&mut self) -> Option<Level> {
        let level = self.next?;
        self.next = level.next();
        if self.next == Some(Level::Queue) && !self.queues {
            self.next = Some(Level::Block);
        }
        Some(level)
    }
}

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
#[kernel::prelude::kunit_tests(amdgpu_rs_level)]
mod tests {
    use super::*;

    const NEW: Suspect = Suspect {
        engine: EngineKind::Gfx,
        guilty: false,
        stuck: false,
        tried: None,
    };
    const GUILTY: Suspect = Suspect {
        guilty: true,
        ..NEW
    };
    /// One whose engine has met an illegal command.
    const STUCK: Suspect = Suspect {
        stuck: true,
        ..GUILTY
    };

    const fn on(engine: EngineKind, suspect: Suspect) -> Suspect {
        Suspect { engine, ..suspect }
    }

    const fn tried(suspect: Suspect, level: Level) -> Suspect {
        Suspect {
            tried: Some(level),
            ..suspect
        }
    }

    /// Checks the levels that are tried for the oldest submissions of the rings that hang.
    fn check(cases: &[(&[Suspect], &[Level])]) {
        for (suspects, expected) in cases {
            let mut plan = Plan::new(suspects.iter().copied());
            for level in *expected {
                assert_eq!(plan.next(), Some(*level));
            }
            assert_eq!(plan.next(), None);
        }
    }

    #[test]
    fn levels_are_tried_in_order() {
        use Level::{
            Block,
            Full, //
        };
        check(&[
            // Nobody hangs: a reset on request.
            (&[], &[Block, Full]),
            (&[NEW], &[Block, Full]),
            // However many hang at once.
            (&[GUILTY, NEW, GUILTY], &[Block, Full]),
            // What has not helped is not tried again.
            (&[tried(NEW, Block)], &[Full]),
            (&[tried(NEW, Block), NEW], &[Full]),
            (&[tried(NEW, Full)], &[]),
            (&[tried(NEW, Block), tried(NEW, Full)], &[]),
            // Unless somebody else is to blame.
            (&[tried(NEW, Block), GUILTY], &[Block, Full]),
            (&[tried(NEW, Full), tried(STUCK, Full)], &[Block, Full]),
        ]);
    }

    #[test]
    fn a_guilty_job_is_first_ended_alone() {
        use EngineKind::{
            Compute,
            Gfx,
            Sdma, //
        };
        use Level::{
            Block,
            Full,
            Queue,
            Waves, //
        };
        let (gfx, compute) = (on(Gfx, GUILTY), on(Compute, GUILTY));
        check(&[
            (&[gfx], &[Waves, Block, Full]),
            (&[compute], &[Waves, Queue, Block, Full]),
            (&[compute, compute], &[Waves, Queue, Block, Full]),
            // Only compute queues can be reset one by one.
            (&[compute, gfx], &[Waves, Block, Full]),
            // A DMA engine has no shaders.
            (&[on(Sdma, GUILTY)], &[Block, Full]),
            // One that nobody is to blame for may need more, and so may an engine that stands
            // still.
            (&[compute, on(Compute, NEW)], &[Block, Full]),
            (&[on(Compute, STUCK)], &[Block, Full]),
            (&[STUCK], &[Block, Full]),
            (&[compute, STUCK], &[Block, Full]),
            // What was tried for others is tried again for these.
            (&[tried(compute, Full)], &[Waves, Queue, Block, Full]),
        ]);
    }
}
