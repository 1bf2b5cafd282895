// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Levels of a reset: how much of the card is reset when a ring hangs.
//!
//! The C driver's levels are `AMDGPU_RESET_TYPE_*`.
//!
//! | level | resets | needs | loses |
//! |---|---|---|---|
//! | [`Block`](Level::Block) | the engines of one block | nothing | jobs that had begun |
//! | [`Full`](Level::Full) | the card | a card that obeys, the video BIOS | VRAM, clients' jobs |
//!
//! The levels are tried in this order. Each begins with all that the ones before it have changed. A
//! level has failed if the engines do not stop, do not start again, or do not execute commands
//! afterward. It has also failed if the kernel's own part of a submission hangs again, as nobody
//! else is to blame for that: the memory controller may hang, which no block's reset mends.
//!
//! All blocks that hang at once are no reason to begin with [`Full`](Level::Full): any client can
//! bring that about, and nobody else is to lose anything by it.

/// A level of a reset. The higher one loses more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// The engines of a block.
    Block,
    /// The whole card.
    Full,
}

/// The oldest submission of a ring that hangs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Suspect {
    /// It is a client's, and its commands have begun.
    pub(crate) guilty: bool,
    /// Highest level that was tried while it was the oldest, with nobody else to blame.
    pub(crate) tried: Option<Level>,
}

impl Level {
    /// Returns the level to begin with, given the rings that hang. Returns `None` if no level is
    /// left.
    pub(crate) fn first(suspects: impl IntoIterator<Item = Suspect>) -> Option<Self> {
        let mut first = Some(Self::Block);
        for suspect in suspects {
            if suspect.guilty {
                // The hang is explained, whatever happened before.
                return Some(Self::Block);
            }
            if let Some(tried) = suspect.tried {
                first = first.and_then(|level| level.max(tried).next());
            }
        }
        first
    }

    /// Returns the level to try after this one has failed, if there is one.
    pub(crate) fn next(self) -> Option<Self> {
        match self {
            Self::Block => Some(Self::Full),
            Self::Full => None,
        }
    }
}

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
#[kernel::prelude::kunit_tests(amdgpu_rs_level)]
mod tests {
    use super::*;

    const NEW: Suspect = Suspect {
        guilty: false,
        tried: None,
    };
    const GUILTY: Suspect = Suspect {
        guilty: true,
        ..NEW
    };

    const fn tried(suspect: Suspect, level: Level) -> Suspect {
        Suspect {
            tried: Some(level),
            ..suspect
        }
    }

    #[test]
    fn levels_are_tried_in_order() {
        use Level::{
            Block,
            Full, //
        };
        // The oldest submissions of the rings that hang, and the levels that are tried.
        let cases: [(&[Suspect], &[Level]); 10] = [
            // Nobody hangs: a reset on request.
            (&[], &[Block, Full]),
            (&[GUILTY], &[Block, Full]),
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
            (&[tried(NEW, Full), tried(GUILTY, Full)], &[Block, Full]),
        ];
        for (suspects, expected) in cases {
            let mut level = Level::first(suspects.iter().copied());
            for tried in expected {
                assert_eq!(level, Some(*tried));
                level = level.and_then(Level::next);
            }
            assert_eq!(level, None);
        }
    }
}
