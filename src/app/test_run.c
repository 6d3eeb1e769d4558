/* SPDX-License-Identifier: Apache-2.0
 *
 * The driver of a case. The engine's monotonic clock moves as it needs to, so that epochs close and
 * pauses end; the wall clock, which is what steps see, moves only by `advance`. In between the
 * engine is stepped until nothing changes any more.
 */
#include "app/test_run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/test_answers.h"
#include "base/clock.h"
#include "conf/memory.h"
#include "data/batch.h"
#include "engine/engine.h"
#include "engine/engine_priv.h"
#include "engine/metrics.h"

enum {
    ROUNDS_MAX = 20000,
    IDLE_ROUNDS = 2,      /* without any change: the engine is at rest */
    STALE_ROUNDS = 8,     /* waiting for time to pass */
    SILENT_ROUNDS = 64,   /* without a commit: what is not answered stays so */
    INTERVAL_MS = 10000,  /* between two commits */
    TICK_MS = 100,        /* how often steps look at the clock */
    ADVANCE_STEPS = 1000, /* at most; else TICK_MS each */
    PATIENCE_MS = 3600000,
};

struct run {
    struct weir_test_file *file;
    struct weir_test_world *world;
    const struct weir_test_case *one;
    const struct weir_test_mode *mode;
    struct weir_test_answering answering;
    struct weir_engine *engine; /* NULL: it has come to its end */
    struct weir_random dice;
    struct weir_arena *arena;
    struct weir_test_result *result;
};

/* --- what the names mean -----------------------------------------------------------------------*/

/* -1: there is no such source. */
static int find_source(const struct weir_test_file *file, const struct weir_test_input *input)
{
    if (input->source == NULL) {
        for (unsigned i = 0; input->topic != NULL && i < file->plan.source_count; i++) {
            if (strcmp(weir_test_world_topic(file, i), input->topic) == 0) {
                return (int)i;
            }
        }
        return 0;
    }
    for (unsigned i = 0; i < file->plan.source_count; i++) {
        const struct weir_plan_edge *edge = &file->plan.sources[i];
        char number[16];
        (void)snprintf(number, sizeof(number), "%u", i);
        if ((edge->label != NULL && strcmp(edge->label, input->source) == 0) ||
            strcmp(edge->name, input->source) == 0 || strcmp(number, input->source) == 0) {
            return (int)i;
        }
    }
    return -1;
}

static bool is_record(const struct weir_test_input *input)
{
    return input->value != NULL || input->json != NULL || input->tombstone;
}

static void check_case(struct weir_test_file *file, const struct weir_test_case *one)
{
    bool ended = false;
    for (size_t i = 0; i < one->input.count; i++) {
        const struct weir_test_input *input = WEIR_ITEMS_AT(struct weir_test_input, &one->input, i);
        if (ended && !input->restart) {
            const void *member = input->value != NULL   ? (const void *)&input->value
                                 : input->json != NULL  ? (const void *)&input->json
                                 : input->tombstone     ? (const void *)&input->tombstone
                                 : input->end           ? (const void *)&input->end
                                 : input->jump > 0      ? (const void *)&input->jump
                                 : input->jump_back > 0 ? (const void *)&input->jump_back
                                 : input->advance > 0   ? (const void *)&input->advance
                                                        : (const void *)&input->answers;
            struct weir_diag *diag =
                weir_test_file_error(file, member, "nothing can happen after the end");
            weir_diag_hint(&file->diags, diag, "Only `{restart: true}` can follow `{end: true}`.");
        }
        ended = input->end || (ended && !input->restart);
        if (input->source != NULL && find_source(file, input) < 0) {
            (void)weir_test_file_error(file, &input->source, "the pipeline has no source \"%s\"",
                                       input->source);
        }
        if (one->partitions > 0 && input->partition >= one->partitions) {
            (void)weir_test_file_error(file, &input->partition,
                                       "there are partitions 0 to %lld in this case",
                                       (long long)one->partitions - 1);
        }
    }
}

bool weir_test_run_check(struct weir_test_file *file)
{
    for (size_t i = 0; i < file->cases.count; i++) {
        check_case(file, WEIR_ITEMS_AT(struct weir_test_case, &file->cases, i));
    }
    return file->diags.errors == 0;
}

/* Every partition is there before the engine starts. */
static void make_parts(struct run *run)
{
    int64_t partitions = run->one->partitions;
    for (size_t i = 0; i < run->one->input.count; i++) {
        const struct weir_test_input *input =
            WEIR_ITEMS_AT(struct weir_test_input, &run->one->input, i);
        partitions = input->partition >= partitions ? input->partition + 1 : partitions;
    }
    partitions = partitions == 0 ? 1 : partitions;
    for (unsigned i = 0; i < run->file->plan.source_count; i++) {
        for (int32_t k = 0; k < partitions; k++) {
            (void)weir_test_world_part(run->world, i, weir_test_world_topic(run->file, i), k);
        }
    }
    for (size_t i = 0; i < run->one->input.count; i++) {
        const struct weir_test_input *input =
            WEIR_ITEMS_AT(struct weir_test_input, &run->one->input, i);
        for (int32_t k = 0; input->topic != NULL && k < partitions; k++) {
            (void)weir_test_world_part(run->world, (unsigned)find_source(run->file, input),
                                       input->topic, k);
        }
    }
}

/* --- the engine --------------------------------------------------------------------------------*/

static double metric_value(struct weir_slice text, const char *name, bool *ret_found)
{
    double sum = 0;
    size_t size = strlen(name);
    const char *at = text.data, *end = text.data + text.size;
    while (at < end) {
        const char *line_end = memchr(at, '\n', (size_t)(end - at));
        line_end = line_end == NULL ? end : line_end;
        bool same = (size_t)(line_end - at) > size && memcmp(at, name, size) == 0 &&
                    (at[size] == ' ' || at[size] == '{');
        const char *value = same ? memrchr(at, ' ', (size_t)(line_end - at)) : NULL;
        if (value != NULL) {
            sum += strtod(value, NULL);
            *ret_found = true;
        }
        at = line_end + 1;
    }
    return sum;
}

/* What the engine has counted, before it goes. */
static void collect(struct run *run)
{
    static const char *const names[WEIR_TEST_FATES] = {
        [WEIR_FATE_FILTERED] = "filtered", [WEIR_FATE_OK] = "ok",
        [WEIR_FATE_LATE] = "late",         [WEIR_FATE_DEAD] = "dead",
        [WEIR_FATE_SKIPPED] = "skipped",
    };
    struct weir_metrics *metrics = weir_engine_metrics(run->engine);
    for (size_t i = 0; i < run->world->part_count; i++) {
        const char *topic = run->world->parts[i].topic;
        bool seen = false;
        for (size_t k = 0; k < i; k++) {
            seen = seen || strcmp(run->world->parts[k].topic, topic) == 0;
        }
        for (int fate = 0; fate < WEIR_TEST_FATES && !seen; fate++) {
            run->result->fates[fate] +=
                weir_metrics_value(metrics, WEIR_METRIC_MESSAGES, WEIR_LABELS(topic, names[fate]));
        }
    }
    if (run->one->metrics.count == 0) {
        return;
    }
    struct weir_strbuf text;
    weir_strbuf_init(&text, (size_t)64 << 20);
    weir_metrics_render(&metrics, 1, &text);
    for (size_t i = 0; i < run->one->metrics.count; i++) {
        const char *name = run->one->metrics.items[i].key;
        bool is_gauge = strstr(name, "_total") == NULL && strstr(name, "_count") == NULL;
        double value = metric_value(weir_strbuf_view(&text), name, &run->result->has_metric[i]);
        run->result->metrics[i] = is_gauge ? value : run->result->metrics[i] + value;
    }
    weir_strbuf_done(&text);
}

static void drop_engine(struct run *run)
{
    weir_engine_free(run->engine);
    run->engine = NULL;
}

static void look(struct run *run);

static void start(struct run *run)
{
    const struct weir_engine_options options = {
        .clock = &run->world->clock,
        .seed = 1,
        .inline_lanes = true,
        .answerer = &run->answering.answerer,
    };
    struct weir_err err = {0};
    run->engine = weir_engine_new(&run->file->loading.loaded->config, &options, &err);
    if (run->engine == NULL) {
        run->result->problem = weir_arena_printf(run->arena, "%s", err.message);
        return;
    }
    (void)!weir_engine_open(run->engine);
    look(run);
}

/* After every step: dead, at its end? A dead process has a successor. */
static void look(struct run *run)
{
    if (run->world->dead) {
        run->result->crashed_in = run->world->crashed_in;
        drop_engine(run);
        weir_test_world_revive(run->world);
        start(run);
    } else if (weir_engine_is_finished(run->engine)) {
        const struct weir_err *err = weir_engine_error(run->engine);
        if (err->status != WEIR_OK) {
            run->result->error = weir_arena_printf(run->arena, "%s%s%s", err->path,
                                                   err->path[0] == '\0' ? "" : ": ", err->message);
        }
        collect(run);
        run->world->dead = true;
        drop_engine(run);
        weir_test_world_revive(run->world);
    }
}

static bool is_read(const struct run *run, bool committed)
{
    bool all = true;
    for (size_t i = 0; i < run->world->part_count; i++) {
        const struct weir_test_part *part = &run->world->parts[i];
        all = all && (committed ? part->committed : part->next) >= (int64_t)part->count;
    }
    return all && (!committed || run->world->open.count == 0);
}

static int64_t sum_committed(const struct run *run)
{
    int64_t sum = 0;
    for (size_t i = 0; i < run->world->part_count; i++) {
        sum += run->world->parts[i].committed;
    }
    return sum;
}

/* Steps the engine until it is at rest, everything committed if `commits`; or to its end. Nor does
 * more happen when somebody does not answer. */
static void drive(struct run *run, bool commits)
{
    int idle = 0, silent = 0;
    int64_t committed = sum_committed(run);
    run->answering.unanswered = 0;
    for (int round = 0; round < ROUNDS_MAX && run->engine != NULL; round++) {
        bool waits = commits || idle > STALE_ROUNDS;
        run->world->monotonic_ns += (waits ? INTERVAL_MS : TICK_MS) * WEIR_NS_PER_MS;
        uint64_t changes = run->world->changes;
        bool moved = false;
        weir_engine_tick(run->engine);
        look(run);
        if (run->engine != NULL) {
            moved = weir_engine_step_lane(run->engine, 0);
            if (run->world->dead) {
                look(run);
            }
        }
        idle = moved || run->world->changes != changes ? 0 : idle + 1;
        if (!run->world->ended && idle >= IDLE_ROUNDS && is_read(run, commits)) {
            run->answering.unanswered = 0; /* what was open has been answered since */
            return;
        }
        silent = sum_committed(run) != committed ? 0 : silent + 1;
        committed = sum_committed(run);
        if (run->answering.unanswered > 0 && silent >= SILENT_ROUNDS) {
            return;
        }
    }
    if (run->engine != NULL) {
        run->result->problem = "the pipeline does not come to rest";
        drop_engine(run);
    }
}

/* The same, and nothing comes that could answer later. */
static void drive_to_the_end(struct run *run)
{
    drive(run, true);
    if (run->engine != NULL && run->answering.unanswered > 0) {
        run->result->problem = weir_arena_printf(run->arena, "%s gets no answer to %s",
                                                 run->answering.asker->label, run->answering.asked);
        run->world->dead = true; /* nothing more happens while it is taken down */
        drop_engine(run);
    }
}

/* --- the case ----------------------------------------------------------------------------------*/

static void append(struct run *run, const struct weir_test_input *input)
{
    struct weir_test_world *world = run->world;
    unsigned source = (unsigned)find_source(run->file, input);
    const char *topic =
        input->topic != NULL ? input->topic : weir_test_world_topic(run->file, source);
    struct weir_header *headers =
        weir_conf_alloc(&world->arena, input->headers.count, sizeof(*headers));
    for (size_t i = 0; i < input->headers.count; i++) {
        headers[i] = (struct weir_header){weir_slice_of(input->headers.items[i].key),
                                          weir_slice_of(input->headers.items[i].value)};
    }
    const struct weir_test_message message = {
        .key = weir_slice_of(input->key),
        .value = weir_slice_of(input->json != NULL ? input->json : input->value),
        .headers = headers,
        .header_count = (uint32_t)input->headers.count,
        .time_ms = input->time.word != 0 ? world->wall_ms : input->time.time_ms,
    };
    weir_test_world_append(weir_test_world_part(world, source, topic, (int32_t)input->partition),
                           &message);
}

static bool by_chance(struct run *run, uint64_t of)
{
    return weir_random_below(&run->dice, of) == 0;
}

static void advance(struct run *run, int64_t duration_ms)
{
    int64_t step_ms = duration_ms;
    if (run->engine != NULL && run->engine->has_ticks) {
        step_ms = duration_ms / ADVANCE_STEPS < TICK_MS ? TICK_MS : duration_ms / ADVANCE_STEPS;
    }
    while (duration_ms > 0 && run->engine != NULL) {
        int64_t part_ms = step_ms < duration_ms ? step_ms : duration_ms;
        run->world->wall_ms += part_ms;
        duration_ms -= part_ms;
        drive(run, !run->mode->shuffles || by_chance(run, 2));
    }
}

static void restart(struct run *run)
{
    if (run->engine != NULL) {
        collect(run);
        run->world->dead = true;
        drop_engine(run);
    }
    weir_test_world_revive(run->world);
    run->world->ended = false;
    start(run);
    drive(run, !run->mode->shuffles);
}

static void happen(struct run *run, const struct weir_test_input *input)
{
    bool shuffles = run->mode->shuffles;
    if (is_record(input)) {
        append(run, input);
        if (!shuffles || by_chance(run, 3)) {
            drive(run, !shuffles || by_chance(run, 2));
        }
        return;
    }
    if (run->engine != NULL) { /* which answer a question gets must not depend on chance */
        drive(run, !shuffles || input->answers.count > 0 || by_chance(run, 2));
    }
    weir_test_answering_change(&run->answering, &input->answers);
    if (input->restart) {
        restart(run);
    } else if (input->end && run->engine != NULL) {
        run->world->ended = true;
        drive_to_the_end(run);
    } else if (input->advance > 0) {
        advance(run, input->advance);
    } else {
        run->world->wall_ms += input->jump - input->jump_back;
    }
}

static void keep_outputs(struct run *run)
{
    const struct weir_test_outputs *from = &run->world->committed;
    struct weir_test_outputs *to = &run->result->outputs;
    to->count = to->capacity = from->count;
    to->items = weir_conf_alloc(run->arena, from->count, sizeof(*to->items));
    for (size_t i = 0; i < from->count; i++) {
        struct weir_test_output *item = &to->items[i];
        *item = from->items[i];
        struct weir_slice *const texts[] = {&item->key, &item->value, &item->topic};
        for (size_t k = 0; k < 3; k++) {
            *texts[k] = texts[k]->data == NULL ? *texts[k] : weir_conf_copy(run->arena, *texts[k]);
        }
        struct weir_header *headers =
            weir_conf_alloc(run->arena, item->header_count, sizeof(*headers));
        for (uint32_t k = 0; k < item->header_count; k++) {
            headers[k].key = weir_conf_copy(run->arena, item->headers[k].key);
            headers[k].value = weir_conf_copy(run->arena, item->headers[k].value);
        }
        item->headers = headers;
    }
}

void weir_test_run(struct weir_test_file *file,
                   struct weir_test_world *world,
                   const struct weir_test_case *one,
                   const struct weir_test_mode *mode,
                   struct weir_arena *arena,
                   struct weir_test_result *ret_result)
{
    struct run run = {.file = file,
                      .world = world,
                      .one = one,
                      .mode = mode,
                      .arena = arena,
                      .result = ret_result};
    *ret_result = (struct weir_test_result){
        .metrics = weir_conf_alloc(arena, one->metrics.count, sizeof(double)),
        .has_metric = weir_conf_alloc(arena, one->metrics.count, sizeof(bool)),
    };
    struct weir_pipeline_config *config = &file->loading.loaded->config;
    int64_t batch_size = config->batch_size;
    weir_random_init(&run.dice, mode->seed);
    weir_test_world_reset(world, one->start.time_ms);
    world->crash_at = mode->crash_at;
    world->crash = mode->crash;
    config->commit_interval = INTERVAL_MS;
    config->shutdown_timeout = PATIENCE_MS;
    if (mode->shuffles) {
        world->dice = &run.dice;
        config->batch_size = 1 + (int64_t)weir_random_below(&run.dice, 8);
    }
    weir_test_answering_init(&run.answering, file, world, one);
    make_parts(&run);
    start(&run);
    for (size_t i = 0; i < one->input.count && ret_result->problem == NULL; i++) {
        const struct weir_test_input *input = WEIR_ITEMS_AT(struct weir_test_input, &one->input, i);
        if (run.engine != NULL || input->restart) {
            happen(&run, input);
        }
    }
    if (run.engine != NULL) {
        drive_to_the_end(&run);
    }
    if (run.engine != NULL) {
        collect(&run);
        world->dead = true; /* nothing more happens while it is taken down */
        drop_engine(&run);
    }
    weir_test_answering_done(&run.answering);
    config->batch_size = batch_size;
    keep_outputs(&run);
}
