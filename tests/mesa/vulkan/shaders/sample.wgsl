// SPDX-License-Identifier: GPL-2.0 OR MIT
// A picture of twice the size by a sampler's filter.

@group(0) @binding(0) var picture: texture_2d<f32>;
@group(0) @binding(1) var filtering: sampler;
@group(0) @binding(2) var large: texture_storage_2d<rgba8unorm, write>;

@compute @workgroup_size(8, 8)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let size = textureDimensions(large);
    if id.x < size.x && id.y < size.y {
        let at = (vec2<f32>(id.xy) + 0.5) / vec2<f32>(size);
        textureStore(large, vec2<i32>(id.xy), textureSampleLevel(picture, filtering, at, 0.0));
    }
}
