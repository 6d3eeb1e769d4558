/* SPDX-License-Identifier: Apache-2.0
 *
 * What a record becomes for a Redis server: a command in the protocol's form, an entry added to a
 * stream or one that the pipeline computes.
 */
#ifndef WEIR_REDIS_COMMAND_H
#define WEIR_REDIS_COMMAND_H

#include "redis_client.h"

struct redis_sink_config {
    struct redis_connection connection;
    struct weir_template stream;
    struct weir_expr command, key;
    const char *field, *key_field;
    int64_t maxlen, partitions;
    weir_duration max_age;
};

/* lane. The record's command is appended to `out`, whose `failed` is to be looked at after it, as
 * is that of `scratch`. A failure names the field in its path. */
WEIR_MUST_USE weir_status redis_command_make(const struct redis_sink_config *config,
                                             const struct weir_clock *clock,
                                             struct weir_run *run,
                                             struct weir_record *record,
                                             struct weir_strbuf *out,
                                             struct weir_strbuf *scratch,
                                             struct weir_err *err);

#endif
