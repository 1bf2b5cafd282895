// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Records of accesses that a page table did not allow (the C driver's `amdgpu_vm_fault_info`).

use kernel::{
    new_spinlock,
    prelude::*,
    sync::{
        Arc,
        SpinLock, //
    }, //
};

use crate::hw::Fault;

/// The last fault in an address space.
#[pin_data]
pub(crate) struct FaultRecord {
    #[pin]
    last: SpinLock<Option<Fault>>,
}

impl FaultRecord {
    /// Creates the record of an address space that has had no fault.
    pub(crate) fn new() -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                last <- new_spinlock!(None, "FaultRecord::last"),
            }),
            GFP_KERNEL_ACCOUNT,
        )
    }

    /// Returns the last fault.
    pub(crate) fn last(&self) -> Option<Fault> {
        *self.last.lock()
    }

    /// Notes a fault.
    pub(crate) fn set(&self, fault: Fault) {
        *self.last.lock() = Some(fault);
    }
}
