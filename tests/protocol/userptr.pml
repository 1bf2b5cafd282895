// SPDX-License-Identifier: GPL-2.0 OR MIT
//
// The userptr protocol as the driver has it (userptr.rs, cs.rs, vm.rs), small enough to be checked
// in every interleaving.
//
// One address space with one user-memory buffer of one page. The process gives the page up and gets
// another one in its place, PAGES-1 times. Submitters queue jobs: some name the buffer, one does
// not, but its jobs reach the buffer's address all the same. Two engines run the jobs, each those of
// a queue of its own, in order.
//
// Entries that go or change while jobs run are written by an update: it is published like a job, waits for
// the jobs before it, and later jobs wait for it. GEM_VA unmaps the buffer and maps it again, and the page
// table itself loses its memory once.
//
// A job may also fail on its way, after it was published: in prepare, in run, with its dependency, or
// because its process is killed. Then it touches nothing. And the card may be given up at any time.
// Whoever waits for jobs looks at a reservation, as the kernel has it: of each queue's fences it keeps
// only the newest. So a fence must not end before those that came before it (exec/fence.rs,
// abstractions/drm/sched.rs).
//
// Checked in every interleaving:
//   * no job touches a page after the notifier for it has returned (assert in `touch`);
//   * no update writes to a page table that is no longer ours (assert in `updater`);
//   * no job that names the buffer loses its translation while it runs (assert in `touch`);
//   * nothing deadlocks, and every submission ends: published, or given up after TRIES tries (no
//     invalid end state; every loop but the engines' is bounded).
//
// Each of these leaves one step out, and must make the check fail:
//   -DNO_PUBLISH_CHECK   the generation is not looked at again under the publish lock
//   -DNO_TLB_FLUSH       an engine keeps its translations from job to job
//   -DNO_NOTIFIER_WAIT   the notifier does not wait for jobs
//   -DWAIT_OWN_JOBS      the notifier waits only for jobs that name the buffer
//   -DNO_STALE_WAIT      stale entries are rewritten at once, while jobs may still use them
//   -DEARLY_STALE_CHECK  whether there are any is seen before the publish lock is taken, and not under it
//   -DUPDATE_NOT_AFTER_JOBS  an update does not wait for the jobs before it
//   -DJOB_NOT_AFTER_UPDATE   a job does not wait for the updates before it
//   -DF_NOT_IN_ROOT      whoever waits for jobs does not wait for updates
//   -DAT_ONCE_PAST_QUEUE entries are written at once though an update is queued
//   -DUNMAPPED_IS_UNREACHED  the notifier does not wait if the buffer is mapped no more
//   -DSEQ_AT_PREPARE     a job flushes for the last change at the time when it is prepared
//   -DEARLY_GENERATION   the generation is raised before looking pages up has to wait
//   -DFAIL_AT_ONCE       the fence of a job that fails ends at once, and not in its turn
//   -DEND_BEFORE_IDLE    the card is given up, and fences end, while an engine is still at work

// All of it at once takes too long. With CHANGES the buffer is unmapped and the table is lost, once each;
// without, there are more pages and one more submitter, whose job may fail.
#ifdef CHANGES
#define PAGES 2		/* pages at the buffer's address, one after the other */
#define TRIES 2		/* the driver has 10; what matters is that there is an end */
#else
#define PAGES 3
#define TRIES 3
#endif
#define NONE 255

#define lock(l)		atomic { !l -> l = true }
#define unlock(l)	l = false

// The process and its memory.
byte page;			/* the page at the buffer's address */
bool gone[PAGES];		/* given up: whoever has it now is not us */
bool torn;			/* an invalidation is under way: looking pages up has to wait */

// The buffer.
byte generation = 1;		/* written under `publish_lock` */
byte bound_page = NONE;		/* under `reservation` */
byte bound_generation;

// The address space. Its root reservation is part of every submission.
bool reservation, publish_lock;
bool mapped = true;		/* the buffer has an address; under both locks */
byte entry = NONE;		/* the one page-table entry, as it will be; under `publish_lock` */
byte entry_generation;
byte shown_until;		/* the last update that took the entry away */
byte seq = 1;			/* number of the last change */
byte pte = NONE;		/* the entry as it is */
bool table_gone;		/* the table's memory is somebody else's */

#define stale		(entry != NONE && entry_generation != generation)

// The updates, numbered from 1.
#define UPDATES 6
byte upd_value[UPDATES], upd_after0[UPDATES], upd_after1[UPDATES];
byte upd_published;		/* the newest: its fence is in the reservation */
byte upd_done;			/* the last that has ended */

#define is_behind	(upd_done < upd_published)

// The queues, each with an engine. Jobs are numbered from 1. The bits of a job are at its number.
byte published[2];	/* the newest job: in the reservation */
byte published_named[2];	/* the newest that names the buffer: in the buffer's */
byte names_buffer[2];	/* bits: which jobs do */
byte fails[2];		/* bits: which jobs fail */
byte over[2];		/* bits: whose fences have ended; there is no job 0 */
byte taken[2];		/* the last job that the engine has got to the end of */
bool busy[2];		/* the engine is at work */
bool halted;		/* engines begin nothing any more */
bool given_up;		/* the fences have ended, and those to come end at once */
byte job_after[8];	/* the last update before a job */
byte job_seq[8];	/* the last change before a job */

#define index(q, job)	((q) * 4 + (job))

#define has_ended(q, job)	(job == 0 || (over[q] & (1 << job)))
#define ends(q, job)		over[q] = over[q] | (1 << job)

// Waits for the jobs that are queued now, not for later ones: for the newest fence of each queue.
inline wait_jobs(own_only) {
	d_step {
		snap0 = (own_only -> published_named[0] : published[0]);
		snap1 = (own_only -> published_named[1] : published[1]);
		snap2 = upd_published
	}
#ifdef F_NOT_IN_ROOT
	has_ended(0, snap0) && has_ended(1, snap1);
#else
	has_ended(0, snap0) && has_ended(1, snap1) && upd_done >= snap2;
#endif
	d_step { snap0 = 0; snap1 = 0; snap2 = 0 }
}

// No job runs or is queued. Nor is an update: its fence is where the jobs' are.
#ifdef F_NOT_IN_ROOT
#define is_idle		(has_ended(0, published[0]) && has_ended(1, published[1]))
#else
#define is_idle		(has_ended(0, published[0]) && has_ended(1, published[1]) && !is_behind)
#endif

// An entry may be written at once if it was not there, or if nobody uses it.
#ifdef AT_ONCE_PAST_QUEUE
#define may_at_once	(entry == NONE || has_ended(0, published[0]) && has_ended(1, published[1]))
#else
#define may_at_once	(!is_behind && (entry == NONE || is_idle))
#endif

// Changes the entry, at once or by an update. Within a d_step, under both locks.
inline change(value, at_once) {
	if
	:: at_once -> pte = value
	:: else ->
		upd_published++;
		upd_value[upd_published] = value;
		upd_after0[upd_published] = published[0];
		upd_after1[upd_published] = published[1];
		if
		:: entry != NONE -> shown_until = upd_published
		:: else
		fi
	fi;
	seq++;
	entry = value
}

// The mm, and the notifier that it calls before it gives a page up.
active proctype mm() {
	byte snap0, snap1, snap2, n;
	bool reach;

	for (n : 1 .. PAGES - 1) {
		lock(publish_lock);
		// Two steps: a gather looks at both without the lock.
#ifdef EARLY_GENERATION
		generation++;
		torn = true;
#else
		torn = true;
		generation++;
#endif
#ifdef UNMAPPED_IS_UNREACHED
		reach = (entry != NONE);
#else
		reach = (entry != NONE || shown_until > upd_done);
#endif
		unlock(publish_lock);
		if
		:: !reach -> goto away
		:: else -> reach = false
		fi;
#ifdef WAIT_OWN_JOBS
		wait_jobs(true);
#else
#ifndef NO_NOTIFIER_WAIT
		wait_jobs(false);
#endif
#endif
away:		skip;
		d_step { gone[page] = true; page = n };
		torn = false
	}
}

proctype submitter(bool names; byte q; bool may_fail) {
	byte held = NONE;	/* the gathered page, and the generation that it is of */
	byte held_generation;
	byte tries = TRIES;

	bool failing, at_once;

again:	lock(reservation);
	if
	:: names ->
		if
		:: held != NONE && held_generation != generation -> held = NONE
		:: else
		fi;
		if
		:: held == NONE && (bound_page == NONE || bound_generation != generation) ->
			unlock(reservation);
			tries--;
			if
			:: tries == 0 -> goto done
			:: else
			fi;
			held_generation = generation;
			!torn;
			held = page;
			goto again
		:: else
		fi;
		if
		:: held != NONE ->
			d_step {
				bound_page = held;
				bound_generation = held_generation;
				held = NONE
			}
		:: else
		fi
	:: else
	fi;

	// The table gets memory again.
	table_gone = false;
#ifdef EARLY_STALE_CHECK
	at_once = (!is_behind && (!stale || is_idle));
#endif
	// What will become of the job.
	if
	:: may_fail -> failing = true
	:: failing = false
	fi;
	lock(publish_lock);
#ifndef NO_PUBLISH_CHECK
	if
	:: names && bound_generation != generation ->
		unlock(publish_lock);
		unlock(reservation);
		tries--;
		if
		:: tries == 0 -> goto done
		:: else -> goto again
		fi
	:: else
	fi;
#endif
	d_step {
#if defined(NO_STALE_WAIT)
		at_once = true;
#elif !defined(EARLY_STALE_CHECK)
		at_once = may_at_once;
#endif
		if
		:: names && mapped && (entry == NONE || entry_generation != bound_generation) ->
			change(bound_page, at_once);
			entry_generation = bound_generation
		:: !names && stale -> change(NONE, at_once)
		:: else
		fi;
		published[q]++;
		if
		:: names ->
			published_named[q] = published[q];
			if
			:: mapped -> names_buffer[q] = names_buffer[q] | (1 << published[q])
			:: else
			fi
		:: else
		fi;
		if
		:: failing -> fails[q] = fails[q] | (1 << published[q])
		:: else
		fi;
		job_after[index(q, published[q])] = upd_published;
		job_seq[index(q, published[q])] = seq;
		failing = false;
		at_once = false
	}
	unlock(publish_lock);
	unlock(reservation);
done:	skip
}

// One access of a job: through the TLB, which is filled from the page table.
inline touch() {
	d_step {
		if
		:: tlb == NONE -> tlb = pte
		:: else
		fi;
		if
		:: tlb == NONE -> assert(!(names_buffer[me] & (1 << (taken[me] + 1))))
		:: else -> assert(!gone[tlb])
		fi
	}
}

// Writes the updates, in order.
active proctype updater() {
	byte next;

end:	do
	:: is_behind ->
		next = upd_done + 1;
#ifndef UPDATE_NOT_AFTER_JOBS
		has_ended(0, upd_after0[next]) && has_ended(1, upd_after1[next]);
#endif
		d_step { assert(!table_gone); pte = upd_value[next] };
		d_step { upd_done++; next = 0 }
	od
}

// GEM_VA UNMAP, and MAP again: the entry is left to the next job that names the buffer.
proctype mapper() {
	lock(reservation);
	lock(publish_lock);
	d_step {
		mapped = false;
		if
		:: entry != NONE -> change(NONE, may_at_once)
		:: else
		fi
	}
	unlock(publish_lock);
	unlock(reservation);
	lock(reservation);
	mapped = true;
	unlock(reservation)
}

// TTM takes the memory of the page table, once nobody uses it.
proctype evictor() {
	byte snap0, snap1, snap2;

	lock(reservation);
	wait_jobs(false);
	lock(publish_lock);
	d_step { table_gone = true; pte = NONE; entry = NONE; seq++ };
	unlock(publish_lock);
	unlock(reservation)
}

#ifdef SEQ_AT_PREPARE
#define seq_of_job	seq
#else
#define seq_of_job	job_seq[index(me, taken[me] + 1)]
#endif

#ifdef JOB_NOT_AFTER_UPDATE
#define is_ready	true
#else
#define is_ready	(upd_done >= job_after[index(me, taken[me] + 1)])
#endif

active [2] proctype engine() {
	byte me = _pid - 2;
	byte tlb = NONE;
	byte tlb_seen;

end:	do
	:: atomic { !halted && taken[me] < published[me] && is_ready -> busy[me] = true };
		if
		:: fails[me] & (1 << (taken[me] + 1))
		:: else ->
#ifndef NO_TLB_FLUSH
			d_step {
				if
				:: tlb_seen < seq_of_job -> tlb = NONE; tlb_seen = seq_of_job
				:: else
				fi
			}
#endif
			touch();
			touch()
		fi;
		d_step {
			taken[me]++;
			ends(me, taken[me]);
			busy[me] = false
		}
	:: atomic { given_up && !busy[me] && taken[me] < published[me] ->
		taken[me]++;
		ends(me, taken[me])
	}
	od
}

#ifdef FAIL_AT_ONCE
active [2] proctype scheduler() {
	byte me = _pid - 4;
	byte job = 1;

end:	do
	:: atomic { published[me] >= job ->
		if
		:: fails[me] & (1 << job) -> ends(me, job)
		:: else
		fi;
		job++
	}
	od
}
#endif

#ifndef CHANGES
// Gives the card up, or not: all fences end, in order, but not before the engines have stopped.
active proctype giver_up() {
	if
	:: halted = true;
#ifdef END_BEFORE_IDLE
		d_step { over[0] = 255; over[1] = 255 };
#endif
		!busy[0] && !busy[1];
		given_up = true
	:: skip
	fi
}
#endif

init {
	run submitter(true, 0, false);
	run submitter(false, 1, false);
#ifdef CHANGES
	run submitter(true, 1, false);
	run mapper();
	run evictor()
#else
	run submitter(true, 0, true)
#endif
}
