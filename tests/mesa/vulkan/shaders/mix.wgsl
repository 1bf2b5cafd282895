// SPDX-License-Identifier: GPL-2.0 OR MIT
// Changes a part of a buffer in place, so that each word's place and old value are seen in the new.

struct Part {
    first: u32,
    count: u32,
}

@group(0) @binding(0) var<storage, read_write> words: array<u32>;
@group(0) @binding(1) var<storage, read> part: Part;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x < part.count {
        let at = part.first + id.x;
        words[at] = words[at] * 2654435761u + at;
    }
}
