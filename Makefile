# SPDX-License-Identifier: GPL-2.0 OR MIT
#
# What people type. The kernel's build system reads Kbuild instead. docs/rig.md says how it works.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:
MAKEFLAGS += --no-print-directory

RIG := scripts/rig
# Which kernel `modules`, `shell` and `clippy` are about: stock or debug.
KERNEL ?= stock
export ACCEL AMDGPU_RS_CACHE DEBIAN_MIRROR JOBS

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z_-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# --- run ---------------------------------------------------------------------------------------

.PHONY: run shell
run: ## everything from nothing to a user-pointer copy on the modeled GPU
	@scripts/run

shell: ## a shell in the guest, with the module and the tools in it
	@scripts/guest --kernel $(KERNEL) --driver --client --shell

.PHONY: demo-vulkan demo-opencl demo-cube demo-llm
demo-vulkan: ## Vulkan programs compute on the modeled GPU, by unmodified Mesa: docs/mesa.md
	@scripts/demo vulkan

demo-opencl: ## OpenCL filters a picture there: out/demo/picture.png
	@scripts/demo opencl

demo-cube: ## OpenGL draws a cube there, beside llvmpipe's: out/demo/cube.png
	@scripts/demo cube

demo-llm: ## llama.cpp runs a small language model there, token for token as the processor does
	@scripts/demo llm

# --- tests -------------------------------------------------------------------------------------

.PHONY: test test-model test-client atom decls protocol kunit e2e debug e2e-debug cost bring-up first-boot bringup-diff reference strict hawaii window desktop engines witness platforms reset sleep check fmt
test: ## all tests
	@scripts/test

test-model: ## the model's own tests
	@scripts/test model

test-client: ## the client library's own tests
	@scripts/test client

atom: ## the interpreter of the video BIOS beside the C driver's, and on images that no card has
	@scripts/test atom

decls: ## our register declarations against the kernel's headers
	@scripts/test decls

protocol: ## the userptr protocol as a Promela model, in every interleaving
	@scripts/test protocol

kunit: ## the suites inside the module, in the debug kernel
	@scripts/test kunit

e2e: ## the main job and the ioctls' answers on the stock kernel
	@scripts/test e2e

debug: ## the ioctls' answers on the debug kernel, with a clean log
	@scripts/test debug

e2e-debug: ## what e2e does, on the debug kernel: half an hour of a quiet machine
	@scripts/test e2e-debug

cost: ## what a submission costs with untouched user memory, in instructions
	@scripts/test cost

bring-up: ## cards that are broken: a clear message and a clean way back
	@scripts/test bring-up

first-boot: ## the report of a first boot, of the model and of cards with which something is the matter
	@scripts/test first-boot

bringup-diff: ## our bring-up beside the C driver's, register by register
	@scripts/test bringup-diff

reference: ## the unmodified C driver on the model, and the client programs on it
	@scripts/test reference

reset: ## jobs that hang: who loses what, and whether the card comes back
	@scripts/test reset

sleep: ## the system sleeps while clients work, and the card loses its power
	@scripts/test sleep

platforms: ## a platform that bounces DMA, a picture on the screen
	@scripts/test platforms

strict: ## the interface on the model as unkind as it can be
	@scripts/test strict

window: ## cards of which the CPU sees a part of VRAM
	@scripts/test window

desktop: ## the interface on a card as it is in a PC
	@scripts/test desktop

engines: ## the races on the engines that e2e leaves out
	@scripts/test engines

hawaii: ## the interface on the other chip, and both chips in one machine
	@scripts/test hawaii

witness: ## the races behind a virtual IOMMU, with the model watching
	@scripts/test witness

.PHONY: mesa
mesa: ## Vulkan, OpenCL, OpenGL and llama.cpp by Mesa, on ours and on the C driver: docs/mesa.md
	@scripts/test mesa

.PHONY: soak
soak: ## user memory in all ways under Vulkan and OpenCL, for SOAK_SECS (an hour): docs/mesa.md
	@scripts/test soak

.PHONY: unbind
UNBIND_ROUNDS ?= 500
unbind: ## takes the driver away from under processes, in every order, UNBIND_ROUNDS times
	@scripts/unbind --rounds $(UNBIND_ROUNDS)

.PHONY: lock-holds
lock-holds: ## for how long locks are held that others wait for: docs/locks.md
	@scripts/lock-holds

.PHONY: measures mutants
mutants: ## breaks one promise of the driver at a time: does its witness notice?
	@scripts/mutants

.PHONY: races
ROUNDS ?= 2000
races: ## each race for user memory until it was hit ROUNDS times, on both kernels: docs/races.md
	@scripts/races --rounds $(ROUNDS)

check: ## formatting and lints of everything
	@scripts/test check

measures: ## figures of the driver's source: lengths, documentation, unsafe (docs/house.md)
	@python3 tests/house/measure.py .

fmt: ## format the driver with the kernel's rules, the crates with their own
	@$(RIG) format

.PHONY: igt
DRIVER ?= both
igt: ## IGT's amdgpu tests on the C driver and on ours: docs/igt.md (DRIVER=amdgpu, amdgpu_rs or both)
	@scripts/igt --driver $(DRIVER)

# --- figures -----------------------------------------------------------------------------------

.PHONY: bench
bench: ## our driver and the C driver side by side, by instruction counts (ROWS=... for a part)
	@scripts/bench $(if $(ROWS),--rows "$(ROWS)")

.PHONY: timeline
timeline: ## a picture of the main job: submissions, gathers, invalidations, jobs against time
	@scripts/timeline

# --- parts -------------------------------------------------------------------------------------

.PHONY: trees stock-kernel debug-kernel driver model client update
trees: ## the build tree and the guest tree
	@RIG_VERBOSE=1 $(RIG) need_guest_tree

stock-kernel: ## the stock kernel, with the metadata to build against it
	@RIG_VERBOSE=1 $(RIG) need_stock_kernel

debug-kernel: ## the debug kernel
	@RIG_VERBOSE=1 $(RIG) need_debug_kernel

driver: ## the driver for the guest's kernel (KERNEL=stock or debug)
	@$(RIG) need_driver $(KERNEL)

model: ## the GPU model
	@$(RIG) need_model

client: ## the client programs
	@$(RIG) need_client

update: ## forget what came from the Debian mirror, so that newer packages are taken
	@$(RIG) forget_packages

# --- a machine with a card ---------------------------------------------------------------------

.PHONY: modules modules_install modules_uninstall
modules: ## the module for the running kernel, or for KDIR
	@scripts/modules build

modules_install: ## install it for the running kernel, or for KDIR
	@scripts/modules install

modules_uninstall: ## remove it from all kernels of this machine
	@scripts/modules uninstall

# --- undo --------------------------------------------------------------------------------------

.PHONY: clean distclean
clean: ## remove what was built from this checkout
	@$(RIG) clean

distclean: ## remove the whole cache too
	@$(RIG) distclean
