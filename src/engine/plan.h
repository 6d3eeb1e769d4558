/* SPDX-License-Identifier: Apache-2.0
 *
 * What a pipeline can promise, computed from what its components declare: the weakest edge decides.
 * Computed once, before anything is opened; `weir explain` prints it, the engine obeys it.
 */
#ifndef WEIR_ENGINE_PLAN_H
#define WEIR_ENGINE_PLAN_H

#include <weir/component.h>

enum weir_guarantee {
    WEIR_AT_MOST_ONCE,
    WEIR_AT_LEAST_ONCE,
    WEIR_EFFECTIVELY_ONCE,
    WEIR_EXACTLY_ONCE,
};

const char *weir_guarantee_name(enum weir_guarantee guarantee); /* "exactly-once" */

/* One side of the pipeline, or a step. */
struct weir_plan_edge {
    const struct weir_component *component;
    const void *config;
    const char *name;  /* "source.kafka", "sinks[1].file" */
    const char *label; /* the user's name:, or NULL */
    struct weir_place place;
    bool in_domain;                /* commits with plan->domain */
    bool positioned;               /* sources: read by position */
    bool identified;               /* sinks: see weir_ctx */
    enum weir_guarantee guarantee; /* what this edge allows */
    char why[256];                 /* a sentence */
};

/* As the user knows it. */
static inline const char *weir_plan_edge_name(const struct weir_plan_edge *edge)
{
    return edge->label != NULL ? edge->label : edge->name;
}

/* A step that keeps state, under the name by which the log finds it again. */
struct weir_plan_step {
    const struct weir_component *component;
    const char *name; /* the user's, or "steps[2].window" */
    uint32_t version; /* weir_plan_state_version */
};

/* A step that asks. */
struct weir_plan_asker {
    const struct weir_component *component;
    const void *config;
    const char *name, *label; /* as above, the user's or NULL */
    bool is_within; /* a step before it may change state: an epoch is complete only with its answers
                     */
};

struct weir_step_config;

struct weir_plan {
    enum weir_guarantee guarantee;
    char why[256];
    const struct weir_domain_ops *domain; /* commits outputs and positions together; NULL: none */
    bool stateful;                        /* a step keeps state */
    bool state_in_domain;                 /* its log is the domain's */
    bool state_is_kept;                   /* in either log; else it is gone after a restart */
    bool uses_log;                        /* positions (and file lengths) lie in the state log */
    char log_dir[1024];
    int64_t commit_interval_ms;
    int64_t backlog_interval_ms; /* while much waits to be read; never shorter */
    unsigned lanes;
    struct weir_plan_edge *sources, *sinks;
    const struct weir_plan_edge *leases; /* keeps the lease of a singleton; NULL: it is none */
    size_t source_count, sink_count;
    struct weir_plan_edge *steps; /* those of the branches, too: component, config, name, label */
    size_t step_count;
    struct weir_plan_step *stateful_steps;
    size_t stateful_step_count;
    struct weir_plan_asker *askers;
    size_t asker_count;
    const struct weir_step_config *exchange; /* the step with an exchange in front; NULL: none */
    size_t exchange_at;                      /* among the pipeline's steps */
    int32_t exchange_shards;
    const struct weir_exchange_ops *exchange_topic; /* NULL: in memory */
    const char *exchange_name;       /* of its source, as the state log knows it: "sums.exchange" */
    const char *exchange_topic_name; /* of the topic; in memory "64 shards" */
    const void *exchange_source_config, *exchange_sink_config; /* of the topic */
    const void *blame; /* the member of the configuration that an error is about; NULL: guarantee */
    const struct weir_plan_edge
        *blamed_edge; /* … or the source or step, with the error's path in it */
};

struct weir_pipeline_config;

/* What the index-th step of a list is called; prefix: "" or "BRANCH.". */
const char *weir_plan_step_name(const struct weir_step_config *step,
                                size_t index,
                                const char *prefix,
                                struct weir_arena *arena);

/* What state is kept under: the component's version in the first byte, the configuration's layout
 * in the others. */
uint32_t weir_plan_state_version(const struct weir_component *component, const void *config);

/* How long the lanes have to come to the end of what belongs to an epoch, answers included, when
 * it closes; a transaction is aborted then. */
int64_t weir_plan_patience_ms(const struct weir_pipeline_config *config);

/* Everything is allocated in the arena. Fails with WEIR_CONFIG when a written `guarantee:` cannot
 * be had. connect: compares systems by their identity where addresses differ. */
WEIR_MUST_USE weir_status weir_plan_make(struct weir_plan *plan,
                                         const struct weir_pipeline_config *config,
                                         struct weir_arena *arena,
                                         bool connect,
                                         struct weir_err *err);

#endif
