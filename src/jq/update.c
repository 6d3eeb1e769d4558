/* SPDX-License-Identifier: Apache-2.0
 *
 * Assignments. The paths of the left side are gathered first; then the value they were found in has
 * no other owner and is changed in place, one path after the other. A path whose new value is
 * missing (`|= empty`) is deleted at the end, all of them together.
 */
#include "jq/match.h"

struct gather_emit {
    struct jq_emit emit;
    struct weir_jq_run *run;
    struct weir_value paths;
};

static bool gather(struct jq_emit *emit, struct weir_value path, const struct jq_track *track)
{
    struct gather_emit *self = (struct gather_emit *)emit;
    (void)track;
    self->paths = weir_array_push(&self->run->heap, self->paths, path);
    return true;
}

/* The paths of the node, borrowed input: all of them, or those before a failure (run->failed). */
static struct weir_value gather_paths(struct weir_jq_run *run,
                                      const struct jq_node *node,
                                      struct jq_frame *frame,
                                      struct weir_value input)
{
    struct gather_emit self = {
        .emit = {gather}, .run = run, .paths = weir_array_new(&run->heap, 2)};
    jq_eval_paths(run, node, frame, weir_retain(input), NULL, &self.emit);
    return self.paths;
}

/* What the right side makes of one old value. */
struct change {
    const struct jq_node *node;
    struct jq_frame *frame;
    struct weir_value operand; /* of = and op=; borrowed */
};

static struct weir_value
new_value(struct weir_jq_run *run, const struct change *change, struct weir_value old)
{
    const struct jq_node *node = change->node;
    if (node->op == JQ_ASSIGN) {
        weir_release(&run->heap, old);
        return weir_retain(change->operand);
    }
    if (node->op == JQ_UPDATE) {
        return jq_first_of(run, node->b, change->frame, old);
    }
    if (node->sub == JQ_ALTERNATIVE) {
        if (weir_value_is_true(old)) {
            return old;
        }
        weir_release(&run->heap, old);
        return weir_retain(change->operand);
    }
    return jq_binary(run, (enum jq_binary)node->sub, old, weir_retain(change->operand));
}

/* True if the path ends in a member or an element. A slice is a value of its own, and its place
 * takes no null. */
static bool ends_in_slot(struct weir_value path)
{
    size_t count = weir_value_count(path);
    enum weir_kind last =
        count == 0 ? WEIR_KIND_ABSENT : weir_value_kind(weir_value_at(path, count - 1));
    return last == WEIR_KIND_STRING || last == WEIR_KIND_NUMBER;
}

/* Takes the value at the path out of the root, leaving null, so that it has one owner. */
static struct weir_value
take_at(struct weir_jq_run *run, struct weir_value *root, struct weir_value path)
{
    struct weir_value old = jq_get_path(run, weir_retain(*root), weir_retain(path));
    if (weir_value_is_absent(old) || !weir_is_counted(old) || old.kind < WEIR_KIND_STRING ||
        !weir_is_owned(*root) || !ends_in_slot(path)) {
        return old;
    }
    *root = jq_set_path(run, *root, weir_retain(path), weir_value_null());
    if (weir_value_is_absent(*root)) {
        weir_release(&run->heap, old);
        return *root;
    }
    return old;
}

/* Applies the change at all paths (borrowed). Consumes the root. */
static struct weir_value apply_change(struct weir_jq_run *run,
                                      const struct change *change,
                                      struct weir_value root,
                                      struct weir_value paths)
{
    struct weir_value deleted = {0};
    struct weir_value_iter iter;
    weir_value_iter_init(&iter, paths);
    for (struct weir_value path; weir_value_iter_next(&iter, NULL, &path);) {
        struct weir_value old = weir_value_null();
        if (change->node->op != JQ_ASSIGN) {
            old = take_at(run, &root, path);
            if (weir_value_is_absent(old)) {
                return old;
            }
        }
        struct weir_value made = new_value(run, change, old);
        if (!weir_value_is_absent(made)) {
            root = jq_set_path(run, root, weir_retain(path), made);
            if (weir_value_is_absent(root)) {
                return root;
            }
        } else if (run->failed != JQ_FINE) {
            weir_release(&run->heap, root);
            return made;
        } else {
            if (weir_value_is_absent(deleted)) {
                deleted = weir_array_new(&run->heap, 4);
            }
            deleted = weir_array_push(&run->heap, deleted, weir_retain(path));
        }
    }
    return weir_value_is_absent(deleted) ? root : jq_delete_paths(run, root, deleted);
}

/* The change at all paths of the left side; consumes the input. jq takes one path after the other,
 * so when a path fails, a change before it may fail first, and that is the failure to report. */
static struct weir_value
change_paths(struct weir_jq_run *run, const struct change *change, struct weir_value input)
{
    struct weir_value paths = gather_paths(run, change->node->a, change->frame, input);
    enum jq_failure failed = run->failed;
    struct weir_value error = run->error;
    uint64_t label = run->label;
    if (failed == JQ_FAILED || failed == JQ_BROKEN) {
        run->failed = JQ_FINE;
        run->error = (struct weir_value){0};
        input = apply_change(run, change, input, paths);
        if (!weir_value_is_absent(input)) {
            weir_release(&run->heap, input);
            run->failed = failed;
            run->error = error;
            run->label = label;
        } else {
            weir_release(&run->heap, error);
        }
        input = (struct weir_value){0};
    } else if (failed != JQ_FINE) {
        weir_release(&run->heap, input);
        input = (struct weir_value){0};
    } else {
        input = apply_change(run, change, input, paths);
    }
    weir_release(&run->heap, paths);
    return input;
}

/* ── step by step ── */

static struct weir_value change_along(struct weir_jq_run *run,
                                      const struct change *change,
                                      struct weir_value root,
                                      const struct jq_node *path);

/* Changes what lies at keys[0 … count), then at the rest of the path. */
static struct weir_value change_keys(struct weir_jq_run *run,
                                     const struct change *change,
                                     struct weir_value root,
                                     const struct weir_value *keys,
                                     size_t count,
                                     const struct jq_node *rest)
{
    if (count == 0) {
        return change_along(run, change, root, rest);
    }
    if (root.kind != WEIR_KIND_OBJECT && root.kind != WEIR_KIND_NULL) {
        return jq_get(run, root, keys[0]); /* fails */
    }
    struct weir_value *slot = NULL;
    struct weir_value child = weir_value_null();
    if (root.kind == WEIR_KIND_NULL) {
        root = weir_object_new(&run->heap, 1);
    } else {
        root = weir_object_own(&run->heap, root);
        slot = weir_object_slot(root, weir_value_text(keys[0]));
    }
    if (slot != NULL) {
        child = *slot;
        *slot = weir_value_null();
    }
    child = change_keys(run, change, child, keys + 1, count - 1, rest);
    if (weir_value_is_absent(child)) {
        weir_release(&run->heap, root);
        return child;
    }
    if (slot != NULL) {
        *slot = child;
        return root;
    }
    return weir_object_set(&run->heap, root, keys[0], child);
}

static struct weir_value change_each(struct weir_jq_run *run,
                                     const struct change *change,
                                     struct weir_value root,
                                     const struct jq_node *rest)
{
    if (root.kind < WEIR_KIND_ARRAY) {
        char room[JQ_DUMP_ROOM];
        return jq_fail(run, "Cannot iterate over %s (%s)", weir_value_kind_name(root),
                       jq_dump(root, room));
    }
    bool array = root.kind == WEIR_KIND_ARRAY;
    root = array ? weir_array_own(&run->heap, root, weir_value_count(root))
                 : weir_object_own(&run->heap, root);
    struct weir_object *object = (struct weir_object *)(uintptr_t)root.as.container;
    uint32_t size = array ? weir_array_of(root)->size : object->size;
    for (uint32_t i = 0; i < size; i++) {
        struct weir_value *slot =
            array ? &weir_array_mut(root)->items[i] : &object->members[i].value;
        if (!array && weir_value_is_absent(object->members[i].key)) {
            continue;
        }
        struct weir_value item = *slot;
        *slot = weir_value_null();
        item = change_along(run, change, item, rest);
        if (weir_value_is_absent(item)) {
            weir_release(&run->heap, root);
            return item;
        }
        *slot = item;
    }
    return root;
}

/* path == NULL: here. */
static struct weir_value change_along(struct weir_jq_run *run,
                                      const struct change *change,
                                      struct weir_value root,
                                      const struct jq_node *path)
{
    if (!jq_step(run)) {
        return jq_step_failed(run);
    }
    if (path == NULL) {
        return new_value(run, change, root);
    }
    const struct jq_node *step = path, *rest = NULL;
    if (path->op == JQ_PIPE) {
        step = path->a;
        rest = path->b;
    }
    if (step->op == JQ_EACH) {
        return change_each(run, change, root, rest);
    }
    return step->op == JQ_PATH ? change_keys(run, change, root, step->keys, step->slot, rest)
                               : change_keys(run, change, root, &step->value, 1, rest);
}

struct weir_value jq_update_one(struct weir_jq_run *run,
                                const struct jq_node *node,
                                struct jq_frame *frame,
                                struct weir_value input)
{
    struct change change = {node, frame, {0}};
    if (node->op != JQ_UPDATE) {
        change.operand = jq_eval_one(run, node->b, frame, weir_retain(input));
        if (weir_value_is_absent(change.operand)) {
            weir_release(&run->heap, input);
            return change.operand;
        }
    }
    /* One that may yield nothing deletes, and that is done behind all others. */
    if (node->stepwise && (node->op != JQ_UPDATE || node->b->many == JQ_ONE)) {
        input = change_along(run, &change, input, node->a);
        weir_release(&run->heap, change.operand);
        return input;
    }
    input = change_paths(run, &change, input);
    weir_release(&run->heap, change.operand);
    return input;
}

struct update_emit {
    struct jq_emit emit;
    struct weir_jq_run *run;
    const struct jq_node *node;
    struct jq_frame *frame;
    struct weir_value input; /* borrowed */
    struct jq_emit *out;
};

static bool
update_operand(struct jq_emit *emit, struct weir_value value, const struct jq_track *track)
{
    struct update_emit *self = (struct update_emit *)emit;
    struct weir_jq_run *run = self->run;
    (void)track;
    struct change change = {self->node, self->frame, value};
    struct weir_value root = change_paths(run, &change, weir_retain(self->input));
    weir_release(&run->heap, value);
    return !weir_value_is_absent(root) && self->out->fn(self->out, root, NULL);
}

bool jq_update(struct weir_jq_run *run,
               const struct jq_node *node,
               struct jq_frame *frame,
               struct weir_value input,
               struct jq_emit *emit)
{
    struct update_emit self = {{update_operand}, run, node, frame, input, emit};
    bool more = jq_eval(run, node->b, frame, weir_retain(input), NULL, &self.emit);
    weir_release(&run->heap, input);
    return more;
}
