// SPDX-License-Identifier: GPL-2.0 OR MIT
//! An executor of GFX7 shaders, over any memory: of compute dispatches and of draws.
//!
//! A caller implements [`memory::Memory`], fills a [`launch::Launch`] from the registers of a queue
//! and calls [`dispatch::Dispatch::run`] until it is done; or fills [`draw::Registers`] and a
//! [`draw::Call`] and calls [`draw::Draw::run`]. Nothing here has a thread or knows of the
//! GPU around it.
//!
//! | file | what it answers |
//! |---|---|
//! | `isa.rs`, `regset.rs` | operations, and an instruction as the executor sees it |
//! | `gfx7.rs`, `gfx7/` | the generation's opcodes, decoding, text |
//! | `launch.rs`, `dispatch.rs`, `noise.rs` | a launch: registers, groups, waves, their start |
//! | `units.rs` | which compute units groups may go to |
//! | `machine.rs`, `program.rs`, `wave.rs`, `mode.rs` | one wave, its program, its state |
//! | `pending.rs` | S_WAITCNT |
//! | `scalar.rs`, `vector.rs`, `vector/`, `float.rs` | arithmetic; rounding in integers |
//! | `scalar_memory.rs`, `buffer.rs`, `lds.rs` | loads and stores |
//! | `image.rs`, `format.rs`, `tiling.rs` | the same of images |
//! | `draw.rs`, `draw/`, `export.rs` | draws: vertices, primitives, pixels, targets |
//! | `memory.rs`, `bus.rs`, `cache.rs` | memory of the caller, the way there, caches between |

pub mod buffer;
pub mod bus;
pub mod cache;
pub mod context;
pub mod dispatch;
pub mod draw;
pub mod export;
pub mod float;
pub mod format;
pub mod gfx7;
pub mod image;
pub mod isa;
pub mod launch;
pub mod lds;
pub mod machine;
pub mod memory;
pub mod mode;
mod noise;
mod pending;
pub mod program;
pub mod regset;
pub mod rng;
mod scalar;
mod scalar_memory;
pub mod stop;
pub mod tiling;
pub mod units;
mod vector;
pub mod wave;
