// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Outages: times in which the bus has cut the card off, because of an error on it (the C driver's
//! `amdgpu_pci_error_detected` and what follows).
//!
//! 1. *Cut off*: schedulers are held, gates are shut, interrupts are not looked at, and rings that
//!    hang are not recovered from. The registers are not touched.
//! 2. *Back*: the card was reset by the bus. It is brought up as after system sleep ([`revive`]).
//!    What was in VRAM is taken for lost, and so are all jobs of clients, as after a reset of the
//!    whole card ([`super::reset`]). That the bus reports the reset does not prove it: these chips
//!    are known to ignore it. So the engines are stopped and reset, whatever they are doing.
//! 3. *Over*: what is to run runs again, the rest ends in its turn, schedulers are released.
//!
//! If the card does not come back, or the platform gives it up, all jobs end with `ECANCELED` until
//! the driver is bound again. If the driver is unbound meanwhile, they end with `ENODEV`: nobody
//! else would end them.
//!
//! Others may still access the card in an outage, as they may while the whole card is reset: reads
//! return ones, writes are lost. All that they can write is lost afterward anyway.
//!
//! # Locks
//!
//! All of this runs with the device lock held. From the moment in which the card is back nothing is
//! allocated, as reclaim may wait for the fences of an outage.

use core::mem;

use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        atomic::{
            Relaxed,
            Release, //
        },
        Arc,
        Mutex, //
    }, //
};

use crate::{
    abstractions::{
        dma_fence::SignalingSection,
        drm::device::Remedy, //
    },
    device::Device,
    exec::{
        reset::replay,
        revive::revive, //
    },
    hw::{
        card::Card,
        command::Marks,
        Stopped, //
    }, //
};

/// State of the connection to the card.
enum State {
    /// There is no outage.
    Connected,
    /// The card can not be reached.
    CutOff,
    /// The card was brought up, with empty rings.
    Back(Stopped),
}

/// The outages of a card.
#[pin_data]
pub(crate) struct Outage {
    device: Arc<Device>,
    #[pin]
    state: Mutex<State>,
}

impl Outage {
    /// Creates the outages of a card that can be reached.
    pub(crate) fn new(device: Arc<Device>) -> impl PinInit<Self> {
        pin_init!(Self {
            device,
            state <- new_mutex!(State::Connected, "Outage::state"),
        })
    }

    /// Stops all work on the card, without touching it. Waits for a recovery that is under way. May
    /// be called again.
    pub(crate) fn begin(&self) {
        self.cut_off(&mut self.state.lock());
    }

    fn cut_off(&self, state: &mut State) {
        let device = &*self.device;
        if device.schedulers.is_given_up() {
            return;
        }
        if let State::Connected = mem::replace(state, State::CutOff) {
            dev_err!(device.dev, "the bus has cut the card off\n");
            device.recovery.end();
            let executor = device.schedulers.executor();
            executor.recovering.store(true, Relaxed);
            // Before any fence ends: whoever sees an error asks for the reason next.
            executor.resets.fetch_add(1, Relaxed);
            device.schedulers.hold();
            device.rings().for_each(|ring| ring.set_gate(Marks::SHUT));
            device.interrupt_memory.end();
            device.gart.end_translation();
        }
    }

    /// Brings up the card, which the bus has reset. `set_master` has to let it access system
    /// memory. Sleeps.
    ///
    /// # Errors
    ///
    /// Logs what fails. The engines may run then.
    pub(crate) fn come_back(&self, card: &Card<'_>, set_master: impl FnOnce()) -> Result {
        let device = &*self.device;
        if device.schedulers.is_given_up() {
            return Ok(());
        }
        let mut state = self.state.lock();
        // The error may have come before the driver was bound.
        self.cut_off(&mut state);
        let _section = SignalingSection::begin();
        let stopped = revive(device, card, set_master)?;
        let executor = device.schedulers.executor();
        for ring in executor.working_rings() {
            // Who has finished has lost nothing.
            ring.process();
            ring.timeline.lose_clients(&stopped);
        }
        // Whoever sees this may write to VRAM again. No fence has ended yet that says otherwise.
        executor.vram_losses.fetch_add(1, Release);
        *state = State::Back(stopped);
        Ok(())
    }

    /// Has jobs go on, after the outage. Returns true if there was one. Gives up a card that is not
    /// back.
    pub(crate) fn end(&self) -> bool {
        let device = &*self.device;
        let mut state = self.state.lock();
        let stopped = match mem::replace(&mut *state, State::Connected) {
            State::Connected => return false,
            State::CutOff => {
                drop(state);
                self.give_up(ECANCELED);
                return false;
            }
            State::Back(stopped) => stopped,
        };
        let executor = device.schedulers.executor();
        let section = SignalingSection::begin();
        let (again, lost) = replay(executor.working_rings(), &stopped);
        drop(section);
        executor.recovering.store(false, Relaxed);
        device.recovery.dumps.tell(Remedy::None, None);
        dev_notice!(
            device.dev,
            "the card is back: {lost} jobs are lost, {again} run again; what was in VRAM is lost\n"
        );
        device.schedulers.release();
        true
    }

    /// Gives up the card, which will not come back. Jobs end with `error`.
    pub(crate) fn give_up(&self, error: Error) {
        let device = &*self.device;
        let mut state = self.state.lock();
        *state = State::Connected;
        device.recovery.end();
        device.schedulers.hold();
        let executor = device.schedulers.executor();
        if !executor.is_given_up() {
            dev_err!(device.dev, "the bus has lost the card; it is given up\n");
            device.recovery.give_up(error);
        }
        executor.recovering.store(false, Relaxed);
        device.schedulers.release();
    }

    /// Ends an outage, if there is one, as the driver is about to be unbound: its jobs end with
    /// `ENODEV`.
    pub(crate) fn unbind(&self) {
        let is_out = !matches!(*self.state.lock(), State::Connected);
        if is_out {
            self.give_up(ENODEV);
        }
    }
}
