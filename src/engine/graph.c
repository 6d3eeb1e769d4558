/* SPDX-License-Identifier: Apache-2.0
 *
 * Builds what runs from what was configured: instances of sources, steps and sinks, the chain and
 * its branches. Instances live in the pipeline's arena, zeroed; the engine calls open and close.
 */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "engine/engine_priv.h"

static struct weir_ctx
graph_ctx(struct weir_engine *engine, const char *name, unsigned index, bool in_domain)
{
    struct weir_log *log = weir_arena_alloc(&engine->arena, sizeof(*log));
    WEIR_ASSERT(log != NULL);
    *log = weir_log_named(&engine->log, name);
    return (struct weir_ctx){
        .engine = engine,
        .pipeline = engine->config->name,
        .instance = engine->config->instance,
        .path = name,
        .log = log,
        .clock = engine->clock,
        .index = index,
        .lanes = engine->lane_count,
        .transactional = in_domain,
        .transaction_timeout_ms = engine->config->transaction_timeout,
        .in_flight_bytes = engine->config->in_flight / 4,
        .keeps_state = engine->plan.stateful,
    };
}

static void *graph_instance(struct weir_engine *engine, const struct weir_component *component)
{
    void *self = weir_arena_calloc(&engine->arena, 1, component->self_size + 1);
    WEIR_ASSERT(self != NULL);
    return self;
}

static struct weir_stage *chain_add_stage(struct weir_engine *engine,
                                          struct weir_chain *chain,
                                          const struct weir_component *component,
                                          const char *name,
                                          const void *config)
{
    struct weir_stage *stage = &chain->stages[chain->stage_count++];
    *stage = (struct weir_stage){
        .component = component,
        .name = name,
        .index = engine->stage_count++,
        .config = config,
        .state_index = -1,
        .self = graph_instance(engine, component),
    };
    stage->ctx = graph_ctx(engine, name, stage->index, engine->plan.domain != NULL);
    if (component->ops.step->ask != NULL) {
        stage->asks = weir_asks_new(&stage->ctx);
    }
    return stage;
}

/* Adds the steps from `first` to before `end`; there is room for one more. */
static void chain_build_stages(struct weir_engine *engine,
                               struct weir_chain *chain,
                               const struct weir_items *steps,
                               size_t first,
                               size_t end,
                               const char *prefix)
{
    if (chain->stages == NULL) {
        chain->stages = weir_arena_calloc(&engine->arena, steps->count + 1, sizeof(*chain->stages));
    }
    for (size_t i = first; i < end; i++) {
        const struct weir_step_config *step = WEIR_ITEMS_AT(struct weir_step_config, steps, i);
        const struct weir_described *described = step->component.described;
        const char *base = (const char *)described - offsetof(struct weir_component, described);
        struct weir_stage *stage = chain_add_stage(
            engine, chain, (const struct weir_component *)(const void *)base,
            weir_plan_step_name(step, i, prefix, &engine->arena), step->component.config);
        stage->place = step->component.place;
    }
}

static void chain_build_outlets(struct weir_engine *engine,
                                struct weir_chain *chain,
                                const struct weir_items *sinks,
                                unsigned *next_sink)
{
    chain->outlet_count = sinks->count;
    chain->outlets = weir_arena_calloc(&engine->arena, sinks->count, sizeof(*chain->outlets));
    for (size_t i = 0; i < sinks->count; i++) {
        const struct weir_sink_config *sink = WEIR_ITEMS_AT(struct weir_sink_config, sinks, i);
        chain->outlets[i].sink = (*next_sink)++;
        chain->outlets[i].when = sink->when.program == NULL ? NULL : &sink->when;
    }
}

static void graph_build_ends(struct weir_engine *engine)
{
    engine->source_count = engine->outer_count = engine->plan.source_count;
    engine->sources =
        weir_arena_calloc(&engine->arena, engine->source_count + 1, sizeof(*engine->sources));
    engine->reads_again = true;
    for (unsigned i = 0; i < engine->source_count; i++) {
        const struct weir_plan_edge *edge = &engine->plan.sources[i];
        engine->reads_again =
            engine->reads_again && edge->component->positions != WEIR_POSITIONS_NONE;
        struct weir_source *source = &engine->sources[i];
        source->component = edge->component;
        source->config = edge->config;
        source->name = weir_plan_edge_name(edge);
        source->ctx = graph_ctx(engine, source->name, i, engine->plan.domain != NULL);
        source->ctx.positioned = edge->positioned;
        source->self = graph_instance(engine, edge->component);
    }
    engine->sink_count = engine->plan.sink_count;
    engine->sinks =
        weir_arena_calloc(&engine->arena, engine->sink_count + 1, sizeof(*engine->sinks));
    for (unsigned i = 0; i < engine->sink_count; i++) {
        const struct weir_plan_edge *edge = &engine->plan.sinks[i];
        struct weir_sink *sink = &engine->sinks[i];
        sink->component = edge->component;
        sink->config = edge->config;
        sink->name = weir_plan_edge_name(edge);
        sink->in_domain = edge->in_domain;
        engine->has_outside =
            engine->has_outside ||
            (engine->plan.domain != NULL && !edge->in_domain && !edge->component->discards);
        sink->ctx = graph_ctx(engine, sink->name, i, edge->in_domain);
        sink->ctx.identified = edge->identified;
        sink->self = graph_instance(engine, edge->component);
    }
}

/* Numbers the steps that keep state; tells each whether an earlier one makes the watermark, and
 * whether a later one looks at it. */
static bool
chain_number(struct weir_engine *engine, struct weir_chain *chain, bool marked, size_t *at)
{
    bool listens = false;
    for (size_t i = 0; i < chain->stage_count; i++) {
        struct weir_stage *stage = &chain->stages[i];
        const struct weir_step_ops *ops = stage->component->ops.step;
        stage->ctx.marked = marked;
        marked = marked || ops->marks;
        engine->has_ticks = engine->has_ticks || ops->tick != NULL;
        if (stage->component->stateful) {
            stage->state_index = (int)*at;
            if (engine->stateful != NULL) {
                engine->stateful[*at] = stage;
            }
            ++*at;
        }
    }
    for (size_t i = 0; i < chain->branch_count; i++) {
        listens = chain_number(engine, &chain->branches[i].chain, marked, at) || listens;
    }
    for (size_t i = chain->stage_count; i-- > 0;) {
        chain->stages[i].is_listened = listens;
        listens = listens || chain->stages[i].component->ops.step->advance != NULL;
    }
    return listens;
}

static void graph_number(struct weir_engine *engine)
{
    size_t count = 0;
    (void)chain_number(engine, &engine->chain, false, &count);
    engine->stateful_count = (unsigned)count;
    engine->stateful = weir_arena_calloc(&engine->arena, count + 1, sizeof(*engine->stateful));
    count = 0;
    (void)chain_number(engine, &engine->chain, false, &count);
}

static struct weir_exchange *graph_make_exchange(struct weir_engine *engine)
{
    const struct weir_plan *plan = &engine->plan;
    struct weir_exchange *exchange = weir_arena_calloc(&engine->arena, 1, sizeof(*exchange));
    WEIR_ASSERT(exchange != NULL);
    *exchange = (struct weir_exchange){
        .engine = engine,
        .name = plan->exchange_name,
        .topic = plan->exchange_topic_name,
        .shards = plan->exchange_shards,
        .is_memory = plan->exchange_topic == NULL,
        .source = (unsigned)engine->source_count,
        .sink = (unsigned)engine->sink_count,
    };
    return exchange;
}

/* Cuts the graph: what is in front ends in the exchange as a sink, what is behind begins with it as
 * a source. */
static void graph_build_exchange(struct weir_engine *engine)
{
    const struct weir_items *steps = &engine->config->steps;
    size_t at = engine->plan.exchange_at;
    struct weir_exchange *exchange = engine->exchange = graph_make_exchange(engine);
    chain_build_stages(engine, &engine->front, steps, 0, at, "");
    struct weir_stage *writer =
        chain_add_stage(engine, &engine->front, &weir_exchange_writer, exchange->name, exchange);
    engine->front.outlets = weir_arena_calloc(&engine->arena, 1, sizeof(struct weir_outlet));
    engine->front.outlets[0].sink = exchange->sink;
    engine->front.outlet_count = 1;
    (void)chain_add_stage(engine, &engine->chain, &weir_exchange_reader, exchange->name, exchange);
    chain_build_stages(engine, &engine->chain, steps, at, steps->count, "");
    exchange->to = &engine->chain.stages[1];
    engine->chain.stages[1].ctx.exchanged = true;
    writer->name = exchange->to->name; /* what fails there is the step's key or time */
    const struct weir_plan *plan = &engine->plan;
    bool is_memory = exchange->is_memory;
    engine->sources[engine->source_count++] = (struct weir_source){
        .component = is_memory ? &weir_exchange_memory_source : plan->exchange_topic->source,
        .config = is_memory ? exchange : plan->exchange_source_config,
        .name = exchange->name,
        .ctx = graph_ctx(engine, exchange->name, exchange->source, !is_memory),
    };
    engine->sinks[engine->sink_count++] = (struct weir_sink){
        .component = is_memory ? &weir_exchange_memory_sink : plan->exchange_topic->sink,
        .config = is_memory ? exchange : plan->exchange_sink_config,
        .name = exchange->name,
        .in_domain = !is_memory,
        .ctx = graph_ctx(engine, exchange->name, exchange->sink, !is_memory),
    };
    struct weir_source *source = &engine->sources[exchange->source];
    struct weir_sink *sink = &engine->sinks[exchange->sink];
    source->self = graph_instance(engine, source->component);
    source->ctx.positioned = true;
    sink->self = graph_instance(engine, sink->component);
    engine->outer_count = is_memory ? engine->outer_count : engine->source_count;
    for (size_t i = 0; !is_memory && i < plan->source_count; i++) {
        engine->sources[i].ctx.feeds_exchange = true;
    }
}

void weir_graph_build(struct weir_engine *engine)
{
    const struct weir_pipeline_config *config = engine->config;
    engine->stage_count = 0;
    unsigned next_sink = 0;
    graph_build_ends(engine);
    struct weir_chain *chain = &engine->chain;
    chain->stages =
        weir_arena_calloc(&engine->arena, config->steps.count + 2, sizeof(*chain->stages));
    if (engine->plan.exchange == NULL) {
        chain_build_stages(engine, chain, &config->steps, 0, config->steps.count, "");
    } else {
        graph_build_exchange(engine);
    }
    chain_build_outlets(engine, chain, &config->sinks, &next_sink);
    chain->branch_count = config->branches.count;
    chain->branches =
        weir_arena_calloc(&engine->arena, chain->branch_count, sizeof(*chain->branches));
    for (size_t i = 0; i < chain->branch_count; i++) {
        const struct weir_branch_config *from =
            WEIR_ITEMS_AT(struct weir_branch_config, &config->branches, i);
        struct weir_branch *branch = &chain->branches[i];
        branch->name =
            from->name != NULL ? from->name : weir_arena_printf(&engine->arena, "branches[%zu]", i);
        branch->when = from->when.program == NULL ? NULL : &from->when;
        char *prefix = weir_arena_printf(&engine->arena, "%s.", branch->name);
        chain_build_stages(engine, &branch->chain, &from->steps, 0, from->steps.count, prefix);
        chain_build_outlets(engine, &branch->chain, &from->sinks, &next_sink);
    }
    engine->dead_letter = -1;
    if (config->dead_letter != NULL) {
        engine->sinks[next_sink].is_routed = true;
        engine->dead_letter = (int)next_sink++;
    }
    WEIR_ASSERT(next_sink == engine->plan.sink_count);
    graph_number(engine);
}

static weir_status chain_open(struct weir_chain *chain, struct weir_err *err)
{
    weir_status status = WEIR_OK;
    for (size_t i = 0; i < chain->stage_count && status == WEIR_OK; i++) {
        struct weir_stage *stage = &chain->stages[i];
        memset(stage->self, 0, stage->component->self_size);
        status = stage->component->open(stage->self, stage->config, &stage->ctx, err);
        if (status == WEIR_OK && stage->asks != NULL &&
            stage->ctx.engine->options.answerer == NULL) {
            status = stage->component->ops.step->ask->start(stage->self, err);
        }
        if (status != WEIR_OK) {
            weir_err_path(err, stage->name);
        }
    }
    for (size_t i = 0; i < chain->branch_count && status == WEIR_OK; i++) {
        status = chain_open(&chain->branches[i].chain, err);
    }
    return status;
}

static void chain_close(struct weir_chain *chain)
{
    for (size_t i = 0; i < chain->stage_count; i++) {
        if (chain->stages[i].component->close != NULL) {
            chain->stages[i].component->close(chain->stages[i].self);
            memset(chain->stages[i].self, 0, chain->stages[i].component->self_size);
        }
    }
    for (size_t i = 0; i < chain->branch_count; i++) {
        chain_close(&chain->branches[i].chain);
    }
}

weir_status weir_graph_open(struct weir_engine *engine, struct weir_err *err)
{
    weir_status status = WEIR_OK;
    for (size_t i = 0; i < engine->sink_count && status == WEIR_OK; i++) {
        struct weir_sink *sink = &engine->sinks[i];
        memset(sink->self, 0, sink->component->self_size);
        status = sink->component->open(sink->self, sink->config, &sink->ctx, err);
        if (status != WEIR_OK) {
            weir_err_path(err, sink->name);
        }
    }
    if (status == WEIR_OK) {
        status = chain_open(&engine->front, err);
    }
    if (status == WEIR_OK) {
        status = chain_open(&engine->chain, err);
    }
    if (status == WEIR_OK && engine->exchange != NULL) {
        const struct weir_stage *to = engine->exchange->to;
        const struct weir_step_ops *ops = to->component->ops.step;
        engine->exchange->idle_timeout_ms =
            ops->idle_timeout == NULL ? 0 : ops->idle_timeout(to->self);
    }
    for (size_t i = 0; i < engine->source_count && status == WEIR_OK; i++) {
        struct weir_source *source = &engine->sources[i];
        memset(source->self, 0, source->component->self_size);
        source->exhausted = false;
        status = source->component->open(source->self, source->config, &source->ctx, err);
        if (status != WEIR_OK) {
            weir_err_path(err, source->name);
        }
    }
    return status;
}

static void chain_free(struct weir_chain *chain)
{
    for (size_t i = 0; i < chain->stage_count; i++) {
        weir_asks_free(chain->stages[i].asks);
    }
    for (size_t i = 0; i < chain->branch_count; i++) {
        chain_free(&chain->branches[i].chain);
    }
}

void weir_graph_free(struct weir_engine *engine)
{
    chain_free(&engine->front);
    chain_free(&engine->chain);
}

/* Instances are zeroed: when a later start fails half-way, those it did not come to are closed
 * once more. */
void weir_graph_close(struct weir_engine *engine)
{
    for (size_t i = 0; i < engine->source_count; i++) {
        const struct weir_source *source = &engine->sources[i];
        source->component->close(source->self);
        memset(source->self, 0, source->component->self_size);
    }
    chain_close(&engine->front);
    chain_close(&engine->chain);
    for (size_t i = 0; i < engine->sink_count; i++) {
        const struct weir_sink *sink = &engine->sinks[i];
        sink->component->close(sink->self);
        memset(sink->self, 0, sink->component->self_size);
    }
}
