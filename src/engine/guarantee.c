/* SPDX-License-Identifier: Apache-2.0
 *
 * The guarantee, from what the components declare:
 *
 *   all sources and sinks commit in one domain             exactly-once, by its transaction
 *   local sources and sinks with extents, positions and
 *   extents in one entry of the state log                  exactly-once, by that entry
 *   sources that can be replayed from a stored position,
 *   deterministic steps, sinks that drop repeats by an id  effectively-once
 *   every source can be replayed from a stored position    at-least-once
 *   a source that nobody can reposition                    at-most-once
 *
 * State of steps lies where the positions lie: in the domain's log (the transaction then is used
 * even if some sinks are not part of it: they are flushed before it), or in the state log. Without
 * either it is best effort, and a written guarantee is refused.
 *
 * Nothing is assumed: a component that declares nothing gets the weakest row.
 */
#include "engine/guarantee.h"

#include <stdio.h>

#include "base/assert.h"
#include "engine/replay.h"

const char *weir_guarantee_name(enum weir_guarantee guarantee)
{
    static const char *const names[] = {"at-most-once", "at-least-once", "effectively-once",
                                        "exactly-once"};
    return names[guarantee];
}

static void judge_source(const struct weir_plan *plan, struct weir_plan_edge *edge)
{
    if (plan->state_in_domain) {
        edge->guarantee = WEIR_EXACTLY_ONCE;
        snprintf(edge->why, sizeof(edge->why),
                 "positions and state are committed in one transaction");
        return;
    }
    switch (edge->component->positions) {
    case WEIR_POSITIONS_NONE:
        edge->guarantee = WEIR_AT_MOST_ONCE;
        snprintf(edge->why, sizeof(edge->why),
                 "cannot be read again: what was in flight is gone after a crash");
        return;
    case WEIR_POSITIONS_GROUP:
        edge->guarantee = WEIR_AT_LEAST_ONCE;
        snprintf(edge->why, sizeof(edge->why),
                 edge->positioned
                     ? "positions are committed in its group, after the outputs are safe"
                     : "shared among consumers; acknowledged after the outputs are safe");
        return;
    case WEIR_POSITIONS_LOG:
        edge->guarantee = plan->uses_log ? WEIR_EXACTLY_ONCE : WEIR_AT_LEAST_ONCE;
        snprintf(edge->why, sizeof(edge->why),
                 plan->uses_log ? "positions are kept in the state log"
                                : "positions are not kept: each start reads from the beginning");
        return;
    }
    WEIR_UNREACHABLE();
}

static void judge_sink(const struct weir_plan *plan, struct weir_plan_edge *edge)
{
    const struct weir_component *component = edge->component;
    if (component->discards) {
        edge->guarantee = WEIR_EXACTLY_ONCE;
        snprintf(edge->why, sizeof(edge->why), "discards its records");
        return;
    }
    if (plan->state_in_domain && edge->in_domain) {
        edge->guarantee = WEIR_EXACTLY_ONCE;
        snprintf(edge->why, sizeof(edge->why), "outputs are part of the transaction");
        return;
    }
    bool extent = plan->uses_log && component->ops.sink->mark != NULL;
    edge->guarantee = extent ? WEIR_EXACTLY_ONCE : WEIR_AT_LEAST_ONCE;
    snprintf(edge->why, sizeof(edge->why),
             extent ? "its lengths are kept in the state log beside the positions"
                    : "outputs are flushed before positions; a crash between them repeats some");
}

/* Positions that mean the same record in every process: not the deliveries of a consumer group. */
static bool edge_is_replayed(const struct weir_plan_edge *edge)
{
    const struct weir_component *component = edge->component;
    return edge->positioned && (component->domain != NULL || component->is_positioned != NULL ||
                                component->positions == WEIR_POSITIONS_LOG);
}

/* Sinks whose targets drop what they have: with stored positions and the same outputs in each
 * replay, nothing is seen twice. */
static void judge_repeats(struct weir_plan *plan, const struct weir_pipeline_config *config)
{
    char why[160] = "";
    bool can = !weir_replay_differs(config, why, sizeof(why));
    if (plan->exchange != NULL) {
        snprintf(why, sizeof(why), "behind an exchange records come in another order each time");
        can = false;
    }
    for (size_t i = 0; i < plan->source_count && can; i++) {
        const struct weir_plan_edge *source = &plan->sources[i];
        can = edge_is_replayed(source) &&
              (source->component->positions != WEIR_POSITIONS_LOG || plan->uses_log);
        if (!can) {
            snprintf(why, sizeof(why), "%.90s has no positions to know its records by",
                     source->name);
        }
    }
    bool all = true;
    for (size_t i = 0; i < plan->sink_count; i++) {
        struct weir_plan_edge *sink = &plan->sinks[i];
        const char *by = sink->component->drops_repeats;
        if (by != NULL && can && (!plan->stateful || plan->state_is_kept)) {
            sink->guarantee = WEIR_EFFECTIVELY_ONCE;
            sink->identified = true;
            snprintf(sink->why, sizeof(sink->why), "repeats are dropped by %s", by);
        } else if (by != NULL && why[0] != '\0') {
            snprintf(sink->why, sizeof(sink->why), "a crash repeats some outputs: %s", why);
        }
        all = all && sink->guarantee >= WEIR_EFFECTIVELY_ONCE;
    }
    for (size_t i = 0; i < plan->source_count && all && can; i++) {
        struct weir_plan_edge *source = &plan->sources[i];
        if (source->guarantee == WEIR_AT_LEAST_ONCE) {
            source->guarantee = WEIR_EFFECTIVELY_ONCE;
            snprintf(source->why, sizeof(source->why),
                     "positions are committed in its group, after the outputs are safe");
        }
    }
}

void weir_guarantee_judge(struct weir_plan *plan, const struct weir_pipeline_config *config)
{
    const struct weir_plan_edge *weakest = &plan->sources[0];
    for (size_t i = 0; i < plan->source_count; i++) {
        judge_source(plan, &plan->sources[i]);
    }
    for (size_t i = 0; i < plan->sink_count; i++) {
        judge_sink(plan, &plan->sinks[i]);
    }
    if (config->guarantee != WEIR_WISH_AT_LEAST_ONCE) {
        judge_repeats(plan, config);
    }
    for (size_t i = 0; i < plan->source_count; i++) {
        weakest = plan->sources[i].guarantee < weakest->guarantee ? &plan->sources[i] : weakest;
    }
    for (size_t i = 0; i < plan->sink_count; i++) {
        weakest = plan->sinks[i].guarantee < weakest->guarantee ? &plan->sinks[i] : weakest;
    }
    plan->guarantee = weakest->guarantee;
    if (plan->guarantee == WEIR_EXACTLY_ONCE) {
        snprintf(plan->why, sizeof(plan->why), "%s",
                 plan->domain != NULL
                     ? "positions, state and outputs are one transaction of one system"
                     : "positions and file lengths are one entry of the state log");
    } else {
        snprintf(plan->why, sizeof(plan->why), "%.100s: %.140s", weakest->name, weakest->why);
    }
}

weir_status weir_guarantee_grant(struct weir_plan *plan,
                                 const struct weir_pipeline_config *config,
                                 struct weir_err *err)
{
    enum weir_guarantee wish = WEIR_AT_LEAST_ONCE;
    switch ((enum weir_guarantee_wish)config->guarantee) {
    case WEIR_WISH_STRONGEST:
        return WEIR_OK;
    case WEIR_WISH_EXACTLY_ONCE:
        wish = WEIR_EXACTLY_ONCE;
        break;
    case WEIR_WISH_EFFECTIVELY_ONCE:
        wish = WEIR_EFFECTIVELY_ONCE;
        break;
    case WEIR_WISH_AT_LEAST_ONCE:
        wish = WEIR_AT_LEAST_ONCE;
        break;
    case WEIR_WISH_AT_MOST_ONCE:
        wish = WEIR_AT_MOST_ONCE;
        break;
    }
    bool weaker = wish == WEIR_AT_LEAST_ONCE && plan->guarantee == WEIR_EXACTLY_ONCE;
    if (plan->guarantee == wish || weaker) {
        plan->guarantee = wish;
        return WEIR_OK;
    }
    weir_status status =
        weir_fail(err, WEIR_CONFIG, "guarantee: %s cannot be had; this pipeline is %s (%.180s)",
                  weir_guarantee_name(wish), weir_guarantee_name(plan->guarantee), plan->why);
    weir_err_hint(err,
                  "Write `guarantee: %s`, leave it out for the strongest there is, or change the "
                  "edge that is named.",
                  weir_guarantee_name(plan->guarantee));
    weir_err_path(err, "guarantee");
    return status;
}
