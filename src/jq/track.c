/* SPDX-License-Identifier: Apache-2.0
 *
 * Access with any number of results, and path tracking.
 *
 * Under path(…) each value comes with a track: the path, and the value found there. A node that is
 * no path leaves the track alone and changes the value; the next access then sees that the two are
 * not the same any more and fails, as in jq. Same means identical, not equal: null, true and false
 * are always identical to themselves, which is why path(null) of null is [].
 */
#include "jq/generate.h"

#include "base/assert.h"

/* ── tracks ── */

static bool intact_for_access(struct weir_jq_run *run,
                              const struct jq_track *track,
                              struct weir_value target,
                              struct weir_value key)
{
    if (track == NULL || jq_identical(target, track->at)) {
        return true;
    }
    char key_room[JQ_DUMP_ROOM], target_room[JQ_DUMP_ROOM];
    jq_fail(run, "Invalid path expression near attempt to access element %s of %s",
            jq_dump(key, key_room), jq_dump(target, target_room));
    return false;
}

static bool intact_for_iteration(struct weir_jq_run *run,
                                 const struct jq_track *track,
                                 struct weir_value target)
{
    if (track == NULL || jq_identical(target, track->at)) {
        return true;
    }
    char room[JQ_DUMP_ROOM];
    jq_fail(run, "Invalid path expression near attempt to iterate through %s",
            jq_dump(target, room));
    return false;
}

static struct jq_track track_step(struct weir_jq_run *run,
                                  const struct jq_track *track,
                                  struct weir_value key,
                                  struct weir_value at)
{
    return (struct jq_track){
        .path = weir_array_push(&run->heap, weir_retain(track->path), key),
        .at = weir_retain(at),
    };
}

static void track_done(struct weir_jq_run *run, struct jq_track *track)
{
    weir_release(&run->heap, track->path);
    weir_release(&run->heap, track->at);
}

/* ── access ── */

/* Looks the key up and emits what is there. Consumes target and key. */
static bool emit_access(struct weir_jq_run *run,
                        const struct jq_node *node,
                        struct weir_value target,
                        struct weir_value key,
                        const struct jq_track *track,
                        struct jq_emit *emit)
{
    if (!intact_for_access(run, track, target, key)) {
        weir_release(&run->heap, target);
        weir_release(&run->heap, key);
        return false;
    }
    struct weir_value found = jq_get(run, target, weir_retain(key));
    if (weir_value_is_absent(found)) {
        weir_release(&run->heap, key);
        if (node->opt && run->failed == JQ_FAILED) {
            run->failed = JQ_FINE;
            return true;
        }
        return false;
    }
    if (track == NULL) {
        weir_release(&run->heap, key);
        return emit->fn(emit, found, NULL);
    }
    struct jq_track here = track_step(run, track, key, found);
    bool more = emit->fn(emit, found, &here);
    track_done(run, &here);
    return more;
}

/* a[b] and a[b:c]: for each key, for each target. */
struct index_emit {
    struct jq_emit emit;
    struct weir_jq_run *run;
    const struct jq_node *node;
    struct jq_frame *frame;
    struct weir_value input; /* borrowed */
    struct weir_value from, key;
    const struct jq_track *track;
    struct jq_emit *out;
};

static bool
index_target(struct jq_emit *emit, struct weir_value value, const struct jq_track *track)
{
    struct index_emit *self = (struct index_emit *)emit;
    return emit_access(self->run, self->node, value, weir_retain(self->key), track, self->out);
}

static bool index_key(struct jq_emit *emit, struct weir_value value, const struct jq_track *track)
{
    struct index_emit *self = (struct index_emit *)emit;
    struct index_emit inner = *self;
    (void)track;
    inner.emit.fn = index_target;
    inner.key = value;
    bool more = jq_eval(self->run, self->node->a, self->frame, weir_retain(self->input),
                        self->track, &inner.emit);
    weir_release(&self->run->heap, value);
    return more;
}

static bool slice_to(struct jq_emit *emit, struct weir_value value, const struct jq_track *track)
{
    struct index_emit *self = (struct index_emit *)emit;
    struct weir_value key = jq_slice_key(self->run, weir_retain(self->from), value);
    return index_key(emit, key, track);
}

static bool slice_from(struct jq_emit *emit, struct weir_value value, const struct jq_track *track)
{
    struct index_emit *self = (struct index_emit *)emit;
    struct index_emit inner = *self;
    inner.emit.fn = slice_to;
    inner.from = value;
    bool more;
    if (self->node->c == NULL) {
        more = slice_to(&inner.emit, weir_value_null(), track);
    } else {
        more = jq_eval(self->run, self->node->c, self->frame, weir_retain(self->input), NULL,
                       &inner.emit);
    }
    weir_release(&self->run->heap, value);
    return more;
}

bool jq_eval_index(struct weir_jq_run *run,
                   const struct jq_node *node,
                   struct jq_frame *frame,
                   struct weir_value input,
                   const struct jq_track *track,
                   struct jq_emit *emit)
{
    struct index_emit self = {
        .run = run, .node = node, .frame = frame, .input = input, .track = track, .out = emit};
    self.emit.fn = node->op == JQ_INDEX ? index_key : slice_from;
    bool more;
    if (node->b == NULL) {
        more = slice_from(&self.emit, weir_value_null(), NULL);
    } else {
        more = jq_eval(run, node->b, frame, weir_retain(input), NULL, &self.emit);
    }
    weir_release(&run->heap, input);
    return more;
}

bool jq_eval_keys(struct weir_jq_run *run,
                  const struct jq_node *node,
                  struct jq_frame *frame,
                  struct weir_value input,
                  const struct jq_track *track,
                  struct jq_emit *emit)
{
    (void)frame;
    struct jq_track here = {weir_retain(track->path), weir_retain(track->at)};
    struct weir_value value = input;
    bool more = true;
    for (uint32_t i = 0; i < node->slot; i++) {
        if (!intact_for_access(run, &here, value, node->keys[i])) {
            weir_release(&run->heap, value);
            value = (struct weir_value){0};
            more = false;
            break;
        }
        value = jq_get(run, value, node->keys[i]);
        if (weir_value_is_absent(value)) {
            more = node->opt && run->failed == JQ_FAILED;
            run->failed = more ? JQ_FINE : run->failed;
            break;
        }
        here.path = weir_array_push(&run->heap, here.path, node->keys[i]);
        weir_release(&run->heap, here.at);
        here.at = weir_retain(value);
    }
    if (!weir_value_is_absent(value)) {
        more = emit->fn(emit, value, &here);
    }
    track_done(run, &here);
    return more;
}

bool jq_eval_each(struct weir_jq_run *run,
                  const struct jq_node *node,
                  struct jq_frame *frame,
                  struct weir_value input,
                  const struct jq_track *track,
                  struct jq_emit *emit)
{
    (void)frame;
    if (!intact_for_iteration(run, track, input)) {
        return false;
    }
    if (input.kind < WEIR_KIND_ARRAY) {
        char room[JQ_DUMP_ROOM];
        if (!node->opt) {
            jq_fail(run, "Cannot iterate over %s (%s)", weir_value_kind_name(input),
                    jq_dump(input, room));
        }
        weir_release(&run->heap, input);
        return node->opt;
    }
    struct weir_value_iter iter;
    weir_value_iter_init(&iter, input);
    struct weir_value key, value;
    bool more = true;
    for (double index = 0; more && weir_value_iter_next(&iter, &key, &value); index++) {
        if (!jq_step(run)) {
            jq_step_failed(run);
            more = false;
        } else if (track == NULL) {
            more = emit->fn(emit, weir_retain(value), NULL);
        } else {
            struct jq_track here = track_step(
                run, track,
                input.kind == WEIR_KIND_ARRAY ? weir_value_number(index) : weir_retain(key), value);
            more = emit->fn(emit, weir_retain(value), &here);
            track_done(run, &here);
        }
    }
    weir_release(&run->heap, input);
    return more;
}

/* `..`: the value, then what lies in it. */
struct recurse_emit {
    struct jq_emit emit;
    struct weir_jq_run *run;
    const struct jq_node *node;
    struct jq_emit *out;
};

static bool
recurse_child(struct jq_emit *emit, struct weir_value value, const struct jq_track *track)
{
    struct recurse_emit *self = (struct recurse_emit *)emit;
    return jq_eval(self->run, self->node, NULL, value, track, self->out);
}

bool jq_eval_recurse(struct weir_jq_run *run,
                     const struct jq_node *node,
                     struct jq_frame *frame,
                     struct weir_value input,
                     const struct jq_track *track,
                     struct jq_emit *emit)
{
    if (input.kind < WEIR_KIND_ARRAY) {
        return emit->fn(emit, input, track);
    }
    if (!emit->fn(emit, weir_retain(input), track)) {
        weir_release(&run->heap, input);
        return false;
    }
    struct recurse_emit self = {{recurse_child}, run, node, emit};
    return jq_eval_each(run, node, frame, input, track, &self.emit);
}

/* ── path and getpath ── */

struct path_emit {
    struct jq_emit emit;
    struct weir_jq_run *run;
    const struct jq_track *track; /* of the node path(…) itself */
    struct jq_emit *out;
};

static bool path_result(struct jq_emit *emit, struct weir_value value, const struct jq_track *track)
{
    struct path_emit *self = (struct path_emit *)emit;
    WEIR_ASSERT(track != NULL);
    if (!jq_identical(value, track->at)) {
        char room[JQ_DUMP_ROOM];
        jq_fail(self->run, "Invalid path expression with result %s", jq_dump(value, room));
        weir_release(&self->run->heap, value);
        return false;
    }
    weir_release(&self->run->heap, value);
    return self->out->fn(self->out, weir_retain(track->path), self->track);
}

bool jq_eval_paths(struct weir_jq_run *run,
                   const struct jq_node *node,
                   struct jq_frame *frame,
                   struct weir_value input,
                   const struct jq_track *track,
                   struct jq_emit *emit)
{
    struct path_emit self = {{path_result}, run, track, emit};
    struct jq_track root = {weir_array_new(&run->heap, 0), weir_retain(input)};
    bool more = jq_eval(run, node, frame, input, &root, &self.emit);
    track_done(run, &root);
    return more;
}

struct getpath_emit {
    struct jq_emit emit;
    struct weir_jq_run *run;
    struct weir_value input; /* borrowed */
    const struct jq_track *track;
    struct jq_emit *out;
};

static bool getpath_at(struct jq_emit *emit, struct weir_value path, const struct jq_track *track)
{
    struct getpath_emit *self = (struct getpath_emit *)emit;
    struct weir_jq_run *run = self->run;
    (void)track;
    struct weir_value found = jq_get_path(run, weir_retain(self->input), weir_retain(path));
    if (weir_value_is_absent(found)) {
        weir_release(&run->heap, path);
        return false;
    }
    if (self->track == NULL || !jq_identical(self->input, self->track->at)) {
        weir_release(&run->heap, path);
        return self->out->fn(self->out, found, self->track);
    }
    struct jq_track here = {jq_binary(run, JQ_PLUS, weir_retain(self->track->path), path),
                            weir_retain(found)};
    bool more = self->out->fn(self->out, found, &here);
    track_done(run, &here);
    return more;
}

bool jq_eval_getpath(struct weir_jq_run *run,
                     const struct jq_node *node,
                     struct jq_frame *frame,
                     struct weir_value input,
                     const struct jq_track *track,
                     struct jq_emit *emit)
{
    struct getpath_emit self = {{getpath_at}, run, input, track, emit};
    bool more = jq_eval(run, node->a, frame, weir_retain(input), NULL, &self.emit);
    weir_release(&run->heap, input);
    return more;
}

bool jq_eval_field(struct weir_jq_run *run,
                   const struct jq_node *node,
                   struct jq_frame *frame,
                   struct weir_value input,
                   const struct jq_track *track,
                   struct jq_emit *emit)
{
    (void)frame;
    return emit_access(run, node, input, weir_retain(node->value), track, emit);
}
