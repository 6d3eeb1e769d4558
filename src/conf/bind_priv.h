/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of the binder share: bind.c (objects and lists), bind_value.c (single values),
 * bind_component.c (components picked by name), bind_rules.c (rules and unknown keys).
 */
#ifndef WEIR_CONF_BIND_PRIV_H
#define WEIR_CONF_BIND_PRIV_H

#include "conf/bind.h"
#include "conf/limits.h"
#include "conf/table.h"

/* "source.kafka.topic", built on the stack while descending. */
struct weir_bind_path {
    const struct weir_bind_path *up;
    const char *name; /* NULL: an index */
    size_t index;
};

/* A value and what to point at when something is missing in it. */
struct weir_bind_at {
    const struct weir_node *key; /* may be NULL */
    struct weir_node *node;
    const struct weir_bind_path *path;
};

/* Fills the member of a field of scalar role, list of strings or map. */
/* Compiles a part of the node's value. */
void weir_bind_program(struct weir_binder *binder,
                       const struct weir_field *field,
                       struct weir_bind_at at,
                       struct weir_slice text,
                       struct weir_expr *member);
void weir_bind_calls(struct weir_binder *binder,
                     const struct weir_field *field,
                     struct weir_bind_at at,
                     struct weir_calls *member);
void weir_bind_scalar(struct weir_binder *binder,
                      const struct weir_field *field,
                      struct weir_bind_at at,
                      void *member);
struct weir_diag *weir_bind_error(struct weir_binder *binder,
                                  const struct weir_node *node,
                                  const struct weir_bind_path *path,
                                  const char *format,
                                  ...) __attribute__((format(printf, 4, 5)));
void weir_bind_note_origin(struct weir_binder *binder,
                           const struct weir_field *field,
                           const struct weir_node *node,
                           const void *member);

/* One object while it is bound. */
struct weir_bind_object {
    const struct weir_field *fields;
    const struct weir_rule *rules;
    const char *what;       /* "source kafka"; NULL: the document */
    struct weir_bind_at at; /* node may be NULL: nothing is written */
    void *config;
    const struct weir_member *written[WEIR_CONF_FIELDS_MAX]; /* per field, or NULL */
    const struct weir_bound *from; /* takes over connection settings from it, or NULL */
    bool *is_set;                  /* per field; may be NULL */
    /* Fields that an unknown key was probably meant to be: not reported as missing too. */
    bool was_meant[WEIR_CONF_FIELDS_MAX];
};

void weir_bind_object(struct weir_binder *binder, struct weir_bind_object *object);
/* Fills the object's COMPONENT field. */
void weir_bind_component(struct weir_binder *binder,
                         const struct weir_field *field,
                         struct weir_bind_object *object);
void weir_bind_check_rules(struct weir_binder *binder, const struct weir_bind_object *object);
/* role != 0: the key could also have been a component. */
void weir_bind_report_unknown(struct weir_binder *binder,
                              struct weir_bind_object *object,
                              const struct weir_node *key,
                              enum weir_role role);
/* The names that could stand here, comma-separated. */
const char *
weir_bind_allowed(struct weir_binder *binder, const struct weir_field *fields, enum weir_role role);
const char *weir_bind_path_text(struct weir_binder *binder, const struct weir_bind_path *path);

#endif
