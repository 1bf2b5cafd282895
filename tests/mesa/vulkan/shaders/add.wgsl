// SPDX-License-Identifier: GPL-2.0 OR MIT
// Sums of two vectors. The last workgroup has lanes beyond the end.

@group(0) @binding(0) var<storage, read> left: array<f32>;
@group(0) @binding(1) var<storage, read> right: array<f32>;
@group(0) @binding(2) var<storage, read_write> sum: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x < arrayLength(&sum) {
        sum[id.x] = left[id.x] + right[id.x];
    }
}
