// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The number of times that a race must be hit, and the checks after each go of it.

use std::time::{
    Duration,
    Instant, //
};

use amdgpu_client::{
    report::Outcome,
    session::Session,
    stats::Stats, //
};

use crate::{
    Case,
    leftovers::InUse,
    setting::{
        Answer,
        NOT_HIT,
        Seen,
        Setting, //
    }, //
};

/// Number of times that a race must be hit, and the limit at which that is given up.
pub struct Goal {
    rounds: u64,
    limit: Limit,
}

/// Limit of a race. A hit is luck, and on a machine that does much else it takes longer; but it
/// must come.
enum Limit {
    Goes(usize),
    Time(Duration),
}

impl Limit {
    fn is_reached(&self, goes: usize, time: Duration) -> bool {
        match *self {
            Self::Goes(most) => goes >= most,
            Self::Time(most) => time >= most,
        }
    }
}

impl Goal {
    /// By default once, in some tries.
    pub fn new(rounds: Option<u64>, most: Option<Duration>) -> Self {
        const TRIES: usize = 8;
        Self { rounds: rounds.unwrap_or(1), limit: most.map_or(Limit::Goes(TRIES), Limit::Time) }
    }

    /// Runs a case again and again until it has reached the goal.
    ///
    /// # Errors
    ///
    /// What went wrong; that the goal was not reached, and how much of it was.
    pub fn reach(&self, setting: &Setting, case: Case) -> Outcome {
        let began = Instant::now();
        let (mut hit, mut goes) = (0, 0);
        loop {
            let last = go(setting, case);
            let time = began.elapsed();
            let seen = |hit: u64| format!("{hit} rounds hit in {:.1} s", time.as_secs_f64());
            let last = last.map_err(|why| format!("{}, and then: {why}", seen(hit)))?;
            hit += last.hit;
            goes += 1;
            let seen = seen(hit);
            if hit >= self.rounds {
                return Ok(format!("{seen}; {}", last.said));
            }
            if self.limit.is_reached(goes, time) {
                let Self { rounds, .. } = self;
                return Err(format!("{seen}, not {rounds} ({goes} times); {}", last.said));
            }
        }
    }
}

/// Runs a case once. Nothing was hit if the driver never had to wait for a job.
fn go(setting: &Setting, case: Case) -> Answer {
    let before = setting.stats();
    match watched(setting, case) {
        Err(why) if why.starts_with(NOT_HIT) => Ok(Seen { hit: 0, said: why }),
        Ok(seen) if setting.stats().since(before).waits.0 == Some(0) => {
            let said = format!("{}: but the driver never had to wait for a job", seen.said);
            Ok(Seen { hit: 0, said })
        }
        answer => answer,
    }
}

/// Runs a case, and looks at what it leaves behind.
///
/// # Errors
///
/// What went wrong, or is left over.
pub fn watched(setting: &Setting, case: Case) -> Answer {
    let witness = Session::open(&setting.node).map_err(|e| format!("a session: {e}"))?;
    let before = InUse::now(&witness)?;
    let counted = setting.stats();
    let Seen { hit, said } = case(setting)?;
    let counted = setting.stats().since(counted);
    witness.prove_alive(setting.engine)?;
    InUse::settles(&witness, &before)?;
    let Stats { invalidations, waits, retries, .. } = counted;
    let said = format!("{said} ({invalidations} invalidations, {waits} waits, {retries} retries)");
    Ok(Seen { hit, said })
}
