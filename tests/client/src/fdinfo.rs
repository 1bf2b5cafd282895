// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The kernel's account of an open file in `/proc/self/fdinfo`, as monitors read it.

use crate::drm::File;
use std::collections::BTreeMap;
use std::fs;

/// The keys and values of one reading.
#[derive(Debug)]
pub struct Fdinfo(BTreeMap<String, String>);

impl Fdinfo {
    /// Reads what is known of `file`.
    ///
    /// # Errors
    ///
    /// In words.
    pub fn of(file: &File) -> Result<Self, String> {
        let path = format!("/proc/self/fdinfo/{}", file.fd());
        let text = fs::read_to_string(&path).map_err(|e| format!("{path}: {e}"))?;
        Ok(Self::parse(&text))
    }

    fn parse(text: &str) -> Self {
        let pair = |line: &str| {
            let (key, value) = line.split_once(':')?;
            Some((key.trim().to_owned(), value.trim().to_owned()))
        };
        Self(text.lines().filter_map(pair).collect())
    }

    /// The value of a key.
    ///
    /// # Errors
    ///
    /// In words, if there is no such key.
    pub fn text(&self, key: &str) -> Result<&str, String> {
        self.0.get(key).map(String::as_str).ok_or_else(|| format!("there is no {key}"))
    }

    /// Time of an engine, in nanoseconds. A driver may leave out an engine that has done nothing.
    ///
    /// # Errors
    ///
    /// In words, if it is no number of nanoseconds.
    pub fn engine_ns(&self, engine: &str) -> Result<u64, String> {
        match self.0.get(&format!("drm-engine-{engine}")) {
            None => Ok(0),
            Some(text) => number(text, &[(" ns", 1)]),
        }
    }

    /// A size, in bytes.
    ///
    /// # Errors
    ///
    /// In words, if there is no such key, or its value is no size.
    pub fn bytes(&self, key: &str) -> Result<u64, String> {
        number(self.text(key)?, &[(" KiB", 1 << 10), (" MiB", 1 << 20), ("", 1)])
    }
}

/// The number before one of some units, times that unit.
fn number(text: &str, units: &[(&str, u64)]) -> Result<u64, String> {
    let bad = || format!("'{text}' is no number with a unit");
    let of = |(unit, times): &(&str, u64)| {
        Some(text.strip_suffix(unit)?.parse::<u64>().ok()?.checked_mul(*times))
    };
    units.iter().find_map(of).flatten().ok_or_else(bad)
}

#[cfg(test)]
mod tests {
    use super::Fdinfo;

    #[test]
    fn values_have_units() {
        let text = "pos:\t0\ndrm-driver:\tamdgpu\ndrm-engine-gfx:\t17 ns\n\
                    drm-total-vram:\t4 KiB\ndrm-total-gtt: 2 MiB\ndrm-total-cpu:\t0\nbad: 1 s\n";
        let info = Fdinfo::parse(text);
        assert_eq!(info.text("drm-driver"), Ok("amdgpu"));
        assert!(info.text("drm-pdev").is_err());
        assert_eq!(info.engine_ns("gfx"), Ok(17));
        assert_eq!(info.engine_ns("dma"), Ok(0));
        assert_eq!(info.bytes("drm-total-vram"), Ok(4 << 10));
        assert_eq!(info.bytes("drm-total-gtt"), Ok(2 << 20));
        assert_eq!(info.bytes("drm-total-cpu"), Ok(0));
        assert!(info.bytes("bad").is_err());
        assert!(info.bytes("drm-driver").is_err());
    }
}
