// SPDX-License-Identifier: GPL-2.0 OR MIT
//! A card that was not posted: it has no clocks, and its memory controller knows nothing of the
//! memory. ASIC_Init of the ROM sets all that. When it says that it has, it is looked at what it
//! set.

use crate::{
    gpu::Gpu,
    regs::{
        index::*,
        label,
        reset::{
            INIT_COMPLETE,
            clocks,
            posting, //
        }, //
    }, //
};

impl Gpu {
    /// Returns true if ASIC_Init has run, by its own account.
    pub(crate) fn is_posted(&self) -> bool {
        self.regs.get(BIOS_SCRATCH_7) & INIT_COMPLETE != 0
    }

    pub(crate) fn engine_clock_runs(&self) -> bool {
        let spll = self.regs.indirect("SMC", CG_SPLL_FUNC_CNTL);
        spll & SPLL_OFF == 0 && spll & SPLL_ON == SPLL_ON
    }

    /// Returns true if engines and memory have their clocks, without which no engine executes
    /// anything.
    pub(crate) fn is_clocked(&self) -> bool {
        self.engine_clock_runs() && self.regs.get(MPLL_CNTL_MODE) & MCLK_SEL != 0
    }

    /// Memory that is trained for the first time since the power came on loses what was in it.
    pub(crate) fn set_memory_clock(&mut self, value: u32) {
        self.regs.set(MPLL_CNTL_MODE, value);
        if value & MCLK_SEL != 0 && std::mem::take(&mut self.untrained) {
            self.lose_vram();
        }
    }

    /// A write of BIOS_SCRATCH_7. With it, posting may come to its end.
    pub(crate) fn set_posting(&mut self, value: u32) {
        let was = self.is_posted();
        self.regs.set(BIOS_SCRATCH_7, value);
        if self.is_posted() && !was {
            self.check_posting();
        }
    }

    fn check_posting(&mut self) {
        let direct =
            posting(&self.config).map(|(reg, value)| (label(reg), self.regs.get(reg), value));
        let indirect = clocks().map(|(index, value)| {
            (format!("SMC {index:#x}"), self.regs.indirect("SMC", index), value)
        });
        for (name, is, value) in direct.into_iter().chain(indirect) {
            if is != value {
                self.log.violation(
                    "posting",
                    format!("the card is posted with {name} {is:#x}, not {value:#x}"),
                );
            }
        }
    }
}
