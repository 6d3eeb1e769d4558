/* SPDX-License-Identifier: Apache-2.0
 *
 * Components picked by name: `kafka: {…}` beside `name:` and `when:`, or a bare `drop`. A component
 * takes over the unset connection settings of the latest one of the same system, unless it names
 * an address of its own: the password of one cluster is no business of another.
 */
#include "conf/bind_priv.h"

#include "conf/memory.h"

/* The latest component of the same system, whose connection may be taken over. */
static const struct weir_bound *bound_before(const struct weir_binder *binder,
                                             const struct weir_described *described)
{
    const char *system = described->system != NULL ? described->system : described->name;
    for (size_t i = binder->bound_count; i > 0; i--) {
        const struct weir_described *other = binder->bounds[i - 1].described;
        if (strcmp(other->system != NULL ? other->system : other->name, system) == 0) {
            return &binder->bounds[i - 1];
        }
    }
    return NULL;
}

static bool writes_address(const struct weir_described *described, const struct weir_node *node)
{
    for (size_t i = 0; i < weir_fields_count(described->fields); i++) {
        if ((described->fields[i].flags & WEIR_ADDRESS) != 0 && node != NULL &&
            weir_node_find(node, described->fields[i].name) != NULL) {
            return true;
        }
    }
    return false;
}

static void note_bound(struct weir_binder *binder, struct weir_bound bound)
{
    if (binder->bound_count == binder->bound_capacity) {
        size_t capacity = binder->bound_capacity == 0 ? 16 : binder->bound_capacity * 2;
        struct weir_bound *bounds = weir_conf_alloc(binder->arena, capacity, sizeof(*bounds));
        if (binder->bound_count > 0) {
            memcpy(bounds, binder->bounds, binder->bound_count * sizeof(*bounds));
        }
        binder->bounds = bounds;
        binder->bound_capacity = capacity;
    }
    binder->bounds[binder->bound_count++] = bound;
}

static void bind_config(struct weir_binder *binder,
                        const struct weir_described *described,
                        struct weir_bind_at at,
                        struct weir_chosen *ret_chosen)
{
    struct weir_bound bound = {
        .described = described,
        .config = weir_conf_alloc(binder->arena, 1, described->config_size),
        .path = weir_bind_path_text(binder, at.path),
        .key = at.key,
        .node = at.node,
        .is_set = weir_conf_alloc(binder->arena, weir_fields_count(described->fields), 1),
    };
    const struct weir_node *place = at.key != NULL ? at.key : at.node;
    *ret_chosen = (struct weir_chosen){
        .described = described, .config = bound.config, .place = weir_node_place(place)};
    struct weir_bound before;
    const struct weir_bound *from = bound_before(binder, described);
    if (from != NULL && !writes_address(described, at.node)) {
        before = *from;
        from = &before;
    } else {
        from = NULL;
    }
    struct weir_bind_object object = {
        .fields = described->fields,
        .rules = described->rules,
        .what = weir_arena_printf(binder->arena, "%s %s", weir_role_name(described->kind),
                                  described->name),
        .at = at,
        .config = bound.config,
        .from = from,
        .is_set = bound.is_set,
    };
    weir_bind_object(binder, &object);
    note_bound(binder, bound);
}

static void report_no_component(struct weir_binder *binder,
                                const struct weir_bind_object *object,
                                enum weir_role role)
{
    const struct weir_node *place = object->at.node;
    if (object->at.key != NULL && !(place->type == WEIR_NODE_MAPPING && place->count > 0)) {
        place = object->at.key;
    }
    struct weir_diag *diag = weir_bind_error(binder, place, object->at.path,
                                             "a %s must be named here", weir_role_name(role));
    diag->allowed = weir_bind_allowed(binder, NULL, role);
}

static void report_second(struct weir_binder *binder,
                          const struct weir_bind_object *object,
                          enum weir_role role,
                          const struct weir_member *first,
                          const struct weir_member *second)
{
    struct weir_diag *diag =
        weir_bind_error(binder, second->key, object->at.path, "two %s in one: \"%s\" and \"%s\"",
                        weir_role_plural(role), first->key->raw.data, second->key->raw.data);
    diag->hint = role == WEIR_ROLE_STEP     ? "Begin each step with \"- \"."
                 : role == WEIR_ROLE_SOURCE ? "Use \"sources:\" with one entry for each."
                                            : "Use \"sinks:\" with one entry for each.";
}

/* `sink: drop`: a name without options. */
static void bind_bare_component(struct weir_binder *binder,
                                const struct weir_field *field,
                                struct weir_bind_object *object)
{
    struct weir_node *node = object->at.node;
    if (node->is_broken) {
        return;
    }
    const struct weir_described *described =
        weir_registry_find(binder->registry, field->kind, node->value.data);
    if (weir_node_is_null(node)) {
        report_no_component(binder, object, field->kind);
    } else if (described == NULL) {
        struct weir_bind_object nothing = *object;
        nothing.fields = NULL;
        weir_bind_report_unknown(binder, &nothing, node, field->kind);
    } else {
        struct weir_bind_path path = {.up = object->at.path, .name = described->name};
        struct weir_node *empty = weir_conf_alloc(binder->arena, 1, sizeof(*empty));
        *empty = *node;
        empty->type = WEIR_NODE_MAPPING;
        empty->count = 0;
        struct weir_bind_at at = {node, empty, &path};
        bind_config(binder, described, at,
                    (struct weir_chosen *)((char *)object->config + field->offset));
    }
}

void weir_bind_component(struct weir_binder *binder,
                         const struct weir_field *field,
                         struct weir_bind_object *object)
{
    struct weir_node *node = object->at.node;
    if (node->type == WEIR_NODE_SCALAR) {
        bind_bare_component(binder, field, object);
        return;
    }
    struct weir_chosen *chosen = (struct weir_chosen *)((char *)object->config + field->offset);
    const struct weir_member *first = NULL;
    size_t unknown = 0;
    for (size_t i = 0; i < node->count; i++) {
        const struct weir_member *member = &node->members[i];
        if (weir_fields_find(object->fields, member->key->raw.data) != NULL) {
            continue;
        }
        const struct weir_described *described =
            weir_registry_find(binder->registry, field->kind, member->key->raw.data);
        if (described == NULL) {
            weir_bind_report_unknown(binder, object, member->key, field->kind);
            unknown++;
            continue;
        }
        if (first != NULL) {
            report_second(binder, object, field->kind, first, member);
        }
        struct weir_bind_path path = {.up = object->at.path, .name = described->name};
        struct weir_bind_at at = {member->key, member->value, &path};
        bind_config(binder, described, at, chosen);
        first = first != NULL ? first : member;
    }
    if (first == NULL && unknown == 0) {
        report_no_component(binder, object, field->kind);
    }
}

/* The longest key of the mapping that the path begins with: keys may contain dots themselves. */
static const struct weir_member *follow(const struct weir_node *node, const char **path)
{
    const struct weir_member *found = NULL;
    size_t longest = 0;
    for (size_t i = 0; node->type == WEIR_NODE_MAPPING && i < node->count; i++) {
        struct weir_slice key = node->members[i].key->raw;
        bool begins = strncmp(*path, key.data, key.size) == 0 &&
                      ((*path)[key.size] == '\0' || (*path)[key.size] == '.');
        if (begins && key.size >= longest) {
            longest = key.size;
            found = &node->members[i];
        }
    }
    *path += longest + ((*path)[longest] == '.');
    return found;
}

bool weir_binder_locate(const struct weir_binder *binder,
                        const void *config,
                        const char *path,
                        size_t *ret_start,
                        size_t *ret_end)
{
    for (size_t i = 0; i < binder->bound_count; i++) {
        const struct weir_bound *bound = &binder->bounds[i];
        if (bound->config != config) {
            continue;
        }
        const struct weir_node *place = bound->key != NULL ? bound->key : bound->node;
        const struct weir_node *node = bound->node;
        while (path[0] != '\0') {
            const struct weir_member *member = follow(node, &path);
            if (member == NULL) {
                break;
            }
            place = member->key;
            node = member->value;
        }
        *ret_start = place->start;
        *ret_end = place->type == WEIR_NODE_SCALAR ? place->end : place->start;
        return true;
    }
    return false;
}
