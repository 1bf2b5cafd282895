// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Compute shaders on each ring that takes them, through an unmodified libdrm.
//!
//! Shaders go to memory by way of caches that nothing keeps coherent but the driver's packets: what
//! the CPU has written must be seen by the next job, be it code, arguments or data, and what a job
//! has stored must be in memory when its fence says so. So each ring runs the same program twice at
//! the same addresses, with all of that changed in between, and the CPU computes the same.
//!
//! The C driver does the first half only for command buffers that ask for it
//! (AMDGPU_IB_FLAG_EMIT_MEM_SYNC; Mesa puts such packets into its own): `--mem-sync 1` asks.

use std::{
    collections::BTreeSet,
    path::PathBuf,
    process::ExitCode,
    thread,
    time::{
        Duration,
        Instant, //
    }, //
};

use amdgpu_client::{
    PAGE,
    args::Args,
    drm::{
        IoMap,
        Node,
        VA_START, //
    },
    engine::Engine,
    ib::Stream,
    libdrm::{
        Bo,
        BoList,
        Context,
        CpuMap,
        Device,
        GpuMap,
        Ib,
        IbPool,
        finish, //
    },
    num::{
        hi32,
        lo32,
        u32_of,
        u64_of, //
    },
    pm4::{
        Dispatch,
        SetComputeRegs, //
    },
    report::{
        Outcome,
        Tally,
        give_up, //
    },
    uapi::{
        CREATE_CPU_ACCESS_REQUIRED,
        DOMAIN_GTT,
        DOMAIN_VRAM,
        GEM_VA,
        GemVa,
        GpuvmFault,
        IB_FLAG_EMIT_MEM_SYNC,
        INFO_GPUVM_FAULT,
        VA_OP_MAP,
        VM_PAGE_PRT, //
    }, //
};

/// Time that the interrupt of a fault may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Lanes of a wave, here also the threads of a group.
const LANES: usize = 64;
/// Numbers that are added.
const COUNT: usize = 4096;
/// Bytes of them.
const BYTES: usize = 4 * COUNT;

/// An operation of a lane: its name, the vector instruction, and the same for the CPU.
type Operation = (&'static str, u32, fn(f32, f32) -> f32);

/// All numbers are small integers, so that results are exact.
const OPERATIONS: [Operation; 2] = [
    ("sums", 0x0602_0501, |a, b| a + b), // v_add_f32_e32 v1, v1, v2
    ("differences", 0x0802_0501, |a, b| a - b), // v_sub_f32_e32 v1, v1, v2
];

/// The program, with the operation left open: `s[0:1]` leads to three buffer descriptors, `s2` is
/// the group's number.
const fn program(operation: u32) -> [u32; 15] {
    [
        0xc082_0100, // s_load_dwordx4 s[4:7], s[0:1], 0x0
        0xc084_0104, // s_load_dwordx4 s[8:11], s[0:1], 0x4
        0xc086_0108, // s_load_dwordx4 s[12:15], s[0:1], 0x8
        0x8f03_8602, // s_lshl_b32 s3, s2, 6
        0x4a00_0003, // v_add_i32_e32 v0, vcc, s3, v0
        0xbf8c_007f, // s_waitcnt lgkmcnt(0)
        0xe030_2000,
        0x8001_0100, // buffer_load_dword v1, v0, s[4:7], 0 idxen
        0xe030_2000,
        0x8002_0200, // buffer_load_dword v2, v0, s[8:11], 0 idxen
        0xbf8c_0f70, // s_waitcnt vmcnt(0)
        operation,
        0xe070_2000,
        0x8003_0100, // buffer_store_dword v1, v0, s[12:15], 0 idxen
        0xbf81_0000, // s_endpgm
    ]
}

/// Each lane stores where it runs: the hardware register HW_ID.
const WHERE: [u32; 9] = [
    0xc086_0108, // s_load_dwordx4 s[12:15], s[0:1], 0x8
    0x8f03_8602, // s_lshl_b32 s3, s2, 6
    0x4a00_0003, // v_add_i32_e32 v0, vcc, s3, v0
    0xb904_f804, // s_getreg_b32 s4, hwreg(4, 0, 32)
    0x7e02_0204, // v_mov_b32_e32 v1, s4
    0xbf8c_007f, // s_waitcnt lgkmcnt(0)
    0xe070_2000,
    0x8003_0100, // buffer_store_dword v1, v0, s[12:15], 0 idxen
    0xbf81_0000, // s_endpgm
];

/// Shader engine, array and compute unit in HW_ID.
const fn place(id: u32) -> (u32, u32, u32) {
    (id >> 13 & 3, id >> 12 & 1, id >> 8 & 15)
}

fn main() -> ExitCode {
    let args = Args::parse(
        "Runs compute shaders on each ring that takes them.",
        &[
            ("node", "device node (default: the first amdgpu render node)"),
            ("mem-sync", "1: ask for caches that see what was written (default: 0)"),
        ],
    );
    let node = match Node::find(args.get::<PathBuf>("node").as_deref()) {
        Ok(node) => node,
        Err(why) => return give_up("dispatch", why),
    };
    let device = match Device::open(&node) {
        Ok(device) => device,
        Err(why) => return give_up("dispatch", why),
    };
    let flags = match args.get::<u32>("mem-sync") {
        Some(1) => IB_FLAG_EMIT_MEM_SYNC,
        _ => 0,
    };
    let mut tally = Tally::new();
    if let Err(why) = all(&device, &node, flags, &mut tally) {
        tally.record("BOs for the shaders", Err(why));
    }
    tally.close()
}

/// Says what was being done when an error came.
fn at(what: &str) -> impl Fn(amdgpu_client::Errno) -> String {
    move |e| format!("{what}: {e}")
}

/// A BO in both address spaces.
type Mapped<'b, 'd> = (GpuMap<'b, 'd>, CpuMap<'b, 'd>);

fn mapped<'b, 'd>(bo: &'b Bo<'d>) -> Result<Mapped<'b, 'd>, String> {
    Ok((bo.map_gpu().map_err(at("GEM_VA"))?, bo.map_cpu().map_err(at("mmap"))?))
}

/// The BOs of a job: code and arguments, two operands, the result.
struct Bench<'b, 'd> {
    context: Context<'d>,
    list: BoList<'d>,
    code: Mapped<'b, 'd>,
    operands: [Mapped<'b, 'd>; 2],
    result: Mapped<'b, 'd>,
    /// The BO of the first operand.
    first: &'b Bo<'d>,
    device: &'d Device,
    ibs: IbPool<'b, 'd>,
    /// Flags of the command buffers.
    flags: u32,
}

/// Place of the descriptors in the BO of the code.
const ARGUMENTS: usize = PAGE / 2;

fn all(device: &Device, node: &Node, flags: u32, tally: &mut Tally) -> Result<(), String> {
    let code = device.alloc(PAGE, DOMAIN_GTT, 0).map_err(at("code"))?;
    let vram = device.alloc(BYTES, DOMAIN_VRAM, CREATE_CPU_ACCESS_REQUIRED).map_err(at("VRAM"))?;
    let gtt = device.alloc(BYTES, DOMAIN_GTT, 0).map_err(at("GTT"))?;
    let result = device.alloc(BYTES, DOMAIN_GTT, 0).map_err(at("result"))?;
    let ib = IbPool::bo(device, PAGE).map_err(at("IB"))?;
    let mut bench = Bench {
        context: device.context().map_err(at("context"))?,
        list: device.bo_list(&[&code, &vram, &gtt, &result, &ib]).map_err(at("BO list"))?,
        code: mapped(&code)?,
        operands: [mapped(&vram)?, mapped(&gtt)?],
        result: mapped(&result)?,
        first: &vram,
        device,
        ibs: IbPool::new(&ib).map_err(at("IB"))?,
        flags,
    };
    bench.code.1.copy_in(0, &program(OPERATIONS[0].1));
    tally.check("where nothing is mapped shaders fault, but beside holes", || {
        bench.check_stray(node)
    });
    for engine in Engine::ALL.into_iter().filter(|engine| !engine.is_dma()) {
        for (n, (name, ..)) in OPERATIONS.iter().enumerate() {
            tally.check(format_args!("{engine}: {name} by a shader"), || bench.check(engine, n));
        }
        tally.check(format_args!("{engine}: nothing is resident behind an address"), || {
            bench.check_hole(engine)
        });
        tally.check(format_args!("{engine}: groups go to the units that the masks allow"), || {
            bench.check_units(engine)
        });
    }
    Ok(())
}

impl Bench<'_, '_> {
    /// Runs one of the operations on a ring, on data that no job before it had.
    fn check(&mut self, engine: Engine, operation: usize) -> Outcome {
        let (_, instruction, wanted) = OPERATIONS[operation];
        let tag = 8 * u32_of(operation) + engine.ring() + engine.ip_type() * 16;
        let number = |n: usize, of: u32| ((n * 7 + 1) % 1000) as f32 * (tag * 2 + of) as f32;
        for (of, (_, cpu)) in (1..).zip(&self.operands) {
            let words: Vec<u32> = (0..COUNT).map(|n| number(n, of).to_bits()).collect();
            cpu.copy_in(0, &words);
        }
        self.result.1.fill(0xff);
        self.code.1.copy_in(0, &program(instruction));
        // Each operation takes the operands in its own order.
        let [a, b] = [operation, 1 - operation];
        self.run(engine, [&self.operands[a].0, &self.operands[b].0, &self.result.0].map(|m| m.va))?;
        compare(&self.result.1, |n| wanted(number(n, u32_of(a) + 1), number(n, u32_of(b) + 1)))?;
        Ok(format!("{COUNT} of them"))
    }

    /// Memory that is not resident reads as zero, also after a write there. Memory that becomes
    /// resident is found. No access of these is a fault.
    fn check_hole(&mut self, engine: Engine) -> Outcome {
        let (_, instruction, sum) = OPERATIONS[0];
        let tag = engine.ring() + engine.ip_type() * 16;
        let number = |n: usize, of: u32| ((n * 5 + 3) % 1000) as f32 * (tag * 2 + of) as f32;
        for (of, (_, cpu)) in (1..).zip(&self.operands) {
            let words: Vec<u32> = (0..COUNT).map(|n| number(n, of).to_bits()).collect();
            cpu.copy_in(0, &words);
        }
        self.code.1.copy_in(0, &program(instruction));
        let [first, second] = [&self.operands[0].0, &self.operands[1].0].map(|map| map.va);
        let result = self.result.0.va;
        let fault = |device: &Device| {
            let fault: GpuvmFault = device.info(INFO_GPUVM_FAULT).map_err(at("GPUVM_FAULT"))?;
            Ok::<_, String>((fault.addr, fault.status))
        };
        let before = fault(self.device)?;

        let hole = self.device.hole(BYTES).map_err(at("GEM_VA of a PRT range"))?;
        for _ in 0..2 {
            self.result.1.fill(0xff);
            self.run(engine, [hole.va, second, result])?;
            compare(&self.result.1, |n| number(n, 2))?;
            self.run(engine, [first, second, hole.va])?;
        }
        self.result.1.fill(0xff);
        let bo = self.first;
        let filled = hole.filled(bo, || self.run(engine, [hole.va, second, result]));
        filled.map_err(at("GEM_VA REPLACE"))??;
        compare(&self.result.1, |n| sum(number(n, 1), number(n, 2)))?;
        self.run(engine, [second, hole.va, result])?;
        compare(&self.result.1, |n| number(n, 2))?;
        match fault(self.device)? {
            after if after == before => Ok(String::new()),
            (addr, status) => Err(format!("a fault at {addr:#x}: {status:#x}")),
        }
    }

    /// Groups run on no other compute units than COMPUTE_STATIC_THREAD_MGMT_SE0 and 1 allow, by
    /// what the shader reads in HW_ID. Units 0 and 1 of both engines are there on each chip.
    fn check_units(&mut self, engine: Engine) -> Outcome {
        self.code.1.copy_in(0, &WHERE);
        let [a, b] = [&self.operands[0].0, &self.operands[1].0].map(|map| map.va);
        let result = self.result.0.va;
        let mut said = vec![];
        for masks in [[1, 0], [0, 2], [2, 1]] {
            self.result.1.fill(0xff);
            self.run_on(engine, [a, b, result], masks)?;
            let seen: BTreeSet<_> = (0..COUNT).map(|n| place(self.result.1.read(4 * n))).collect();
            let allowed = |&(se, sh, cu): &(u32, u32, u32)| {
                masks.get(usize::try_from(se).unwrap_or(2)).is_some_and(|m| m >> cu & 1 != 0)
                    && sh == 0
            };
            if let Some(stray) = seen.iter().find(|unit| !allowed(unit)) {
                return Err(format!("masks {masks:x?}: engine, array and unit {stray:?}"));
            }
            said.push(seen.len());
        }
        Ok(format!("{said:?} of them used"))
    }

    /// While another file has a hole, no shader faults where nothing is mapped. When that file is
    /// closed, they do. To be called before there are holes in this file.
    fn check_stray(&mut self, node: &Node) -> Outcome {
        const ENGINE: Engine = Engine::Gfx;

        let result = self.result.0.va;
        let nowhere = self.first.map_gpu().map_err(at("GEM_VA"))?.va;
        let stray = nowhere..nowhere + u64_of(BYTES);
        let fault = |device: &Device| {
            let fault: GpuvmFault = device.info(INFO_GPUVM_FAULT).map_err(at("GPUVM_FAULT"))?;
            Ok::<_, String>(fault.addr)
        };
        let other = node.open().map_err(at("another file"))?;
        let hole = GemVa {
            operation: VA_OP_MAP,
            flags: VM_PAGE_PRT,
            va_address: VA_START,
            map_size: u64_of(PAGE),
            ..Default::default()
        };
        other.call(GEM_VA, &hole).map_err(at("GEM_VA of a PRT range"))?;
        self.run(ENGINE, [nowhere, nowhere, result])?;
        let beside = fault(self.device)?;
        if stray.contains(&beside) {
            return Err(format!("a fault at {beside:#x}, beside a hole"));
        }
        compare(&self.result.1, |_| 0.0)?;
        drop(other);
        self.run(ENGINE, [nowhere, nowhere, result])?;
        // The interrupt of the fault may come after the job has ended.
        let start = Instant::now();
        loop {
            match fault(self.device)? {
                addr if stray.contains(&addr) => return Ok(String::new()),
                addr if start.elapsed() > PATIENCE => {
                    return Err(format!("the last fault is at {addr:#x}"));
                }
                _ => thread::sleep(Duration::from_millis(10)),
            }
        }
    }

    /// Submits a dispatch of a thread for each number, of two operands and a result at these
    /// addresses, and waits for it.
    fn run(&mut self, engine: Engine, buffers: [u64; 3]) -> Result<(), String> {
        self.run_on(engine, buffers, [!0; 2])
    }

    /// The same on some compute units of the first two shader engines.
    fn run_on(&mut self, engine: Engine, buffers: [u64; 3], units: [u32; 2]) -> Result<(), String> {
        self.code.1.copy_in(ARGUMENTS, &buffers.map(descriptor).concat());
        let mut stream = Stream::new();
        let code = self.code.0.va;
        for (first, values) in registers(code, code + u64_of(ARGUMENTS), units) {
            stream.push(SetComputeRegs { first, values: &values });
        }
        stream.push(Dispatch { groups: u32_of(COUNT / LANES) });
        self.ibs.clear();
        let ib = Ib { flags: self.flags, ..self.ibs.place(engine, &stream) };
        let fence = self.context.submit(engine, &self.list, &[ib], None).map_err(at("submit"))?;
        finish(&fence)
    }
}

/// A descriptor of words one behind the other.
fn descriptor(va: u64) -> [u32; 4] {
    const STRIDE: u32 = 4 << 16;
    /// Components x, y, z, w of a 32-bit float.
    const FORMAT: u32 = 0x0002_7fac;
    [lo32(va), hi32(va) | STRIDE, u32_of(COUNT), FORMAT]
}

/// Registers of the launch (`gfx_7_2_d.h`): first index, values. `units` are those of the first two
/// shader engines; where they are some of them, no others' are used.
fn registers(code: u64, arguments: u64, units: [u32; 2]) -> [(u32, Vec<u32>); 7] {
    let others = if units == [!0; 2] { !0 } else { 0 };
    // RSRC1: 4 vector and 24 scalar registers, denormals of doubles kept, DX10_CLAMP.
    let rsrc1 = 2 << 6 | 0xc0 << 12 | 1 << 21;
    // RSRC2: two user scalars, the group's number.
    let rsrc2 = 2 << 1 | 1 << 7;
    [
        (0x2e07, vec![u32_of(LANES), 1, 1]), // COMPUTE_NUM_THREAD_X to Z
        (0x2e0c, vec![lo32(code >> 8), hi32(code >> 8)]), // COMPUTE_PGM_LO, HI
        (0x2e12, vec![rsrc1, rsrc2]),        // COMPUTE_PGM_RSRC1, 2
        (0x2e15, vec![0, units[0], units[1]]), // RESOURCE_LIMITS, STATIC_THREAD_MGMT_SE0, SE1
        (0x2e18, vec![0]),                   // COMPUTE_TMPRING_SIZE
        (0x2e19, vec![others, others]),      // STATIC_THREAD_MGMT_SE2, SE3
        (0x2e40, vec![lo32(arguments), hi32(arguments)]), // COMPUTE_USER_DATA_0, 1
    ]
}

fn compare(map: &IoMap, wanted: impl Fn(usize) -> f32) -> Result<(), String> {
    let seen = |n: usize| f32::from_bits(map.read(4 * n));
    let wrong: Vec<_> = (0..COUNT).filter(|&n| seen(n) != wanted(n)).collect();
    match wrong.first() {
        None => Ok(()),
        Some(&n) => Err(format!(
            "{} of {COUNT} are wrong: number {n} is {} ({:#x}), not {}",
            wrong.len(),
            seen(n),
            map.read(4 * n),
            wanted(n)
        )),
    }
}
