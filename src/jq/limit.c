/* SPDX-License-Identifier: Apache-2.0
 *
 * first, last, limit and range. A generator is ended early the way break ends it: the emit that has
 * enough fails with a label of its own, and whoever set the label takes that for a normal end.
 */
#include "jq/generate.h"

/* ── first, last, limit ── */

struct limit_emit {
    struct jq_emit emit;
    struct weir_jq_run *run;
    const struct jq_node *node;
    struct jq_frame *frame;
    struct weir_value input; /* borrowed */
    const struct jq_track *track;
    double left;
    struct weir_value count; /* when it is no number: fails behind the first result; borrowed */
    uint64_t label;
    struct jq_emit *out;
};

static bool limit_pass(struct jq_emit *emit, struct weir_value value, const struct jq_track *track)
{
    struct limit_emit *self = (struct limit_emit *)emit;
    self->left--;
    if (!weir_value_is_absent(self->count)) {
        weir_release(&self->run->heap, value);
        jq_binary(self->run, JQ_MINUS, weir_retain(self->count), weir_value_number(1));
        return false;
    }
    if (!self->out->fn(self->out, value, track)) {
        return false;
    }
    if (self->left > 0) {
        return true;
    }
    self->run->failed = JQ_BROKEN;
    self->run->label = self->label;
    return false;
}

static bool eval_limited(struct limit_emit *self, const struct jq_node *node, double count)
{
    struct limit_emit inner = *self;
    inner.emit.fn = limit_pass;
    inner.left = count;
    inner.label = ++self->run->next_label;
    bool more =
        jq_eval(self->run, node, self->frame, weir_retain(self->input), self->track, &inner.emit);
    if (!more && self->run->failed == JQ_BROKEN && self->run->label == inner.label) {
        self->run->failed = JQ_FINE;
        return true;
    }
    return more;
}

static bool limit_count(struct jq_emit *emit, struct weir_value value, const struct jq_track *track)
{
    struct limit_emit *self = (struct limit_emit *)emit;
    (void)track;
    struct weir_value zero = weir_value_number(0);
    int order;
    if (!jq_order(self->run, value, zero, &order)) {
        return false;
    }
    bool more = true;
    if (order < 0) {
        jq_fail(self->run, "limit doesn't support negative count");
        more = false;
    } else if (order > 0) {
        bool number = value.kind == WEIR_KIND_NUMBER;
        self->count = number ? (struct weir_value){0} : value;
        more = eval_limited(self, self->node->b, weir_value_double(value));
    }
    weir_release(&self->run->heap, value);
    return more;
}

bool jq_eval_limit(struct weir_jq_run *run,
                   const struct jq_node *node,
                   struct jq_frame *frame,
                   struct weir_value input,
                   const struct jq_track *track,
                   struct jq_emit *emit)
{
    struct limit_emit self = {.emit = {limit_count},
                              .run = run,
                              .node = node,
                              .frame = frame,
                              .input = input,
                              .track = track,
                              .out = emit};
    bool more = node->op == JQ_FIRST
                    ? eval_limited(&self, node->a, 1)
                    : jq_eval(run, node->a, frame, weir_retain(input), NULL, &self.emit);
    weir_release(&run->heap, input);
    return more;
}

struct keep_emit {
    struct jq_emit emit;
    struct weir_jq_run *run;
    struct weir_value value;
};

static bool keep(struct jq_emit *emit, struct weir_value value, const struct jq_track *track)
{
    struct keep_emit *self = (struct keep_emit *)emit;
    (void)track;
    weir_release(&self->run->heap, self->value);
    self->value = value;
    return true;
}

bool jq_eval_last(struct weir_jq_run *run,
                  const struct jq_node *node,
                  struct jq_frame *frame,
                  struct weir_value input,
                  const struct jq_track *track,
                  struct jq_emit *emit)
{
    struct keep_emit self = {.emit = {keep}, .run = run};
    if (!jq_eval(run, node->a, frame, input, track, &self.emit)) {
        weir_release(&run->heap, self.value);
        return false;
    }
    return weir_value_is_absent(self.value) || emit->fn(emit, self.value, track);
}

/* The first result only, without generator around it. */
struct first_emit {
    struct jq_emit emit;
    struct weir_jq_run *run;
    struct weir_value value;
    uint64_t label;
};

static bool first_keep(struct jq_emit *emit, struct weir_value value, const struct jq_track *track)
{
    struct first_emit *self = (struct first_emit *)emit;
    (void)track;
    self->value = value;
    self->run->failed = JQ_BROKEN;
    self->run->label = self->label;
    return false;
}

struct weir_value jq_first_of(struct weir_jq_run *run,
                              const struct jq_node *node,
                              struct jq_frame *frame,
                              struct weir_value input)
{
    if (node->many != JQ_MANY) {
        return jq_eval_one(run, node, frame, input);
    }
    struct first_emit self = {.emit = {first_keep}, .run = run, .label = ++run->next_label};
    if (!jq_eval(run, node, frame, input, NULL, &self.emit) && run->failed == JQ_BROKEN &&
        run->label == self.label) {
        run->failed = JQ_FINE;
    }
    return self.value;
}

/* ── range ── */

struct range_emit {
    struct jq_emit emit;
    struct weir_jq_run *run;
    const struct jq_node *node;
    struct jq_frame *frame;
    struct weir_value input; /* borrowed */
    struct weir_value from;  /* borrowed */
    const struct jq_track *track;
    struct jq_emit *out;
};

static bool range_count(struct range_emit *self, struct weir_value from, struct weir_value to)
{
    struct weir_jq_run *run = self->run;
    if (from.kind != WEIR_KIND_NUMBER || to.kind != WEIR_KIND_NUMBER) {
        jq_fail(run, "Range bounds must be numeric");
        return false;
    }
    double end = weir_value_double(to);
    double at = weir_value_double(from);
    bool more = true;
    /* The first one is given out as it was written. */
    if (!(at >= end)) {
        more = self->out->fn(self->out, weir_retain(from), self->track);
    }
    for (at += 1; more && !(at >= end); at += 1) {
        if (!jq_step(run)) {
            jq_step_failed(run);
            return false;
        }
        more = self->out->fn(self->out, weir_value_number(at), self->track);
    }
    return more;
}

static bool range_to(struct jq_emit *emit, struct weir_value value, const struct jq_track *track)
{
    struct range_emit *self = (struct range_emit *)emit;
    (void)track;
    bool more = range_count(self, self->from, value);
    weir_release(&self->run->heap, value);
    return more;
}

static bool range_from(struct jq_emit *emit, struct weir_value value, const struct jq_track *track)
{
    struct range_emit *self = (struct range_emit *)emit;
    struct range_emit inner = *self;
    (void)track;
    inner.emit.fn = range_to;
    inner.from = value;
    bool more =
        jq_eval(self->run, self->node->b, self->frame, weir_retain(self->input), NULL, &inner.emit);
    weir_release(&self->run->heap, value);
    return more;
}

bool jq_eval_range(struct weir_jq_run *run,
                   const struct jq_node *node,
                   struct jq_frame *frame,
                   struct weir_value input,
                   const struct jq_track *track,
                   struct jq_emit *emit)
{
    struct range_emit self = {
        .run = run, .node = node, .frame = frame, .input = input, .track = track, .out = emit};
    bool more;
    if (node->b == NULL) { /* range(n) */
        self.emit.fn = range_to;
        self.from = weir_value_number(0);
        more = jq_eval(run, node->a, frame, weir_retain(input), NULL, &self.emit);
    } else {
        self.emit.fn = range_from;
        more = jq_eval(run, node->a, frame, weir_retain(input), NULL, &self.emit);
    }
    weir_release(&run->heap, input);
    return more;
}
