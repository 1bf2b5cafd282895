// SPDX-License-Identifier: GPL-2.0 OR MIT
//! `amdgpu-model`: serves one GPU to one QEMU over vfio-user.

use std::{
    fs::File,
    io::Write,
    path::PathBuf,
    process::ExitCode, //
};

use amdgpu_model::{
    config::{
        Cache,
        Chip,
        Class,
        Config, //
    },
    control,
    gpu::Gpu,
    hdp::Hdp,
    inject::Injections,
    machine::Machine,
    picture::Picture,
    strict::Strictness,
    transport, //
};
use anyhow::{
    Context,
    Result,
    bail, //
};
use clap::Parser;

const FAULTS: &str = "\
Faults (--fail NAME, repeatable):
  not-posted        the firmware has not initialized the card
  asic-init=HOW     nor can a driver: the ROM's ASIC_Init is empty, garbage or a loop
  rom-signature     the ROM does not begin with 55 AA
  no-rom            the ROM reads as zeros
  no-rom-bar        the ROM's BAR reads as zeros; the port to the ROM works
  ring-BLOCK        the block's engines execute nothing
  hang-BLOCK[=N]    the block hangs at its indirect buffer number N (default 0)
  slow-BLOCK[=MS]   the block waits before each indirect buffer (default 10 ms)
  no-interrupt[=N]  no interrupt is delivered (after N of them)
  no-ih-writeback   the interrupt ring's write pointer is not written back
  mc-training       memory training never ends
  power-loss        a reset of the machine, and D3, leave the card without power for a moment
  lost-by-reset     a reset by the bus, once the card was in use, is its end (as unplugged)
  no-soft-reset     the soft resets do nothing
  no-config-reset   the reset by configuration space does nothing
  active-queues     another driver has halted the compute engine with its queues active
  no-thermal-protection  another driver has switched off the protection against heat
  smc-runs          another driver has left firmware running on the SMC
  hot[=C]           the card is that hot (default 99 degrees Celsius)
  dead-unit[=N]     compute unit N of the first shader engine does nothing
  no-wave-kill      the command that kills waves does nothing
  no-dequeue        a compute queue is not taken off its engine
  vanish-jobs=N     the card is taken out of its slot when N indirect buffers of users have begun,
  vanish-reset      or at the first reset of a block after one,
  vanish-full       or at the first reset by configuration space,
  vanish-sleep      or when it is put to sleep
  unplugged         every register reads as ones
BLOCK: gfx, compute, sdma, sdma0, sdma1";

/// A functional model of an AMD GFX7 GPU, for QEMU's vfio-user-pci.
///
/// Prints `listening` when the socket is ready, serves one client, and exits 0 if the guest broke
/// no rule, 1 if it did (each is printed to stderr with what led there), 2 if it could not run.
#[derive(Parser)]
#[command(
    version,
    after_help = format!("{FAULTS}\n\nRules (--strict, --kind):\n{}", Strictness::help())
)]
struct Options {
    /// vfio-user socket to create.
    #[arg(long, value_name = "PATH", required_unless_present = "write_rom")]
    socket: Option<PathBuf>,
    /// Write the card's video BIOS to this file, and do no more.
    #[arg(long, value_name = "FILE", conflicts_with = "socket")]
    write_rom: Option<PathBuf>,
    /// VRAM in MiB.
    #[arg(long, value_name = "N", default_value_t = 1024)]
    vram_mib: u64,
    /// Size of BAR0 in MiB, a power of two; all of VRAM if not given.
    #[arg(long, value_name = "N")]
    visible_mib: Option<u64>,
    /// `direct`: the guest's writes to VRAM are seen at once. `strict`: after an HDP flush.
    #[arg(long, value_name = "MODE", default_value = "direct")]
    hdp: String,
    /// `strict`: shaders see memory through caches that keep lines until a packet flushes them.
    /// `direct`: as it is.
    #[arg(long, value_name = "MODE", default_value = "strict")]
    cache: String,
    /// Seed of every random choice.
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Write every event to this file, one JSON object a line.
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Inject a fault.
    #[arg(long, value_name = "NAME")]
    fail: Vec<String>,
    /// Have this picture, WIDTHxHEIGHT, on the screen.
    #[arg(long, value_name = "SIZE")]
    picture: Option<Picture>,
    /// bonaire or hawaii.
    #[arg(long, value_name = "CHIP", default_value = "bonaire")]
    device: String,
    /// A card of the same kind with other values at power-on.
    #[arg(long)]
    odd_card: bool,
    /// PCI class: `display` (0380), or `vga` (0300) as graphics cards have it.
    #[arg(long, value_name = "CLASS", default_value = "display")]
    class: String,
    /// Be strict where it is off by default (a name, or `all`).
    #[arg(long, value_name = "RULE")]
    strict: Vec<String>,
    /// Be kind where strictness is on by default (a name, or `all`).
    #[arg(long, value_name = "RULE")]
    kind: Vec<String>,
    /// Control socket to create.
    #[arg(long, value_name = "PATH")]
    control: Option<PathBuf>,
}

fn config(o: &Options) -> Result<Config> {
    let chip = match o.device.as_str() {
        "bonaire" => Chip::Bonaire,
        "hawaii" => Chip::Hawaii,
        other => bail!("no device is called `{other}`; there are bonaire and hawaii"),
    };
    if !(64..=8192).contains(&o.vram_mib) || o.vram_mib % 16 != 0 {
        bail!("--vram-mib must be a multiple of 16 from 64 to 8192, not {}", o.vram_mib);
    }
    let visible = o.visible_mib.unwrap_or(1 << o.vram_mib.ilog2());
    if !visible.is_power_of_two() || visible > o.vram_mib {
        bail!("--visible-mib must be a power of two, at most --vram-mib, not {visible}");
    }
    let hdp = match o.hdp.as_str() {
        "direct" => Hdp::Direct,
        "strict" => Hdp::Strict,
        other => bail!("--hdp is direct or strict, not `{other}`"),
    };
    let cache = match o.cache.as_str() {
        "direct" => Cache::Direct,
        "strict" => Cache::Strict,
        other => bail!("--cache is direct or strict, not `{other}`"),
    };
    let mut inject = Injections::default();
    for name in &o.fail {
        inject.add(name).map_err(anyhow::Error::msg)?;
    }
    if o.picture.is_some_and(|picture| picture.size() > o.vram_mib << 20) {
        bail!("the picture is larger than VRAM");
    }
    let class = match o.class.as_str() {
        "display" => Class::Display,
        "vga" => Class::Vga,
        other => bail!("--class is display or vga, not `{other}`"),
    };
    let mut strict = Strictness::default();
    for (names, on) in [(&o.strict, true), (&o.kind, false)] {
        for name in names {
            strict.switch(name, on).map_err(anyhow::Error::msg)?;
        }
    }
    Ok(Config {
        chip,
        class,
        odd: o.odd_card,
        vram: o.vram_mib << 20,
        visible: visible << 20,
        hdp,
        cache,
        seed: o.seed,
        inject,
        strict,
        picture: o.picture,
    })
}

/// Serves until the client leaves. Answers the number of rules broken.
fn run(o: &Options) -> Result<u64> {
    let mut gpu = Gpu::new(config(o)?).context("making the VRAM")?;
    if let Some(path) = &o.write_rom {
        std::fs::write(path, gpu.rom())
            .with_context(|| format!("video BIOS {}", path.display()))?;
    }
    let Some(socket) = &o.socket else { return Ok(0) };
    if let Some(path) = &o.trace {
        gpu.log.trace_to(
            File::create(path).with_context(|| format!("trace file {}", path.display()))?,
        );
    }
    let machine = Machine::start(gpu);
    let handle = machine.handle();
    let listener = transport::listen(socket, &handle)?;
    if let Some(path) = &o.control {
        control::listen(path, handle.clone())?;
    }
    println!("listening");
    std::io::stdout().flush()?;
    listener.serve(handle.clone())?;
    drop(machine);
    Ok(handle.with(|g| {
        g.look_at_the_screen();
        g.log.flush();
        for v in g.log.violations() {
            eprintln!("amdgpu-model: violation: {}: {}", v.rule, v.what);
            eprintln!("  what led there:");
            v.history.iter().for_each(|h| eprintln!("  {h}"));
        }
        for (rule, count) in g.log.violation_counts() {
            eprintln!("amdgpu-model: {rule}: {count}");
        }
        for (rule, errors) in g.log.job_errors() {
            let (count, first) = (errors.count, &errors.first);
            eprintln!(
                "amdgpu-model: errors of users' jobs, no violations: {rule}: {count}, \
                 the first: {first}"
            );
        }
        g.log.violation_count()
    }))
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(n) => {
            eprintln!("amdgpu-model: {n} violations");
            ExitCode::from(1)
        }
        Err(e) => {
            eprintln!("amdgpu-model: {e:#}");
            ExitCode::from(2)
        }
    }
}
