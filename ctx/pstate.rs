// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Stable power states that a context may hold the card at, so that measurements can be repeated
//! (`amdgpu_ctx_set_stable_pstate` in the C driver).
//!
//! The driver does not manage power: the card always runs at the clocks that its BIOS set, so a
//! state that is held changes nothing. But a client that measures must know that no other client
//! has asked for another state in the meantime. So one context at a time may hold the card, until
//! it asks for no state any more, or is freed. The C driver knows the second way only: a context
//! that has let go keeps others out there for as long as it lives.

use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    },
};

use crate::bindings;

/// The power state of a card, as far as contexts are concerned.
#[pin_data]
pub(crate) struct Pstates {
    /// Set while there is a [`Hold`].
    #[pin]
    held: Mutex<bool>,
}

/// The right to choose the card's power state. There is one at a time.
pub(crate) struct Hold(Arc<Pstates>);

impl Pstates {
    /// Creates the power state of a card that no context holds.
    pub(crate) fn new() -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                held <- new_mutex!(false, "Pstates::held"),
            }),
            GFP_KERNEL,
        )
    }

    /// Holds the card at a state, one of `AMDGPU_CTX_STABLE_PSTATE_*`, for the context whose hold
    /// is `hold`. A request for `NONE` gives the hold up.
    ///
    /// # Errors
    ///
    /// `EBUSY` if another context holds the card.
    pub(super) fn set(self: &Arc<Self>, hold: &Mutex<Option<Hold>>, state: u32) -> Result {
        let mut hold = hold.lock();
        let wanted = state != bindings::AMDGPU_CTX_STABLE_PSTATE_NONE;
        if hold.is_some() {
            if !wanted {
                *hold = None;
            }
            return Ok(());
        }
        let mut held = self.held.lock();
        if *held {
            return Err(EBUSY);
        }
        if wanted {
            *held = true;
            *hold = Some(Hold(self.clone()));
        }
        Ok(())
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        *self.0.held.lock() = false;
    }
}

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
#[kunit_tests(amdgpu_rs_ctx_pstate)]
mod tests {
    use super::*;

    const NONE: u32 = bindings::AMDGPU_CTX_STABLE_PSTATE_NONE;
    const PEAK: u32 = bindings::AMDGPU_CTX_STABLE_PSTATE_PEAK;

    fn context() -> Result<Pin<KBox<Mutex<Option<Hold>>>>> {
        KBox::pin_init(new_mutex!(None), GFP_KERNEL)
    }

    #[test]
    fn one_at_a_time() -> Result {
        let (card, first, second) = (Pstates::new()?, context()?, context()?);
        card.set(&first, NONE)?;
        card.set(&second, PEAK)?;
        for state in [NONE, PEAK] {
            assert_eq!(card.set(&first, state), Err(EBUSY));
        }
        drop(second);
        card.set(&first, PEAK)
    }

    #[test]
    fn no_state_is_held_by_nobody() -> Result {
        let (card, first, second) = (Pstates::new()?, context()?, context()?);
        card.set(&first, PEAK)?;
        card.set(&first, NONE)?;
        card.set(&second, PEAK)?;
        assert_eq!(card.set(&first, PEAK), Err(EBUSY));
        card.set(&second, NONE)?;
        card.set(&first, PEAK)
    }
}
