/* SPDX-License-Identifier: Apache-2.0
 *
 * Objects and lists of objects. Fields are bound in the order of their table, not of the file:
 * sources before steps before sinks, so that a component can take over the connection of the one of
 * the same system before it, wherever the user wrote it.
 *
 * Binding goes on after every problem; a member whose value is wrong stays zero and nobody runs
 * with it, because a configuration with errors is never handed out.
 */
#include "conf/bind_priv.h"

#include <stdarg.h>
#include <stdio.h>

#include "conf/memory.h"
#include "conf/near.h"

enum { MESSAGE_MAX = 512 };

void weir_binder_init(struct weir_binder *binder,
                      struct weir_arena *arena,
                      struct weir_diags *diags,
                      const struct weir_registry *registry,
                      const struct weir_compiler *compiler)
{
    WEIR_ASSERT(compiler != NULL);
    *binder = (struct weir_binder){
        .arena = arena, .diags = diags, .registry = registry, .compiler = compiler};
}

void weir_binder_done(struct weir_binder *binder)
{
    for (size_t i = 0; i < binder->program_count; i++) {
        binder->compiler->release(binder->compiler->context, binder->programs[i]);
    }
    binder->program_count = 0;
}

/* --- errors ----------------------------------------------------------------------------------- */

static void put_path(const struct weir_bind_path *path, struct weir_strbuf *out)
{
    if (path == NULL) {
        return;
    }
    put_path(path->up, out);
    if (path->name == NULL) {
        weir_strbuf_printf(out, "[%zu]", path->index);
    } else {
        weir_strbuf_printf(out, "%s%s", out->size > 0 ? "." : "", path->name);
    }
}

const char *weir_bind_path_text(struct weir_binder *binder, const struct weir_bind_path *path)
{
    struct weir_strbuf buf;
    weir_strbuf_init(&buf, MESSAGE_MAX);
    put_path(path, &buf);
    const char *text = weir_conf_copy(binder->arena, weir_strbuf_view(&buf)).data;
    weir_strbuf_done(&buf);
    return text;
}

struct weir_diag *weir_bind_error(struct weir_binder *binder,
                                  const struct weir_node *node,
                                  const struct weir_bind_path *path,
                                  const char *format,
                                  ...)
{
    char message[MESSAGE_MAX];
    va_list args;
    va_start(args, format);
    int size = vsnprintf(message, sizeof(message), format, args);
    va_end(args);
    WEIR_ASSERT(size >= 0);
    WEIR_ASSERT(binder->default_depth == 0); /* a default of a table that does not bind */
    bool is_range = node->type == WEIR_NODE_SCALAR || node->is_flow;
    struct weir_diag *diag = weir_diag_add(binder->diags, node->text, node->start,
                                           is_range ? node->end : node->start, "%s", message);
    diag->path = weir_bind_path_text(binder, path);
    return diag;
}

/* --- origins ---------------------------------------------------------------------------------- */

static struct weir_origin *new_origin(struct weir_binder *binder)
{
    if (binder->origin_count == binder->origin_capacity) {
        size_t capacity = binder->origin_capacity == 0 ? 64 : binder->origin_capacity * 2;
        struct weir_origin *origins = weir_conf_alloc(binder->arena, capacity, sizeof(*origins));
        if (binder->origin_count > 0) {
            memcpy(origins, binder->origins, binder->origin_count * sizeof(*origins));
        }
        binder->origins = origins;
        binder->origin_capacity = capacity;
    }
    return &binder->origins[binder->origin_count++];
}

void weir_bind_note_origin(struct weir_binder *binder,
                           const struct weir_field *field,
                           const struct weir_node *node,
                           const void *member)
{
    struct weir_origin *origin = new_origin(binder);
    *origin = (struct weir_origin){
        .member = member,
        .type = binder->default_depth > 0 ? WEIR_ORIGIN_DEFAULT : WEIR_ORIGIN_FILE,
        .variable = node->variable,
        .is_secret = (field->flags & WEIR_SECRET) != 0 || node->secret_file != NULL,
    };
    if (origin->type == WEIR_ORIGIN_FILE) {
        origin->place = weir_node_place(node);
        if (node->text->variables != NULL && node->line <= node->text->line_count) {
            origin->variable = node->text->variables[node->line - 1];
        }
    }
    for (size_t i = 0; node->type == WEIR_NODE_LIST && i < node->count; i++) {
        origin->is_secret = origin->is_secret || node->items[i]->secret_file != NULL;
    }
    bool is_template = field->type == WEIR_TYPE_TEMPLATE && node->type == WEIR_NODE_MAPPING;
    for (size_t i = 0; is_template && i < node->count; i++) {
        origin->is_secret = origin->is_secret || node->members[i].value->secret_file != NULL;
    }
}

const struct weir_origin *weir_binder_origin(const struct weir_binder *binder, const void *member)
{
    for (size_t i = 0; i < binder->origin_count; i++) {
        if (binder->origins[i].member == member) {
            return &binder->origins[i];
        }
    }
    return NULL;
}

/* --- objects ---------------------------------------------------------------------------------- */

static void bind_child(struct weir_binder *binder,
                       const struct weir_field *field,
                       struct weir_bind_at at,
                       void *config)
{
    const char *what = field->type != WEIR_TYPE_LIST
                           ? field->name
                           : weir_arena_printf(binder->arena, "an entry of %s", field->name);
    struct weir_bind_object child = {
        .fields = field->children, .rules = field->rules, .what = what, .at = at, .config = config};
    weir_bind_object(binder, &child);
}

static bool is_off(const struct weir_node *node)
{
    return node->type == WEIR_NODE_SCALAR && (weir_slice_equal(node->value, WEIR_SLICE("off")) ||
                                              weir_slice_equal(node->value, WEIR_SLICE("false")));
}

static void bind_object_ptr(struct weir_binder *binder,
                            const struct weir_field *field,
                            struct weir_bind_at at,
                            void **member)
{
    weir_bind_note_origin(binder, field, at.node, member);
    if ((field->flags & WEIR_OFF) != 0 && is_off(at.node)) {
        return;
    }
    *member = weir_conf_alloc(binder->arena, 1, field->item_size);
    bind_child(binder, field, at, *member);
}

static const char *const *item_member(const struct weir_items *list,
                                      const struct weir_field *field,
                                      size_t index,
                                      const struct weir_field *child)
{
    const char *item = (const char *)list->items + index * field->item_size;
    return (const char *const *)(const void *)(item + child->offset);
}

/* Names that must differ within a list. */
static void check_unique(struct weir_binder *binder,
                         const struct weir_field *field,
                         const struct weir_bind_at *at,
                         const struct weir_items *list)
{
    for (size_t f = 0; f < weir_fields_count(field->children); f++) {
        const struct weir_field *child = &field->children[f];
        if ((child->flags & WEIR_UNIQUE) == 0) {
            continue;
        }
        WEIR_ASSERT(child->type == WEIR_TYPE_STR);
        for (size_t i = 1; i < list->count; i++) {
            const char *const *name = item_member(list, field, i, child);
            for (size_t j = 0; *name != NULL && j < i; j++) {
                const char *const *other = item_member(list, field, j, child);
                if (*other != NULL && strcmp(*name, *other) == 0) {
                    const struct weir_node *value = weir_node_find(at->node->items[i], child->name);
                    const struct weir_node *place = value != NULL ? value : at->node->items[i];
                    (void)weir_bind_error(binder, place, at->path,
                                          "two entries of %s have the %s \"%s\"", field->name,
                                          child->name, *name);
                    break;
                }
            }
        }
    }
}

static void bind_list(struct weir_binder *binder,
                      const struct weir_field *field,
                      struct weir_bind_at at,
                      struct weir_items *member)
{
    struct weir_node *node = at.node;
    if (node->is_broken) {
        return;
    }
    if (node->type != WEIR_NODE_LIST) {
        bool is_null = weir_node_is_null(node);
        struct weir_diag *diag =
            weir_bind_error(binder, is_null && at.key != NULL ? at.key : node, at.path,
                            "\"%s\" must be a list, not %s", field->name, weir_node_text(node));
        diag->hint = "Begin each entry with \"- \".";
        return;
    }
    weir_bind_note_origin(binder, field, node, member);
    if (node->count == 0 && ((field->flags & WEIR_REQUIRED) != 0 || field->min > 0)) {
        (void)weir_bind_error(binder, node, at.path, "\"%s\" is empty", field->name);
    } else if (field->max > 0 && node->count > (size_t)field->max) {
        (void)weir_bind_error(binder, node, at.path, "\"%s\" has %zu entries, at most %lld fit",
                              field->name, node->count, (long long)field->max);
    }
    char *items = weir_conf_alloc(binder->arena, node->count, field->item_size);
    member->items = items;
    member->count = node->count;
    for (size_t i = 0; i < node->count; i++) {
        struct weir_bind_path path = {.up = at.path, .index = i};
        struct weir_bind_at item = {NULL, node->items[i], &path};
        bind_child(binder, field, item, items + i * field->item_size);
    }
    check_unique(binder, field, &at, member);
}

static void bind_value(struct weir_binder *binder,
                       const struct weir_field *field,
                       struct weir_bind_at at,
                       void *member)
{
    if (field->type == WEIR_TYPE_OBJECT) {
        bind_child(binder, field, at, member);
    } else if (field->type == WEIR_TYPE_OBJECT_PTR) {
        bind_object_ptr(binder, field, at, member);
    } else if (field->type == WEIR_TYPE_LIST) {
        bind_list(binder, field, at, member);
    } else {
        weir_bind_scalar(binder, field, at, member);
    }
}

/* --- what is not written ---------------------------------------------------------------------- */

static size_t member_size(const struct weir_field *field)
{
    static const size_t sizes[WEIR_TYPE_COUNT] = {
        [WEIR_TYPE_STR] = sizeof(const char *),
        [WEIR_TYPE_INT] = sizeof(int64_t),
        [WEIR_TYPE_NUMBER] = sizeof(double),
        [WEIR_TYPE_BOOL] = sizeof(bool),
        [WEIR_TYPE_DURATION] = sizeof(weir_duration),
        [WEIR_TYPE_DURATION_RANGE] = sizeof(struct weir_duration_range),
        [WEIR_TYPE_SIZE] = sizeof(weir_bytesize),
        [WEIR_TYPE_ENUM] = sizeof(int),
        [WEIR_TYPE_MOMENT] = sizeof(struct weir_moment),
        [WEIR_TYPE_STRS] = sizeof(struct weir_strs),
        [WEIR_TYPE_MAP] = sizeof(struct weir_map),
        [WEIR_TYPE_JQ] = sizeof(struct weir_expr),
        [WEIR_TYPE_TEMPLATE] = sizeof(struct weir_template),
        [WEIR_TYPE_CALLS] = sizeof(struct weir_calls),
        [WEIR_TYPE_OBJECT_PTR] = sizeof(void *),
        [WEIR_TYPE_LIST] = sizeof(struct weir_items),
        [WEIR_TYPE_COMPONENT] = sizeof(struct weir_chosen),
    };
    return field->type == WEIR_TYPE_OBJECT ? field->item_size : sizes[field->type];
}

/* Copies the member of the component before; false if that has none. */
static bool inherit(struct weir_binder *binder,
                    const struct weir_bind_object *object,
                    const struct weir_field *field,
                    char *member)
{
    const struct weir_bound *from = object->from;
    if (from == NULL || (field->flags & (WEIR_CONNECTION | WEIR_ADDRESS)) == 0) {
        return false;
    }
    const struct weir_field *other = weir_fields_find(from->described->fields, field->name);
    if (other == NULL || other->type != field->type ||
        !from->is_set[other - from->described->fields]) {
        return false;
    }
    const char *source = (const char *)from->config + other->offset;
    memcpy(member, source, member_size(field));
    const struct weir_origin *before = weir_binder_origin(binder, source);
    struct weir_origin copy = before != NULL ? *before : (struct weir_origin){0};
    copy.member = member;
    copy.type = WEIR_ORIGIN_INHERITED;
    *new_origin(binder) = copy;
    return true;
}

static struct weir_node *default_node(struct weir_binder *binder, const struct weir_field *field)
{
    bool is_structured = field->type == WEIR_TYPE_OBJECT || field->type == WEIR_TYPE_OBJECT_PTR ||
                         field->type == WEIR_TYPE_LIST || field->type == WEIR_TYPE_MAP ||
                         field->type == WEIR_TYPE_STRS || field->type == WEIR_TYPE_TEMPLATE ||
                         field->type == WEIR_TYPE_CALLS;
    if (is_structured) {
        struct weir_node *node = weir_tree_of(binder->arena, "default", field->fallback);
        WEIR_ASSERT(node != NULL);
        return node;
    }
    struct weir_node *node = weir_conf_alloc(binder->arena, 1, sizeof(*node));
    node->type = WEIR_NODE_SCALAR;
    node->style = WEIR_STYLE_SINGLE;
    node->value = node->raw = weir_slice_of(field->fallback);
    node->text = weir_conf_alloc(binder->arena, 1, sizeof(*node->text));
    node->text->name = "default";
    return node;
}

static void bind_default(struct weir_binder *binder,
                         const struct weir_field *field,
                         const struct weir_bind_path *path,
                         void *member)
{
    struct weir_bind_at at = {NULL, default_node(binder, field), path};
    binder->default_depth++;
    bind_value(binder, field, at, member);
    binder->default_depth--;
}

static void bind_missing(struct weir_binder *binder,
                         struct weir_bind_object *object,
                         const struct weir_field *field)
{
    char *member = (char *)object->config + field->offset;
    struct weir_bind_path path = {.up = object->at.path, .name = field->name};
    if (inherit(binder, object, field, member)) {
        if (object->is_set != NULL) {
            object->is_set[field - object->fields] = true;
        }
        return;
    }
    if (field->fallback != NULL) {
        bind_default(binder, field, &path, member);
        return;
    }
    if (field->type == WEIR_TYPE_OBJECT) {
        struct weir_bind_at nothing = {NULL, NULL, &path};
        bind_child(binder, field, nothing, member);
        return;
    }
    if ((field->flags & WEIR_REQUIRED) == 0 || object->at.node == NULL ||
        object->was_meant[field - object->fields] || binder->default_depth > 0) {
        return;
    }
    const struct weir_node *place = object->at.key != NULL ? object->at.key : object->at.node;
    struct weir_diag *diag =
        object->what == NULL
            ? weir_bind_error(binder, place, &path, "\"%s\" is missing", field->name)
            : weir_bind_error(binder, place, &path, "%s needs \"%s\"", object->what, field->name);
    if (field->example != NULL) {
        bool is_short = (field->flags & WEIR_SHORT) != 0 && object->at.key != NULL;
        const char *name = is_short ? object->at.key->value.data : field->name;
        weir_diag_hint(binder->diags, diag, "For example %s: %s", name, field->example);
    }
}

/* --- an object's fields ----------------------------------------------------------------------- */

/* `map: {id, n: .x}`: meant as jq, read by YAML as a mapping of keys that nobody knows. */
static bool is_unquoted_jq(const struct weir_field *fields,
                           const struct weir_field *shorthand,
                           const struct weir_node *node)
{
    if (shorthand == NULL || shorthand->type != WEIR_TYPE_JQ || node->count == 0) {
        return false;
    }
    for (size_t i = 0; i < node->count; i++) {
        struct weir_near near;
        weir_near_init(&near, node->members[i].key->raw);
        for (size_t j = 0; j < weir_fields_count(fields); j++) {
            if (fields[j].name != NULL) {
                weir_near_offer(&near, fields[j].name);
            }
        }
        if (near.best != NULL) {
            return false;
        }
    }
    return true;
}

/* `filter: .a` for `filter: {jq: .a}`: wraps the value into a mapping with the short field. */
static void expand_short(struct weir_binder *binder, struct weir_bind_object *object)
{
    struct weir_node *node = object->at.node;
    const struct weir_field *field = weir_fields_short(object->fields);
    bool is_mapping = node != NULL && node->type == WEIR_NODE_MAPPING &&
                      !is_unquoted_jq(object->fields, field, node);
    if (node == NULL || is_mapping || node->is_broken ||
        (weir_node_is_null(node) && field == NULL) ||
        (node->type == WEIR_NODE_SCALAR && weir_fields_component(object->fields) != NULL)) {
        return;
    }
    if (field == NULL) {
        const char *what = object->what != NULL ? object->what : "the file";
        struct weir_diag *diag =
            weir_fields_count(object->fields) == 0 && object->what != NULL
                ? weir_bind_error(binder, node, object->at.path, "%s has no options", what)
                : weir_bind_error(binder, node, object->at.path, "%s must be a mapping, not %s",
                                  what, weir_node_text(node));
        if (weir_fields_count(object->fields) > 0) {
            const struct weir_field *component = weir_fields_component(object->fields);
            diag->allowed = component != NULL ? weir_bind_allowed(binder, NULL, component->kind)
                                              : weir_bind_allowed(binder, object->fields, 0);
        }
        object->at.node = NULL;
        return;
    }
    struct weir_member *member = weir_conf_alloc(binder->arena, 1, sizeof(*member));
    struct weir_node *key = weir_conf_alloc(binder->arena, 1, sizeof(*key));
    struct weir_node *mapping = weir_conf_alloc(binder->arena, 1, sizeof(*mapping));
    *key = object->at.key != NULL ? *object->at.key : *node;
    key->raw = weir_slice_of(field->name); /* value keeps the word that the user wrote */
    if (object->at.key == NULL) {
        key->value = key->raw;
    }
    *member = (struct weir_member){.key = key, .value = node};
    *mapping = (struct weir_node){.type = WEIR_NODE_MAPPING,
                                  .text = node->text,
                                  .start = node->start,
                                  .end = node->end,
                                  .line = node->line,
                                  .column = node->column,
                                  .members = member,
                                  .count = 1};
    object->at.node = mapping;
}

static void collect_written(struct weir_binder *binder, struct weir_bind_object *object)
{
    const struct weir_node *node = object->at.node;
    if (node == NULL || node->type != WEIR_NODE_MAPPING) {
        return;
    }
    bool has_component = weir_fields_component(object->fields) != NULL;
    for (size_t i = 0; i < node->count; i++) {
        const struct weir_member *member = &node->members[i];
        const struct weir_field *field = weir_fields_find(object->fields, member->key->raw.data);
        if (field == NULL && !has_component) {
            weir_bind_report_unknown(binder, object, member->key, 0);
            continue;
        }
        if (field == NULL) {
            continue;
        }
        object->written[field - object->fields] = member;
        if (object->is_set != NULL) {
            object->is_set[field - object->fields] = true;
        }
        if (field->deprecated != NULL) {
            struct weir_diag *diag = weir_bind_error(binder, member->key, object->at.path,
                                                     "\"%s\" is deprecated", field->name);
            diag->hint = field->deprecated;
            weir_diag_warn(binder->diags, diag);
        }
    }
}

void weir_bind_object(struct weir_binder *binder, struct weir_bind_object *object)
{
    expand_short(binder, object);
    if (object->at.node != NULL && object->at.node->is_broken) {
        return;
    }
    collect_written(binder, object);
    size_t count = weir_fields_count(object->fields);
    for (size_t i = 0; i < count; i++) {
        const struct weir_field *field = &object->fields[i];
        if (field->type == WEIR_TYPE_COMPONENT) {
            if (object->at.node != NULL) {
                weir_bind_component(binder, field, object);
            }
        } else if (object->written[i] != NULL) {
            struct weir_bind_path path = {.up = object->at.path, .name = field->name};
            struct weir_bind_at at = {object->written[i]->key, object->written[i]->value, &path};
            bind_value(binder, field, at, (char *)object->config + field->offset);
        } else {
            bind_missing(binder, object, field);
        }
    }
    weir_bind_check_rules(binder, object);
}

void weir_bind(struct weir_binder *binder,
               const struct weir_field *fields,
               const struct weir_rule *rules,
               struct weir_node *node,
               void *config)
{
    struct weir_bind_object object = {
        .fields = fields, .rules = rules, .at = {.node = node}, .config = config};
    weir_bind_object(binder, &object);
}
