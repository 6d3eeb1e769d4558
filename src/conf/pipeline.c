/* SPDX-License-Identifier: Apache-2.0
 *
 * The field tables of a pipeline file, and loading. `source` and `sources`, `sink` and `sinks` are
 * two ways to write one thing; after loading only the lists count. Keys of parts that this build
 * does not have are unknown keys here: a file that means more than the program can do must not run.
 */
#include "conf/pipeline.h"

#include <stdlib.h>
#include <string.h>

#include "conf/memory.h"

// clang-format off
#define S struct weir_source_config
static const struct weir_field source_fields[] = {
    WEIR_F_STR(S, name, .flags = WEIR_NAME | WEIR_UNIQUE, .unset = "its place in the list",
               .example = "orders", .help = "Names the source in logs and metrics."),
    WEIR_F_COMPONENT(S, component, WEIR_ROLE_SOURCE, .help = "The source and its options."),
    WEIR_FIELDS_END,
};
#undef S

static const struct weir_choice exchange_choices[] = {
    {"memory", WEIR_EXCHANGE_MEMORY, "Within this process; for sources that only it reads (file, stdin, generate)."},
    {"topic", WEIR_EXCHANGE_TOPIC,
     "Through a topic PIPELINE.STEP.exchange, for any number of processes; for a Kafka source. The step needs a `name`."},
    WEIR_CHOICES_END,
};

#define S struct weir_exchange_config
static const struct weir_field exchange_fields[] = {
    WEIR_F_ENUM(S, via, exchange_choices, .flags = WEIR_REQUIRED | WEIR_SHORT, .example = "memory",
                .help = "How the records get there."),
    WEIR_F_INT(S, shards, .unset = "64 in memory, 12 through a topic", .min = 1, .max = 1024, .example = "24",
               .help = "Into how many parts the keys are divided, each with its state; partitions of the "
                       "topic. Fixed once there is state."),
    WEIR_FIELDS_END,
};
#undef S

#define S struct weir_step_config
static const struct weir_field step_fields[] = {
    WEIR_F_STR(S, name, .flags = WEIR_NAME | WEIR_UNIQUE, .unset = "its place in the list",
               .example = "paid",
               .help = "Names the step in logs and metrics, and keeps its identity when steps are "
                       "added before it."),
    WEIR_F_OBJECT_PTR(S, exchange, struct weir_exchange_config, exchange_fields, .unset = "no exchange",
                      .example = "memory",
                      .help = "Brings all records with one key of this step to one place, whatever partition "
                              "of the source they are in. For steps that keep state; once in a pipeline."),
    WEIR_F_COMPONENT(S, component, WEIR_ROLE_STEP, .help = "The step and its options."),
    WEIR_FIELDS_END,
};
#undef S

#define S struct weir_sink_config
static const struct weir_field sink_fields[] = {
    WEIR_F_STR(S, name, .flags = WEIR_NAME | WEIR_UNIQUE, .unset = "its place in the list",
               .example = "paid", .help = "Names the sink in logs and metrics."),
    WEIR_F_JQ(S, when, .flags = WEIR_MANY, .unset = "every record", .example = "'.status == \"paid\"'",
              .help = "Only records for which it is neither false nor null go to this sink."),
    WEIR_F_COMPONENT(S, component, WEIR_ROLE_SINK, .help = "The sink and its options."),
    WEIR_FIELDS_END,
};
#undef S

#define S struct weir_dead_letter_config
static const struct weir_field dead_letter_fields[] = {
    WEIR_F_COMPONENT(S, component, WEIR_ROLE_SINK, .help = "The sink and its options."),
    WEIR_FIELDS_END,
};
#undef S

#define S struct weir_branch_config
static const struct weir_rule branch_rules[] = {
    {WEIR_RULE_EXACTLY_ONE, {"sink", "sinks"}, "A branch ends in one sink, or in several in a list."},
    WEIR_RULES_END,
};
static const struct weir_field branch_fields[] = {
    WEIR_F_STR(S, name, .flags = WEIR_NAME | WEIR_UNIQUE | WEIR_REQUIRED, .example = "paid",
               .help = "Names the branch in logs and metrics."),
    WEIR_F_JQ(S, when, .flags = WEIR_MANY, .unset = "every record", .example = "'.status == \"paid\"'",
              .help = "Only records for which it is neither false nor null enter this branch. Every "
                      "branch whose condition holds gets the record."),
    WEIR_F_LIST(S, steps, struct weir_step_config, step_fields, .max = 256,
                .example = "[filter: .ok]", .help = "Steps of this branch, in order."),
    WEIR_F_OBJECT_PTR(S, sink, struct weir_sink_config, sink_fields, .example = "{stdout: {}}",
                      .help = "Where the records of this branch go."),
    WEIR_F_LIST(S, sinks, struct weir_sink_config, sink_fields, .min = 1, .max = 64,
                .example = "[stdout, drop]", .help = "Several sinks; each gets every record."),
    WEIR_FIELDS_END,
};
#undef S

static const struct weir_choice guarantee_choices[] = {
    {"exactly-once", WEIR_WISH_EXACTLY_ONCE, "Outputs and positions commit together."},
    {"effectively-once", WEIR_WISH_EFFECTIVELY_ONCE, "Repeats carry the same id and are dropped by the target."},
    {"at-least-once", WEIR_WISH_AT_LEAST_ONCE, "Nothing is lost; after a failure something may come twice."},
    {"at-most-once", WEIR_WISH_AT_MOST_ONCE, "Nothing comes twice; a failure may lose what was in flight."},
    WEIR_CHOICES_END,
};

static const struct weir_choice on_error_choices[] = {
    {"stop", WEIR_ON_ERROR_STOP, "The pipeline stops at the record and says where it is."},
    {"skip", WEIR_ON_ERROR_SKIP, "The record is left out, counted and logged."},
    {"dead_letter", WEIR_ON_ERROR_DEAD_LETTER,
     "The record goes to `dead_letter`, as it was read, with the reason in headers."},
    WEIR_CHOICES_END,
};

static const struct weir_choice on_end_choices[] = {
    {"close", WEIR_END_CLOSE, "Windows that are still open are emitted."},
    {"hold", WEIR_END_HOLD, "They stay open for the next run."},
    WEIR_CHOICES_END,
};

static const struct weir_choice state_table_choices[] = {
    {"memory", WEIR_TABLE_MEMORY, "All of it in memory."},
    {"rocksdb", WEIR_TABLE_ROCKSDB, "What is in use in memory, the rest in RocksDB below `dir`: for state that is larger than memory. It is scratch; the log is what a restart reads."},
    WEIR_CHOICES_END,
};

static const struct weir_choice state_log_choices[] = {
    {"auto", WEIR_STATE_AUTO, "In the source's own system where it can, in a file for local sources."},
    {"kafka", WEIR_STATE_KAFKA, "A topic NAME.state, written in the transaction of the positions."},
    {"redis", WEIR_STATE_REDIS, "A stream per task beside the source's, written with its position."},
    {"jetstream", WEIR_STATE_JETSTREAM, "A subject per task in a stream weir-NAME, written with its position."},
    {"file", WEIR_STATE_FILE, "A file in `dir`."},
    {"none", WEIR_STATE_NONE, "Nothing is kept; a restart begins from the start."},
    WEIR_CHOICES_END,
};

static const struct weir_choice log_level_choices[] = {
    {"debug", WEIR_LEVEL_DEBUG, "Everything."},
    {"info", WEIR_LEVEL_INFO, "Changes of state, and what is worse."},
    {"warn", WEIR_LEVEL_WARN, "What works with difficulty, and what is worse."},
    {"error", WEIR_LEVEL_ERROR, "What somebody must look at."},
    WEIR_CHOICES_END,
};

static const struct weir_choice log_format_choices[] = {
    {"auto", WEIR_LOG_FORMAT_AUTO, "Text on a terminal, else JSON."},
    {"json", WEIR_LOG_FORMAT_JSON, "One JSON object per line."},
    {"text", WEIR_LOG_FORMAT_TEXT, "For people."},
    WEIR_CHOICES_END,
};

#define S struct weir_jq_config
static const struct weir_field jq_fields[] = {
    WEIR_F_STRS(S, path, .unset = "the folder of this file alone", .example = "[lib]",
                .help = "Folders in which `import` and `include` look, besides that of this file; "
                        "from there, if they are relative."),
    WEIR_F_BOOL(S, environment, .unset = "false", .example = "true",
                .help = "Lets expressions read `$ENV` and `env`; their results then depend on the "
                        "process that runs them."),
    WEIR_F_INT(S, max_steps, .unset = "4,294,967,296", .example = "1000000", .min = 1000, .max = INT64_C(1) << 53,
               .help = "Operations of one evaluation, at most."),
    WEIR_F_INT(S, max_depth, .unset = "100,000", .example = "10000", .min = 100, .max = 1000000,
               .help = "Evaluations inside each other (calls, for the most part), at most."),
    WEIR_F_INT(S, max_results, .unset = "1,000,000", .example = "1000", .min = 1, .max = INT64_C(1) << 32,
               .help = "Results of one evaluation, at most."),
    WEIR_F_SIZE(S, max_memory, .unset = "256MiB", .example = "16MiB", .min = 65536, .max = INT64_C(1) << 36,
                .help = "Memory of one evaluation, at most."),
    WEIR_F_INT(S, max_backtracking, .unset = "10,000,000", .example = "100000", .min = 1000, .max = 4294967295,
               .help = "Steps of one match of a regular expression, at most."),
    WEIR_FIELDS_END,
};
#undef S

static const struct weir_field http_tls_fields[] = {
    WEIR_F_STR(struct weir_http_tls, cert, .flags = WEIR_REQUIRED, .example = "/etc/weir/http.pem",
               .help = "File with the server's certificate and those between it and its authority."),
    WEIR_F_STR(struct weir_http_tls, key, .flags = WEIR_REQUIRED, .example = "/etc/weir/http.key",
               .help = "File with its private key."),
    WEIR_F_STR(struct weir_http_tls, clients, .example = "/etc/weir/clients-ca.pem",
               .help = "File with the certificates of authorities. A client that shows a certificate "
                       "of theirs needs no `token`."),
    WEIR_FIELDS_END,
};

static const struct weir_field http_fields[] = {
    WEIR_F_STR(struct weir_http_config, listen, .fallback = "127.0.0.1:9600",
               .flags = WEIR_SHORT | WEIR_HOST_PORT,
               .help = "Address and port of /metrics, /livez and /readyz. One that other machines "
                       "reach needs a `token`, or `tls` with `clients`."),
    WEIR_F_STR(struct weir_http_config, token, .flags = WEIR_SECRET, .min = 16, .max = 1024,
               .unset = "no token", .example = "'${file:/run/secrets/weir-token}'",
               .help = "Requests for anything but /metrics, /livez and /readyz must carry it: "
                       "Authorization: Bearer TOKEN."),
    WEIR_F_OBJECT_PTR(struct weir_http_config, tls, struct weir_http_tls, http_tls_fields,
                      .example = "{cert: /etc/weir/http.pem, key: /etc/weir/http.key}",
                      .help = "Speaks HTTPS (TLS 1.2 and newer)."),
    WEIR_F_INT(struct weir_http_config, ready_max_lag, .min = 1, .max = INT64_C(1) << 53,
               .unset = "any lag", .example = "100000",
               .help = "/readyz answers 503 while this process's partitions together are further "
                       "behind than so many records (bytes, for files)."),
    WEIR_F_DURATION(struct weir_http_config, stalled_after, .fallback = "1m", .min = 100,
                    .max = 86400000,
                    .help = "/readyz answers 503 when a partition has more to read and nothing of "
                            "it has been committed for so long (beyond commit_interval)."),
    WEIR_FIELDS_END,
};

static const struct weir_field state_fields[] = {
    WEIR_F_ENUM(struct weir_state_config, table, state_table_choices, .fallback = "memory",
                .help = "Where the state of steps is held while the pipeline runs."),
    WEIR_F_SIZE(struct weir_state_config, memory, .fallback = "256MiB", .min = 1 << 20, .max = INT64_C(1) << 42,
                .help = "With `table: rocksdb`: how much of it is kept in memory, by all partitions together."),
    WEIR_F_ENUM(struct weir_state_config, log, state_log_choices, .fallback = "auto",
                .help = "Where the state of steps is kept, and positions that no source's own system "
                        "keeps."),
    WEIR_F_STR(struct weir_state_config, dir, .unset = "NAME.state", .example = "/var/lib/weir",
               .help = "The folder of the file log, and of tables on disk; made if it is not there."),
    WEIR_FIELDS_END,
};

static const struct weir_field log_fields[] = {
    WEIR_F_ENUM(struct weir_log_config, level, log_level_choices, .fallback = "info",
                .flags = WEIR_SHORT, .help = "The least important lines that are shown."),
    WEIR_F_ENUM(struct weir_log_config, format, log_format_choices, .fallback = "auto",
                .help = "How a line looks."),
    WEIR_FIELDS_END,
};

const struct weir_rule weir_pipeline_rules[] = {
    {WEIR_RULE_EXACTLY_ONE, {"source", "sources"}, "A pipeline reads one source, or several in a list."},
    {WEIR_RULE_EXACTLY_ONE, {"sink", "sinks", "branches"},
     "A pipeline ends in one sink, in several, or in branches."},
    WEIR_RULES_END,
};

#define S struct weir_pipeline_config
const struct weir_field weir_pipeline_fields[] = {
    WEIR_F_STR(S, name, .flags = WEIR_REQUIRED | WEIR_NAME, .min = 1, .max = 200, .example = "revenue",
               .help = "Names the pipeline in consumer groups, state, metrics and logs."),
    WEIR_F_STR(S, instance, .flags = WEIR_NAME, .unset = "no stable identity", .example = "a",
               .help = "Names this process among those that run the pipeline. With it a restart is "
                       "taken back within seconds."),
    /* Before everything that has expressions: they are compiled by it. */
    WEIR_F_OBJECT(S, jq, struct weir_jq_config, jq_fields,
                  .help = "What expressions may use. Past a limit the record fails, and nothing in "
                          "the expression can catch it."),
    WEIR_F_OBJECT_PTR(S, source, struct weir_source_config, source_fields, .elsewhere = "input",
                      .example = "{kafka: {brokers: localhost:9092, topic: orders}}",
                      .help = "Where records come from."),
    WEIR_F_LIST(S, sources, struct weir_source_config, source_fields, .min = 1, .max = 64,
                .elsewhere = "inputs",
                .example = "[{file: {path: a.jsonl}}, {file: {path: b.jsonl}}]",
                .help = "Several sources, merged."),
    WEIR_F_LIST(S, steps, struct weir_step_config, step_fields, .max = 256,
                .example = "[filter: .ok, map: .value]",
                .elsewhere = "pipeline,processors,transforms,transform",
                .help = "What happens to each record, in order."),
    WEIR_F_OBJECT_PTR(S, sink, struct weir_sink_config, sink_fields, .example = "{stdout: {}}",
                      .elsewhere = "output", .help = "Where records go."),
    WEIR_F_LIST(S, sinks, struct weir_sink_config, sink_fields, .min = 1, .max = 64,
                .example = "[{name: paid, when: .paid, stdout: {}}, drop]",
                .elsewhere = "outputs",
                .help = "Several sinks; each gets every record for which its `when` holds."),
    WEIR_F_LIST(S, branches, struct weir_branch_config, branch_fields, .rules = branch_rules,
                .min = 1, .max = 64, .example = "[{name: all, sink: {stdout: {}}}]",
                .help = "Ways through the pipeline with steps and sinks of their own."),
    WEIR_F_ENUM(S, guarantee, guarantee_choices, .unset = "the strongest that can be had",
                .help = "What is promised. Written, it is exactly that, or an error at start with "
                        "the reason."),
    WEIR_F_ENUM(S, on_error, on_error_choices,
                .unset = "dead_letter if there is one, else stop",
                .help = "What happens to a record that can never be processed."),
    WEIR_F_OBJECT_PTR(S, dead_letter, struct weir_dead_letter_config, dead_letter_fields,
                      .example = "{kafka: {topic: orders.dead}}",
                      .elsewhere = "dlq,dead_letter_queue",
                      .help = "Where records go that can never be processed: key and value as they "
                              "were read, and where the target has headers (Kafka, NATS) "
                              "`weir.error`, `weir.step`, `weir.source`, `weir.topic`, "
                              "`weir.partition`, `weir.offset` and `weir.time`. They are part of "
                              "the commit that skips the record."),
    WEIR_F_ENUM(S, on_end, on_end_choices, .fallback = "close",
                .help = "What happens to open windows when all sources have come to their end."),
    WEIR_F_INT(S, batch_size, .fallback = "500", .min = 1, .max = 100000,
               .help = "Records that are taken from a source at a time, at most."),
    WEIR_F_DURATION(S, commit_interval, .min = 1, .max = 3600000,
                    .unset = "100ms exactly-once or shared, else 1s", .example = "1s",
                    .help = "Time between two commits. What is read from a shared stream (Redis "
                            "group, JetStream durable) is acknowledged then. If it is not set, a "
                            "transaction takes 1s while a backlog waits."),
    WEIR_F_INT(S, lanes, .min = 1, .max = 1024, .unset = "the CPUs this process may use",
               .elsewhere = "threads,workers,concurrency",
               .example = "2", .help = "Threads that process records."),
    WEIR_F_DURATION(S, shutdown_timeout, .fallback = "30s", .min = 1, .max = 3600000,
                    .help = "Longest time to finish and commit after a signal."),
    WEIR_F_SIZE(S, in_flight, .fallback = "48MiB", .min = 1048576, .max = INT64_C(1) << 40,
                .help = "Bytes that are read and not yet written, at most, over the whole process."),
    WEIR_F_DURATION(S, transaction_timeout, .fallback = "10s", .min = 1000, .max = 900000,
                    .flags = WEIR_ADVANCED,
                    .help = "After this time a server gives up the open transaction of a process "
                            "that is gone."),
    WEIR_F_BOOL(S, singleton, .fallback = "false",
                .help = "Of all processes that run the pipeline one works, the others stand by. Its "
                        "lease is kept by the first source or sink whose system can: kafka, redis, nats."),
    WEIR_F_DURATION(S, singleton_timeout, .fallback = "10s", .min = 500, .max = 3600000,
                    .flags = WEIR_ADVANCED,
                    .help = "How long that lease lasts: after a crash another process takes over "
                            "within this and a fifteenth of it, after a clean end within a fifteenth. "
                            "Kafka's brokers take 6s and more (group.min.session.timeout.ms), and "
                            "their groups need another fifteenth to assemble."),
    WEIR_F_OBJECT(S, state, struct weir_state_config, state_fields,
                  .help = "Where weir keeps what it must not forget."),
    WEIR_F_OBJECT_PTR(S, http, struct weir_http_config, http_fields, .fallback = "{}",
                      .flags = WEIR_OFF, .help = "Metrics and health over HTTP, or off."),
    WEIR_F_OBJECT(S, log, struct weir_log_config, log_fields, .help = "The log, on standard error."),
    WEIR_FIELDS_END,
};
#undef S
// clang-format on

/* --- loading ---------------------------------------------------------------------------------- */

static const char *process_getenv(const void *context, const char *name)
{
    (void)context;
    return getenv(name);
}

/* Of the file; the current one when the text is none. */
static const char *folder_of(struct weir_arena *arena, const struct weir_text *text)
{
    const char *slash = strrchr(text->name, '/');
    size_t size = slash == NULL ? 0 : slash == text->name ? 1 : (size_t)(slash - text->name);
    return size == 0 ? "." : weir_conf_copy(arena, (struct weir_slice){text->name, size}).data;
}

static void normalise(struct weir_loaded *loaded)
{
    struct weir_pipeline_config *config = &loaded->config;
    if (config->on_error == 0) {
        config->on_error =
            config->dead_letter != NULL ? WEIR_ON_ERROR_DEAD_LETTER : WEIR_ON_ERROR_STOP;
    }
    if (config->source != NULL) {
        config->sources = (struct weir_items){config->source, 1};
    }
    if (config->sink != NULL) {
        config->sinks = (struct weir_items){config->sink, 1};
    }
    for (size_t i = 0; i < config->branches.count; i++) {
        struct weir_branch_config *branch =
            WEIR_ITEMS_AT(struct weir_branch_config, &config->branches, i);
        if (branch->sink != NULL) {
            branch->sinks = (struct weir_items){branch->sink, 1};
        }
    }
}

struct weir_loaded *weir_load_text(const struct weir_surroundings *surroundings,
                                   struct weir_text *text,
                                   struct weir_diags *diags)
{
    size_t errors = diags->errors;
    struct weir_loaded *loaded = weir_conf_alloc(diags->arena, 1, sizeof(*loaded));
    loaded->text = text;
    loaded->compiler = *surroundings->compiler;
    if (loaded->compiler.context == NULL) {
        loaded->expressions =
            (struct weir_jq_place){&loaded->config.jq, folder_of(diags->arena, text)};
        loaded->compiler.context = &loaded->expressions;
    }
    weir_binder_init(&loaded->binder, diags->arena, diags, surroundings->registry,
                     &loaded->compiler);
    weir_getenv *env = surroundings->env != NULL ? surroundings->env : process_getenv;
    struct weir_node *root =
        weir_tree_parse(diags->arena, text, env, surroundings->env_context, diags);
    if (root != NULL) {
        weir_bind(&loaded->binder, weir_pipeline_fields, weir_pipeline_rules, root,
                  &loaded->config);
    }
    if (root == NULL || diags->errors > errors) {
        weir_loaded_free(loaded);
        return NULL;
    }
    normalise(loaded);
    return loaded;
}

struct weir_loaded *weir_load_file(const struct weir_surroundings *surroundings,
                                   const char *path,
                                   struct weir_diags *diags)
{
    struct weir_err err = {0};
    struct weir_text *text = weir_text_read(diags->arena, path, &err);
    if (text == NULL) {
        (void)weir_diag_add_err(diags, path, &err);
        return NULL;
    }
    return weir_load_text(surroundings, text, diags);
}

struct weir_loaded *weir_load_environment(const struct weir_surroundings *surroundings,
                                          struct weir_diags *diags)
{
    struct weir_text *text = weir_environment_text(surroundings, diags);
    return text == NULL ? NULL : weir_load_text(surroundings, text, diags);
}

void weir_loaded_free(struct weir_loaded *loaded)
{
    if (loaded != NULL) {
        weir_binder_done(&loaded->binder);
    }
}
