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
// A job may also fail on its way, after it was published: in prepare, in run, with its dependency, or
// because its process is killed. Then it touches nothing. And the card may be given up at any time.
// Whoever waits for jobs looks at a reservation, as the kernel has it: of each queue's fences it keeps
// only the newest. So a fence must not end before those that came before it (exec/fence.rs,
// abstractions/drm/sched.rs).
//
// Checked in every interleaving:
//   * no job touches a page after the notifier for it has returned (assert in `touch`);
//   * no job that names the buffer loses its translation while it runs (assert in `touch`);
//   * nothing deadlocks, and every submission ends: published, or given up after TRIES tries (no
//     invalid end state; every loop but the engines' is bounded).
//
// Each of these leaves one step out, and must make the check fail:
//   -DNO_PUBLISH_CHECK   the generation is not looked at again under the publish lock
//   -DNO_TLB_FLUSH       an engine keeps its translations from job to job
//   -DNO_NOTIFIER_WAIT   the notifier does not wait for jobs
//   -DWAIT_OWN_JOBS      the notifier waits only for jobs that name the buffer
//   -DNO_STALE_WAIT      stale entries are rewritten while jobs may still use them
//   -DEARLY_STALE_WAIT   that wait is decided on before the publish lock is taken, and not under it
//   -DEARLY_GENERATION   the generation is raised before looking pages up has to wait
//   -DFAIL_AT_ONCE       the fence of a job that fails ends at once, and not in its turn
//   -DEND_BEFORE_IDLE    the card is given up, and fences end, while an engine is still at work

#define PAGES 3		/* pages at the buffer's address, one after the other */
#define TRIES 3		/* the driver has 10; what matters is that there is an end */
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
byte pte = NONE;		/* the one page-table entry; under `publish_lock` */
byte pte_generation;
byte tlb_seq = 1;

#define stale		(pte != NONE && pte_generation != generation)

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

#define has_ended(q, job)	(job == 0 || (over[q] & (1 << job)))
#define ends(q, job)		over[q] = over[q] | (1 << job)

// Waits for the jobs that are queued now, not for later ones: for the newest fence of each queue.
inline wait_jobs(own_only) {
	d_step {
		snap0 = (own_only -> published_named[0] : published[0]);
		snap1 = (own_only -> published_named[1] : published[1])
	}
	has_ended(0, snap0) && has_ended(1, snap1);
	d_step { snap0 = 0; snap1 = 0 }
}

// The mm, and the notifier that it calls before it gives a page up.
active proctype mm() {
	byte snap0, snap1, n;

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
		unlock(publish_lock);
#ifdef WAIT_OWN_JOBS
		wait_jobs(true);
#else
#ifndef NO_NOTIFIER_WAIT
		wait_jobs(false);
#endif
#endif
		d_step { gone[page] = true; page = n };
		torn = false
	}
}

proctype submitter(bool names; byte q; bool may_fail) {
	byte snap0, snap1;
	byte held = NONE;	/* the gathered page, and the generation that it is of */
	byte held_generation;
	byte tries = TRIES;

	bool failing;

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

#ifdef EARLY_STALE_WAIT
	if
	:: stale -> wait_jobs(false)
	:: else
	fi;
#endif
	// What will become of the job.
	if
	:: may_fail -> failing = true
	:: failing = false
	fi;
	lock(publish_lock);
#if !defined(NO_STALE_WAIT) && !defined(EARLY_STALE_WAIT)
	if
	:: stale ->
		unlock(publish_lock);
		// No job can be queued meanwhile; so once is enough, whatever else goes stale.
		wait_jobs(false);
		lock(publish_lock)
	:: else
	fi;
#endif
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
		if
		:: names && (pte == NONE || stale || pte_generation != bound_generation) ->
			pte = bound_page;
			pte_generation = bound_generation;
			tlb_seq++
		:: !names && stale ->
			pte = NONE;
			tlb_seq++
		:: else
		fi;
		published[q]++;
		if
		:: names ->
			names_buffer[q] = names_buffer[q] | (1 << published[q]);
			published_named[q] = published[q]
		:: else
		fi;
		if
		:: failing -> fails[q] = fails[q] | (1 << published[q])
		:: else
		fi;
		failing = false
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

active [2] proctype engine() {
	byte me = _pid - 1;
	byte tlb = NONE;
	byte tlb_seen;

end:	do
	:: atomic { !halted && taken[me] < published[me] -> busy[me] = true };
		if
		:: fails[me] & (1 << (taken[me] + 1))
		:: else ->
#ifndef NO_TLB_FLUSH
			d_step {
				if
				:: tlb_seen != tlb_seq -> tlb = NONE; tlb_seen = tlb_seq
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
	byte me = _pid - 3;
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

init {
	run submitter(true, 0, false);
	run submitter(false, 1, false);
	run submitter(true, 0, true)
}
