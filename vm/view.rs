// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The view that a dump has of an address space: what its jobs may read.
//!
//! The C driver's dump looks up a mapping with `amdgpu_vm_bo_lookup_mapping`.

use kernel::prelude::*;

use super::Vm;
use crate::{
    exec::view::JobMemory,
    hw::page_table::{
        Access,
        PAGE_SHIFT,
        PAGE_SIZE, //
    },
    ttm::access, //
};

impl JobMemory for Vm {
    fn read(&self, va: u64, into: &mut [u8]) -> Result {
        let page = va >> PAGE_SHIFT;
        let space = self.publish.lock();
        let mapping = space.mappings().first_in(page..page + 1).ok_or(EFAULT)?;
        let bo = space.bo(mapping.bo).ok_or(EFAULT)?.clone();
        drop(space);
        if !Access::from(mapping.access).read {
            return Err(EACCES);
        }
        let start = (mapping.bo_page + page - mapping.page) << PAGE_SHIFT;
        access::read(&bo, usize::try_from(start + va % PAGE_SIZE)?, into)
    }
}
