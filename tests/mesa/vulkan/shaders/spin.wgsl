// SPDX-License-Identifier: GPL-2.0 OR MIT
// Takes as long as it is told to: rounds of a multiplication.

@group(0) @binding(0) var<storage, read> rounds: array<u32>;
@group(0) @binding(1) var<storage, read_write> result: array<u32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    var value = id.x + 1u;
    for (var round = 0u; round < rounds[0]; round++) {
        value = value * 1664525u + 1013904223u;
    }
    result[id.x] = value;
}
