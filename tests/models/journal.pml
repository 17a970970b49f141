/* The protocol of the journal (steelyard/gateways/registry/journal.py) as a model for spin.

   Two processes decide about the same month, a third about another; one completes what was cut
   short, one only reads. Each of them that writes may die before any of its writes, loses its lock
   then, and is started again. tests/gateways/test_protocol.py checks every interleaving, and that
   each of the rules below is needed: spin must find a fault as soon as one is left out.
*/
#define SUBJECTS 2
#define MAX_RUNS 5

#ifndef DEATHS
#define DEATHS 2
#endif

byte finished;             /* sequence of the last finished run: a decision counts from then on */
byte steps[MAX_RUNS];      /* by sequence: steps the weight has made, this decision's included */
byte runs_of[SUBJECTS];    /* finished runs by subject */
byte tag;                  /* sequence in the state tag */
bit locked;
byte deaths = DEATHS;

#ifndef WITHOUT_COMPLETION
#define IN_FORCE (tag < finished -> finished : tag)
#else
#define IN_FORCE tag
#endif

inline may_die() { if :: deaths > 0 -> deaths--; goto died :: true fi }

inline lock() {
#ifndef WITHOUT_LOCK
	atomic { !locked -> locked = 1 }
#else
	skip
#endif
}

inline complete_last() {
#ifndef WITHOUT_COMPLETION
	if
	:: tag < finished -> may_die(); tag = finished
	:: else
	fi
#else
	skip
#endif
}

inline finish_run() {
	atomic {
		assert(own < MAX_RUNS);
		steps[own] = steps[before] + 1;
		runs_of[subject]++;
		finished = own
	}
}

proctype decider(byte subject) {
	byte before, own;

started:
	if                         /* an operator's decision rests on a state read without the lock */
	:: before = IN_FORCE
	:: before = MAX_RUNS       /* a scheduled one on a state read under it */
	fi;
	lock();
	may_die();
#ifndef WITHOUT_KEY
	if
	:: runs_of[subject] > 0 -> goto done
	:: else
	fi;
#endif
	complete_last();
	if
	:: before == MAX_RUNS -> before = IN_FORCE
	:: else
	fi;
#ifndef WITHOUT_REFUSAL
	if
	:: before != IN_FORCE -> locked = 0; goto started
	:: else
	fi;
#endif
	own = finished + 1;
	may_die();                 /* a run that was begun and never finished counts for nothing */
#ifdef TAG_FIRST
	tag = own;
	may_die();
	finish_run();
#else
	finish_run();
	may_die();
	tag = own;
#endif
	goto done;

died:
	before = 0; own = 0;
	locked = 0;                /* the lock ends with its process */
	goto started;

done:
	locked = 0
}

proctype completer() {
started:
	if
	:: tag < finished -> lock(); complete_last(); locked = 0
	:: else
	fi;
	goto done;
died:
	locked = 0;
	goto started;
done:
	skip
}

proctype reader() {
	byte known, tag_read, last_read;

	known = finished;
#ifndef JOURNAL_FIRST
	tag_read = tag;
	last_read = finished;
#else
	last_read = finished;
	tag_read = tag;
#endif
	assert(tag_read <= last_read);                                   /* no false alarm */
	assert((tag_read < last_read -> last_read : tag_read) >= known)  /* nothing older than known */
}

init {
	atomic { run decider(0); run decider(0); run decider(1); run completer(); run reader() };
	(_nr_pr == 2);
	if                         /* the next process that reads or decides completes the last one */
	:: tag < finished -> tag = finished
	:: else
	fi;
	assert(runs_of[0] == 1 && runs_of[1] == 1);             /* no double step, none forgotten */
	assert(finished == SUBJECTS && steps[finished] == SUBJECTS);    /* no decision lost */
	assert(tag == finished)
}

active proctype watch() {      /* no state without a decision, at any moment */
	end: (tag > finished) -> assert(false)
}
