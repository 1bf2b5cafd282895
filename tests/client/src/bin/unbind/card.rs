// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The card, as the PCI bus and the module loader have it.

use std::{
    fs,
    path::Path,
    process::Command,
    thread::sleep,
    time::{
        Duration,
        Instant, //
    }, //
};

use amdgpu_client::{
    child::Child,
    drm::Node,
    rng::Rng, //
};

/// Ways in which the driver is taken away.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Farewell {
    /// By the driver's `unbind` file.
    Unbind,
    /// By the device's `remove` file: the card is unplugged.
    Unplug,
    /// By unloading the module, once nobody has it open.
    Unload,
}

impl Farewell {
    pub fn draw(rng: &mut Rng) -> Self {
        match rng.within(0..4) {
            0 => Self::Unplug,
            1 => Self::Unload,
            _ => Self::Unbind,
        }
    }
}

/// A card with the driver under test.
pub struct Card {
    slot: String,
}

/// The driver, on its way.
pub struct Leaving(Child);

impl Leaving {
    /// Waits until it is gone.
    pub fn listen_once(mut self) -> Result<(), String> {
        self.0.listen()?;
        self.0.reap().map(|_| ())
    }
}

const DRIVER: &str = "/sys/bus/pci/drivers/amdgpu_rs";

impl Card {
    /// The first one.
    pub fn find() -> Result<Self, String> {
        Ok(Self { slot: Node::find(None)?.slot })
    }

    pub fn slot(&self) -> &str {
        &self.slot
    }

    /// Its node, which has another name each time.
    pub fn node(&self) -> Result<Node, String> {
        let node = Node::find(None)?;
        if node.slot == self.slot {
            Ok(node)
        } else {
            Err(format!("{} has the node, not {}", node.slot, self.slot))
        }
    }

    /// Takes the driver away, and waits until it is.
    pub fn leave(&self, farewell: Farewell) -> Result<(), String> {
        self.begin_to_leave(farewell)?.listen_once()
    }

    /// Takes the driver away.
    pub fn begin_to_leave(&self, farewell: Farewell) -> Result<Leaving, String> {
        let slot = self.slot.clone();
        let body = move || match farewell {
            Farewell::Unbind => write(&format!("{DRIVER}/unbind"), &slot),
            Farewell::Unplug => write(&format!("/sys/bus/pci/devices/{slot}/remove"), "1"),
            Farewell::Unload => unload(),
        };
        Child::new(move |_| body()).map(Leaving)
    }

    /// Brings it back.
    pub fn come_back(&self, farewell: Farewell) -> Result<(), String> {
        match farewell {
            Farewell::Unbind => write(&format!("{DRIVER}/bind"), &self.slot)?,
            Farewell::Unplug => write("/sys/bus/pci/rescan", "1")?,
            Farewell::Unload => run("load-driver", &[])?,
        }
        if Path::new(&format!("{DRIVER}/{}", self.slot)).exists() {
            Ok(())
        } else {
            Err(format!("after {farewell:?} the driver does not have {} again", self.slot))
        }
    }
}

/// Unloads the module as soon as nobody has it open.
fn unload() -> Result<(), String> {
    const PATIENCE: Duration = Duration::from_secs(60);
    const PAUSE: Duration = Duration::from_millis(1);
    let began = Instant::now();
    loop {
        match run("rmmod", &["amdgpu_rs"]) {
            Err(_) if began.elapsed() < PATIENCE => sleep(PAUSE),
            answer => return answer,
        }
    }
}

fn write(path: &str, what: &str) -> Result<(), String> {
    fs::write(path, what).map_err(|e| format!("{path}: {e}"))
}

fn run(program: &str, args: &[&str]) -> Result<(), String> {
    let output =
        Command::new(program).args(args).output().map_err(|e| format!("{program}: {e}"))?;
    if output.status.success() {
        Ok(())
    } else {
        Err(format!("{program}: {}", String::from_utf8_lossy(&output.stderr)))
    }
}
