// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Counters and reports in debugfs, text, tracepoints, and the pace of messages.
//!
//! The C driver has files of its own in debugfs (amdgpu_debugfs.c).

pub(crate) mod pace;
pub(crate) mod report;
pub(crate) mod stats;
pub(crate) mod text;
pub(crate) mod trace;
