// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The ACPI table VFCT, in which a UEFI firmware hands over the video BIOSes of the cards that it
//! has used (`UEFI_ACPI_VFCT` and `VFCT_IMAGE_HEADER` in the C driver's `atombios.h`).
//!
//! The table is a header, and then images, each after a header that names its card. The firmware
//! wrote it for the bus numbers of its own time, which the kernel may have changed since.

use core::ops::Range;

use kernel::num::casts::u32_as_usize;

use crate::hw::atom::image::Image;

/// Bytes of the header of an image.
const HEADER: usize = 28;

/// A card as the table names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BoardId {
    /// PCI bus number.
    pub(super) bus: u32,
    /// Device and function on the bus.
    pub(super) slot: (u32, u32),
    /// PCI vendor and device.
    pub(super) id: (u16, u16),
}

impl BoardId {
    /// Returns true if these are the same, but for the bus.
    fn is_like(&self, other: &Self) -> bool {
        (self.slot, self.id) == (other.slot, other.id)
    }
}

/// Returns the place of a card's image in the table. That on the card's own bus is preferred; one
/// for another bus counts if no second is like it.
pub(super) fn find(table: &[u8], card: BoardId) -> Option<Range<usize>> {
    let mut like = images(table).filter(|(other, _)| other.is_like(&card));
    if let Some((_, image)) = images(table).find(|(other, _)| *other == card) {
        return Some(image);
    }
    let (_, image) = like.next()?;
    like.next().is_none().then_some(image)
}

/// Returns the images of a table, up to the first that is not whole.
fn images(table: &[u8]) -> impl Iterator<Item = (BoardId, Range<usize>)> + '_ {
    /// Offset of the offset of the first image.
    const FIRST: usize = 0x34;

    let table = Image(table);
    let mut next = table.dword(FIRST).map(u32_as_usize);
    core::iter::from_fn(move || {
        let at = next.take()?;
        let card = BoardId {
            bus: table.dword(at)?,
            slot: (table.dword(at.checked_add(4)?)?, table.dword(at + 8)?),
            id: (table.word(at + 12)?, table.word(at + 14)?),
        };
        let start = at + HEADER;
        let end = start.checked_add(u32_as_usize(table.dword(at + 24)?))?;
        // An image of no bytes would be found for ever.
        if end > table.0.len() || end == start {
            return None;
        }
        next = Some(end);
        Some((card, start..end))
    })
}

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
#[kernel::prelude::kunit_tests(amdgpu_rs_vbios_vfct)]
mod tests {
    use super::*;
    use kernel::prelude::*;

    const CARD: BoardId = BoardId {
        bus: 3,
        slot: (2, 1),
        id: (0x1002, 0x6658),
    };

    /// Returns a table with an image of `length` bytes for each card.
    fn table(cards: &[BoardId], length: u32) -> Result<KVec<u8>> {
        let mut table = KVec::from_elem(0, 0x4c, GFP_KERNEL)?;
        table[0x34] = 0x4c;
        for card in cards {
            for value in [card.bus, card.slot.0, card.slot.1] {
                table.extend_from_slice(&value.to_le_bytes(), GFP_KERNEL)?;
            }
            for value in [card.id.0, card.id.1] {
                table.extend_from_slice(&value.to_le_bytes(), GFP_KERNEL)?;
            }
            table.extend_from_slice(&[0; 8], GFP_KERNEL)?;
            table.extend_from_slice(&length.to_le_bytes(), GFP_KERNEL)?;
            table.extend_from_slice(
                &KVec::from_elem(0xaa, u32_as_usize(length), GFP_KERNEL)?,
                GFP_KERNEL,
            )?;
        }
        Ok(table)
    }

    #[test]
    fn the_bus_decides() -> Result {
        let other_bus = BoardId { bus: 7, ..CARD };
        let other_slot = BoardId {
            slot: (0, 0),
            ..CARD
        };
        let other_id = BoardId {
            id: (0x1002, 0x67b0),
            ..CARD
        };
        let cases: [(&[BoardId], Option<usize>); 6] = [
            (&[], None),
            (&[other_slot, other_id], None),
            (&[other_slot, CARD], Some(1)),
            (&[other_bus, CARD], Some(1)),
            (&[other_slot, other_bus], Some(1)),
            // Two of them, on buses with other numbers: which is it?
            (&[other_bus, BoardId { bus: 9, ..CARD }], None),
        ];
        for (cards, number) in cases {
            let table = table(cards, 100)?;
            let expected = number.map(|n| {
                let start = 0x4c + n * (HEADER + 100) + HEADER;
                start..start + 100
            });
            assert_eq!(find(&table, CARD), expected);
        }
        Ok(())
    }

    #[test]
    fn broken_tables() -> Result {
        let whole = table(&[CARD], 100)?;
        for length in 0..whole.len() {
            assert_eq!(find(&whole[..length], CARD), None);
        }
        assert_eq!(find(&table(&[CARD], 0)?, CARD), None);
        // Offsets and lengths that are beyond everything.
        for at in [0x34, 0x4c + 24] {
            let mut bad = table(&[CARD], 100)?;
            bad[at..at + 4].copy_from_slice(&u32::MAX.to_le_bytes());
            assert_eq!(find(&bad, CARD), None);
        }
        Ok(())
    }
}
