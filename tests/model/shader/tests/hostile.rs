// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Random launches and words: whatever they are, they end in a result, never in a panic. Random
//! programs are in `fuzz.rs`.

mod common;

use amdgpu_shader::{
    gfx7::{
        Words,
        decode, //
    },
    memory::Flat,
    rng::Rng, //
};
use common::Setup;

#[test]
fn random_registers_do_not_panic() {
    let mut rng = Rng::new(2);
    for _ in 0..200_000 {
        let mut setup = Setup::new(64, 1, &[]);
        for _ in 0..1 + rng.below(8) {
            let n = rng.below(setup.window.len());
            setup.window[n] = rng.word() >> rng.below(32);
        }
        setup.dims = std::array::from_fn(|_| rng.word() >> rng.below(32));
        setup.initiator = if rng.below(2) == 0 { rng.word() } else { 0x45 };
        let mut memory = Flat::default();
        if let Ok(Some(mut dispatch)) = setup.dispatch() {
            let _ = dispatch.run(&mut memory, 10);
        }
    }
}

#[test]
fn random_words_do_not_panic() {
    let mut rng = Rng::new(3);
    for _ in 0..5_000_000 {
        let first = rng.word();
        let second = if Words::size(first) == 2 { rng.word() } else { 0 };
        if let Ok(inst) = decode(Words { first, second }) {
            assert!(!amdgpu_shader::gfx7::text(&inst).is_empty());
        }
    }
}
