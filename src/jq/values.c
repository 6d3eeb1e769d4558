/* SPDX-License-Identifier: Apache-2.0
 *
 * Nodes that make values, with several results: operators, conditions, constructions. The right
 * operand varies slowest, as in jq.
 */
#include "jq/generate.h"

#include "base/assert.h"

struct if_emit {
    struct jq_emit emit;
    struct weir_jq_run *run;
    const struct jq_node *node;
    struct jq_frame *frame;
    struct weir_value input; /* borrowed */
    const struct jq_track *track;
    struct jq_emit *out;
};

static bool if_branch(struct jq_emit *emit, struct weir_value value, const struct jq_track *track)
{
    struct if_emit *self = (struct if_emit *)emit;
    (void)track;
    const struct jq_node *branch = weir_value_is_true(value) ? self->node->b : self->node->c;
    weir_release(&self->run->heap, value);
    struct weir_value input = weir_retain(self->input);
    if (branch == NULL) {
        return self->out->fn(self->out, input, self->track);
    }
    return jq_eval(self->run, branch, self->frame, input, self->track, self->out);
}

/* and, or with several results: a outside, b inside. */
static bool logic_right(struct jq_emit *emit, struct weir_value value, const struct jq_track *track)
{
    struct if_emit *self = (struct if_emit *)emit;
    (void)track;
    bool truth = weir_value_is_true(value);
    weir_release(&self->run->heap, value);
    return self->out->fn(self->out, weir_value_bool(truth), self->track);
}

static bool logic_left(struct jq_emit *emit, struct weir_value value, const struct jq_track *track)
{
    struct if_emit *self = (struct if_emit *)emit;
    bool truth = weir_value_is_true(value);
    if (truth == (self->node->op == JQ_OR)) {
        return logic_right(emit, value, track);
    }
    weir_release(&self->run->heap, value);
    struct if_emit inner = *self;
    inner.emit.fn = logic_right;
    return jq_eval(self->run, self->node->b, self->frame, weir_retain(self->input), NULL,
                   &inner.emit);
}

bool jq_eval_condition(struct weir_jq_run *run,
                       const struct jq_node *node,
                       struct jq_frame *frame,
                       struct weir_value input,
                       const struct jq_track *track,
                       struct jq_emit *emit)
{
    struct if_emit self = {
        .run = run, .node = node, .frame = frame, .input = input, .track = track, .out = emit};
    self.emit.fn = node->op == JQ_IF ? if_branch : logic_left;
    bool more = jq_eval(run, node->a, frame, weir_retain(input), NULL, &self.emit);
    weir_release(&run->heap, input);
    return more;
}

struct binary_emit {
    struct jq_emit emit;
    struct weir_jq_run *run;
    const struct jq_node *node;
    struct jq_frame *frame;
    struct weir_value input; /* borrowed */
    struct weir_value right; /* borrowed */
    struct jq_emit *out;
};

static bool binary_left(struct jq_emit *emit, struct weir_value value, const struct jq_track *track)
{
    struct binary_emit *self = (struct binary_emit *)emit;
    (void)track;
    struct weir_value result =
        jq_binary(self->run, (enum jq_binary)self->node->sub, value, weir_retain(self->right));
    return !weir_value_is_absent(result) && self->out->fn(self->out, result, NULL);
}

static bool
binary_right(struct jq_emit *emit, struct weir_value value, const struct jq_track *track)
{
    struct binary_emit *self = (struct binary_emit *)emit;
    struct binary_emit inner = *self;
    (void)track;
    inner.emit.fn = binary_left;
    inner.right = value;
    bool more =
        jq_eval(self->run, self->node->a, self->frame, weir_retain(self->input), NULL, &inner.emit);
    weir_release(&self->run->heap, value);
    return more;
}

/* One value made into another: negate, format, not. */
struct unary_emit {
    struct jq_emit emit;
    struct weir_jq_run *run;
    const struct jq_node *node;
    struct jq_emit *out;
};

static bool
unary_result(struct jq_emit *emit, struct weir_value value, const struct jq_track *track)
{
    struct unary_emit *self = (struct unary_emit *)emit;
    (void)track;
    struct weir_value result = self->node->op == JQ_NEGATE
                                   ? jq_negate(self->run, value)
                                   : jq_format(self->run, value, self->node->text);
    return !weir_value_is_absent(result) && self->out->fn(self->out, result, NULL);
}

bool jq_eval_values(struct weir_jq_run *run,
                    const struct jq_node *node,
                    struct jq_frame *frame,
                    struct weir_value input,
                    struct jq_emit *emit)
{
    switch ((int)node->op) {
    case JQ_BINARY: {
        struct binary_emit self = {.emit = {binary_right},
                                   .run = run,
                                   .node = node,
                                   .frame = frame,
                                   .input = input,
                                   .out = emit};
        bool more = jq_eval(run, node->b, frame, weir_retain(input), NULL, &self.emit);
        weir_release(&run->heap, input);
        return more;
    }
    case JQ_NEGATE:
    case JQ_FORMAT: {
        struct unary_emit self = {{unary_result}, run, node, emit};
        return jq_eval(run, node->a, frame, input, NULL, &self.emit);
    }
    case JQ_AND:
    case JQ_OR:
        return jq_eval_condition(run, node, frame, input, NULL, emit);
    case JQ_OBJECT:
        return jq_object_many(run, node, frame, input, emit);
    case JQ_NATIVE:
    case JQ_STRING:
        return jq_arguments_many(run, node, frame, input, emit);
    case JQ_ASSIGN:
    case JQ_UPDATE:
    case JQ_MODIFY:
        return jq_update(run, node, frame, input, emit);
    case JQ_RANGE:
        return jq_eval_range(run, node, frame, input, NULL, emit);
    case JQ_PATHS_OF:
        return jq_eval_paths(run, node->a, frame, input, NULL, emit);
    default:
        WEIR_UNREACHABLE();
    }
}
