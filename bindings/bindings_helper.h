/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * What bindgen reads: the C subsystems that the driver uses and the kernel crate has no bindings
 * for. generate.sh leaves out what kernel::bindings already has.
 */
#include <drm/drm_auth.h>
#include <drm/drm_cache.h>
#include <drm/drm_debugfs.h>
#include <drm/drm_device.h>
#include <drm/drm_drv.h>
#include <drm/drm_exec.h>
#include <drm/drm_file.h>
#include <drm/drm_gem.h>
#include <drm/drm_ioctl.h>
#include <drm/drm_prime.h>
#include <drm/drm_print.h>
#include <drm/drm_syncobj.h>
#include <drm/drm_vma_manager.h>
#include <drm/gpu_scheduler.h>
#include <drm/ttm/ttm_allocation.h>
#include <drm/ttm/ttm_bo.h>
#include <drm/ttm/ttm_device.h>
#include <drm/ttm/ttm_placement.h>
#include <drm/ttm/ttm_range_manager.h>
#include <drm/ttm/ttm_resource.h>
#include <drm/ttm/ttm_tt.h>
#include <linux/acpi.h>
#include <linux/aperture.h>
#include <linux/cgroup_dmem.h>
#include <linux/devcoredump.h>
#include <linux/dma-buf.h>
#include <linux/dma-fence.h>
#include <linux/dma-fence-array.h>
#include <linux/dma-fence-chain.h>
#include <linux/dma-mapping.h>
#include <linux/dma-resv.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/hmm.h>
#include <linux/io.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/notifier.h>
#include <linux/pagemap.h>
#include <linux/pci.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/sync_file.h>
#include <linux/suspend.h>
#include <linux/uaccess.h>
#include <linux/scatterlist.h>
#include <linux/timekeeping.h>
#include <linux/utsname.h>
#include <linux/vgaarb.h>
#include <linux/workqueue.h>
#include <uapi/drm/amdgpu_drm.h>
#include <uapi/linux/magic.h>

#include "helpers.h"
#include "trace.h"

/* Macros that bindgen cannot evaluate. */
const unsigned int RUST_EXT_DRM_EXEC_INTERRUPTIBLE_WAIT = DRM_EXEC_INTERRUPTIBLE_WAIT;
const unsigned int RUST_EXT_DRM_EXEC_IGNORE_DUPLICATES = DRM_EXEC_IGNORE_DUPLICATES;
const unsigned int RUST_EXT_TTM_ALLOCATION_POOL_USE_DMA_ALLOC = TTM_ALLOCATION_POOL_USE_DMA_ALLOC;
const unsigned int RUST_EXT_TTM_ALLOCATION_POOL_USE_DMA32 = TTM_ALLOCATION_POOL_USE_DMA32;
const unsigned int RUST_EXT_TTM_TT_FLAG_EXTERNAL = TTM_TT_FLAG_EXTERNAL;
const unsigned int RUST_EXT_TTM_TT_FLAG_ZERO_ALLOC = TTM_TT_FLAG_ZERO_ALLOC;
const gfp_t RUST_EXT_GFP_DMA32 = GFP_KERNEL | GFP_DMA32;
const unsigned int RUST_EXT_VGA_NORMAL = VGA_RSRC_NORMAL_IO | VGA_RSRC_NORMAL_MEM;
const unsigned long RUST_EXT_PM_HIBERNATION_PREPARE = PM_HIBERNATION_PREPARE;
const unsigned long RUST_EXT_PM_SUSPEND_PREPARE = PM_SUSPEND_PREPARE;
const unsigned long RUST_EXT_PM_RESTORE_PREPARE = PM_RESTORE_PREPARE;
const unsigned long RUST_EXT_DRM_WEDGE_RECOVERY_NONE = DRM_WEDGE_RECOVERY_NONE;
const unsigned long RUST_EXT_DRM_WEDGE_RECOVERY_REBIND = DRM_WEDGE_RECOVERY_REBIND;
