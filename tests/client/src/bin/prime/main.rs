// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Buffers that travel: one device uses the memory of another, by DMA buffers (PRIME).
//!
//! Every pair of amdgpu cards in the machine is tried in both directions; then vgem, which keeps
//! what it imports in its place, and udmabuf, which makes DMA buffers of a process's memory. At the
//! end a card is taken away from those who use its memory, and from whose memory it uses.

mod cards;
mod leaving;
mod others;
mod view;

use amdgpu_client::args::Args;
use amdgpu_client::drm::{
    Driver,
    Node, //
};
use amdgpu_client::report::{
    Tally,
    give_up, //
};
use std::process::ExitCode;

/// A trial of a pair of cards.
type CardCase = (&'static str, fn(&cards::Pair<'_>) -> Result<(), String>);

fn main() -> ExitCode {
    let args = Args::parse(
        "Has devices use each other's memory.",
        &[("leave", "1: cards are unbound, too, so that the last is gone at the end")],
    );
    let nodes = match Node::all() {
        Ok(nodes) if nodes.iter().any(|node| node.driver == Driver::Rust) => nodes,
        Ok(_) => return give_up("prime", "no card has the driver under test"),
        Err(why) => return give_up("prime", why),
    };
    let mut tally = Tally::new();
    for exporter in &nodes {
        for importer in &nodes {
            if exporter.slot != importer.slot {
                try_pair(exporter, importer, &mut tally);
            }
        }
    }
    for node in nodes.iter().filter(|node| node.driver == Driver::Rust) {
        others::try_all(node, &mut tally);
    }
    if args.get("leave").unwrap_or(0) == 1 {
        leaving::try_all(&nodes, &mut tally);
    }
    tally.close()
}

fn try_pair(exporter: &Node, importer: &Node, tally: &mut Tally) {
    if exporter.driver != Driver::Rust && importer.driver != Driver::Rust {
        return;
    }
    let pair = match cards::Pair::new(exporter, importer) {
        Ok(pair) => pair,
        Err(why) => {
            tally.record("a session on each of two cards", Err(why));
            return;
        }
    };
    for (name, case) in cards::CASES {
        let name = format!("{} to {}: {name}", exporter.slot, importer.slot);
        tally.check(name, || case(&pair).map(|()| String::new()));
    }
}
