// SPDX-License-Identifier: GPL-2.0 OR MIT

//! A bound card at work, asleep, cut off by the bus, and stopped for good (`amdgpu_device_suspend`,
//! `amdgpu_device_resume` and `amdgpu_device_fini_hw` in the C driver).
//!
//! # System sleep
//!
//! The card loses all that is on it. User space is frozen meanwhile, and notices nothing:
//!
//! 1. *Prepare*, while all devices work: jobs that are queued or running end. A job that hangs is
//!    recovered from as always. Then everything leaves VRAM: buffers go to system memory, page
//!    tables nowhere, as their contents follow from the mappings. Before hibernation, the pages of
//!    buffers go on to swap space, so that they need not be in the memory image.
//! 2. *Suspend*: the same again, for what may have come meanwhile. Jobs are held back, the engines
//!    and interrupts are stopped, and the card loses access to memory.
//! 3. *Resume*: the card is brought up as if it had never been ([`revive`]), and jobs go on.
//!    Buffers return to VRAM with the jobs that use them.
//!
//! Sleep is called off if jobs do not end in time, as they would if a module parameter allows them
//! any time, and if there is no room in system memory. Then nothing was changed that the next job
//! does not change back.
//!
//! A card that does not come back is given up: its jobs end with `ECANCELED` until the driver is
//! bound again. The contents of all buffers are still there.
//!
//! # Errors of the bus
//!
//! An error that is not fatal is nothing to the driver, if the card answers: what it has cost is
//! noticed as a hang is. After any other the bus resets the card, and it is brought up, with what
//! was in VRAM lost ([`Outage`]).
//!
//! # Locks
//!
//! All of this runs with the device lock held, and so not while the driver is bound or unbound.

use kernel::{
    device::{
        Bound,
        Core, //
    },
    pci,
    prelude::*,
    sync::{
        aref::ARef,
        atomic::{
            AtomicFlag,
            Relaxed, //
        },
        Arc, //
    }, //
};

use crate::{
    abstractions::{
        drm::device::Shared,
        pci::restore_state,
        pm::{
            self,
            Sleep, //
        }, //
    },
    device::Device,
    drm::Driver,
    exec::{
        outage::Outage,
        revive::revive, //
    },
    hw::ClockGating, //
};

/// Time that jobs have to end before the system sleeps, in ms. The kernel gives processes as long
/// to freeze.
const PATIENCE: i64 = 20_000;

/// A card whose engines may run. Dropping it stops them and leaves the card quiet: no engine runs,
/// nothing interrupts, and the card can no longer access memory.
pub(crate) struct Running<'bound> {
    pdev: &'bound pci::Device<Bound>,
    device: Arc<Device>,
    drm: ARef<Shared<Driver>>,
    upcoming: Upcoming,
    outage: Pin<KBox<Outage>>,
    _notifier: pm::Notifier<Upcoming>,
}

impl<'bound> Running<'bound> {
    /// Creates the value. Rings that hang are recovered from now on.
    ///
    /// # Safety
    ///
    /// The value must be dropped before the device is unbound.
    pub(crate) unsafe fn new(
        pdev: &'bound pci::Device<Bound>,
        device: Arc<Device>,
        drm: &Shared<Driver>,
    ) -> Result<Self> {
        let upcoming = Upcoming(Arc::new(AtomicFlag::new(false), GFP_KERNEL)?);
        let this = Self {
            pdev,
            drm: drm.into(),
            _notifier: pm::Notifier::new(pdev.as_ref(), upcoming.clone())?,
            upcoming,
            outage: KBox::pin_init(Outage::new(device.clone()), GFP_KERNEL)?,
            device,
        };
        this.begin_recovery();
        Ok(this)
    }

    /// Has rings that hang recovered.
    fn begin_recovery(&self) {
        let device = self.device.clone();
        // SAFETY: `self` is dropped before the device is unbound, and that calls `end`, by way of
        // `stop`.
        unsafe { device.recovery.begin(self.pdev.as_ref(), device.clone()) };
    }

    /// Stops the card for good, and ends all present and future jobs. May be called again.
    pub(crate) fn stop(&self) {
        self.device.recovery.end();
        self.halt();
        self.device.schedulers.shut_down();
    }

    /// Ends what nobody else would end, as the driver is about to be unbound.
    pub(crate) fn unbind(&self) {
        self.outage.unbind();
    }

    /// Stops all work on the card, which the bus has cut off.
    pub(crate) fn cut_off(&self) {
        self.outage.begin();
    }

    /// Returns true if the card answers.
    pub(crate) fn responds(&self) -> bool {
        let card = self.device.card.access(self.pdev.as_ref());
        card.is_ok_and(|card| self.device.hw.system.responds(card))
    }

    /// Brings up the card, which the bus has reset. If that fails, gives it up.
    pub(crate) fn come_back(&self, pdev: &pci::Device<Core<'_>>) -> Result {
        restore_state(pdev);
        let card = self.device.card.access(self.pdev.as_ref())?;
        // The reset may have done nothing, and engines run.
        card.end_bus_mastering();
        let back = self.outage.come_back(card, || pdev.set_master());
        back.inspect_err(|_| self.lose())
    }

    /// Has jobs go on, after an error of the bus.
    pub(crate) fn go_on(&self) {
        if self.outage.end() {
            self.begin_recovery();
        }
    }

    /// Gives up the card, which the bus has lost.
    pub(crate) fn lose(&self) {
        self.outage.give_up(ECANCELED);
    }

    /// Stops the engines and all interrupts. The card can no longer access memory.
    fn halt(&self) {
        let device = &*self.device;
        if let Ok(card) = device.card.access(self.pdev.as_ref()) {
            device.hw.system.gate_clocks(card, ClockGating::Off);
            if device.hw.quiesce(card).is_err() {
                dev_err!(device.dev, "the engines do not stop\n");
            }
            device.gart.end_translation();
        }
    }

    /// Prepares the card for sleep, while all devices work.
    pub(crate) fn prepare(&self) -> Result {
        self.settle()?;
        if self.upcoming.is_hibernation() {
            self.drm.memory.swap_out().inspect_err(|e| {
                dev_warn!(
                    self.pdev,
                    "no hibernation: buffers cannot be swapped out ({e:?})\n"
                );
            })?;
        }
        Ok(())
    }

    /// Waits for all jobs, and moves everything out of VRAM.
    fn settle(&self) -> Result {
        let schedulers = &self.device.schedulers;
        schedulers.wait_idle(PATIENCE).inspect_err(|_| {
            dev_warn!(self.pdev, "no sleep: jobs do not end\n");
        })?;
        self.drm.memory.evict_vram().inspect_err(|e| {
            dev_warn!(self.pdev, "no sleep: VRAM cannot be emptied ({e:?})\n");
        })
    }

    /// Stops the card, which may lose all its state.
    pub(crate) fn suspend(&self) -> Result {
        self.settle()?;
        let device = &*self.device;
        device.recovery.end();
        device.schedulers.hold();
        device.interrupt_memory.end();
        self.halt();
        Ok(())
    }

    /// Brings the card up again. If that fails, gives it up.
    pub(crate) fn resume(&self, pdev: &pci::Device<Core<'_>>) {
        let device = &*self.device;
        if !device.schedulers.is_given_up() {
            let card = device.card.access(self.pdev.as_ref());
            match card.and_then(|card| revive(device, card, || pdev.set_master())) {
                Ok(_) => self.begin_recovery(),
                Err(error) => {
                    dev_err!(
                        device.dev,
                        "the card does not come back from sleep ({error:?}); it is given up\n"
                    );
                    device.recovery.give_up(ECANCELED);
                }
            }
        }
        device.schedulers.release();
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The kind of sleep that comes next: set if it is hibernation, which devices are not told.
#[derive(Clone)]
struct Upcoming(Arc<AtomicFlag>);

impl Upcoming {
    fn is_hibernation(&self) -> bool {
        self.0.load(Relaxed)
    }
}

impl pm::Callbacks for Upcoming {
    fn prepare(&self, sleep: Sleep) -> Result {
        self.0.store(sleep == Sleep::Hibernation, Relaxed);
        Ok(())
    }
}
