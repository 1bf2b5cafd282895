// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Images: copied into tiles and out of them, read and written by shaders, filtered by a sampler.

use amdgpu_client::report::Outcome;
use ash::vk;

use crate::{
    buffer::Buffer,
    compute::{
        On,
        compare, //
    },
    image::{
        Image,
        Sampler, //
    },
    program::{
        Program,
        Resource,
        shader, //
    }, //
};

/// Lanes of a workgroup in each direction.
const GROUP: u32 = 8;

/// Small enough for one tiling, large enough for another, and no multiple of any tile.
const SIZES: [[u32; 2]; 3] = [[5, 3], [61, 47], [200, 130]];

fn groups(size: [u32; 2]) -> [u32; 3] {
    [size[0].div_ceil(GROUP), size[1].div_ceil(GROUP), 1]
}

/// Formats of each size of texel, with its bytes: whole numbers, fractions, floats, packed ones.
const FORMATS: [(vk::Format, usize); 12] = [
    (vk::Format::R8_UNORM, 1),
    (vk::Format::R8_UINT, 1),
    (vk::Format::R8G8_UNORM, 2),
    (vk::Format::R16_UINT, 2),
    (vk::Format::R5G6B5_UNORM_PACK16, 2),
    (vk::Format::B8G8R8A8_UNORM, 4),
    (vk::Format::R16G16_SINT, 4),
    (vk::Format::A2B10G10R10_UNORM_PACK32, 4),
    (vk::Format::R32_UINT, 4),
    (vk::Format::R32G32_UINT, 8),
    (vk::Format::R16G16B16A16_UNORM, 8),
    (vk::Format::R32G32B32A32_UINT, 16),
];

/// Bytes that go from a buffer through two images and back, in each format: they come back as they
/// were, as copies convert nothing.
pub fn copied(on: &On<'_>) -> Outcome {
    // Rows are whole words in each format.
    const SIZES: [[u32; 2]; 2] = [[8, 3], [124, 67]];
    for ((format, bytes), size) in FORMATS.iter().flat_map(|f| SIZES.map(|size| (*f, size))) {
        let image = || Image::of(on.gpu, size, format, vk::ImageUsageFlags::empty());
        let (there, further) = (image()?, image()?);
        let words = on.random(there.texels() * bytes / 4);
        let given = Buffer::holding(on.gpu, &words)?;
        let back = Buffer::shared(on.gpu, words.len())?;
        let mut job = on.job()?;
        job.prepare(&there).prepare(&further).load(&given, &there);
        job.copy_image(&there, &further).store(&further, &back).run()?;
        compare(&back.read(), &words).map_err(|why| format!("{format:?}, {size:?}: {why}"))?;
    }
    Ok(format!("{} formats, {} sizes", FORMATS.len(), SIZES.len()))
}

/// A picture turned by a shader that reads one image and writes another.
pub fn turned(on: &On<'_>) -> Outcome {
    for size @ [width, height] in SIZES {
        let (from, to) = (Image::new(on.gpu, size)?, Image::new(on.gpu, [height, width])?);
        let texels = on.random(from.texels());
        let given = Buffer::holding(on.gpu, &texels)?;
        let back = Buffer::shared(on.gpu, texels.len())?;
        let resources = [&from, &to].map(Resource::Image);
        let program = Program::new(on.gpu, &shader!("turn"), &resources)?;
        let mut job = on.job()?;
        job.prepare(&from).prepare(&to).load(&given, &from);
        job.dispatch(&program, groups(size)).store(&to, &back).run()?;
        let (width, height) = (width as usize, height as usize);
        // The turned picture is `height` wide.
        let wanted: Vec<u32> = (0..texels.len())
            .map(|n| {
                let (x, y) = (n / height, height - 1 - n % height);
                let [r, g, b, a] = texels[y * width + x].to_le_bytes();
                u32::from_le_bytes([b, g, r, a])
            })
            .collect();
        compare(&back.read(), &wanted).map_err(|why| format!("{width}x{height}: {why}"))?;
    }
    Ok(format!("{} sizes", SIZES.len()))
}

/// A picture enlarged twice by a sampler that takes the nearest texel: exact.
pub fn nearest(on: &On<'_>) -> Outcome {
    for size in SIZES {
        let (texels, large) = enlarged(on, size, vk::Filter::NEAREST)?;
        let width = size[0] as usize;
        let wanted: Vec<u32> = (0..large.len())
            .map(|n| {
                let (x, y) = (n % (2 * width), n / (2 * width));
                texels[y / 2 * width + x / 2]
            })
            .collect();
        compare(&large, &wanted).map_err(|why| format!("{size:?}: {why}"))?;
    }
    Ok(format!("{} sizes", SIZES.len()))
}

/// The same with a linear filter. A weight has eight bits, of which the last may be cut: a step of
/// a channel in each direction, and half a step where the result is rounded.
pub fn linear(on: &On<'_>) -> Outcome {
    const STEPS: f64 = 2.5;
    let mut worst = 0.0_f64;
    for size in SIZES {
        let (texels, large) = enlarged(on, size, vk::Filter::LINEAR)?;
        let [width, height] = size.map(|n| n as usize);
        let texel = |x: usize, y: usize| texels[y * width + x].to_le_bytes();
        for (n, got) in large.iter().enumerate() {
            let (x, y) = (n % (2 * width), n / (2 * width));
            let [(x0, x1, fx), (y0, y1, fy)] = [between(x, width), between(y, height)];
            for (channel, &got) in got.to_le_bytes().iter().enumerate() {
                let at = |x, y| f64::from(texel(x, y)[channel]);
                let upper = at(x0, y0) * (1.0 - fx) + at(x1, y0) * fx;
                let lower = at(x0, y1) * (1.0 - fx) + at(x1, y1) * fx;
                let wanted = upper * (1.0 - fy) + lower * fy;
                worst = worst.max((wanted - f64::from(got)).abs());
            }
        }
    }
    let seen = format!("{worst:.2} steps of 255 apart at most");
    if worst <= STEPS { Ok(seen) } else { Err(seen) }
}

/// The two texels between which a place of the enlarged picture lies, and the second's share.
fn between(place: usize, len: usize) -> (usize, usize, f64) {
    let (low, high, share) = match place / 2 {
        at if place.is_multiple_of(2) => (at.saturating_sub(1), at, 0.75),
        at => (at, at + 1, 0.25),
    };
    (low, high.min(len - 1), share)
}

/// Random texels, and what a filter makes of them at twice the size.
fn enlarged(
    on: &On<'_>,
    size: [u32; 2],
    filter: vk::Filter,
) -> Result<(Vec<u32>, Vec<u32>), String> {
    let picture = Image::new(on.gpu, size)?;
    let large = Image::new(on.gpu, size.map(|n| 2 * n))?;
    let sampler = Sampler::new(on.gpu, filter)?;
    let texels = on.random(picture.texels());
    let given = Buffer::holding(on.gpu, &texels)?;
    let back = Buffer::shared(on.gpu, large.texels())?;
    let resources =
        [Resource::Picture(&picture), Resource::Sampler(&sampler), Resource::Image(&large)];
    let program = Program::new(on.gpu, &shader!("sample"), &resources)?;
    let mut job = on.job()?;
    job.prepare(&picture).prepare(&large).load(&given, &picture);
    job.dispatch(&program, groups(large.size)).store(&large, &back).run()?;
    Ok((texels, back.read()))
}
