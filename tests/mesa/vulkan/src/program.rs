// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Compute pipelines, and what they are bound to.

use ash::vk;

use crate::{
    buffer::Buffer,
    gpu::{
        Gpu,
        Result,
        asked, //
    },
    image::{
        Image,
        Sampler, //
    }, //
};

/// The words of a shader that the build made.
macro_rules! shader {
    ($name:literal) => {
        $crate::program::words_of(include_bytes!(concat!(env!("OUT_DIR"), "/", $name, ".spv")))
    };
}
pub(crate) use shader;

/// Little-endian words.
pub fn words_of(bytes: &[u8]) -> Vec<u32> {
    bytes.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

/// Something that a shader reaches: its binding is its place in the list.
#[derive(Clone, Copy)]
pub enum Resource<'r, 'g> {
    /// A storage buffer.
    Buffer(&'r Buffer<'g>),
    /// A storage image.
    Image(&'r Image<'g>),
    /// An image that is sampled.
    Picture(&'r Image<'g>),
    /// A sampler.
    Sampler(&'r Sampler<'g>),
}

impl Resource<'_, '_> {
    const fn kind(&self) -> vk::DescriptorType {
        match self {
            Resource::Buffer(_) => vk::DescriptorType::STORAGE_BUFFER,
            Resource::Image(_) => vk::DescriptorType::STORAGE_IMAGE,
            Resource::Picture(_) => vk::DescriptorType::SAMPLED_IMAGE,
            Resource::Sampler(_) => vk::DescriptorType::SAMPLER,
        }
    }

    fn image(&self) -> vk::DescriptorImageInfo {
        let info = vk::DescriptorImageInfo::default().image_layout(vk::ImageLayout::GENERAL);
        match self {
            Resource::Image(image) | Resource::Picture(image) => info.image_view(image.view),
            Resource::Sampler(sampler) => info.sampler(sampler.handle),
            Resource::Buffer(_) => info,
        }
    }

    fn buffer(&self) -> vk::DescriptorBufferInfo {
        match self {
            Resource::Buffer(buffer) => {
                vk::DescriptorBufferInfo::default().buffer(buffer.handle).range(vk::WHOLE_SIZE)
            }
            _ => vk::DescriptorBufferInfo::default(),
        }
    }
}

/// A pipeline bound to resources, which it borrows.
pub struct Program<'r, 'g> {
    gpu: &'g Gpu,
    /// The pipeline, for commands; so the next two.
    pub pipeline: vk::Pipeline,
    /// Its layout.
    pub layout: vk::PipelineLayout,
    /// The set of its resources.
    pub set: vk::DescriptorSet,
    set_layout: vk::DescriptorSetLayout,
    pool: vk::DescriptorPool,
    module: vk::ShaderModule,
    _resources: Vec<Resource<'r, 'g>>,
}

impl<'r, 'g> Program<'r, 'g> {
    /// Compiles `main` of a shader, and binds it.
    ///
    /// # Errors
    ///
    /// Vulkan's, in words.
    pub fn new(gpu: &'g Gpu, shader: &[u32], resources: &[Resource<'r, 'g>]) -> Result<Self> {
        let mut program = Self {
            gpu,
            pipeline: vk::Pipeline::null(),
            layout: vk::PipelineLayout::null(),
            set: vk::DescriptorSet::null(),
            set_layout: vk::DescriptorSetLayout::null(),
            pool: vk::DescriptorPool::null(),
            module: vk::ShaderModule::null(),
            _resources: resources.to_vec(),
        };
        program.describe(resources)?;
        program.bind(resources);
        program.compile(shader)?;
        Ok(program)
    }

    /// Makes the set of resources and its layout.
    fn describe(&mut self, resources: &[Resource<'_, '_>]) -> Result {
        let device = &self.gpu.device;
        let bindings: Vec<_> = (0..)
            .zip(resources)
            .map(|(binding, resource)| {
                vk::DescriptorSetLayoutBinding::default()
                    .binding(binding)
                    .descriptor_type(resource.kind())
                    .descriptor_count(1)
                    .stage_flags(vk::ShaderStageFlags::COMPUTE)
            })
            .collect();
        let info = vk::DescriptorSetLayoutCreateInfo::default().bindings(&bindings);
        // SAFETY: `info` and what it refers to live until the call returns; so below.
        let layout = unsafe { device.create_descriptor_set_layout(&info, None) };
        self.set_layout = asked("a set's layout", layout)?;
        let sizes: Vec<_> = resources
            .iter()
            .map(|resource| {
                vk::DescriptorPoolSize::default().ty(resource.kind()).descriptor_count(1)
            })
            .collect();
        let info = vk::DescriptorPoolCreateInfo::default().max_sets(1).pool_sizes(&sizes);
        // SAFETY: as above.
        self.pool = asked("a pool", unsafe { device.create_descriptor_pool(&info, None) })?;
        let layouts = [self.set_layout];
        let info = vk::DescriptorSetAllocateInfo::default()
            .descriptor_pool(self.pool)
            .set_layouts(&layouts);
        // SAFETY: as above; the pool has room for this one set.
        self.set = asked("a set", unsafe { device.allocate_descriptor_sets(&info) })?[0];
        Ok(())
    }

    fn bind(&self, resources: &[Resource<'_, '_>]) {
        for (binding, resource) in (0..).zip(resources) {
            let (buffers, images) = ([resource.buffer()], [resource.image()]);
            let write = vk::WriteDescriptorSet::default()
                .dst_set(self.set)
                .dst_binding(binding)
                .descriptor_type(resource.kind())
                .buffer_info(&buffers)
                .image_info(&images);
            // SAFETY: a set that no job uses yet; what is written refers to living resources.
            unsafe { self.gpu.device.update_descriptor_sets(&[write], &[]) };
        }
    }

    fn compile(&mut self, shader: &[u32]) -> Result {
        let device = &self.gpu.device;
        let info = vk::ShaderModuleCreateInfo::default().code(shader);
        // SAFETY: as in `describe`; the words are what naga's validator let through.
        self.module = asked("a shader", unsafe { device.create_shader_module(&info, None) })?;
        let layouts = [self.set_layout];
        let info = vk::PipelineLayoutCreateInfo::default().set_layouts(&layouts);
        // SAFETY: as above.
        self.layout = asked("a layout", unsafe { device.create_pipeline_layout(&info, None) })?;
        let stage = vk::PipelineShaderStageCreateInfo::default()
            .stage(vk::ShaderStageFlags::COMPUTE)
            .module(self.module)
            .name(c"main");
        let info = [vk::ComputePipelineCreateInfo::default().stage(stage).layout(self.layout)];
        let cache = vk::PipelineCache::null();
        // SAFETY: as above.
        let made = unsafe { device.create_compute_pipelines(cache, &info, None) };
        self.pipeline = asked("a pipeline", made.map_err(|(_, e)| e))?[0];
        Ok(())
    }
}

impl Drop for Program<'_, '_> {
    fn drop(&mut self) {
        let device = &self.gpu.device;
        // SAFETY: jobs borrow the programs that they run until they are done. What was not made is
        // null, which may be destroyed.
        unsafe {
            device.destroy_pipeline(self.pipeline, None);
            device.destroy_pipeline_layout(self.layout, None);
            device.destroy_shader_module(self.module, None);
            device.destroy_descriptor_pool(self.pool, None);
            device.destroy_descriptor_set_layout(self.set_layout, None);
        }
    }
}
