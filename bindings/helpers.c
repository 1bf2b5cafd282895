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

bool rust_ext_dma_fence_is_container(struct dma_fence *fence)
{
	return dma_fence_is_container(fence);
}

u64 rust_ext_drm_vma_node_offset_addr(struct drm_vma_offset_node *node)
{
	return drm_vma_node_offset_addr(node);
}

unsigned int rust_ext_dma_get_max_seg_size(struct device *dev)
{
	return dma_get_max_seg_size(dev);
}

struct folio *rust_ext_page_folio(struct page *page)
{
	return page_folio(page);
}

bool rust_ext_fault_flag_allow_retry_first(enum fault_flag flags)
{
	return fault_flag_allow_retry_first(flags);
}

int rust_ext_mmap_read_lock_killable(struct mm_struct *mm)
{
	return mmap_read_lock_killable(mm);
}

bool rust_ext_vma_is_secret(const struct vm_area_struct *vma)
{
	struct file *file = vma->vm_file;

	/* The kernel's own test of the former is not exported. */
	return file && (file_inode(file)->i_sb->s_magic == SECRETMEM_MAGIC ||
			mapping_inaccessible(file->f_mapping));
}

int rust_ext_vm_fault_to_errno(vm_fault_t fault)
{
	return fault & VM_FAULT_ERROR ? vm_fault_to_errno(fault, 0) : 0;
}

int rust_ext_cond_resched_killable(void)
{
	cond_resched();
	return fatal_signal_pending(current) ? -EINTR : 0;
}

void rust_ext_mmap_read_unlock(struct mm_struct *mm)
{
	mmap_read_unlock(mm);
}

void rust_ext_drm_gem_object_get(struct drm_gem_object *obj)
{
	drm_gem_object_get(obj);
}

bool rust_ext_drm_gem_object_get_unless_zero(struct drm_gem_object *obj)
{
	return kref_get_unless_zero(&obj->refcount);
}

void rust_ext_get_dma_buf(struct dma_buf *buf)
{
	get_dma_buf(buf);
}

bool rust_ext_list_empty(const struct list_head *head)
{
	return list_empty(head);
}

/* The pages that a mapped table covers, or 0 if a piece of it is not made of whole pages. */
u64 rust_ext_sgtable_dma_pages(struct sg_table *sgt)
{
	struct scatterlist *sg;
	u64 bytes = 0;
	int i;

	for_each_sgtable_dma_sg(sgt, sg, i) {
		if (!PAGE_ALIGNED(sg_dma_address(sg)) || !PAGE_ALIGNED(sg_dma_len(sg)))
			return 0;
		bytes += sg_dma_len(sg);
	}
	return bytes >> PAGE_SHIFT;
}

void rust_ext_drm_gem_object_put(struct drm_gem_object *obj)
{
	drm_gem_object_put(obj);
}

bool rust_ext_drm_gem_object_is_shared(struct drm_gem_object *obj)
{
	return drm_gem_object_is_shared_for_memory_stats(obj);
}

/* The kernel crate has the structure of that name, which hides the function. */
int rust_ext_drm_syncobj_create(struct drm_syncobj **out, u32 flags, struct dma_fence *fence)
{
	return drm_syncobj_create(out, flags, fence);
}

void rust_ext_drm_syncobj_put(struct drm_syncobj *obj)
{
	drm_syncobj_put(obj);
}

struct dma_fence *rust_ext_drm_syncobj_fence_get(struct drm_syncobj *obj)
{
	return drm_syncobj_fence_get(obj);
}

bool rust_ext_ttm_bo_get_unless_zero(struct ttm_buffer_object *bo)
{
	return kref_get_unless_zero(&bo->kref);
}

void rust_ext_ttm_bo_move_null(struct ttm_buffer_object *bo, struct ttm_resource *new_mem)
{
	ttm_bo_move_null(bo, new_mem);
}

void rust_ext_ttm_bo_move_to_lru_tail_unlocked(struct ttm_buffer_object *bo)
{
	ttm_bo_move_to_lru_tail_unlocked(bo);
}

void rust_ext_ttm_kmap_write(const struct ttm_bo_kmap_obj *map, size_t offset, const void *from,
			     size_t len)
{
	if (map->bo_kmap_type & TTM_BO_MAP_IOMEM_MASK)
		memcpy_toio((void __iomem *)map->virtual + offset, from, len);
	else
		memcpy(map->virtual + offset, from, len);
}

void rust_ext_ttm_kmap_read(const struct ttm_bo_kmap_obj *map, size_t offset, void *into, size_t len)
{
	if (map->bo_kmap_type & TTM_BO_MAP_IOMEM_MASK)
		memcpy_fromio(into, (void __iomem *)map->virtual + offset, len);
	else
		memcpy(into, map->virtual + offset, len);
}

void rust_ext_ttm_resource_manager_set_used(struct ttm_resource_manager *man, bool used)
{
	ttm_resource_manager_set_used(man, used);
}

#if IS_ENABLED(CONFIG_CGROUP_DMEM)
static int reclaim(struct dmem_cgroup_pool_state *pool, u64 target, void *man)
{
	return ttm_resource_manager_dmem_reclaim(pool, target, man);
}

/* The name is what drmm_cgroup_register_region() would give. */
int rust_ext_ttm_resource_manager_charge(struct ttm_resource_manager *man, struct drm_device *dev,
					 const char *name, u64 size)
{
	static const struct dmem_cgroup_ops ops = { .reclaim = reclaim };
	struct dmem_cgroup_init init = { .size = size, .ops = &ops, .reclaim_priv = man };
	struct dmem_cgroup_region *region;

	region = dmem_cgroup_register_region(&init, "drm/%s/%s", dev->unique, name);
	if (IS_ERR(region))
		return PTR_ERR(region);
	ttm_resource_manager_set_dmem_region(man, region);
	return 0;
}

void rust_ext_ttm_resource_manager_uncharge(struct ttm_resource_manager *man)
{
	struct dmem_cgroup_region *region = man->cg;

	ttm_resource_manager_set_dmem_region(man, NULL);
	dmem_cgroup_unregister_region(region);
}
#else
int rust_ext_ttm_resource_manager_charge(struct ttm_resource_manager *man, struct drm_device *dev,
					 const char *name, u64 size)
{
	return 0;
}

void rust_ext_ttm_resource_manager_uncharge(struct ttm_resource_manager *man)
{
}
#endif

void rust_ext_ttm_resource_manager_cleanup(struct ttm_resource_manager *man)
{
	ttm_resource_manager_cleanup(man);
}

bool rust_ext_ttm_tt_is_populated(struct ttm_tt *tt)
{
	return ttm_tt_is_populated(tt);
}

void rust_ext_dma_fence_set_error(struct dma_fence *fence, int error)
{
	dma_fence_set_error(fence, error);
}

bool rust_ext_dma_mapping_failed(struct device *dev, dma_addr_t addr)
{
	return dma_mapping_error(dev, addr) != 0;
}

bool rust_ext_dma_fence_begin_signalling(void)
{
	return dma_fence_begin_signalling();
}

void rust_ext_dma_fence_end_signalling(bool cookie)
{
	dma_fence_end_signalling(cookie);
}

int rust_ext_dma_resv_lock(struct dma_resv *obj, struct ww_acquire_ctx *ctx)
{
	return dma_resv_lock(obj, ctx);
}

int rust_ext_dma_resv_lock_interruptible(struct dma_resv *obj, struct ww_acquire_ctx *ctx)
{
	return dma_resv_lock_interruptible(obj, ctx);
}

void rust_ext_dma_resv_unlock(struct dma_resv *obj)
{
	dma_resv_unlock(obj);
}

struct ww_acquire_ctx *rust_ext_dma_resv_locking_ctx(struct dma_resv *obj)
{
	return dma_resv_locking_ctx(obj);
}

void rust_ext_dma_resv_iter_begin(struct dma_resv_iter *cursor, struct dma_resv *obj,
				  enum dma_resv_usage usage)
{
	dma_resv_iter_begin(cursor, obj, usage);
}

void rust_ext_dma_resv_iter_end(struct dma_resv_iter *cursor)
{
	dma_resv_iter_end(cursor);
}

struct ww_acquire_ctx *rust_ext_drm_exec_ticket(struct drm_exec *exec)
{
	return drm_exec_ticket(exec);
}

void rust_ext_mmu_interval_set_seq(struct mmu_interval_notifier *notifier, unsigned long seq)
{
	mmu_interval_set_seq(notifier, seq);
}

struct page *rust_ext_hmm_pfn_to_page(unsigned long pfn)
{
	return hmm_pfn_to_page(pfn);
}

/* As vmf_insert_pfn(), by the page: its number is behind a macro. */
vm_fault_t rust_ext_vmf_insert_page(struct vm_fault *vmf, struct page *page)
{
	return vmf_insert_pfn(vmf->vma, vmf->address, page_to_pfn(page));
}

bool rust_ext_access_ok(unsigned long start, unsigned long length)
{
	return access_ok((const void __user *)start, length);
}

unsigned long rust_ext_untagged_addr(unsigned long address)
{
	return untagged_addr(address);
}

#ifdef CONFIG_PM_SLEEP
int rust_ext_register_pm_notifier(struct notifier_block *nb)
{
	return register_pm_notifier(nb);
}

void rust_ext_unregister_pm_notifier(struct notifier_block *nb)
{
	unregister_pm_notifier(nb);
}
#else
int rust_ext_register_pm_notifier(struct notifier_block *nb)
{
	return 0;
}

void rust_ext_unregister_pm_notifier(struct notifier_block *nb)
{
}
#endif

int rust_ext_notifier_from_errno(int err)
{
	return notifier_from_errno(err);
}

struct workqueue_struct *rust_ext_alloc_unbound_workqueue(const char *name)
{
	return alloc_workqueue("%s", WQ_UNBOUND, 0, name);
}

void rust_ext_get_comm(char *buf)
{
	strscpy_pad(buf, current->comm, TASK_COMM_LEN);
}

/* Copies the start of the caller's command line, up to the first page that is not there. */
size_t rust_ext_get_cmdline_nofault(char *to, size_t size)
{
	struct mm_struct *mm = current->mm;
	unsigned long from, end;
	size_t copied = 0;

	if (!mm)
		return 0;
	spin_lock(&mm->arg_lock);
	from = mm->arg_start;
	end = mm->arg_end;
	spin_unlock(&mm->arg_lock);
	size = end > from ? min(size, end - from) : 0;
	while (copied < size) {
		size_t some = min(size - copied, PAGE_SIZE - offset_in_page(from + copied));

		if (copy_from_user_nofault(to + copied, (const void __user *)(from + copied), some))
			break;
		copied += some;
	}
	return copied;
}

const char *rust_ext_kernel_release(void)
{
	return init_utsname()->release;
}

s64 rust_ext_real_seconds(void)
{
	return ktime_get_real_seconds();
}

void rust_ext_dev_coredumpv(struct device *dev, void *data, size_t len)
{
	dev_coredumpv(dev, data, len, GFP_KERNEL);
}

struct workqueue_struct *rust_ext_alloc_ordered_workqueue(const char *name)
{
	return alloc_ordered_workqueue("%s", WQ_MEM_RECLAIM, name);
}

struct workqueue_struct *rust_ext_alloc_reclaim_workqueue(const char *name)
{
	return alloc_workqueue("%s", WQ_UNBOUND | WQ_MEM_RECLAIM, 0, name);
}

void rust_ext_kfree_rcu_mightsleep(void *ptr)
{
	kfree_rcu_mightsleep(ptr);
}

int rust_ext_vga_client_register(struct pci_dev *pdev,
				 unsigned int (*decodes)(struct pci_dev *pdev, bool may))
{
	return vga_client_register(pdev, decodes);
}

void rust_ext_vga_set_legacy_decoding(struct pci_dev *pdev, unsigned int decodes)
{
	vga_set_legacy_decoding(pdev, decodes);
}

#if IS_ENABLED(CONFIG_KUNIT)
int rust_ext_dma_coerce_mask(struct device *dev)
{
	return dma_coerce_mask_and_coherent(dev, DMA_BIT_MASK(64));
}
#endif
