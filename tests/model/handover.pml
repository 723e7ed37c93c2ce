/*
 * The handover from FINAL_SYNC on, and links that are lost in it: who runs the guest, and where its pages are.
 *
 * Two sides, a control channel and a page channel a link, both directions lossless and in order until the link is cut;
 * then what is still on the way arrives up to some point and no further, which each direction and each channel has for
 * itself. A side may notice the cut at any moment after it. The source then connects again, over another link, as often
 * as there are cuts; it may also give up. Pages are two; a page is pending at the source, on the way, or at the target.
 *
 * States are those of engine/core/src/machine by name. Not here: pre-copy, which a lost link ends, and processes that die,
 * since nothing of theirs is kept.
 *
 *   CUTS        how many links are lost (0 to 3)
 *   NO_FAULTS   nobody cancels or gives up, and the guest can be loaded and started
 *   BUG_...     one planted bug, which must be found
 */
#ifndef CUTS
#define CUTS 2
#endif
#define LINKS (CUTS + 1)
#define ALL 3 /* both pages */

mtype:source = { state_transfer, handover, postcopy, completed, cancelling, suspended, rolled_back, reconnecting, resync, revoking };
mtype:target = { t_loading, t_ready, t_running, t_completed, t_cancelled, t_suspended, t_failed, t_reconnecting, t_resync, t_undecided,
                 t_confirming, t_unconfirmed };
mtype:message = { HELLO, READY, COMMIT, RUNNING, NOT_STARTED, MISSING, COMPLETE, FINISH, CANCEL, CANCEL_ACK, ABORT };

mtype:source s = state_transfer;
mtype:target t = t_loading;

chan to_target[LINKS] = [6] of { mtype:message, byte };
chan to_source[LINKS] = [6] of { mtype:message, byte };
chan pages[LINKS] = [2] of { byte };

bool alive[LINKS];     /* the link has not been cut */
byte newest = 0;       /* link that the source connected last */
byte cuts_left = CUTS;
bool source_runs = false;
bool target_runs = false;
bool decided = false;
bool cancelled = false;
bool gave_up = false;
byte pending = ALL; /* at the source, not sent on this link */
byte present = 0;   /* at the target */
byte ran = 0;       /* how often the target was started */

inline one_runner() { assert(!(source_runs && target_runs)) }

/* What is left on a link that was cut: the rest of a channel may be lost. */
inline lose(channel) {
  do
  :: len(channel) > 0 -> channel?_, _
  :: len(channel) == 0 -> break
  od
}

proctype Cutter() {
  do
  :: cuts_left > 0 && alive[newest] ->
     atomic {
       alive[newest] = false;
       cuts_left--;
       if
       :: lose(to_target[newest])
       :: skip
       fi;
       if
       :: lose(to_source[newest])
       :: skip
       fi;
       if
       :: true ->
          do
          :: len(pages[newest]) > 0 -> pages[newest]?_
          :: else -> break
          od
       :: skip
       fi
     }
  :: cuts_left == 0 || s == completed || s == rolled_back || s == suspended -> break
  od
}

/* Bytes that are sent on a link that was cut go nowhere. */
inline tell_target(what, argument) {
  atomic {
    if
    :: alive[link] -> to_target[link]!what, argument
    :: !alive[link]
    fi
  }
}

proctype Source() {
  byte link = 0;
  byte argument;
  bool target_says_running;

  do
  :: s == state_transfer ->
     if
     :: to_source[link]?READY, _ ->
        atomic { s = handover; decided = true };
        tell_target(COMMIT, 0)
#ifdef BUG_COMMIT_EARLY
     :: atomic { s = handover; decided = true }; tell_target(COMMIT, 0)
#endif
     :: !alive[link] -> atomic { s = revoking; source_runs = true; one_runner() }
     :: to_source[link]?ABORT, _ -> atomic { s = rolled_back; source_runs = true; one_runner() }
#ifndef NO_FAULTS
     :: !cancelled ->
        cancelled = true;
        tell_target(CANCEL, 0);
        atomic { s = cancelling; source_runs = true; one_runner() }
#endif
     fi
  :: s == cancelling ->
     if
     :: to_source[link]?READY, _   /* a late echo */
     :: to_source[link]?CANCEL_ACK, _ -> s = rolled_back
     :: to_source[link]?ABORT, _ -> s = rolled_back
     :: !alive[link] -> s = rolled_back
     fi
  :: s == revoking ->   /* the target is to be told, if it can be reached */
     if
     :: !alive[link] && newest + 1 < LINKS ->
        atomic {
          newest++;
          link = newest;
          alive[link] = true;
          to_target[link]!HELLO, 0;
          to_target[link]!CANCEL, 0
        }
     :: !alive[link] -> s = rolled_back   /* it cannot */
     :: to_source[link]?CANCEL_ACK, _ -> s = rolled_back
     :: to_source[link]?MISSING, _
     :: t == t_failed || t == t_cancelled -> s = rolled_back   /* refused: nobody there knows the session */
     fi
  :: s == handover ->
     if
     :: to_source[link]?RUNNING, _ -> s = postcopy
     :: to_source[link]?NOT_STARTED, _ -> atomic { s = rolled_back; source_runs = true; one_runner() }
     :: !alive[link] ->
#ifdef BUG_RESUME_ON_LOSS
        atomic { s = rolled_back; source_runs = true; one_runner() }
#else
        s = reconnecting
#endif
     fi
  :: s == postcopy ->
     if
     :: (pending & 1) && len(pages[link]) < 2 ->
        atomic { pending = pending & ~1; if :: alive[link] -> pages[link]!1 :: !alive[link] fi }
     :: (pending & 2) && len(pages[link]) < 2 ->
        atomic { pending = pending & ~2; if :: alive[link] -> pages[link]!2 :: !alive[link] fi }
     :: to_source[link]?COMPLETE, _ ->
        s = completed;
        assert(present == ALL);
        tell_target(FINISH, 0)
     :: !alive[link] -> s = reconnecting
     fi
  :: s == reconnecting ->
     if
     :: newest + 1 < LINKS ->
        atomic {
          newest++;
          link = newest;
          alive[link] = true;
          target_says_running = false;
          s = resync;
          to_target[link]!HELLO, 0
        }
#ifndef NO_FAULTS
     :: gave_up = true; s = suspended
#endif
     fi
  :: s == resync ->
     if
     :: to_source[link]?RUNNING, _ -> target_says_running = true
     :: to_source[link]?MISSING, argument ->
        assert(argument == (ALL & ~present));   /* count and hash agree with what was never sent, and with the pages */
#ifndef BUG_KEEP_CLAIMS
        pending = argument;
#endif
        if
        :: target_says_running -> s = postcopy
        :: !target_says_running -> s = handover; tell_target(COMMIT, 0)
        fi
     :: to_source[link]?COMPLETE, _ ->
        s = completed;
        assert(present == ALL);
        tell_target(FINISH, 0)
     :: !alive[link] -> s = reconnecting
#ifndef NO_FAULTS
     :: t == t_failed || t == t_cancelled -> s = suspended   /* refused: nobody there knows the session */
#endif
     fi
  :: s == completed || s == rolled_back || s == suspended -> break
  od
}

inline tell_source(what, argument) {
  atomic {
    if
    :: alive[link] -> to_source[link]!what, argument
    :: !alive[link]
    fi
  }
}

inline start_guest() {
  if
  :: atomic { t = t_running; target_runs = true; ran++; assert(ran == 1); assert(decided); one_runner() };
     tell_source(RUNNING, 0)
#ifndef NO_FAULTS
  :: t = t_failed; tell_source(NOT_STARTED, 0)   /* no vCPU was entered */
#endif
  fi
}

/* The source has come back: the newest link counts. */
inline resume(runs) {
  if
  :: runs -> tell_source(RUNNING, 0)
  :: !runs
  fi;
#ifdef BUG_OLD_MISSING
  tell_source(MISSING, ALL)
#else
  tell_source(MISSING, ALL & ~present)
#endif
}

proctype Target() {
  byte link = 0;
  byte page;

  do
  :: t == t_loading ->
     if
     :: t = t_ready; tell_source(READY, 0)
#ifndef NO_FAULTS
     :: t = t_failed; tell_source(ABORT, 0)
#endif
     :: to_target[link]?CANCEL, _ -> t = t_cancelled; tell_source(CANCEL_ACK, 0)
     :: to_target[link]?COMMIT, _ -> assert(false)   /* before READY */
     :: !alive[link] && len(to_target[link]) == 0 -> t = t_failed
     fi
  :: t == t_ready ->
end_ready:
     if
     :: to_target[link]?COMMIT, _ -> start_guest()
     :: to_target[link]?CANCEL, _ -> t = t_cancelled; tell_source(CANCEL_ACK, 0)
     :: atomic { newest > link && nempty(to_target[newest]) -> to_target[newest]?HELLO, _; link = newest };
        resume(false)
     :: !alive[link] && len(to_target[link]) == 0 -> t = t_undecided
#ifdef BUG_UNDECIDED_RUNS
        ; start_guest()
#endif
     fi
  :: t == t_undecided ->
end_undecided:
     if
     :: atomic { newest > link && nempty(to_target[newest]) -> to_target[newest]?HELLO, _; link = newest };
        t = t_ready;
        resume(false)
     :: !alive[link] && len(to_target[link]) > 0 -> to_target[link]?_, _
     fi
  :: t == t_running ->
end_running:
     if
     :: pages[link]?page -> present = present | page
     :: present == ALL -> t = t_confirming; tell_source(COMPLETE, 0)
     :: atomic { newest > link && nempty(to_target[newest]) -> to_target[newest]?HELLO, _; link = newest };
        t = t_resync;
        resume(true)
     :: !alive[link] && len(pages[link]) == 0 -> t = t_reconnecting
     fi
  :: t == t_reconnecting ->
end_reconnecting:
     if
     :: atomic { newest > link && nempty(to_target[newest]) -> to_target[newest]?HELLO, _; link = newest };
        t = t_resync;
        resume(true)
     fi
  :: t == t_resync -> t = t_running   /* all channels have opened, or the loss shows there */
  :: t == t_confirming ->
end_confirming:
     if
     :: to_target[link]?FINISH, _ -> t = t_completed
     :: to_target[link]?COMMIT, _ -> assert(false)
     :: atomic { newest > link && nempty(to_target[newest]) -> to_target[newest]?HELLO, _; link = newest };
        tell_source(RUNNING, 0);
        tell_source(COMPLETE, 0)
     :: !alive[link] && len(to_target[link]) == 0 -> t = t_unconfirmed
     fi
  :: t == t_unconfirmed ->
end_unconfirmed:
     if
     :: atomic { newest > link && nempty(to_target[newest]) -> to_target[newest]?HELLO, _; link = newest };
        t = t_confirming;
        tell_source(RUNNING, 0);
        tell_source(COMPLETE, 0)
     fi
  :: t == t_completed || t == t_cancelled || t == t_failed -> break
  od
}

init {
  atomic {
    alive[0] = true;
    run Source();
    run Target();
    run Cutter()
  }
}

/* Without a fault the migration completes; with lost links that all come back it completes, or the source has its guest. */
ltl completes { <> (s == completed && t == t_completed) }
ltl goes_on { <> (s == completed || s == rolled_back) }
