// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Direct Rendering Manager.

pub(crate) mod exec;
