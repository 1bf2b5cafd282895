// SPDX-License-Identifier: GPL-2.0 OR MIT
//! A bench for the GPU: a host with 16 MiB of memory, a GART that maps all of it, rings for every
//! kind of engine, and an interrupt counter. As small a driver as can be, for the tests only.
#![allow(dead_code, reason = "each test uses a part")]

use std::sync::{
    Arc,
    atomic::{
        AtomicU64,
        Ordering, //
    }, //
};

use amdgpu_model::{
    config::Config,
    engine::Step,
    gpu::Gpu,
    memory::Memory,
    regs::index_of,
    trace::Event, //
};

/// Bus address of the host's memory.
pub const BUS: u64 = 0x1000_0000;
/// Size of the host's memory.
pub const RAM: u64 = 16 << 20;
/// Controller address of the GART, which maps the host's memory from its start.
pub const GART: u64 = 0xff_0000_0000;
/// Controller address of VRAM.
pub const FB: u64 = 0xf4_0000_0000;
/// Entry flags: valid, system, snooped, readable, writeable.
pub const SYSTEM_RW: u64 = 0x67;
/// Entry flags: valid, readable, writeable, in VRAM.
pub const VRAM_RW: u64 = 0x61;

/// Places in the host's memory.
pub const IH_RING: u64 = 0x1_0000;
pub const IH_SIZE_LOG2: u32 = 12;
pub const IH_WPTR: u64 = 0x800;
pub const SDMA_RING: u64 = 0x2_0000;
pub const GFX_RING: u64 = 0x4_0000;
pub const COMPUTE_RING: u64 = 0x5_0000;
const RPTR_SLOTS: u64 = 0x900;
pub const EOP_RING: u64 = 0x6_0000;
pub const DESCRIPTORS: u64 = 0x6_4000;
/// Free for tests.
pub const DATA: u64 = 0x10_0000;

/// Places in VRAM.
const GART_TABLE: u64 = 0x20_0000;
const DIRECTORIES: u64 = 0x21_0000;
const TABLES: u64 = 0x27_0000;
/// Free for tests.
pub const VRAM_DATA: u64 = 0x200_0000;

pub struct Bench {
    pub gpu: Gpu,
    pub ram: Arc<Memory>,
    pub interrupts: Arc<AtomicU64>,
    sdma_wptr: [u32; 2],
    gfx_wptr: u32,
    compute_wptr: [u32; 8],
}

pub fn reg(name: &str) -> u32 {
    index_of(name).unwrap_or_else(|| panic!("no register {name}"))
}

/// A type-3 packet.
pub fn pm4(op: u32, body: &[u32]) -> Vec<u32> {
    let mut p = vec![3 << 30 | (body.len() as u32 - 1) << 16 | op << 8];
    p.extend(body);
    p
}

pub fn lo(a: u64) -> u32 {
    a as u32
}

pub fn hi(a: u64) -> u32 {
    (a >> 32) as u32
}

impl Bench {
    pub fn new() -> Self {
        Self::with(Config { vram: 64 << 20, visible: 64 << 20, ..Config::default() })
    }

    pub fn with(config: Config) -> Self {
        let mut gpu = Gpu::new(config).unwrap();
        let ram = Arc::new(Memory::anonymous("ram", RAM).unwrap());
        gpu.host.map(BUS, ram.clone());
        let interrupts = Arc::new(AtomicU64::new(0));
        let count = interrupts.clone();
        gpu.host.set_msi(Some(Box::new(move || {
            count.fetch_add(1, Ordering::SeqCst);
        })));
        gpu.config_write(4, &[6, 0]);
        // Memory that this driver trusts to be zero.
        gpu.vram().fill(GART_TABLE, 0, 0x20_0000);
        gpu.vram().fill(VRAM_DATA, 0, 0x40_0000);
        let mut b =
            Bench { gpu, ram, interrupts, sdma_wptr: [0; 2], gfx_wptr: 0, compute_wptr: [0; 8] };
        b.microcode();
        b.memory();
        b.ih();
        b.sdma();
        b.gfx();
        b.compute();
        b
    }

    /// Starts both command processors again after a reset.
    pub fn revive_cp(&mut self) {
        self.gfx_wptr = 0;
        self.compute_wptr = [0; 8];
        self.microcode_of(&[
            "CP_PFP_UCODE_DATA",
            "CP_CE_UCODE_DATA",
            "CP_ME_RAM_DATA",
            "CP_MEC_ME1_UCODE_DATA",
        ]);
        self.gfx();
        self.compute();
    }

    pub fn w(&mut self, name: &str, value: u32) {
        self.gpu.reg_write(reg(name), value);
    }

    pub fn r(&mut self, name: &str) -> u32 {
        self.gpu.reg_read(reg(name))
    }

    fn microcode(&mut self) {
        self.microcode_of(&[
            "CP_PFP_UCODE_DATA",
            "CP_CE_UCODE_DATA",
            "CP_ME_RAM_DATA",
            "CP_MEC_ME1_UCODE_DATA",
        ]);
        self.microcode_of(&["SDMA0_UCODE_DATA", "SDMA1_UCODE_DATA"]);
    }

    fn microcode_of(&mut self, ports: &[&str]) {
        ports.iter().for_each(|port| self.w(port, 1));
    }

    fn memory(&mut self) {
        for page in 0..RAM / 4096 {
            self.gpu.vram().write_u64(GART_TABLE + page * 8, (BUS + page * 4096) | SYSTEM_RW);
        }
        self.w("VM_CONTEXT0_PAGE_TABLE_START_ADDR", lo(GART >> 12));
        self.w("VM_CONTEXT0_PAGE_TABLE_END_ADDR", lo((GART + RAM - 1) >> 12));
        self.w("VM_CONTEXT0_PAGE_TABLE_BASE_ADDR", lo((FB + GART_TABLE) >> 12));
        self.w("VM_CONTEXT0_PROTECTION_FAULT_DEFAULT_ADDR", lo(BUS >> 12));
        self.w("VM_CONTEXT0_CNTL", 1 | 1 << 4 | 1 << 3);
        self.w("VM_CONTEXT1_PAGE_TABLE_START_ADDR", 0);
        self.w("VM_CONTEXT1_PAGE_TABLE_END_ADDR", (1 << 24) - 1);
        self.w("VM_CONTEXT1_PROTECTION_FAULT_DEFAULT_ADDR", lo(BUS >> 12));
        // Depth 1, blocks of 1024 entries, every fault redirected and reported.
        let (mut redirect, mut report) = (0, 0);
        for bit in [3, 9, 12, 15, 18] {
            report |= 1 << bit;
            redirect |= 2 << bit;
        }
        self.w("VM_CONTEXT1_CNTL", 1 | 1 << 1 | 1 << 24 | redirect | report);
        self.w("HDP_MEM_COHERENCY_FLUSH_CNTL", 1);
        self.w("VM_L2_CNTL2", 3);
    }

    fn ih(&mut self) {
        self.w("IH_RB_BASE", lo((GART + IH_RING) >> 8));
        self.w("IH_RB_WPTR_ADDR_LO", lo(GART + IH_WPTR));
        self.w("IH_RB_WPTR_ADDR_HI", hi(GART + IH_WPTR) & 0xff);
        self.w("IH_RB_RPTR", 0);
        self.w("IH_RB_WPTR", 0);
        self.w("IH_RB_CNTL", 1 | (IH_SIZE_LOG2 - 2) << 1 | 1 << 8 | 1 << 16);
        self.w("IH_CNTL", 1 | 1 << 4);
    }

    fn sdma(&mut self) {
        for n in 0..2u32 {
            let o = n * 0x200;
            let at = |name| reg(name) + o;
            let ring = GART + SDMA_RING + u64::from(n) * 0x1000;
            let slot = GART + RPTR_SLOTS + u64::from(n) * 32;
            self.gpu.reg_write(at("SDMA0_GFX_RB_BASE"), lo(ring >> 8));
            self.gpu.reg_write(at("SDMA0_GFX_RB_BASE_HI"), lo(ring >> 40));
            self.gpu.reg_write(at("SDMA0_GFX_RB_RPTR"), 0);
            self.gpu.reg_write(at("SDMA0_GFX_RB_WPTR"), 0);
            self.gpu.reg_write(at("SDMA0_GFX_RB_RPTR_ADDR_LO"), lo(slot));
            self.gpu.reg_write(at("SDMA0_GFX_RB_RPTR_ADDR_HI"), hi(slot));
            self.gpu.reg_write(at("SDMA0_GFX_RB_CNTL"), 1 | 10 << 1 | 1 << 12);
            self.gpu.reg_write(at("SDMA0_GFX_IB_CNTL"), 1);
            self.gpu.reg_write(at("SDMA0_CNTL"), 1);
            self.gpu.reg_write(at("SDMA0_F32_CNTL"), 0);
        }
    }

    fn gfx(&mut self) {
        self.w("CP_RB_VMID", 0);
        self.w("CP_RB0_CNTL", 8 | 1 << 31);
        std::thread::sleep(std::time::Duration::from_millis(1));
        self.w("CP_RB0_WPTR", 0);
        self.w("CP_RB0_RPTR_ADDR", lo(GART + RPTR_SLOTS + 64));
        self.w("CP_RB0_RPTR_ADDR_HI", hi(GART + RPTR_SLOTS + 64));
        self.w("CP_RB0_CNTL", 8);
        self.w("CP_RB0_BASE", lo((GART + GFX_RING) >> 8));
        self.w("CP_RB0_BASE_HI", lo((GART + GFX_RING) >> 40));
        self.w("CP_INT_CNTL_RING0", 1 << 26 | 1 << 22 | 1 << 23 | 1 << 24);
        self.w("CP_ME_CNTL", 0);
        std::thread::sleep(std::time::Duration::from_micros(50));
    }

    fn compute(&mut self) {
        self.w("CP_MEC_CNTL", 0);
        std::thread::sleep(std::time::Duration::from_micros(50));
        self.w("CP_ME1_PIPE0_INT_CNTL", 1 << 26);
        self.w("SRBM_GFX_CNTL", 1 << 2);
        self.w("CP_HPD_EOP_BASE_ADDR", lo((GART + EOP_RING) >> 8));
        self.w("CP_HPD_EOP_BASE_ADDR_HI", lo((GART + EOP_RING) >> 40));
        self.w("CP_HPD_EOP_VMID", 0);
        // 64 dwords.
        self.w("CP_HPD_EOP_CONTROL", 5);
        for q in 0..8u32 {
            let ring = GART + COMPUTE_RING + u64::from(q) * 0x1000;
            let slot = GART + RPTR_SLOTS + 96 + u64::from(q) * 32;
            self.w("SRBM_GFX_CNTL", 1 << 2 | q << 8);
            let descriptor = GART + DESCRIPTORS + u64::from(q) * 0x400;
            self.w("CP_MQD_BASE_ADDR", lo(descriptor));
            self.w("CP_MQD_BASE_ADDR_HI", hi(descriptor));
            self.w("CP_MQD_CONTROL", 0);
            self.w("CP_HQD_PQ_BASE", lo(ring >> 8));
            self.w("CP_HQD_PQ_BASE_HI", lo(ring >> 40));
            self.w("CP_HQD_PQ_RPTR", 0);
            self.w("CP_HQD_PQ_WPTR", 0);
            self.w("CP_HQD_PQ_RPTR_REPORT_ADDR", lo(slot));
            self.w("CP_HQD_PQ_RPTR_REPORT_ADDR_HI", hi(slot));
            self.w("CP_HQD_PQ_DOORBELL_CONTROL", 1 << 30 | (0x10 + q) << 2);
            self.w("CP_HQD_PQ_CONTROL", 9);
            self.w("CP_HQD_VMID", 0);
            self.describe_queue(DESCRIPTORS + u64::from(q) * 0x400);
            self.w("CP_HQD_ACTIVE", 1);
        }
        self.w("SRBM_GFX_CNTL", 0);
    }

    /// Writes a descriptor that says what the selected queue's registers do, and that it is active.
    pub fn describe_queue(&mut self, at: u64) {
        self.put(at, &[0xc031_0800]);
        for n in [23, 24, 26, 27] {
            self.put(at + n * 4, &[!0]);
        }
        let (first, last) = (reg("CP_MQD_BASE_ADDR"), reg("CP_MQD_CONTROL"));
        for r in first..=last {
            let value = if r == reg("CP_HQD_ACTIVE") { 1 } else { self.gpu.peek(r) };
            self.put(at + 4 * (51 + u64::from(r - first)), &[value]);
        }
    }

    /// Puts packets on an SDMA ring, without running them.
    pub fn sdma_submit(&mut self, n: usize, packets: &[u32]) {
        let base = SDMA_RING + n as u64 * 0x1000;
        for d in packets {
            self.ram.write_u32(base + u64::from(self.sdma_wptr[n]) * 4, *d);
            self.sdma_wptr[n] = (self.sdma_wptr[n] + 1) % 1024;
        }
        let wptr = reg("SDMA0_GFX_RB_WPTR") + n as u32 * 0x200;
        self.gpu.reg_write(wptr, self.sdma_wptr[n] * 4);
    }

    /// Puts packets on the gfx ring (512 dwords).
    pub fn gfx_submit(&mut self, packets: &[u32]) {
        for d in packets {
            self.ram.write_u32(GFX_RING + u64::from(self.gfx_wptr) * 4, *d);
            self.gfx_wptr = (self.gfx_wptr + 1) % 512;
        }
        self.w("CP_RB0_WPTR", self.gfx_wptr);
    }

    /// Puts packets on a compute ring and rings its doorbell.
    pub fn compute_submit(&mut self, q: usize, packets: &[u32]) {
        let base = COMPUTE_RING + q as u64 * 0x1000;
        for d in packets {
            self.ram.write_u32(base + u64::from(self.compute_wptr[q]) * 4, *d);
            self.compute_wptr[q] = (self.compute_wptr[q] + 1) % 1024;
        }
        self.gpu.doorbell(0x40 + 4 * q as u64, self.compute_wptr[q]);
    }

    /// An indirect buffer for SDMA, preceded by fillers so that it ends on an 8-dword boundary.
    pub fn sdma_ib(&mut self, n: usize, vmid: u32, at: u64, dwords: u32) {
        let mut p = vec![];
        while (self.sdma_wptr[n] as usize + p.len()) % 8 != 4 {
            p.push(0);
        }
        p.extend([4 | vmid << 16, lo(at), hi(at), dwords]);
        self.sdma_submit(n, &p);
    }

    /// Writes dwords into the host's memory.
    pub fn put(&self, at: u64, dwords: &[u32]) {
        for (i, d) in dwords.iter().enumerate() {
            self.ram.write_u32(at + i as u64 * 4, *d);
        }
    }

    pub fn get(&self, at: u64) -> u32 {
        self.ram.read_u32(at)
    }

    /// Runs until nothing moves.
    pub fn run(&mut self) -> Step {
        self.gpu.run(100_000)
    }

    /// Runs until nothing is under way.
    pub fn settle(&mut self) {
        while self.run() == Step::Waiting {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }

    pub fn msis(&self) -> u64 {
        self.interrupts.load(Ordering::SeqCst)
    }

    /// Maps one page of a VMID (2 to 4), below 256 MiB: writes the tables, no flush.
    pub fn map(&mut self, vmid: u32, va: u64, entry: u64) {
        let space = u64::from(vmid) - 2;
        let (directory, table) = (DIRECTORIES + space * 0x2_0000, TABLES + space * 0x8_0000);
        let page = va >> 12;
        let table = table + (page >> 10) * 0x2000;
        self.gpu.vram().write_u64(directory + (page >> 10) * 8, (FB + table) | 1);
        self.gpu.vram().write_u64(table + (page & 0x3ff) * 8, entry);
        self.gpu
            .reg_write(reg("VM_CONTEXT0_PAGE_TABLE_BASE_ADDR") + vmid, lo((FB + directory) >> 12));
    }

    /// Returns the place in VRAM of the GART's entry for a place in the host's memory.
    pub fn gart_entry(&self, at: u64) -> u64 {
        GART_TABLE + at / 4096 * 8
    }

    /// Drops the TLB entries of a VMID.
    pub fn flush(&mut self, vmid: u32) {
        self.w("VM_INVALIDATE_REQUEST", 1 << vmid);
    }

    /// Asserts that no rule was broken.
    #[track_caller]
    pub fn clean(&mut self) {
        self.gpu.log.settle(true);
        let v: Vec<String> =
            self.gpu.log.violations().iter().map(|v| format!("{}: {}", v.rule, v.what)).collect();
        assert!(v.is_empty(), "violations:\n{}", v.join("\n"));
    }

    /// Asserts that the last event of a user's job is an error, and answers its rule.
    #[track_caller]
    pub fn job_error(&self) -> &'static str {
        let error = self.gpu.log.history().filter_map(|e| match e {
            Event::JobError { rule, .. } => Some(*rule),
            _ => None,
        });
        error.last().expect("no error of a job")
    }

    /// Asserts that exactly this rule was broken, and forgets it.
    #[track_caller]
    pub fn broke(&mut self, rule: &str) -> String {
        self.gpu.log.settle(true);
        let v = self.gpu.log.take_violations();
        assert!(
            v.iter().any(|v| v.rule == rule),
            "wanted {rule}, got {:?}",
            v.iter().map(|v| v.rule).collect::<Vec<_>>()
        );
        assert!(
            v.iter().all(|v| v.rule == rule),
            "besides {rule}: {:?}",
            v.iter().map(|v| v.rule).collect::<Vec<_>>()
        );
        assert!(!v[0].history.is_empty());
        v[0].what.clone()
    }
}
