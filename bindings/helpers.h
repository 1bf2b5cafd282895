/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* Static inline functions and macros of C headers, as functions that Rust can call. */
#ifndef RUST_EXT_HELPERS_H
#define RUST_EXT_HELPERS_H

struct dma_fence;
struct dma_resv;
struct dma_resv_iter;
struct drm_exec;
struct mmu_interval_notifier;
struct notifier_block;
struct page;
struct pci_dev;
struct drm_syncobj;
struct drm_vma_offset_node;
struct device;
struct drm_gem_object;
struct ttm_bo_kmap_obj;
struct ttm_buffer_object;
struct ttm_resource;
struct ttm_resource_manager;
struct ttm_tt;
struct workqueue_struct;
struct ww_acquire_ctx;
enum dma_resv_usage;

struct dma_fence *rust_ext_dma_fence_get(struct dma_fence *fence);
void rust_ext_dma_fence_put(struct dma_fence *fence);
bool rust_ext_dma_fence_is_signaled(struct dma_fence *fence);
bool rust_ext_dma_fence_is_container(struct dma_fence *fence);
void rust_ext_dma_fence_set_error(struct dma_fence *fence, int error);
bool rust_ext_dma_mapping_failed(struct device *dev, dma_addr_t addr);
bool rust_ext_dma_fence_begin_signalling(void);
void rust_ext_dma_fence_end_signalling(bool cookie);
int rust_ext_dma_resv_lock(struct dma_resv *obj, struct ww_acquire_ctx *ctx);
int rust_ext_dma_resv_lock_interruptible(struct dma_resv *obj, struct ww_acquire_ctx *ctx);
void rust_ext_dma_resv_unlock(struct dma_resv *obj);
struct ww_acquire_ctx *rust_ext_dma_resv_locking_ctx(struct dma_resv *obj);
void rust_ext_dma_resv_iter_begin(struct dma_resv_iter *cursor, struct dma_resv *obj,
				  enum dma_resv_usage usage);
void rust_ext_dma_resv_iter_end(struct dma_resv_iter *cursor);
struct ww_acquire_ctx *rust_ext_drm_exec_ticket(struct drm_exec *exec);
u64 rust_ext_drm_vma_node_offset_addr(struct drm_vma_offset_node *node);
unsigned int rust_ext_dma_get_max_seg_size(struct device *dev);
struct folio *rust_ext_page_folio(struct page *page);
bool rust_ext_fault_flag_allow_retry_first(enum fault_flag flags);
int rust_ext_mmap_read_lock_killable(struct mm_struct *mm);
void rust_ext_mmap_read_unlock(struct mm_struct *mm);
bool rust_ext_vma_is_secret(const struct vm_area_struct *vma);
int rust_ext_vm_fault_to_errno(vm_fault_t fault);
int rust_ext_cond_resched_killable(void);
void rust_ext_drm_gem_object_get(struct drm_gem_object *obj);
bool rust_ext_drm_gem_object_get_unless_zero(struct drm_gem_object *obj);
void rust_ext_drm_gem_object_put(struct drm_gem_object *obj);
void rust_ext_get_dma_buf(struct dma_buf *buf);
bool rust_ext_list_empty(const struct list_head *head);
u64 rust_ext_sgtable_dma_pages(struct sg_table *sgt);
bool rust_ext_drm_gem_object_is_shared(struct drm_gem_object *obj);
int rust_ext_drm_syncobj_create(struct drm_syncobj **out, u32 flags, struct dma_fence *fence);
void rust_ext_drm_syncobj_put(struct drm_syncobj *obj);
struct dma_fence *rust_ext_drm_syncobj_fence_get(struct drm_syncobj *obj);
bool rust_ext_ttm_bo_get_unless_zero(struct ttm_buffer_object *bo);
void rust_ext_ttm_bo_move_null(struct ttm_buffer_object *bo, struct ttm_resource *new_mem);
void rust_ext_ttm_bo_move_to_lru_tail_unlocked(struct ttm_buffer_object *bo);
void rust_ext_ttm_kmap_write(const struct ttm_bo_kmap_obj *map, size_t offset, const void *from,
			     size_t len);
void rust_ext_ttm_kmap_read(const struct ttm_bo_kmap_obj *map, size_t offset, void *into, size_t len);
void rust_ext_ttm_resource_manager_set_used(struct ttm_resource_manager *man, bool used);
int rust_ext_ttm_resource_manager_charge(struct ttm_resource_manager *man, struct drm_device *dev,
					 const char *name, u64 size);
void rust_ext_ttm_resource_manager_uncharge(struct ttm_resource_manager *man);
void rust_ext_ttm_resource_manager_cleanup(struct ttm_resource_manager *man);
bool rust_ext_ttm_tt_is_populated(struct ttm_tt *tt);
void rust_ext_mmu_interval_set_seq(struct mmu_interval_notifier *notifier, unsigned long seq);
struct page *rust_ext_hmm_pfn_to_page(unsigned long pfn);
vm_fault_t rust_ext_vmf_insert_page(struct vm_fault *vmf, struct page *page);
bool rust_ext_access_ok(unsigned long start, unsigned long length);
unsigned long rust_ext_untagged_addr(unsigned long address);
int rust_ext_register_pm_notifier(struct notifier_block *nb);
void rust_ext_unregister_pm_notifier(struct notifier_block *nb);
int rust_ext_notifier_from_errno(int err);
void rust_ext_get_comm(char *buf);
size_t rust_ext_get_cmdline_nofault(char *to, size_t size);
const char *rust_ext_kernel_release(void);
s64 rust_ext_real_seconds(void);
void rust_ext_dev_coredumpv(struct device *dev, void *data, size_t len);
struct workqueue_struct *rust_ext_alloc_ordered_workqueue(const char *name);
struct workqueue_struct *rust_ext_alloc_unbound_workqueue(const char *name);
struct workqueue_struct *rust_ext_alloc_reclaim_workqueue(const char *name);
void rust_ext_kfree_rcu_mightsleep(void *ptr);
int rust_ext_dma_coerce_mask(struct device *dev);
int rust_ext_vga_client_register(struct pci_dev *pdev,
				 unsigned int (*decodes)(struct pci_dev *pdev, bool may));
void rust_ext_vga_set_legacy_decoding(struct pci_dev *pdev, unsigned int decodes);

#endif
