// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Takes the driver away from under processes that hold on to it, in every order: the driver is
//! unbound, the card is unplugged, the module is unloaded, and the processes end, before, after and
//! meanwhile.
//!
//! A round is drawn by chance, from a seed that is said: what each process holds (see [`holder`]),
//! what is done to the driver, and what happens to the processes. After each round the driver must
//! be there again and run a job. What else went wrong the kernel's log tells: this is for the debug
//! kernel, behind an IOMMU.

mod card;
mod holder;

use std::{
    fs::File,
    os::unix::fs::FileExt,
    process::ExitCode,
    thread::sleep,
    time::Duration, //
};

use amdgpu_client::{
    PAGE,
    args::Args,
    child::Child,
    engine::Engine,
    num::u64_of,
    report::{
        Outcome,
        Tally,
        give_up, //
    },
    rng::Rng,
    session::Session,
    uapi::DOMAIN_GTT, //
};
use card::{
    Card,
    Farewell, //
};
use holder::Plan;

/// End of the processes.
#[derive(Clone, Copy, Debug)]
enum End {
    /// They are killed, and are gone before the driver goes.
    Before,
    /// They are killed, and the driver goes at once.
    Just,
    /// They are killed so many microseconds after the driver begins to go.
    Meanwhile(u32),
    /// They are killed when the driver is gone, and had time to find out.
    After,
}

impl End {
    fn draw(rng: &mut Rng) -> Self {
        const LONGEST_US: usize = 300_000;
        match rng.within(0..6) {
            0 => Self::Before,
            1 => Self::Just,
            5 => Self::After,
            _ => Self::Meanwhile(u32::try_from(rng.within(0..LONGEST_US)).unwrap_or(0)),
        }
    }
}

/// Time that processes have to find out what they can still do.
const AFTERMATH: Duration = Duration::from_millis(200);

/// One round.
fn round(card: &mut Card, rng: &mut Rng) -> Outcome {
    let farewell = Farewell::draw(rng);
    let end = End::draw(rng);
    let plans: Vec<_> = (0..rng.within(1..4)).map(|_| Plan::draw(rng)).collect();
    let mut children = Vec::new();
    for plan in &plans {
        let node = card.node()?;
        children.push(Child::new(|report| holder::hold(&node, *plan, report))?);
    }
    for child in &mut children {
        child.hear::<1>()?;
    }
    let kill = |children: &[Child]| children.iter().for_each(Child::kill);

    match end {
        End::Before => {
            kill(&children);
            reap(std::mem::take(&mut children))?;
            card.leave(farewell)?;
        }
        End::Just => {
            kill(&children);
            card.leave(farewell)?;
        }
        End::Meanwhile(micros) => {
            let leaving = card.begin_to_leave(farewell)?;
            sleep(Duration::from_micros(micros.into()));
            kill(&children);
            leaving.listen_once()?;
        }
        End::After => {
            card.leave(farewell)?;
            sleep(AFTERMATH);
            kill(&children);
        }
    }
    reap(children)?;
    card.come_back(farewell)?;
    let session = Session::open(&card.node()?).map_err(|e| format!("a session: {e}"))?;
    session.prove_alive(Engine::Dma(0))?;
    session.prove_alive(Engine::Gfx)?;
    Ok(format!("{farewell:?}, {end:?}, {plans:?}"))
}

fn reap(children: Vec<Child>) -> Result<(), String> {
    children.into_iter().try_for_each(|child| child.reap().map(|_| ()))
}

fn main() -> ExitCode {
    let args = Args::parse(
        "Takes the driver away from under processes.",
        &[
            ("rounds", "how many rounds (default 20)"),
            ("seed", "what to draw from (default: a fresh one)"),
            (
                "stay",
                "how many processes stay behind at the end, with jobs that never end (default 0)",
            ),
        ],
    );
    let rounds = args.get("rounds").unwrap_or(20);
    let seed = args.get("seed").unwrap_or_else(Rng::fresh_seed);
    let mut card = match Card::find() {
        Ok(card) => card,
        Err(why) => return give_up("unbind", why),
    };
    println!("unbind: {}, {rounds} rounds, --seed {seed}", card.slot());
    let mut tally = Tally::new();
    tally.check("nothing is left after the driver", || nothing_is_left(&card));
    for n in 1..=rounds {
        // Each round has a seed of its own, so that it is the same whatever came before.
        let mut rng = Rng::new(seed.wrapping_add(n));
        if !tally.check(format!("round {n}"), || round(&mut card, &mut rng)) {
            break;
        }
    }
    for n in 0..args.get("stay").unwrap_or(0) {
        tally.check(format!("process {n} stays"), || stay(&card, n));
    }
    tally.close()
}

/// A buffer in system memory that outlives the binding of its device has nothing for a debugger,
/// who reads by way of the kernel, and zeros for the process itself.
fn nothing_is_left(card: &Card) -> Outcome {
    const WORD: u32 = 0x5ec2_e701;
    let session = Session::open(&card.node()?).map_err(|e| format!("a session: {e}"))?;
    let buffer =
        session.buffer(u64_of(PAGE), DOMAIN_GTT, 0).map_err(|e| format!("a buffer: {e}"))?;
    buffer.map.write(0, WORD);
    card.leave(Farewell::Unbind)?;

    let memory = File::open("/proc/self/mem").map_err(|e| format!("/proc/self/mem: {e}"))?;
    let debugger = memory.read_at(&mut [0; 4], buffer.map.addr());
    let seen = buffer.map.read(0);
    drop((buffer, session));
    card.come_back(Farewell::Unbind)?;
    match debugger {
        Ok(_) => Err("a debugger reads from a buffer of a device that is gone".into()),
        Err(_) if seen != 0 => Err(format!("the process sees {seen:#x}")),
        Err(e) => Ok(format!("{e}")),
    }
}

/// Leaves a process behind that keeps the card at work.
fn stay(card: &Card, n: usize) -> Outcome {
    let plan = Plan::endless(n);
    let node = card.node()?;
    Child::new(|report| holder::hold(&node, plan, report))?.hear::<1>()?;
    Ok(format!("{plan:?}"))
}
