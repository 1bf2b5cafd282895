// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Two-dimensional images, and samplers.

use ash::vk;

use crate::{
    buffer::Memory,
    gpu::{
        Gpu,
        Result,
        asked, //
    }, //
};

/// An image, in the device's own memory and the layout that it likes best.
pub struct Image<'g> {
    gpu: &'g Gpu,
    /// The handle, for commands.
    pub handle: vk::Image,
    /// A view of all of it.
    pub view: vk::ImageView,
    /// Width and height.
    pub size: [u32; 2],
    _memory: Memory<'g>,
}

/// The one part that these images have.
pub const COLOR: vk::ImageSubresourceRange = vk::ImageSubresourceRange {
    aspect_mask: vk::ImageAspectFlags::COLOR,
    base_mip_level: 0,
    level_count: 1,
    base_array_layer: 0,
    layer_count: 1,
};

const LAYERS: vk::ImageSubresourceLayers = vk::ImageSubresourceLayers {
    aspect_mask: COLOR.aspect_mask,
    mip_level: 0,
    base_array_layer: 0,
    layer_count: 1,
};

const FORMAT: vk::Format = vk::Format::R8G8B8A8_UNORM;

impl<'g> Image<'g> {
    /// Four bytes a texel, for shaders to read and write. Nothing in it yet.
    ///
    /// # Errors
    ///
    /// Vulkan's, in words.
    pub fn new(gpu: &'g Gpu, size: [u32; 2]) -> Result<Self> {
        Self::of(gpu, size, FORMAT, vk::ImageUsageFlags::STORAGE)
    }

    /// Of any format, to be copied, sampled, and used as is said besides.
    ///
    /// # Errors
    ///
    /// Vulkan's, in words.
    pub fn of(
        gpu: &'g Gpu,
        size: [u32; 2],
        format: vk::Format,
        usage: vk::ImageUsageFlags,
    ) -> Result<Self> {
        let device = &gpu.device;
        let info = vk::ImageCreateInfo::default()
            .image_type(vk::ImageType::TYPE_2D)
            .format(format)
            .extent(extent(size))
            .mip_levels(1)
            .array_layers(1)
            .samples(vk::SampleCountFlags::TYPE_1)
            .tiling(vk::ImageTiling::OPTIMAL)
            .usage(
                usage
                    | vk::ImageUsageFlags::SAMPLED
                    | vk::ImageUsageFlags::TRANSFER_SRC
                    | vk::ImageUsageFlags::TRANSFER_DST,
            );
        // SAFETY: `info` lives until the call returns; so below.
        let handle = asked("an image", unsafe { device.create_image(&info, None) })?;
        // SAFETY: an image of this device.
        let needs = unsafe { device.get_image_memory_requirements(handle) };
        let memory = Memory::new(gpu, &needs, vk::MemoryPropertyFlags::DEVICE_LOCAL)?;
        // SAFETY: an image without memory yet, and memory of its size that lives as long.
        asked("memory for an image", unsafe {
            device.bind_image_memory(handle, memory.handle(), 0)
        })?;
        let info = vk::ImageViewCreateInfo::default()
            .image(handle)
            .view_type(vk::ImageViewType::TYPE_2D)
            .format(format)
            .subresource_range(COLOR);
        // SAFETY: as above.
        let view = asked("a view", unsafe { device.create_image_view(&info, None) })?;
        Ok(Self { gpu, handle, view, size, _memory: memory })
    }

    /// Number of texels.
    pub const fn texels(&self) -> usize {
        self.size[0] as usize * self.size[1] as usize
    }

    /// All of it, beside a buffer without gaps.
    pub fn all(&self) -> vk::BufferImageCopy {
        vk::BufferImageCopy::default().image_subresource(LAYERS).image_extent(extent(self.size))
    }

    /// All of it, to the same place in another image.
    pub fn whole(&self) -> vk::ImageCopy {
        let copy = vk::ImageCopy::default().src_subresource(LAYERS).dst_subresource(LAYERS);
        copy.extent(extent(self.size))
    }
}

impl Drop for Image<'_> {
    fn drop(&mut self) {
        // SAFETY: jobs borrow what they use until they are done, so none is under way.
        unsafe {
            self.gpu.device.destroy_image_view(self.view, None);
            self.gpu.device.destroy_image(self.handle, None);
        }
    }
}

const fn extent([width, height]: [u32; 2]) -> vk::Extent3D {
    vk::Extent3D { width, height, depth: 1 }
}

/// A sampler that reads between texels. Beyond the edge is the last texel.
pub struct Sampler<'g> {
    gpu: &'g Gpu,
    /// The handle, for descriptors.
    pub handle: vk::Sampler,
}

impl<'g> Sampler<'g> {
    /// With one filter.
    ///
    /// # Errors
    ///
    /// Vulkan's, in words.
    pub fn new(gpu: &'g Gpu, filter: vk::Filter) -> Result<Self> {
        let edge = vk::SamplerAddressMode::CLAMP_TO_EDGE;
        let info = vk::SamplerCreateInfo::default()
            .mag_filter(filter)
            .min_filter(filter)
            .address_mode_u(edge)
            .address_mode_v(edge)
            .address_mode_w(edge);
        // SAFETY: `info` lives until the call returns.
        let handle = asked("a sampler", unsafe { gpu.device.create_sampler(&info, None) })?;
        Ok(Self { gpu, handle })
    }
}

impl Drop for Sampler<'_> {
    fn drop(&mut self) {
        // SAFETY: as for images.
        unsafe { self.gpu.device.destroy_sampler(self.handle, None) };
    }
}
