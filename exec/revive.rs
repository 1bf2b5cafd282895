// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Bring-up of a card that has lost its state: in system sleep, by a reset of all of it, or by an
//! error of the bus (the C driver's `amdgpu_device_ip_resume`).
//!
//! Nothing on the card is relied on: neither that it was initialized (*posted*) nor that its
//! engines are halted, nor a byte of VRAM. All that is needed is in system memory: the video BIOS
//! and the microcode, what is bound into the GART, the rings with the numbers of their fences. Page
//! tables are not: they have lost their memory to the sleep, or their contents to the reset, and
//! are written again for the next job.
//!
//! Reclaim may wait for the fences that a reset leads to: nothing is allocated.

use kernel::prelude::*;

use crate::{
    device::Device,
    exec::reset::Restart,
    hw::{
        card::Card,
        command::{
            Block,
            RingId, //
        },
        ClockGating,
        Stopped, //
    }, //
};

/// Brings the card up, with empty rings: what is not finished has to be written to them again, and
/// what is in VRAM is lost. All schedulers are held. `set_master` has to let the card access system
/// memory. Returns the proof that the engines were stopped before. Sleeps.
///
/// # Errors
///
/// Logs what fails. The engines may run then.
pub(crate) fn revive(
    device: &Device,
    card: &Card<'_>,
    set_master: impl FnOnce(),
) -> Result<Stopped> {
    let Device { hw, dev, .. } = device;
    if !hw.system.responds(card) {
        dev_err!(dev, "the card does not respond\n");
        return Err(ENODEV);
    }
    if !hw.system.is_posted(card) {
        dev_dbg!(dev, "the card is not posted any more: doing it now\n");
        hw.post(dev, card, &device.facts.vbios)?;
    }
    let stopped = hw
        .clear(card)
        .inspect_err(|e| dev_err!(dev, "the engines do not stop: {e:?}\n"))?;
    restore_memory(device, card)?;
    device.schedulers.forget_contexts();
    for ring in device.rings() {
        ring.restart(&stopped);
    }
    set_master();
    device
        .start_engines(card)
        .inspect_err(|e| dev_err!(dev, "the engines do not start: {e:?}\n"))?;
    test_rings(device)?;
    hw.system.gate_clocks(card, ClockGating::On);
    Ok(stopped)
}

impl Restart for Device {
    fn stop(&self, card: &Card<'_>) {
        // What follows does not rely on it.
        let _ = self.hw.quiesce(card);
        self.gart.end_translation();
        self.interrupt_memory.end();
    }

    fn revive(&self, card: &Card<'_>) -> Result {
        revive(self, card, || card.begin_bus_mastering()).map(drop)
    }

    fn restart(&self, card: &Card<'_>, block: Block) -> Result {
        self.hw.start(&self.bring_up(card), block)?;
        if block == Block::Graphics {
            self.schedulers.restore_on_chip(|vmid, on_chip| {
                self.hw.graphics.give_on_chip(card, vmid, on_chip)
            });
        }
        self.hw.interrupts.enable_sources(card);
        Ok(())
    }

    fn restart_queue(&self, card: &Card<'_>, ring: RingId) -> Result {
        self.hw.start_queue(&self.bring_up(card), ring)
    }
}

/// Starts the memory controller, and writes what the kernel keeps in VRAM.
fn restore_memory(device: &Device, card: &Card<'_>) -> Result {
    let Device { hw, dev, facts, .. } = device;
    hw.system.program_golden_registers(card);
    let (vram, _) = hw.memory.layout(card, dev)?;
    if (vram.start, vram.size) != (facts.vram.start, facts.vram.size) {
        dev_err!(
            dev,
            "VRAM is not where it was: {:#x} at {:#x}\n",
            vram.size,
            vram.start
        );
        return Err(EIO);
    }
    hw.memory.start(card, dev, &facts.vram, &device.firmware.mc);
    device.gart.restore(card);
    device.begin_translation(card);
    Ok(())
}

fn test_rings(device: &Device) -> Result {
    for ring in device.rings().filter(|ring| !ring.is_left_out()) {
        ring.test_write().inspect_err(|e| {
            let name = ring.kind.name();
            dev_err!(
                device.dev,
                "ring {name} does not execute commands ({e:?})\n"
            );
        })?;
    }
    Ok(())
}
