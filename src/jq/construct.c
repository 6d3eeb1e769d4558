/* SPDX-License-Identifier: Apache-2.0
 *
 * Objects, strings and calls of natives whose parts have several results: all combinations. In an
 * object the first member varies slowest; among arguments the last one does, which is what jq's
 * stack machine makes of it and what programs have come to expect of `(1,2) + (10,20)`.
 */
#include "jq/match.h"

#include "base/assert.h"

struct weir_value jq_apply(struct weir_jq_run *run,
                           const struct jq_node *node,
                           struct weir_value input,
                           struct weir_value *arguments)
{
    if (node->op == JQ_NATIVE) {
        return node->native->fn(run, input, arguments);
    }
    weir_release(&run->heap, input);
    struct weir_value text = weir_string_new(&run->heap, (struct weir_slice){"", 0});
    for (uint32_t i = 0; i < node->count; i++) {
        struct weir_slice part = weir_value_text(arguments[i]);
        if (part.size > UINT32_MAX / 2 - text.size || !jq_room(run, part.size)) {
            return jq_limit(run, "string is too long");
        }
        text = weir_string_append(&run->heap, text, part);
        weir_release(&run->heap, arguments[i]);
    }
    return text;
}

struct arguments_emit {
    struct jq_emit emit;
    struct weir_jq_run *run;
    const struct jq_node *node;
    struct jq_frame *frame;
    struct weir_value input;      /* borrowed */
    struct weir_value *arguments; /* those from index on are there */
    uint32_t index;
    struct jq_emit *out;
};

static bool arguments_from(struct arguments_emit *self);

static bool
argument_value(struct jq_emit *emit, struct weir_value value, const struct jq_track *track)
{
    struct arguments_emit *self = (struct arguments_emit *)emit;
    (void)track;
    self->arguments[self->index] = value;
    struct arguments_emit deeper = *self;
    bool more = arguments_from(&deeper);
    weir_release(&self->run->heap, value);
    return more;
}

/* Evaluates the arguments before `index`, last first, then applies. */
static bool arguments_from(struct arguments_emit *self)
{
    struct weir_jq_run *run = self->run;
    if (self->index > 0) {
        self->index--;
        self->emit.fn = argument_value;
        return jq_eval(run, self->node->list[self->index], self->frame, weir_retain(self->input),
                       NULL, &self->emit);
    }
    uint32_t count = self->node->count;
    struct weir_value few[JQ_ARGUMENTS_MAX];
    struct weir_value *copies = few;
    if (count > JQ_ARGUMENTS_MAX) {
        copies = weir_heap_alloc(&run->heap, count * sizeof *copies);
    }
    for (uint32_t i = 0; i < count; i++) {
        copies[i] = weir_retain(self->arguments[i]);
    }
    struct weir_value result = jq_apply(run, self->node, weir_retain(self->input), copies);
    if (copies != few) {
        weir_heap_free(&run->heap, copies);
    }
    if (weir_value_is_absent(result)) {
        return run->failed == JQ_FINE;
    }
    return self->out->fn(self->out, result, NULL);
}

bool jq_arguments_many(struct weir_jq_run *run,
                       const struct jq_node *node,
                       struct jq_frame *frame,
                       struct weir_value input,
                       struct jq_emit *emit)
{
    struct weir_value few[JQ_ARGUMENTS_MAX];
    struct weir_value *arguments = few;
    if (node->count > JQ_ARGUMENTS_MAX) {
        arguments = weir_heap_alloc(&run->heap, node->count * sizeof *arguments);
    }
    struct arguments_emit self = {.run = run,
                                  .node = node,
                                  .frame = frame,
                                  .input = input,
                                  .arguments = arguments,
                                  .index = node->count,
                                  .out = emit};
    bool more = arguments_from(&self);
    if (arguments != few) {
        weir_heap_free(&run->heap, arguments);
    }
    weir_release(&run->heap, input);
    return more;
}

/* ── objects ── */

struct object_emit {
    struct jq_emit emit;
    struct weir_jq_run *run;
    const struct jq_node *node;
    struct jq_frame *frame;
    struct weir_value input;  /* borrowed */
    struct weir_value object; /* with the members before index; borrowed */
    struct weir_value key;    /* borrowed */
    uint32_t index;           /* in node->list */
    struct jq_emit *out;
};

static bool object_from(const struct object_emit *outer, uint32_t index, struct weir_value object);

static bool
object_value(struct jq_emit *emit, struct weir_value value, const struct jq_track *track)
{
    struct object_emit *self = (struct object_emit *)emit;
    (void)track;
    if (self->key.kind != WEIR_KIND_STRING) {
        char room[JQ_DUMP_ROOM];
        jq_fail(self->run, "Cannot use %s (%s) as object key", weir_value_kind_name(self->key),
                jq_dump(self->key, room));
        return false;
    }
    struct weir_value object =
        weir_object_set(&self->run->heap, weir_retain(self->object), weir_retain(self->key), value);
    return object_from(self, self->index + 1, object);
}

static bool object_key(struct jq_emit *emit, struct weir_value key, const struct jq_track *track)
{
    struct object_emit *self = (struct object_emit *)emit;
    struct object_emit inner = *self;
    (void)track;
    inner.emit.fn = object_value;
    inner.key = key;
    inner.index++;
    bool more = jq_eval(self->run, self->node->list[inner.index], self->frame,
                        weir_retain(self->input), NULL, &inner.emit);
    weir_release(&self->run->heap, key);
    return more;
}

/* Consumes the object. */
static bool object_from(const struct object_emit *outer, uint32_t index, struct weir_value object)
{
    if (index == outer->node->count) {
        return outer->out->fn(outer->out, object, NULL);
    }
    struct object_emit self = *outer;
    self.emit.fn = object_key;
    self.index = index;
    self.object = object;
    bool more = jq_eval(self.run, self.node->list[index], self.frame, weir_retain(self.input), NULL,
                        &self.emit);
    weir_release(&self.run->heap, object);
    return more;
}

bool jq_object_many(struct weir_jq_run *run,
                    const struct jq_node *node,
                    struct jq_frame *frame,
                    struct weir_value input,
                    struct jq_emit *emit)
{
    struct object_emit self = {
        .run = run, .node = node, .frame = frame, .input = input, .out = emit};
    bool more = object_from(&self, 0, weir_object_new(&run->heap, node->count / 2));
    weir_release(&run->heap, input);
    return more;
}
