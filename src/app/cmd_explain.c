/* SPDX-License-Identifier: Apache-2.0
 *
 * weir explain: what a pipeline is, what it promises and why, and where each setting comes from.
 * Never a secret.
 */
#include <stdio.h>
#include <string.h>

#include "app/args.h"
#include "app/loading.h"
#include "conf/dump.h"
#include "conf/scalar.h"
#include "conf/text.h"

static void explain_edge(const char *role, const struct weir_plan_edge *edge)
{
    printf("  %-8s %-24s %-17s %s\n", role, weir_plan_edge_name(edge),
           weir_guarantee_name(edge->guarantee), edge->why);
    if (!edge->positioned && edge->component->deadly != NULL) {
        printf("  %-52s a record of which every process dies: %s\n", "",
               edge->component->deadly(edge->config));
    }
}

/* What the servers must be told for the guarantee to hold when they crash, each once. */
static void explain_needs(const struct weir_plan *plan)
{
    const char *last = NULL;
    for (size_t i = 0; i < plan->source_count + plan->sink_count; i++) {
        const struct weir_plan_edge *edge =
            i < plan->source_count ? &plan->sources[i] : &plan->sinks[i - plan->source_count];
        const char *needs = edge->component->needs;
        if (needs != NULL && (last == NULL || strcmp(last, needs) != 0)) {
            printf("%s%s\n", last == NULL ? "\nservers\n  " : "  ", needs);
            last = needs;
        }
    }
}

static void explain_steps(const struct weir_items *steps, const char *indent)
{
    for (size_t i = 0; i < steps->count; i++) {
        const struct weir_step_config *step = WEIR_ITEMS_AT(struct weir_step_config, steps, i);
        printf("%s%zu. %s%s%s\n", indent, i + 1, step->component.described->name,
               step->name == NULL ? "" : "  named ", step->name == NULL ? "" : step->name);
    }
}

/* What repetitions mean for those who are asked. */
static void explain_askers(const struct weir_plan *plan)
{
    for (size_t i = 0; i < plan->asker_count; i++) {
        const struct weir_plan_asker *asker = &plan->askers[i];
        const struct weir_ask_ops *ask = asker->component->ops.step->ask;
        struct weir_strbuf timeout;
        weir_strbuf_init(&timeout, 64);
        weir_format_duration(ask->patience(asker->config), &timeout);
        printf("%s  %-24s asks again when nothing came for %s; commits %s its answers\n",
               i == 0 ? "\nquestions\n" : "", asker->name, weir_strbuf_view(&timeout).data,
               asker->is_within ? "wait for" : "do not wait for");
        weir_strbuf_done(&timeout);
    }
    if (plan->asker_count > 0) {
        printf("  a record may ask several times, also after a crash or an abort, and then get "
               "another answer;\n"
               "  the guarantee is that of the outputs: who is asked must bear repetitions, each "
               "with the same id\n");
    }
}

static void explain_plan(const struct weir_loaded *loaded, const struct weir_plan *plan)
{
    const struct weir_pipeline_config *config = &loaded->config;
    printf("pipeline %s\n", config->name);
    if (config->instance != NULL) {
        printf("instance %s\n", config->instance);
    }
    printf("\n");
    printf("guarantee: %s\n  %s\n\n", weir_guarantee_name(plan->guarantee), plan->why);
    printf("edges\n");
    for (size_t i = 0; i < plan->source_count; i++) {
        explain_edge("source", &plan->sources[i]);
    }
    for (size_t i = 0; i < plan->sink_count; i++) {
        explain_edge("sink", &plan->sinks[i]);
    }
    explain_needs(plan);
    if (config->steps.count > 0) {
        printf("\nsteps\n");
        explain_steps(&config->steps, "  ");
    }
    for (size_t i = 0; i < config->branches.count; i++) {
        const struct weir_branch_config *branch =
            WEIR_ITEMS_AT(struct weir_branch_config, &config->branches, i);
        printf("\nbranch %s\n", branch->name);
        explain_steps(&branch->steps, "  ");
    }
    explain_askers(plan);
    printf("\ntasks: one per source partition");
    if (plan->exchange != NULL) {
        printf(" in front of the exchange of step %zu, %lld shards behind it",
               plan->exchange_at + 1, (long long)plan->exchange_shards);
    }
    printf(", on %u lane%s\n", plan->lanes, plan->lanes == 1 ? "" : "s");
    if (plan->exchange_topic != NULL) {
        printf("exchange: topic %s, written and read in the transaction\n",
               plan->exchange_topic_name);
    }
    printf("epochs: committed every %lld ms%s", (long long)plan->commit_interval_ms,
           plan->domain != NULL ? ", in a transaction" : "");
    if (plan->backlog_interval_ms > plan->commit_interval_ms) {
        printf("; every %lld ms while a backlog waits", (long long)plan->backlog_interval_ms);
    }
    printf("\n");
    if (plan->leases != NULL) {
        printf("singleton: one process works; its lease lies with %s, for %lld ms\n",
               plan->leases->name, (long long)config->singleton_timeout);
    }
    if (plan->uses_log) {
        printf("state log: %s\n", plan->log_dir);
    }
    if (plan->state_in_domain) {
        printf("state: kept in %s.state, in the transaction of the positions\n", config->name);
    } else if (plan->stateful && !plan->state_is_kept) {
        printf("state: best effort, gone after a restart\n");
    }
}

static void explain_settings(const struct weir_loaded *loaded)
{
    struct weir_strbuf text;
    weir_strbuf_init(&text, 16 << 20);
    weir_dump_text(&loaded->binder, weir_pipeline_fields, &loaded->config, &text);
    printf("\nsettings\n");
    fwrite(text.data == NULL ? "" : text.data, 1, text.size, stdout);
    weir_strbuf_done(&text);
}

int weir_cmd_explain(int argc, char **argv)
{
    struct weir_args args;
    int code = WEIR_EXIT_OK;
    if (!weir_args_parse(&args, argc, argv, &code)) {
        return code;
    }
    struct weir_loading loading;
    struct weir_plan plan;
    weir_loading_init(&loading);
    const char *path = args.count > 0 ? args.operands[0] : NULL;
    bool sound = weir_loading_pipeline(&loading, path, &plan);
    weir_loading_report(&loading);
    if (sound) {
        if (path == NULL) {
            printf("# the environment amounts to this file\n%.*s\n",
                   WEIR_SLICE_ARG(loading.loaded->text->bytes));
        }
        explain_plan(loading.loaded, &plan);
        explain_settings(loading.loaded);
    }
    weir_loading_done(&loading);
    return sound ? WEIR_EXIT_OK : WEIR_EXIT_CONFIG;
}
