// SPDX-License-Identifier: GPL-2.0 OR MIT
//
// The userptr protocol as the driver has it (userptr.rs, cs.rs, vm.rs), small enough to be checked
// in every interleaving.
//
// One address space with one user-memory buffer of one page. The process gives the page up and gets
// another one in its place, PAGES-1 times. Submitters queue jobs: some name the buffer, one does
// not, but its jobs reach the buffer's address all the same. Two engines run the jobs.
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

// The engines: a slot is taken by publishing and freed by the engine.
bool queued[2];
bool names_buffer[2];
byte finished[2];

// Waits for the jobs that are queued now, not for later ones.
inline wait_jobs(own_only) {
	d_step {
		snap0 = finished[0];
		snap1 = finished[1];
		busy0 = queued[0] && (!own_only || names_buffer[0]);
		busy1 = queued[1] && (!own_only || names_buffer[1])
	}
	(!busy0 || finished[0] != snap0) && (!busy1 || finished[1] != snap1)
}

// The mm, and the notifier that it calls before it gives a page up.
active proctype mm() {
	byte snap0, snap1, n;
	bool busy0, busy1;

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

proctype submitter(bool names) {
	byte snap0, snap1;
	bool busy0, busy1;
	byte held = NONE;	/* the gathered page, and the generation that it is of */
	byte held_generation;
	byte tries = TRIES;

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
	// Room in a queue. It lasts, as only who has the reservation queues jobs.
	!queued[0] || !queued[1];

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
		if
		:: !queued[0] -> names_buffer[0] = names; queued[0] = true
		:: else -> names_buffer[1] = names; queued[1] = true
		fi
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
		:: tlb == NONE -> assert(!names_buffer[me])
		:: else -> assert(!gone[tlb])
		fi
	}
}

active [2] proctype engine() {
	byte me = _pid - 1;
	byte tlb = NONE;
	byte tlb_seen;

end:	do
	:: queued[me] ->
#ifndef NO_TLB_FLUSH
		d_step {
			if
			:: tlb_seen != tlb_seq -> tlb = NONE; tlb_seen = tlb_seq
			:: else
			fi
		}
#endif
		touch();
		touch();
		d_step { finished[me]++; queued[me] = false }
	od
}

init {
	run submitter(true);
	run submitter(false);
	run submitter(true)
}
