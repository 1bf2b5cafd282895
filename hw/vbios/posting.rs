// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Posting: initialization of a card by its video BIOS (the C driver's `amdgpu_atom_asic_init`).
//!
//! After power-on a card has no memory clock, no trained memory controller, and knows neither where
//! its VRAM is nor how large. `ASIC_Init`, a command table of the video BIOS, does all that.

use kernel::{
    device,
    io::Io,
    new_mutex,
    prelude::*,
    sync::Mutex,
    time::{
        delay::fsleep,
        Delta, //
    },
};

use super::Vbios;
use crate::hw::{
    atom::{
        image::Image,
        Budget,
        Bus,
        Machine,
        Memory,
        RegisterSet,
        SCRATCH,
        WORKSPACE, //
    },
    card::Card, //
};

/// Time that a card may take. Posting takes less than a second, most of it in delays.
const BUDGET: Budget = Budget {
    steps: 10_000_000,
    wait: 20_000_000,
};

/// Memory for the machine that runs `ASIC_Init`.
///
/// It is allocated when the image is read: the reset of a card that hangs posts it again, and
/// reclaim may wait for that.
pub(super) struct Workplace(Pin<KBox<Mutex<Buffers>>>);

struct Buffers {
    workspace: KVVec<u32>,
    scratch: KVVec<u32>,
}

impl Workplace {
    /// Allocates the memory for an image.
    pub(super) fn new(image: &[u8]) -> Result<Self> {
        let scratch = Image(image).scratch().unwrap_or(SCRATCH);
        let space = Buffers {
            workspace: KVVec::from_elem(0, WORKSPACE, GFP_KERNEL)?,
            scratch: KVVec::from_elem(0, scratch, GFP_KERNEL)?,
        };
        let space = new_mutex!(space, "Workplace");
        Ok(Self(KBox::pin_init(space, GFP_KERNEL)?))
    }
}

impl Vbios {
    /// Runs `ASIC_Init`. Logs any failure. Sleeps, and does not allocate.
    pub(crate) fn post(&self, dev: &device::Device, card: &Card<'_>) -> Result {
        let mut space = self.workplace.0.lock();
        let Buffers { workspace, scratch } = &mut *space;
        workspace.fill(0);
        scratch.fill(0);
        let memory = Memory { workspace, scratch };
        let mut bus = CardBus(card);
        let clocks = [self.clocks.engine, self.clocks.memory];
        let run = Machine::new(&self.image, &mut bus, memory, BUDGET).and_then(|mut machine| {
            machine.run(Machine::ASIC_INIT, &clocks)?;
            Ok(BUDGET.steps - machine.budget().steps)
        });
        match run {
            Ok(steps) => {
                dev_dbg!(dev, "ASIC_Init took {steps} steps\n");
                Ok(())
            }
            Err(fault) => {
                dev_err!(
                    dev,
                    "ASIC_Init of the video BIOS (VBIOS) is not usable: {:?} at {:#x}\n",
                    fault.what,
                    fault.at
                );
                Err(EINVAL)
            }
        }
    }
}

/// A card as command tables see it.
struct CardBus<'a>(&'a Card<'a>);

/// Returns the offset of a register in bytes.
fn offset(register: u32) -> Option<usize> {
    let register = usize::try_from(register).ok()?;
    register.checked_mul(size_of::<u32>())
}

/// As in the C driver, clock generators and memory controller have no registers of this kind.
/// Registers behind the end of the register BAR do not exist either.
impl Bus for CardBus<'_> {
    fn read(&mut self, space: RegisterSet, register: u32) -> u32 {
        match space {
            RegisterSet::Mmio => offset(register)
                .and_then(|offset| self.0.regs().try_read32(offset).ok())
                .unwrap_or(0),
            RegisterSet::Pll | RegisterSet::Mc => 0,
        }
    }

    fn write(&mut self, space: RegisterSet, register: u32, value: u32) {
        if let (RegisterSet::Mmio, Some(offset)) = (space, offset(register)) {
            let _ = self.0.regs().try_write32(value, offset);
        }
    }

    fn delay(&mut self, microseconds: u32) {
        fsleep(Delta::from_micros(microseconds.into()));
    }

    fn pause(&mut self) {
        fsleep(Delta::from_micros(20));
    }
}

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
#[kunit_tests(amdgpu_rs_vbios_posting)]
mod tests {
    use kernel::faux;

    use super::*;
    use crate::hw::{
        fake::{
            write,
            Effect, //
        },
        vbios::{
            Clocks,
            RomSource, //
        }, //
    };

    const SCRATCH_7: usize = 0x5d0 * 4;

    /// Returns a video BIOS whose ASIC_Init has this code.
    fn vbios(code: &[u8]) -> Result<Vbios> {
        let mut image = KVVec::from_elem(0, 0x200, GFP_KERNEL)?;
        let mut put = |offset: usize, bytes: &[u8]| {
            image[offset..offset + bytes.len()].copy_from_slice(bytes);
        };
        put(0x48, &[0x80]);
        put(0x84, b"ATOM");
        put(0x9e, &[0xc0, 0, 0xe0, 0]);
        put(0xc4, &[0x00, 0x01]);
        put(0x106, code);
        Ok(Vbios {
            workplace: Workplace::new(&image)?,
            image,
            source: RomSource::Bar,
            clocks: Clocks {
                engine: 80_000,
                memory: 120_000,
                reference: 2_700,
            },
        })
    }

    fn post(code: &[u8], expected: &[Effect]) -> Result {
        let card = Card::fake(&[(SCRATCH_7, 1)])?;
        let dev = faux::Registration::new(c"amdgpu_rs_posting", None)?;
        let result = vbios(code)?.post(dev.as_ref().as_ref(), &card);
        assert!(card.saw(expected));
        result
    }

    #[test]
    fn registers_are_read_and_written() -> Result {
        // SCRATCH_7 |= 0x200, a clock generator's register := 1, REG[8] := PS[1].
        let code = [
            &[0x0d, 0x05, 0xd0, 0x05, 0x00, 0x02, 0x00, 0x00][..],
            &[0x05, 0x05, 0x01, 0x01, 0x00, 0x00, 0x00],
            &[0x01, 0x01, 0x08, 0x00, 0x01, 0x5b],
        ];
        let mut all = KVec::new();
        for part in code {
            all.extend_from_slice(part, GFP_KERNEL)?;
        }
        post(&all, &[write(SCRATCH_7, 0x201), write(8 * 4, 120_000)])
    }

    #[test]
    fn registers_behind_the_last_do_not_exist() -> Result {
        // REG[0xffff + 0xffff] := 1, and what it is then to REG[8].
        let code = [
            0x3a, 0xff, 0xff, 0x01, 0x05, 0xff, 0xff, 0x01, 0, 0, 0, 0x02, 0x00, 0x00, 0xff, 0xff,
            0x3a, 0x00, 0x00, 0x01, 0x01, 0x08, 0x00, 0x00, 0x5b,
        ];
        post(&code, &[write(8 * 4, 0)])
    }

    #[test]
    fn a_fault_is_an_error() {
        assert_eq!(post(&[0xff], &[]), Err(EINVAL));
        // The end of the image.
        assert_eq!(post(&[0x43, 0xff, 0xff], &[]), Err(EINVAL));
    }
}
