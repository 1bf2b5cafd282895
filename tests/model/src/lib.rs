// SPDX-License-Identifier: GPL-2.0 OR MIT
//! A functional model of AMD GFX7 GPUs (Bonaire, Hawaii), seen from the PCI bus.
//!
//! [`gpu::Gpu`] is the whole device as one value without threads: registers, memory controller,
//! interrupt ring, command processors and SDMA engines. [`gpu::Gpu::step`] lets one engine, chosen
//! by a seeded generator, execute one packet. [`machine::Machine`] drives it from a thread, and
//! [`transport`] serves it over vfio-user; tests drive the `Gpu` directly, with no QEMU.
//!
//! Facts (offsets, masks, packet layouts) come from the register headers and packet definitions of
//! the Linux kernel's amdgpu driver. No code is shared with any driver, so that a mistake in one
//! does not hide in the other.

pub mod config;
pub mod control;
pub mod cp;
pub mod engine;
pub mod fault;
mod flush;
pub mod gpu;
pub mod hdp;
pub mod host;
pub mod ih;
pub mod inject;
mod late;
pub mod machine;
pub mod mc;
pub mod mec;
pub mod memory;
mod mmio;
mod mqd;
mod noise;
mod pace;
pub mod pci;
pub mod picture;
mod posting;
pub mod regs;
pub mod rom;
pub mod sdma;
pub mod strict;
pub mod tlb;
mod touch;
pub mod trace;
pub mod transport;
mod ucode;
pub mod watch;
