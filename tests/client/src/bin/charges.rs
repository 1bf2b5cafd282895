// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Memory of the card that is charged to control groups, by the kernel's dmem controller: what the
//! card has, what a group uses, and a limit that holds. As root, on a kernel with the controller
//! (the debug kernel's).

use std::{
    fs,
    path::{
        Path,
        PathBuf, //
    },
    process::{
        Command,
        ExitCode, //
    }, //
};

use amdgpu_client::{
    Errno,
    args::Args,
    drm::Node,
    engine::Engine,
    ib::Stream,
    num::usize_of,
    report::{
        Outcome,
        Tally,
        give_up, //
    },
    session::{
        Buffer,
        Session, //
    },
    uapi::{
        self,
        DOMAIN_GTT,
        DOMAIN_VRAM,
        INFO_MEMORY, //
    }, //
};

const MIB: u64 = 1 << 20;

/// Most VRAM that the driver keeps for itself, and that nobody is charged.
const RESERVED: u64 = 16 * MIB;
/// Most memory for the page tables that show a buffer, which are its owner's too.
const TABLES: u64 = MIB / 16;

/// The root of all groups, and the one of this test.
const ROOT: &str = "/tmp/charges";
const GROUP: &str = "/tmp/charges/test";

/// The controller's files, as lines of a region and a number.
struct Group(&'static Path);

impl Group {
    fn of(path: &'static str) -> Self {
        Self(Path::new(path))
    }

    fn write(&self, file: &str, text: &str) -> Result<(), String> {
        fs::write(self.0.join(file), text).map_err(|e| format!("{file}: {text}: {e}"))
    }

    /// The number of a region.
    fn read(&self, file: &str, region: &str) -> Result<u64, String> {
        let text = fs::read_to_string(self.0.join(file)).map_err(|e| format!("{file}: {e}"))?;
        text.lines()
            .find_map(|line| line.strip_prefix(region)?.trim().parse().ok())
            .ok_or_else(|| format!("{file}: no number for {region} in {text:?}"))
    }
}

/// The regions of the card, by the controller's names.
struct Regions {
    vram: String,
    gtt: String,
}

impl Regions {
    fn of(node: &Node) -> Result<Self, String> {
        let name = node.path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let device = fs::read_link(format!("/sys/class/drm/{name}/device"))
            .map_err(|e| format!("the device of {name}: {e}"))?;
        let device = device.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        Ok(Self { vram: format!("drm/{device}/vram"), gtt: format!("drm/{device}/gtt") })
    }
}

/// Mounts the groups, and makes the one of this test.
fn begin() -> Result<(), String> {
    fs::create_dir_all(ROOT).map_err(|e| format!("{ROOT}: {e}"))?;
    let mount = Command::new("mount").args(["-t", "cgroup2", "none", ROOT]).status();
    if !mount.map_err(|e| format!("mount: {e}"))?.success() {
        return Err("the groups are not mounted".into());
    }
    Group::of(ROOT).write("cgroup.subtree_control", "+dmem")?;
    fs::create_dir(GROUP).map_err(|e| format!("{GROUP}: {e}"))?;
    Group::of(GROUP).write("cgroup.procs", "0")
}

/// The card's memory is what the groups share.
fn capacity(session: &Session, regions: &Regions) -> Outcome {
    let memory: uapi::Memory =
        session.file.info(INFO_MEMORY, [0; 4]).map_err(|e| format!("INFO_MEMORY: {e}"))?;
    for (region, expected) in
        [(&regions.vram, memory.vram.total_heap_size), (&regions.gtt, memory.gtt.total_heap_size)]
    {
        let seen = Group::of(ROOT).read("dmem.capacity", region)?;
        if !(expected - RESERVED..=expected).contains(&seen) {
            return Err(format!("{region}: {seen} bytes, with {expected} on the card"));
        }
    }
    Ok(format!("{} MiB of VRAM", memory.vram.total_heap_size / MIB))
}

/// A buffer counts while it is there, for the kind of memory that it is in.
fn use_of(session: &Session, region: &str, domain: u64) -> Outcome {
    let group = Group::of(GROUP);
    let before = group.read("dmem.current", region)?;
    let size = 8 * MIB;
    let buffer = session.buffer(size, domain, 0).map_err(|e| format!("a buffer: {e}"))?;
    let held = group.read("dmem.current", region)?;
    if !(before + size..=before + size + TABLES).contains(&held) {
        return Err(format!("{held} bytes with a buffer, {before} without"));
    }
    let handle = buffer.handle;
    session
        .file
        .gem_va(uapi::VA_OP_UNMAP, handle, buffer.va, 0, size)
        .and_then(|()| session.file.gem_close(handle))
        .map_err(|e| format!("closing it: {e}"))?;
    drop(buffer.map);
    // The last reference may go by a fence.
    let mut after = 0;
    for _ in 0..200 {
        after = group.read("dmem.current", region)?;
        if after <= before + TABLES {
            return Ok(format!("{} KiB besides", before / 1024));
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    Err(format!("{after} bytes after it was closed, {before} before"))
}

/// More than the limit does not stay in VRAM, and nothing is lost by that.
fn limit(session: &Session, region: &str) -> Outcome {
    let group = Group::of(GROUP);
    let most = group.read("dmem.current", region)? + 16 * MIB;
    group.write("dmem.max", &format!("{region} {most}"))?;
    let mut buffers = Vec::new();
    for n in 0..8u32 {
        let buffer =
            session.buffer(4 * MIB, DOMAIN_VRAM, 0).map_err(|e| format!("buffer {n}: {e}"))?;
        buffer.map.write(0, 0x5eed_0000 | n);
        buffers.push(buffer);
        let used = group.read("dmem.current", region)?;
        if used > most {
            return Err(format!("{used} bytes with buffer {n}: the limit is {most}"));
        }
    }
    session.prove_alive(Engine::Dma(0))?;
    for (buffer, n) in buffers.iter().zip(0..) {
        let seen = buffer.map.read(0);
        if seen != 0x5eed_0000 | n {
            return Err(format!("buffer {n} holds {seen:#x}"));
        }
    }
    let used = group.read("dmem.current", region)?;
    group.write("dmem.max", &format!("{region} max"))?;
    Ok(format!("32 MiB of buffers, {} of {} KiB used", used / 1024, most / 1024))
}

/// One buffer that is larger than all that the limit leaves lies in GTT, and jobs reach it there.
fn larger(session: &Session, regions: &Regions) -> Outcome {
    const SIZE: u64 = 64 * MIB;

    let group = Group::of(GROUP);
    let most = group.read("dmem.current", &regions.vram)? + 16 * MIB;
    let gtt = group.read("dmem.current", &regions.gtt)?;
    group.write("dmem.max", &format!("{} {most}", regions.vram))?;
    let create = |flags| session.file.gem_create(SIZE, DOMAIN_VRAM, flags);
    for flags in [0, uapi::CREATE_VM_ALWAYS_VALID] {
        let handle = create(flags).map_err(|e| format!("creating one, flags {flags:#x}: {e}"))?;
        session.file.gem_close(handle).map_err(|e| format!("closing it: {e}"))?;
    }
    let buffer = session.buffer(SIZE, DOMAIN_VRAM, 0).map_err(|e| format!("a buffer: {e}"))?;
    buffer.map.write(0, 0x5eed);
    let mut stream = Stream::new();
    stream.store(Engine::Dma(0), buffer.va + SIZE - 4, 0xfeed);
    session.run(Engine::Dma(0), &stream, &[buffer.handle])?;
    let seen = (buffer.map.read(0), buffer.map.read(usize_of(SIZE) - 4));
    if seen != (0x5eed, 0xfeed) {
        return Err(format!("the buffer holds {:#x} and {:#x}", seen.0, seen.1));
    }
    let used = group.read("dmem.current", &regions.vram)?;
    if used > most {
        return Err(format!("{used} bytes of VRAM: the limit is {most}"));
    }
    let there = group.read("dmem.current", &regions.gtt)?;
    if there < gtt + SIZE {
        return Err(format!("{there} bytes of GTT with it, {gtt} without"));
    }
    close(session, buffer)?;
    group.write("dmem.max", &format!("{} max", regions.vram))?;
    Ok(format!("{} of {} KiB of VRAM used", used / 1024, most / 1024))
}

fn close(session: &Session, buffer: Buffer) -> Result<(), String> {
    session.file.gem_close(buffer.handle).map_err(|e| format!("closing it: {e}"))
}

/// One buffer takes so much of what the limit leaves that the page tables that show it have no room
/// beside it: it goes to GTT.
fn beside_tables(session: &Session, region: &str) -> Outcome {
    const SIZE: u64 = 16 * MIB;
    /// Half of what a page directory needs.
    const LEFT: u64 = 64 << 10;
    const ENGINE: Engine = Engine::Dma(0);

    let group = Group::of(GROUP);
    let most = SIZE + LEFT;
    group.write("dmem.max", &format!("{region} {most}"))?;
    let mapped = session.buffer(SIZE, DOMAIN_VRAM, 0).map_err(|e| format!("mapped: {e}"))?;
    let mut stream = Stream::new();
    stream.store(ENGINE, mapped.va + SIZE - 4, 0xfeed);
    session.run(ENGINE, &stream, &[mapped.handle])?;
    let seen = mapped.map.read(usize_of(SIZE) - 4);
    if seen != 0xfeed {
        return Err(format!("the buffer holds {seen:#x}"));
    }
    // Its tables leave VRAM for a buffer that the next job names, or uses without naming it.
    for (flags, named) in [(0, true), (uapi::CREATE_VM_ALWAYS_VALID, false)] {
        let what = if named { "named" } else { "private" };
        let other = session.file.gem_create(SIZE, DOMAIN_VRAM, flags);
        let other = other.map_err(|e| format!("{what}: {e}"))?;
        stream = Stream::new();
        stream.store(ENGINE, mapped.va, 0xbeef);
        let handles = [mapped.handle, other];
        let handles = if named { &handles[..] } else { &handles[..1] };
        session.run(ENGINE, &stream, handles).map_err(|e| format!("{what}: {e}"))?;
        let seen = mapped.map.read(0);
        mapped.map.write(0, 0);
        if seen != 0xbeef {
            return Err(format!("{what}: the buffer holds {seen:#x}"));
        }
        session.file.gem_close(other).map_err(|e| format!("closing it: {e}"))?;
    }
    let used = group.read("dmem.current", region)?;
    if used > most {
        return Err(format!("{used} bytes are used, {most} are allowed"));
    }
    close(session, mapped)?;
    group.write("dmem.max", &format!("{region} max"))?;
    Ok(format!("{} of {} KiB used", used / 1024, most / 1024))
}

/// An error and nothing else, if neither kind has room.
fn no_room(session: &Session, regions: &Regions) -> Outcome {
    let group = Group::of(GROUP);
    let most = group.read("dmem.current", &regions.gtt)? + 4 * MIB;
    group.write("dmem.max", &format!("{} {most}", regions.gtt))?;
    match session.file.gem_create(64 * MIB, DOMAIN_GTT, 0) {
        Err(Errno(libc::ENOMEM)) => {}
        Ok(_) => return Err("a buffer of 64 MiB was made".into()),
        Err(e) => return Err(format!("{e}, not ENOMEM")),
    }
    session.prove_alive(Engine::Gfx)?;
    group.write("dmem.max", &format!("{} max", regions.gtt))?;
    group.write("dmem.max", &format!("{} max", regions.vram))?;
    let handle = session
        .file
        .gem_create(64 * MIB, DOMAIN_GTT, 0)
        .map_err(|e| format!("without limits: {e}"))?;
    session.file.gem_close(handle).map_err(|e| format!("closing it: {e}"))?;
    Ok(String::new())
}

/// A limit below what is used makes the group's buffers leave.
fn squeezed(session: &Session, region: &str) -> Outcome {
    let group = Group::of(GROUP);
    let base = group.read("dmem.current", region)?;
    let buffer = session.buffer(16 * MIB, DOMAIN_VRAM, 0).map_err(|e| format!("a buffer: {e}"))?;
    buffer.map.write(4096, 0xfeed);
    let limit = base + 4 * MIB;
    group.write("dmem.max", &format!("{region} {limit}"))?;
    let used = group.read("dmem.current", region)?;
    if used > limit {
        return Err(format!("{used} bytes are used, {limit} are allowed"));
    }
    let seen = buffer.map.read(4096);
    group.write("dmem.max", &format!("{region} max"))?;
    if seen != 0xfeed {
        return Err(format!("the buffer holds {seen:#x}"));
    }
    Ok(format!("{} KiB left", used / 1024))
}

fn main() -> ExitCode {
    let args = Args::parse(
        "Looks at what the dmem controller is told.",
        &[("node", "device node (default: the first amdgpu render node)")],
    );
    let node = match Node::find(args.get::<PathBuf>("node").as_deref()) {
        Ok(node) => node,
        Err(why) => return give_up("charges", why),
    };
    let begun = begin().and_then(|()| Regions::of(&node));
    let regions = match begun {
        Ok(regions) => regions,
        Err(why) => return give_up("charges", why),
    };
    let session = match Session::open(&node) {
        Ok(session) => session,
        Err(e) => return give_up("charges", e),
    };
    let mut tally = Tally::new();
    tally.check("the regions are as large as the heaps", || capacity(&session, &regions));
    tally.check("a buffer in VRAM counts while it is there", || {
        use_of(&session, &regions.vram, DOMAIN_VRAM)
    });
    tally.check("a buffer in GTT counts while it is there", || {
        use_of(&session, &regions.gtt, DOMAIN_GTT)
    });
    tally.check("a limit of VRAM holds, and no byte is lost", || limit(&session, &regions.vram));
    tally.check("what is larger than a limit lies in GTT", || larger(&session, &regions));
    tally.check("a buffer leaves room for its page tables", || {
        beside_tables(&session, &regions.vram)
    });
    tally.check("a lower limit makes buffers leave", || squeezed(&session, &regions.vram));
    tally.check("without room there is ENOMEM", || no_room(&session, &regions));
    tally.close()
}
