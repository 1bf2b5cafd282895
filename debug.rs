// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Counters and reports in debugfs, text, and tracepoints.

pub(crate) mod report;
pub(crate) mod stats;
pub(crate) mod text;
pub(crate) mod trace;
