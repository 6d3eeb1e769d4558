/* SPDX-License-Identifier: Apache-2.0
 *
 * The general evaluator: nodes with any number of results, and path tracking.
 *
 * A generator calls its emit once per result and goes on when that returns true. So `a | b` runs b
 * inside a's emit, backtracking is returning, and nothing is saved or restored. What ends early
 * (break, first, limit, errors) returns false all the way up to who asked for it.
 */
#include "jq/generate.h"

struct resume {
    struct weir_jq_run *run;
    const struct jq_node *node;
    struct jq_frame *frame;
    struct weir_value input;
    const struct jq_track *track;
    struct jq_emit *emit;
    bool more;
};

static void resume(void *context)
{
    struct resume *self = context;
    self->more = jq_eval(self->run, self->node, self->frame, self->input, self->track, self->emit);
}

static bool on_fresh_stack(struct weir_jq_run *run,
                           const struct jq_node *node,
                           struct jq_frame *frame,
                           struct weir_value input,
                           const struct jq_track *track,
                           struct jq_emit *emit)
{
    struct resume context = {run, node, frame, input, track, emit, false};
    return jq_stack_call(run, resume, &context) && context.more;
}

/* ── flow ── */

struct pipe_emit {
    struct jq_emit emit;
    struct weir_jq_run *run;
    const struct jq_node *node; /* what comes next */
    struct jq_frame *frame;
    struct jq_emit *out;
};

static bool pipe_next(struct jq_emit *emit, struct weir_value value, const struct jq_track *track)
{
    struct pipe_emit *self = (struct pipe_emit *)emit;
    return jq_eval(self->run, self->node, self->frame, value, track, self->out);
}

struct alt_emit {
    struct jq_emit emit;
    struct weir_jq_run *run;
    bool found;
    struct jq_emit *out;
};

static bool alt_pass(struct jq_emit *emit, struct weir_value value, const struct jq_track *track)
{
    struct alt_emit *self = (struct alt_emit *)emit;
    if (!weir_value_is_true(value)) {
        return true;
    }
    self->found = true;
    return self->out->fn(self->out, value, track);
}

struct try_emit {
    struct jq_emit emit;
    struct weir_jq_run *run;
    bool behind; /* the failure came from behind the try */
    struct jq_emit *out;
};

static bool try_pass(struct jq_emit *emit, struct weir_value value, const struct jq_track *track)
{
    struct try_emit *self = (struct try_emit *)emit;
    bool more = self->out->fn(self->out, value, track);
    self->behind |= !more;
    return more;
}

/* Returns the handler to go on with, and its input; NULL: *ret_more. */
static const struct jq_node *eval_try(struct weir_jq_run *run,
                                      const struct jq_node *node,
                                      struct jq_frame *frame,
                                      struct weir_value *input,
                                      const struct jq_track *track,
                                      struct jq_emit *emit,
                                      bool *ret_more)
{
    struct try_emit self = {{try_pass}, run, false, emit};
    *ret_more = jq_eval(run, node->a, frame, *input, track, &self.emit);
    if (*ret_more || self.behind || run->failed != JQ_FAILED) {
        return NULL;
    }
    run->failed = JQ_FINE;
    *input = run->error;
    run->error = (struct weir_value){0};
    if (node->b == NULL) {
        weir_release(&run->heap, *input);
        *ret_more = true;
    }
    return node->b;
}

static bool eval_label(struct weir_jq_run *run,
                       const struct jq_node *node,
                       struct jq_frame *frame,
                       struct weir_value input,
                       const struct jq_track *track,
                       struct jq_emit *emit)
{
    uint64_t label = ++run->next_label;
    jq_assign_slot(run, frame, node->slot, weir_value_number((double)label));
    bool more = jq_eval(run, node->a, frame, input, track, emit);
    if (!more && run->failed == JQ_BROKEN && run->label == label) {
        run->failed = JQ_FINE;
        more = true;
    }
    return more;
}

/* ── values under a track: not a path, so the track stays ── */

struct retrack_emit {
    struct jq_emit emit;
    const struct jq_track *track;
    struct jq_emit *out;
};

static bool retrack(struct jq_emit *emit, struct weir_value value, const struct jq_track *track)
{
    struct retrack_emit *self = (struct retrack_emit *)emit;
    (void)track;
    return self->out->fn(self->out, value, self->track);
}

/* ── the loop ── */

/* A parameter has one result when what was given for it has. */
static bool is_single(const struct jq_node *node, struct jq_frame *frame)
{
    return node->many != JQ_MANY ||
           (node->op == JQ_CLOSURE &&
            jq_frame_at(frame, node->level)->closures[node->slot].node->many != JQ_MANY);
}

static struct weir_value eval_single(struct weir_jq_run *run,
                                     const struct jq_node *node,
                                     struct jq_frame *frame,
                                     struct weir_value input)
{
    if (node->op != JQ_CLOSURE) {
        return jq_eval_one(run, node, frame, input);
    }
    struct jq_closure closure = jq_frame_at(frame, node->level)->closures[node->slot];
    if (!closure.node->framed) {
        return jq_eval_one(run, closure.node, closure.frame, input);
    }
    struct jq_mark mark = jq_frame_mark(run);
    struct weir_value value = jq_eval_one(
        run, closure.node, jq_frame_push(run, closure.node->frame, closure.frame), input);
    jq_frame_pop(run, mark);
    return value;
}

/* Operations whose results carry a track of their own, or whose control flow matters to it. */
static bool follows_paths(const struct jq_node *node)
{
    switch ((int)node->op) {
    case JQ_IDENTITY:
    case JQ_FIELD:
    case JQ_PATH:
    case JQ_INDEX:
    case JQ_SLICE:
    case JQ_EACH:
    case JQ_RECURSE:
    case JQ_PIPE:
    case JQ_COMMA:
    case JQ_ALT:
    case JQ_IF:
    case JQ_TRY:
    case JQ_REDUCE:
    case JQ_FOREACH:
    case JQ_BIND:
    case JQ_LABEL:
    case JQ_BREAK:
    case JQ_DEFINE:
    case JQ_CALL:
    case JQ_CLOSURE:
    case JQ_EMPTY:
    case JQ_GETPATH:
    case JQ_FIRST:
    case JQ_LAST:
    case JQ_LIMIT:
        return true;
    default:
        return false;
    }
}

static bool eval_leaf(struct weir_jq_run *run,
                      const struct jq_node *node,
                      struct jq_frame *frame,
                      struct weir_value input,
                      const struct jq_track *track,
                      struct jq_emit *emit)
{
    switch ((int)node->op) {
    case JQ_IDENTITY:
        return emit->fn(emit, input, track);
    case JQ_FIELD:
        return jq_eval_field(run, node, frame, input, track, emit);
    case JQ_PATH:
        return jq_eval_keys(run, node, frame, input, track, emit);
    case JQ_INDEX:
    case JQ_SLICE:
        return jq_eval_index(run, node, frame, input, track, emit);
    case JQ_EACH:
        return jq_eval_each(run, node, frame, input, track, emit);
    case JQ_RECURSE:
        return jq_eval_recurse(run, node, frame, input, track, emit);
    case JQ_REDUCE:
        return jq_reduce(run, node, frame, input, track, emit);
    case JQ_FOREACH:
        return jq_foreach(run, node, frame, input, track, emit);
    case JQ_LABEL:
        return eval_label(run, node, frame, input, track, emit);
    case JQ_FIRST:
    case JQ_LIMIT:
        return jq_eval_limit(run, node, frame, input, track, emit);
    case JQ_LAST:
        return jq_eval_last(run, node, frame, input, track, emit);
    case JQ_GETPATH:
        return jq_eval_getpath(run, node, frame, input, track, emit);
    case JQ_EMPTY:
        weir_release(&run->heap, input);
        return true;
    case JQ_BREAK:
        jq_eval_one(run, node, frame, input);
        return false;
    default:
        return jq_eval_values(run, node, frame, input, emit);
    }
}

bool jq_eval(struct weir_jq_run *run,
             const struct jq_node *node,
             struct jq_frame *frame,
             struct weir_value input,
             const struct jq_track *track,
             struct jq_emit *emit)
{
    if (__builtin_expect(jq_stack_is_low(run), 0)) {
        return on_fresh_stack(run, node, frame, input, track, emit);
    }
    struct jq_mark mark = jq_frame_mark(run), own = mark;
    bool owns_frame = false, more = false;
    for (;;) {
        if (!jq_step(run)) {
            jq_step_failed(run);
            break;
        }
        if (track != NULL
                ? !follows_paths(node) && node->many != JQ_MANY
                : node->many != JQ_MANY && node->op != JQ_REDUCE && node->op != JQ_FOREACH &&
                      node->op != JQ_LAST && (node->op != JQ_BIND || jq_is_plain(node->pattern)) &&
                      node->op != JQ_PATHS_OF) {
            input = jq_eval_one(run, node, frame, input);
            more =
                weir_value_is_absent(input) ? run->failed == JQ_FINE : emit->fn(emit, input, track);
            break;
        }
        if (track != NULL && !follows_paths(node)) {
            struct retrack_emit self = {{retrack}, track, emit};
            more = jq_eval(run, node, frame, input, NULL, &self.emit);
            break;
        }
        const struct jq_node *next = NULL;
        switch ((int)node->op) {
        case JQ_PIPE:
            if (track == NULL && is_single(node->a, frame)) {
                input = eval_single(run, node->a, frame, input);
                more = run->failed == JQ_FINE;
                next = weir_value_is_absent(input) ? NULL : node->b;
            } else {
                struct pipe_emit self = {{pipe_next}, run, node->b, frame, emit};
                more = jq_eval(run, node->a, frame, input, track, &self.emit);
            }
            break;
        case JQ_COMMA:
            more = jq_eval(run, node->a, frame, weir_retain(input), track, emit);
            next = more ? node->b : NULL;
            break;
        case JQ_DEFINE:
            next = node->a;
            break;
        case JQ_IF:
            if (!is_single(node->a, frame)) {
                more = jq_eval_condition(run, node, frame, input, track, emit);
            } else {
                struct weir_value condition = eval_single(run, node->a, frame, weir_retain(input));
                more = run->failed == JQ_FINE;
                if (weir_value_is_absent(condition)) {
                    break;
                }
                next = weir_value_is_true(condition) ? node->b : node->c;
                weir_release(&run->heap, condition);
                if (next == NULL) {
                    more = emit->fn(emit, input, track);
                }
            }
            break;
        case JQ_ALT: {
            struct alt_emit self = {{alt_pass}, run, false, emit};
            more = jq_eval(run, node->a, frame, weir_retain(input), track, &self.emit);
            next = more && !self.found ? node->b : NULL;
            break;
        }
        case JQ_TRY:
            next = eval_try(run, node, frame, &input, track, emit, &more);
            break;
        case JQ_BIND:
            if (jq_is_plain(node->pattern) && node->a->many != JQ_MANY) {
                struct weir_value bound = jq_eval_one(run, node->a, frame, weir_retain(input));
                more = run->failed == JQ_FINE;
                if (!weir_value_is_absent(bound)) {
                    jq_assign_slot(run, frame, node->pattern->slot, bound);
                    next = node->b;
                }
            } else {
                more = jq_bind(run, node, frame, input, track, emit);
            }
            break;
        case JQ_CLOSURE: {
            struct jq_closure closure = jq_frame_at(frame, node->level)->closures[node->slot];
            frame = closure.frame;
            if (closure.node->framed) {
                frame = jq_frame_push(run, closure.node->frame, closure.frame);
            }
            owns_frame = false;
            next = closure.node;
            break;
        }
        case JQ_CALL:
            next = jq_call_tail(run, node, &frame, &input, track, emit, &own, owns_frame, &more);
            owns_frame = true;
            break;
        default:
            more = eval_leaf(run, node, frame, input, track, emit);
        }
        if (next == NULL) {
            break;
        }
        node = next;
    }
    jq_frame_pop(run, mark);
    return more;
}
