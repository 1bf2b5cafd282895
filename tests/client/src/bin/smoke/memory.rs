// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Buffer objects without any job.

use amdgpu_client::{
    Errno,
    PAGE,
    libdrm::Device,
    mem::UserMem,
    report::Tally,
    uapi::{
        CREATE_CPU_ACCESS_REQUIRED,
        CREATE_CPU_GTT_USWC,
        CREATE_VM_ALWAYS_VALID,
        DOMAIN_CPU,
        DOMAIN_GTT,
        DOMAIN_VRAM, //
    }, //
};

use crate::{
    UserMemory,
    at,
    expect, //
};

/// Not a whole number of large pages, and more than one page table's worth of small ones.
const SIZE: usize = 5 * 1024 * 1024 + 3 * PAGE;

pub fn checks(device: &Device, user_memory: UserMemory, tally: &mut Tally) {
    for (name, domain, flags) in [
        ("VRAM", DOMAIN_VRAM, CREATE_CPU_ACCESS_REQUIRED),
        ("GTT", DOMAIN_GTT, 0),
        ("GTT, write-combined", DOMAIN_GTT, CREATE_CPU_GTT_USWC),
        ("CPU domain", DOMAIN_CPU, 0),
        ("GTT, always valid", DOMAIN_GTT, CREATE_VM_ALWAYS_VALID),
    ] {
        tally.check(format_args!("{name}: create, mmap, read and write"), || {
            let bo = device.alloc(SIZE, domain, flags).map_err(at("create"))?;
            let map = bo.map_cpu().map_err(at("mmap"))?;
            let offsets = (0..SIZE).step_by(PAGE + 4);
            // What a new BO holds: zeros, whoever had the memory before.
            for offset in offsets.clone() {
                let word = map.read(offset);
                expect(word == 0, || format!("fresh memory has {word:#x} at {offset:#x}"))?;
            }
            for offset in offsets.clone() {
                map.write(offset, pattern(offset));
            }
            for offset in offsets.clone() {
                let word = map.read(offset);
                expect(word == pattern(offset), || {
                    format!("{word:#x} at {offset:#x}, written was {:#x}", pattern(offset))
                })?;
            }
            Ok(format!("{} words in {SIZE} bytes", offsets.count()))
        });
    }
    tally.check("freed VRAM comes back zeroed", || {
        for _ in 0..4 {
            let bo = device
                .alloc(SIZE, DOMAIN_VRAM, CREATE_CPU_ACCESS_REQUIRED)
                .map_err(at("create"))?;
            let map = bo.map_cpu().map_err(at("mmap"))?;
            let stale = (0..SIZE).step_by(PAGE).find(|&offset| map.read(offset) != 0);
            expect(stale.is_none(), || format!("old bytes at {:#x}", stale.unwrap_or(0)))?;
            map.fill(0x5a);
        }
        Ok(String::new())
    });
    tally.check("GPU addresses: map, unmap, map again", || {
        let bo = device.alloc(SIZE, DOMAIN_GTT, 0).map_err(at("create"))?;
        let first = bo.map_gpu().map_err(at("first map"))?;
        let second = bo.map_gpu().map_err(at("second map of the same BO"))?;
        let va = first.va;
        expect(va != second.va, || "both mappings at one address".into())?;
        drop(first);
        let again = bo.map_gpu().map_err(at("map after unmap"))?;
        Ok(format!("at {va:#x}, {:#x}, {:#x}", second.va, again.va))
    });
    tally.check("BO list: create, update, destroy", || {
        let gtt = device.alloc(PAGE, DOMAIN_GTT, 0).map_err(at("create"))?;
        let vram = device.alloc(PAGE, DOMAIN_VRAM, 0).map_err(at("create"))?;
        let list = device.bo_list(&[&gtt]).map_err(at("list create"))?;
        list.update(&[&gtt, &vram]).map_err(at("list update"))?;
        list.destroy().map_err(at("list destroy"))?;
        Ok(String::new())
    });
    tally.check("userptr BO: create, map, free", || {
        let mem = UserMem::anonymous(SIZE / PAGE).map_err(at("mmap"))?;
        let bo = match (device.userptr(&mem), user_memory) {
            (Err(Errno(libc::ENODEV)), UserMemory::Refused) => return Ok("refused".into()),
            (Ok(_), UserMemory::Refused) => return Err("it was not refused".into()),
            (bo, _) => bo.map_err(at("create"))?,
        };
        let map = bo.map_gpu().map_err(at("GPU map"))?;
        let cpu = bo.map_cpu();
        expect(cpu.is_err(), || "its pages could be mapped a second time".into())?;
        Ok(format!("{SIZE} bytes at {:#x}", map.va))
    });
    tally.check("GEM_WAIT_IDLE of a BO that no job used", || {
        let bo = device.alloc(PAGE, DOMAIN_GTT, 0).map_err(at("create"))?;
        expect(bo.wait_idle(0).map_err(at("wait"))?, || "busy".into())?;
        Ok(String::new())
    });
    tally.check("context: reset state", || {
        let context = device.context().map_err(at("context"))?;
        let state = context.reset_state().map_err(at("query"))?;
        expect(state == (0, 0, 0), || format!("(status, hangs, flags) is {state:?}"))?;
        Ok("no reset".into())
    });
}

/// A different word for each offset.
fn pattern(offset: usize) -> u32 {
    amdgpu_client::num::u32_of(offset) ^ 0xa5a5_0000
}
