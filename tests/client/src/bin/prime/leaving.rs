// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Cards that are taken away while buffers travel.

use crate::view::{
    PLACE,
    View,
    at,
    expect,
    map_buffer, //
};
use amdgpu_client::drm::{
    Driver,
    Node, //
};
use amdgpu_client::report::Tally;
use amdgpu_client::session::Session;
use amdgpu_client::uapi::DOMAIN_GTT;
use std::fs;

type Outcome = Result<(), String>;

const DRIVER: &str = "/sys/bus/pci/drivers/amdgpu_rs";

pub fn try_all(nodes: &[Node], tally: &mut Tally) {
    let Some(leaver) = nodes.iter().find(|node| node.driver == Driver::Rust) else {
        return;
    };
    let Some(other) = nodes.iter().find(|node| node.slot != leaver.slot) else {
        tally.skip("a card leaves another", "there is one only");
        return;
    };
    tally.check(format!("{} leaves {}", leaver.slot, other.slot), || {
        leave(leaver, other).map(|()| String::new())
    });
}

/// The first card is unbound while the second uses its memory, and it uses that of the second.
fn leave(leaver: &Node, other: &Node) -> Outcome {
    let (leaving, staying) =
        (at("a session", Session::open(leaver))?, at("a session", Session::open(other))?);
    let (lent, borrowed) =
        (View::create(&leaving, DOMAIN_GTT)?, View::create(&staying, DOMAIN_GTT)?);
    let (lent_buffer, borrowed_buffer) = (lent.export()?, borrowed.export()?);
    let lent_there = View::import(&staying, &lent_buffer)?;
    let borrowed_there = View::import(&leaving, &borrowed_buffer)?;
    let map = map_buffer(&borrowed_buffer)?;
    lent_there.write(0x1111)?;
    borrowed_there.write(0x2222)?;

    fs::write(format!("{DRIVER}/unbind"), &leaver.slot).map_err(|e| format!("unbind: {e}"))?;
    // What the other card has lent is as it was; what it has borrowed is gone.
    borrowed.expect(0x2222)?;
    expect(map.read(PLACE) == 0x2222, || "its mapping shows something else".into())?;
    let answer = lent_there.begin_read();
    expect(answer.is_err(), || "a job may use memory that is gone".into())?;
    // The card that stays works on, without it.
    borrowed.write(0x3333)?;
    borrowed.expect(0x3333)
}
