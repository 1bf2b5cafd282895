// SPDX-License-Identifier: GPL-2.0 OR MIT
//
// The recovery of rings that hang, as the driver has it (exec/recovery.rs, exec/reset.rs, exec/reset/alone.rs,
// exec/fence.rs), small enough to be checked in every interleaving.
//
// Two rings of one block, each with an engine. Submissions are numbered from 1; those of a ring with odd numbers
// are of one queue, those with even numbers of another. All are of one address space, so that their waves are
// killed together. One submission may hang, in a shader or in the engine itself. Whoever watches may take any
// ring for one that hangs, also if it is only slow. A notifier waits for the fences of what may reach a page, and
// gives the page up. The driver may be unbound at any time.
//
// An engine that was halted stops before its next step. What it has issued by then (`late`) still arrives, until
// the engine is idle or reset.
//
// Checked in every interleaving:
//   * nothing reaches the page after the notifier has returned;
//   * commands of a submission begin once;
//   * a submission is blamed only if it was not finished when its engine was proved stopped;
//   * one whose waves were killed does not end well;
//   * nothing deadlocks, and every fence ends.
//
// Each of these leaves one step out, and must make the check fail:
//   -DFAIL_BEFORE_PROOF    the card is given up, and fences end, as soon as engines are halted
//   -DVERDICT_BEFORE_STOP  who is guilty is decided before the engines are stopped
//   -DSTART_BEFORE_PROOF   engines are started again before they were proved stopped
//   -DREPLAY_BEGUN         a submission that has begun on another ring runs again
//   -DMARK_AFTER_COMMANDS  the engine says that a submission has begun when its commands already run
//   -DSKIP_ENDS_AT_ONCE    the fence of a submission that is left out ends at once, and not in its turn
//   -DNO_GATE              submissions may begin while waves are killed
//   -DNO_PAUSE             a ring that is just passing its gate is not waited for
//   -DTELL_AFTER_KILL      submissions are told that their waves are killed when that is done
//   -DENDS_UNSEEN         fences of what has finished are not ended before that, and hide what came after
//   -DKILL_BELIEVED        killing waves is believed to help, whether the job has ended or not
//   -DNOT_HELD             new submissions come onto a ring that is set up again
//   -DGONE_UNLOCKED        the driver is unbound without waiting for a recovery

#define RINGS 2
#define bit(n)		(1 << (n))
#define lock(l)		atomic { !l -> l = true }
#define unlock(l)	l = false

// The rings, and what is in the memory that engines write to.
byte pushed[RINGS];	/* the newest submission */
byte written[RINGS];	/* the newest in the buffer that the engine reads */
byte word[RINGS];	/* the last that is finished */
byte begun[RINGS];	/* the last that has begun */
bool gate[RINGS];	/* shut */
bool held[RINGS];	/* nothing new comes onto the ring */

// The engines.
bool halted[RINGS];
bool busy[RINGS];
bool passing[RINGS];	/* past the gate, and no mark yet */
byte inside[RINGS];	/* whose commands run */
bool late[RINGS];	/* something is under way to memory */
byte at[RINGS];		/* the last that the engine got past */
byte started[RINGS];	/* bits: whose commands have begun */
byte done[RINGS];	/* bits: who was finished, commands and all */
byte hit[RINGS];	/* bits: whose waves were killed */

// What the driver keeps of submissions, under `state` of the ring's timeline.
byte ended[RINGS];	/* the last of those that have ended in order */
byte over[RINGS];	/* bits: whose fences have ended */
byte failed[RINGS];	/* bits: who ends with an error */
byte skipped[RINGS];	/* bits: whose commands are left out */
byte uses[RINGS];	/* bits: who may reach the page */
bool aborted;		/* fences end at once */

bool page_gone, watched;
bool domain, gone;

byte hang_ring, hang_job;
bool in_shader, hanging, killed;

// A submission that was left out had not finished.
#define is_just(r)	((failed[r] & done[r] & skipped[r]) == 0)

#define reach(r, n)	assert(!(page_gone && (uses[r] & bit(n))))

// Ends fences up to the word that the engine has written. Within a d_step.
inline process(r) {
	do
	:: ended[r] < word[r] && ended[r] < pushed[r] ->
		ended[r]++;
		assert(!(hit[r] & bit(ended[r])) || (failed[r] & bit(ended[r])));
		assert(is_just(r));
		over[r] = over[r] | bit(ended[r])
	:: else -> break
	od;
	skip
}

// Ends all fences, in order. Within a d_step.
inline abort(r) {
	do
	:: ended[r] < pushed[r] ->
		ended[r]++;
		failed[r] = failed[r] | bit(ended[r]);
		over[r] = over[r] | bit(ended[r])
	:: else -> break
	od;
	skip
}

proctype submitter(byte r, jobs) {
	do
	:: jobs > 0 ->
#ifdef NOT_HELD
		d_step {
#else
		d_step { !held[r] ->
#endif
			pushed[r]++;
			written[r] = pushed[r];
			if
			:: !watched -> uses[r] = uses[r] | bit(pushed[r])
			:: else
			fi;
			if
			:: aborted -> abort(r)
			:: else
			fi;
			jobs--
		}
	:: else -> break
	od
}

#define stop_if_halted	if :: halted[me] -> goto stopped :: else fi

proctype engine(byte me) {
	byte n;
	bool ran;

end:	do
	:: atomic { !halted[me] && at[me] < written[me] && !gate[me] ->
		n = at[me] + 1;
		busy[me] = true;
		passing[me] = true
	};
		if
		:: skipped[me] & bit(n) -> passing[me] = false; goto finish
		:: else
		fi;
#ifndef MARK_AFTER_COMMANDS
		d_step { begun[me] = n; passing[me] = false };
		stop_if_halted;
#endif
		d_step {
			assert(!(started[me] & bit(n)));
			started[me] = started[me] | bit(n);
			inside[me] = n;
			ran = true;
			reach(me, n)
		};
#ifdef MARK_AFTER_COMMANDS
		stop_if_halted;
		d_step { begun[me] = n; passing[me] = false };
#endif
		if
		:: me == hang_ring && n == hang_job ->
			hanging = true;
			do
			:: killed -> break
			:: halted[me] -> goto stopped
			od;
			hanging = false
		:: else
		fi;
		stop_if_halted;
		late[me] = true;
		stop_if_halted;
		// The end of the pipe: all has arrived.
		d_step { late[me] -> reach(me, n); late[me] = false; inside[me] = 0 };
finish:		stop_if_halted;
		d_step {
			word[me] = n;
			at[me] = n;
			if
			:: ran && !(hit[me] & bit(n)) -> done[me] = done[me] | bit(n)
			:: else
			fi;
			n = 0;
			ran = false;
			busy[me] = false
		}
		goto next;
stopped:	skip;
		d_step { inside[me] = 0; passing[me] = false; n = 0; ran = false; busy[me] = false };
next:		skip
	od
}

// What was issued arrives, though the engine was halted.
proctype arrival(byte r) {
end:	do
	:: d_step { late[r] && halted[r] && !busy[r] -> reach(r, at[r] + 1); late[r] = false }
	od
}

proctype interrupts(byte r) {
end:	do
	:: d_step { ended[r] < word[r] && ended[r] < pushed[r] -> process(r) }
	od
}

// The notifier: of each ring's fences it sees the newest only.
proctype notifier() {
	byte last0, last1;

	d_step { watched = true; last0 = pushed[0]; last1 = pushed[1] };
	(last0 == 0 || (over[0] & bit(last0))) && (last1 == 0 || (over[1] & bit(last1)));
	page_gone = true
}

// Halted engines stop, and what they have issued arrives or is dropped. Answers come after that.
inline prove_stopped() {
	!busy[0] && !busy[1];
	late[0] = false;
	late[1] = false
}

// What becomes of the oldest submission of a ring. Within a d_step.
inline judge(r, accused) {
	head = ended[r] + 1;
	if
#ifdef REPLAY_BEGUN
	:: head <= pushed[r] && begun[r] == head && r == accused ->
#else
	:: head <= pushed[r] && begun[r] == head ->
#endif
		failed[r] = failed[r] | bit(head);
		skipped[r] = skipped[r] | bit(head)
	:: else -> head = 0
	fi;
	// What comes after it in its queue.
	if
	:: head != 0 && head + 2 <= pushed[r] ->
		failed[r] = failed[r] | bit(head + 2);
		skipped[r] = skipped[r] | bit(head + 2)
#ifdef SKIP_ENDS_AT_ONCE
		; over[r] = over[r] | bit(head + 2)
#endif
	:: else
	fi;
	head = 0
}

// Fails what the engine is in the middle of, as its waves are killed. Within a d_step.
inline interrupt(r) {
	head = ended[r] + 1;
	if
	:: head <= pushed[r] && begun[r] == head && word[r] < head -> failed[r] = failed[r] | bit(head)
	:: else
	fi;
	head = 0
}

inline kill(r) {
	if
	:: inside[r] != 0 -> hit[r] = hit[r] | bit(inside[r])
	:: else
	fi
}

#define unfinished(r)	(ended[r] < pushed[r])

proctype recovery() {
	byte rounds = 2;	/* the last one is for what really hangs */
	byte accused, head, copied0, copied1;

end:	do
	:: rounds > 0 && (unfinished(0) || unfinished(1)) && (rounds > 1 || hanging) ->
		lock(domain);
		if
		:: gone -> unlock(domain); break
		:: else
		fi;
		rounds--;
		if
		:: rounds > 0 && unfinished(0) -> accused = 0
		:: rounds > 0 && unfinished(1) -> accused = 1
		:: rounds == 0 && hanging -> accused = hang_ring
		:: else -> unlock(domain); goto again
		fi;
		d_step { held[0] = true; held[1] = true };

		// Waves, or not: an engine that has met an illegal command kills none.
		if
		:: true;
#ifndef NO_GATE
			d_step { gate[0] = true; gate[1] = true };
#ifndef NO_PAUSE
			!passing[0] && !passing[1];
#endif
#endif
#ifdef TELL_AFTER_KILL
			d_step { kill(0); kill(1); killed = in_shader };
#endif
#ifndef ENDS_UNSEEN
			d_step { process(0); process(1) };
#endif
			d_step { interrupt(0); interrupt(1) };
#ifndef TELL_AFTER_KILL
			d_step { kill(0); kill(1); killed = in_shader };
#endif
#ifdef KILL_BELIEVED
			goto release;
#endif
			if
			:: d_step { word[accused] == begun[accused] -> process(accused) };
				goto release
			:: true
			fi
		:: true
		fi;

		// The block.
		d_step { gate[0] = true; gate[1] = true };
#ifdef VERDICT_BEFORE_STOP
		d_step { judge(0, accused); judge(1, accused) };
#endif
		d_step { halted[0] = true; halted[1] = true };
		if
		:: // It does not stop, start, or work: the card is given up.
#ifndef FAIL_BEFORE_PROOF
			prove_stopped();
#endif
			d_step { aborted = true; abort(0); abort(1) };
			held[0] = false;
			held[1] = false;
			unlock(domain);
			break
		:: true
		fi;
#ifndef START_BEFORE_PROOF
		prove_stopped();
#endif
		d_step { process(0); process(1) };
#ifndef VERDICT_BEFORE_STOP
		d_step { judge(0, accused); judge(1, accused) };
#endif
		assert(is_just(0) && is_just(1));
		d_step { copied0 = pushed[0]; copied1 = pushed[1] };
		d_step {
			written[0] = copied0; written[1] = copied1;
			at[0] = ended[0]; at[1] = ended[1];
			hanging = false
		};
		d_step { halted[0] = false; halted[1] = false };
release:	skip;
		d_step { gate[0] = false; gate[1] = false; held[0] = false; held[1] = false };
		d_step { accused = 0; copied0 = 0; copied1 = 0 };
		unlock(domain);
again:		skip
	od
}

// The driver is unbound, or not.
proctype unplugger() {
	if
	:: true
	:: goto stays
	fi;
#ifndef GONE_UNLOCKED
	lock(domain);
#endif
	gone = true;
	d_step { halted[0] = true; halted[1] = true };
	prove_stopped();
	d_step { aborted = true; abort(0); abort(1) };
#ifndef GONE_UNLOCKED
	unlock(domain);
#endif
stays:	skip
}

init {
	// Which submission hangs, and in what.
	if
	:: hang_ring = 0; hang_job = 1
	:: hang_ring = 0; hang_job = 2
	:: hang_ring = 1; hang_job = 1
	fi;
	if
	:: in_shader = true
	:: true
	fi;
	atomic {
		// Those of the first ring are there from the beginning; that of the second one comes at any time.
		pushed[0] = 3; written[0] = 3; uses[0] = bit(1) | bit(2) | bit(3);
		run engine(0); run engine(1);
		run arrival(0); run arrival(1);
		run interrupts(0); run interrupts(1);
		run submitter(1, 1);
		run recovery(); run notifier();
		run unplugger()
	}
}
