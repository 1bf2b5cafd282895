// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Runs ASIC_Init of an image by the C driver's interpreter, with its accesses to the card handed to
 * the caller. One run at a time.
 */
#include <setjmp.h>

#include ATOM_C

/* How a run ended, besides the results of atom.c. */
enum { OUT_OF_IMAGE = 1000, OUT_OF_READS = 1001, NO_IMAGE = 1002 };

struct oracle_run {
	const u8 *image;
	u32 size;
	/* Reads of the image after which the run is ended. */
	u64 reads;
	u32 *scratch;
	/* Size of the scratch area in bytes. */
	u32 scratch_size;
	void *bus;
	u32 (*read)(void *bus, u32 space, u32 reg);
	void (*write)(void *bus, u32 space, u32 reg, u32 value);
	void (*delay)(void *bus, u32 microseconds);
	/* Takes the formats of what is printed, and whether they are of an instruction at `at`. */
	void (*print)(void *bus, const char *format, int at);
};

static struct oracle_run *run;
static jmp_buf end;
static u64 arena[1 << 14];
static size_t allocated;

void *shim_alloc(size_t size)
{
	void *p = &arena[allocated];

	allocated += (size + 7) / 8;
	if (allocated > ARRAY_SIZE(arena))
		return NULL;
	return memset(p, 0, size);
}

/* What is freed was allocated last. */
void shim_free(void *p)
{
	if (p)
		allocated = (u64 *)p - arena;
}

u8 shim_image(const void *bios, int at)
{
	if (at < 0 || (u32)at >= run->size)
		longjmp(end, OUT_OF_IMAGE);
	if (!run->reads--)
		longjmp(end, OUT_OF_READS);
	return ((const u8 *)bios)[at];
}

void shim_delay(u32 microseconds)
{
	run->delay(run->bus, microseconds);
}

void shim_print(const char *format, ...)
{
	int at = -1;
	va_list args;

	va_start(args, format);
	if (!strcmp(format, "%s @ 0x%04X\n")) {
		va_arg(args, const char *);
		at = va_arg(args, int);
	} else if (!strcmp(format, "[%d] @ 0x%04X\n")) {
		/* An instruction without a name. */
		va_arg(args, int);
		at = va_arg(args, int);
	}
	va_end(args);
	run->print(run->bus, format, at);
}

enum { MMIO, PLL, MC };

#define ACCESS(name, space) \
	static u32 name##_read(struct card_info *info, u32 reg) \
	{ \
		return run->read(run->bus, space, reg); \
	} \
	static void name##_write(struct card_info *info, u32 reg, u32 value) \
	{ \
		run->write(run->bus, space, reg, value); \
	}

ACCESS(mmio, MMIO)
ACCESS(pll, PLL)
ACCESS(mc, MC)

int oracle_asic_init(struct oracle_run *what)
{
	static struct card_info card = {
		.reg_read = mmio_read, .reg_write = mmio_write,
		.pll_read = pll_read, .pll_write = pll_write,
		.mc_read = mc_read, .mc_write = mc_write,
	};
	struct atom_context *ctx;
	int how;

	run = what;
	allocated = 0;
	debug_depth = 0;
	amdgpu_atom_debug = 1;
	how = setjmp(end);
	if (how)
		return how;
	ctx = amdgpu_atom_parse(&card, (void *)run->image, run->size);
	if (!ctx)
		return NO_IMAGE;
	ctx->scratch = run->scratch;
	/* atom.c lets the dword behind the end through. */
	ctx->scratch_size_bytes = run->scratch_size - 4;
	return amdgpu_atom_asic_init(ctx);
}
