/* SPDX-License-Identifier: Apache-2.0
 *
 * Whatever a pipeline computes stands in its configuration: so the field tables lead to every
 * expression, wherever it is written, without a list of the places here. A step that looks at
 * processing time (it has a tick) counts as different, whether or not its options make use of it:
 * what it makes at a tick stands between other records after a replay.
 */
#include "engine/replay.h"

#include <stdio.h>
#include <string.h>

#include <weir/component.h>
#include <weir/jq.h>

#include "base/assert.h"

struct search {
    char *why;
    size_t size;
    bool found;
};

static void walk(struct search *self, const struct weir_field *fields, const char *object);

static void check_expr(struct search *self, const struct weir_expr *expr)
{
    if (expr->program != NULL && !weir_jq_facts(expr->program).deterministic && !self->found) {
        snprintf(self->why, self->size, "the expression in line %d gives something else each time",
                 expr->place.line);
        self->found = true;
    }
}

static void check_component(struct search *self, const struct weir_chosen *chosen)
{
    const struct weir_described *described = chosen->described;
    if (described == NULL) {
        return;
    }
    const char *base = (const char *)described - offsetof(struct weir_component, described);
    const struct weir_component *component = (const struct weir_component *)(const void *)base;
    bool is_step = described->kind == WEIR_ROLE_STEP;
    bool differs = is_step && (!component->deterministic || component->ops.step->tick != NULL);
    if (differs && !self->found) {
        snprintf(self->why, self->size, "the step %.40s may give something else each time",
                 described->name);
        self->found = true;
    }
    if (described->fields != NULL) {
        walk(self, described->fields, chosen->config);
    }
}

static void check_member(struct search *self, const struct weir_field *field, const char *member)
{
    const void *at = member;
    if (field->type == WEIR_TYPE_JQ) {
        check_expr(self, at);
    } else if (field->type == WEIR_TYPE_TEMPLATE) {
        check_expr(self, &((const struct weir_template *)at)->expr);
    } else if (field->type == WEIR_TYPE_CALLS) {
        const struct weir_calls *calls = at;
        for (size_t i = 0; i < calls->count; i++) {
            for (size_t k = 0; k < calls->items[i].arg_count; k++) {
                check_expr(self, &calls->items[i].args[k]);
            }
        }
    } else if (field->type == WEIR_TYPE_OBJECT) {
        walk(self, field->children, member);
    } else if (field->type == WEIR_TYPE_OBJECT_PTR) {
        const char *object = *(char *const *)at;
        if (object != NULL) {
            walk(self, field->children, object);
        }
    } else if (field->type == WEIR_TYPE_LIST) {
        const struct weir_items *items = at;
        for (size_t i = 0; i < items->count; i++) {
            walk(self, field->children, (const char *)items->items + i * field->item_size);
        }
    } else if (field->type == WEIR_TYPE_COMPONENT) {
        check_component(self, at);
    }
}

static void walk(struct search *self, const struct weir_field *fields, const char *object)
{
    for (const struct weir_field *field = fields; field->type != WEIR_TYPE_END && !self->found;
         field++) {
        check_member(self, field, object + field->offset);
    }
}

bool weir_replay_differs(const struct weir_pipeline_config *config, char *why, size_t size)
{
    struct search search = {.why = why, .size = size};
    walk(&search, weir_pipeline_fields, (const char *)config);
    return search.found;
}
