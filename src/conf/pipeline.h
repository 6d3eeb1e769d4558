/* SPDX-License-Identifier: Apache-2.0
 *
 * The configuration of a pipeline: what a user's file says, and how it is loaded. Immutable once
 * loaded; any thread may read it.
 */
#ifndef WEIR_CONF_PIPELINE_H
#define WEIR_CONF_PIPELINE_H

#include <weir/fields.h>
#include <weir/log.h>

#include "base/log.h"
#include "conf/bind.h"

enum weir_guarantee_wish {
    WEIR_WISH_STRONGEST, /* not written */
    WEIR_WISH_EXACTLY_ONCE,
    WEIR_WISH_EFFECTIVELY_ONCE,
    WEIR_WISH_AT_LEAST_ONCE,
    WEIR_WISH_AT_MOST_ONCE,
};

enum weir_on_error {
    WEIR_ON_ERROR_STOP = 1,
    WEIR_ON_ERROR_SKIP,
    WEIR_ON_ERROR_DEAD_LETTER,
};

enum weir_on_end {
    WEIR_END_CLOSE = 1,
    WEIR_END_HOLD,
};

enum weir_state_medium {
    WEIR_STATE_AUTO = 1,
    WEIR_STATE_FILE,
    WEIR_STATE_KAFKA,
    WEIR_STATE_REDIS,
    WEIR_STATE_JETSTREAM,
    WEIR_STATE_NONE,
};

struct weir_source_config {
    const char *name; /* may be NULL */
    struct weir_chosen component;
};

enum weir_exchange_via {
    WEIR_EXCHANGE_MEMORY = 1,
    WEIR_EXCHANGE_TOPIC,
};

/* In front of a step: brings all records of one key to one task. */
struct weir_exchange_config {
    int via;        /* enum weir_exchange_via */
    int64_t shards; /* 0: as many as is usual for it */
};

struct weir_step_config {
    const char *name;                      /* may be NULL */
    struct weir_exchange_config *exchange; /* may be NULL */
    struct weir_chosen component;
};

struct weir_sink_config {
    const char *name;      /* may be NULL */
    struct weir_expr when; /* program == NULL: every record */
    struct weir_chosen component;
};

struct weir_dead_letter_config {
    struct weir_chosen component;
};

struct weir_branch_config {
    const char *name;
    struct weir_expr when;   /* program == NULL: every record */
    struct weir_items steps; /* struct weir_step_config */
    struct weir_items sinks; /* struct weir_sink_config; a single `sink` is one of them */
    struct weir_sink_config *sink;
};

struct weir_jq_config {
    struct weir_strs path;
    bool environment;
    int64_t max_steps, max_depth, max_results, max_backtracking; /* 0: the default */
    weir_bytesize max_memory;
};

struct weir_http_tls {
    const char *cert, *key;
    const char *clients; /* authorities whose clients need no token; may be NULL */
};

struct weir_http_config {
    const char *listen;        /* host:port */
    const char *token;         /* may be NULL */
    struct weir_http_tls *tls; /* NULL: not encrypted */
    int64_t ready_max_lag;     /* 0: any */
    weir_duration stalled_after;
};

enum weir_state_table { WEIR_TABLE_MEMORY = 1, WEIR_TABLE_ROCKSDB };

struct weir_state_config {
    int table;            /* enum weir_state_table */
    weir_bytesize memory; /* of tables that are larger */
    int log;              /* enum weir_state_medium */
    const char *dir;
};

struct weir_log_config {
    int level;  /* enum weir_log_level */
    int format; /* enum weir_format_wish */
};

struct weir_pipeline_config {
    const char *name;
    const char *instance; /* may be NULL */
    struct weir_jq_config jq;
    struct weir_items sources;  /* struct weir_source_config; a single `source` is one of them */
    struct weir_items steps;    /* struct weir_step_config */
    struct weir_items sinks;    /* struct weir_sink_config; a single `sink` is one of them */
    struct weir_items branches; /* struct weir_branch_config; then there are no sinks */
    struct weir_source_config *source;
    struct weir_sink_config *sink;
    int guarantee;                               /* enum weir_guarantee_wish */
    int on_error;                                /* enum weir_on_error */
    struct weir_dead_letter_config *dead_letter; /* may be NULL */
    int on_end;                                  /* enum weir_on_end */
    int64_t batch_size;
    weir_duration commit_interval; /* 0: by the guarantee */
    int64_t lanes;                 /* 0: by the CPUs */
    weir_duration shutdown_timeout;
    weir_bytesize in_flight;
    weir_duration transaction_timeout;
    bool singleton;
    weir_duration singleton_timeout;
    struct weir_state_config state;
    struct weir_http_config *http; /* NULL: off */
    struct weir_log_config log;
};

extern const struct weir_field weir_pipeline_fields[];
extern const struct weir_rule weir_pipeline_rules[];

/* What loading needs to know. Borrowed until the pipeline is freed. */
struct weir_surroundings {
    const struct weir_registry *registry;
    const struct weir_compiler *compiler;
    weir_getenv *env; /* NULL: getenv() */
    const void *env_context;
};

/* What compiling an expression needs; the context of weir_jq_compiler, which goes without it too.
 */
struct weir_jq_place {
    const struct weir_jq_config *config;
    const char *folder; /* of the pipeline file */
};

struct weir_loaded {
    struct weir_pipeline_config config;
    struct weir_compiler compiler; /* with the place of these expressions */
    struct weir_jq_place expressions;
    struct weir_text *text;
    struct weir_binder binder; /* origins, components */
};

/* Each returns NULL, and errors in diags, when the pipeline cannot be run as written. Everything
 * lives in diags->arena; free releases only the compiled programs. */
struct weir_loaded *weir_load_file(const struct weir_surroundings *surroundings,
                                   const char *path,
                                   struct weir_diags *diags);
struct weir_loaded *weir_load_text(const struct weir_surroundings *surroundings,
                                   struct weir_text *text,
                                   struct weir_diags *diags);
/* Environment-only mode: from KAFKA_BROKERS, TOPIC, OUTPUT and so on (environment.c). */
struct weir_loaded *weir_load_environment(const struct weir_surroundings *surroundings,
                                          struct weir_diags *diags);
void weir_loaded_free(struct weir_loaded *loaded);

/* The text that the environment amounts to; NULL and errors in diags. */
struct weir_text *weir_environment_text(const struct weir_surroundings *surroundings,
                                        struct weir_diags *diags);

#endif
