// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Marks in the kernel's trace, by which what the kernel traced is matched with what a program did.

use std::{
    fs::OpenOptions,
    io::Write, //
};

/// File from which the kernel takes marks.
const MARKER: &str = "/sys/kernel/tracing/trace_marker";

/// Puts a line into the trace, if one is being made. Nobody depends on it.
pub fn mark(text: &str) {
    if let Ok(mut marker) = OpenOptions::new().write(true).open(MARKER) {
        let _ = marker.write_all(text.as_bytes());
    }
}
