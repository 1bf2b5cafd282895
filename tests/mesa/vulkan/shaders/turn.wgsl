// SPDX-License-Identifier: GPL-2.0 OR MIT
// Turns a picture by a quarter, and gives each texel's red and blue to the other.

@group(0) @binding(0) var from_image: texture_storage_2d<rgba8unorm, read>;
@group(0) @binding(1) var to_image: texture_storage_2d<rgba8unorm, write>;

@compute @workgroup_size(8, 8)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let size = textureDimensions(from_image);
    if id.x < size.x && id.y < size.y {
        let texel = textureLoad(from_image, vec2<i32>(id.xy));
        textureStore(to_image, vec2<i32>(i32(size.y - 1u - id.y), i32(id.x)), texel.bgra);
    }
}
