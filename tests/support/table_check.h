/* SPDX-License-Identifier: Apache-2.0
 *
 * What must hold of every field table: names in snake_case and unique, help that ends in a full
 * stop, choices where the type needs them, rules about fields that exist. Defaults and examples are
 * checked by binding them.
 */
#ifndef WEIR_TESTS_TABLE_CHECK_H
#define WEIR_TESTS_TABLE_CHECK_H

#include <stdio.h>

#include <weir/fields.h>

#include "conf/table.h"

static inline int table_complain(const char *where, const char *name, const char *what)
{
    (void)fprintf(stderr, "%s.%s: %s\n", where, name == NULL ? "(component)" : name, what);
    return 1;
}

static inline bool table_is_snake(const char *name)
{
    size_t size = strlen(name);
    return size > 0 && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") == size &&
           name[0] != '_' && name[size - 1] != '_';
}

static inline bool table_is_sentence(const char *text)
{
    return text != NULL && text[0] != '\0' && text[strlen(text) - 1] == '.';
}

static inline int
table_check_rules(const char *where, const struct weir_field *fields, const struct weir_rule *rules)
{
    int wrong = 0;
    for (; rules != NULL && rules->type != WEIR_RULE_END; rules++) {
        size_t max = sizeof(rules->fields) / sizeof(rules->fields[0]);
        for (size_t i = 0; i < max && rules->fields[i] != NULL; i++) {
            if (weir_fields_find(fields, rules->fields[i]) == NULL) {
                wrong += table_complain(where, rules->fields[i], "a rule names no field");
            }
        }
        if (rules->hint != NULL && !table_is_sentence(rules->hint)) {
            wrong += table_complain(where, rules->fields[0], "the hint is not a sentence");
        }
    }
    return wrong;
}

/* The number of complaints. */
static inline int
table_check(const char *where, const struct weir_field *fields, const struct weir_rule *rules)
{
    int wrong = table_check_rules(where, fields, rules);
    for (size_t i = 0; i < weir_fields_count(fields); i++) {
        const struct weir_field *field = &fields[i];
        if (!table_is_sentence(field->help)) {
            wrong += table_complain(where, field->name, "help does not end in a full stop");
        }
        if (field->type == WEIR_TYPE_COMPONENT) {
            continue;
        }
        if (field->name == NULL || !table_is_snake(field->name)) {
            wrong += table_complain(where, field->name, "not snake_case");
        }
        if (weir_fields_find(fields, field->name) != field) {
            wrong += table_complain(where, field->name, "twice");
        }
        bool has_choices = field->type == WEIR_TYPE_ENUM || field->type == WEIR_TYPE_MOMENT;
        if (has_choices != (field->choices != NULL)) {
            wrong += table_complain(where, field->name, "choices do not fit the type");
        }
        for (const struct weir_choice *choice = field->choices;
             choice != NULL && choice->name != NULL; choice++) {
            if (!table_is_sentence(choice->help)) {
                wrong += table_complain(where, choice->name, "help does not end in a full stop");
            }
        }
        if ((field->flags & WEIR_REQUIRED) != 0 && field->fallback != NULL) {
            wrong += table_complain(where, field->name, "required, yet it has a default");
        }
        if ((field->flags & WEIR_REQUIRED) != 0 && field->example == NULL) {
            wrong += table_complain(where, field->name, "required, yet it has no example");
        }
        if (field->children != NULL) {
            char below[256];
            (void)snprintf(below, sizeof(below), "%s.%s", where, field->name);
            wrong += table_check(below, field->children, field->rules);
        }
    }
    return wrong;
}

#endif
