/* SPDX-License-Identifier: Apache-2.0
 *
 * What belongs together, and what does not go together: the domain in which sources, sinks and
 * state commit, the state log, the exchange, leases. Only declarations are read; nothing is
 * started.
 */
#include "engine/plan.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/limits.h"
#include "conf/pipeline.h"
#include "engine/exchange.h"
#include "engine/guarantee.h"

enum { MEMORY_SHARDS = 64, TOPIC_SHARDS = 12, BACKLOG_INTERVAL_MS = 1000 };

static const struct weir_component *component_of(const struct weir_described *described)
{
    const char *base = (const char *)described - offsetof(struct weir_component, described);
    return (const struct weir_component *)(const void *)base;
}

static void edge_fill(struct weir_plan_edge *edge,
                      struct weir_arena *arena,
                      const struct weir_chosen *chosen,
                      const char *label,
                      const char *role,
                      size_t index,
                      size_t count)
{
    edge->component = component_of(chosen->described);
    edge->config = chosen->config;
    edge->place = chosen->place;
    edge->label = label;
    edge->name =
        count == 1 ? weir_arena_printf(arena, "%s.%s", role, chosen->described->name)
                   : weir_arena_printf(arena, "%ss[%zu].%s", role, index, chosen->described->name);
}

/* Sinks in the order of the graph: the pipeline's, then each branch's, then the dead letters'. */
static void plan_list_sinks(struct weir_plan *plan,
                            const struct weir_pipeline_config *config,
                            struct weir_arena *arena)
{
    size_t count = config->sinks.count;
    for (size_t i = 0; i < config->branches.count; i++) {
        count += WEIR_ITEMS_AT(struct weir_branch_config, &config->branches, i)->sinks.count;
    }
    count += config->dead_letter != NULL;
    plan->sinks = weir_arena_calloc(arena, count, sizeof(*plan->sinks));
    for (size_t i = 0; i < config->sinks.count; i++) {
        const struct weir_sink_config *sink =
            WEIR_ITEMS_AT(struct weir_sink_config, &config->sinks, i);
        edge_fill(&plan->sinks[plan->sink_count++], arena, &sink->component, sink->name, "sink", i,
                  config->sinks.count);
    }
    for (size_t i = 0; i < config->branches.count; i++) {
        const struct weir_branch_config *branch =
            WEIR_ITEMS_AT(struct weir_branch_config, &config->branches, i);
        char *role = branch->name == NULL ? weir_arena_printf(arena, "branches[%zu].sink", i)
                                          : weir_arena_printf(arena, "%s.sink", branch->name);
        for (size_t k = 0; k < branch->sinks.count; k++) {
            const struct weir_sink_config *sink =
                WEIR_ITEMS_AT(struct weir_sink_config, &branch->sinks, k);
            edge_fill(&plan->sinks[plan->sink_count++], arena, &sink->component, sink->name, role,
                      k, branch->sinks.count);
        }
    }
    if (config->dead_letter != NULL) {
        edge_fill(&plan->sinks[plan->sink_count++], arena, &config->dead_letter->component,
                  "dead_letter", "dead_letter", 0, 1);
    }
}

/* --- the domain --------------------------------------------------------------------------------*/

static weir_status edge_domain(const struct weir_plan_edge *edge,
                               bool connect,
                               struct weir_strbuf *out,
                               struct weir_err *err)
{
    weir_strbuf_init(out, 65536);
    return edge->component->domain_name(edge->config, connect, out, err);
}

static weir_status edges_share_domain(const struct weir_plan_edge *a,
                                      const struct weir_plan_edge *b,
                                      bool connect,
                                      bool *ret_same,
                                      struct weir_err *err)
{
    weir_status status = WEIR_OK;
    *ret_same = false;
    for (int round = 0; round < (connect ? 2 : 1) && status == WEIR_OK && !*ret_same; round++) {
        struct weir_strbuf first, second;
        weir_strbuf_init(&second, 0);
        status = edge_domain(a, round == 1, &first, err);
        if (status == WEIR_OK) {
            status = edge_domain(b, round == 1, &second, err);
        }
        *ret_same = status == WEIR_OK &&
                    weir_slice_equal(weir_strbuf_view(&first), weir_strbuf_view(&second));
        weir_strbuf_done(&first);
        weir_strbuf_done(&second);
    }
    return status;
}

/* The system that is to keep the state; NULL: what is written names none. */
static const char *log_system(const struct weir_pipeline_config *config)
{
    return config->state.log == WEIR_STATE_KAFKA       ? "kafka"
           : config->state.log == WEIR_STATE_REDIS     ? "redis"
           : config->state.log == WEIR_STATE_JETSTREAM ? "nats"
                                                       : NULL;
}

/* As it is written. */
static const char *state_log_name(const struct weir_pipeline_config *config)
{
    return config->state.log == WEIR_STATE_JETSTREAM ? "jetstream" : log_system(config);
}

/* The domain keeps the state, unless something else is written. */
static bool log_in_domain(const struct weir_pipeline_config *config, const struct weir_plan *plan)
{
    const struct weir_component *source = plan->sources[0].component;
    const char *written = log_system(config);
    return source->domain != NULL && source->domain->state_log != NULL &&
           (config->state.log == WEIR_STATE_AUTO ||
            (written != NULL && strcmp(source->described.name, written) == 0));
}

/* Sets plan->domain when everything commits together; else says in `why` what does not. */
static weir_status plan_find_domain(struct weir_plan *plan,
                                    const struct weir_pipeline_config *config,
                                    bool connect,
                                    struct weir_err *err)
{
    const struct weir_plan_edge *first = &plan->sources[0];
    const struct weir_domain_ops *domain = first->positioned ? first->component->domain : NULL;
    bool wanted = config->guarantee != WEIR_WISH_AT_LEAST_ONCE;
    bool writes = false, sources_in = true;
    if (!wanted && !plan->stateful) {
        return WEIR_OK;
    }
    for (size_t i = 0; i < plan->source_count + plan->sink_count; i++) {
        bool is_source = i < plan->source_count;
        struct weir_plan_edge *edge =
            is_source ? &plan->sources[i] : &plan->sinks[i - plan->source_count];
        if (edge->component->discards) {
            snprintf(edge->why, sizeof(edge->why), "discards its records");
            edge->guarantee = WEIR_EXACTLY_ONCE;
            continue;
        }
        writes = writes || !is_source;
        bool same = false;

        if (domain != NULL && edge->component->domain == domain &&
            (!is_source || edge->positioned)) {
            weir_status status = edges_share_domain(first, edge, connect, &same, err);
            if (status != WEIR_OK) {
                return status;
            }
        }
        edge->in_domain = same;
        if (same) {
            edge->guarantee = WEIR_EXACTLY_ONCE;
            snprintf(edge->why, sizeof(edge->why),
                     is_source ? "positions are committed in the transaction"
                               : "outputs are part of the transaction");
        } else {
            sources_in = sources_in && !is_source;
            snprintf(edge->why, sizeof(edge->why), "does not commit together with %s", first->name);
            if (plan->why[0] == '\0' && !first->positioned) {
                snprintf(plan->why, sizeof(plan->why),
                         "%.90s is shared among consumers: it has no positions to commit",
                         first->name);
            } else if (plan->why[0] == '\0' && domain == NULL) {
                snprintf(plan->why, sizeof(plan->why),
                         "%.90s has no commit that outputs can be part of", first->name);
            } else if (plan->why[0] == '\0') {
                snprintf(plan->why, sizeof(plan->why), "%.90s does not commit together with %.90s",
                         edge->name, first->name);
            }
        }
    }
    if (plan->why[0] == '\0' && writes && wanted) {
        plan->domain = domain;
        plan->guarantee = WEIR_EXACTLY_ONCE;
        snprintf(plan->why, sizeof(plan->why),
                 plan->stateful ? "positions, state and outputs are one transaction of one system"
                                : "positions and outputs are one transaction of one system");
    }
    if (plan->stateful && sources_in && log_in_domain(config, plan)) {
        plan->domain = domain;
        plan->state_in_domain = true;
    }
    for (size_t i = 0; i < plan->sink_count && plan->domain == NULL; i++) {
        plan->sinks[i].in_domain = false; /* nobody would commit it */
    }
    return WEIR_OK;
}

/* Outputs that are to be written within the commit of their source, and are not. */
static weir_status plan_check_sinks(struct weir_plan *plan,
                                    const struct weir_pipeline_config *config,
                                    struct weir_err *err)
{
    for (size_t i = 0; i < plan->sink_count; i++) {
        const struct weir_plan_edge *sink = &plan->sinks[i];
        const char *path = sink->component->needs_domain == NULL
                               ? NULL
                               : sink->component->needs_domain(sink->config);
        if (path == NULL || sink->in_domain) {
            continue;
        }
        plan->blamed_edge = sink;
        const char *why = plan->why[0] != '\0'                           ? plan->why
                          : config->guarantee == WEIR_WISH_AT_LEAST_ONCE ? "`guarantee` says so"
                                                                         : sink->why;
        weir_status status =
            weir_fail(err, WEIR_CONFIG, "%s: the outputs are not part of their source's commit: %s",
                      path, why);
        weir_err_hint(err,
                      "Write `guarantee: exactly-once`, with a source of the same system that is "
                      "read by position and sinks that all commit with it; or leave `%s` out.",
                      path);
        weir_err_path(err, path);
        return status;
    }
    return WEIR_OK;
}

/* --- without a domain --------------------------------------------------------------------------*/

static weir_status plan_use_log(struct weir_plan *plan,
                                const struct weir_pipeline_config *config,
                                struct weir_err *err)
{
    bool local = false, shared = false, durable = false;
    for (size_t i = 0; i < plan->source_count; i++) {
        local = local || plan->sources[i].component->positions == WEIR_POSITIONS_LOG;
        shared = shared || !plan->sources[i].component->exclusive;
    }
    for (size_t i = 0; i < plan->sink_count; i++) {
        durable = durable || plan->sinks[i].component->durable;
    }
    if (config->state.log == WEIR_STATE_FILE && shared) {
        weir_status status = weir_fail(
            err, WEIR_CONFIG, "state.log: file needs sources that only this process reads");
        weir_err_hint(err, "Leave `state` out: positions lie in the consumer group.");
        return status;
    }
    const char *system = log_system(config);
    if (system != NULL && !plan->state_in_domain) {
        weir_status status =
            plan->stateful ? weir_fail(err, WEIR_CONFIG, "state.log: %s needs a source `%s`%s",
                                       state_log_name(config), system,
                                       system[0] == 'k' ? "" : " that is not shared")
                           : weir_fail(err, WEIR_CONFIG,
                                       "state.log: %s is for steps that keep state; there is none",
                                       state_log_name(config));
        weir_err_hint(err, "Leave `state` out: the log is chosen by the source.");
        weir_err_path(err, "state");
        return status;
    }
    plan->uses_log = local && (config->state.log == WEIR_STATE_FILE ||
                               (config->state.log == WEIR_STATE_AUTO && durable));
    if (config->state.dir != NULL) {
        snprintf(plan->log_dir, sizeof(plan->log_dir), "%s", config->state.dir);
    } else {
        snprintf(plan->log_dir, sizeof(plan->log_dir), "%s.state", config->name);
    }
    return WEIR_OK;
}

const char *weir_plan_step_name(const struct weir_step_config *step,
                                size_t index,
                                const char *prefix,
                                struct weir_arena *arena)
{
    return step->name != NULL ? step->name
                              : weir_arena_printf(arena, "%ssteps[%zu].%s", prefix, index,
                                                  step->component.described->name);
}

uint32_t weir_plan_state_version(const struct weir_component *component, const void *config)
{
    WEIR_ASSERT(component->state_version < 256);
    uint32_t layout = component->state_layout == NULL ? 0 : component->state_layout(config);
    return component->state_version << 24 | (layout & 0xFFFFFF);
}

static void
plan_add_asker(struct weir_plan *plan, const struct weir_step_config *step, const char *name)
{
    plan->askers[plan->asker_count++] = (struct weir_plan_asker){
        .component = component_of(step->component.described),
        .config = step->component.config,
        .name = name,
        .label = step->name,
        .is_within = plan->stateful_step_count > 0,
    };
}

static void plan_add_steps(struct weir_plan *plan,
                           const struct weir_items *steps,
                           const char *prefix,
                           struct weir_arena *arena)
{
    for (size_t i = 0; i < steps->count; i++) {
        const struct weir_step_config *step = WEIR_ITEMS_AT(struct weir_step_config, steps, i);
        const struct weir_component *component = component_of(step->component.described);
        const char *name = weir_plan_step_name(step, i, prefix, arena);
        plan->steps[plan->step_count++] = (struct weir_plan_edge){
            .component = component,
            .config = step->component.config,
            .name = name,
            .label = step->name,
            .place = step->component.place,
        };
        if (step->exchange != NULL) {
            plan->stateful_steps[plan->stateful_step_count++] = (struct weir_plan_step){
                &weir_exchange_reader, weir_arena_printf(arena, "%s.exchange", name),
                weir_plan_state_version(&weir_exchange_reader, NULL)};
        }
        if (component->ops.step->ask != NULL) {
            plan_add_asker(plan, step, name);
        }
        if (component->stateful) {
            plan->stateful_steps[plan->stateful_step_count++] = (struct weir_plan_step){
                component, name, weir_plan_state_version(component, step->component.config)};
        }
    }
}

static void plan_find_steps(struct weir_plan *plan,
                            const struct weir_pipeline_config *config,
                            struct weir_arena *arena)
{
    size_t count = config->steps.count;
    for (size_t i = 0; i < config->branches.count; i++) {
        count += WEIR_ITEMS_AT(struct weir_branch_config, &config->branches, i)->steps.count;
    }
    plan->steps = weir_arena_calloc(arena, count + 1, sizeof(*plan->steps));
    plan->stateful_steps = weir_arena_calloc(arena, 2 * count + 1, sizeof(*plan->stateful_steps));
    plan->askers = weir_arena_calloc(arena, count + 1, sizeof(*plan->askers));
    WEIR_ASSERT(plan->steps != NULL && plan->stateful_steps != NULL && plan->askers != NULL);
    plan_add_steps(plan, &config->steps, "", arena);
    size_t in_branches = plan->asker_count;
    for (size_t i = 0; i < config->branches.count; i++) {
        size_t asked = plan->asker_count, kept = plan->stateful_step_count;
        const struct weir_branch_config *branch =
            WEIR_ITEMS_AT(struct weir_branch_config, &config->branches, i);
        plan_add_steps(plan, &branch->steps,
                       branch->name != NULL ? weir_arena_printf(arena, "%s.", branch->name)
                                            : weir_arena_printf(arena, "branches[%zu].", i),
                       arena);
        /* A record goes through one branch after the other. */
        for (size_t k = 0; plan->stateful_step_count > kept && k < asked; k++) {
            plan->askers[k].is_within = plan->askers[k].is_within || k >= in_branches;
        }
    }
    plan->stateful = plan->stateful_step_count > 0;
}

/* --- the exchange ------------------------------------------------------------------------------*/

static weir_status exchange_refused(struct weir_plan *plan,
                                    const struct weir_step_config *step,
                                    struct weir_err *err,
                                    const char *message,
                                    const char *hint)
{
    (void)!weir_fail(err, WEIR_CONFIG, "exchange: %s", message);
    weir_err_hint(err, "%s", hint);
    weir_err_path(err, "exchange");
    plan->blame = &step->exchange;
    return err->status;
}

/* Notes the step with an exchange in front, and what speaks against it. */
static weir_status plan_find_exchange(struct weir_plan *plan,
                                      const struct weir_pipeline_config *config,
                                      struct weir_err *err)
{
    bool shared = false;
    size_t stateful_before = 0;
    for (size_t i = 0; i < plan->source_count; i++) {
        shared = shared || !plan->sources[i].component->exclusive;
    }
    for (size_t i = 0; i < config->steps.count; i++) {
        const struct weir_step_config *step =
            WEIR_ITEMS_AT(struct weir_step_config, &config->steps, i);
        const struct weir_component *component = component_of(step->component.described);
        if (step->exchange != NULL && plan->exchange != NULL) {
            return exchange_refused(plan, step, err, "there is one already",
                                    "Join the results in a second pipeline, which reads them.");
        }
        if (step->exchange != NULL && component->ops.step->route == NULL) {
            return exchange_refused(
                plan, step, err, "this step keeps nothing by a key",
                "Write it beside the step that does: window, aggregate, dedupe.");
        }
        if (step->exchange != NULL && stateful_before > 0) {
            return exchange_refused(plan, step, err, "a step in front of it keeps state already",
                                    "Put it in front of the first step that keeps state.");
        }
        bool is_topic = step->exchange != NULL && step->exchange->via == WEIR_EXCHANGE_TOPIC;
        if (step->exchange != NULL && !is_topic && shared) {
            return exchange_refused(plan, step, err,
                                    "memory is for sources that only this process reads",
                                    "A file, stdin and generate are such sources; behind a Kafka "
                                    "source write `exchange: topic`.");
        }
        const struct weir_exchange_ops *ops = plan->sources[0].component->exchange;
        if (is_topic && (ops == NULL || plan->source_count > 1)) {
            return exchange_refused(plan, step, err, "topic needs one source, and that Kafka",
                                    "A Kafka source reads several `topics`; for files, stdin and "
                                    "generate write `exchange: memory`.");
        }
        if (is_topic && step->name == NULL) {
            return exchange_refused(plan, step, err, "topic needs a step with a name",
                                    "Write `name:` beside it: the topic is called by it.");
        }
        stateful_before += component->stateful;
        if (step->exchange != NULL) {
            plan->exchange = step;
            plan->exchange_at = i;
            plan->exchange_topic = is_topic ? ops : NULL;
            plan->exchange_shards = step->exchange->shards > 0 ? (int32_t)step->exchange->shards
                                    : is_topic                 ? TOPIC_SHARDS
                                                               : MEMORY_SHARDS;
        }
    }
    for (size_t i = 0; i < config->branches.count; i++) {
        const struct weir_items *steps =
            &WEIR_ITEMS_AT(struct weir_branch_config, &config->branches, i)->steps;
        for (size_t k = 0; k < steps->count; k++) {
            const struct weir_step_config *step = WEIR_ITEMS_AT(struct weir_step_config, steps, k);
            if (step->exchange != NULL) {
                return exchange_refused(plan, step, err, "not within a branch",
                                        "Give the branch a pipeline of its own.");
            }
        }
    }
    return WEIR_OK;
}

/* A task is a partition of one topic with a state of its own: a second topic would need it, too. */
static weir_status plan_check_topics(struct weir_plan *plan, struct weir_err *err)
{
    if (!plan->state_in_domain || plan->exchange != NULL) {
        return WEIR_OK;
    }
    const struct weir_plan_edge *edge = &plan->sources[0];
    const struct weir_component *component = edge->component;
    const char *path =
        component->reads_several == NULL ? NULL : component->reads_several(edge->config);
    if (path == NULL && plan->source_count == 1) {
        return WEIR_OK;
    }
    plan->blamed_edge = path == NULL ? &plan->sources[1] : edge;
    weir_status status =
        weir_fail(err, WEIR_CONFIG, "the step %.100s keeps state, and so reads one topic",
                  plan->stateful_steps[0].name);
    weir_err_hint(
        err, "Write `exchange: topic` and a `name` beside it: that brings the records of a key "
             "together from all `topics` of one source. Or give each topic its own "
             "pipeline.");
    weir_err_path(err, path == NULL ? "" : path);
    return status;
}

/* The topic of the exchange, written and read in the transactions of the domain. */
static weir_status plan_find_topic(struct weir_plan *plan,
                                   const struct weir_pipeline_config *config,
                                   struct weir_arena *arena,
                                   struct weir_err *err)
{
    const struct weir_exchange_ops *ops = plan->exchange_topic;
    if (!plan->state_in_domain) {
        return exchange_refused(plan, plan->exchange, err, "topic needs the state in Kafka, too",
                                "Leave `state: {log: …}` out.");
    }
    const void *like = NULL;
    for (size_t i = 0; i < plan->sink_count && like == NULL; i++) {
        bool fits = plan->sinks[i].in_domain && plan->sinks[i].component == ops->sink;
        like = fits ? plan->sinks[i].config : NULL;
    }
    plan->exchange_topic_name =
        weir_arena_printf(arena, "%s.%s", config->name, plan->exchange_name);
    struct weir_err why = {0};
    weir_status status = ops->configure(plan->sources[0].config, like, plan->exchange_topic_name,
                                        plan->exchange_shards, arena, &plan->exchange_source_config,
                                        &plan->exchange_sink_config, &why);
    return status == WEIR_OK ? WEIR_OK
                             : exchange_refused(plan, plan->exchange, err, why.message, why.hint);
}

static weir_status plan_check_state(struct weir_plan *plan,
                                    const struct weir_pipeline_config *config,
                                    struct weir_err *err)
{
    bool shared = false; /* the file can only be the truth for what nobody else reads */
    for (size_t i = 0; i < plan->source_count; i++) {
        shared = shared || !plan->sources[i].component->exclusive;
    }
    plan->state_is_kept = plan->state_in_domain || (plan->uses_log && !shared);
    if (!plan->state_is_kept && config->guarantee != WEIR_WISH_STRONGEST) {
        weir_status status =
            weir_fail(err, WEIR_CONFIG,
                      "guarantee: a step keeps state, and nothing keeps the state: it is "
                      "best effort, gone after a restart");
        weir_err_hint(err, "Leave `guarantee` out, or give the pipeline a state log (`state: {log: "
                           "kafka}` with a Kafka source, `{log: file}` with a local one).");
        weir_err_path(err, "guarantee");
        return status;
    }
    return WEIR_OK;
}

/* --- answers -----------------------------------------------------------------------------------*/

int64_t weir_plan_patience_ms(const struct weir_pipeline_config *config)
{
    return config->transaction_timeout / 3;
}

/* A transaction must not be given up before an answer can be there: it would ask for ever. */
static weir_status plan_check_answers(struct weir_plan *plan,
                                      const struct weir_pipeline_config *config,
                                      struct weir_arena *arena,
                                      struct weir_err *err)
{
    int64_t patience_ms = weir_plan_patience_ms(config);
    for (size_t i = 0; plan->domain != NULL && i < plan->asker_count; i++) {
        const struct weir_plan_asker *asker = &plan->askers[i];
        int64_t timeout_ms = asker->component->ops.step->ask->patience(asker->config);
        if (!asker->is_within || timeout_ms <= patience_ms) {
            continue;
        }
        struct weir_plan_edge *blamed = weir_arena_calloc(arena, 1, sizeof(*blamed));
        WEIR_ASSERT(blamed != NULL);
        *blamed = (struct weir_plan_edge){
            .component = asker->component, .config = asker->config, .name = asker->name};
        plan->blamed_edge = blamed;
        weir_status status = weir_fail(
            err, WEIR_CONFIG,
            "an answer may take %lld ms, and the transaction that needs it is given up after %lld",
            (long long)timeout_ms, (long long)patience_ms);
        weir_err_hint(err,
                      "A step before it keeps state, so nothing is committed without the answers. "
                      "Write `transaction_timeout: %llds` or more, or a shorter `timeout`.",
                      (long long)(3 * timeout_ms + 999) / 1000);
        weir_err_path(err, "timeout");
        return status;
    }
    return WEIR_OK;
}

/* --- leases and lanes
 * -----------------------------------------------------------------------------*/

/* Who keeps the lease: the first that can. */
static weir_status plan_find_leases(struct weir_plan *plan,
                                    const struct weir_pipeline_config *config,
                                    struct weir_err *err)
{
    for (size_t i = 0; config->singleton && i < plan->source_count + plan->sink_count; i++) {
        const struct weir_plan_edge *edge =
            i < plan->source_count ? &plan->sources[i] : &plan->sinks[i - plan->source_count];
        if (edge->component->leases != NULL) {
            plan->leases = edge;
            return WEIR_OK;
        }
    }
    if (!config->singleton) {
        return WEIR_OK;
    }
    weir_status status = weir_fail(err, WEIR_CONFIG,
                                   "singleton: no source or sink is of a system that keeps leases");
    weir_err_hint(err, "Kafka, Redis and NATS do.");
    weir_err_path(err, "singleton");
    return status;
}

static unsigned plan_lanes(const struct weir_pipeline_config *config)
{
    if (config->lanes > 0) {
        return (unsigned)config->lanes;
    }
    cpu_set_t cpus;
    int count = sched_getaffinity(0, sizeof(cpus), &cpus) == 0 ? CPU_COUNT(&cpus) : 1;
    /* A cgroup's quota counts too: "max 100000" or "50000 100000". */
    FILE *file = fopen("/sys/fs/cgroup/cpu.max", "re");
    long long quota, period;
    if (file != NULL) {
        if (fscanf(file, "%lld %lld", &quota, &period) == 2 && quota > 0 && period > 0) {
            long long whole = (quota + period - 1) / period;
            count = whole < count ? (int)whole : count;
        }
        fclose(file);
    }
    count = count < 1 ? 1 : count;
    return count > WEIR_LANES_MAX ? WEIR_LANES_MAX : (unsigned)count;
}

/* A transaction must be over before the broker gives it up. */
static int64_t plan_backlog_interval_ms(const struct weir_pipeline_config *config)
{
    int64_t patience_ms = weir_plan_patience_ms(config);
    return patience_ms < BACKLOG_INTERVAL_MS ? patience_ms : BACKLOG_INTERVAL_MS;
}

weir_status weir_plan_make(struct weir_plan *plan,
                           const struct weir_pipeline_config *config,
                           struct weir_arena *arena,
                           bool connect,
                           struct weir_err *err)
{
    *plan = (struct weir_plan){.source_count = config->sources.count};
    plan_find_steps(plan, config, arena);
    bool wanted = plan->stateful || config->guarantee == WEIR_WISH_EXACTLY_ONCE ||
                  config->guarantee == WEIR_WISH_EFFECTIVELY_ONCE;
    plan->sources = weir_arena_calloc(arena, plan->source_count, sizeof(*plan->sources));
    for (size_t i = 0; i < plan->source_count; i++) {
        const struct weir_source_config *source =
            WEIR_ITEMS_AT(struct weir_source_config, &config->sources, i);
        edge_fill(&plan->sources[i], arena, &source->component, source->name, "source", i,
                  plan->source_count);
        const struct weir_component *component = plan->sources[i].component;
        plan->sources[i].positioned = component->is_positioned == NULL ||
                                      component->is_positioned(plan->sources[i].config, wanted);
    }
    plan_list_sinks(plan, config, arena);
    WEIR_ASSERT(plan->source_count > 0);
    WEIR_ASSERT(plan->sink_count > 0);
    plan->lanes = plan_lanes(config);
    weir_status status = WEIR_OK;
    if (config->on_error == WEIR_ON_ERROR_DEAD_LETTER && config->dead_letter == NULL) {
        weir_status missing =
            weir_fail(err, WEIR_CONFIG, "on_error: dead_letter needs a sink for them");
        weir_err_hint(err, "Write `dead_letter: {kafka: {topic: …}}` beside it.");
        weir_err_path(err, "on_error");
        return missing;
    }
    status = plan_find_exchange(plan, config, err);
    if (status == WEIR_OK) {
        status = plan_find_leases(plan, config, err);
        if (status == WEIR_OK) {
            status = plan_find_domain(plan, config, connect, err);
        }
        status = status == WEIR_OK ? plan_check_sinks(plan, config, err) : status;
    }
    if (status == WEIR_OK && plan->exchange != NULL) {
        const char *name = weir_plan_step_name(plan->exchange, plan->exchange_at, "", arena);
        plan->exchange_name = weir_arena_printf(arena, "%s.exchange", name);
        plan->exchange_topic_name = weir_arena_printf(arena, "%d shards", plan->exchange_shards);
    }
    if (status == WEIR_OK && plan->exchange_topic != NULL) {
        status = plan_find_topic(plan, config, arena, err);
    }
    if (status == WEIR_OK) {
        status = plan_use_log(plan, config, err);
    }
    if (status == WEIR_OK && plan->stateful) {
        status = plan_check_state(plan, config, err);
    }
    if (status == WEIR_OK) {
        status = plan_check_topics(plan, err);
    }
    if (status == WEIR_OK) {
        status = plan_check_answers(plan, config, arena, err);
    }
    if (status != WEIR_OK) {
        return status;
    }
    if (plan->guarantee != WEIR_EXACTLY_ONCE) {
        weir_guarantee_judge(plan, config);
    }
    /* Short where positions are cheap to commit, or where memory is held until they are. */
    bool brief = plan->guarantee != WEIR_AT_LEAST_ONCE, is_free = config->commit_interval == 0;
    bool grows = is_free && brief && plan->domain != NULL;
    for (size_t i = 0; i < plan->source_count; i++) {
        brief = brief || !plan->sources[i].positioned; /* commits acknowledge records one by one */
    }
    plan->commit_interval_ms = !is_free ? config->commit_interval : brief ? 100 : 1000;
    plan->backlog_interval_ms = grows ? plan_backlog_interval_ms(config) : plan->commit_interval_ms;
    return weir_guarantee_grant(plan, config, err);
}
