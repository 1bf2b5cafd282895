#!/bin/sh
# SPDX-License-Identifier: GPL-2.0 OR MIT
#
# Bindings for the C subsystems that the kernel crate has none for.
#
# usage: generate.sh BINDGEN HEADER OUTPUT KERNEL_BINDINGS_DIR KERNEL_PARAMETERS -- CFLAGS...
#
# bindgen runs twice. The first run yields every item reachable from our list; those that
# kernel::bindings already defines in full are blocked in the second run and taken from there, as
# otherwise each C struct would become two Rust types.
set -eu

bindgen=$1 header=$2 output=$3 kernel=$4 parameters=$5
shift 6

# Structures that ioctls exchange with user space. The compiler derives that every bit pattern is a value
# of them, and that no byte is outside of their fields; so a structure with a gap must not be among them.
exchanged='drm_amdgpu_('
exchanged="$exchanged(bo_list|cs|ctx|gem_create|gem_mmap|gem_wait_idle|vm|wait_cs|wait_fences)_(in|out)"
exchanged="$exchanged|fence|fence_to_handle__bindgen_ty_[12]"
exchanged="$exchanged|gem_(list_handles|list_handles_entry|op|userptr|va|vm_entry)"
exchanged="$exchanged|heap_info|info|info__bindgen_ty_1|memory_info"
exchanged="$exchanged|info_(device|firmware|gds|gpuvm_fault|num_handles|vbios|video_caps|video_codec_info|vram_gtt)"
exchanged="$exchanged|info_(vce_clock_table|vce_clock_table_entry)"
exchanged="$exchanged|proc_options|proc_options__bindgen_ty_1|sched_in|userq|userq_signal|userq_wait)"
derived=zerocopy_derive::FromBytes,zerocopy_derive::Immutable,zerocopy_derive::IntoBytes

# Unions among them: words, as the compiler derives nothing of a union.
unions='drm_amdgpu_(ctx_out|info__bindgen_ty_1|userq)'

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

run() {
	target=$1
	shift
	# The parameters are words without blanks, one or two on a line.
	# shellcheck disable=SC2046
	$bindgen "$header" $(grep -Ev '^#|^$|custom' "$parameters") \
		--rust-target 1.85 --use-core --with-derive-default --no-layout-tests --no-debug '.*' \
		--ctypes-prefix ffi --enable-function-attribute-detection \
		--generate functions,types,vars --default-enum-style consts \
		--allowlist-function '(ttm|drm_exec|drm_sched|dma_buf|dma_fence|dma_resv|drm_syncobj|mmu_interval|hmm|rust_ext|drm_dev|drm_gem|drm_file|drm_ioctl|drm_open|drm_release|drm_poll|drm_read|drm_compat_ioctl|drm_mode_config|drm_prime|drm_vma|drm_show_fdinfo|drm_print|drm_debugfs)_.*' \
		--allowlist-function 'drm_(is_current_master|ioctl|open|release|poll|read|compat_ioctl|show_fdinfo)' \
		--allowlist-function 'to_drm_sched_fence|drm_printf|rust_do_trace_(userptr|cs)_.*' \
		--allowlist-function 'acpi_(get|put)_table|aperture_remove_conflicting_pci_devices|pci_disable_device|pci_find_capability|pcie_bandwidth_available|sg_(alloc|free)_.*|dma_(map|unmap)_(sg.*|page_attrs)|dma_addressing_limited|drm_need_swiotlb|ktime_get|ioremap_wc|iounmap|noop_llseek|__mmdrop|vmf_.*|pci_(read|write)_config_.*|pci_(map|unmap)_rom|pci_request_region|pci_release_region|arch_phys_wc_.*|arch_io_(reserve|free)_memtype_wc|folio_mark_dirty|find_vma|handle_mm_fault|vma_lookup|unmap_mapping_range|dev_coredump.*|sync_file_create|idr_for_each|kfree' \
		--allowlist-type '(ttm|drm_exec|drm_sched|dma_buf|dma_fence|dma_resv|drm_syncobj|mmu_interval|mmu_notifier|hmm|drm_gem|drm_amdgpu|drm_driver|drm_ioctl)_.*' \
		--allowlist-type 'drm_(driver|device|file|ioctl_desc|exec|minor|debugfs_entry|wedge_task_info)|ttm_.*|hmm_range|hmm_pfn_flags|ww_acquire_ctx|vm_area_struct|vm_fault|file_operations|vm_operations_struct|sg_table|scatterlist|notifier_block|amd_.*' \
		--allowlist-var '__tracepoint_(userptr|cs)_.*|(AMDGPU|DRM|TTM|HMM|DMA_FENCE|DMA_RESV|MMU_NOTIFIER|DRIVER|RUST_EXT)_.*' \
		--with-derive-custom-struct "$exchanged=$derived" --with-derive-custom-union "$exchanged=$derived" \
		--opaque-type "$unions" \
		-o "$target" "$@"
}

names() {
	grep -ohE '^ *pub (struct|union|type|const|static|fn) (mut )?r?#?[A-Za-z0-9_]+|^ *pub fn [A-Za-z0-9_]+' "$@" |
		sed -E 's/.* (r#)?//' | sort -u
}

# A forward declaration in the kernel's bindings has no fields: ours is the definition.
opaque() {
	grep -B1 -hE '^ *(_unused|_address): ' "$@" | sed -nE 's/^ *pub (struct|union) ([A-Za-z0-9_]+) .*/\2/p' | sort -u
}

run "$work/all.rs" -- "$@"
names "$work/all.rs" >"$work/ours"
names "$kernel"/*.rs >"$work/theirs"
opaque "$kernel"/bindings_generated.rs >"$work/opaque"
comm -12 "$work/ours" "$work/theirs" | comm -23 - "$work/opaque" >"$work/block"

set -- -- "$@"
while read -r name; do
	set -- --blocklist-item "$name" "$@"
done <"$work/block"
run "$work/final.rs" --raw-line 'pub(crate) use kernel::bindings::*;' "$@"
mkdir -p "$(dirname "$output")"
mv "$work/final.rs" "$output"
