// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Leftovers of a case: memory in use, of the card and of the machine, must be as it was.

use std::{
    fs,
    thread::sleep,
    time::Duration, //
};

use amdgpu_client::session::Session;

use crate::writer::say;

/// Lines of `/proc/vmstat`, and by how many pages each may have grown. A program's own heap is
/// among them, and what the kernel counts processor by processor.
const PAGES: [(&str, i64); 4] = [
    ("nr_anon_pages ", 512),
    ("nr_shmem ", 128),
    ("nr_page_table_pages ", 256),
    ("nr_writeback ", 128),
];
/// By how many pages those may have grown that are neither free nor in any of the kernel's
/// accounts, as a page is that somebody holds and nobody maps: the kernel has pools of pages, and a
/// debug kernel writes much down.
const LOST: i64 = 2048;
/// Lines of `/proc/meminfo` that say what memory is there for, in KiB.
const ACCOUNTS: [&str; 12] = [
    "MemFree:",
    "Active(anon):",
    "Inactive(anon):",
    "Active(file):",
    "Inactive(file):",
    "Unevictable:",
    "Slab:",
    "KernelStack:",
    "PageTables:",
    "SecPageTables:",
    "VmallocUsed:",
    "Percpu:",
];

/// Memory in use.
#[derive(Clone, Debug)]
pub struct InUse {
    /// Bytes of VRAM and of GTT.
    card: [u64; 2],
    /// As [`PAGES`].
    pages: [i64; PAGES.len()],
    /// As [`LOST`].
    lost: i64,
    /// Pages that are held for devices.
    pinned: i64,
}

impl InUse {
    /// As it is now.
    pub fn now(witness: &Session) -> Result<Self, String> {
        // Without caches, which come and go; and with all processors' counts added up.
        let _ = fs::write("/proc/sys/vm/drop_caches", "3");
        let _ = fs::read("/proc/sys/vm/stat_refresh");
        let read = |path: &str| fs::read_to_string(path).map_err(|e| format!("{path}: {e}"));
        let (vmstat, meminfo) = (read("/proc/vmstat")?, read("/proc/meminfo")?);
        let kib = |name: &str| number(&meminfo, name);
        let accounts: i64 = ACCOUNTS.iter().map(|name| kib(name)).sum();
        let (vram, gtt) = witness.usage().map_err(say("INFO MEMORY"))?;
        Ok(Self {
            card: [vram, gtt],
            pages: PAGES.map(|(name, _)| number(&vmstat, name)),
            lost: (kib("MemTotal:") - accounts) / 4 - set_aside(&read("/proc/zoneinfo")?),
            pinned: number(&vmstat, "nr_foll_pin_acquired ")
                - number(&vmstat, "nr_foll_pin_released "),
        })
    }

    /// Waits, for a short while, until no more is in use than there was.
    pub fn settles(witness: &Session, before: &Self) -> Result<(), String> {
        const TRIES: usize = 40;
        let mut growth = Vec::new();
        for _ in 0..TRIES {
            growth = Self::now(witness)?.beyond(before);
            if growth.is_empty() {
                return Ok(());
            }
            sleep(Duration::from_millis(50));
        }
        Err(format!("left over: {}", growth.join(", ")))
    }

    /// Lists all that has grown too much.
    fn beyond(&self, before: &Self) -> Vec<String> {
        let mut found = Vec::new();
        for (name, now, then) in
            [("VRAM", self.card[0], before.card[0]), ("GTT", self.card[1], before.card[1])]
        {
            if now > then {
                found.push(format!("{} bytes of {name}", now - then));
            }
        }
        let pages = PAGES.iter().zip(self.pages.iter().zip(before.pages));
        let pages = pages.map(|((name, bound), (now, then))| (*name, *bound, now - then));
        let others =
            [("lost", LOST, self.lost - before.lost), ("pinned", 0, self.pinned - before.pinned)];
        for (name, bound, growth) in pages.chain(others) {
            if growth > bound {
                found.push(format!("{growth} pages {name} (at most {bound})"));
            }
        }
        found
    }
}

/// The number that follows `name` at the start of a line; 0 where there is no such line.
fn number(text: &str, name: &str) -> i64 {
    let rest = text.lines().find_map(|line| line.strip_prefix(name));
    rest.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// Free pages that processors have set aside for themselves, as `/proc/zoneinfo` tells.
fn set_aside(zoneinfo: &str) -> i64 {
    let lines = zoneinfo.lines().filter_map(|line| line.trim().strip_prefix("count:"));
    lines.filter_map(|count| count.trim().parse::<i64>().ok()).sum()
}
