// SPDX-License-Identifier: GPL-2.0 OR MIT

//! A DRM driver for AMD GPUs that implements the amdgpu user-space interface. This file binds the
//! driver to a card, as amdgpu_drv.c (`amdgpu_pci_probe`) does in the C driver.

use kernel::{
    debugfs,
    device::{
        Bound,
        Core, //
    },
    dma::Device as _,
    firmware::ModInfoBuilder,
    irq,
    pci,
    prelude::*,
    sync::{
        aref::ARef,
        Arc, //
    }, //
};

use crate::{
    abstractions::{
        drm::{
            device::{
                Remedy,
                Shared, //
            },
            Registration, //
        },
        module::Drained,
        pci::{
            remove_firmware_framebuffer,
            save_state,
            Adapter,
            Enabled,
            Link, //
        },
        task::TaskName,
        vgaarb::Unarbitrated,
        workqueue::OwnedQueue, //
    },
    debug::{
        report::{
            Report,
            Reports,
            Volume, //
        },
        stats::Stats, //
    },
    device::{
        Device,
        Facts,
        PciIds,
        Queues, //
    },
    drm::Driver,
    exec::{
        dump::Herald,
        executor::Limits,
        interrupts::Handler, //
    },
    hw::{
        card::Card,
        vbios::Vbios,
        Chip,
        ChipId,
        ClockGating,
        Condition, //
    },
    power::Running,
    ttm::Attached, //
};

mod absent;
mod abstractions;
mod bo_list;
mod callbacks;
mod cs;
mod ctx;
mod debug;
mod device;
mod driver;
mod drm;
mod exec;
mod fdinfo;
mod fences;
mod file;
mod first_boot;
mod gem;
mod hw;
mod info;
mod mem;
mod power;
mod sync;
mod ttm;
mod uapi;
mod userptr;
mod vm;

/// C types and functions for which the kernel crate has no bindings.
#[allow(
    clippy::all,
    clippy::cast_lossless,
    clippy::ptr_as_ptr,
    clippy::ref_as_ptr,
    clippy::undocumented_unsafe_blocks,
    dead_code,
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    unreachable_pub,
    improper_ctypes,
    unsafe_op_in_unsafe_fn,
    unused_imports,
    reason = "bindgen's output"
)]
mod bindings {
    use kernel::ffi;
    type __kernel_size_t = usize;
    type __kernel_ssize_t = isize;
    type __kernel_ptrdiff_t = isize;
    include!(env!("AMDGPU_RS_BINDINGS"));
}

kernel::pci_device_table!(
    PCI_TABLE,
    <AmdgpuDriver as pci::Driver>::IdInfo,
    [
        (amd(0x6640), ChipId::Bonaire),
        (amd(0x6641), ChipId::Bonaire),
        (amd(0x6646), ChipId::Bonaire),
        (amd(0x6647), ChipId::Bonaire),
        (amd(0x6649), ChipId::Bonaire),
        (amd(0x664d), ChipId::Bonaire),
        (amd(0x6650), ChipId::Bonaire),
        (amd(0x6651), ChipId::Bonaire),
        (amd(0x6658), ChipId::Bonaire),
        (amd(0x665c), ChipId::Bonaire),
        (amd(0x665d), ChipId::Bonaire),
        (amd(0x665f), ChipId::Bonaire),
        (amd(0x67a0), ChipId::Hawaii),
        (amd(0x67a1), ChipId::Hawaii),
        (amd(0x67a2), ChipId::Hawaii),
        (amd(0x67a8), ChipId::Hawaii),
        (amd(0x67a9), ChipId::Hawaii),
        (amd(0x67aa), ChipId::Hawaii),
        (amd(0x67b0), ChipId::Hawaii),
        (amd(0x67b1), ChipId::Hawaii),
        (amd(0x67b8), ChipId::Hawaii),
        (amd(0x67b9), ChipId::Hawaii),
        (amd(0x67ba), ChipId::Hawaii),
        (amd(0x67be), ChipId::Hawaii),
    ]
);

const fn amd(device: u32) -> pci::DeviceId {
    pci::DeviceId::from_id(pci::Vendor::ATI, device)
}

pub(crate) struct AmdgpuDriver;

/// State of a card for as long as the driver is bound to it.
///
/// Fields are dropped in their order here: the reverse of bring-up.
#[pin_data]
pub(crate) struct Binding<'bound> {
    registration: Registration<Driver>,
    _announced: Announced,
    settled: Settled,
    counters: Counters,
    #[pin]
    interrupts: Interrupts<'bound>,
    running: Running<'bound>,
    attached: Attached,
    device: Arc<Device>,
    _legacy: Option<Unarbitrated<'bound>>,
    enabled: Enabled<'bound>,
}

impl pci::Driver for AmdgpuDriver {
    type IdInfo = ChipId;
    type Data<'bound> = Binding<'bound>;
    const ID_TABLE: pci::IdTable<Self::IdInfo> = &PCI_TABLE;

    fn probe<'bound>(
        pdev: &'bound pci::Device<Core<'_>>,
        chip: Option<&'bound ChipId>,
    ) -> impl PinInit<Binding<'bound>, Error> + 'bound {
        pin_init::pin_init_scope(move || {
            let dev: &kernel::device::Device<Bound> = pdev.as_ref();
            let hw = chip.ok_or(ENODEV)?.chip();

            let enabled = take_over(pdev, hw)?;
            let card = Card::map(pdev)?;
            // A kernel that started this one (kexec) may have left the card running.
            card.end_bus_mastering();
            // What a reset by the bus takes away.
            save_state(pdev)?;
            let report = Globals::get()?.reports.begin(dev, volume())?;
            first_boot::found(pdev, hw, &card, &report);
            let vbios = check(pdev, hw, &card)?;
            first_boot::vbios(&vbios, &report);
            hw.clear(&card)
                .inspect_err(|e| dev_err!(dev, "the engines do not stop: {e:?}\n"))?;
            let firmware = hw::firmware::Files::load(dev, &hw.firmware)?;
            let facts = open_memory(pdev, hw, &card, vbios, &firmware)?;
            let device = set_up(dev, hw, facts, card, firmware)?;
            let drm = driver::allocate(dev, device.clone())
                .inspect_err(|e| dev_err!(dev, "cannot set up the DRM device: {e:?}\n"))?;
            let stats = drm.stats.clone();

            Ok(try_pin_init!(Binding {
                enabled,
                // SAFETY: The driver core drops the binding when the device is unbound.
                _legacy: unsafe { Unarbitrated::new(pdev) },
                device: device.clone(),
                attached: Attached::new(dev, &drm)?,
                // SAFETY: The driver core drops the binding when the device is unbound.
                running: unsafe { Running::new(pdev, device.clone(), &drm)? },
                // SAFETY: The driver core drops the binding when the device is unbound.
                interrupts <- unsafe { Interrupts::new(pdev, device.clone()) },
                _: {
                    pdev.set_master();
                    start(pdev, device, &report)?;
                },
                counters: counters(dev, stats)?,
                settled: Settled(device.clone()),
                _announced: Announced::new(device, &drm)?,
                registration: Registration::new(dev, drm)
                    .inspect_err(|e| dev_err!(dev, "cannot register with DRM: {e:?}\n"))?,
                _: {
                    report.complete();
                },
            }? Error))
        })
    }

    fn unbind<'bound>(_pdev: &'bound pci::Device<Core<'_>>, binding: Pin<&Binding<'bound>>) {
        binding.running.unbind();
    }
}

/// Tells user space of hangs, by the DRM device.
struct Announcer(ARef<Shared<Driver>>);

impl Herald for Announcer {
    fn tell(&self, remedy: Remedy, task: Option<&TaskName>) {
        if remedy == Remedy::Rebind {
            // What is mapped may be a card that does not answer any more.
            self.0.unmap_all();
        }
        self.0.tell_wedged(remedy, task);
    }
}

/// A guard for the time during which user space is told of hangs.
struct Announced(Arc<Device>);

impl Announced {
    fn new(device: &Arc<Device>, drm: &Shared<Driver>) -> Result<Self> {
        let announcer = KBox::new(Announcer(drm.into()), GFP_KERNEL)?;
        device.recovery.dumps.set_herald(Some(announcer));
        Ok(Self(device.clone()))
    }
}

impl Drop for Announced {
    fn drop(&mut self) {
        self.0.recovery.dumps.set_herald(None);
    }
}

/// Name of the debugfs directory with the counters of all cards.
const DEBUGFS_ROOT: &CStr = c"amdgpu_rs";

/// The counters of a card, in debugfs for as long as this value lives.
type Counters = Pin<KBox<debugfs::Scope<Arc<Stats>>>>;

/// State shared by all cards.
#[derive(Clone)]
struct Globals {
    debugfs: debugfs::Dir,
    queues: Queues,
    reports: Arc<Reports>,
}

kernel::sync::global_lock! {
    // SAFETY: Initialized when the module is, before any card is probed.
    unsafe(uninit) static GLOBALS: Mutex<Option<Globals>> = None;
}

impl Globals {
    fn get() -> Result<Self> {
        GLOBALS.lock().clone().ok_or(ENODEV)
    }
}

/// A guard for the time during which there are [`Globals`].
struct Loaded;

impl Loaded {
    fn new() -> Result<Self> {
        let debugfs = debugfs::Dir::new(DEBUGFS_ROOT);
        let globals = Globals {
            reports: Arc::pin_init(Reports::new(&debugfs), GFP_KERNEL)?,
            debugfs,
            queues: Queues {
                reaper: Arc::new(OwnedQueue::new(c"amdgpu_rs")?, GFP_KERNEL)?,
                closing: Arc::new(OwnedQueue::new(c"amdgpu_rs_closing")?, GFP_KERNEL)?,
                updates: Arc::new(OwnedQueue::for_reclaim(c"amdgpu_rs-vm")?, GFP_KERNEL)?,
                recovery: Arc::new(OwnedQueue::ordered(c"amdgpu_rs_recovery")?, GFP_KERNEL)?,
            },
        };
        *GLOBALS.lock() = Some(globals);
        Ok(Self)
    }
}

impl Drop for Loaded {
    fn drop(&mut self) {
        let globals = GLOBALS.lock().take();
        // There are no jobs and updates any more, but the last may still be on their way out.
        if let Some(globals) = globals {
            globals.queues.closing.flush();
            globals.queues.recovery.flush();
            globals.queues.updates.flush();
            globals.queues.reaper.flush();
        }
    }
}

/// Shows the counters of a card in debugfs.
fn counters(dev: &kernel::device::Device<Bound>, stats: Arc<Stats>) -> Result<Counters> {
    let root = Globals::get()?.debugfs;
    let stats = Ok::<_, Error>(stats);
    KBox::pin_init(
        root.scope(stats, dev.name(), |stats: &Arc<Stats>, dir| {
            stats.show_in(dir)
        }),
        GFP_KERNEL,
    )
}

/// Enables the PCI device, takes it from the firmware's framebuffer, and limits its bus addresses
/// to those that the chip can use.
fn take_over<'bound>(pdev: &'bound pci::Device<Core<'_>>, hw: &Chip) -> Result<Enabled<'bound>> {
    let enabled = Enabled::new(pdev)
        .inspect_err(|e| dev_err!(pdev, "cannot enable the PCI device: {e:?}\n"))?;
    remove_firmware_framebuffer(pdev, c"amdgpu_rs")
        .inspect_err(|e| dev_err!(pdev, "cannot take over the screen: {e:?}\n"))?;
    // SAFETY: Nothing is allocated or mapped for DMA yet.
    unsafe { pdev.dma_set_mask_and_coherent(hw.dma_mask)? };
    // The card accesses memory by pages: a segment may have any length.
    // SAFETY: As above.
    unsafe { pdev.dma_set_max_seg_size(u32::MAX) };
    Ok(enabled)
}

/// Returns the time limits of jobs that the module's parameters set.
fn limits(dev: &kernel::device::Device<Bound>) -> Limits {
    let limit = |kind: &str, value: i32| {
        let limit = Limits::from_parameter(value);
        if limit.is_none() {
            dev_warn!(
                dev,
                "{kind} jobs have no time limit: a hang is never noticed\n"
            );
        }
        limit
    };
    Limits {
        gfx: limit(
            "graphics",
            *module_parameters::lockup_timeout_gfx.value_ref(),
        ),
        compute: limit(
            "compute",
            *module_parameters::lockup_timeout_compute.value_ref(),
        ),
        sdma: limit("DMA", *module_parameters::lockup_timeout_sdma.value_ref()),
    }
}

/// Checks that the card responds, reads its video BIOS, and posts the card if nobody has.
fn check(pdev: &pci::Device<Bound>, hw: &Chip, card: &Card<'_>) -> Result<Vbios> {
    if !hw.system.responds(card) {
        dev_err!(
            pdev,
            "the card does not respond: its registers read as all ones\n"
        );
        return Err(ENODEV);
    }
    let mut vbios = Vbios::read(pdev, |image| hw.system.read_rom(card, image))?;
    if !hw.system.is_posted(card) {
        post(pdev, hw, card, &vbios)?;
    }
    vbios.clocks.reference /= hw.system.crystal_divider(card);
    check_condition(pdev, &hw.system.condition(card))?;
    Ok(vbios)
}

/// Initializes a card that the system firmware has left alone.
fn post(pdev: &pci::Device<Bound>, hw: &Chip, card: &Card<'_>, vbios: &Vbios) -> Result {
    dev_info!(
        pdev,
        "the system firmware has not initialized this card (not posted): doing it now\n"
    );
    hw.post(pdev.as_ref(), card, vbios)
}

/// Refuses a card that another driver has left without protection against heat, as only a cold boot
/// switches it on again.
fn check_condition(pdev: &pci::Device<Bound>, condition: &Condition) -> Result {
    if condition.thermal_protection_off {
        dev_err!(
            pdev,
            "another driver has left this card without protection against heat: switch the machine off and on again\n"
        );
        return Err(ENODEV);
    }
    if condition.power_controller_runs {
        dev_warn!(
            pdev,
            "another driver has left the card's power controller running; a cold boot stops it\n"
        );
    }
    Ok(())
}

/// Sets the chip's golden registers, starts its memory controller, and reads the facts of the card.
fn open_memory(
    pdev: &pci::Device<Bound>,
    hw: &Chip,
    card: &Card<'_>,
    vbios: Vbios,
    firmware: &hw::firmware::Files,
) -> Result<Facts> {
    let dev = pdev.as_ref();
    hw.system.program_golden_registers(card);
    let (vram, gart) = hw.memory.layout(card, dev)?;
    hw.memory.start(card, dev, &vram, &firmware.mc);
    let memory = hw.memory.describe(card);
    Ok(Facts {
        pci: PciIds {
            device: pdev.device_id(),
            revision: pdev.revision_id(),
        },
        // Without a link to be seen (in a virtual machine) it may be what the chip is made for.
        link: Link::of(pdev).unwrap_or(hw.link),
        revision: hw.system.revision(card),
        vbios,
        firmware: firmware.versions(),
        vram,
        gart,
        memory,
        graphics: hw.graphics.describe(card, &memory),
    })
}

/// Creates the device and everything that it shares with the card. Nothing is started yet.
fn set_up(
    dev: &kernel::device::Device<Bound>,
    hw: &'static Chip,
    facts: Facts,
    card: Card<'_>,
    firmware: hw::firmware::Files,
) -> Result<Arc<Device>> {
    let card = card.into_handle(dev)?;
    let queues = Globals::get()?.queues;
    let device = Device::new(dev, hw, facts, card, firmware, limits(dev), queues);
    Arc::pin_init(device, GFP_KERNEL)
        .inspect_err(|e| dev_err!(dev, "cannot set up the device: {e:?}\n"))
}

/// The card's interrupt: the handler, registered for its only vector.
#[pin_data]
struct Interrupts<'bound> {
    #[pin]
    handler: irq::ThreadedRegistration<'bound, Handler>,
    vectors: pci::IrqVectorRegistration<'bound>,
}

impl<'bound> Interrupts<'bound> {
    /// Allocates the vector, and registers the handler for it.
    ///
    /// # Safety
    ///
    /// The value must be dropped before the device is unbound.
    unsafe fn new(
        pdev: &'bound pci::Device<Bound>,
        device: Arc<Device>,
    ) -> impl PinInit<Self, Error> + 'bound {
        try_pin_init!(Self {
            vectors: pdev
                .alloc_irq_vectors(1, 1, messages())
                .inspect_err(|e| dev_err!(pdev, "no interrupt can be had: {e:?}\n"))?,
            handler <- {
                // SAFETY: `vectors` is initialized, lives at a pinned address, and is dropped after
                // `handler`.
                let vectors: &'bound pci::IrqVectorRegistration<'bound> =
                    unsafe { &*core::ptr::from_ref(vectors) };
                // SAFETY: By the caller's promise, the registration is dropped in time.
                unsafe {
                    irq::ThreadedRegistration::new(
                        vectors.index(0)?.into(),
                        irq::Flags::TRIGGER_NONE,
                        c"amdgpu_rs",
                        Ok::<_, Error>(Handler::new(device)),
                    )
                }
            },
        }? Error)
    }
}

/// Returns the interrupt types: message-signaled only, as the interrupt ring would have to be run
/// differently with others.
fn messages() -> pci::IrqTypes {
    pci::IrqTypes::default()
        .with(pci::IrqType::Msi)
        .with(pci::IrqType::MsiX)
}

/// Returns how much memory the DMA engines are to test, in MiB: a parameter of the module. If it is
/// not 0, the report of the boot is logged, too.
fn memory_to_test() -> u32 {
    module_parameters::first_boot.value()
}

fn volume() -> Volume {
    match memory_to_test() {
        0 => Volume::Silent,
        _ => Volume::Aloud,
    }
}

/// Starts all blocks of the card, tests each ring, lets idle blocks save power, and logs the card.
fn start(pdev: &pci::Device<Bound>, device: &Device, report: &Report) -> Result {
    let hw = device.hw;
    let card = device.card.access(pdev.as_ref())?;
    device.begin_translation(card);
    first_boot::memory(device, card, report);
    device.start_engines(card)?;
    device.test_rings(card, report)?;
    first_boot::engines(device, pdev, memory_to_test(), report)?;
    hw.system.gate_clocks(card, ClockGating::On);
    greet(device);
    Ok(())
}

/// Logs the card that came up.
fn greet(device: &Device) {
    let facts = &device.facts;
    dev_info!(
        device.dev,
        "{} revision {}, {} MiB of VRAM ({} MiB visible), {} compute units, {} render backends\n",
        device.hw.name,
        facts.revision.internal,
        facts.vram.size >> 20,
        facts.vram.visible >> 20,
        facts
            .graphics
            .units
            .iter()
            .map(|u| u.count_ones())
            .sum::<u32>(),
        facts.graphics.backends.count_ones()
    );
}

/// A guard that waits for the kernel's own jobs on drop. It must be dropped after the DRM device
/// was unplugged and while interrupts are served.
struct Settled(Arc<Device>);

impl Drop for Settled {
    fn drop(&mut self) {
        self.0.kernel_queue.wait_idle();
    }
}

/// The module. Fields are dropped in order: no card is left when the globals go.
#[pin_data]
struct AmdgpuModule {
    #[pin]
    driver: kernel::driver::Registration<Adapter<AmdgpuDriver>>,
    loaded: Loaded,
}

// SAFETY: All that the module gives to C belongs to a DRM device or to the binding of a card, and
// none of it is leaked. `driver` goes first, which unbinds every card: the binding waits for the
// kernel's own jobs, and stops the engines, which ends the fences of all rings, and with them all
// jobs and updates of page tables. A DRM device, with the buffers and notifiers of its clients, is
// kept by the binding, and by open files and DMA buffers, which keep the module loaded, too. The
// last to use fences, jobs, files and the device are items on the work queues, for which `loaded`
// waits.
unsafe impl Drained for AmdgpuModule {}

impl kernel::InPlaceModule for AmdgpuModule {
    fn init(module: &'static ThisModule) -> impl PinInit<Self, Error> {
        // SAFETY: Called once, before all else in this module. A macro of the kernel crate requires
        // the call, as there is no data of a module that a probe could reach.
        unsafe { GLOBALS.init() };

        try_pin_init!(Self {
            loaded: Loaded::new()?,
            driver <- kernel::driver::Registration::new(
                <LocalModule as kernel::ModuleMetadata>::NAME,
                module,
            ),
        })
    }
}

module! {
    type: AmdgpuModule,
    name: "amdgpu_rs",
    authors: ["The amdgpu_rs authors"],
    description: "AMD GPU driver in Rust",
    license: "Dual MIT/GPL",
    imports_ns: ["DMA_BUF"],
    params: {
        lockup_timeout_gfx: i32 {
            default: 0,
            description: "Time limit of graphics jobs in ms (0: 2000; negative: none)",
        },
        lockup_timeout_compute: i32 {
            default: 0,
            description: "Time limit of compute jobs in ms (0: 2000; negative: none)",
        },
        lockup_timeout_sdma: i32 {
            default: 0,
            description: "Time limit of DMA jobs in ms (0: 2000; negative: none)",
        },
        first_boot: u32 {
            default: 0,
            description: "Report the first boot of a card, and test that many MiB of memory",
        },
    },
}

/// Entries of the module's information that name the firmware of all chips, for tools that make an
/// initramfs.
struct ModuleFirmware<const N: usize>;

impl<const N: usize> ModuleFirmware<N> {
    const fn create(module: &'static CStr) -> ModInfoBuilder<N> {
        let mut info = ModInfoBuilder::new(module);
        let mut chip = 0;
        while chip < ChipId::ALL.len() {
            let names = ChipId::ALL[chip].chip().firmware.all();
            let mut file = 0;
            while file < names.len() {
                info = info.new_entry().push(match names[file].to_str() {
                    Ok(name) => name,
                    Err(_) => panic!(),
                });
                file += 1;
            }
            chip += 1;
        }
        info
    }
}

kernel::module_firmware!(ModuleFirmware);
