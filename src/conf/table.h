/* SPDX-License-Identifier: Apache-2.0
 *
 * Looking things up in field tables and registries. Any thread.
 */
#ifndef WEIR_CONF_TABLE_H
#define WEIR_CONF_TABLE_H

#include <stdbool.h>

#include <weir/arena.h>
#include <weir/fields.h>

const struct weir_described *
weir_registry_find(const struct weir_registry *registry, enum weir_role role, const char *name);
const char *weir_role_name(enum weir_role role);           /* "source" */
const char *weir_role_plural(enum weir_role role);         /* "sources" */
size_t weir_fields_count(const struct weir_field *fields); /* 0 for NULL */
/* The field that a scalar or list in place of the object binds to, or NULL. */
const struct weir_field *weir_fields_short(const struct weir_field *fields);
const struct weir_field *weir_fields_find(const struct weir_field *fields, const char *name);
const struct weir_choice *weir_choice_of(const struct weir_choice *choices, int value);
/* A key of `properties` and the like whose value must not be shown. */
bool weir_key_is_secret(const char *key);

/* The field that is the component itself, or NULL. */
const struct weir_field *weir_fields_component(const struct weir_field *fields);
/* A comma-separated list of the names that fit, for `allowed`. */
const char *weir_choices_list(struct weir_arena *arena, const struct weir_choice *choices);

#endif
