/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * Tracepoints of the user-memory path, as tracefs and trace-cmd show them below "amdgpu_rs".
 *
 * A submission is cs_submit, for each failed try cs_retry, then cs_publish, whose fence is the one
 * by which gpu_scheduler:drm_sched_job_run and drm_sched_job_done name the job. Events that begin
 * with userptr are about one buffer of user memory: "generation" counts its invalidations, and
 * "bo" tells buffers apart. debug/trace.rs says when each occurs.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM amdgpu_rs

#if !defined(AMDGPU_RS_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define AMDGPU_RS_TRACE_H

#include <linux/tracepoint.h>

#define AMDGPU_RS_QUEUE_NAME(ip) \
	__print_symbolic(ip, { 0, "gfx" }, { 1, "compute" }, { 2, "dma" })

/* A buffer of user memory, as it is at some moment. */
DECLARE_EVENT_CLASS(userptr,
	TP_PROTO(u64 bo, u64 generation, u64 pages),
	TP_ARGS(bo, generation, pages),
	TP_STRUCT__entry(
		__field(u64, bo)
		__field(u64, generation)
		__field(u64, pages)
	),
	TP_fast_assign(
		__entry->bo = bo;
		__entry->generation = generation;
		__entry->pages = pages;
	),
	TP_printk("bo=%llu generation=%llu pages=%llu", __entry->bo, __entry->generation,
		  __entry->pages)
);

DEFINE_EVENT(userptr, userptr_gather,
	TP_PROTO(u64 bo, u64 generation, u64 pages),
	TP_ARGS(bo, generation, pages)
);

TRACE_EVENT(userptr_gathered,
	TP_PROTO(u64 bo, u64 generation, u64 pages, int error),
	TP_ARGS(bo, generation, pages, error),
	TP_STRUCT__entry(
		__field(u64, bo)
		__field(u64, generation)
		__field(u64, pages)
		__field(int, error)
	),
	TP_fast_assign(
		__entry->bo = bo;
		__entry->generation = generation;
		__entry->pages = pages;
		__entry->error = error;
	),
	TP_printk("bo=%llu generation=%llu pages=%llu error=%d", __entry->bo,
		  __entry->generation, __entry->pages, __entry->error)
);

TRACE_EVENT(userptr_invalidate,
	TP_PROTO(u64 bo, u64 generation, u64 pages, bool wait),
	TP_ARGS(bo, generation, pages, wait),
	TP_STRUCT__entry(
		__field(u64, bo)
		__field(u64, generation)
		__field(u64, pages)
		__field(bool, wait)
	),
	TP_fast_assign(
		__entry->bo = bo;
		__entry->generation = generation;
		__entry->pages = pages;
		__entry->wait = wait;
	),
	TP_printk("bo=%llu generation=%llu pages=%llu wait=%d", __entry->bo,
		  __entry->generation, __entry->pages, __entry->wait)
);

DEFINE_EVENT(userptr, userptr_invalidated,
	TP_PROTO(u64 bo, u64 generation, u64 pages),
	TP_ARGS(bo, generation, pages)
);

TRACE_EVENT(userptr_retry,
	TP_PROTO(u64 bo, u64 generation, u64 pages, u32 why),
	TP_ARGS(bo, generation, pages, why),
	TP_STRUCT__entry(
		__field(u64, bo)
		__field(u64, generation)
		__field(u64, pages)
		__field(u32, why)
	),
	TP_fast_assign(
		__entry->bo = bo;
		__entry->generation = generation;
		__entry->pages = pages;
		__entry->why = why;
	),
	TP_printk("bo=%llu generation=%llu pages=%llu why=%s", __entry->bo, __entry->generation,
		  __entry->pages,
		  __print_symbolic(__entry->why, { 0, "missing" }, { 1, "stale" },
				   { 2, "overtaken" }))
);

TRACE_EVENT(userptr_publish,
	TP_PROTO(u64 bo, u64 generation, u64 pages, u32 ip, u32 queue, u64 seq),
	TP_ARGS(bo, generation, pages, ip, queue, seq),
	TP_STRUCT__entry(
		__field(u64, bo)
		__field(u64, generation)
		__field(u64, pages)
		__field(u32, ip)
		__field(u32, queue)
		__field(u64, seq)
	),
	TP_fast_assign(
		__entry->bo = bo;
		__entry->generation = generation;
		__entry->pages = pages;
		__entry->ip = ip;
		__entry->queue = queue;
		__entry->seq = seq;
	),
	TP_printk("bo=%llu generation=%llu pages=%llu ring=%s%u seq=%llu", __entry->bo,
		  __entry->generation, __entry->pages, AMDGPU_RS_QUEUE_NAME(__entry->ip),
		  __entry->queue, __entry->seq)
);

TRACE_EVENT(cs_submit,
	TP_PROTO(u64 client, u64 bos, u64 userptrs),
	TP_ARGS(client, bos, userptrs),
	TP_STRUCT__entry(
		__field(u64, client)
		__field(u64, bos)
		__field(u64, userptrs)
	),
	TP_fast_assign(
		__entry->client = client;
		__entry->bos = bos;
		__entry->userptrs = userptrs;
	),
	TP_printk("client=%llu bos=%llu userptrs=%llu", __entry->client, __entry->bos,
		  __entry->userptrs)
);

TRACE_EVENT(cs_retry,
	TP_PROTO(u64 client, u32 tries),
	TP_ARGS(client, tries),
	TP_STRUCT__entry(
		__field(u64, client)
		__field(u32, tries)
	),
	TP_fast_assign(
		__entry->client = client;
		__entry->tries = tries;
	),
	TP_printk("client=%llu tries=%u", __entry->client, __entry->tries)
);

TRACE_EVENT(cs_publish,
	TP_PROTO(u64 client, u32 ip, u32 queue, u64 seq, u64 context, u64 seqno),
	TP_ARGS(client, ip, queue, seq, context, seqno),
	TP_STRUCT__entry(
		__field(u64, client)
		__field(u32, ip)
		__field(u32, queue)
		__field(u64, seq)
		__field(u64, context)
		__field(u64, seqno)
	),
	TP_fast_assign(
		__entry->client = client;
		__entry->ip = ip;
		__entry->queue = queue;
		__entry->seq = seq;
		__entry->context = context;
		__entry->seqno = seqno;
	),
	TP_printk("client=%llu ring=%s%u seq=%llu fence=%llu:%llu", __entry->client,
		  AMDGPU_RS_QUEUE_NAME(__entry->ip), __entry->queue, __entry->seq,
		  __entry->context, __entry->seqno)
);

#endif

/* Outside the guard: read again to make the tracepoints, from the folder of this file. */
#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
