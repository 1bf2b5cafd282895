// SPDX-License-Identifier: GPL-2.0 OR MIT
// Each workgroup counts itself by its place, in a grid of which it knows the size.

@group(0) @binding(0) var<storage, read_write> marks: array<atomic<u32>>;

@compute @workgroup_size(2, 2, 2)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let place = group.x + groups.x * (group.y + groups.y * group.z);
    atomicAdd(&marks[place], 1u + place);
}
