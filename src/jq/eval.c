/* SPDX-License-Identifier: Apache-2.0
 *
 * The direct evaluator: nodes that have at most one result, which is most of what streams are
 * filtered and mapped with, are plain functions of input and frame. Nothing is set up for a second
 * result that cannot come. An absent value is "no result" when run->failed is JQ_FINE.
 *
 * Tail positions loop instead of recursing, so a function that calls itself last runs in constant
 * memory (call.c). When the C stack runs low, evaluation goes on on another one (stack.c).
 */
#include "jq/match.h"
#include "jq/run.h"

#include "base/assert.h"

struct resume {
    struct weir_jq_run *run;
    const struct jq_node *node;
    struct jq_frame *frame;
    struct weir_value input, result;
};

static void resume(void *context)
{
    struct resume *self = context;
    self->result = jq_eval_one(self->run, self->node, self->frame, self->input);
}

static struct weir_value on_fresh_stack(struct weir_jq_run *run,
                                        const struct jq_node *node,
                                        struct jq_frame *frame,
                                        struct weir_value input)
{
    struct resume context = {run, node, frame, input, {0}};
    jq_stack_call(run, resume, &context);
    return context.result;
}

/* ── access ── */

/* Walks constant keys without counting references on the way. */
static struct weir_value
walk_keys(struct weir_jq_run *run, const struct jq_node *node, struct weir_value input)
{
    struct weir_value at = input;
    for (uint32_t i = 0; i < node->slot; i++) {
        if (at.kind == WEIR_KIND_OBJECT) {
            at = weir_value_get(at, weir_value_text(node->keys[i]));
            if (at.kind == WEIR_KIND_ABSENT) {
                at = weir_value_null();
            }
        } else if (at.kind != WEIR_KIND_NULL) {
            struct weir_value failed = jq_get(run, weir_retain(at), node->keys[i]);
            weir_release(&run->heap, input);
            if (node->opt && run->failed == JQ_FAILED) {
                run->failed = JQ_FINE;
            }
            return failed;
        }
    }
    weir_retain(at);
    weir_release(&run->heap, input);
    return at;
}

static struct weir_value forgive(struct weir_jq_run *run, const struct jq_node *node)
{
    if (node->opt && run->failed == JQ_FAILED) {
        run->failed = JQ_FINE;
    }
    return (struct weir_value){0};
}

static struct weir_value access(struct weir_jq_run *run,
                                const struct jq_node *node,
                                struct weir_value target,
                                struct weir_value key)
{
    struct weir_value found = jq_get(run, target, key);
    return weir_value_is_absent(found) ? forgive(run, node) : found;
}

static struct weir_value eval_index(struct weir_jq_run *run,
                                    const struct jq_node *node,
                                    struct jq_frame *frame,
                                    struct weir_value input)
{
    struct weir_value key = jq_eval_one(run, node->b, frame, weir_retain(input));
    if (weir_value_is_absent(key)) {
        weir_release(&run->heap, input);
        return key;
    }
    struct weir_value target = jq_eval_one(run, node->a, frame, input);
    if (weir_value_is_absent(target)) {
        weir_release(&run->heap, key);
        return target;
    }
    return access(run, node, target, key);
}

static struct weir_value eval_slice(struct weir_jq_run *run,
                                    const struct jq_node *node,
                                    struct jq_frame *frame,
                                    struct weir_value input)
{
    struct weir_value from = weir_value_null(), to = weir_value_null();
    if (node->b != NULL) {
        from = jq_eval_one(run, node->b, frame, weir_retain(input));
    }
    if (node->c != NULL && !weir_value_is_absent(from)) {
        to = jq_eval_one(run, node->c, frame, weir_retain(input));
    }
    if (weir_value_is_absent(from) || weir_value_is_absent(to)) {
        weir_release(&run->heap, from);
        weir_release(&run->heap, input);
        return (struct weir_value){0};
    }
    struct weir_value target = jq_eval_one(run, node->a, frame, input);
    if (weir_value_is_absent(target)) {
        weir_release(&run->heap, from);
        weir_release(&run->heap, to);
        return target;
    }
    return access(run, node, target, jq_slice_key(run, from, to));
}

/* ── operators ── */

static struct weir_value eval_binary(struct weir_jq_run *run,
                                     const struct jq_node *node,
                                     struct jq_frame *frame,
                                     struct weir_value input)
{
    struct weir_value b;
    if (node->b->op == JQ_LITERAL) {
        b = node->b->value;
    } else {
        b = jq_eval_one(run, node->b, frame, weir_retain(input));
        if (weir_value_is_absent(b)) {
            weir_release(&run->heap, input);
            return b;
        }
    }
    struct weir_value a = jq_eval_one(run, node->a, frame, input);
    if (weir_value_is_absent(a)) {
        weir_release(&run->heap, b);
        return a;
    }
    return jq_binary(run, (enum jq_binary)node->sub, a, b);
}

/* and, or: *ret_truth of a; false: no result. */
static struct weir_value eval_logic(struct weir_jq_run *run,
                                    const struct jq_node *node,
                                    struct jq_frame *frame,
                                    struct weir_value input)
{
    struct weir_value a = jq_eval_one(run, node->a, frame, weir_retain(input));
    if (weir_value_is_absent(a)) {
        weir_release(&run->heap, input);
        return a;
    }
    bool truth = weir_value_is_true(a);
    weir_release(&run->heap, a);
    if (truth == (node->op == JQ_OR)) {
        weir_release(&run->heap, input);
        return weir_value_bool(truth);
    }
    struct weir_value b = jq_eval_one(run, node->b, frame, input);
    if (weir_value_is_absent(b)) {
        return b;
    }
    truth = weir_value_is_true(b);
    weir_release(&run->heap, b);
    return weir_value_bool(truth);
}

/* ── constructions ── */

static struct weir_value eval_object(struct weir_jq_run *run,
                                     const struct jq_node *node,
                                     struct jq_frame *frame,
                                     struct weir_value input)
{
    struct weir_value object = weir_object_new(&run->heap, node->count / 2);
    for (uint32_t i = 0; i < node->count; i += 2) {
        const struct jq_node *key_node = node->list[i];
        struct weir_value key = key_node->op == JQ_LITERAL
                                    ? key_node->value
                                    : jq_eval_one(run, key_node, frame, weir_retain(input));
        struct weir_value value = {0};
        if (!weir_value_is_absent(key)) {
            value = jq_eval_one(run, node->list[i + 1], frame, weir_retain(input));
        }
        if (!weir_value_is_absent(value) && key.kind != WEIR_KIND_STRING) {
            char room[JQ_DUMP_ROOM];
            jq_fail(run, "Cannot use %s (%s) as object key", weir_value_kind_name(key),
                    jq_dump(key, room));
            weir_release(&run->heap, value);
            value = (struct weir_value){0};
        }
        if (weir_value_is_absent(value)) {
            weir_release(&run->heap, key);
            weir_release(&run->heap, object);
            weir_release(&run->heap, input);
            return value;
        }
        if (node->distinct) {
            weir_object_add(&run->heap, object, key, value);
        } else {
            object = weir_object_set(&run->heap, object, key, value);
        }
    }
    weir_release(&run->heap, input);
    return object;
}

/* Arguments of natives and parts of strings: the last is evaluated first. */
static struct weir_value eval_arguments(struct weir_jq_run *run,
                                        const struct jq_node *node,
                                        struct jq_frame *frame,
                                        struct weir_value input)
{
    struct weir_value few[JQ_ARGUMENTS_MAX];
    struct weir_value *arguments = few;
    if (node->count > JQ_ARGUMENTS_MAX) {
        arguments = weir_heap_alloc(&run->heap, node->count * sizeof *arguments);
    }
    for (uint32_t i = node->count; i-- > 0;) {
        const struct jq_node *argument = node->list[i];
        arguments[i] = argument->op == JQ_LITERAL
                           ? argument->value
                           : jq_eval_one(run, argument, frame, weir_retain(input));
        if (weir_value_is_absent(arguments[i])) {
            while (++i < node->count) {
                weir_release(&run->heap, arguments[i]);
            }
            weir_release(&run->heap, input);
            if (arguments != few) {
                weir_heap_free(&run->heap, arguments);
            }
            return (struct weir_value){0};
        }
    }
    struct weir_value result = jq_apply(run, node, input, arguments);
    if (arguments != few) {
        weir_heap_free(&run->heap, arguments);
    }
    return result;
}

static struct weir_value eval_not(struct weir_jq_run *run, struct weir_value input)
{
    bool truth = weir_value_is_true(input);
    weir_release(&run->heap, input);
    return weir_value_bool(!truth);
}

static struct weir_value eval_format(struct weir_jq_run *run,
                                     const struct jq_node *node,
                                     struct jq_frame *frame,
                                     struct weir_value input)
{
    struct weir_value value = jq_eval_one(run, node->a, frame, input);
    return weir_value_is_absent(value) ? value : jq_format(run, value, node->text);
}

static struct weir_value eval_try(struct weir_jq_run *run,
                                  const struct jq_node *node,
                                  struct jq_frame *frame,
                                  struct weir_value input)
{
    struct weir_value value = jq_eval_one(run, node->a, frame, input);
    if (!weir_value_is_absent(value) || run->failed != JQ_FAILED) {
        return value;
    }
    run->failed = JQ_FINE;
    struct weir_value error = run->error;
    run->error = (struct weir_value){0};
    if (node->b == NULL) {
        weir_release(&run->heap, error);
        return value;
    }
    return jq_eval_one(run, node->b, frame, error);
}

static struct weir_value eval_label(struct weir_jq_run *run,
                                    const struct jq_node *node,
                                    struct jq_frame *frame,
                                    struct weir_value input)
{
    uint64_t label = ++run->next_label;
    jq_assign_slot(run, frame, node->slot, weir_value_number((double)label));
    struct weir_value value = jq_eval_one(run, node->a, frame, input);
    if (weir_value_is_absent(value) && run->failed == JQ_BROKEN && run->label == label) {
        run->failed = JQ_FINE;
    }
    return value;
}

static struct weir_value eval_break(struct weir_jq_run *run,
                                    const struct jq_node *node,
                                    struct jq_frame *frame,
                                    struct weir_value input)
{
    weir_release(&run->heap, input);
    run->label = (uint64_t)jq_frame_at(frame, node->level)->slots[node->slot].as.number;
    run->failed = JQ_BROKEN;
    return (struct weir_value){0};
}

static struct weir_value eval_sorting(struct weir_jq_run *run,
                                      const struct jq_node *node,
                                      struct jq_frame *frame,
                                      struct weir_value input)
{
    if (input.kind < WEIR_KIND_ARRAY) {
        char room[JQ_DUMP_ROOM];
        return jq_fail(run, "Cannot iterate over %s (%s)", weir_value_kind_name(input),
                       jq_dump(input, room));
    }
    struct weir_value keys = weir_array_new(&run->heap, weir_value_count(input));
    struct weir_value_iter iter;
    weir_value_iter_init(&iter, input);
    for (struct weir_value item; weir_value_iter_next(&iter, NULL, &item);) {
        /* An array of one result compares as the result does; only its message differs. */
        struct weir_value key = node->a->many == JQ_ONE && input.kind == WEIR_KIND_ARRAY
                                    ? jq_eval_one(run, node->a, frame, weir_retain(item))
                                    : jq_collect(run, node->a, frame, weir_retain(item));
        if (weir_value_is_absent(key)) {
            weir_release(&run->heap, keys);
            weir_release(&run->heap, input);
            return key;
        }
        keys = weir_array_push(&run->heap, keys, key);
    }
    return jq_sorting(run, (enum jq_sorting)node->sub, input, keys);
}

static struct weir_value eval_variable(struct weir_jq_run *run,
                                       const struct jq_node *node,
                                       struct jq_frame *frame,
                                       struct weir_value input)
{
    weir_release(&run->heap, input);
    struct weir_value value = jq_frame_at(frame, node->level)->slots[node->slot];
    if (weir_value_is_absent(value)) {
        return weir_value_null();
    }
    return weir_retain(value);
}

static struct weir_value
eval_global(struct weir_jq_run *run, const struct jq_node *node, struct weir_value input)
{
    weir_release(&run->heap, input);
    if (node->slot == JQ_GLOBAL_ANSWER) {
        return weir_value_is_absent(run->answer) ? weir_value_null() : weir_retain(run->answer);
    }
    return node->slot == JQ_GLOBAL_ENV ? jq_environment(run) : jq_record_value(run);
}

static struct weir_value capture_emit(struct weir_jq_run *run,
                                      const struct jq_node *node,
                                      struct jq_frame *frame,
                                      struct weir_value input);

/* ── everything else ── */

static struct weir_value eval_rest(struct weir_jq_run *run,
                                   const struct jq_node *node,
                                   struct jq_frame *frame,
                                   struct weir_value input)
{
    switch ((int)node->op) {
    case JQ_INDEX:
        return eval_index(run, node, frame, input);
    case JQ_SLICE:
        return eval_slice(run, node, frame, input);
    case JQ_NEGATE:
        input = jq_eval_one(run, node->a, frame, input);
        return weir_value_is_absent(input) ? input : jq_negate(run, input);
    case JQ_ARRAY:
        if (node->a == NULL) {
            weir_release(&run->heap, input);
            return weir_array_new(&run->heap, 0);
        }
        return jq_collect(run, node->a, frame, input);
    case JQ_NATIVE:
    case JQ_STRING:
        return eval_arguments(run, node, frame, input);
    case JQ_FORMAT:
        return eval_format(run, node, frame, input);
    case JQ_TRY:
        return eval_try(run, node, frame, input);
    case JQ_LABEL:
        return eval_label(run, node, frame, input);
    case JQ_BREAK:
        return eval_break(run, node, frame, input);
    case JQ_SORTING:
        return eval_sorting(run, node, frame, input);
    case JQ_GLOBAL:
        return eval_global(run, node, input);
    case JQ_ASSIGN:
    case JQ_UPDATE:
    case JQ_MODIFY:
        return jq_update_one(run, node, frame, input);
    case JQ_CALL:
        return jq_call_one(run, node, frame, input);
    case JQ_FIRST:
        return jq_first_of(run, node->a, frame, input);
    case JQ_ISEMPTY: {
        struct weir_value first = jq_first_of(run, node->a, frame, input);
        if (run->failed != JQ_FINE) {
            return first;
        }
        weir_release(&run->heap, first);
        return weir_value_bool(weir_value_is_absent(first));
    }
    case JQ_ADD:
        return jq_add_all(run, node->a, frame, input);
    case JQ_ERROR:
        return jq_fail_value(run, input);
    case JQ_GETPATH: {
        struct weir_value path = jq_eval_one(run, node->a, frame, weir_retain(input));
        if (weir_value_is_absent(path)) {
            weir_release(&run->heap, input);
            return path;
        }
        return jq_get_path(run, input, path);
    }
    default:
        return capture_emit(run, node, frame, input);
    }
}

struct weir_value jq_eval_one(struct weir_jq_run *run,
                              const struct jq_node *node,
                              struct jq_frame *frame,
                              struct weir_value input)
{
    if (__builtin_expect(jq_stack_is_low(run), 0)) {
        return on_fresh_stack(run, node, frame, input);
    }
    for (;;) {
        if (!jq_step(run)) {
            return jq_step_failed(run);
        }
        switch ((int)node->op) {
        case JQ_IDENTITY:
            return input;
        case JQ_LITERAL:
            weir_release(&run->heap, input);
            return node->value;
        case JQ_PATH:
            return walk_keys(run, node, input);
        case JQ_FIELD:
            return access(run, node, input, node->value);
        case JQ_PIPE:
            input = jq_eval_one(run, node->a, frame, input);
            if (weir_value_is_absent(input)) {
                return input;
            }
            node = node->b;
            continue;
        case JQ_BINARY:
            return eval_binary(run, node, frame, input);
        case JQ_AND:
        case JQ_OR:
            return eval_logic(run, node, frame, input);
        case JQ_NOT:
            return eval_not(run, input);
        case JQ_ALT: {
            struct weir_value a = jq_eval_one(run, node->a, frame, weir_retain(input));
            if (weir_value_is_true(a) || run->failed != JQ_FINE) {
                weir_release(&run->heap, input);
                return a;
            }
            node = node->b;
            continue;
        }
        case JQ_IF: {
            struct weir_value condition = jq_eval_one(run, node->a, frame, weir_retain(input));
            if (weir_value_is_absent(condition)) {
                weir_release(&run->heap, input);
                return condition;
            }
            bool truth = weir_value_is_true(condition);
            weir_release(&run->heap, condition);
            node = truth ? node->b : node->c;
            if (node == NULL) {
                return input;
            }
            continue;
        }
        case JQ_OBJECT:
            return eval_object(run, node, frame, input);
        case JQ_VARIABLE:
            return eval_variable(run, node, frame, input);
        case JQ_EMPTY:
            weir_release(&run->heap, input);
            return (struct weir_value){0};
        case JQ_DEFINE:
            node = node->a;
            continue;
        case JQ_BIND:
            if (jq_is_plain(node->pattern)) {
                struct weir_value bound = jq_eval_one(run, node->a, frame, weir_retain(input));
                if (weir_value_is_absent(bound)) {
                    weir_release(&run->heap, input);
                    return bound;
                }
                jq_assign_slot(run, frame, node->pattern->slot, bound);
                node = node->b;
                continue;
            }
            return capture_emit(run, node, frame, input);
        default:
            return eval_rest(run, node, frame, input);
        }
    }
}

/* ── nodes whose machinery is a generator, though they have one result ── */

struct capture {
    struct jq_emit emit;
    struct weir_jq_run *run;
    struct weir_value value;
};

static bool capture(struct jq_emit *emit, struct weir_value value, const struct jq_track *track)
{
    struct capture *self = (struct capture *)emit;
    (void)track;
    weir_release(&self->run->heap, self->value);
    self->value = value;
    return true;
}

static struct weir_value capture_emit(struct weir_jq_run *run,
                                      const struct jq_node *node,
                                      struct jq_frame *frame,
                                      struct weir_value input)
{
    struct capture self = {.emit = {capture}, .run = run};
    if (!jq_eval(run, node, frame, input, NULL, &self.emit)) {
        weir_release(&run->heap, self.value);
        return (struct weir_value){0};
    }
    return self.value;
}
