/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* Static inline functions and macros of C headers, as functions that Rust can call. */
#ifndef RUST_EXT_HELPERS_H
#define RUST_EXT_HELPERS_H

struct dma_fence;
struct ttm_tt;

struct dma_fence *rust_ext_dma_fence_get(struct dma_fence *fence);
void rust_ext_dma_fence_put(struct dma_fence *fence);
bool rust_ext_dma_fence_is_signaled(struct dma_fence *fence);
bool rust_ext_ttm_tt_is_populated(struct ttm_tt *tt);

#endif
