/* SPDX-License-Identifier: Apache-2.0
 *
 * Calls. A frame holds the closures a function was given and its variables, and links to the frame
 * its definition stood in. Frames are a stack: nothing outlives the call, because generators push
 * their results down into their callers' continuations instead of returning.
 *
 * A call in tail position takes the place of its caller's frame, unless a closure it was given
 * looks at that frame.
 */
#include "jq/match.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/assert.h"

#define CHUNK_BYTES ((size_t)64 * 1024)

struct jq_chunk {
    struct jq_chunk *before, *after;
    size_t size, used;
    char bytes[];
};

/* ── the frame stack ── */

struct jq_mark jq_frame_mark(struct weir_jq_run *run)
{
    return (struct jq_mark){run->chunk, run->chunk == NULL ? 0 : run->chunk->used};
}

static struct jq_chunk *next_chunk(struct weir_jq_run *run, size_t bytes)
{
    struct jq_chunk *after = run->chunk == NULL ? NULL : run->chunk->after;
    if (after == NULL || after->size < bytes) {
        size_t size = bytes > CHUNK_BYTES ? bytes : CHUNK_BYTES;
        struct jq_chunk *chunk = weir_realloc(NULL, 1, sizeof *chunk + size);
        *chunk = (struct jq_chunk){.before = run->chunk, .after = after, .size = size};
        if (after != NULL) {
            after->before = chunk;
        }
        if (run->chunk != NULL) {
            run->chunk->after = chunk;
        }
        after = chunk;
    }
    after->used = 0;
    run->chunk = after;
    return after;
}

static size_t frame_bytes(const struct jq_frame_info *info)
{
    size_t bytes = sizeof(struct jq_frame) + info->param_count * sizeof(struct jq_closure) +
                   info->slot_count * sizeof(struct weir_value);
    return (bytes + 15) & ~(size_t)15;
}

struct jq_frame *
jq_frame_push(struct weir_jq_run *run, const struct jq_frame_info *info, struct jq_frame *parent)
{
    size_t bytes = frame_bytes(info);
    struct jq_chunk *chunk = run->chunk;
    if (chunk == NULL || chunk->size - chunk->used < bytes) {
        chunk = next_chunk(run, bytes);
    }
    struct jq_frame *frame = (struct jq_frame *)(void *)(chunk->bytes + chunk->used);
    chunk->used += bytes;
    run->depth++;
    frame->parent = parent;
    frame->info = info;
    frame->slots = (struct weir_value *)(void *)(frame->closures + info->param_count);
    memset(frame->closures, 0, bytes - sizeof *frame);
    return frame;
}

static void release_slots(struct weir_jq_run *run, struct jq_frame *frame)
{
    for (uint32_t i = 0; i < frame->info->slot_count; i++) {
        weir_release(&run->heap, frame->slots[i]);
    }
}

/* Releases the frames of a chunk from `from` on. */
static void release_chunk(struct weir_jq_run *run, struct jq_chunk *chunk, size_t from)
{
    for (size_t at = from; at < chunk->used;) {
        struct jq_frame *frame = (struct jq_frame *)(void *)(chunk->bytes + at);
        release_slots(run, frame);
        run->depth--;
        at += frame_bytes(frame->info);
    }
    chunk->used = from;
}

void jq_frame_pop(struct weir_jq_run *run, struct jq_mark mark)
{
    while (run->chunk != mark.chunk) {
        release_chunk(run, run->chunk, 0);
        if (run->chunk->before == NULL) {
            return; /* the first chunk was made behind the mark */
        }
        run->chunk = run->chunk->before;
    }
    if (run->chunk != NULL) {
        release_chunk(run, run->chunk, mark.used);
    }
}

void jq_frames_done(struct weir_jq_run *run)
{
    struct jq_chunk *chunk = run->chunk;
    while (chunk != NULL && chunk->before != NULL) {
        chunk = chunk->before;
    }
    while (chunk != NULL) {
        struct jq_chunk *after = chunk->after;
        weir_free(chunk);
        chunk = after;
    }
    run->chunk = NULL;
}

/* Drops all frames above the mark but the newest, which moves down. NULL: it stayed where it is. */
static struct jq_frame *
replace_frame(struct weir_jq_run *run, struct jq_mark mark, struct jq_frame *newest)
{
    size_t bytes = frame_bytes(newest->info);
    if (run->chunk != mark.chunk || (char *)newest == mark.chunk->bytes + mark.used) {
        return newest;
    }
    run->chunk->used -= bytes;
    release_chunk(run, run->chunk, mark.used);
    struct jq_frame *moved = (struct jq_frame *)(void *)(run->chunk->bytes + mark.used);
    memmove(moved, newest, bytes);
    moved->slots = (struct weir_value *)(void *)(moved->closures + moved->info->param_count);
    run->chunk->used += bytes;
    return moved;
}

/* ── entering ── */

static struct jq_closure closure_of(const struct jq_node *argument, struct jq_frame *frame)
{
    if (argument->op == JQ_CLOSURE) {
        return jq_frame_at(frame, argument->level)->closures[argument->slot];
    }
    return (struct jq_closure){argument, frame};
}

static bool too_deep(struct weir_jq_run *run)
{
    if (run->depth <= run->depth_max) {
        return false;
    }
    jq_limit(run, "expression calls itself more than %u levels deep", (unsigned)run->depth_max);
    return true;
}

/* The frame with its closures; values are missing. */
static struct jq_frame *
open_frame(struct weir_jq_run *run, const struct jq_node *call, struct jq_frame *frame)
{
    const struct jq_function *function = call->function;
    struct jq_frame *inner = jq_frame_push(run, &function->frame, jq_frame_at(frame, call->level));
    for (uint32_t i = 0; i < call->count; i++) {
        if (!function->params[i].by_value || function->params[i].called) {
            inner->closures[i] = closure_of(call->list[i], frame);
        }
    }
    return too_deep(run) ? NULL : inner;
}

static struct weir_value eval_value_argument(struct weir_jq_run *run,
                                             const struct jq_node *argument,
                                             struct jq_frame *frame,
                                             struct weir_value input)
{
    if (!argument->framed) {
        return jq_eval_one(run, argument, frame, input);
    }
    struct jq_mark mark = jq_frame_mark(run);
    struct weir_value value =
        jq_eval_one(run, argument, jq_frame_push(run, argument->frame, frame), input);
    jq_frame_pop(run, mark);
    return value;
}

struct jq_frame *jq_enter(struct weir_jq_run *run,
                          const struct jq_node *call,
                          struct jq_frame *frame,
                          struct weir_value input)
{
    struct jq_frame *inner = open_frame(run, call, frame);
    const struct jq_function *function = call->function;
    for (uint32_t i = 0; inner != NULL && i < call->count; i++) {
        if (!function->params[i].by_value) {
            continue;
        }
        struct weir_value value =
            eval_value_argument(run, call->list[i], frame, weir_retain(input));
        if (weir_value_is_absent(value)) {
            return NULL;
        }
        inner->slots[function->params[i].slot] = value;
    }
    return inner;
}

bool jq_eval_argument(struct weir_jq_run *run,
                      const struct jq_node *node,
                      struct jq_frame *frame,
                      struct weir_value input,
                      const struct jq_track *track,
                      struct jq_emit *emit)
{
    if (!node->framed) {
        return jq_eval(run, node, frame, input, track, emit);
    }
    struct jq_mark mark = jq_frame_mark(run);
    bool more = jq_eval(run, node, jq_frame_push(run, node->frame, frame), input, track, emit);
    jq_frame_pop(run, mark);
    return more;
}

/* ── calls with at most one result ── */

/* Walks down the tail of a body: returns the node to call next in this frame, or NULL with the
 * result. */
static const struct jq_node *walk_tail(struct weir_jq_run *run,
                                       const struct jq_node *node,
                                       struct jq_frame *frame,
                                       struct weir_value *input)
{
    while (!weir_value_is_absent(*input)) {
        switch ((int)node->op) {
        case JQ_PIPE:
            *input = jq_eval_one(run, node->a, frame, *input);
            node = node->b;
            break;
        case JQ_DEFINE:
            node = node->a;
            break;
        case JQ_IF: {
            struct weir_value condition = jq_eval_one(run, node->a, frame, weir_retain(*input));
            if (weir_value_is_absent(condition)) {
                weir_release(&run->heap, *input);
                *input = condition;
                return NULL;
            }
            node = weir_value_is_true(condition) ? node->b : node->c;
            weir_release(&run->heap, condition);
            if (node == NULL) {
                return NULL;
            }
            break;
        }
        case JQ_BIND: {
            if (!jq_is_plain(node->pattern)) {
                *input = jq_eval_one(run, node, frame, *input);
                return NULL;
            }
            struct weir_value bound = jq_eval_one(run, node->a, frame, weir_retain(*input));
            if (weir_value_is_absent(bound)) {
                weir_release(&run->heap, *input);
                *input = bound;
                return NULL;
            }
            jq_assign_slot(run, frame, node->pattern->slot, bound);
            node = node->b;
            break;
        }
        case JQ_CALL:
            return node;
        default:
            *input = jq_eval_one(run, node, frame, *input);
            return NULL;
        }
    }
    return NULL;
}

struct weir_value jq_call_one(struct weir_jq_run *run,
                              const struct jq_node *call,
                              struct jq_frame *frame,
                              struct weir_value input)
{
    struct jq_mark mark = jq_frame_mark(run), own = mark;
    bool first = true;
    while (call != NULL) {
        struct jq_mark before = jq_frame_mark(run);
        if (!jq_step(run)) {
            jq_step_failed(run);
            weir_release(&run->heap, input);
            input = (struct weir_value){0};
            break;
        }
        struct jq_frame *inner = jq_enter(run, call, frame, input);
        if (inner == NULL) {
            weir_release(&run->heap, input);
            input = (struct weir_value){0};
            break;
        }
        if (!first && !call->captures) {
            inner = replace_frame(run, own, inner);
        } else {
            own = before;
        }
        first = false;
        frame = inner;
        call = walk_tail(run, call->function->body, frame, &input);
    }
    jq_frame_pop(run, mark);
    return input;
}

/* ── calls with several results ── */

struct call_values {
    struct jq_emit emit;
    struct weir_jq_run *run;
    const struct jq_node *call;
    struct jq_frame *frame, *inner;
    struct weir_value input; /* borrowed by the emits */
    const struct jq_track *track;
    struct jq_emit *out;
    uint32_t index; /* of the argument that is being evaluated */
};

static bool call_values_next(struct call_values *self, uint32_t index);

static bool
call_values_emit(struct jq_emit *emit, struct weir_value value, const struct jq_track *track)
{
    struct call_values *self = (struct call_values *)emit;
    (void)track;
    uint32_t slot = self->call->function->params[self->index].slot;
    jq_assign_slot(self->run, self->inner, slot, value);
    return call_values_next(self, self->index + 1);
}

/* Binds the value arguments from index on in all combinations; the first varies slowest. */
static bool call_values_next(struct call_values *self, uint32_t index)
{
    const struct jq_function *function = self->call->function;
    while (index < self->call->count && !function->params[index].by_value) {
        index++;
    }
    if (index == self->call->count) {
        return jq_eval(self->run, function->body, self->inner, weir_retain(self->input),
                       self->track, self->out);
    }
    struct call_values deeper = *self;
    deeper.emit.fn = call_values_emit;
    deeper.index = index;
    return jq_eval_argument(self->run, self->call->list[index], self->frame,
                            weir_retain(self->input), NULL, &deeper.emit);
}

static bool call_many_values(struct weir_jq_run *run,
                             const struct jq_node *call,
                             struct jq_frame *frame,
                             struct weir_value input,
                             const struct jq_track *track,
                             struct jq_emit *emit)
{
    struct jq_mark mark = jq_frame_mark(run);
    struct jq_frame *inner = open_frame(run, call, frame);
    bool more = inner != NULL;
    if (more) {
        struct call_values self = {.run = run,
                                   .call = call,
                                   .frame = frame,
                                   .inner = inner,
                                   .input = input,
                                   .track = track,
                                   .out = emit};
        more = call_values_next(&self, 0);
    }
    weir_release(&run->heap, input);
    jq_frame_pop(run, mark);
    return more;
}

static bool has_many_values(const struct jq_node *call)
{
    for (uint32_t i = 0; i < call->count; i++) {
        if (call->function->params[i].by_value && call->list[i]->many == JQ_MANY) {
            return true;
        }
    }
    return false;
}

/* Goes into the function in the caller's loop: *frame becomes the new frame. NULL: *ret_more says
 * whether to go on. */
const struct jq_node *jq_call_tail(struct weir_jq_run *run,
                                   const struct jq_node *call,
                                   struct jq_frame **frame,
                                   struct weir_value *input,
                                   const struct jq_track *track,
                                   struct jq_emit *emit,
                                   struct jq_mark *own,
                                   bool owns_frame,
                                   bool *ret_more)
{
    if (call->function->value_count > 0 && has_many_values(call)) {
        *ret_more = call_many_values(run, call, *frame, *input, track, emit);
        return NULL;
    }
    struct jq_mark before = jq_frame_mark(run);
    struct jq_frame *inner = jq_enter(run, call, *frame, *input);
    if (inner == NULL) {
        weir_release(&run->heap, *input);
        *ret_more = run->failed == JQ_FINE;
        return NULL;
    }
    if (owns_frame && !call->captures) {
        *frame = replace_frame(run, *own, inner);
    } else {
        *frame = inner;
        *own = before;
    }
    return call->function->body;
}
