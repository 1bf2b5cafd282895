// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Names and defined bits of the registers, from `names.tsv`: dword index, name, and the union of
//! the field masks (`-` where the headers define no field), as the kernel's headers `bif_4_1`,
//! `gfx_7_2`, `gmc_7_1` and `oss_2_0` have them, with those of `smu_7_0_1` and `dce_8_0` that the
//! C driver touches. Names with an index in them stand for registers that the driver writes and no
//! header names. A register that is not in the table does not exist for the model.

use std::sync::OnceLock;

use super::COUNT;

const TABLE: &str = include_str!("names.tsv");

struct Entry {
    name: &'static str,
    bits: u32,
}

fn table() -> &'static [Option<Entry>] {
    static PARSED: OnceLock<Vec<Option<Entry>>> = OnceLock::new();
    PARSED.get_or_init(|| {
        let mut t: Vec<Option<Entry>> = (0..COUNT).map(|_| None).collect();
        for line in TABLE.lines() {
            let mut f = line.split('\t');
            let (Some(i), Some(name), Some(bits)) = (f.next(), f.next(), f.next()) else {
                continue;
            };
            let Ok(i) = usize::from_str_radix(i, 16) else { continue };
            let bits = u32::from_str_radix(bits, 16).unwrap_or(!0) | beyond_headers(name);
            t[i] = Some(Entry { name, bits });
        }
        t
    })
}

/// Bits that the C driver writes although the headers define no field there.
fn beyond_headers(name: &str) -> u32 {
    match name {
        "MC_VM_AGP_BOT" | "MC_VM_AGP_TOP" => 0x03fc_0000,
        // Takes the value of GB_ADDR_CONFIG.
        "DMIF_ADDR_CALC" => 0x0201_1003,
        // Written with the same constant for every compute unit.
        _ if name.starts_with("CGTS_CU") && name.ends_with("_TA_CTRL_REG") => 0x0004_0000,
        _ => 0,
    }
}

fn entry(reg: u32) -> Option<&'static Entry> {
    table().get(reg as usize)?.as_ref()
}

/// The vendor's name of a register.
pub fn name(reg: u32) -> Option<&'static str> {
    entry(reg).map(|e| e.name)
}

/// Returns true if the register exists.
pub fn is_known(reg: u32) -> bool {
    entry(reg).is_some()
}

/// The bits that may be written: those that the headers define, all where they define none.
pub fn defined_bits(reg: u32) -> u32 {
    entry(reg).map_or(0, |e| e.bits)
}

/// The name, or the index where there is none.
pub fn label(reg: u32) -> String {
    name(reg).map_or_else(|| format!("reg_{reg:04x}"), str::to_owned)
}

/// The index of the register called `wanted`.
pub fn index_of(wanted: &str) -> Option<u32> {
    let at = table().iter().position(|e| e.as_ref().is_some_and(|e| e.name == wanted))?;
    u32::try_from(at).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_both_ways() {
        assert_eq!(name(0xc040), Some("SCRATCH_REG0"));
        assert_eq!(index_of("VM_INVALIDATE_REQUEST"), Some(0x51e));
        assert_eq!(name(0xffff), None);
        assert_eq!(label(0xffff), "reg_ffff");
    }

    #[test]
    fn the_table_is_whole() {
        assert_eq!(TABLE.lines().count(), table().iter().flatten().count());
    }
}
