// SPDX-License-Identifier: GPL-2.0 OR MIT

//! INFO.

use amdgpu_client::uapi::{
    Addr,
    FW_GFX_ME,
    FW_GFX_MEC,
    FW_SDMA,
    HW_IP_COMPUTE,
    HW_IP_DMA,
    HW_IP_GFX,
    HW_IP_NUM,
    HW_IP_UVD,
    HwIp,
    INFO,
    INFO_ACCEL_WORKING,
    INFO_CRTC_FROM_ID,
    INFO_DEV_INFO,
    INFO_FW_VERSION,
    INFO_HW_IP_COUNT,
    INFO_HW_IP_INFO,
    INFO_MEMORY,
    INFO_READ_MMR_REG,
    INFO_VBIOS,
    Info,
    VBIOS_IMAGE,
    VBIOS_INFO,
    VBIOS_SIZE,
    VbiosInfo, //
};

use crate::{
    case::{
        Case,
        Expect,
        Failure,
        bad,
        both,
        expect,
        good, //
    },
    rig::Rig, //
};

type Outcome = Result<(), Failure>;

/// GB_ADDR_CONFIG, which user space may read (dword offset).
const REGISTER: u32 = 0x263e;

/// Asks into a buffer of eight words, all set to a mark.
fn ask(rig: &Rig, query: u32, param: [u32; 4], bytes: u32) -> Result<[u32; 8], Failure> {
    let mut out = [MARK; 8];
    let request = Info { return_pointer: Addr::of_mut(&mut out), return_size: bytes, query, param };
    rig.file().call(INFO, &request)?;
    Ok(out)
}

const MARK: u32 = 0x3a3a_3a3a;

fn asked(query: u32, param: [u32; 4]) -> impl Fn(&Rig) -> Outcome {
    move |rig| ask(rig, query, param, 32).map(|_| ())
}

/// ACCEL_WORKING, with its frame changed as the case wants.
fn frame(rig: &Rig, change: impl FnOnce(&mut Info<'_>)) -> Outcome {
    let mut out = [0_u32; 1];
    let mut request = Info {
        return_pointer: Addr::of_mut(&mut out),
        return_size: 4,
        query: INFO_ACCEL_WORKING,
        param: [0; 4],
    };
    change(&mut request);
    Ok(rig.file().call(INFO, &request)?)
}

pub fn cases() -> Vec<Case> {
    let mut cases = vec![
        good("ACCEL_WORKING", |rig| {
            let out = ask(rig, INFO_ACCEL_WORKING, [0; 4], 4)?;
            expect(out[0] == 1 && out[1] == MARK, || format!("{out:x?}"))
        }),
        good("no more bytes than there are", |rig| {
            let out = ask(rig, INFO_ACCEL_WORKING, [0; 4], 32)?;
            expect(out[1..].iter().all(|&w| w == MARK), || format!("{out:x?}"))
        }),
        good("no more bytes than were asked for", |rig| {
            for query in [INFO_DEV_INFO, INFO_MEMORY] {
                let out = ask(rig, query, [0; 4], 4)?;
                expect(out[1..].iter().all(|&w| w == MARK), || format!("{query:#x}: {out:x?}"))?;
            }
            Ok(())
        }),
        good("one byte", |rig| {
            let out = ask(rig, INFO_DEV_INFO, [0; 4], 1)?;
            expect(out[0] & 0xffff_ff00 == MARK & 0xffff_ff00, || format!("{out:x?}"))
        }),
        bad("return size 0", libc::EINVAL, |rig| frame(rig, |r| r.return_size = 0)),
        bad("return address 0", libc::EINVAL, |rig| frame(rig, |r| r.return_pointer = Addr::NULL)),
        bad("return address of nothing", libc::EFAULT, |rig| {
            frame(rig, |r| r.return_pointer = Addr::UNMAPPED)
        }),
        bad("return address in the kernel", libc::EFAULT, |rig| {
            frame(rig, |r| r.return_pointer = Addr::KERNEL)
        }),
        good("a kind of engine that this card does not run", |rig| {
            let ip: HwIp = rig.file().info(INFO_HW_IP_INFO, [HW_IP_UVD, 0, 0, 0])?;
            expect(ip.available_rings == 0, || format!("{ip:?}"))
        }),
        bad("a second instance of GFX", libc::EINVAL, asked(INFO_HW_IP_INFO, [HW_IP_GFX, 1, 0, 0])),
        bad(
            "a kind of engine behind the last",
            libc::EINVAL,
            asked(INFO_HW_IP_INFO, [HW_IP_NUM, 0, 0, 0]),
        ),
        bad(
            "how many of a kind behind the last",
            libc::EINVAL,
            asked(INFO_HW_IP_COUNT, [HW_IP_NUM, 0, 0, 0]),
        ),
        bad("a display controller of nothing", libc::EINVAL, asked(INFO_CRTC_FROM_ID, [0; 4])),
        good("firmware", |rig| ask(rig, INFO_FW_VERSION, [FW_GFX_ME, 0, 0, 0], 8).map(|_| ())),
        bad("firmware of no kind", libc::EINVAL, asked(INFO_FW_VERSION, [0x99, 0, 0, 0])),
        bad(
            "firmware of a second instance",
            libc::EINVAL,
            asked(INFO_FW_VERSION, [FW_GFX_ME, 1, 0, 0]),
        ),
        bad("a third MEC", libc::EINVAL, asked(INFO_FW_VERSION, [FW_GFX_MEC, 0, 2, 0])),
        bad("a third SDMA", libc::EINVAL, asked(INFO_FW_VERSION, [FW_SDMA, 0, 2, 0])),
        good("a register", asked(INFO_READ_MMR_REG, [REGISTER, 1, u32::MAX, 0])),
        bad("shader engine 4", libc::EINVAL, asked(INFO_READ_MMR_REG, [REGISTER, 1, 0xff04, 0])),
        bad("shader array 2", libc::EINVAL, asked(INFO_READ_MMR_REG, [REGISTER, 1, 0x02ff, 0])),
        bad("129 registers", libc::EINVAL, asked(INFO_READ_MMR_REG, [REGISTER, 129, u32::MAX, 0])),
        bad(
            "4 Gi registers",
            libc::EINVAL,
            asked(INFO_READ_MMR_REG, [REGISTER, u32::MAX, u32::MAX, 0]),
        ),
        bad(
            "a register that is not for users",
            libc::EFAULT,
            asked(INFO_READ_MMR_REG, [0x0, 1, u32::MAX, 0]),
        ),
        bad(
            "a block that ends in registers that are not for users",
            libc::EFAULT,
            asked(INFO_READ_MMR_REG, [REGISTER, 100, u32::MAX, 0]),
        ),
        bad(
            "a register behind the last",
            libc::EFAULT,
            asked(INFO_READ_MMR_REG, [u32::MAX, 1, u32::MAX, 0]),
        ),
        good("BIOS: its size", |rig| {
            let size: u32 = rig.file().info(INFO_VBIOS, [VBIOS_SIZE, 0, 0, 0])?;
            expect(size >= 512, || format!("{size} bytes"))
        }),
        good("BIOS: the image", |rig| {
            let size: u32 = rig.file().info(INFO_VBIOS, [VBIOS_SIZE, 0, 0, 0])?;
            let first = ask(rig, INFO_VBIOS, [VBIOS_IMAGE, 0, 0, 0], 4)?;
            expect(first[0] & 0xffff == 0xaa55, || format!("{first:x?}"))?;
            // No more than there is, also where there is room.
            let last = ask(rig, INFO_VBIOS, [VBIOS_IMAGE, size - 4, 0, 0], 32)?;
            expect(last[1..].iter().all(|&word| word == MARK), || format!("{last:x?}"))
        }),
        bad("BIOS: the image from behind its end", libc::EINVAL, |rig| {
            let size: u32 = rig.file().info(INFO_VBIOS, [VBIOS_SIZE, 0, 0, 0])?;
            ask(rig, INFO_VBIOS, [VBIOS_IMAGE, size, 0, 0], 32).map(|_| ())
        }),
        bad(
            "BIOS: the image from the last offset",
            libc::EINVAL,
            asked(INFO_VBIOS, [VBIOS_IMAGE, u32::MAX, 0, 0]),
        ),
        good("BIOS: what it says of itself", |rig| {
            let info: VbiosInfo = rig.file().info(INFO_VBIOS, [VBIOS_INFO, 0, 0, 0])?;
            let texts = [&info.name[..], &info.vbios_pn, &info.vbios_ver_str, &info.date];
            expect(texts.iter().all(|text| text.last() == Some(&0)), || format!("{info:x?}"))?;
            // Year, month, day: a model's image has one too.
            expect(info.date.starts_with(b"20"), || format!("{info:x?}"))
        }),
        good("BIOS: the start of what it says", |rig| {
            let out = ask(rig, INFO_VBIOS, [VBIOS_INFO, u32::MAX, 0, 0], 4)?;
            expect(out[1..].iter().all(|&word| word == MARK), || format!("{out:x?}"))
        }),
        both("BIOS, of no kind", Expect::Refusal(libc::EINVAL), asked(INFO_VBIOS, [9, 0, 0, 0])),
    ];
    for kind in [0, 4, u32::MAX] {
        cases.push(bad(
            format!("BIOS, of kind {kind:#x}"),
            libc::EINVAL,
            asked(INFO_VBIOS, [kind, 0, 0, 0]),
        ));
    }
    for query in [0x04_u32, 0x7f, 0xffff_ffff] {
        cases.push(bad(format!("query {query:#x}"), libc::EINVAL, asked(query, [0; 4])));
    }
    for (name, ip_type) in [("GFX", HW_IP_GFX), ("COMPUTE", HW_IP_COMPUTE), ("DMA", HW_IP_DMA)] {
        cases.push(good(format!("rings of {name}"), move |rig| {
            let ip: HwIp = rig.file().info(INFO_HW_IP_INFO, [ip_type, 0, 0, 0])?;
            expect(ip.available_rings != 0, || format!("{ip:?}"))
        }));
    }
    cases
}
