// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Metadata that user space stores with a buffer object (BO) for its other users: `GEM_METADATA`
//! (`amdgpu_bo_set_metadata` in the C driver).

use kernel::prelude::*;

use crate::bindings;

/// Bytes from user space, in the words of the ioctl's structure.
///
/// # Invariants
///
/// `size` is at most the size of `words`, whose bytes beyond `size` are 0: the caller of the ioctl
/// did not mean to share those.
#[derive(Clone, Copy)]
pub(crate) struct Words {
    size: u32,
    words: [u32; Self::COUNT],
}

impl Words {
    const COUNT: usize = 64;
    const NONE: Self = Self {
        size: 0,
        words: [0; Self::COUNT],
    };

    /// Takes the first `size` bytes of `words`.
    ///
    /// # Errors
    ///
    /// `EINVAL` if there are fewer bytes.
    pub(crate) fn first(size: u32, words: &[u32; Self::COUNT]) -> Result<Self> {
        if usize::try_from(size)? > size_of_val(words) {
            return Err(EINVAL);
        }
        let mut taken = Self { size, ..Self::NONE };
        taken.words = core::array::from_fn(|n| words[n] & taken.mask(n));
        // INVARIANT: The masks have cleared the bytes beyond `size`.
        Ok(taken)
    }

    /// Returns the number of bytes.
    pub(crate) fn size(&self) -> u32 {
        self.size
    }

    /// Overwrites the first `size` bytes of `words`.
    pub(crate) fn copy_to(&self, words: &mut [u32; Self::COUNT]) {
        for (n, word) in words.iter_mut().enumerate() {
            *word = self.words[n] | *word & !self.mask(n);
        }
    }

    /// Returns the mask of the bits of word `n` that are within `size`.
    fn mask(&self, n: usize) -> u32 {
        let bytes = usize::try_from(self.size).map_or(0, |size| {
            size.saturating_sub(n * size_of::<u32>())
                .min(size_of::<u32>())
        });
        let mut mask = [0; size_of::<u32>()];
        mask[..bytes].fill(u8::MAX);
        u32::from_ne_bytes(mask)
    }
}

/// A few words that user space shares with a BO.
#[derive(Clone, Copy)]
pub(crate) struct Metadata {
    pub(crate) tiling: u64,
    pub(crate) flags: u64,
    pub(crate) data: Words,
}

impl Metadata {
    pub(super) const NONE: Self = Self {
        tiling: 0,
        flags: 0,
        data: Words::NONE,
    };

    /// Stores how the BO is tiled.
    pub(crate) fn set_tiling(&mut self, tiling: u64) -> Result {
        const SHIFT: u32 = bindings::AMDGPU_TILING_TILE_SPLIT_SHIFT;
        const MASK: u64 = bindings::AMDGPU_TILING_TILE_SPLIT_MASK as u64;
        const LARGEST_SPLIT: u64 = 6;

        if (tiling >> SHIFT) & MASK > LARGEST_SPLIT {
            return Err(EINVAL);
        }
        self.tiling = tiling;
        Ok(())
    }

    /// Stores `data` and `flags`; with no data the flags stay unchanged.
    pub(crate) fn set(&mut self, flags: u64, data: Words) {
        if data.size() != 0 {
            self.flags = flags;
        }
        self.data = data;
    }
}

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
#[kunit_tests(amdgpu_rs_metadata)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_kept_and_forgotten() -> Result {
        let mut metadata = Metadata::NONE;
        assert_eq!(metadata.set_tiling(7 << 9), Err(EINVAL));
        assert_eq!(metadata.tiling, 0);
        assert_eq!(metadata.set_tiling(6 << 9), Ok(()));
        assert_eq!(metadata.tiling, 6 << 9);

        metadata.set(3, Words::first(8, &[5; 64])?);
        assert_eq!((metadata.flags, metadata.data.size()), (3, 8));
        metadata.set(4, Words::first(0, &[6; 64])?);
        assert_eq!((metadata.flags, metadata.data.size()), (3, 0));
        Ok(())
    }

    #[test]
    fn only_the_bytes_that_were_meant_are_kept() -> Result {
        let given = [u32::from_ne_bytes([1, 2, 3, 4]); 64];
        let mut seen = [u32::MAX; 64];
        Words::first(6, &given)?.copy_to(&mut seen);
        assert_eq!(seen[0].to_ne_bytes(), [1, 2, 3, 4]);
        assert_eq!(seen[1].to_ne_bytes(), [1, 2, 0xff, 0xff]);
        assert_eq!(seen[2], u32::MAX);

        let mut zeros = [0; 64];
        Words::first(6, &given)?.copy_to(&mut zeros);
        assert_eq!(zeros[1].to_ne_bytes(), [1, 2, 0, 0]);
        assert!(zeros[2..].iter().all(|word| *word == 0));

        Words::first(256, &given)?.copy_to(&mut seen);
        assert_eq!(seen, given);
        assert!(matches!(Words::first(257, &given), Err(e) if e == EINVAL));
        Ok(())
    }
}
