// SPDX-License-Identifier: GPL-2.0 OR MIT
// Writes the size of a dispatch to come.

@group(0) @binding(0) var<storage, read> wanted: array<u32, 3>;
@group(0) @binding(1) var<storage, read_write> size: array<u32, 3>;

@compute @workgroup_size(3)
fn main(@builtin(local_invocation_index) lane: u32) {
    size[lane] = wanted[lane];
}
