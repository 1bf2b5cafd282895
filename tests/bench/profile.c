// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * A plugin of QEMU: which instructions the guest runs while a measurement is on.
 *
 * The guest's program marks begin and end of a measurement by no-operations that bear a number in their
 * displacement (tests/client/src/clock.rs). At the end of the run, the file profile.txt has a line for
 * each block of code that was run in between: its address, and how many instructions of it were run.
 *
 * The declarations are those of QEMU's plugin interface, version 7, as far as they are used here.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

typedef uint64_t plugin_id;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
struct qemu_info;

typedef void (*tb_trans_cb)(struct qemu_plugin_tb *tb, void *data);
typedef void (*exec_cb)(unsigned int vcpu, void *data);
typedef void (*exit_cb)(void *data);
enum registers { NO_REGISTERS };

void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id id, tb_trans_cb cb, void *data);
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *tb, exec_cb cb, enum registers flags,
					  void *data);
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *insn, exec_cb cb,
					    enum registers flags, void *data);
void qemu_plugin_register_atexit_cb(plugin_id id, exit_cb cb, void *data);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *tb);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t index);
size_t qemu_plugin_insn_data(const struct qemu_plugin_insn *insn, void *to, size_t length);

EXPORT int qemu_plugin_version = 7;

/* nop dword [rax + rax + number] */
static const uint8_t marker[] = { 0x0f, 0x1f, 0x84, 0x00 };
#define BEGIN 0x4e474542u
#define END 0x4e444e45u

/* Blocks by address, each translation of it added up. */
struct block {
	uint64_t address, length, count;
	struct block *next;
};

#define BUCKETS (1u << 16)
static struct block *blocks[BUCKETS];
static uint64_t measurements;
static bool on;

static struct block *block_at(uint64_t address, uint64_t length)
{
	struct block **at = &blocks[(address ^ address >> 16) % BUCKETS];

	for (; *at; at = &(*at)->next)
		if ((*at)->address == address && (*at)->length == length)
			return *at;
	*at = calloc(1, sizeof(**at));
	if (!*at)
		abort();
	(*at)->address = address;
	(*at)->length = length;
	return *at;
}

static void ran(unsigned int vcpu, void *data)
{
	struct block *block = data;

	(void)vcpu;
	if (on)
		block->count++;
}

static void begin(unsigned int vcpu, void *data)
{
	(void)vcpu;
	(void)data;
	on = true;
	measurements++;
}

static void end(unsigned int vcpu, void *data)
{
	(void)vcpu;
	(void)data;
	on = false;
}

static void translated(struct qemu_plugin_tb *tb, void *data)
{
	size_t length = qemu_plugin_tb_n_insns(tb);

	(void)data;
	qemu_plugin_register_vcpu_tb_exec_cb(tb, ran, NO_REGISTERS,
					     block_at(qemu_plugin_tb_vaddr(tb), length));
	for (size_t i = 0; i < length; i++) {
		struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
		uint8_t bytes[8];
		uint32_t number;

		if (qemu_plugin_insn_data(insn, bytes, sizeof(bytes)) != sizeof(bytes) ||
		    memcmp(bytes, marker, sizeof(marker)))
			continue;
		memcpy(&number, bytes + sizeof(marker), sizeof(number));
		if (number == BEGIN)
			qemu_plugin_register_vcpu_insn_exec_cb(insn, begin, NO_REGISTERS, NULL);
		else if (number == END)
			qemu_plugin_register_vcpu_insn_exec_cb(insn, end, NO_REGISTERS, NULL);
	}
}

static void finish(void *data)
{
	FILE *out = fopen("profile.txt", "w");

	(void)data;
	if (!out)
		return;
	fprintf(out, "measurements %llu\n", (unsigned long long)measurements);
	for (unsigned int i = 0; i < BUCKETS; i++)
		for (struct block *block = blocks[i]; block; block = block->next)
			if (block->count)
				fprintf(out, "%llx %llu\n", (unsigned long long)block->address,
					(unsigned long long)(block->count * block->length));
	fclose(out);
}

EXPORT int qemu_plugin_install(plugin_id id, const struct qemu_info *info, int argc, char **argv)
{
	(void)info;
	(void)argc;
	(void)argv;
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated, NULL);
	qemu_plugin_register_atexit_cb(id, finish, NULL);
	return 0;
}
