// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Commands for a queue: recorded, run, and waited for.

use std::marker::PhantomData;

use ash::vk;

use crate::{
    buffer::{
        Buffer,
        WORD, //
    },
    gpu::{
        Gpu,
        Queue,
        Result,
        asked, //
    },
    image::{
        COLOR,
        Image, //
    },
    program::Program, //
};

/// Nanoseconds that a job may take in all.
const PATIENCE_NS: u64 = 120_000_000_000;

/// Commands in the order in which they take effect: each sees what those before it wrote.
pub struct Job<'r, 'g> {
    gpu: &'g Gpu,
    queue: &'g Queue,
    commands: vk::CommandBuffer,
    pool: vk::CommandPool,
    fence: vk::Fence,
    under_way: bool,
    /// Resources that the commands name.
    _resources: PhantomData<&'r ()>,
}

impl<'r, 'g> Job<'r, 'g> {
    /// Nothing recorded yet.
    ///
    /// # Errors
    ///
    /// Vulkan's, in words; so for all that can fail here.
    pub fn new(gpu: &'g Gpu, queue: &'g Queue) -> Result<Self> {
        let device = &gpu.device;
        let info = vk::CommandPoolCreateInfo::default().queue_family_index(queue.family);
        // SAFETY: `info` lives until the call returns; so below.
        let pool = asked("a command pool", unsafe { device.create_command_pool(&info, None) })?;
        let info =
            vk::CommandBufferAllocateInfo::default().command_pool(pool).command_buffer_count(1);
        // SAFETY: as above, and from a pool of this device.
        let commands = asked("commands", unsafe { device.allocate_command_buffers(&info) })?[0];
        let info = vk::FenceCreateInfo::default();
        // SAFETY: as above.
        let fence = asked("a fence", unsafe { device.create_fence(&info, None) })?;
        let info = vk::CommandBufferBeginInfo::default();
        // SAFETY: a command buffer that nothing was recorded into.
        asked("to record", unsafe { device.begin_command_buffer(commands, &info) })?;
        let _resources = PhantomData;
        Ok(Self { gpu, queue, commands, pool, fence, under_way: false, _resources })
    }

    /// Makes later commands see the work of earlier ones.
    fn then(&mut self) -> &mut Self {
        let all = vk::AccessFlags::MEMORY_READ | vk::AccessFlags::MEMORY_WRITE;
        let barrier = [vk::MemoryBarrier::default().src_access_mask(all).dst_access_mask(all)];
        let (stages, none) = (vk::PipelineStageFlags::ALL_COMMANDS, vk::DependencyFlags::empty());
        // SAFETY: commands of this device that are being recorded; so for all of this kind below.
        unsafe {
            self.gpu.device.cmd_pipeline_barrier(
                self.commands,
                stages,
                stages | vk::PipelineStageFlags::HOST,
                none,
                &barrier,
                &[],
                &[],
            );
        }
        self
    }

    fn bind(&mut self, program: &'r Program<'r, 'g>) {
        let (device, point) = (&self.gpu.device, vk::PipelineBindPoint::COMPUTE);
        // SAFETY: as in `then`; the program is borrowed until the job is done.
        unsafe {
            device.cmd_bind_pipeline(self.commands, point, program.pipeline);
            let sets = [program.set];
            device.cmd_bind_descriptor_sets(self.commands, point, program.layout, 0, &sets, &[]);
        }
    }

    /// Runs a program in `groups` workgroups.
    pub fn dispatch(&mut self, program: &'r Program<'r, 'g>, groups: [u32; 3]) -> &mut Self {
        self.bind(program);
        let [x, y, z] = groups;
        // SAFETY: as in `then`.
        unsafe { self.gpu.device.cmd_dispatch(self.commands, x, y, z) };
        self.then()
    }

    /// Runs a program in as many workgroups as the buffer says then.
    pub fn dispatch_as(
        &mut self,
        program: &'r Program<'r, 'g>,
        groups: &'r Buffer<'g>,
    ) -> &mut Self {
        self.bind(program);
        // SAFETY: as in `then`; the buffer is borrowed until the job is done.
        unsafe { self.gpu.device.cmd_dispatch_indirect(self.commands, groups.handle, 0) };
        self.then()
    }

    /// Copies as many words as both have.
    pub fn copy(&mut self, from: &'r Buffer<'g>, to: &'r Buffer<'g>) -> &mut Self {
        let bytes = from.words.min(to.words) as u64 * WORD;
        let all = [vk::BufferCopy::default().size(bytes)];
        // SAFETY: as in `dispatch_as`.
        unsafe { self.gpu.device.cmd_copy_buffer(self.commands, from.handle, to.handle, &all) };
        self.then()
    }

    /// Fills a buffer from a word on.
    pub fn fill(
        &mut self,
        to: &'r Buffer<'g>,
        first: usize,
        words: usize,
        value: u32,
    ) -> &mut Self {
        let (at, bytes) = (first as u64 * WORD, words as u64 * WORD);
        // SAFETY: as in `dispatch_as`.
        unsafe {
            self.gpu.device.cmd_fill_buffer(self.commands, to.handle, at, bytes, value);
        }
        self.then()
    }

    /// Writes bytes that the commands themselves hold.
    pub fn update(&mut self, to: &'r Buffer<'g>, first: usize, words: &[u32]) -> &mut Self {
        let bytes: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
        let at = first as u64 * WORD;
        // SAFETY: as in `dispatch_as`; the bytes are copied.
        unsafe { self.gpu.device.cmd_update_buffer(self.commands, to.handle, at, &bytes) };
        self.then()
    }

    /// Makes an image ready: what was in it is lost.
    pub fn prepare(&mut self, image: &'r Image<'g>) -> &mut Self {
        let barrier = [vk::ImageMemoryBarrier::default()
            .dst_access_mask(vk::AccessFlags::MEMORY_READ | vk::AccessFlags::MEMORY_WRITE)
            .new_layout(vk::ImageLayout::GENERAL)
            .src_queue_family_index(vk::QUEUE_FAMILY_IGNORED)
            .dst_queue_family_index(vk::QUEUE_FAMILY_IGNORED)
            .image(image.handle)
            .subresource_range(COLOR)];
        let (stages, none) = (vk::PipelineStageFlags::ALL_COMMANDS, vk::DependencyFlags::empty());
        // SAFETY: as in `dispatch_as`.
        unsafe {
            self.gpu.device.cmd_pipeline_barrier(
                self.commands,
                stages,
                stages,
                none,
                &[],
                &[],
                &barrier,
            );
        }
        self
    }

    /// Copies a buffer's words into all of an image.
    pub fn load(&mut self, from: &'r Buffer<'g>, to: &'r Image<'g>) -> &mut Self {
        let (layout, all) = (vk::ImageLayout::GENERAL, [to.all()]);
        let device = &self.gpu.device;
        // SAFETY: as in `dispatch_as`.
        unsafe {
            device.cmd_copy_buffer_to_image(self.commands, from.handle, to.handle, layout, &all);
        }
        self.then()
    }

    /// Copies all of an image into another of the same size.
    pub fn copy_image(&mut self, from: &'r Image<'g>, to: &'r Image<'g>) -> &mut Self {
        let (layout, all) = (vk::ImageLayout::GENERAL, [from.whole()]);
        let device = &self.gpu.device;
        // SAFETY: as in `dispatch_as`.
        unsafe {
            device.cmd_copy_image(self.commands, from.handle, layout, to.handle, layout, &all);
        }
        self.then()
    }

    /// Copies all of an image into a buffer.
    pub fn store(&mut self, from: &'r Image<'g>, to: &'r Buffer<'g>) -> &mut Self {
        let (layout, all) = (vk::ImageLayout::GENERAL, [from.all()]);
        let device = &self.gpu.device;
        // SAFETY: as in `dispatch_as`.
        unsafe {
            device.cmd_copy_image_to_buffer(self.commands, from.handle, layout, to.handle, &all);
        }
        self.then()
    }

    /// Writes the device's clock, at the top of the pipe or when all before is done.
    pub fn stamp(
        &mut self,
        stamps: &'r Stamps<'g>,
        n: u32,
        when: vk::PipelineStageFlags,
    ) -> &mut Self {
        // SAFETY: as in `dispatch_as`.
        unsafe { self.gpu.device.cmd_write_timestamp(self.commands, when, stamps.pool, n) };
        self
    }

    /// Forgets what stamps there were.
    pub fn reset(&mut self, stamps: &'r Stamps<'g>) -> &mut Self {
        // SAFETY: as in `dispatch_as`.
        unsafe {
            self.gpu.device.cmd_reset_query_pool(self.commands, stamps.pool, 0, stamps.count);
        }
        self
    }

    /// Signals an event, and then waits for it.
    pub fn signal_and_wait(&mut self, event: &'r Event<'g>) -> &mut Self {
        let (device, stages) = (&self.gpu.device, vk::PipelineStageFlags::ALL_COMMANDS);
        // SAFETY: as in `dispatch_as`.
        unsafe {
            device.cmd_set_event(self.commands, event.handle, stages);
            let events = [event.handle];
            device.cmd_wait_events(self.commands, &events, stages, stages, &[], &[], &[]);
        }
        self
    }

    /// Gives it to the queue.
    pub fn submit(&mut self) -> Result {
        let device = &self.gpu.device;
        // SAFETY: as in `then`.
        asked("the commands", unsafe { device.end_command_buffer(self.commands) })?;
        let commands = [self.commands];
        let info = [vk::SubmitInfo::default().command_buffers(&commands)];
        // SAFETY: recorded commands, which are submitted once, and a fence that is not in use.
        let submitted = unsafe { device.queue_submit(self.queue.handle, &info, self.fence) };
        self.under_way = submitted.is_ok();
        asked("a submission", submitted)
    }

    /// Waits for it.
    pub fn wait(&mut self) -> Result {
        let fences = [self.fence];
        // SAFETY: as in `is_done`.
        let waited = unsafe { self.gpu.device.wait_for_fences(&fences, true, PATIENCE_NS) };
        if waited.is_ok() {
            self.under_way = false;
        }
        asked("to wait for a job", waited)
    }

    /// Submits it and waits.
    pub fn run(&mut self) -> Result {
        self.submit()?;
        self.wait()
    }
}

impl Drop for Job<'_, '_> {
    fn drop(&mut self) {
        if self.under_way && self.wait().is_err() {
            // What it uses is about to go, and it cannot be called back.
            eprintln!("a job does not end");
            std::process::abort();
        }
        // SAFETY: the job is done, or was never submitted.
        unsafe {
            self.gpu.device.destroy_fence(self.fence, None);
            self.gpu.device.destroy_command_pool(self.pool, None);
        }
    }
}

/// Places for timestamps.
pub struct Stamps<'g> {
    gpu: &'g Gpu,
    pool: vk::QueryPool,
    count: u32,
}

impl<'g> Stamps<'g> {
    /// So many.
    ///
    /// # Errors
    ///
    /// Vulkan's, in words; so for `read`.
    pub fn new(gpu: &'g Gpu, count: u32) -> Result<Self> {
        let info = vk::QueryPoolCreateInfo::default()
            .query_type(vk::QueryType::TIMESTAMP)
            .query_count(count);
        // SAFETY: `info` lives until the call returns.
        let pool = asked("timestamps", unsafe { gpu.device.create_query_pool(&info, None) })?;
        Ok(Self { gpu, pool, count })
    }

    /// All of them, of a job that is done.
    pub fn read(&self) -> Result<Vec<u64>> {
        let mut ticks = vec![0; self.count as usize];
        let flags = vk::QueryResultFlags::TYPE_64 | vk::QueryResultFlags::WAIT;
        // SAFETY: queries of this device.
        let read =
            unsafe { self.gpu.device.get_query_pool_results(self.pool, 0, &mut ticks, flags) };
        asked("the timestamps", read).map(|()| ticks)
    }
}

impl Drop for Stamps<'_> {
    fn drop(&mut self) {
        // SAFETY: jobs borrow what they use until they are done, so none is under way.
        unsafe { self.gpu.device.destroy_query_pool(self.pool, None) };
    }
}

/// Something that commands signal and wait for.
pub struct Event<'g> {
    gpu: &'g Gpu,
    handle: vk::Event,
}

impl<'g> Event<'g> {
    /// Not signaled.
    ///
    /// # Errors
    ///
    /// Vulkan's, in words.
    pub fn new(gpu: &'g Gpu) -> Result<Self> {
        let info = vk::EventCreateInfo::default();
        // SAFETY: `info` lives until the call returns.
        let handle = asked("an event", unsafe { gpu.device.create_event(&info, None) })?;
        Ok(Self { gpu, handle })
    }

    /// Returns true if it is signaled.
    ///
    /// # Errors
    ///
    /// Vulkan's, in words.
    pub fn is_set(&self) -> Result<bool> {
        // SAFETY: an event of this device.
        asked("an event's state", unsafe { self.gpu.device.get_event_status(self.handle) })
    }
}

impl Drop for Event<'_> {
    fn drop(&mut self) {
        // SAFETY: as for timestamps.
        unsafe { self.gpu.device.destroy_event(self.handle, None) };
    }
}
