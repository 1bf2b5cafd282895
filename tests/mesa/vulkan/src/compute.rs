// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Programs on one queue, each word of their results compared with the processor's.

use std::time::Instant;

use amdgpu_client::{
    report::Outcome,
    rng::Rng, //
};
use ash::vk;

use crate::{
    buffer::Buffer,
    gpu::{
        Gpu,
        Queue,
        Result, //
    },
    job::{
        Event,
        Job,
        Stamps, //
    },
    program::{
        Program,
        Resource,
        shader, //
    }, //
};

/// A device's queue, on which the checks of this file run.
pub struct On<'g> {
    /// The device.
    pub gpu: &'g Gpu,
    /// The queue.
    pub queue: &'g Queue,
    /// Source of the data.
    pub seed: u64,
}

impl<'g> On<'g> {
    /// A job for the queue.
    pub fn job<'r>(&self) -> Result<Job<'r, 'g>> {
        Job::new(self.gpu, self.queue)
    }

    /// Random words.
    pub fn random(&self, count: usize) -> Vec<u32> {
        let mut rng = Rng::new(self.seed);
        (0..count).map(|_| u32::try_from(rng.next() >> 32).unwrap_or(0)).collect()
    }
}

/// The first word that is not what it has to be, in words.
pub fn compare(got: &[u32], wanted: &[u32]) -> Result {
    if got.len() != wanted.len() {
        return Err(format!("{} words, not {}", got.len(), wanted.len()));
    }
    let wrong = |at: &usize| got[*at] != wanted[*at];
    let Some(first) = (0..got.len()).find(wrong) else { return Ok(()) };
    let count = (first..got.len()).filter(wrong).count();
    Err(format!(
        "{count} of {} words differ, the first at {first}: {:#x}, not {:#x}",
        got.len(),
        got[first],
        wanted[first]
    ))
}

/// A length as a dispatch has it.
pub fn count_of(n: usize) -> u32 {
    u32::try_from(n).expect("no test has so much")
}

/// Sums of two vectors, through memory that is the device's own.
pub fn add(on: &On<'_>) -> Outcome {
    const COUNT: usize = 100_003;
    const GROUP: u32 = 64;
    // From -1 to 1, none so small that it counts as zero: both round the sums the same way.
    let number = |word: u32| f32::from_bits(0x3f80_0000 | word >> 9) * 2.0 - 3.0;
    let numbers: Vec<f32> = on.random(2 * COUNT).into_iter().map(number).collect();
    let (left, right) = numbers.split_at(COUNT);
    let bits = |numbers: &[f32]| numbers.iter().map(|n| n.to_bits()).collect::<Vec<_>>();
    let wanted: Vec<f32> = left.iter().zip(right).map(|(a, b)| a + b).collect();

    let given = [Buffer::holding(on.gpu, &bits(left))?, Buffer::holding(on.gpu, &bits(right))?];
    let [a, b, sum] = [(); 3].map(|()| Buffer::local(on.gpu, COUNT));
    let (a, b, sum) = (a?, b?, sum?);
    let back = Buffer::shared(on.gpu, COUNT)?;
    let resources = [&a, &b, &sum].map(Resource::Buffer);
    let program = Program::new(on.gpu, &shader!("add"), &resources)?;
    let mut job = on.job()?;
    job.copy(&given[0], &a).copy(&given[1], &b);
    job.dispatch(&program, [count_of(COUNT).div_ceil(GROUP), 1, 1]).copy(&sum, &back);
    job.run()?;
    compare(&back.read(), &bits(&wanted))?;
    Ok(format!("{COUNT} sums"))
}

/// A reduction in shared memory with barriers, and atomics.
pub fn reduce(on: &On<'_>) -> Outcome {
    const COUNT: usize = 50_021;
    const GROUP: u32 = 256;
    let words = on.random(COUNT);
    let sum = words.iter().fold(0, |sum: u32, &word| sum.wrapping_add(word));
    let maximum = words.iter().map(|&word| word.cast_signed()).max().unwrap_or(0);
    let groups = count_of(COUNT).div_ceil(GROUP);

    let values = Buffer::holding(on.gpu, &words)?;
    let result = Buffer::holding(on.gpu, &[0, i32::MIN.cast_unsigned(), 0])?;
    let resources = [&values, &result].map(Resource::Buffer);
    let program = Program::new(on.gpu, &shader!("reduce"), &resources)?;
    let mut job = on.job()?;
    job.dispatch(&program, [groups, 1, 1]).run()?;
    compare(&result.read(), &[sum, maximum.cast_unsigned(), groups])?;
    Ok(format!("{COUNT} words in {groups} workgroups"))
}

/// Fills, updates and copies on both sides of the sizes at which Mesa takes another way.
pub fn transfers(on: &On<'_>) -> Outcome {
    const SIZES: [usize; 9] = [1, 3, 64, 255, 256, 1023, 1024, 1025, 100_000];
    let mut moved = 0;
    for words in SIZES {
        // A word on either side stays as it is.
        let mut wanted = on.random(words + 2);
        let from = Buffer::holding(on.gpu, &wanted)?;
        let [there, back] = [Buffer::local(on.gpu, words + 2)?, Buffer::shared(on.gpu, words + 2)?];
        let held = on.random(words.min(200));
        let mut job = on.job()?;
        job.copy(&from, &there).fill(&there, 1, words, 0x5eed_c0de).update(&there, 1, &held);
        job.copy(&there, &back).run()?;
        wanted[1..=words].fill(0x5eed_c0de);
        wanted[1..=held.len()].copy_from_slice(&held);
        compare(&back.read(), &wanted).map_err(|why| format!("{words} words: {why}"))?;
        moved += words;
    }
    Ok(format!("{moved} words in {} sizes", SIZES.len()))
}

/// A dispatch whose size another one writes.
pub fn indirect(on: &On<'_>) -> Outcome {
    const SIZE: [u32; 3] = [5, 3, 7];
    const LANES: u32 = 8;
    let groups = (SIZE[0] * SIZE[1] * SIZE[2]) as usize;
    // More room than marks.
    let marks = Buffer::holding(on.gpu, &vec![0; groups + 64])?;
    let wanted = Buffer::holding(on.gpu, &SIZE)?;
    let size = Buffer::local(on.gpu, SIZE.len())?;
    let plan = [&wanted, &size].map(Resource::Buffer);
    let plan = Program::new(on.gpu, &shader!("plan"), &plan)?;
    let mark = Program::new(on.gpu, &shader!("mark"), &[Resource::Buffer(&marks)])?;
    let mut job = on.job()?;
    job.dispatch(&plan, [1, 1, 1]).dispatch_as(&mark, &size).run()?;
    let mut marked: Vec<u32> = (1..=count_of(groups)).map(|place| LANES * place).collect();
    marked.resize(groups + 64, 0);
    compare(&marks.read(), &marked)?;
    Ok(format!("{groups} workgroups, each once"))
}

/// The device's clock before, between and after two dispatches, beside the host's.
pub fn timestamps(on: &On<'_>) -> Outcome {
    const ROUNDS: [u32; 2] = [2_000, 20_000];
    if on.queue.timestamp_bits == 0 {
        return Err("the queue has no timestamps".into());
    }
    let rounds = ROUNDS.map(|n| Buffer::holding(on.gpu, &[n]));
    let [few, many] = rounds;
    let (few, many) = (few?, many?);
    let result = Buffer::local(on.gpu, 64)?;
    let spin = |rounds| {
        let resources = [rounds, &result].map(Resource::Buffer);
        Program::new(on.gpu, &shader!("spin"), &resources)
    };
    let (short, long) = (spin(&few)?, spin(&many)?);
    let stamps = Stamps::new(on.gpu, 3)?;
    let (top, bottom) =
        (vk::PipelineStageFlags::TOP_OF_PIPE, vk::PipelineStageFlags::BOTTOM_OF_PIPE);
    let mut job = on.job()?;
    job.reset(&stamps).stamp(&stamps, 0, top);
    job.dispatch(&short, [1, 1, 1]).stamp(&stamps, 1, bottom);
    job.dispatch(&long, [1, 1, 1]).stamp(&stamps, 2, bottom);
    let before = Instant::now();
    job.run()?;
    let host_ns = before.elapsed().as_nanos() as f64;
    let ticks = stamps.read()?;
    let [first, second] = [0, 1].map(|n| ticks[n + 1].saturating_sub(ticks[n]) as f64);
    let seen = format!(
        "{:.2} ms and {:.2} ms of {:.2} ms",
        first * on.gpu.tick_ns / 1e6,
        second * on.gpu.tick_ns / 1e6,
        host_ns / 1e6
    );
    let in_order = ticks[0] > 0 && ticks.is_sorted() && second > first;
    if in_order && (first + second) * on.gpu.tick_ns <= host_ns { Ok(seen) } else { Err(seen) }
}

/// An event that commands signal, and for which later ones wait.
pub fn events(on: &On<'_>) -> Outcome {
    let event = Event::new(on.gpu)?;
    let marks = Buffer::holding(on.gpu, &[0; 8])?;
    let mut job = on.job()?;
    job.fill(&marks, 0, 4, 1).signal_and_wait(&event).fill(&marks, 4, 4, 2);
    if event.is_set()? {
        return Err("set before anything ran".into());
    }
    job.run()?;
    compare(&marks.read(), &[1, 1, 1, 1, 2, 2, 2, 2])?;
    if event.is_set()? { Ok(String::new()) } else { Err("not set".into()) }
}
