// SPDX-License-Identifier: GPL-2.0 OR MIT

//! A card beside what is no card: vgem, a driver of memory alone, and udmabuf.

use crate::view::{
    PLACE,
    SIZE,
    View,
    at,
    expect,
    map_buffer, //
};
use amdgpu_client::drm::{
    File,
    Node,
    open_device, //
};
use amdgpu_client::num::usize_of;
use amdgpu_client::report::Tally;
use amdgpu_client::session::Session;
use amdgpu_client::uapi::{
    self,
    DOMAIN_GTT,
    DOMAIN_VRAM, //
};
use amdgpu_client::{
    Errno,
    Result as Answer, //
};
use std::os::fd::{
    AsRawFd,
    FromRawFd,
    OwnedFd, //
};

type Outcome = Result<(), String>;

pub fn try_all(node: &Node, tally: &mut Tally) {
    let session = match Session::open(node) {
        Ok(session) => session,
        Err(e) => {
            tally.record("a session", Err(format!("{}: {e}", node.slot)));
            return;
        }
    };
    match find_vgem() {
        None => tally.skip("vgem", "there is none"),
        Some(vgem) => {
            tally.check(format!("{}: memory of vgem", node.slot), || {
                from_vgem(&session, &vgem).map(|()| String::new())
            });
            tally.check(format!("{}: what vgem has stays in its place", node.slot), || {
                to_vgem(&session, &vgem).map(|()| String::new())
            });
        }
    }
    match open_device("/dev/udmabuf") {
        Err(e) => tally.skip("udmabuf", &format!("/dev/udmabuf: {e}")),
        Ok(udmabuf) => {
            tally.check(format!("{}: memory of a process, as a DMA buffer", node.slot), || {
                from_udmabuf(&session, &udmabuf).map(|()| String::new())
            });
        }
    }
}

fn find_vgem() -> Option<File> {
    let cards = std::fs::read_dir("/dev/dri").ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    cards
        .filter(|path| path.file_name().is_some_and(|n| n.to_string_lossy().starts_with("card")))
        .filter_map(|path| open_device(&path.to_string_lossy()).ok())
        .find(|file| file.driver_name().is_ok_and(|name| name == "vgem"))
}

/// A BO of vgem.
fn dumb(vgem: &File) -> Answer<u32> {
    let request = uapi::CreateDumb { height: 1, width: 0x4000, bpp: 32, ..Default::default() };
    let made = vgem.call(uapi::MODE_CREATE_DUMB, &request)?;
    if made.size == SIZE { Ok(made.handle) } else { Err(Errno(libc::ERANGE)) }
}

fn from_vgem(session: &Session, vgem: &File) -> Outcome {
    let handle = at("CREATE_DUMB", dumb(vgem))?;
    let buffer = at("PRIME_HANDLE_TO_FD", vgem.export(handle))?;
    let map = map_buffer(&buffer)?;
    let view = View::import(session, &buffer)?;
    map.write(PLACE, 0x1234);
    view.expect(0x1234)?;
    view.write(0x4321)?;
    let seen = map.read(PLACE);
    expect(seen == 0x4321, || format!("the processor reads {seen:#x}"))?;
    let seen = view.map()?.read(PLACE);
    expect(seen == 0x4321, || format!("by its handle here it reads {seen:#x}"))?;
    // The buffer is gone there first.
    at("GEM_CLOSE", vgem.gem_close(handle))?;
    drop(buffer);
    drop(map);
    view.write(0x5678)?;
    view.expect(0x5678)
}

/// vgem's attachments are static: it maps a buffer when it gets it, and never again.
fn to_vgem(session: &Session, vgem: &File) -> Outcome {
    let view = View::create(session, DOMAIN_VRAM)?;
    view.write(0xabcd)?;
    let buffer = view.export()?;
    let handle = at("PRIME_FD_TO_HANDLE", vgem.import(&buffer))?;
    let map = map_buffer(&buffer)?;
    let kept = (|| {
        let seen = map.read(PLACE);
        expect(seen == 0xabcd, || format!("the processor reads {seen:#x}"))?;
        // Jobs go on, and leave the buffer where it is.
        view.write(0xbcde)?;
        view.expect(0xbcde)?;
        let fixed = at("SET_PLACEMENT", session.file.set_placement(view.handle, DOMAIN_GTT));
        fixed?;
        view.write(0xcdef)?;
        view.expect(0xcdef)
    })();
    at("GEM_CLOSE", vgem.gem_close(handle))?;
    kept?;
    drop(buffer);
    drop(map);
    // And now it may go.
    view.move_to(DOMAIN_VRAM)?;
    view.expect(0xcdef)
}

fn from_udmabuf(session: &Session, udmabuf: &File) -> Outcome {
    let memory = at("memfd_create", memfd())?;
    let made = |offset, size| {
        let request = uapi::UdmabufCreate {
            memfd: u32::try_from(memory.as_raw_fd()).unwrap_or(u32::MAX),
            flags: 1,
            offset,
            size,
        };
        make_udmabuf(udmabuf, request)
    };
    let buffer = at("UDMABUF_CREATE", made(0, SIZE))?;
    let map = map_buffer(&buffer)?;
    let view = View::import(session, &buffer)?;
    map.write(PLACE, 0x9876);
    view.expect(0x9876)?;
    view.write(0x6789)?;
    let seen = map.read(PLACE);
    expect(seen == 0x6789, || format!("the processor reads {seen:#x}"))?;
    // A smaller one does not get the size of the first.
    let small = at("UDMABUF_CREATE", made(0, SIZE / 2))?;
    let handle = at("PRIME_FD_TO_HANDLE", session.file.import(&small))?;
    let va = session.reserve_va(SIZE);
    let answer = session.file.gem_va(uapi::VA_OP_MAP, handle, va, 0, SIZE);
    at("GEM_CLOSE", session.file.gem_close(handle))?;
    expect(answer == Err(Errno(libc::EINVAL)), || format!("GEM_VA of too much: {answer:?}"))
}

/// Memory that does not shrink, as udmabuf wants it.
fn memfd() -> Answer<OwnedFd> {
    // SAFETY: the name is a string, and the descriptor nobody else's.
    let memory = unsafe {
        let fd = libc::memfd_create(c"prime".as_ptr(), libc::MFD_ALLOW_SEALING | libc::MFD_CLOEXEC);
        Errno::of(fd.min(0))?;
        OwnedFd::from_raw_fd(fd)
    };
    let size = i64::try_from(usize_of(SIZE)).unwrap_or(0);
    // SAFETY: these calls take numbers only.
    unsafe {
        Errno::of(libc::ftruncate(memory.as_raw_fd(), size))?;
        Errno::of(libc::fcntl(memory.as_raw_fd(), libc::F_ADD_SEALS, libc::F_SEAL_SHRINK))?;
    }
    Ok(memory)
}

fn make_udmabuf(udmabuf: &File, request: uapi::UdmabufCreate) -> Answer<OwnedFd> {
    let mut request = request;
    // SAFETY: the request's size is that of the structure, which the kernel only reads.
    let fd = unsafe { libc::ioctl(udmabuf.fd(), uapi::UDMABUF_CREATE, &raw mut request) };
    Errno::of(fd.min(0))?;
    // SAFETY: the kernel has just made it, and told nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
