// SPDX-License-Identifier: GPL-2.0 OR MIT

//! DRM device nodes and raw ioctls: no library between the test and the kernel.

use std::{
    fs::{
        self,
        OpenOptions, //
    },
    os::{
        fd::{
            AsRawFd,
            FromRawFd,
            OwnedFd,
            RawFd, //
        },
        unix::fs::MetadataExt, //
    },
    path::{
        Path,
        PathBuf, //
    },
    ptr::NonNull,
    sync::atomic::{
        AtomicU32,
        Ordering, //
    }, //
};

use crate::{
    Errno,
    Result,
    num::{
        u64_of,
        usize_of, //
    },
    uapi::{
        self,
        Addr,
        Ioctl,
        Pod, //
    }, //
};

/// A render node whose driver speaks the amdgpu interface, and what sysfs says of it.
#[derive(Clone, Debug)]
pub struct Node {
    /// For example `/dev/dri/renderD128`.
    pub path: PathBuf,
    /// PCI slot, for example `0000:00:04.0`; empty when the device is not on PCI.
    pub slot: String,
    /// The module bound to the device.
    pub driver: Driver,
}

/// The driver that answers. Where it is stricter by design, ours may refuse what the other takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Driver {
    /// `amdgpu_rs`
    Rust,
    /// `amdgpu`, the C driver: the reference.
    Reference,
}

impl Driver {
    /// The module's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rust => "amdgpu_rs",
            Self::Reference => "amdgpu",
        }
    }
}

impl Node {
    /// The node at `path`, or without one the first render node that calls itself `amdgpu`.
    ///
    /// # Errors
    ///
    /// Says in words what was looked for and not found.
    pub fn find(path: Option<&Path>) -> std::result::Result<Self, String> {
        if let Some(path) = path {
            return Self::at(path).map_err(|e| format!("{}: {e}", path.display()));
        }
        Self::all()?
            .into_iter()
            .next()
            .ok_or_else(|| "no render node in /dev/dri has a driver named amdgpu".into())
    }

    /// All render nodes that call themselves `amdgpu`.
    ///
    /// # Errors
    ///
    /// In words, when there is nowhere to look.
    pub fn all() -> std::result::Result<Vec<Self>, String> {
        let mut nodes: Vec<_> = fs::read_dir("/dev/dri")
            .map_err(|e| format!("/dev/dri: {e} (is the driver loaded?)"))?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|p| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with("renderD")))
            .collect();
        nodes.sort();
        Ok(nodes.iter().filter_map(|path| Self::at(path).ok()).collect())
    }

    fn at(path: &Path) -> std::result::Result<Self, String> {
        let file = File::open(path).map_err(|e| e.to_string())?;
        let name = file.driver_name().map_err(|e| format!("VERSION: {e}"))?;
        if name != "amdgpu" {
            return Err(format!("its driver is '{name}', not 'amdgpu'"));
        }
        let rdev = fs::metadata(path).map_err(|e| e.to_string())?.rdev();
        let sysfs = format!("/sys/dev/char/{}:{}/device", libc::major(rdev), libc::minor(rdev));
        let last = |p: PathBuf| p.file_name().map(|n| n.to_string_lossy().into_owned());
        let slot = fs::canonicalize(&sysfs).ok().and_then(last).unwrap_or_default();
        let module = fs::canonicalize(format!("{sysfs}/driver/module")).ok().and_then(last);
        let driver = match module.as_deref() {
            Some("amdgpu_rs") => Driver::Rust,
            // Built in, so without a module: the debug directory tells.
            None if crate::stats::directory(&slot).is_dir() => Driver::Rust,
            _ => Driver::Reference,
        };
        Ok(Self { path: path.into(), slot, driver })
    }

    /// A new open file on the primary node of the same device, which is its master if nobody else
    /// is.
    ///
    /// # Errors
    ///
    /// That of open(2); ENOENT without such a node.
    pub fn primary(&self) -> Result<File> {
        let rdev = fs::metadata(&self.path).map_err(|_| Errno(libc::ENOENT))?.rdev();
        let nodes = format!("/sys/dev/char/{}:{}/device/drm", libc::major(rdev), libc::minor(rdev));
        let name = fs::read_dir(nodes)
            .map_err(|_| Errno(libc::ENOENT))?
            .filter_map(|entry| Some(entry.ok()?.file_name()))
            .find(|name| name.to_string_lossy().starts_with("card"))
            .ok_or(Errno(libc::ENOENT))?;
        File::open(&Path::new("/dev/dri").join(name))
    }

    /// A new open file on the node.
    ///
    /// # Errors
    ///
    /// That of open(2).
    pub fn open(&self) -> Result<File> {
        File::open(&self.path)
    }
}

/// One open DRM file: a name space of handles and a GPU address space.
#[derive(Debug)]
pub struct File(OwnedFd);

impl File {
    fn open(path: &Path) -> Result<Self> {
        OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .map(|f| Self(f.into()))
            .map_err(|e| Errno(e.raw_os_error().unwrap_or(libc::EIO)))
    }

    /// An open DRM file that came from elsewhere: from a parent, or through a socket.
    pub const fn from_fd(fd: OwnedFd) -> Self {
        Self(fd)
    }

    /// The descriptor, to be used in other ways.
    pub fn into_fd(self) -> OwnedFd {
        self.0
    }

    /// Another descriptor of the same open file.
    ///
    /// # Errors
    ///
    /// That of dup(2).
    pub fn again(&self) -> Result<Self> {
        let copy = self.0.try_clone();
        copy.map(Self).map_err(|e| Errno(e.raw_os_error().unwrap_or(libc::EIO)))
    }

    /// The descriptor.
    pub fn fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    /// Issues an ioctl once, whatever comes back: unlike libdrm's, this does not go round again
    /// on EINTR and EAGAIN, because tests want to see them.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn call<I: Pod, O: Pod>(&self, ioctl: Ioctl<I, O>, input: &I) -> Result<O> {
        const WORDS: usize = 40;
        const { assert!(size_of::<I>() <= WORDS * 8 && size_of::<O>() <= WORDS * 8) };
        let mut argument = [0_u64; WORDS];
        let at = argument.as_mut_ptr();
        // SAFETY: `argument` is larger than an `I`, aligned for any structure of integers, and
        // `I` has no padding.
        unsafe { at.cast::<I>().write_unaligned(*input) };
        // SAFETY: the request's size is the larger of `I` and `O`, which fits `argument`. What
        // else the kernel may touch lies behind an `Addr` in `input`, which outlives the call.
        Errno::of(unsafe { libc::ioctl(self.fd(), ioctl.request, at) })?;
        // SAFETY: `argument` is larger than an `O`, which is valid for any bytes.
        Ok(unsafe { at.cast::<O>().read_unaligned() })
    }

    /// Issues any request at all with `argument`, of which the kernel may overwrite every byte.
    ///
    /// # Errors
    ///
    /// The kernel's.
    ///
    /// # Panics
    ///
    /// When the request claims more bytes than `argument` has: the kernel would believe it.
    pub fn call_any(&self, request: u64, argument: &mut [u8]) -> Result {
        assert!(usize_of(request >> 16 & 0x3fff) <= argument.len());
        // SAFETY: the kernel touches as many bytes as the request says, and no more than there
        // are; callers pass no addresses inside (this is for requests that the core refuses).
        Errno::of(unsafe { libc::ioctl(self.fd(), request, argument.as_mut_ptr()) })
    }

    /// Issues a request with an address in place of an argument.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn call_at(&self, request: u64, argument: Addr<'static>) -> Result {
        // SAFETY: a static `Addr` is null, unmapped or the kernel's: user memory stays untouched.
        Errno::of(unsafe { libc::ioctl(self.fd(), request, argument) })
    }

    /// Returns the name that the driver gives itself.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn driver_name(&self) -> Result<String> {
        let mut name = [0_u8; 64];
        let lengths = self.call(
            uapi::VERSION,
            &uapi::Version { name_len: 64, name: Addr::of_mut(&mut name), ..Default::default() },
        )?;
        let len = usize_of(lengths.name_len).min(name.len());
        Ok(String::from_utf8_lossy(&name[..len]).into_owned())
    }

    /// Driver version, major and minor.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn version(&self) -> Result<(i32, i32)> {
        self.call(uapi::VERSION, &uapi::Version::default()).map(|v| (v.major, v.minor))
    }

    /// GEM_CREATE.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn gem_create(&self, bo_size: u64, domains: u64, domain_flags: u64) -> Result<u32> {
        let request = uapi::GemCreate { bo_size, alignment: 0, domains, domain_flags };
        self.call(uapi::GEM_CREATE, &request).map(|out| out.handle)
    }

    /// GEM_CLOSE.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn gem_close(&self, handle: u32) -> Result {
        self.call(uapi::GEM_CLOSE, &uapi::GemClose { handle, pad: 0 })
    }

    /// GEM_USERPTR over `size` bytes from `addr`, which the GPU may from then on read and write
    /// whenever a job names the handle, like another process on shared memory.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn gem_userptr(&self, addr: u64, size: u64, flags: u32) -> Result<u32> {
        let request = uapi::GemUserptr { addr, size, flags, handle: 0 };
        self.call(uapi::GEM_USERPTR, &request).map(|out| out.handle)
    }

    /// GEM_VA with the flags of an ordinary mapping.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn gem_va(&self, op: u32, handle: u32, va: u64, offset: u64, size: u64) -> Result {
        self.call(
            uapi::GEM_VA,
            &uapi::GemVa {
                handle,
                operation: op,
                flags: uapi::VM_PAGE_RWX,
                va_address: va,
                offset_in_bo: offset,
                map_size: size,
                ..Default::default()
            },
        )
    }

    /// GEM_OP SET_PLACEMENT: where the next job that names the BO is to find it.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn set_placement(&self, handle: u32, domains: u64) -> Result {
        let op = uapi::GEM_OP_SET_PLACEMENT;
        let request = uapi::GemOp { handle, op, value: domains, ..Default::default() };
        self.call(uapi::GEM_OP, &request).map(|_| ())
    }

    /// GEM_WAIT_IDLE until the absolute time `until_ns` of the monotonic clock. Whether there is
    /// nothing left to be done to the BO.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn wait_idle(&self, handle: u32, until_ns: u64) -> Result<bool> {
        let request = uapi::WaitIdle { handle, flags: 0, timeout: until_ns };
        self.call(uapi::GEM_WAIT_IDLE, &request).map(|out| out.status == 0)
    }

    /// GEM_MMAP and mmap(2).
    ///
    /// # Errors
    ///
    /// Either's.
    pub fn map(&self, handle: u32, len: u64) -> Result<IoMap> {
        let offset = self.call(uapi::GEM_MMAP, &uapi::Handle { handle, pad: 0 })?;
        IoMap::new(self, offset, usize_of(len), MapKind::Shared)
    }

    /// BO_LIST CREATE over `handles`, priority 0.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn bo_list(&self, handles: &[u32]) -> Result<u32> {
        let entries = list_entries(handles);
        self.call(uapi::BO_LIST, &list_request(&entries)).map(|out| out.handle)
    }

    /// BO_LIST DESTROY.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn bo_list_destroy(&self, list_handle: u32) -> Result {
        let request =
            uapi::BoList { operation: uapi::BO_LIST_OP_DESTROY, list_handle, ..Default::default() };
        self.call(uapi::BO_LIST, &request).map(|_| ())
    }

    /// CTX ALLOC at normal priority.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn ctx_alloc(&self) -> Result<u32> {
        let request = uapi::Ctx { op: uapi::CTX_OP_ALLOC, ..Default::default() };
        self.call(uapi::CTX, &request).map(|out| out.handle)
    }

    /// CTX FREE.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn ctx_free(&self, ctx_id: u32) -> Result {
        let request = uapi::Ctx { op: uapi::CTX_OP_FREE, ctx_id, ..Default::default() };
        self.call(uapi::CTX, &request).map(|_| ())
    }

    /// CS: the sequence number.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn cs(&self, ctx_id: u32, list: u32, chunks: &[uapi::Chunk<'_>]) -> Result<u64> {
        let addrs = Addr::of_chunks(chunks);
        let request = uapi::Cs {
            ctx_id,
            bo_list_handle: list,
            num_chunks: crate::num::u32_of(chunks.len()),
            flags: 0,
            chunks: Addr::of_addrs(&addrs),
        };
        self.call(uapi::CS, &request)
    }

    /// PRIME_HANDLE_TO_FD: a DMA buffer of a BO, for other files.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn export(&self, handle: u32) -> Result<OwnedFd> {
        let flags = u32::try_from(libc::O_CLOEXEC | libc::O_RDWR).unwrap_or(0);
        let out = self.call(uapi::PRIME_HANDLE_TO_FD, &uapi::Prime { handle, flags, fd: 0 })?;
        let fd = RawFd::try_from(out.fd).map_err(|_| Errno(libc::EBADF))?;
        // SAFETY: the kernel has just made it, and told nobody else.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    }

    /// PRIME_FD_TO_HANDLE: the BO of a DMA buffer.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn import(&self, fd: &impl AsRawFd) -> Result<u32> {
        let fd = u32::try_from(fd.as_raw_fd()).map_err(|_| Errno(libc::EBADF))?;
        self.call(uapi::PRIME_FD_TO_HANDLE, &uapi::Prime { fd, ..Default::default() })
            .map(|out| out.handle)
    }

    /// A new synchronization object, which holds no fence.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn syncobj_create(&self) -> Result<u32> {
        self.call(uapi::SYNCOBJ_CREATE, &uapi::Syncobj::default()).map(|out| out.handle)
    }

    /// Gives it back.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn syncobj_destroy(&self, handle: u32) -> Result {
        let request = uapi::Syncobj { handle, flags: 0 };
        self.call(uapi::SYNCOBJ_DESTROY, &request).map(|_| ())
    }

    /// Waits until a point of a synchronization object is signaled (0: whatever it holds).
    ///
    /// # Errors
    ///
    /// The kernel's: ETIME when the time is over first.
    pub fn syncobj_wait(&self, handle: u32, point: u64, ms: u64) -> Result {
        let (handles, points) = ([handle], [point]);
        let request = uapi::TimelineWait {
            handles: Addr::of(&handles),
            points: Addr::of(&points),
            timeout_nsec: deadline_ms(ms),
            count_handles: 1,
            ..Default::default()
        };
        self.call(uapi::SYNCOBJ_TIMELINE_WAIT, &request)
    }

    /// SYNCOBJ_HANDLE_TO_FD: the fence of a synchronization object, as a sync file.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn sync_file(&self, handle: u32) -> Result<OwnedFd> {
        let flags = uapi::EXPORT_SYNC_FILE;
        let request = uapi::SyncobjHandle { handle, flags, ..Default::default() };
        let out = self.call(uapi::SYNCOBJ_HANDLE_TO_FD, &request)?;
        let fd = RawFd::try_from(out.fd).map_err(|_| Errno(libc::EBADF))?;
        // SAFETY: the kernel has just made it, and told nobody else.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    }

    /// INFO, with as many bytes as a `T` has. What the kernel does not fill stays zero.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn info<T: Pod + Default>(&self, query: u32, param: [u32; 4]) -> Result<T> {
        let mut out = [T::default()];
        let request = uapi::Info {
            return_size: crate::num::u32_of(size_of::<T>()),
            return_pointer: Addr::of_mut(&mut out),
            query,
            param,
        };
        self.call(uapi::INFO, &request)?;
        Ok(out[0])
    }
}

/// Puts the fence of a sync file into a DMA buffer, for `DMA_BUF_SYNC_*`.
///
/// # Errors
///
/// The kernel's.
pub fn import_sync_file(buffer: &OwnedFd, fence: &OwnedFd, flags: u32) -> Result {
    let fd = u32::try_from(fence.as_raw_fd()).map_err(|_| Errno(libc::EBADF))?;
    let mut request = uapi::ImportSyncFile { flags, fd };
    let at = &raw mut request;
    // SAFETY: the request's size is that of the structure, which the kernel only reads.
    Errno::of(unsafe { libc::ioctl(buffer.as_raw_fd(), uapi::DMA_BUF_IMPORT_SYNC_FILE, at) })
}

/// A sync file of the fences in a DMA buffer that somebody who reads it (`DMA_BUF_SYNC_READ`), or
/// writes it, has to wait for.
///
/// # Errors
///
/// The kernel's.
pub fn export_sync_file(buffer: &OwnedFd, flags: u32) -> Result<OwnedFd> {
    let mut request = uapi::ImportSyncFile { flags, fd: 0 };
    let at = &raw mut request;
    // SAFETY: the request's size is that of the structure, which is ours.
    Errno::of(unsafe { libc::ioctl(buffer.as_raw_fd(), uapi::DMA_BUF_EXPORT_SYNC_FILE, at) })?;
    let fd = RawFd::try_from(request.fd).map_err(|_| Errno(libc::EBADF))?;
    // SAFETY: the kernel has just made it, and told nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Returns true if a sync file has ended.
pub fn is_ready(sync_file: &OwnedFd) -> bool {
    let mut poll = libc::pollfd { fd: sync_file.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: there is one structure, and the call may write to it.
    let ready = unsafe { libc::poll(&raw mut poll, 1, 0) };
    ready == 1
}

/// Opens any device of the kernel's for reading and writing.
///
/// # Errors
///
/// That of open(2).
pub fn open_device(path: &str) -> Result<File> {
    File::open(Path::new(path))
}

/// A BO list's entries, all at priority 0.
pub fn list_entries(handles: &[u32]) -> Vec<uapi::BoListEntry> {
    handles.iter().map(|&bo_handle| uapi::BoListEntry { bo_handle, bo_priority: 0 }).collect()
}

/// A BO_LIST CREATE request, or the body of a BO_HANDLES chunk.
pub fn list_request(entries: &[uapi::BoListEntry]) -> uapi::BoList<'_> {
    uapi::BoList {
        operation: uapi::BO_LIST_OP_CREATE,
        list_handle: 0,
        bo_number: crate::num::u32_of(entries.len()),
        bo_info_size: crate::num::u32_of(size_of::<uapi::BoListEntry>()),
        bo_info_ptr: Addr::of(entries),
    }
}

/// Ways in which a BO is mapped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MapKind {
    /// As every user does.
    Shared,
    /// Copy on write, which no DRM driver allows for a writable mapping.
    Private,
}

/// A BO in this process's address space. The GPU may write it at any time, so it is read and
/// written through volatile accesses and copies, never borrowed.
#[derive(Debug)]
pub struct IoMap {
    at: NonNull<u8>,
    len: usize,
}

// SAFETY: the mapping belongs to the process, not to a thread.
unsafe impl Send for IoMap {}
// SAFETY: shared access is by volatile access or by plain copies of bytes that other agents may
// change meanwhile, which is what the memory is for.
unsafe impl Sync for IoMap {}

impl IoMap {
    /// mmap(2) of a DRM file at a fake offset.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn new(file: &File, offset: u64, len: usize, kind: MapKind) -> Result<Self> {
        let kind = match kind {
            MapKind::Shared => libc::MAP_SHARED,
            MapKind::Private => libc::MAP_PRIVATE,
        };
        let prot = libc::PROT_READ | libc::PROT_WRITE;
        let offset = i64::try_from(offset).map_err(|_| Errno(libc::EOVERFLOW))?;
        // SAFETY: a new mapping, at an address of the kernel's choice, disturbs nothing.
        let at = unsafe { libc::mmap(std::ptr::null_mut(), len, prot, kind, file.fd(), offset) };
        if at == libc::MAP_FAILED {
            return Err(Errno::last());
        }
        Ok(Self { at: NonNull::new(at.cast()).ok_or(Errno(libc::ENOMEM))?, len })
    }

    /// Takes over a mapping.
    ///
    /// # Safety
    ///
    /// `at` must be a mapping of `len` bytes that stays until this value is dropped, which
    /// unmaps it. (Where somebody else unmaps it, wrap the value in `ManuallyDrop`.)
    pub const unsafe fn from_raw(at: NonNull<u8>, len: usize) -> Self {
        Self { at, len }
    }

    /// Its address, for the cases that hand it to the kernel as memory.
    pub fn addr(&self) -> u64 {
        u64_of(self.at.as_ptr().expose_provenance())
    }

    /// Bytes mapped.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Returns true if nothing is mapped.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn word_at(&self, offset: usize) -> *mut u32 {
        assert!(offset.is_multiple_of(4) && offset + 4 <= self.len, "outside the mapping");
        // SAFETY: within the mapping, as just checked.
        unsafe { self.at.as_ptr().add(offset) }.cast()
    }

    /// Reads the word at a byte offset.
    pub fn read(&self, offset: usize) -> u32 {
        // SAFETY: `word_at` gives an aligned word of the mapping.
        unsafe { self.word_at(offset).read_volatile() }
    }

    /// Writes the word at a byte offset, after everything that this thread wrote before.
    pub fn write(&self, offset: usize, value: u32) {
        // SAFETY: `word_at` gives an aligned word of the mapping, and an `AtomicU32` is one.
        unsafe { AtomicU32::from_ptr(self.word_at(offset)) }.store(value, Ordering::SeqCst);
    }

    /// Copies bytes out.
    pub fn copy_out(&self, offset: usize, into: &mut [u8]) {
        assert!(offset.checked_add(into.len()).is_some_and(|end| end <= self.len));
        // SAFETY: both ranges exist, as just checked, and they cannot overlap: `into` is borrowed
        // mutably, and the mapping is never lent.
        unsafe {
            self.at.as_ptr().add(offset).copy_to_nonoverlapping(into.as_mut_ptr(), into.len());
        }
    }

    /// Copies words in.
    pub fn copy_in(&self, offset: usize, words: &[u32]) {
        for (i, &word) in words.iter().enumerate() {
            self.write(offset + 4 * i, word);
        }
    }

    /// The same byte everywhere.
    pub fn fill(&self, byte: u8) {
        // SAFETY: the whole mapping, and nothing else.
        unsafe { self.at.as_ptr().write_bytes(byte, self.len) };
    }
}

impl Drop for IoMap {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's, and nothing borrows from it.
        unsafe { libc::munmap(self.at.as_ptr().cast(), self.len) };
    }
}

/// Nanoseconds of the monotonic clock, on which the kernel's absolute timeouts run.
pub fn now_ns() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is a timespec that the call may write.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    let part = |n: i64| u64::try_from(n).unwrap_or(0);
    part(now.tv_sec) * 1_000_000_000 + part(now.tv_nsec)
}

/// The absolute timeout that lies `ms` milliseconds ahead.
pub fn deadline_ms(ms: u64) -> u64 {
    now_ns() + ms * 1_000_000
}

/// Lower bound of the GPU addresses that the tests use, in bytes: well above the reserved bottom
/// (64 KiB).
pub const VA_START: u64 = u64_of(crate::PAGE) << 12;
