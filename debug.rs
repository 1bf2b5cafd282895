// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Counters in debugfs, and tracepoints.

pub(crate) mod stats;
pub(crate) mod trace;
