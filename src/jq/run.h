/* SPDX-License-Identifier: Apache-2.0
 *
 * A run: everything an evaluation changes. One thread.
 *
 * Conventions of the evaluator, on which its speed and its memory depend:
 *   - values are consumed: who gives one away must not use it again without weir_retain;
 *   - an absent result means failed (run->failed says why), or no result where that can be;
 *   - a generator gives each result to a `struct jq_emit` and goes on when it returns true; false
 *     means stop, and is handed up to the caller;
 *   - frames, emits and tracks live on the C stack or the frame stack below the generator that
 *     made them, so nothing needs to be counted or freed on the way out.
 */
#ifndef WEIR_JQ_RUN_H
#define WEIR_JQ_RUN_H

#include <pthread.h>

#include "jq/program.h"

enum jq_failure {
    JQ_FINE,
    JQ_FAILED,  /* run->error; can be caught */
    JQ_BROKEN,  /* break: run->label says to where */
    JQ_LIMITED, /* run->message */
    JQ_HALTED,
    JQ_STOPPED, /* the caller's emit did not want more: run->stop_status */
};

struct jq_closure {
    const struct jq_node *node; /* NULL: not there */
    struct jq_frame *frame;
};

/* closures[param_count], then slots[slot_count]. */
struct jq_frame {
    struct jq_frame *parent; /* static link */
    const struct jq_frame_info *info;
    struct weir_value *slots;
    struct jq_closure closures[];
};

struct jq_chunk;

/* Path tracking: where the value that is being looked at lies in the root of path(…). */
struct jq_track {
    struct weir_value path; /* array */
    struct weir_value at;   /* the value found there */
};

struct jq_emit {
    /* Consumes the value; borrows the track (NULL: not tracking). */
    bool (*fn)(struct jq_emit *self, struct weir_value value, const struct jq_track *track);
};

struct jq_regex_cache;
struct jq_stack;

struct weir_jq_run {
    struct weir_heap heap;
    enum jq_failure failed;
    struct weir_value error; /* of JQ_FAILED */
    uint64_t label;          /* of JQ_BROKEN */
    uint64_t next_label;
    uint64_t steps, steps_max;
    uint64_t results, results_max;
    size_t memory_max; /* of one evaluation; the heap also holds the results before it */
    uint32_t regex_steps;
    uint32_t depth, depth_max;
    char *stack_low;        /* going below means: take another stack */
    pthread_t stack_thread; /* whose stack that is: a run may be made by another thread */
    struct jq_stack *stack, *spare;
    struct jq_chunk *chunk; /* of frames; the current one */
    const struct weir_jq *program;
    struct weir_jq_record record;
    struct weir_value record_value; /* absent: not built yet */
    struct weir_value answer;       /* absent: none */
    struct weir_value environment;
    struct weir_jq_host host;
    struct jq_regex_cache *regexes;
    int exit_code;
    struct weir_value halt_value;
    weir_status stop_status;
    char message[256];
};

/* Fails with jq's message; returns an absent value. */
struct weir_value jq_fail(struct weir_jq_run *run, const char *format, ...)
    __attribute__((format(printf, 2, 3), cold));
struct weir_value jq_fail_value(struct weir_jq_run *run, struct weir_value error);
struct weir_value jq_limit(struct weir_jq_run *run, const char *format, ...)
    __attribute__((format(printf, 2, 3), cold));

/* The value as JSON, cut to the room like jq's messages do: at most 29 bytes, "..." at the end. */
#define JQ_DUMP_ROOM 30
const char *jq_dump(struct weir_value value, char room[JQ_DUMP_ROOM]);
/* "KIND (DUMP) TEXT" and "KIND (DUMP) and KIND (DUMP) TEXT"; consume the values. */
struct weir_value jq_type_error(struct weir_jq_run *run, struct weir_value bad, const char *text);
struct weir_value jq_type_error2(struct weir_jq_run *run,
                                 struct weir_value bad,
                                 struct weir_value other,
                                 const char *text);

/* True if the heap has room for a large object; else the run is limited. */
bool jq_room(struct weir_jq_run *run, size_t bytes);

/* ── evaluating ── */

struct weir_value jq_eval_one(struct weir_jq_run *run,
                              const struct jq_node *node,
                              struct jq_frame *frame,
                              struct weir_value input);
bool jq_eval(struct weir_jq_run *run,
             const struct jq_node *node,
             struct jq_frame *frame,
             struct weir_value input,
             const struct jq_track *track,
             struct jq_emit *emit);

/* Emits the paths of the node's results. */
bool jq_eval_paths(struct weir_jq_run *run,
                   const struct jq_node *node,
                   struct jq_frame *frame,
                   struct weir_value input,
                   const struct jq_track *track,
                   struct jq_emit *emit);

/* Counts a step; false: limited. */
static inline bool jq_step(struct weir_jq_run *run)
{
    return __builtin_expect(++run->steps <= run->steps_max && !run->heap.exceeded, 1);
}
struct weir_value jq_step_failed(struct weir_jq_run *run);
static inline bool jq_stack_is_low(const struct weir_jq_run *run)
{
    return (char *)__builtin_frame_address(0) < run->stack_low;
}

/* ── frames ── */

struct jq_mark {
    struct jq_chunk *chunk;
    size_t used;
};
struct jq_mark jq_frame_mark(struct weir_jq_run *run);
struct jq_frame *
jq_frame_push(struct weir_jq_run *run, const struct jq_frame_info *info, struct jq_frame *parent);
/* Releases the slots of all frames above. */
void jq_frame_pop(struct weir_jq_run *run, struct jq_mark mark);
void jq_frames_done(struct weir_jq_run *run);

static inline struct jq_frame *jq_frame_at(struct jq_frame *frame, unsigned level)
{
    while (level-- > 0) {
        frame = frame->parent;
    }
    return frame;
}

/* ── the stack ── */

void jq_stack_init(struct weir_jq_run *run);
void jq_stack_done(struct weir_jq_run *run);
/* Calls fn(context) on a fresh stack; false: limited. */
bool jq_stack_call(struct weir_jq_run *run, void (*fn)(void *), void *context);

/* ── operations (consume their arguments) ── */

struct weir_value
jq_binary(struct weir_jq_run *run, enum jq_binary op, struct weir_value a, struct weir_value b);
struct weir_value jq_negate(struct weir_jq_run *run, struct weir_value a);
struct weir_value jq_get(struct weir_jq_run *run, struct weir_value target, struct weir_value key);
/* Borrows the key. */
struct weir_value jq_set(struct weir_jq_run *run,
                         struct weir_value target,
                         struct weir_value key,
                         struct weir_value value);
struct weir_value
jq_slice_key(struct weir_jq_run *run, struct weir_value from, struct weir_value to);
struct weir_value
jq_get_path(struct weir_jq_run *run, struct weir_value root, struct weir_value path);
struct weir_value jq_set_path(struct weir_jq_run *run,
                              struct weir_value root,
                              struct weir_value path,
                              struct weir_value value);
struct weir_value
jq_delete_paths(struct weir_jq_run *run, struct weir_value root, struct weir_value paths);
struct weir_value jq_to_string(struct weir_jq_run *run, struct weir_value value);
struct weir_value jq_to_json(struct weir_jq_run *run, struct weir_value value);
struct weir_value
jq_format(struct weir_jq_run *run, struct weir_value value, struct weir_slice name);
/* 0: failed. Else 1 + (a same as b). */
int jq_equal(struct weir_jq_run *run, struct weir_value a, struct weir_value b);
/* False: failed ("Comparison too deep"). Borrows. */
bool jq_order(struct weir_jq_run *run, struct weir_value a, struct weir_value b, int *ret_order);
struct weir_value jq_sorting(struct weir_jq_run *run,
                             enum jq_sorting what,
                             struct weir_value array,
                             struct weir_value keys);
struct weir_value jq_split(struct weir_jq_run *run, struct weir_value text, struct weir_value by);
struct weir_value jq_environment(struct weir_jq_run *run);
struct weir_value jq_record_value(struct weir_jq_run *run);

/* jq's identity: the same object, not an equal one. */
static inline bool jq_identical(struct weir_value a, struct weir_value b)
{
    if (a.kind != b.kind || a.size != b.size) {
        return false;
    }
    return a.kind <= WEIR_KIND_TRUE || (a.form == b.form && memcmp(&a.as, &b.as, sizeof a.as) == 0);
}

struct weir_value jq_module_meta(struct weir_jq_run *run, struct weir_value name);
struct weir_value jq_text(struct weir_jq_run *run, const char *text);
void jq_regexes_free(struct jq_regex_cache *cache);

#endif
