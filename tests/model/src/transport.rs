// SPDX-License-Identifier: GPL-2.0 OR MIT
//! vfio-user: the GPU as a PCI device of QEMU (`-device vfio-user-pci`).
//!
//! BAR0 is the VRAM file, mapped by the guest directly. It needs a sparse-mmap area that covers it
//! whole, or QEMU traps every byte. The backend never answers an error: the reply would carry
//! code 0 and the stream could lose its place; it reports a violation and answers ones.

use std::{
    fs::File,
    io::{
        self,
        Write, //
    },
    mem::size_of,
    os::fd::AsRawFd,
    path::Path, //
};

use anyhow::{
    Context,
    Result, //
};
use vfio_bindings::bindings::vfio::*;
use vfio_user::{
    DmaMapFlags,
    DmaUnmapFlags,
    IrqInfo,
    Server,
    ServerBackend,
    ServerRegion,
    SparseArea, //
};

use crate::{
    gpu::Gpu,
    machine::{
        Handle,
        hurry, //
    },
    pci::{
        CONFIG_SIZE,
        DOORBELL_SIZE,
        REGISTER_SIZE, //
    },
    rom, //
};

const VRAM: u32 = VFIO_PCI_BAR0_REGION_INDEX;
const DOORBELLS: u32 = VFIO_PCI_BAR2_REGION_INDEX;
const REGISTERS: u32 = VFIO_PCI_BAR5_REGION_INDEX;

/// A vfio-user server that listens.
pub struct Listener {
    server: Server,
}

/// Listens on `path`, which must not exist.
pub fn listen(path: &Path, handle: &Handle) -> Result<Listener> {
    let regions = handle.with(|g| (0..VFIO_PCI_NUM_REGIONS).map(|i| region(g, i)).collect());
    let irqs = (0..VFIO_PCI_NUM_IRQS)
        .map(|index| {
            let msi = index == VFIO_PCI_MSI_IRQ_INDEX;
            IrqInfo { index, count: msi.into(), flags: if msi { VFIO_IRQ_INFO_EVENTFD } else { 0 } }
        })
        .collect();
    let server = Server::new(path, true, irqs, regions)
        .with_context(|| format!("listening on {}", path.display()))?;
    Ok(Listener { server })
}

impl Listener {
    /// Serves one client until it disconnects.
    pub fn serve(&self, handle: Handle) -> Result<()> {
        hurry();
        let result = self.server.run(&mut Backend { handle: handle.clone() });
        handle.with(|g| {
            g.host.set_msi(None);
            g.host.unmap_all();
            g.log.settle(false);
        });
        result.context("vfio-user")
    }
}

fn region(gpu: &Gpu, index: u32) -> ServerRegion {
    const RW: u32 = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE;
    let visible = gpu.config.visible;
    let (size, flags) = match index {
        VFIO_PCI_CONFIG_REGION_INDEX => (CONFIG_SIZE as u64, RW),
        VRAM => (visible, RW | VFIO_REGION_INFO_FLAG_MMAP),
        DOORBELLS => (DOORBELL_SIZE, RW),
        REGISTERS => (REGISTER_SIZE, RW),
        VFIO_PCI_ROM_REGION_INDEX => (rom::SIZE as u64, VFIO_REGION_INFO_FLAG_READ),
        _ => (0, 0),
    };
    let info = vfio_region_info {
        argsz: size_of::<vfio_region_info>() as u32,
        index,
        size,
        flags,
        ..Default::default()
    };
    let mapped = index == VRAM;
    let whole = SparseArea { area: vfio_region_sparse_mmap_area { offset: 0, size } };
    ServerRegion {
        region_info: info,
        sparse_areas: if mapped { vec![whole] } else { vec![] },
        mmap_fd: mapped.then(|| gpu.vram().fd().as_raw_fd()),
    }
}

struct Backend {
    handle: Handle,
}

impl ServerBackend for Backend {
    fn region_read(&mut self, region: u32, offset: u64, data: &mut [u8]) -> io::Result<()> {
        self.handle.with(|g| match region {
            REGISTERS => register_read(g, offset, data),
            VFIO_PCI_CONFIG_REGION_INDEX => g.config_read(offset as usize, data),
            VFIO_PCI_ROM_REGION_INDEX => {
                let rom = g.rom();
                for (i, b) in data.iter_mut().enumerate() {
                    *b = rom.get(offset as usize + i).copied().unwrap_or(0xff);
                }
            }
            VRAM if offset + data.len() as u64 <= g.vram().len() => g.vram().read(offset, data),
            _ => {
                data.fill(0xff);
                g.log.note(format!(
                    "read of {} bytes at region {region} offset {offset:#x}",
                    data.len()
                ));
            }
        });
        Ok(())
    }

    fn region_write(&mut self, region: u32, offset: u64, data: &[u8]) -> io::Result<()> {
        self.handle.with(|g| match region {
            REGISTERS => register_write(g, offset, data),
            VFIO_PCI_CONFIG_REGION_INDEX => g.config_write(offset as usize, data),
            DOORBELLS => match <[u8; 4]>::try_from(data) {
                Ok(v) => g.doorbell(offset, u32::from_le_bytes(v)),
                Err(_) => g.log.violation(
                    "access-size",
                    format!("doorbell {offset:#x} written with {} bytes", data.len()),
                ),
            },
            VRAM if offset + data.len() as u64 <= g.vram().len() => g.vram().write(offset, data),
            _ => g.log.note(format!(
                "write of {} bytes at region {region} offset {offset:#x}",
                data.len()
            )),
        });
        Ok(())
    }

    fn dma_map(
        &mut self,
        flags: DmaMapFlags,
        offset: u64,
        address: u64,
        size: u64,
        fd: Option<File>,
    ) -> io::Result<()> {
        self.handle.with(|g| {
            let writable = flags.contains(DmaMapFlags::WRITE);
            g.log.settle(true);
            g.log.note(format!("dma map {address:#x} + {size:#x} {flags:?} fd {}", fd.is_some()));
            if let Err(e) = g.host.map_file(address, size, fd, offset, writable) {
                g.log.violation("dma-map", format!("{address:#x} + {size:#x}: {e}"));
            }
        });
        Ok(())
    }

    fn dma_unmap(&mut self, _flags: DmaUnmapFlags, address: u64, size: u64) -> io::Result<()> {
        self.handle.with(|g| {
            g.log.note(format!("dma unmap {address:#x} + {size:#x}"));
            g.unmap(address, size);
        });
        Ok(())
    }

    fn reset(&mut self) -> io::Result<()> {
        self.handle.with(Gpu::bus_reset);
        Ok(())
    }

    fn set_irqs(
        &mut self,
        index: u32,
        flags: u32,
        _start: u32,
        count: u32,
        mut fds: Vec<File>,
    ) -> io::Result<()> {
        self.handle.with(|g| {
            g.log.note(format!(
                "set_irqs index {index} flags {flags:#x} count {count} fds {}",
                fds.len()
            ));
            if index == VFIO_PCI_MSI_IRQ_INDEX && flags & VFIO_IRQ_SET_ACTION_TRIGGER != 0 {
                g.host.set_msi(fds.pop().map(raise));
            }
        });
        Ok(())
    }
}

/// The interrupt: a count written to an event file descriptor.
fn raise(mut event: File) -> crate::host::Msi {
    Box::new(move || {
        if let Err(e) = event.write_all(&1u64.to_ne_bytes()) {
            eprintln!("amdgpu-model: interrupt: {e}");
        }
    })
}

fn register_read(g: &mut Gpu, offset: u64, data: &mut [u8]) {
    if offset % 4 != 0 || data.len() != 4 {
        g.log.violation(
            "access-size",
            format!("register read of {} bytes at {offset:#x}", data.len()),
        );
        data.fill(0xff);
        return;
    }
    data.copy_from_slice(&g.reg_read((offset / 4) as u32).to_le_bytes());
}

fn register_write(g: &mut Gpu, offset: u64, data: &[u8]) {
    match <[u8; 4]>::try_from(data) {
        Ok(v) if offset % 4 == 0 => g.reg_write((offset / 4) as u32, u32::from_le_bytes(v)),
        _ => g.log.violation(
            "access-size",
            format!("register write of {} bytes at {offset:#x}", data.len()),
        ),
    }
}
