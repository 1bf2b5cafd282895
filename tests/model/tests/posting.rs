// SPDX-License-Identifier: GPL-2.0 OR MIT
//! A card that is not posted, and the ROM's ASIC_Init. Here it is run by the driver's interpreter,
//! the only part of the driver that runs without a kernel.

mod bench;

use amdgpu_model::{
    config::Config,
    gpu::Gpu, //
};
use bench::*;

#[rustfmt::skip]
#[allow(dead_code, clippy::all, reason = "the driver's, which has lints of its own")]
#[path = "../../../hw"]
mod hw {
    pub(crate) mod atom;
}

use hw::atom::{
    Budget,
    Bus,
    Cause,
    Fault,
    Machine,
    Memory,
    RegisterSet,
    SCRATCH,
    WORKSPACE, //
};

struct Card<'a>(&'a mut Gpu);

impl Bus for Card<'_> {
    fn read(&mut self, space: RegisterSet, register: u32) -> u32 {
        if space == RegisterSet::Mmio { self.0.reg_read(register) } else { 0 }
    }
    fn write(&mut self, space: RegisterSet, register: u32, value: u32) {
        if space == RegisterSet::Mmio {
            self.0.reg_write(register, value);
        }
    }
    fn delay(&mut self, _: u32) {}
}

fn config(faults: &[&str]) -> Config {
    let mut c = Config { vram: 64 << 20, visible: 64 << 20, ..Config::default() };
    faults.iter().for_each(|f| c.inject.add(f).unwrap());
    c
}

fn post(gpu: &mut Gpu, rom: &[u8]) -> Result<(), Fault> {
    let (mut workspace, mut scratch) = (vec![0; WORKSPACE], vec![0; SCRATCH]);
    let memory = Memory { workspace: &mut workspace, scratch: &mut scratch };
    let mut card = Card(gpu);
    let budget = Budget { steps: 100_000, wait: 1_000_000 };
    Machine::new(rom, &mut card, memory, budget)?.run(Machine::ASIC_INIT, &[70_000, 150_000])
}

fn is_posted(gpu: &Gpu) -> bool {
    gpu.peek(reg("BIOS_SCRATCH_7")) & 0x200 != 0
}

/// The registers in which a card that is posted differs from one that is not.
const SET: [&str; 7] = [
    "CONFIG_MEMSIZE",
    "MC_VM_FB_LOCATION",
    "MC_ARB_RAMCFG",
    "MC_SHARED_CHMAP",
    "MC_SEQ_MISC0",
    "BIF_FB_EN",
    "MPLL_CNTL_MODE",
];

#[test]
fn asic_init_makes_of_a_cold_card_one_that_is_posted() {
    for odd in [false, true] {
        let posted = Gpu::new(Config { odd, ..config(&[]) }).unwrap();
        let mut gpu = Gpu::new(Config { odd, ..config(&["not-posted"]) }).unwrap();
        for name in SET {
            assert_ne!(gpu.peek(reg(name)), posted.peek(reg(name)), "{name}");
        }
        gpu.vram().write_u32(VRAM_DATA, 1);
        let rom = gpu.rom().to_vec();
        post(&mut gpu, &rom).unwrap();
        assert_eq!(gpu.peek(reg("BIOS_SCRATCH_1")), 0, "the check of that number failed");
        assert!(is_posted(&gpu));
        for name in SET {
            assert_eq!(gpu.peek(reg(name)), posted.peek(reg(name)), "{name}");
        }
        assert_ne!(gpu.vram().read_u32(VRAM_DATA), 1, "memory keeps nothing until it is trained");
        assert_eq!(gpu.log.violation_count(), 0, "{:?}", gpu.log.violations());
    }
}

#[test]
fn engines_without_a_clock_execute_nothing() {
    let mut b = Bench::with(config(&["not-posted"]));
    b.w("SCRATCH_REG0", 0);
    b.gfx_submit(&pm4(0x79, &[0x40, 1]));
    b.run();
    assert_eq!(b.r("SCRATCH_REG0"), 0);
}

#[test]
fn a_card_that_is_posted_wrongly_is_noticed() {
    let mut gpu = Gpu::new(config(&["not-posted"])).unwrap();
    gpu.reg_write(reg("CONFIG_MEMSIZE"), 64);
    gpu.reg_write(reg("BIOS_SCRATCH_7"), 0x200);
    let rules: Vec<_> = gpu.log.violations().iter().map(|v| v.rule).collect();
    assert!(!rules.is_empty() && rules.iter().all(|rule| *rule == "posting"), "{rules:?}");
    // From now on the size of the memory is what it is.
    gpu.reg_write(reg("CONFIG_MEMSIZE"), 32);
    assert_eq!(gpu.log.violations().last().map(|v| v.rule), Some("read-only"));
}

#[test]
fn one_wrong_instruction_and_the_card_stays_as_it_is() {
    let mut gpu = Gpu::new(config(&["not-posted"])).unwrap();
    let good = gpu.rom().to_vec();
    // The first ADD of an immediate in the workspace becomes a SUB.
    let tables = usize::from(u16::from_le_bytes([good[0x21e], good[0x21f]]));
    let entry = tables + 4 + 2 * 70;
    let at = usize::from(u16::from_le_bytes([good[entry], good[entry + 1]]));
    let add = at + good[at..].windows(3).position(|w| w == [45, 5, 1]).unwrap();
    let mut bad = good.clone();
    bad[add] = 51;
    post(&mut gpu, &bad).unwrap();
    assert!(!is_posted(&gpu));
    assert_ne!(gpu.peek(reg("BIOS_SCRATCH_1")), 0);
    post(&mut gpu, &good).unwrap();
    assert!(is_posted(&gpu));
}

#[test]
fn programs_that_cannot_post() {
    let ends =
        [("empty", None), ("garbage", Some(Cause::Opcode(0xff))), ("loop", Some(Cause::Steps))];
    for (how, cause) in ends {
        let mut gpu = Gpu::new(config(&[&format!("asic-init={how}")])).unwrap();
        let rom = gpu.rom().to_vec();
        assert_eq!(post(&mut gpu, &rom).err().map(|fault| fault.what), cause, "{how}");
        assert!(!is_posted(&gpu));
    }
}

#[test]
fn the_reset_dword_leaves_a_cold_card() {
    let mut b = Bench::with(config(&[]));
    b.gpu.config_write(0x7c, &0x39d5_e86bu32.to_le_bytes());
    for name in SET {
        assert_eq!(b.r(name), 0, "{name}");
    }
    let rom = b.gpu.rom().to_vec();
    post(&mut b.gpu, &rom).unwrap();
    assert!(is_posted(&b.gpu));
    b.clean();
}
