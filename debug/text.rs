// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Text of a limited length.
//!
//! The C driver prints its dumps with a `drm_coredump_printer`.

use core::fmt::Write;

use kernel::prelude::*;

/// Text whose memory is allocated in advance. What does not fit is cut off, and a mark says so.
pub(crate) struct BoundedText {
    bytes: VVec<u8>,
    /// Length from which on text is cut off.
    limit: usize,
}

impl BoundedText {
    const MARK: &[u8] = b"\n[cut off]\n";

    /// Allocates room for `limit` bytes, and for the mark.
    pub(crate) fn new(limit: usize) -> Result<Self> {
        let bytes = VVec::with_capacity(limit + Self::MARK.len(), GFP_KERNEL)?;
        Ok(Self { bytes, limit })
    }

    /// Removes the text, and keeps its memory.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
    }

    /// Returns the text.
    pub(crate) fn as_str(&self) -> &str {
        // Text is cut off anywhere, but of other characters than ASCII there are none.
        core::str::from_utf8(&self.bytes).unwrap_or("")
    }

    /// Returns the text in its memory.
    pub(crate) fn into_bytes(self) -> VVec<u8> {
        self.bytes
    }

    /// Adds bytes, for which there is room. Does not allocate.
    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            let _ = self.bytes.push_within_capacity(*byte);
        }
    }
}

impl Write for BoundedText {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        if self.bytes.len() > self.limit {
            return Err(core::fmt::Error);
        }
        let room = self.limit - self.bytes.len();
        let text = text.as_bytes();
        if text.len() <= room {
            self.add(text);
            return Ok(());
        }
        self.add(&text[..room]);
        self.add(Self::MARK);
        Err(core::fmt::Error)
    }
}

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
#[kunit_tests(amdgpu_rs_text)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_cut_off() -> Result {
        let mut text = BoundedText::new(8)?;
        assert!(text.write_str("1234567").is_ok());
        assert!(text.write_str("8").is_ok());
        assert_eq!(text.as_str(), "12345678");
        assert!(text.write_str("9").is_err());
        assert_eq!(text.as_str(), "12345678\n[cut off]\n");
        assert!(text.write_str("").is_err());
        text.clear();
        assert!(text.write_str("a longer one").is_err());
        assert_eq!(&*text.into_bytes(), b"a longer\n[cut off]\n");
        Ok(())
    }
}
