// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Switches of strictness. Where hardware may do this or that, or nobody knows what it does, the
//! model is as unkind as it can be, by default: `--kind NAME` takes one such rule back. What a
//! driver known to work does not survive is off by default: `--strict NAME` asks for it.
//! `docs/model.md` says of each why.

use std::collections::BTreeSet;

macro_rules! rules {
    ($($(#[doc = $help:literal])* $rule:ident = $name:literal, $default:literal;)*) => {
        /// A rule that can be switched.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Rule {
            $($(#[doc = $help])* $rule,)*
        }

        /// Each rule with its name, whether it is on by default, and its help.
        const ALL: &[(Rule, &str, bool, &str)] =
            &[$((Rule::$rule, $name, $default, concat!($($help),*))),*];
    };
}

rules! {
    /// Compute vectors may lack the queue's number, as the seed decides.
    EopQueue = "eop-queue", false;
    /// The kernel's system pages are snooped.
    Snoop = "snoop", true;
    /// Users' system pages are snooped, also where the kernel copies them.
    SnoopUsers = "snoop-users", false;
    /// The low bits of an address in a fragment are those of the page, not of the entry.
    FragmentBase = "fragment-base", false;
    /// A TLB flush by a packet takes effect when its engine reads it back.
    TlbDelay = "tlb-delay", true;
    /// Blocks are busy, and queues active, for some reads.
    Busy = "busy", true;
    /// Command processors need the C driver's delays, or half of them.
    Delays = "delays", false;
    /// The graphics front end fetches commands ahead.
    Prefetch = "prefetch", true;
    /// With strict HDP the host may see old bytes until it invalidates.
    HdpReads = "hdp-reads", true;
    /// The HDP flush of a packet takes a few reads.
    HdpDelay = "hdp-delay", true;
    /// The PCI configuration reset works only while firmware runs on the SMC.
    ConfigReset = "config-reset", false;
    /// The PCI configuration reset loses what is in VRAM.
    ResetVram = "reset-vram", false;
    /// A soft reset of the graphics block disables the interrupts of the command processors.
    ResetInterrupts = "reset-interrupts", false;
    /// CP DMA that nothing waits for lands after the end of the pipe.
    LateDma = "late-dma", true;
    /// A halted engine's writes land for some time.
    LateHalt = "late-halt", true;
    /// A halted compute engine takes no queue off.
    HaltedDequeue = "halted-dequeue", false;
    /// A compute engine may not be halted with queues active.
    LeftActive = "left-active", false;
    /// Compute queues may execute the packet in their descriptor, as the seed decides.
    Preload = "preload", true;
}

/// Rules that are on.
#[derive(Clone, Debug)]
pub struct Strictness(BTreeSet<Rule>);

impl Default for Strictness {
    fn default() -> Self {
        Strictness(ALL.iter().filter(|r| r.2).map(|r| r.0).collect())
    }
}

impl Strictness {
    /// Returns true if a rule is on.
    pub fn has(&self, rule: Rule) -> bool {
        self.0.contains(&rule)
    }

    /// Switches the rule called `name`, or with `all` every one, on or off.
    pub fn switch(&mut self, name: &str, on: bool) -> Result<(), String> {
        let named: Vec<Rule> =
            ALL.iter().filter(|r| name == "all" || r.1 == name).map(|r| r.0).collect();
        if named.is_empty() {
            return Err(format!("no rule of strictness is called `{name}`; see --help"));
        }
        for rule in named {
            if on {
                self.0.insert(rule);
            } else {
                self.0.remove(&rule);
            }
        }
        Ok(())
    }

    /// A line for each rule.
    pub fn help() -> String {
        let line = |(_, name, on, help): &(Rule, &str, bool, &str)| {
            format!("  {name:<15}{}  {}\n", if *on { "on " } else { "off" }, help.trim())
        };
        ALL.iter().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_switched_by_name() {
        let mut s = Strictness::default();
        for (rule, name, default, _) in ALL {
            assert_eq!(s.has(*rule), *default, "{name}");
            s.switch(name, !default).unwrap();
            assert_eq!(s.has(*rule), !default, "{name}");
        }
        s.switch("all", true).unwrap();
        assert!(ALL.iter().all(|r| s.has(r.0)));
        assert!(s.switch("gravity", true).is_err());
    }
}
