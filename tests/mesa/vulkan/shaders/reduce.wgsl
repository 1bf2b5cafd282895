// SPDX-License-Identifier: GPL-2.0 OR MIT
// Sum and maximum of a vector: a tree in each workgroup's shared memory, then atomics.

const WIDTH: u32 = 256u;

struct Result {
    sum: atomic<u32>,
    maximum: atomic<i32>,
    groups: atomic<u32>,
}

@group(0) @binding(0) var<storage, read> values: array<i32>;
@group(0) @binding(1) var<storage, read_write> result: Result;

var<workgroup> sums: array<u32, WIDTH>;
var<workgroup> maxima: array<i32, WIDTH>;

@compute @workgroup_size(WIDTH)
fn main(
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    var value = 0;
    var maximum = -2147483647;
    if id.x < arrayLength(&values) {
        value = values[id.x];
        maximum = value;
    }
    sums[lane] = bitcast<u32>(value);
    maxima[lane] = maximum;
    for (var half = WIDTH / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if lane < half {
            sums[lane] += sums[lane + half];
            maxima[lane] = max(maxima[lane], maxima[lane + half]);
        }
    }
    if lane == 0u {
        atomicAdd(&result.sum, sums[0]);
        atomicMax(&result.maximum, maxima[0]);
        atomicAdd(&result.groups, 1u);
    }
}
