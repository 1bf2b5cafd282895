// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Views of an address space's memory, for the dump of a hang.
//!
//! The C driver looks for the address space when a dump is read (`amdgpu_vm_lock_by_pasid`).
//!
//! What runs on a card must not keep the address space of a client alive for longer than its jobs
//! do, as the last one to go has to take it down. A [`View`] is kept instead: it leads to the
//! address space for as long as its file is open.

use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    }, //
};

/// The memory that jobs of an address space reach.
pub(crate) trait JobMemory: Send + Sync {
    /// Copies bytes within one page, as jobs read them. Sleeps, and takes reservations.
    ///
    /// # Errors
    ///
    /// `EFAULT` if nothing is mapped there, `EACCES` if jobs may not read it, and those of reading
    /// the buffer object.
    fn read(&self, va: u64, into: &mut [u8]) -> Result;
}

/// The way to an address space, while its file is open.
#[pin_data]
pub(crate) struct View {
    #[pin]
    memory: Mutex<Option<Arc<dyn JobMemory>>>,
}

impl View {
    /// Creates one that leads nowhere yet.
    pub(crate) fn new() -> Result<Arc<Self>> {
        let memory = new_mutex!(None, "View::memory");
        Arc::pin_init(pin_init!(Self { memory <- memory }), GFP_KERNEL_ACCOUNT)
    }

    /// Leads to `memory` from now on. [`View::close`] must be called in the end.
    pub(crate) fn open(&self, memory: Arc<dyn JobMemory>) {
        let before = self.memory.lock().replace(memory);
        drop(before);
    }

    /// Leads nowhere any more.
    pub(crate) fn close(&self) {
        let memory = self.memory.lock().take();
        drop(memory);
    }

    /// Returns the memory, if the file is still open. To be dropped where sleeping is allowed and
    /// no lock is held.
    pub(crate) fn memory(&self) -> Option<Arc<dyn JobMemory>> {
        self.memory.lock().clone()
    }
}
