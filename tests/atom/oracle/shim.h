/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * As much of a kernel as atom.c needs. Reads of the image are checked: one behind its end ends the
 * run, and so does one too many. What atom.c prints tells which of its lines were reached.
 */
#ifndef SHIM_H
#define SHIM_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef uint16_t __le16;
typedef uint32_t __le32;

#define __counted_by(member)
struct mutex { int unused; };
#define mutex_lock(m) ((void)(m))
#define mutex_unlock(m) ((void)(m))

#define EINVAL 22
#define ENOMEM 12
#define ELOOP 40

#define GFP_KERNEL 0
void *shim_alloc(size_t size);
#define kzalloc(size, flags) shim_alloc(size)
#define kcalloc(n, size, flags) shim_alloc((size_t)(n) * (size))
#define kzalloc_obj(type) shim_alloc(sizeof(type))
void shim_free(void *p);
#define kfree(p) shim_free(p)

#define KERN_DEBUG ""
void shim_print(const char *format, ...);
#define printk(...) shim_print(__VA_ARGS__)
#define pr_info(...) shim_print(__VA_ARGS__)
#define DRM_ERROR(...) shim_print(__VA_ARGS__)
#define drm_info(dev, ...) ((void)(dev))
#define scnprintf snprintf
#define strscpy(to, from, size...) ((void)strncpy((char *)(to), (const char *)(from), 1))
#define str_yes_no(v) ((v) ? "yes" : "no")

#define cpu_to_le32(v) (v)
#define le32_to_cpu(v) (v)
#define get_unaligned_le32(p) (*(const u32 *)(p))
#define lower_32_bits(v) ((u32)(v))
#define upper_32_bits(v) ((u32)((v) >> 32))
#define do_div(n, base) ({ u32 rest = (n) % (base); (n) /= (base); rest; })
#define min(a, b) ((a) < (b) ? (a) : (b))
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define OPTIMIZER_HIDE_VAR(v) ((void)(v))

/* Time stands still but for delays: what ends a loop here is the number of reads. */
#define jiffies 0ul
#define jiffies_to_msecs(j) (j)
#define time_after(a, b) ((long)((b) - (a)) < 0)
#define drm_can_sleep() true
void shim_delay(u32 microseconds);
#define udelay(us) shim_delay(us)
#define mdelay(ms) shim_delay(1000 * (ms))
#define msleep(ms) shim_delay(1000 * (ms))

/* Where atom.c gets the image's bytes from. */
u8 shim_image(const void *bios, int at);
static inline u8 get_u8(void *bios, int at) { return shim_image(bios, at); }
static inline u16 get_u16(void *bios, int at)
{
	return get_u8(bios, at) | (u16)get_u8(bios, at + 1) << 8;
}
static inline u32 get_u32(void *bios, int at)
{
	return get_u16(bios, at) | (u32)get_u16(bios, at + 2) << 16;
}
#define U8(at) get_u8(ctx->ctx->bios, (at))
#define CU8(at) get_u8(ctx->bios, (at))
#define U16(at) get_u16(ctx->ctx->bios, (at))
#define CU16(at) get_u16(ctx->bios, (at))
#define U32(at) get_u32(ctx->ctx->bios, (at))
#define CU32(at) get_u32(ctx->bios, (at))
#define CSTR(at) ((char *)ctx->bios + (at))

#endif
