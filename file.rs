// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What each open file has of its own.

use kernel::{
    prelude::*,
    sync::Arc, //
};

use crate::{
    bo_list::BoLists,
    ctx::Contexts,
    driver::DrmDevice,
    vm::Vm, //
};

/// The driver's data of an open file.
///
/// Fields are dropped in order: first what submits jobs, then what jobs use.
#[pin_data]
pub(crate) struct File {
    /// Where its submissions come from.
    #[pin]
    pub(crate) contexts: Contexts,
    /// Its lists of buffers, by handle.
    #[pin]
    pub(crate) bo_lists: BoLists,
    /// What the GPU sees when it works for this file.
    pub(crate) vm: Arc<Vm>,
}

impl File {
    pub(crate) fn new(dev: &DrmDevice) -> Result<Pin<KBox<Self>>> {
        let vm = Vm::new(dev)?;
        KBox::pin_init(
            try_pin_init!(Self {
                contexts <- Contexts::new(),
                bo_lists <- BoLists::new(),
                vm,
            }? Error),
            GFP_KERNEL,
        )
    }
}
