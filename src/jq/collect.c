/* SPDX-License-Identifier: Apache-2.0
 *
 * All results of a node in one value: [f] and add(f). [.[] | g] with a g of at most one result is a
 * plain loop over the elements.
 */
#include "jq/generate.h"

/* ── collecting ── */

struct collect_emit {
    struct jq_emit emit;
    struct weir_jq_run *run;
    struct weir_value array;
};

static bool
collect_item(struct jq_emit *emit, struct weir_value value, const struct jq_track *track)
{
    struct collect_emit *self = (struct collect_emit *)emit;
    (void)track;
    self->array = weir_array_push(&self->run->heap, self->array, value);
    return true;
}

/* [.[] | f] where f has at most one result. */
static struct weir_value collect_mapped(struct weir_jq_run *run,
                                        const struct jq_node *f,
                                        struct jq_frame *frame,
                                        struct weir_value input)
{
    struct weir_value array = weir_array_new(&run->heap, weir_value_count(input));
    struct weir_value_iter iter;
    weir_value_iter_init(&iter, input);
    for (struct weir_value item; weir_value_iter_next(&iter, NULL, &item);) {
        struct weir_value value =
            f == NULL ? weir_retain(item) : jq_eval_one(run, f, frame, weir_retain(item));
        if (!weir_value_is_absent(value)) {
            array = weir_array_push(&run->heap, array, value);
        } else if (run->failed != JQ_FINE) {
            weir_release(&run->heap, array);
            weir_release(&run->heap, input);
            return value;
        }
    }
    weir_release(&run->heap, input);
    return array;
}

struct weir_value jq_collect(struct weir_jq_run *run,
                             const struct jq_node *node,
                             struct jq_frame *frame,
                             struct weir_value input)
{
    if (node->many != JQ_MANY) {
        struct weir_value value = jq_eval_one(run, node, frame, input);
        if (weir_value_is_absent(value) && run->failed != JQ_FINE) {
            return value;
        }
        struct weir_value array = weir_array_new(&run->heap, 1);
        return weir_value_is_absent(value) ? array : weir_array_push(&run->heap, array, value);
    }
    if (input.kind >= WEIR_KIND_ARRAY) {
        if (node->op == JQ_EACH) {
            return collect_mapped(run, NULL, frame, input);
        }
        if (node->op == JQ_PIPE && node->a->op == JQ_EACH && node->b->many != JQ_MANY) {
            return collect_mapped(run, node->b, frame, input);
        }
    }
    struct collect_emit self = {
        .emit = {collect_item}, .run = run, .array = weir_array_new(&run->heap, 4)};
    if (!jq_eval(run, node, frame, input, NULL, &self.emit)) {
        weir_release(&run->heap, self.array);
        return (struct weir_value){0};
    }
    return self.array;
}

struct add_emit {
    struct jq_emit emit;
    struct weir_jq_run *run;
    struct weir_value sum;
};

static bool add_item(struct jq_emit *emit, struct weir_value value, const struct jq_track *track)
{
    struct add_emit *self = (struct add_emit *)emit;
    (void)track;
    self->sum = jq_binary(self->run, JQ_PLUS, self->sum, value);
    return !weir_value_is_absent(self->sum);
}

struct weir_value jq_add_all(struct weir_jq_run *run,
                             const struct jq_node *node,
                             struct jq_frame *frame,
                             struct weir_value input)
{
    struct add_emit self = {.emit = {add_item}, .run = run, .sum = weir_value_null()};
    if (!jq_eval(run, node, frame, input, NULL, &self.emit)) {
        weir_release(&run->heap, self.sum);
        return (struct weir_value){0};
    }
    return self.sum;
}
