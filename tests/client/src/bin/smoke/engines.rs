// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Work on one ring.

use std::time::{
    Duration,
    Instant, //
};

use amdgpu_client::{
    PAGE,
    engine::Engine,
    ib::{
        Packet,
        Stream, //
    },
    libdrm::{
        Bo,
        BoList,
        Context,
        CpuMap,
        Device,
        GpuMap,
        IbPool,
        UserFence,
        finish, //
    },
    mem::UserMem,
    num::{
        u32_of,
        u64_of, //
    },
    pm4,
    report::Tally,
    rng::Rng,
    sdma,
    uapi::{
        CREATE_CPU_ACCESS_REQUIRED,
        DOMAIN_GTT,
        DOMAIN_VRAM, //
    }, //
};

use crate::{
    UserMemory,
    at,
    expect, //
};

/// Bytes of the buffers that are copied: several page tables' worth of odd pages.
const SIZE: usize = 3 * 1024 * 1024 + PAGE;

/// The BOs of the checks on one ring.
struct Bench<'b, 'd> {
    engine: Engine,
    context: Context<'d>,
    list: BoList<'d>,
    handles: Vec<u32>,
    gtt: (GpuMap<'b, 'd>, CpuMap<'b, 'd>),
    vram: (GpuMap<'b, 'd>, CpuMap<'b, 'd>),
    ibs: IbPool<'b, 'd>,
    fence: &'b Bo<'d>,
    fence_view: CpuMap<'b, 'd>,
}

pub fn checks(device: &Device, engine: Engine, user_memory: UserMemory, tally: &mut Tally) {
    if let Err(why) = on_bench(device, engine, user_memory, tally) {
        tally.record(format_args!("{engine}: BOs for its checks"), Err(why));
    }
}

fn on_bench(
    device: &Device,
    engine: Engine,
    user_memory: UserMemory,
    tally: &mut Tally,
) -> Result<(), String> {
    let gtt = device.alloc(SIZE, DOMAIN_GTT, 0).map_err(at("GTT"))?;
    let vram = device.alloc(SIZE, DOMAIN_VRAM, CREATE_CPU_ACCESS_REQUIRED).map_err(at("VRAM"))?;
    let fence = device.alloc(PAGE, DOMAIN_GTT, 0).map_err(at("fence"))?;
    let ib = IbPool::bo(device, 16 * PAGE).map_err(at("IB"))?;
    let bos = [&gtt, &vram, &fence, &ib];
    let both = |bo| -> Result<_, String> {
        Ok((Bo::map_gpu(bo).map_err(at("GEM_VA"))?, Bo::map_cpu(bo).map_err(at("mmap"))?))
    };
    let mut bench = Bench {
        engine,
        context: device.context().map_err(at("context"))?,
        list: device.bo_list(&bos).map_err(at("BO list"))?,
        handles: bos
            .iter()
            .map(|bo| bo.handle())
            .collect::<Result<_, _>>()
            .map_err(at("handle"))?,
        gtt: both(&gtt)?,
        vram: both(&vram)?,
        ibs: IbPool::new(&ib).map_err(at("IB"))?,
        fence: &fence,
        fence_view: fence.map_cpu().map_err(at("fence"))?,
    };
    bench.all(tally);
    if user_memory == UserMemory::Given {
        tally.check(format_args!("{engine}: userptr to VRAM and back"), || {
            bench.userptr(device, &ib, &vram)
        });
    }
    tally.check(format_args!("{engine}: GEM_WAIT_IDLE after the last job"), || {
        expect(gtt.wait_idle(0).map_err(at("wait"))?, || "busy".into())?;
        Ok(String::new())
    });
    Ok(())
}

impl Bench<'_, '_> {
    fn all(&mut self, tally: &mut Tally) {
        let engine = self.engine;
        tally.check(format_args!("{engine}: NOP"), || {
            self.run(&Stream::new())?;
            Ok(String::new())
        });
        tally.check(format_args!("{engine}: sequence numbers rise by one"), || self.sequence());
        tally.check(format_args!("{engine}: stores to GTT and VRAM"), || self.stores());
        tally.check(format_args!("{engine}: NOP with a body is skipped"), || self.skip());
        tally.check(format_args!("{engine}: user fence"), || self.user_fence());
        tally.check(format_args!("{engine}: eight IBs in one job, in order"), || self.many_ibs());
        tally.check(format_args!("{engine}: BO_HANDLES in place of a BO list"), || {
            self.bo_handles()
        });
        tally.check(format_args!("{engine}: copy GTT to VRAM to GTT"), || self.copy());
        tally.check(format_args!("{engine}: copy of what the CPU wrote to VRAM"), || {
            self.written_by_cpu()
        });
        tally.check(format_args!("{engine}: WAIT_CS and user fence of a job that waits"), || {
            self.waits()
        });
        if engine.is_dma() {
            tally.check(format_args!("{engine}: copies of odd sizes and places"), || {
                self.odd_copies()
            });
            tally.check(format_args!("{engine}: constant fill"), || self.fill());
        }
        tally.check(format_args!("{engine}: 64 jobs in flight"), || self.in_flight());
        tally.check(format_args!("{engine}: no reset has happened"), || {
            let state = self.context.reset_state().map_err(at("query"))?;
            expect(state == (0, 0, 0), || format!("(status, hangs, flags) is {state:?}"))?;
            Ok(String::new())
        });
    }

    /// Submits one stream and waits for it; its number.
    fn run(&mut self, stream: &Stream) -> Result<u64, String> {
        self.ibs.clear();
        let ib = self.ibs.place(self.engine, stream);
        let fence =
            self.context.submit(self.engine, &self.list, &[ib], None).map_err(at("submit"))?;
        finish(&fence)?;
        Ok(fence.seq)
    }

    fn sequence(&mut self) -> Result<String, String> {
        let first = self.run(&Stream::new())?;
        let second = self.run(&Stream::new())?;
        expect(second == first + 1, || format!("{first}, then {second}"))?;
        Ok(format!("{first}, {second}"))
    }

    fn stores(&mut self) -> Result<String, String> {
        let mut stream = Stream::new();
        let last = SIZE - 4;
        for offset in [0, PAGE - 4, PAGE, last] {
            for (gpu, cpu) in [&self.gtt, &self.vram] {
                cpu.write(offset, 0);
                stream.store(self.engine, gpu.va + u64_of(offset), value(offset));
            }
        }
        self.run(&stream)?;
        for offset in [0, PAGE - 4, PAGE, last] {
            for (name, (_, cpu)) in [("GTT", &self.gtt), ("VRAM", &self.vram)] {
                let seen = cpu.read(offset);
                expect(seen == value(offset), || {
                    format!("{name} has {seen:#x} at {offset:#x}, not {:#x}", value(offset))
                })?;
            }
        }
        Ok("8 words".into())
    }

    fn skip(&mut self) -> Result<String, String> {
        /// Would be a store of 0xbad if it were run.
        struct Body<'a>(Engine, &'a [u32]);
        impl Packet for Body<'_> {
            fn encode(&self, words: &mut Vec<u32>) {
                if self.0.is_dma() {
                    // One by one: whether a NOP can carry a body depends on the microcode.
                    words.extend(self.1.iter().map(|_| sdma::NOP));
                } else {
                    pm4::Skip(self.1).encode(words);
                }
            }
        }
        let va = self.gtt.0.va;
        let mut body = Vec::new();
        pm4::WriteData { dst: va, data: &[0xbad] }.encode(&mut body);
        let mut stream = Stream::new();
        stream.store(self.engine, va, 1);
        stream.push(Body(self.engine, &body));
        stream.store(self.engine, va + 4, 2);
        self.run(&stream)?;
        let seen = (self.gtt.1.read(0), self.gtt.1.read(4));
        expect(seen == (1, 2), || format!("memory has {seen:x?}"))?;
        Ok(String::new())
    }

    fn user_fence(&mut self) -> Result<String, String> {
        const INDEX: usize = 5;
        self.fence_view.fill(0);
        self.ibs.clear();
        let ib = self.ibs.place(self.engine, &Stream::new());
        let where_to = Some(UserFence { bo: self.fence, index: u64_of(INDEX) });
        let fence =
            self.context.submit(self.engine, &self.list, &[ib], where_to).map_err(at("submit"))?;
        finish(&fence)?;
        let at = 8 * INDEX;
        let seen =
            u64::from(self.fence_view.read(at)) | u64::from(self.fence_view.read(at + 4)) << 32;
        expect(seen == fence.seq, || format!("memory has {seen}, the job is {}", fence.seq))?;
        for offset in (0..PAGE).step_by(4).filter(|o| !(at..at + 8).contains(o)) {
            let word = self.fence_view.read(offset);
            expect(word == 0, || format!("{word:#x} was written at {offset:#x} as well"))?;
        }
        Ok(format!("{seen}"))
    }

    fn many_ibs(&mut self) -> Result<String, String> {
        self.ibs.clear();
        // Each stores over what the one before it stored.
        let ibs: Vec<_> = (1..=8)
            .map(|n| {
                let mut stream = Stream::new();
                stream.store(self.engine, self.gtt.0.va, n);
                stream.store(self.engine, self.gtt.0.va + u64::from(n) * 4, n);
                self.ibs.place(self.engine, &stream)
            })
            .collect();
        let fence =
            self.context.submit(self.engine, &self.list, &ibs, None).map_err(at("submit"))?;
        finish(&fence)?;
        let seen: Vec<_> = (0..9).map(|n| self.gtt.1.read(n * 4)).collect();
        expect(seen == [8, 1, 2, 3, 4, 5, 6, 7, 8], || format!("memory has {seen:?}"))?;
        Ok(String::new())
    }

    fn bo_handles(&mut self) -> Result<String, String> {
        self.ibs.clear();
        let mut stream = Stream::new();
        stream.store(self.engine, self.gtt.0.va, 0x1234_5678);
        let ib = self.ibs.place(self.engine, &stream);
        let fence =
            self.context.submit_handles(self.engine, &self.handles, ib).map_err(at("submit"))?;
        finish(&fence)?;
        let seen = self.gtt.1.read(0);
        expect(seen == 0x1234_5678, || format!("memory has {seen:#x}"))?;
        Ok(String::new())
    }

    fn copy(&mut self) -> Result<String, String> {
        let mut rng = Rng::new(u64_of(SIZE));
        let random: Vec<u32> =
            (0..SIZE / 4).map(|_| amdgpu_client::num::lo32(rng.next())).collect();
        self.gtt.1.copy_in(0, &random);
        let (from, to, size) = (self.gtt.0.va, self.vram.0.va, u64_of(SIZE));
        self.run(Stream::new().copy(self.engine, from, to, size))?;
        compare("VRAM", &self.vram.1, &random)?;
        self.gtt.1.fill(0);
        self.run(Stream::new().copy(self.engine, to, from, size))?;
        compare("GTT", &self.gtt.1, &random)?;
        Ok(format!("{SIZE} bytes"))
    }

    /// Checks that a job finds what the CPU wrote, which may still be on its way to VRAM when the
    /// job begins.
    fn written_by_cpu(&mut self) -> Result<String, String> {
        let (from, to, size) = (self.vram.0.va, self.gtt.0.va, u64_of(PAGE));
        for round in 0..4 {
            let words: Vec<u32> = (0..u32_of(PAGE / 4)).map(|n| n << 8 | round).collect();
            self.gtt.1.fill(0);
            self.vram.1.copy_in(0, &words);
            self.run(Stream::new().copy(self.engine, from, to, size))?;
            compare("GTT", &self.gtt.1, &words)?;
        }
        Ok("4 times a page".into())
    }

    fn odd_copies(&mut self) -> Result<String, String> {
        let mut source = vec![0; 4 * PAGE];
        Rng::new(3).fill(&mut source);
        let words: Vec<_> = source
            .chunks_exact(4)
            .map(|w| u32::from_le_bytes(w.try_into().expect("four bytes")))
            .collect();
        for (src, dst, bytes) in
            [(0, 0, 1), (1, 2, 3), (3, 0, 4097), (4095, 1, 2), (5, PAGE - 7, 2 * PAGE + 13)]
        {
            self.gtt.1.copy_in(0, &words);
            self.vram.1.fill(0xee);
            let mut stream = Stream::new();
            stream.push(sdma::CopyLinear {
                src: self.gtt.0.va + u64_of(src),
                dst: self.vram.0.va + u64_of(dst),
                bytes: u32_of(bytes),
            });
            self.run(&stream)?;
            let mut seen = vec![0; 4 * PAGE];
            self.vram.1.copy_out(0, &mut seen);
            let mut wanted = vec![0xee; 4 * PAGE];
            wanted[dst..dst + bytes].copy_from_slice(&source[src..src + bytes]);
            let wrong = seen.iter().zip(&wanted).position(|(a, b)| a != b);
            expect(wrong.is_none(), || {
                format!("{bytes} bytes from {src} to {dst}: wrong at {}", wrong.unwrap_or(0))
            })?;
        }
        Ok("5 shapes".into())
    }

    fn fill(&mut self) -> Result<String, String> {
        self.vram.1.fill(0);
        let mut stream = Stream::new();
        let (dst, bytes) = (self.vram.0.va + 8, u32_of(2 * PAGE));
        stream.push(sdma::Fill { dst, value: 0xc0de_cafe, bytes });
        self.run(&stream)?;
        let wanted = |offset: usize| {
            if (8..8 + 2 * PAGE).contains(&offset) { 0xc0de_cafe } else { 0 }
        };
        for offset in (0..3 * PAGE).step_by(4) {
            let seen = self.vram.1.read(offset);
            expect(seen == wanted(offset), || format!("{seen:#x} at {offset:#x}"))?;
        }
        Ok(format!("{bytes} bytes"))
    }

    /// A job that waits for the CPU: every way to ask says 'busy', until it is let go.
    fn waits(&mut self) -> Result<String, String> {
        const GATE: usize = 64;
        self.fence_view.fill(0);
        self.gtt.1.write(GATE, 0);
        self.ibs.clear();
        let mut stream = Stream::new();
        stream.wait_equal(self.engine, self.gtt.0.va + u64_of(GATE), 1);
        stream.store(self.engine, self.gtt.0.va, 77);
        let ib = self.ibs.place(self.engine, &stream);
        self.gtt.1.write(0, 0);
        let where_to = Some(UserFence { bo: self.fence, index: 0 });
        let fence =
            self.context.submit(self.engine, &self.list, &[ib], where_to).map_err(at("submit"))?;
        let started = Instant::now();
        let early = fence.wait(100_000_000).map_err(at("WAIT_CS"));
        let waited = started.elapsed();
        let idle = self.fence.wait_idle(0).map_err(at("GEM_WAIT_IDLE"));
        let stored = (self.gtt.1.read(0), self.fence_view.read(0));
        // Whatever was found, the engine must not be left waiting.
        self.gtt.1.write(GATE, 1);
        finish(&fence)?;
        expect(!early?, || "WAIT_CS said done while the job waited".into())?;
        // The kernel counts in ticks, which come late on a busy machine.
        expect(waited >= Duration::from_millis(50), || format!("WAIT_CS came back in {waited:?}"))?;
        expect(!idle?, || "GEM_WAIT_IDLE said idle while the job waited".into())?;
        expect(stored == (0, 0), || format!("memory had {stored:?} while the job waited"))?;
        let stored = (self.gtt.1.read(0), u64::from(self.fence_view.read(0)));
        expect(stored == (77, fence.seq), || format!("memory has {stored:?} afterward"))?;
        Ok(format!("busy for {} ms, then done", waited.as_millis()))
    }

    fn in_flight(&mut self) -> Result<String, String> {
        const JOBS: u32 = 64;
        self.ibs.clear();
        let mut fences = Vec::new();
        for n in 0..JOBS {
            let mut stream = Stream::new();
            stream.store(self.engine, self.gtt.0.va + u64::from(4 * n), n + 100);
            let ib = self.ibs.place(self.engine, &stream);
            fences.push(
                self.context.submit(self.engine, &self.list, &[ib], None).map_err(at("submit"))?,
            );
        }
        // The last is done last.
        let last = fences.last().ok_or("no jobs")?;
        finish(last)?;
        for (n, fence) in (0..).zip(&fences) {
            expect(fence.wait(0).map_err(at("WAIT_CS"))?, || {
                format!("job {} is done, {} is not", last.seq, fence.seq)
            })?;
            let seen = self.gtt.1.read(usize::try_from(4 * n).unwrap_or(0));
            expect(seen == n + 100, || format!("job {n} left {seen}"))?;
        }
        Ok(String::new())
    }

    fn userptr(
        &mut self,
        device: &Device,
        ib_bo: &Bo<'_>,
        vram: &Bo<'_>,
    ) -> Result<String, String> {
        let pages = SIZE / PAGE;
        let mut source = UserMem::anonymous(pages).map_err(at("mmap"))?;
        let result = UserMem::anonymous(pages).map_err(at("mmap"))?;
        source.randomize(0..pages, &mut Rng::new(11));
        let (from_bo, to_bo) = (
            device.userptr(&source).map_err(at("userptr"))?,
            device.userptr(&result).map_err(at("userptr"))?,
        );
        let (from, to) =
            (from_bo.map_gpu().map_err(at("GEM_VA"))?, to_bo.map_gpu().map_err(at("GEM_VA"))?);
        let list = device.bo_list(&[&from_bo, &to_bo, ib_bo, vram]).map_err(at("BO list"))?;
        let mut stream = Stream::new();
        stream.copy(self.engine, from.va, self.vram.0.va, u64_of(SIZE));
        stream.copy(self.engine, self.vram.0.va, to.va, u64_of(SIZE));
        self.ibs.clear();
        let ib = self.ibs.place(self.engine, &stream);
        let fence = self.context.submit(self.engine, &list, &[ib], None).map_err(at("submit"))?;
        finish(&fence)?;
        let difference = source.difference(&result);
        expect(difference.is_none(), || format!("{difference:x?}"))?;
        Ok(format!("{SIZE} bytes"))
    }
}

fn compare(name: &str, map: &amdgpu_client::drm::IoMap, wanted: &[u32]) -> Result<(), String> {
    let wrong = (0..).step_by(4).zip(wanted).find(|&(offset, &word)| map.read(offset) != word);
    match wrong {
        None => Ok(()),
        Some((offset, word)) => {
            Err(format!("{name} has {:#x} at {offset:#x}, not {word:#x}", map.read(offset)))
        }
    }
}

fn value(offset: usize) -> u32 {
    0xd000_0000 | u32_of(offset)
}
