/* SPDX-License-Identifier: Apache-2.0
 *
 * What is wrong with the keys of an object as a whole: too few or too many of some, and keys that
 * nobody knows. An unknown key that is near a missing one is taken for it, so that one slip of the
 * finger is one error and not two.
 */
#include "conf/bind_priv.h"

#include <string.h>

#include "conf/memory.h"
#include "conf/near.h"

enum { NAMES_MAX = 2048, ALLOWED_MAX = 24 };

/* --- rules ------------------------------------------------------------------------------------ */

static const char *rule_names(struct weir_binder *binder,
                              const struct weir_rule *rule,
                              size_t first,
                              const char *last_word)
{
    struct weir_strbuf buf;
    weir_strbuf_init(&buf, NAMES_MAX);
    size_t max = sizeof(rule->fields) / sizeof(rule->fields[0]);
    for (size_t i = first; i < max && rule->fields[i] != NULL; i++) {
        bool is_last = i + 1 == max || rule->fields[i + 1] == NULL;
        const char *joint = i == first ? "" : is_last ? last_word : ", ";
        weir_strbuf_printf(&buf, "%s\"%s\"", joint, rule->fields[i]);
    }
    const char *text = weir_conf_copy(binder->arena, weir_strbuf_view(&buf)).data;
    weir_strbuf_done(&buf);
    return text;
}

static const struct weir_member *written_member(const struct weir_bind_object *object,
                                                const char *name)
{
    const struct weir_field *field = weir_fields_find(object->fields, name);
    WEIR_ASSERT(field != NULL); /* a rule names a field of its own table */
    return object->written[field - object->fields];
}

static bool is_present(const struct weir_bind_object *object, const char *name)
{
    const struct weir_field *field = weir_fields_find(object->fields, name);
    WEIR_ASSERT(field != NULL);
    size_t index = (size_t)(field - object->fields);
    return object->written[index] != NULL || object->was_meant[index] ||
           (object->is_set != NULL && object->is_set[index]);
}

static void check_needs(struct weir_binder *binder,
                        const struct weir_bind_object *object,
                        const struct weir_rule *rule)
{
    const struct weir_member *first = written_member(object, rule->fields[0]);
    size_t max = sizeof(rule->fields) / sizeof(rule->fields[0]);
    for (size_t i = 1; first != NULL && i < max && rule->fields[i] != NULL; i++) {
        if (!is_present(object, rule->fields[i])) {
            struct weir_diag *diag =
                weir_bind_error(binder, first->key, object->at.path, "\"%s\" needs \"%s\"",
                                rule->fields[0], rule->fields[i]);
            diag->hint = rule->hint;
        }
    }
}

static void check_rule(struct weir_binder *binder,
                       const struct weir_bind_object *object,
                       const struct weir_rule *rule)
{
    if (rule->type == WEIR_RULE_NEEDS) {
        check_needs(binder, object, rule);
        return;
    }
    size_t count = 0;
    const struct weir_member *last = NULL;
    size_t max = sizeof(rule->fields) / sizeof(rule->fields[0]);
    for (size_t i = 0; i < max && rule->fields[i] != NULL; i++) {
        const struct weir_member *member = written_member(object, rule->fields[i]);
        count += is_present(object, rule->fields[i]);
        if (member != NULL && (last == NULL || member->key->start > last->key->start)) {
            last = member;
        }
    }
    struct weir_diag *diag = NULL;
    bool wants_one = rule->type != WEIR_RULE_AT_MOST_ONE;
    if (count == 0 && wants_one && object->at.node != NULL) {
        const struct weir_node *place = object->at.key != NULL ? object->at.key : object->at.node;
        const char *names = rule_names(binder, rule, 0, " or ");
        diag = object->what == NULL
                   ? weir_bind_error(binder, place, object->at.path, "%s is missing", names)
                   : weir_bind_error(binder, place, object->at.path, "%s needs %s", object->what,
                                     names);
    } else if (count > 1 && rule->type != WEIR_RULE_AT_LEAST_ONE && last != NULL) {
        diag = weir_bind_error(binder, last->key, object->at.path, "only one of %s can be given",
                               rule_names(binder, rule, 0, " and "));
    }
    if (diag != NULL) {
        diag->hint = rule->hint;
    }
}

void weir_bind_check_rules(struct weir_binder *binder, const struct weir_bind_object *object)
{
    const struct weir_rule *rule = object->rules;
    for (; rule != NULL && rule->type != WEIR_RULE_END; rule++) {
        check_rule(binder, object, rule);
    }
}

/* --- unknown keys ----------------------------------------------------------------------------- */

const char *
weir_bind_allowed(struct weir_binder *binder, const struct weir_field *fields, enum weir_role role)
{
    struct weir_strbuf buf;
    weir_strbuf_init(&buf, NAMES_MAX);
    for (size_t i = 0; role != 0; i++) {
        const struct weir_described *described =
            binder->registry->at(binder->registry->context, role, i);
        if (described == NULL) {
            break;
        }
        weir_strbuf_printf(&buf, "%s%s", buf.size > 0 ? ", " : "", described->name);
    }
    size_t count = weir_fields_count(fields);
    for (size_t i = 0; count <= ALLOWED_MAX && i < count; i++) {
        if (fields[i].name != NULL && fields[i].deprecated == NULL) {
            weir_strbuf_printf(&buf, "%s%s", buf.size > 0 ? ", " : "", fields[i].name);
        }
    }
    const char *text = weir_conf_copy(binder->arena, weir_strbuf_view(&buf)).data;
    weir_strbuf_done(&buf);
    return text;
}

static bool list_has(const char *list, struct weir_slice name)
{
    while (list != NULL && *list != '\0') {
        size_t size = strcspn(list, ",");
        if (weir_slice_equal(name, (struct weir_slice){list, size})) {
            return true;
        }
        list += size + (list[size] == ',');
    }
    return false;
}

static const char *nearest_name(struct weir_binder *binder,
                                const struct weir_field *fields,
                                enum weir_role role,
                                struct weir_slice written)
{
    struct weir_near near;
    weir_near_init(&near, written);
    for (size_t i = 0; i < weir_fields_count(fields); i++) {
        if (list_has(fields[i].elsewhere, written)) {
            return fields[i].name;
        }
    }
    for (size_t i = 0; i < weir_fields_count(fields); i++) {
        if (fields[i].name != NULL && fields[i].deprecated == NULL) {
            weir_near_offer(&near, fields[i].name);
        }
    }
    for (size_t i = 0; role != 0; i++) {
        const struct weir_described *described =
            binder->registry->at(binder->registry->context, role, i);
        if (described == NULL) {
            break;
        }
        weir_near_offer(&near, described->name);
    }
    return near.best;
}

void weir_bind_report_unknown(struct weir_binder *binder,
                              struct weir_bind_object *object,
                              const struct weir_node *key,
                              enum weir_role role)
{
    struct weir_bind_path path = {.up = object->at.path, .name = key->raw.data};
    struct weir_diag *diag = NULL;
    if (role != 0) {
        diag = weir_bind_error(binder, key, &path, "there is no %s \"%.*s\"", weir_role_name(role),
                               WEIR_SLICE_ARG(key->raw));
    } else if (object->what == NULL) {
        diag =
            weir_bind_error(binder, key, &path, "unknown key \"%.*s\"", WEIR_SLICE_ARG(key->raw));
    } else {
        diag = weir_bind_error(binder, key, &path, "unknown key \"%.*s\" in %s",
                               WEIR_SLICE_ARG(key->raw), object->what);
    }
    diag->suggestion = nearest_name(binder, object->fields, role, key->raw);
    if (diag->suggestion == NULL) {
        diag->allowed = weir_bind_allowed(binder, role != 0 ? NULL : object->fields, role);
        return;
    }
    const struct weir_field *meant = weir_fields_find(object->fields, diag->suggestion);
    if (meant != NULL) {
        object->was_meant[meant - object->fields] = true;
        if (object->is_set != NULL) {
            object->is_set[meant - object->fields] = true;
        }
    }
}
