/* SPDX-License-Identifier: Apache-2.0
 *
 * The effective settings of a bound configuration, with where each comes from; secrets masked.
 */
#ifndef WEIR_CONF_DUMP_H
#define WEIR_CONF_DUMP_H

#include <weir/strbuf.h>

#include "conf/bind.h"

struct weir_setting {
    const char *path;                 /* "source.kafka.brokers" */
    const char *value;                /* in configuration syntax; NULL: not set */
    const struct weir_field *field;   /* NULL: a component without options */
    const struct weir_origin *origin; /* NULL: not set */
    uint64_t fingerprint;             /* of the value without masks: tells whether secrets differ */
};

typedef void weir_setting_visit(void *context, const struct weir_setting *setting);

/* Visits every setting in the order of the tables. Strings live during the call. */
void weir_dump(const struct weir_binder *binder,
               const struct weir_field *fields,
               const void *config,
               weir_setting_visit *visit,
               void *context);
/* One line each: path, value, origin, in columns. Settings that are not set are left out. */
void weir_dump_text(const struct weir_binder *binder,
                    const struct weir_field *fields,
                    const void *config,
                    struct weir_strbuf *out);
/* A JSON array of {"path","value","origin":"default"|"file"|"environment"|"inherited", "place"?,
 * "variable"?}. */
void weir_dump_json(const struct weir_binder *binder,
                    const struct weir_field *fields,
                    const void *config,
                    struct weir_strbuf *out);

#endif
