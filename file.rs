// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What each open file has of its own.

use kernel::{
    prelude::*,
    sync::Arc, //
};

use crate::{
    driver::DrmDevice,
    vm::Vm, //
};

/// The driver's data of an open file.
#[pin_data]
pub(crate) struct File {
    /// What the GPU sees when it works for this file.
    pub(crate) vm: Arc<Vm>,
}

impl File {
    pub(crate) fn new(dev: &DrmDevice) -> Result<Pin<KBox<Self>>> {
        let vm = Vm::new(dev)?;
        KBox::pin_init(try_pin_init!(Self { vm }? Error), GFP_KERNEL)
    }
}
