// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Tests of the memory controller, on a fake card.

use super::*;

#[cfg(CONFIG_DRM_AMDGPU_RS_KUNIT_TEST)]
#[kunit_tests(amdgpu_rs_gmc)]
mod tests {
    use kernel::{
        device::Bound,
        faux, //
    };

    use super::*;
    use crate::hw::{
        fake::{
            write,
            Effect, //
        },
        gfx7::inputs::{
            Inputs,
            TRANSLATION, //
        },
    };

    #[test]
    fn gart_is_apart_from_vram() {
        let gib = 1 << 30;
        for (vram, size) in [
            (0xf4_0000_0000, gib),
            (0, 2 * gib),
            (0xff_0000_0000, 4 * gib),
        ] {
            let start = gart_start(vram, size);
            assert!(start + GartLayout::SIZE <= vram || vram + size <= start);
            assert!(start + GartLayout::SIZE <= ADDRESS_SPACE);
        }
        assert_eq!(gart_start(0xf4_0000_0000, gib), 0xff_0000_0000);
    }

    #[test]
    fn legacy_vga() -> Result {
        // CONFIG_CNTL, VGA_HDP_CONTROL, VGA_RENDER_CONTROL
        let card = Card::fake(&[(0x5424, 0x18), (0x328, 0x1), (0x300, 0x3_0001)])?;
        lock_vga_out(&card);
        assert!(card.saw(&[write(0x5424, 0x1a), write(0x328, 0x11), write(0x300, 0x1)]));
        Ok(())
    }

    /// Accesses that close the VGA window and open VRAM.
    const OPENED: [Effect; 12] = [
        write(0x54a0, 0),          // HDP_REG_COHERENCY_FLUSH_CNTL
        write(0x5424, 0x2),        // CONFIG_CNTL
        write(0x328, 0x10),        // VGA_HDP_CONTROL
        write(0x300, 0),           // VGA_RENDER_CONTROL
        write(0x2034, 0xf40_0000), // MC_VM_SYSTEM_APERTURE_LOW_ADDR
        write(0x2038, 0xf43_ffff), // MC_VM_SYSTEM_APERTURE_HIGH_ADDR
        write(0x203c, 0xf43_ffff), // MC_VM_SYSTEM_APERTURE_DEFAULT_ADDR
        write(0x2030, 0),          // MC_VM_AGP_BASE
        write(0x2028, 0),          // MC_VM_AGP_TOP
        write(0x202c, 0x3_ffff),   // MC_VM_AGP_BOT
        write(0x5490, 3),          // BIF_FB_EN
        write(0x2f4c, 0x8),        // HDP_MISC_CNTL
    ];

    /// Accesses by which the memory sequencer gets its microcode and starts.
    const LOADED: [Effect; 7] = [
        write(0x28c8, 0x08), // MC_SEQ_SUP_CNTL
        write(0x28c8, 0x10),
        write(0x28cc, 0x11), // MC_SEQ_SUP_PGM
        write(0x28cc, 0x12),
        write(0x28c8, 0x08), // MC_SEQ_SUP_CNTL
        write(0x28c8, 0x04),
        write(0x28c8, 0x01),
    ];

    #[test]
    fn start() -> Result {
        let registration = faux::Registration::new(c"amdgpu_rs_gmc", None)?;
        let device: &faux::Device<Bound> = registration.as_ref();
        let dev: &device::Device<Bound> = device.as_ref();
        // MC_SEQ_SUP_CNTL: microcode that runs already, which the video BIOS has loaded, stays.
        for (runs, loaded) in [(1, &LOADED[..0]), (0, &LOADED[..])] {
            // MC_SEQ_TRAIN_WAKEUP_CNTL, HDP_MISC_CNTL, HDP_HOST_PATH_CNTL
            let inputs = Inputs::new(&[
                (0x28c8, runs),
                (0x28e8, 0xc000_0000),
                (0x2f4c, 0x9),
                (0x2c00, 0x1234),
            ])?;
            Gmc.start(&inputs.card, dev, &TRANSLATION.vram, &inputs.files.mc);

            let mut expected = KVec::new();
            let mut expect = |effects: &[Effect]| expected.extend_from_slice(effects, GFP_KERNEL);
            for surface in (0x2c14..).step_by(0x18).take(32) {
                for register in (surface..).step_by(4).take(5) {
                    expect(&[write(register, 0)])?;
                }
            }
            expect(&OPENED)?;
            expect(&[write(0x2c00, 0x1234)])?; // HDP_HOST_PATH_CNTL
            expect(loaded)?;
            assert!(inputs.card.saw(&expected));
        }
        Ok(())
    }

    #[test]
    fn translation() -> Result {
        let card = Card::fake(&[])?;
        Gmc.enable_translation(&card, &TRANSLATION);
        assert!(card.saw(&[
            write(0x5480, 1),          // HDP_MEM_COHERENCY_FLUSH_CNTL
            write(0x2064, 0x5b),       // MC_VM_MX_L1_TLB_CNTL
            write(0x1400, 0xb_8e03),   // VM_L2_CNTL
            write(0x1404, 0x3),        // VM_L2_CNTL2
            write(0x1408, 0x14_8009),  // VM_L2_CNTL3
            write(0x155c, 0xff0_0000), // VM_CONTEXT0_PAGE_TABLE_START_ADDR
            write(0x157c, 0xff3_ffff), // VM_CONTEXT0_PAGE_TABLE_END_ADDR
            write(0x153c, 0xf43_fdff), // VM_CONTEXT0_PAGE_TABLE_BASE_ADDR
            write(0x1518, 0x2fdf),     // VM_CONTEXT0_PROTECTION_FAULT_DEFAULT_ADDR
            write(0x1430, 0),          // VM_CONTEXT0_CNTL2
            write(0x1410, 0x11),       // VM_CONTEXT0_CNTL
            write(0x15d4, 0),          // VM_L2_CONTEXT1_IDENTITY_APERTURE_LOW_ADDR
            write(0x15d8, 0),          // VM_L2_CONTEXT1_IDENTITY_APERTURE_HIGH_ADDR
            write(0x15dc, 0),          // VM_L2_CONTEXT_IDENTITY_PHYSICAL_OFFSET
            write(0x1560, 0),          // VM_CONTEXT1_PAGE_TABLE_START_ADDR
            write(0x1580, 0xff_ffff),  // VM_CONTEXT1_PAGE_TABLE_END_ADDR
            write(0x1540, 0xf43_fdff), // VM_CONTEXT1_PAGE_TABLE_BASE_ADDR
            write(0x1544, 0xf43_fdff),
            write(0x1548, 0xf43_fdff),
            write(0x154c, 0xf43_fdff),
            write(0x1550, 0xf43_fdff),
            write(0x1554, 0xf43_fdff),
            write(0x1558, 0xf43_fdff),
            write(0x1438, 0xf43_fdff), // VM_CONTEXT8_PAGE_TABLE_BASE_ADDR
            write(0x143c, 0xf43_fdff),
            write(0x1440, 0xf43_fdff),
            write(0x1444, 0xf43_fdff),
            write(0x1448, 0xf43_fdff),
            write(0x144c, 0xf43_fdff),
            write(0x1450, 0xf43_fdff),
            write(0x1454, 0xf43_fdff),
            write(0x151c, 0x2fdf), // VM_CONTEXT1_PROTECTION_FAULT_DEFAULT_ADDR
            write(0x1434, 0x4),    // VM_CONTEXT1_CNTL2
            write(0x1414, 0x109_2493), // VM_CONTEXT1_CNTL
            write(0x1478, 1),      // VM_INVALIDATE_REQUEST
        ]));
        Ok(())
    }

    #[test]
    fn what_is_not_mapped() -> Result {
        let card = Card::fake(&[])?;
        let pages = 0x10..0xff_fbf0;
        Gmc.set_unmapped(&card, &UnmappedAccess::ReadsZero(pages));
        Gmc.set_unmapped(&card, &UnmappedAccess::Faults);
        let apertures = |low, high| {
            // VM_PRT_APERTURE0_LOW_ADDR to 3, VM_PRT_APERTURE0_HIGH_ADDR to 3
            let low = [0x14b0, 0x14b4, 0x14b8, 0x14bc].map(|register| write(register, low));
            let high = [0x14c0, 0x14c4, 0x14c8, 0x14cc].map(|register| write(register, high));
            (low, high)
        };
        let mut expected = KVec::new();
        for (control, (low, high)) in [
            (0x7f, apertures(0x10, 0xff_fbef)),
            (0, apertures(0xfff_ffff, 0)),
        ] {
            expected.push(write(0x14d0, control), GFP_KERNEL)?; // VM_PRT_CNTL
            expected.extend_from_slice(&low, GFP_KERNEL)?;
            expected.extend_from_slice(&high, GFP_KERNEL)?;
        }
        assert!(card.saw(&expected));
        Ok(())
    }

    #[test]
    fn faults() -> Result {
        // VM_CONTEXT1_PROTECTION_FAULT_ADDR, _STATUS and _MCCLIENT
        let card = Card::fake(&[
            (0x14fc, 0x1_2345),
            (0x14dc, 0x0b00_0008),
            (0x14e4, u32::from_be_bytes(*b"CB0\0")),
        ])?;
        let fault = Gmc.take_fault(&card).ok_or(EINVAL)?;
        assert_eq!((fault.page, fault.vmid), (0x1_2345, 5));
        assert_eq!((fault.write, fault.protections), (true, 0x08));
        assert_eq!(&fault.client, b"CB0\0");
        let names: [(&[u8; 4], &[u8]); 4] = [
            (b"CB0\0", b"CB0"),
            (b"SDM0", b"SDM0"),
            (b"CPF ", b"CPF"),
            (&[0; 4], b"an unnamed client"),
        ];
        for (&client, name) in names {
            let fault = Fault { client, ..fault };
            assert_eq!(&**fault.client_name(), name);
        }
        // VM_CONTEXT1_CNTL2: cleared
        assert!(card.saw(&[write(0x1434, 1)]));
        assert!(Gmc.take_fault(&Card::fake(&[])?).is_none());
        Ok(())
    }

    #[test]
    fn directories() -> Result {
        // VM_CONTEXT7_PAGE_TABLE_BASE_ADDR, VM_CONTEXT8_PAGE_TABLE_BASE_ADDR
        let card = Card::fake(&[(0x1558, 0xf40_0123), (0x1438, 0xf40_0456)])?;
        assert_eq!(Gmc.directory(&card, 7), 0xf4_0012_3000);
        assert_eq!(Gmc.directory(&card, 8), 0xf4_0045_6000);
        assert_eq!(Gmc.directory(&card, 9), 0);
        Ok(())
    }

    #[test]
    fn kinds_of_memory() -> Result {
        // MC_SEQ_MISC0
        for (register, kind) in [(5, 5), (3, 3), (6, 6), (0xb, 7), (0, 0), (8, 0), (0xf, 0)] {
            let card = Card::fake(&[(0x2a00, register << 28 | 0x345)])?;
            assert_eq!(Gmc.describe(&card).kind, kind);
        }
        Ok(())
    }

    #[test]
    fn boards_with_patches() {
        assert_eq!(patches(0x6649, 0x5000_5612), [(5, 0x23), (9, 0x1f0)]);
        for (device, memory) in [
            (0x6649, 0x5000_5712),
            (0x6649, 0x5600_0056),
            (0x6658, 0x5600),
        ] {
            assert_eq!(patches(device, memory), []);
        }
    }

    #[test]
    fn implausible_memory() -> Result {
        let registration = faux::Registration::new(c"amdgpu_rs_gmc", None)?;
        let device: &faux::Device<Bound> = registration.as_ref();
        let dev: &device::Device<Bound> = device.as_ref();
        // MC_VM_FB_LOCATION in units of 16 MiB, CONFIG_MEMSIZE in MiB
        let layout = |start, mib| {
            let card = Card::fake(&[(0x2024, start), (0x5428, mib)])?;
            Gmc.layout(&card, dev)
        };
        let (vram, gart) = layout(0xf400, 1024)?;
        assert_eq!((vram.start, vram.size), (0xf4_0000_0000, 1 << 30));
        assert_eq!(vram.visible, 256 << 20);
        assert_eq!(gart.start, 0xff_0000_0000);
        assert_eq!(gart.table, vram.reserved().start);
        for (start, mib) in [(0xf400, 0), (0xf400, 32), (0xffff, 1024), (0xf400, !0)] {
            assert_eq!(layout(start, mib).err(), Some(ENODEV));
        }
        Ok(())
    }
}
