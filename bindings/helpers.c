// SPDX-License-Identifier: GPL-2.0 OR MIT
#include "bindings_helper.h"

struct dma_fence *rust_ext_dma_fence_get(struct dma_fence *fence)
{
	return dma_fence_get(fence);
}

void rust_ext_dma_fence_put(struct dma_fence *fence)
{
	dma_fence_put(fence);
}

bool rust_ext_dma_fence_is_signaled(struct dma_fence *fence)
{
	return dma_fence_is_signaled(fence);
}

bool rust_ext_ttm_tt_is_populated(struct ttm_tt *tt)
{
	return ttm_tt_is_populated(tt);
}
