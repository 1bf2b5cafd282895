// SPDX-License-Identifier: GPL-2.0 OR MIT
//! The program as QEMU meets it: a vfio-user client instead of QEMU, the rest is real.

use std::{
    io::{
        BufRead,
        BufReader,
        Read, //
    },
    os::{
        fd::AsRawFd,
        unix::net::UnixStream, //
    },
    path::PathBuf,
    process::{
        Child,
        Command,
        Output,
        Stdio, //
    },
    time::Duration, //
};

use amdgpu_model::{
    memory::Memory,
    regs::index_of, //
};
use vfio_user::Client;

const VRAM: u32 = 0;
const REGISTERS: u32 = 5;
const ROM: u32 = 6;
const CONFIG: u32 = 7;
const MSI: u32 = 1;
/// VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER.
const EVENT: u32 = 4 | 32;

struct Program {
    child: Child,
    dir: PathBuf,
}

impl Program {
    fn start(name: &str, options: &[&str]) -> Self {
        let dir = std::env::temp_dir().join(format!("amdgpu-model-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_amdgpu-model"))
            .current_dir(&dir)
            .args(["--socket", "s", "--vram-mib", "64"])
            .args(options)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "listening\n");
        Program { child, dir }
    }

    fn client(&self) -> Client {
        Client::new(&self.dir.join("s")).unwrap()
    }

    /// Waits for the end, which the client's leaving brings about.
    fn end(self) -> (Output, String) {
        let trace = self.dir.join("trace");
        let output = self.child.wait_with_output().unwrap();
        let text = std::fs::read_to_string(trace).unwrap_or_default();
        std::fs::remove_dir_all(&self.dir).unwrap();
        (output, text)
    }
}

fn write(c: &mut Client, name: &str, value: u32) {
    let at = u64::from(index_of(name).unwrap()) * 4;
    c.region_write(REGISTERS, at, &value.to_le_bytes()).unwrap();
}

fn read(c: &mut Client, name: &str) -> u32 {
    let mut b = [0; 4];
    c.region_read(REGISTERS, u64::from(index_of(name).unwrap()) * 4, &mut b).unwrap();
    u32::from_le_bytes(b)
}

/// One page of host memory at GART address 0xff_0000_0000: the interrupt ring, its write pointer
/// at 0x800, room for a fence at 0xc00. The SDMA ring is in VRAM.
fn bring_up(c: &mut Client) {
    const FB: u64 = 0xf4_0000_0000;
    c.region_write(CONFIG, 4, &[6, 0]).unwrap();
    c.region_write(VRAM, 0x20_0000, &0x1000_0067u64.to_le_bytes()).unwrap();
    for (name, value) in [
        ("VM_CONTEXT0_PAGE_TABLE_START_ADDR", 0xff0_0000),
        ("VM_CONTEXT0_PAGE_TABLE_END_ADDR", 0xff0_0000),
        ("VM_CONTEXT0_PAGE_TABLE_BASE_ADDR", ((FB + 0x20_0000) >> 12) as u32),
        ("VM_CONTEXT0_CNTL", 1),
        ("IH_RB_BASE", 0xff00_0000),
        ("IH_RB_WPTR_ADDR_LO", 0x800),
        ("IH_RB_WPTR_ADDR_HI", 0xff),
        ("IH_RB_RPTR", 0),
        ("IH_RB_WPTR", 0),
        ("IH_RB_CNTL", 1 | 8 << 1 | 1 << 8),
        ("IH_CNTL", 1 | 1 << 4),
        ("SDMA0_UCODE_DATA", 1),
        ("SDMA0_GFX_RB_BASE", ((FB + 0x30_0000) >> 8) as u32),
        ("SDMA0_GFX_RB_BASE_HI", 0),
        ("SDMA0_GFX_RB_RPTR", 0),
        ("SDMA0_GFX_RB_WPTR", 0),
        ("SDMA0_GFX_RB_CNTL", 1 | 8 << 1),
        ("SDMA0_CNTL", 1),
        ("SDMA0_F32_CNTL", 0),
    ] {
        write(c, name, value);
    }
}

#[test]
fn a_client_runs_a_job_and_gets_its_interrupt() {
    let program = Program::start("job", &["--trace", "trace", "--hdp", "strict"]);
    let mut c = program.client();
    let mut bytes = [0; 4];
    c.region_read(CONFIG, 0, &mut bytes).unwrap();
    assert_eq!(u32::from_le_bytes(bytes), 0x6658_1002);
    c.region_read(ROM, 0, &mut bytes).unwrap();
    assert_eq!(bytes[..2], [0x55, 0xaa]);
    assert_eq!(read(&mut c, "CONFIG_MEMSIZE"), 64);
    let bar = c.region(VRAM).unwrap();
    assert_eq!((bar.size, bar.sparse_areas.len()), (64 << 20, 1));
    assert!(bar.file_offset.is_some(), "the guest can map VRAM");

    let ram = Memory::anonymous("ram", 4096).unwrap();
    c.dma_map(0, 0x1000_0000, 4096, ram.fd().as_raw_fd()).unwrap();
    let (mut interrupt, theirs) = UnixStream::pair().unwrap();
    interrupt.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    c.set_irqs(MSI, EVENT, 0, 1, &[theirs.as_raw_fd()]).unwrap();
    bring_up(&mut c);
    // FENCE of 0x77 to host memory, TRAP.
    let ring: Vec<u8> = [5u32, 0xc00, 0xff, 0x77, 6].iter().flat_map(|d| d.to_le_bytes()).collect();
    c.region_write(VRAM, 0x30_0000, &ring).unwrap();
    write(&mut c, "HDP_MEM_COHERENCY_FLUSH_CNTL", 1);
    write(&mut c, "SDMA0_GFX_RB_WPTR", 20);
    interrupt.read_exact(&mut [0; 8]).unwrap();
    assert_eq!((ram.read_u32(0xc00), ram.read_u32(0), ram.read_u32(0x800)), (0x77, 224, 16));
    drop(c);

    let (output, trace) = program.end();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let lines: Vec<serde_json::Value> =
        trace.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let ops: Vec<&str> = lines.iter().filter_map(|l| l["op"].as_str()).collect();
    assert_eq!(ops, ["FENCE", "TRAP"]);
    assert!(
        lines
            .iter()
            .any(|l| l["k"] == "w" && l["reg"] == "SDMA0_GFX_RB_WPTR" && l["val"] == "0x14")
    );
    assert!(lines.iter().any(|l| l["k"] == "cfg" && l["at"] == "0x4" && l["val"] == "0x6"));
    assert!(lines.iter().any(|l| l["k"] == "walk" && l["pte"] == "0x10000067"));
}

#[test]
fn a_card_may_be_vga() {
    let program = Program::start("class", &["--class", "vga"]);
    let mut c = program.client();
    let mut bytes = [0; 4];
    c.region_read(CONFIG, 8, &mut bytes).unwrap();
    assert_eq!(u32::from_le_bytes(bytes) >> 16, 0x0300);
    drop(c);
    assert_eq!(program.end().0.status.code(), Some(0));
}

#[test]
fn a_broken_rule_is_told_with_what_led_there() {
    let program = Program::start("rule", &[]);
    let mut c = program.client();
    write(&mut c, "SCRATCH_REG0", 5);
    write(&mut c, "CONFIG_MEMSIZE", 1);
    drop(c);
    let (output, _) = program.end();
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(told.contains("read-only: write of 0x1 to CONFIG_MEMSIZE"), "{told}");
    assert!(told.contains("host writes SCRATCH_REG0 := 0x5"), "{told}");
}

#[test]
fn memory_that_was_unmapped_is_out_of_reach() {
    let program = Program::start("unmap", &[]);
    let mut c = program.client();
    let ram = Memory::anonymous("ram", 4096).unwrap();
    c.dma_map(0, 0x1000_0000, 4096, ram.fd().as_raw_fd()).unwrap();
    bring_up(&mut c);
    c.dma_unmap(0x1000_0000, 4096).unwrap();
    let ring: Vec<u8> = [5u32, 0xc00, 0xff, 0x77].iter().flat_map(|d| d.to_le_bytes()).collect();
    c.region_write(VRAM, 0x30_0000, &ring).unwrap();
    write(&mut c, "SDMA0_GFX_RB_WPTR", 16);
    while read(&mut c, "SDMA0_GFX_RB_RPTR") != 16 {
        std::thread::sleep(Duration::from_millis(1));
    }
    drop(c);
    let (output, _) = program.end();
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        told.contains("dma-unmapped") && told.contains("write of bus address 0x10000c00"),
        "{told}"
    );
    assert_eq!(ram.read_u32(0xc00), 0);
}

#[test]
fn options_that_make_no_sense_are_refused() {
    for options in [
        &["--vram-mib", "7"][..],
        &["--fail", "everything"],
        &["--device", "voodoo"],
        &["--hdp", "maybe"],
        &["--class", "modem"],
        &["--kind", "gravity"],
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_amdgpu-model"))
            .args(["--socket", "/nonexistent/s"])
            .args(options)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{options:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(options[1]), "{options:?}");
    }
}
