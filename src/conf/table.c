/* SPDX-License-Identifier: Apache-2.0
 *
 * Lookups in field tables and registries. Tables are short and read while loading only, so plain
 * scans are enough; nothing is indexed and nothing needs to be kept in step.
 */
#include "conf/table.h"

#include <string.h>

#include <weir/strbuf.h>

#include "conf/limits.h"
#include "conf/memory.h"

const char *weir_role_name(enum weir_role role)
{
    static const char *const names[WEIR_ROLE_COUNT] = {
        [WEIR_ROLE_SOURCE] = "source", [WEIR_ROLE_STEP] = "step", [WEIR_ROLE_SINK] = "sink"};
    return names[role];
}

const char *weir_role_plural(enum weir_role role)
{
    static const char *const names[WEIR_ROLE_COUNT] = {
        [WEIR_ROLE_SOURCE] = "sources", [WEIR_ROLE_STEP] = "steps", [WEIR_ROLE_SINK] = "sinks"};
    return names[role];
}

size_t weir_fields_count(const struct weir_field *fields)
{
    size_t count = 0;
    while (fields != NULL && fields[count].type != WEIR_TYPE_END) {
        count++;
    }
    WEIR_ASSERT(count <= WEIR_CONF_FIELDS_MAX);
    return count;
}

const struct weir_field *weir_fields_short(const struct weir_field *fields)
{
    for (size_t i = 0; i < weir_fields_count(fields); i++) {
        if ((fields[i].flags & WEIR_SHORT) != 0) {
            return &fields[i];
        }
    }
    return NULL;
}

const struct weir_field *weir_fields_find(const struct weir_field *fields, const char *name)
{
    for (size_t i = 0; i < weir_fields_count(fields); i++) {
        if (fields[i].name != NULL && strcmp(fields[i].name, name) == 0) {
            return &fields[i];
        }
    }
    return NULL;
}

const struct weir_field *weir_fields_component(const struct weir_field *fields)
{
    for (size_t i = 0; i < weir_fields_count(fields); i++) {
        if (fields[i].type == WEIR_TYPE_COMPONENT) {
            return &fields[i];
        }
    }
    return NULL;
}

const struct weir_choice *weir_choice_of(const struct weir_choice *choices, int value)
{
    for (; choices->name != NULL; choices++) {
        if (choices->value == value) {
            return choices;
        }
    }
    return NULL;
}

const struct weir_described *
weir_registry_find(const struct weir_registry *registry, enum weir_role role, const char *name)
{
    const struct weir_described *described = NULL;
    for (size_t i = 0; (described = registry->at(registry->context, role, i)) != NULL; i++) {
        if (strcmp(described->name, name) == 0) {
            return described;
        }
    }
    return NULL;
}

bool weir_key_is_secret(const char *key)
{
    static const char *const parts[] = {
        "password",    "passwd",     "secret",      "token",
        "credential",  "jaas",       "ssl.key.pem", "oauthbearer.config",
        "private.key", "passphrase", "kinit"};
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        if (strcasestr(key, parts[i]) != NULL) {
            return true;
        }
    }
    return false;
}

const char *weir_choices_list(struct weir_arena *arena, const struct weir_choice *choices)
{
    struct weir_strbuf buf;
    weir_strbuf_init(&buf, 1024);
    for (const struct weir_choice *choice = choices; choice->name != NULL; choice++) {
        weir_strbuf_printf(&buf, "%s%s", choice == choices ? "" : ", ", choice->name);
    }
    const char *text = weir_conf_copy(arena, weir_strbuf_view(&buf)).data;
    weir_strbuf_done(&buf);
    return text;
}
