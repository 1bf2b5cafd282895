// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Errors of the PCI bus that there are not: the kernel's `aer_inject` has the port above a card
//! report them. The recovery that follows is the real one, with a reset of the bus where it is due.

use std::{
    fs::OpenOptions,
    io::Write,
    path::Path,
    process::Command, //
};

/// Kinds of errors, each by one that PCI Express knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BusError {
    /// A completion that did not come. The link goes on working.
    NonFatal,
    /// An error of the data link's protocol. The link has to be reset.
    Fatal,
}

impl BusError {
    /// The bit of the error in the register of errors that cannot be corrected.
    const fn bit(self) -> u32 {
        match self {
            Self::NonFatal => 1 << 14,
            Self::Fatal => 1 << 4,
        }
    }

    /// Has it reported for the card in a slot, `DOMAIN:BUS:DEVICE.FUNCTION`. Returns before the
    /// drivers are told.
    ///
    /// # Errors
    ///
    /// As text: the card is behind no port that reports errors, or the kernel lacks the module.
    pub fn report(self, slot: &str) -> Result<(), String> {
        const FILE: &str = "/dev/aer_inject";
        if !Path::new(FILE).exists() {
            let loaded = Command::new("modprobe").arg("aer_inject").status();
            loaded.map_err(|e| format!("modprobe: {e}"))?;
        }
        let request = self.request(slot).ok_or_else(|| format!("what slot is {slot}?"))?;
        OpenOptions::new()
            .write(true)
            .open(FILE)
            .and_then(|mut file| file.write_all(&request))
            .map_err(|e| format!("{FILE}: {e}"))
    }

    /// `struct aer_error_inj`
    fn request(self, slot: &str) -> Option<Vec<u8>> {
        let (rest, function) = slot.split_once('.')?;
        let mut parts = rest.split(':');
        let hex = |text: &str| u32::from_str_radix(text, 16).ok();
        let mut number = || hex(parts.next()?);
        let (domain, bus, device, function) = (number()?, number()?, number()?, hex(function)?);
        let byte = |number: u32| u8::try_from(number).ok();
        let mut request = vec![byte(bus)?, byte(device)?, byte(function)?, 0];
        // What cannot be corrected, what can, four words of the packet's header, the domain.
        for word in [self.bit(), 0, 0, 0, 0, 0, domain] {
            request.extend(word.to_ne_bytes());
        }
        Some(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_name_the_slot() {
        let request = BusError::Fatal.request("0001:0a:1f.7").unwrap();
        assert_eq!(request.len(), 32);
        assert_eq!(request[..4], [0x0a, 0x1f, 7, 0]);
        assert_eq!(request[4..8], 0x10_u32.to_ne_bytes());
        assert_eq!(request[28..], 1_u32.to_ne_bytes());
        for slot in ["", "0000:10.0", "0000:00:10", "0000:100:10.0", "x:00:10.0"] {
            assert_eq!(BusError::Fatal.request(slot), None, "{slot}");
        }
    }
}
