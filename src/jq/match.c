/* SPDX-License-Identifier: Apache-2.0
 *
 * Patterns, `as`, reduce and foreach. Binding goes on into a continuation, because a key in an
 * object pattern may have several results: each binds the rest of the pattern anew.
 *
 * With several alternatives (?//) all variables of all of them start as null, and any failure
 * behind the binding, in the body too, tries the next alternative; the last one's failure stands.
 */
#include "jq/match.h"

#include "base/assert.h"

static bool match_entries(struct weir_jq_run *run,
                          struct jq_frame *frame,
                          const struct jq_pattern *pattern,
                          struct weir_value value,
                          uint32_t index,
                          struct jq_next *next);

/* One pattern. Consumes the value. */
static bool match_one(struct weir_jq_run *run,
                      struct jq_frame *frame,
                      const struct jq_pattern *pattern,
                      struct weir_value value,
                      struct jq_next *next)
{
    if (pattern->kind == JQ_PATTERN_VARIABLE) {
        jq_assign_slot(run, frame, pattern->slot, value);
        return next->fn(next);
    }
    bool more = match_entries(run, frame, pattern, value, 0, next);
    weir_release(&run->heap, value);
    return more;
}

struct match_rest {
    struct jq_next next;
    struct weir_jq_run *run;
    struct jq_frame *frame;
    const struct jq_pattern *pattern;
    struct weir_value value; /* borrowed */
    uint32_t index;
    struct jq_next *outer;
};

static bool match_rest(struct jq_next *next)
{
    struct match_rest *self = (struct match_rest *)next;
    return match_entries(self->run, self->frame, self->pattern, self->value, self->index,
                         self->outer);
}

/* Binds entry `index` to the member at the key (consumed), then the others. */
static bool match_member(struct weir_jq_run *run,
                         struct jq_frame *frame,
                         const struct jq_pattern *pattern,
                         struct weir_value value,
                         uint32_t index,
                         struct weir_value key,
                         struct jq_next *next)
{
    const struct jq_pattern_entry *entry = &pattern->entries[index];
    struct weir_value member = jq_get(run, weir_retain(value), key);
    if (weir_value_is_absent(member)) {
        return false;
    }
    if (entry->name.data != NULL) {
        jq_assign_slot(run, frame, entry->slot, weir_retain(member));
    }
    if (entry->pattern == NULL) {
        weir_release(&run->heap, member);
        return match_entries(run, frame, pattern, value, index + 1, next);
    }
    struct match_rest rest = {{match_rest}, run, frame, pattern, value, index + 1, next};
    return match_one(run, frame, entry->pattern, member, &rest.next);
}

struct key_emit {
    struct jq_emit emit;
    struct match_rest at;
};

static bool match_key(struct jq_emit *emit, struct weir_value key, const struct jq_track *track)
{
    struct match_rest *at = &((struct key_emit *)emit)->at;
    (void)track;
    if (key.kind != WEIR_KIND_STRING) {
        char room[JQ_DUMP_ROOM];
        jq_fail(at->run, "Cannot index %s with %s (%s)", weir_value_kind_name(at->value),
                weir_value_kind_name(key), jq_dump(key, room));
        return false;
    }
    return match_member(at->run, at->frame, at->pattern, at->value, at->index, key, at->outer);
}

static bool match_entries(struct weir_jq_run *run,
                          struct jq_frame *frame,
                          const struct jq_pattern *pattern,
                          struct weir_value value,
                          uint32_t index,
                          struct jq_next *next)
{
    if (index == pattern->count) {
        return next->fn(next);
    }
    const struct jq_node *key = pattern->entries[index].key;
    if (key == NULL) {
        uint32_t place = pattern->count - 1 - index;
        return match_member(run, frame, pattern, value, index, weir_value_number(place), next);
    }
    if (key->op == JQ_LITERAL) {
        return match_member(run, frame, pattern, value, index, key->value, next);
    }
    struct key_emit self = {{match_key}, {{NULL}, run, frame, pattern, value, index, next}};
    return jq_eval(run, key, frame, weir_retain(value), NULL, &self.emit);
}

bool jq_match(struct weir_jq_run *run,
              struct jq_frame *frame,
              const struct jq_pattern *pattern,
              struct weir_value value,
              struct jq_next *next)
{
    if (pattern->next == NULL) {
        return match_one(run, frame, pattern, value, next);
    }
    const struct jq_pattern *first = pattern;
    for (;; pattern = pattern->next) {
        for (uint32_t i = 0; i < first->all_count; i++) {
            jq_assign_slot(run, frame, first->all_slots[i], weir_value_null());
        }
        bool more = match_one(run, frame, pattern, weir_retain(value), next);
        if (more || run->failed != JQ_FAILED || pattern->next == NULL) {
            weir_release(&run->heap, value);
            return more;
        }
        run->failed = JQ_FINE;
        weir_release(&run->heap, run->error);
        run->error = (struct weir_value){0};
    }
}

/* ── as ── */

struct bind_emit {
    struct jq_emit emit;
    struct jq_next next;
    struct weir_jq_run *run;
    const struct jq_node *node;
    struct jq_frame *frame;
    struct weir_value input; /* borrowed */
    const struct jq_track *track;
    struct jq_emit *out;
};

static bool bind_body(struct jq_next *next)
{
    struct bind_emit *self =
        (struct bind_emit *)(void *)((char *)next - offsetof(struct bind_emit, next));
    return jq_eval(self->run, self->node->b, self->frame, weir_retain(self->input), self->track,
                   self->out);
}

static bool bind_value(struct jq_emit *emit, struct weir_value value, const struct jq_track *track)
{
    struct bind_emit *self = (struct bind_emit *)emit;
    (void)track;
    return jq_match(self->run, self->frame, self->node->pattern, value, &self->next);
}

bool jq_bind(struct weir_jq_run *run,
             const struct jq_node *node,
             struct jq_frame *frame,
             struct weir_value input,
             const struct jq_track *track,
             struct jq_emit *emit)
{
    struct bind_emit self = {.emit = {bind_value},
                             .next = {bind_body},
                             .run = run,
                             .node = node,
                             .frame = frame,
                             .input = input,
                             .track = track,
                             .out = emit};
    bool more = jq_eval(run, node->a, frame, weir_retain(input), NULL, &self.emit);
    weir_release(&run->heap, input);
    return more;
}

/* ── reduce and foreach ── */

struct loop_emit {
    struct jq_emit emit; /* of the source, or of the initial value */
    struct jq_emit update;
    struct jq_next next;
    struct weir_jq_run *run;
    const struct jq_node *node;
    struct jq_frame *frame;
    struct weir_value input; /* borrowed */
    struct weir_value state;
    const struct jq_track *track;      /* around the loop */
    const struct jq_track *item_track; /* of the item being looked at */
    struct jq_emit *out;
};

static struct loop_emit *loop_of_update(struct jq_emit *update)
{
    return (struct loop_emit *)(void *)((char *)update - offsetof(struct loop_emit, update));
}

static struct weir_value take_state(struct loop_emit *self)
{
    struct weir_value state = self->state;
    self->state = weir_value_null();
    return state;
}

static bool
reduce_state(struct jq_emit *update, struct weir_value value, const struct jq_track *track)
{
    struct loop_emit *self = loop_of_update(update);
    (void)track;
    weir_release(&self->run->heap, self->state);
    self->state = value;
    return true;
}

static bool reduce_body(struct jq_next *next)
{
    struct loop_emit *self =
        (struct loop_emit *)(void *)((char *)next - offsetof(struct loop_emit, next));
    struct weir_value state = take_state(self);
    if (self->node->c->many != JQ_MANY && self->item_track == NULL) {
        struct weir_value result = jq_eval_one(self->run, self->node->c, self->frame, state);
        if (weir_value_is_absent(result)) {
            return self->run->failed == JQ_FINE;
        }
        weir_release(&self->run->heap, self->state);
        self->state = result;
        return true;
    }
    return jq_eval(self->run, self->node->c, self->frame, state, self->item_track, &self->update);
}

static bool loop_item(struct jq_emit *emit, struct weir_value value, const struct jq_track *track)
{
    struct loop_emit *self = (struct loop_emit *)emit;
    self->item_track = track;
    if (jq_is_plain(self->node->pattern)) {
        jq_assign_slot(self->run, self->frame, self->node->pattern->slot, value);
        return self->next.fn(&self->next);
    }
    return jq_match(self->run, self->frame, self->node->pattern, value, &self->next);
}

/* One initial value, and the loop from it. From the second one on the items are made of null: jq's
 * machine gives its input away to the first loop. */
static bool
reduce_from(struct jq_emit *emit, struct weir_value initial, const struct jq_track *track)
{
    struct loop_emit *outer = (struct loop_emit *)emit;
    struct loop_emit self = *outer;
    self.emit.fn = loop_item;
    self.state = initial;
    bool more =
        jq_eval(self.run, self.node->a, self.frame, weir_retain(self.input), track, &self.emit);
    outer->input = weir_value_null();
    if (!more) {
        weir_release(&self.run->heap, self.state);
        return false;
    }
    return outer->out->fn(outer->out, self.state, track);
}

bool jq_reduce(struct weir_jq_run *run,
               const struct jq_node *node,
               struct jq_frame *frame,
               struct weir_value input,
               const struct jq_track *track,
               struct jq_emit *emit)
{
    struct loop_emit self = {.emit = {reduce_from},
                             .update = {reduce_state},
                             .next = {reduce_body},
                             .run = run,
                             .node = node,
                             .frame = frame,
                             .input = input,
                             .track = track,
                             .out = emit};
    bool more = jq_eval(run, node->b, frame, weir_retain(input), track, &self.emit);
    weir_release(&run->heap, input);
    return more;
}

static bool
foreach_state(struct jq_emit *update, struct weir_value value, const struct jq_track *track)
{
    struct loop_emit *self = loop_of_update(update);
    weir_release(&self->run->heap, self->state);
    self->state = weir_retain(value);
    if (self->node->d == NULL) {
        return self->out->fn(self->out, value, track);
    }
    return jq_eval(self->run, self->node->d, self->frame, value, track, self->out);
}

static bool foreach_body(struct jq_next *next)
{
    struct loop_emit *self =
        (struct loop_emit *)(void *)((char *)next - offsetof(struct loop_emit, next));
    struct weir_value state = take_state(self);
    return jq_eval(self->run, self->node->c, self->frame, state, self->item_track, &self->update);
}

static bool
foreach_from(struct jq_emit *emit, struct weir_value initial, const struct jq_track *track)
{
    struct loop_emit *outer = (struct loop_emit *)emit;
    struct loop_emit self = *outer;
    self.emit.fn = loop_item;
    self.state = initial;
    bool more =
        jq_eval(self.run, self.node->a, self.frame, weir_retain(self.input), track, &self.emit);
    weir_release(&self.run->heap, self.state);
    return more;
}

bool jq_foreach(struct weir_jq_run *run,
                const struct jq_node *node,
                struct jq_frame *frame,
                struct weir_value input,
                const struct jq_track *track,
                struct jq_emit *emit)
{
    struct loop_emit self = {.emit = {foreach_from},
                             .update = {foreach_state},
                             .next = {foreach_body},
                             .run = run,
                             .node = node,
                             .frame = frame,
                             .input = input,
                             .track = track,
                             .out = emit};
    bool more = jq_eval(run, node->b, frame, weir_retain(input), track, &self.emit);
    weir_release(&run->heap, input);
    return more;
}
