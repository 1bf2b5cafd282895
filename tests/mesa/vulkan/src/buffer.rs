// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Memory and buffers on it.

use std::ptr::NonNull;

use amdgpu_client::{
    PAGE,
    mem::UserMem, //
};
use ash::vk;

use crate::gpu::{
    Gpu,
    Result,
    asked, //
};

/// Bytes of a word.
pub const WORD: u64 = 4;

/// Words of a page of user memory.
pub const WORDS_OF_PAGE: usize = PAGE / size_of::<u32>();

/// A piece of device memory.
pub struct Memory<'g> {
    gpu: &'g Gpu,
    handle: vk::DeviceMemory,
}

impl<'g> Memory<'g> {
    /// Allocates what `needs` asks for, in memory with `flags`.
    ///
    /// # Errors
    ///
    /// Vulkan's, in words.
    pub fn new(
        gpu: &'g Gpu,
        needs: &vk::MemoryRequirements,
        flags: vk::MemoryPropertyFlags,
    ) -> Result<Self> {
        let kind = gpu.memory_type(needs.memory_type_bits, flags)?;
        let info =
            vk::MemoryAllocateInfo::default().allocation_size(needs.size).memory_type_index(kind);
        // SAFETY: `info` lives until the call returns; so for every call of this kind below.
        let handle = asked("memory", unsafe { gpu.device.allocate_memory(&info, None) })?;
        Ok(Self { gpu, handle })
    }

    /// Takes user memory for the device's.
    fn of_user(gpu: &'g Gpu, mem: &UserMem, allowed: u32) -> Result<Self> {
        let at = mem.as_ptr();
        let mut can = vk::MemoryHostPointerPropertiesEXT::default();
        // SAFETY: the functions were loaded for this device, which has the extension; the pointer
        // is only looked at.
        let answer = unsafe {
            (gpu.host_memory.fp().get_memory_host_pointer_properties_ext)(
                gpu.device.handle(),
                HOST_ALLOCATION,
                at.cast(),
                &raw mut can,
            )
        };
        asked("user memory's types", answer.result())?;
        let flags = vk::MemoryPropertyFlags::HOST_COHERENT;
        let mut import = vk::ImportMemoryHostPointerInfoEXT::default()
            .handle_type(HOST_ALLOCATION)
            .host_pointer(at.cast());
        let info = vk::MemoryAllocateInfo::default()
            .allocation_size(mem.len() as u64)
            .memory_type_index(gpu.memory_type(allowed & can.memory_type_bits, flags)?)
            .push_next(&mut import);
        // SAFETY: `mem` is whole pages of this process. That it may be replaced under the device
        // is what is tried; the pages are the kernel's to keep.
        let handle = asked("user memory", unsafe { gpu.device.allocate_memory(&info, None) })?;
        Ok(Self { gpu, handle })
    }

    /// The handle, to bind an image to.
    pub const fn handle(&self) -> vk::DeviceMemory {
        self.handle
    }
}

impl Drop for Memory<'_> {
    fn drop(&mut self) {
        // SAFETY: jobs borrow what they use until they are done, so none is under way.
        unsafe { self.gpu.device.free_memory(self.handle, None) };
    }
}

const HOST_ALLOCATION: vk::ExternalMemoryHandleTypeFlags =
    vk::ExternalMemoryHandleTypeFlags::HOST_ALLOCATION_EXT;

/// A buffer of words.
pub struct Buffer<'g> {
    gpu: &'g Gpu,
    /// The handle, for commands.
    pub handle: vk::Buffer,
    /// Length in words.
    pub words: usize,
    /// Address at which the processor sees it.
    mapped: Option<NonNull<u32>>,
    memory: Option<Memory<'g>>,
}

impl<'g> Buffer<'g> {
    /// In memory that processor and device share.
    ///
    /// # Errors
    ///
    /// Vulkan's, in words; so for the other constructors.
    pub fn shared(gpu: &'g Gpu, words: usize) -> Result<Self> {
        let flags = vk::MemoryPropertyFlags::HOST_VISIBLE
            | vk::MemoryPropertyFlags::HOST_COHERENT
            | vk::MemoryPropertyFlags::HOST_CACHED;
        let mut buffer = Self::on(gpu, words, flags)?;
        let memory = buffer.memory.as_ref().map_or(vk::DeviceMemory::null(), Memory::handle);
        let (whole, none) = (vk::WHOLE_SIZE, vk::MemoryMapFlags::empty());
        // SAFETY: memory of this device that is visible to the host and not mapped yet.
        let at = unsafe { gpu.device.map_memory(memory, 0, whole, none) };
        buffer.mapped = NonNull::new(asked("a mapping", at)?.cast());
        Ok(buffer)
    }

    /// A shared one that holds `words`.
    ///
    /// # Errors
    ///
    /// As `shared`.
    pub fn holding(gpu: &'g Gpu, words: &[u32]) -> Result<Self> {
        let mut buffer = Self::shared(gpu, words.len())?;
        buffer.write(words);
        Ok(buffer)
    }

    /// In the device's own memory.
    ///
    /// # Errors
    ///
    /// As `shared`.
    pub fn local(gpu: &'g Gpu, words: usize) -> Result<Self> {
        Self::on(gpu, words, vk::MemoryPropertyFlags::DEVICE_LOCAL)
    }

    /// Over user memory, all of it.
    fn over(gpu: &'g Gpu, mem: &UserMem) -> Result<Self> {
        let mut external =
            vk::ExternalMemoryBufferCreateInfo::default().handle_types(HOST_ALLOCATION);
        let mut buffer = Self::bare(gpu, mem.len() / PAGE * WORDS_OF_PAGE, Some(&mut external))?;
        buffer.bind(Memory::of_user(gpu, mem, buffer.needs().memory_type_bits)?)?;
        Ok(buffer)
    }

    fn on(gpu: &'g Gpu, words: usize, flags: vk::MemoryPropertyFlags) -> Result<Self> {
        let mut buffer = Self::bare(gpu, words, None)?;
        buffer.bind(Memory::new(gpu, &buffer.needs(), flags)?)?;
        Ok(buffer)
    }

    /// Without memory.
    fn bare(
        gpu: &'g Gpu,
        words: usize,
        external: Option<&mut vk::ExternalMemoryBufferCreateInfo<'_>>,
    ) -> Result<Self> {
        let mut info = vk::BufferCreateInfo::default().size(words as u64 * WORD).usage(
            vk::BufferUsageFlags::STORAGE_BUFFER
                | vk::BufferUsageFlags::INDIRECT_BUFFER
                | vk::BufferUsageFlags::TRANSFER_SRC
                | vk::BufferUsageFlags::TRANSFER_DST,
        );
        if let Some(external) = external {
            info = info.push_next(external);
        }
        // SAFETY: `info` and what it refers to live until the call returns.
        let handle = asked("a buffer", unsafe { gpu.device.create_buffer(&info, None) })?;
        Ok(Self { gpu, handle, words, mapped: None, memory: None })
    }

    fn needs(&self) -> vk::MemoryRequirements {
        // SAFETY: a buffer of this device.
        unsafe { self.gpu.device.get_buffer_memory_requirements(self.handle) }
    }

    fn bind(&mut self, memory: Memory<'g>) -> Result {
        // SAFETY: a buffer that has no memory yet, and memory of its size that it then owns.
        let bound = unsafe { self.gpu.device.bind_buffer_memory(self.handle, memory.handle(), 0) };
        self.memory = Some(memory);
        asked("memory for a buffer", bound)
    }

    fn place(&self) -> NonNull<u32> {
        self.mapped.expect("only a shared buffer is read and written by the processor")
    }

    /// Reads its contents.
    pub fn read(&self) -> Vec<u32> {
        let at = self.place();
        // SAFETY: within the mapping. The device may write it, so it is not lent as a slice.
        (0..self.words).map(|n| unsafe { at.add(n).read_volatile() }).collect()
    }

    /// Puts `words` at its start.
    pub fn write(&mut self, words: &[u32]) {
        assert!(words.len() <= self.words, "more than there is room for");
        let at = self.place();
        for (n, &word) in words.iter().enumerate() {
            // SAFETY: as in `read`.
            unsafe { at.add(n).write_volatile(word) };
        }
    }
}

impl Drop for Buffer<'_> {
    fn drop(&mut self) {
        // SAFETY: as for `Memory`, which is freed, and so unmapped, after this.
        unsafe { self.gpu.device.destroy_buffer(self.handle, None) };
    }
}

/// User memory, and a buffer over all of it.
pub struct UserBuffer<'g> {
    /// For the device. Before the memory, so that it goes first.
    pub buffer: Buffer<'g>,
    /// For the processor, which may replace what is behind the addresses.
    pub mem: UserMem,
}

impl<'g> UserBuffer<'g> {
    /// Imports memory.
    ///
    /// # Errors
    ///
    /// Vulkan's, in words.
    pub fn new(gpu: &'g Gpu, mem: UserMem) -> Result<Self> {
        Ok(Self { buffer: Buffer::over(gpu, &mem)?, mem })
    }
}
