// SPDX-License-Identifier: GPL-2.0 OR MIT
//! A GPU that runs by itself: the engines on a thread of their own, the host's accesses from
//! another, one lock between them.
//!
//! The engine thread sleeps while no engine has work. While engines only wait (on memory that the
//! guest writes without notice), it polls at an interval that grows to a millisecond.

use std::{
    sync::{
        Arc,
        atomic::{
            AtomicBool,
            AtomicUsize,
            Ordering, //
        }, //
    },
    thread::{
        self,
        JoinHandle, //
    },
    time::Duration, //
};

use parking_lot::{
    Condvar,
    Mutex,
    MutexGuard, //
};

use crate::{
    engine::Step,
    gpu::Gpu, //
};

const POLL_FIRST: Duration = Duration::from_micros(20);
const POLL_LAST: Duration = Duration::from_millis(1);

struct Shared {
    gpu: Mutex<Gpu>,
    wake: Condvar,
    /// Host threads that want the lock.
    waiting: AtomicUsize,
    stop: AtomicBool,
}

/// A running GPU. Dropping it stops the engines.
pub struct Machine {
    shared: Arc<Shared>,
    engine: Option<JoinHandle<()>>,
}

/// A handle for other threads.
#[derive(Clone)]
pub struct Handle(Arc<Shared>);

impl Handle {
    /// Calls `f` with the GPU, and wakes the engines if it gave them work.
    pub fn with<R>(&self, f: impl FnOnce(&mut Gpu) -> R) -> R {
        self.0.waiting.fetch_add(1, Ordering::SeqCst);
        let mut gpu = self.0.gpu.lock();
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
        let result = f(&mut gpu);
        let kick = gpu.take_kick();
        drop(gpu);
        if kick {
            self.0.wake.notify_one();
        }
        result
    }
}

impl Machine {
    /// Starts the engine thread.
    pub fn start(gpu: Gpu) -> Self {
        let shared = Arc::new(Shared {
            gpu: Mutex::new(gpu),
            wake: Condvar::new(),
            waiting: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
        });
        let theirs = shared.clone();
        let engine = thread::spawn(move || {
            hurry();
            engines(&theirs);
        });
        Machine { shared, engine: Some(engine) }
    }

    /// A handle for another thread.
    pub fn handle(&self) -> Handle {
        Handle(self.shared.clone())
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        // Taking the lock once makes sure that the thread is not between its check and its sleep.
        drop(self.shared.gpu.lock());
        self.shared.wake.notify_all();
        if let Some(Err(_)) = self.engine.take().map(JoinHandle::join) {
            eprintln!("amdgpu-model: the engine thread panicked");
        }
    }
}

/// Puts the calling thread before ordinary ones, where the system allows it: a driver's patience is
/// a tenth of a second, and a busy machine may let a thread wait for longer.
pub fn hurry() {
    const NICE: i32 = -10;
    let thread = rustix::thread::gettid();
    // Without the right to do so, the ordinary priority has to do.
    let _ = rustix::process::setpriority_process(Some(thread), NICE);
}

fn engines(shared: &Shared) {
    let mut gpu = shared.gpu.lock();
    let mut interval = POLL_FIRST;
    while !shared.stop.load(Ordering::SeqCst) {
        match gpu.step() {
            Step::Progress => {
                interval = POLL_FIRST;
                if shared.waiting.load(Ordering::SeqCst) > 0 {
                    MutexGuard::bump(&mut gpu);
                }
            }
            Step::Waiting => {
                shared.wake.wait_for(&mut gpu, interval);
                interval = (interval * 2).min(POLL_LAST);
            }
            Step::Idle => {
                gpu.log.flush();
                interval = POLL_FIRST;
                shared.wake.wait(&mut gpu);
            }
        }
    }
}
