// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Memory within the graphics block, parts of which are given to VM contexts (the C driver's
//! `amdgpu_gds`).
//!
//! There are three kinds. Shaders share bytes in the global data share (GDS). Global wave sync
//! (GWS) has counters by which waves wait for each other. Ordered append (OA) has counters that
//! waves add to in the order in which they were launched. A VM context reaches the one part of each
//! kind that its registers give to it.

/// A kind of on-chip memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnChipKind {
    /// Global data share. Its units are bytes.
    Gds,
    /// Global wave sync. Its units are counters.
    Gws,
    /// Ordered append. Its units are counters.
    Oa,
}

impl OnChipKind {
    /// All kinds.
    pub(crate) const ALL: [Self; 3] = [Self::Gds, Self::Gws, Self::Oa];

    /// Returns the number of units that starts and sizes of parts are multiples of.
    pub(crate) const fn granule(self) -> u32 {
        match self {
            Self::Gds => 4,
            Self::Gws | Self::Oa => 1,
        }
    }
}

/// A part of the on-chip memory of one kind, in its units. Empty parts start at 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct OnChipRange {
    pub(crate) first: u32,
    pub(crate) count: u32,
}

impl OnChipRange {
    /// No part.
    pub(crate) const NONE: Self = Self { first: 0, count: 0 };
}

/// What a VM context reaches of the on-chip memories, or what there is of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct OnChip {
    gds: OnChipRange,
    gws: OnChipRange,
    oa: OnChipRange,
}

impl OnChip {
    /// Nothing.
    pub(crate) const NONE: Self = Self {
        gds: OnChipRange::NONE,
        gws: OnChipRange::NONE,
        oa: OnChipRange::NONE,
    };

    /// Returns the part of one kind.
    pub(crate) const fn get(&self, kind: OnChipKind) -> OnChipRange {
        match kind {
            OnChipKind::Gds => self.gds,
            OnChipKind::Gws => self.gws,
            OnChipKind::Oa => self.oa,
        }
    }

    /// Returns these parts, with another one of this kind.
    #[must_use]
    pub(crate) const fn with(mut self, kind: OnChipKind, share: OnChipRange) -> Self {
        match kind {
            OnChipKind::Gds => self.gds = share,
            OnChipKind::Gws => self.gws = share,
            OnChipKind::Oa => self.oa = share,
        }
        self
    }
}
