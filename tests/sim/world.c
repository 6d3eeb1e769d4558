/* SPDX-License-Identifier: Apache-2.0
 *
 * Driver and checker. The checker knows the pipeline only as a function from input records to
 * lists of outputs; for each output topic and input partition it keeps one cursor, the next output
 * that may appear, and moves it as records become visible.
 */
#include "world.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/failpoint.h"
#include "conf/compile.h"
#include "conf/text.h"
#include "engine/engine_priv.h"
#include "engine/exchange_frame.h"
#include "engine/metrics.h"
#include "memory_priv.h"

enum { ROUNDS_MAX = 4000, STARTS_MAX = 60, RESTART_MS = 1000, TRANSACTION_MS = 1000 };

static int transaction_ms(const struct sim_spec *spec)
{
    return spec->transaction_ms == 0 ? TRANSACTION_MS : spec->transaction_ms;
}

/* --- reports -----------------------------------------------------------------------------------*/

static char scenario[400];

void sim_scenario(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(scenario, sizeof(scenario), format, arguments);
    va_end(arguments);
}

const char *sim_scenario_text(void)
{
    return scenario;
}

static void on_abort(int signal_number)
{
    (void)signal_number;
    ssize_t written = write(STDERR_FILENO, scenario, strlen(scenario));
    written = write(STDERR_FILENO, "\n", 1);
    (void)written;
}

void sim_violate(struct sim_world *world, const char *format, ...)
{
    if (world->violation[0] == '\0') {
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(world->violation, sizeof(world->violation), format, arguments);
        va_end(arguments);
    }
}

/* --- inputs ------------------------------------------------------------------------------------*/

static bool is_flagged(const struct sim_spec *spec, size_t source, size_t partition, int number)
{
    for (size_t i = 0; source == 0 && partition == 0 && i < 3; i++) {
        if (spec->flag != NULL && spec->flagged[i] == number) {
            return true;
        }
    }
    return false;
}

/* Partitions differ in length; here and there, and at the end of some, an offset holds no record.
 */
static void fill_partition(struct sim_world *world, size_t source, size_t index)
{
    const struct sim_spec *spec = world->spec;
    struct sim_partition *partition = &world->broker.topics[source].partitions[index];
    for (int number = 1; number <= (int)(spec->records + 3 * index); number++) {
        char key[32], value[96];
        snprintf(key, sizeof(key), "k%zu-%d", index, number % 5);
        snprintf(value, sizeof(value), "{\"t\":%zu,\"p\":%zu,\"n\":%d%s%s%s}", source, index,
                 number, is_flagged(spec, source, index, number) ? ",\"x\":\"" : "",
                 is_flagged(spec, source, index, number) ? spec->flag : "",
                 is_flagged(spec, source, index, number) ? "\"" : "");
        sim_broker_append(&world->broker, partition, key, value, 0);
        if (number % 7 == 3) {
            sim_broker_append(&world->broker, partition, NULL, NULL, 0);
        }
    }
    if (index % 2 == 0) {
        sim_broker_append(&world->broker, partition, NULL, NULL, 0);
        sim_broker_append(&world->broker, partition, NULL, NULL, 0);
    }
}

/* --- the checker -------------------------------------------------------------------------------*/

/* The whole number behind "name": in the entry's value; `absent` if it has none. */
static int entry_field(const struct sim_entry *entry, const char *name, int absent)
{
    const char *at = strstr(entry->value, name);
    return at != NULL ? (int)strtol(at + strlen(name), NULL, 10) : absent;
}

static int entry_number(const struct sim_entry *entry)
{
    return entry_field(entry, "\"n\":", -1);
}

static int entry_copy(const struct sim_entry *entry)
{
    return entry_field(entry, "\"i\":", 0);
}

static int shape_copies(enum sim_shape shape, int number)
{
    switch (shape) {
    case SIM_PASS:
    case SIM_TALLY:
        return 1;
    case SIM_REPEAT:
        return number % 3;
    case SIM_ODD:
        return number % 2;
    }
    WEIR_UNREACHABLE();
}

/* Moves the cursor to the next output that is due, at the end of the partition to its length. */
static const struct sim_entry *cursor_settle(const struct sim_world *world,
                                             struct sim_cursor *cursor,
                                             size_t out,
                                             const struct sim_partition *partition)
{
    for (; cursor->position < partition->count; cursor->position++, cursor->copy = 0) {
        const struct sim_entry *entry = &partition->entries[cursor->position];
        if (!entry->control && strstr(entry->value, "\"x\":") == NULL &&
            cursor->copy < shape_copies(world->spec->shapes[out], entry_number(entry))) {
            return entry;
        }
    }
    return NULL;
}

/* How many records of its key are before it, modulo 3; those that fail do not count. */
static int tally_of(const struct sim_spec *spec, const struct sim_entry *input)
{
    int number = entry_number(input), before = 0;
    size_t source = (size_t)(input->value[5] - '0'), index = (size_t)(input->value[11] - '0');
    for (int n = number % 5 == 0 ? 5 : number % 5; n < number; n += 5) {
        before += !is_flagged(spec, source, index, n);
    }
    return before % 3;
}

static void output_text(const struct sim_spec *spec,
                        size_t out,
                        const struct sim_entry *input,
                        int copy,
                        char *text,
                        size_t size)
{
    if (spec->shapes[out] == SIM_REPEAT) {
        snprintf(text, size, "%.*s,\"i\":%d}", (int)strlen(input->value) - 1, input->value, copy);
    } else if (spec->shapes[out] == SIM_TALLY) {
        snprintf(text, size, "%.*s,\"i\":%d}", (int)strlen(input->value) - 1, input->value,
                 tally_of(spec, input));
    } else {
        snprintf(text, size, "%s", input->value);
    }
}

static void check_visible(struct sim_world *world, size_t out, const struct sim_entry *entry)
{
    if (strncmp(entry->value, "{\"t\":", 5) != 0 || strlen(entry->value) < 17) {
        sim_violate(world, "out%zu has what no input makes: %s", out, entry->value);
        return;
    }
    size_t source = (size_t)(entry->value[5] - '0'), index = (size_t)(entry->value[11] - '0');
    WEIR_ASSERT(source < world->spec->sources && index < world->spec->partitions);
    const struct sim_partition *partition = &world->broker.topics[source].partitions[index];
    struct sim_cursor *cursor = &world->cursors[out][source][index];
    const struct sim_entry *due = cursor_settle(world, cursor, out, partition);
    char text[160];
    if (due != NULL) {
        output_text(world->spec, out, due, cursor->copy, text, sizeof(text));
        if (strcmp(text, entry->value) == 0 && strcmp(due->key, entry->key) == 0) {
            cursor->copy++;
            (void)cursor_settle(world, cursor, out, partition);
            return;
        }
    }
    int number = entry_number(entry);
    bool earlier = due == NULL || number < entry_number(due) ||
                   (number == entry_number(due) && entry_copy(entry) < cursor->copy &&
                    world->spec->shapes[out] == SIM_REPEAT);
    if (earlier) {
        world->repeats++;
        if (!world->repeats_allowed) {
            sim_violate(world, "out%zu has %s twice (process %d wrote it)", out, entry->value,
                        entry->process);
        }
        return;
    }
    sim_violate(world, "out%zu has %s (key %s) where %s is due", out, entry->value, entry->key,
                text);
}

/* ended: nothing is under way any more, in the topic of an exchange neither. */
static void check_positions(struct sim_world *world, size_t out, bool ended)
{
    const struct sim_spec *spec = world->spec;
    for (size_t t = 0; t < spec->sources; t++) {
        for (size_t p = 0; p < spec->partitions; p++) {
            const struct sim_partition *partition = &world->broker.topics[t].partitions[p];
            struct sim_cursor *cursor = &world->cursors[out][t][p];
            const struct sim_entry *due = cursor_settle(world, cursor, out, partition);
            if (partition->committed > (int64_t)partition->count) {
                sim_violate(world, "in%zu, partition %zu: %lld is committed, the end is %zu", t, p,
                            (long long)partition->committed, partition->count);
            }
            if ((!spec->exchange || ended) && (int64_t)cursor->position < partition->committed) {
                sim_violate(world, "in%zu, partition %zu: %lld is committed, %s is not in out%zu",
                            t, p, (long long)partition->committed, due == NULL ? "?" : due->value,
                            out);
            }
            /* The newest visible output belongs to an input before the committed position. */
            struct sim_cursor back = *cursor;
            while (back.position > 0 && back.copy == 0) {
                const struct sim_entry *entry = &partition->entries[--back.position];
                if (!entry->control && strstr(entry->value, "\"x\":") == NULL) {
                    back.copy = shape_copies(spec->shapes[out], entry_number(entry));
                }
            }
            if (!spec->at_least_once && back.copy > 0 &&
                (int64_t)back.position >= partition->committed) {
                sim_violate(world, "in%zu, partition %zu: %lld is committed, out%zu shows %s", t, p,
                            (long long)partition->committed, out,
                            partition->entries[back.position].value);
            }
        }
    }
}

static void check_all(struct sim_world *world, bool ended)
{
    world->checks++;
    for (size_t out = 0; out < world->spec->outs; out++) {
        struct sim_partition *partition = &world->outs[out]->partitions[0];
        for (size_t i = world->scanned[out]; i < partition->count; i++) {
            struct sim_entry *entry = &partition->entries[i];
            if (entry->state == SIM_COMMITTED && !entry->seen) {
                entry->seen = true;
                check_visible(world, out, entry);
            }
        }
        world->scanned[out] = partition->stable;
        check_positions(world, out, ended);
    }
}

static void world_check(void *context)
{
    check_all(context, false);
}

/* A record of the exchange that nobody has counted yet; marks go on for as long as partitions move.
 */
static bool has_left(const struct sim_partition *partition)
{
    struct weir_exchange_frame frame;
    struct weir_slice value;
    bool left = false;
    for (size_t i = partition->committed < 0 ? 0 : (size_t)partition->committed;
         i < partition->count && !left; i++) {
        const struct sim_entry *entry = &partition->entries[i];
        size_t size = 0;
        char *bytes = entry->control ? NULL : sim_unhex(entry->value, &size);
        left = entry->state != SIM_ABORTED &&
               weir_exchange_frame_read((struct weir_slice){bytes, size}, &frame, &value) &&
               (frame.flags & WEIR_EXCHANGE_MARK) == 0;
        weir_free(bytes);
    }
    return left;
}

/* Everything is read and committed, also of the exchange: it ends only because it is told to. */
static bool is_drained(const struct sim_world *world)
{
    struct sim_broker *broker = (struct sim_broker *)(uintptr_t)&world->broker;
    const struct sim_topic *exchange = sim_broker_topic(broker, "sim.counts.exchange");
    for (size_t p = 0; exchange != NULL && p < exchange->partition_count; p++) {
        if (has_left(&exchange->partitions[p])) {
            return false;
        }
    }
    for (size_t t = 0; t < world->spec->sources; t++) {
        for (size_t p = 0; p < world->spec->partitions; p++) {
            const struct sim_partition *partition = &world->broker.topics[t].partitions[p];
            if (partition->committed != (int64_t)partition->count) {
                return false;
            }
        }
    }
    return exchange != NULL;
}

void sim_world_check_end(struct sim_world *world)
{
    sim_world_advance(world, 2 * transaction_ms(world->spec)); /* what a dead process left open times out */
    check_all(world, true);
    const struct sim_spec *spec = world->spec;
    if (spec->exchange && !is_drained(world)) {
        sim_violate(world, "something is left in the exchange");
    }
    if (sim_broker_has_open(&world->broker)) {
        sim_violate(world, "a transaction is still open");
    }
    for (size_t t = 0; t < spec->sources; t++) {
        for (size_t p = 0; p < spec->partitions; p++) {
            const struct sim_partition *partition = &world->broker.topics[t].partitions[p];
            if (partition->committed != (int64_t)partition->count || partition->pending >= 0) {
                sim_violate(world, "in%zu, partition %zu: %lld is committed in the end, not %zu", t,
                            p, (long long)partition->committed, partition->count);
            }
        }
    }
    if (sim_messages_alive != 0) {
        sim_violate(world, "%ld messages are not released", sim_messages_alive);
    }
}

/* --- configuration -----------------------------------------------------------------------------*/

extern const struct weir_component weir_component_filter_step, weir_component_map_step,
    weir_component_key_step, weir_component_log_step, weir_component_drop_sink;

static const struct weir_component *const components[] = {
    &sim_memory_source,
    &sim_memory_sink,
    &sim_aside_sink,
    &sim_repeat_step,
    &sim_tally_step,
    &sim_enquire_step,
    &weir_component_drop_sink,
    &weir_component_map_step,
    &weir_component_filter_step,
    &weir_component_key_step,
    &weir_component_log_step,
};

static const struct weir_described *
component_at(const void *context, enum weir_role role, size_t index)
{
    (void)context;
    for (size_t i = 0; i < sizeof(components) / sizeof(components[0]); i++) {
        if (components[i]->described.kind == role && index-- == 0) {
            return &components[i]->described;
        }
    }
    return NULL;
}

static const struct weir_registry registry = {.at = component_at};
static const struct weir_surroundings surroundings = {.registry = &registry,
                                                      .compiler = &weir_jq_compiler};

struct weir_loaded *sim_world_load(struct sim_world *world, size_t slot)
{
    const struct sim_spec *spec = world->spec;
    struct weir_strbuf yaml;
    weir_strbuf_init(&yaml, 1 << 20);
    weir_strbuf_printf(&yaml,
                       "name: sim\nlanes: %u\nbatch_size: %zu\n"
                       "transaction_timeout: %dms\non_error: %s\nhttp: off\n",
                       spec->lanes, spec->batch_size, transaction_ms(spec), spec->skip ? "skip" : "stop");
    if (!spec->own_pace) {
        weir_strbuf_text(&yaml, "commit_interval: 20ms\n");
    }
    if (spec->instance) {
        weir_strbuf_printf(&yaml, "instance: %c\n", (char)('a' + (int)slot));
    }
    if (spec->at_least_once) {
        weir_strbuf_text(&yaml, "guarantee: at-least-once\n");
    }
    weir_strbuf_text(&yaml, "sources:\n");
    for (size_t t = 0; t < spec->sources; t++) {
        weir_strbuf_printf(&yaml, "  - memory: {topic: in%zu}\n", t);
    }
    weir_strbuf_text(&yaml, spec->tail);
    struct weir_err err = {0};
    struct weir_text *text =
        weir_text_new(&world->arena, spec->name, weir_strbuf_view(&yaml), &err);
    weir_strbuf_done(&yaml);
    struct weir_loaded *loaded =
        text == NULL ? NULL : weir_load_text(&surroundings, text, &world->diags);
    if (loaded == NULL) {
        struct weir_strbuf out;
        weir_strbuf_init(&out, 1 << 20);
        weir_diags_render_text(&world->diags, false, &out);
        fprintf(stderr, "%s%s\n", err.message, out.data == NULL ? "" : out.data);
        weir_strbuf_done(&out);
        WEIR_ASSERT(loaded != NULL);
    }
    return loaded;
}

/* --- life --------------------------------------------------------------------------------------*/

void sim_world_init(struct sim_world *world, const struct sim_spec *spec, uint64_t seed)
{
    signal(SIGABRT, on_abort);
    *world = (struct sim_world){.spec = spec, .seed = seed, .trace = seed};
    world->shows = getenv("WEIR_SIM_TRACE") != NULL;
    world->repeats_allowed = false;
    weir_clock_manual_init(&world->clock, 1800000000000);
    weir_log_fd_init(&world->log, STDERR_FILENO, WEIR_LOG_FORMAT_TEXT, WEIR_LEVEL_DEBUG);
    weir_arena_init(&world->arena, 0);
    weir_diags_init(&world->diags, &world->arena);
    sim_broker_init(&world->broker, &world->clock.clock);
    char name[32];
    for (size_t t = 0; t < spec->sources; t++) {
        snprintf(name, sizeof(name), "in%zu", t);
        (void)sim_broker_add_topic(&world->broker, name, spec->partitions);
    }
    for (size_t out = 0; out < spec->outs; out++) {
        snprintf(name, sizeof(name), "out%zu", out);
        (void)sim_broker_add_topic(&world->broker, name, 1);
    }
    for (size_t out = 0; out < spec->outs; out++) {
        world->outs[out] = &world->broker.topics[spec->sources + out];
    }
    for (size_t t = 0; t < spec->sources; t++) {
        for (size_t p = 0; p < spec->partitions; p++) {
            fill_partition(world, t, p);
        }
    }
    world->broker.changed = world_check;
    world->broker.context = world;
}

void sim_world_done(struct sim_world *world)
{
    for (size_t slot = 0; slot < SIM_SLOTS; slot++) {
        if (world->slots[slot].engine != NULL) {
            sim_world_kill(world, slot);
        }
        weir_loaded_free(world->loaded[slot]);
    }
    sim_broker_done(&world->broker);
    weir_log_fd_done(&world->log);
    weir_arena_done(&world->arena);
}

struct sim_process *sim_world_prepare(struct sim_world *world, size_t slot)
{
    struct sim_slot *self = &world->slots[slot];
    WEIR_ASSERT(self->engine == NULL);
    *self = (struct sim_slot){.outcome = SIM_IDLE};
    self->process = (struct sim_process){
        .number = ++world->started,
        .broker = &world->broker,
        .trace = &world->trace,
        .chunk = world->spec->chunk,
        .room = world->spec->room,
        .poison_in_commit = world->spec->poison_in_commit,
        .shows = world->shows,
    };
    return &self->process;
}

static void slot_end(struct sim_world *world, struct sim_slot *slot, enum sim_outcome outcome)
{
    struct weir_metrics *metrics = weir_engine_metrics(slot->engine);
    for (size_t t = 0; t < world->spec->sources; t++) {
        char topic[32];
        snprintf(topic, sizeof(topic), "in%zu", t);
        slot->skipped +=
            weir_metrics_value(metrics, WEIR_METRIC_MESSAGES, WEIR_LABELS(topic, "skipped"));
    }
    slot->processed = weir_metrics_sum(metrics, WEIR_METRIC_MESSAGES);
    slot->err = *weir_engine_error(slot->engine);
    slot->outcome = outcome;
    weir_engine_free(slot->engine);
    slot->engine = NULL;
    if (slot->process.violation != NULL) {
        sim_violate(world, "%s", slot->process.violation);
    }
}

/* After every step: crashed, to start over, finished? */
static void slot_look(struct sim_world *world, struct sim_slot *slot)
{
    if (slot->process.dead) {
        slot_end(world, slot, SIM_CRASHED);
    } else if (slot->engine->restarting) {
        weir_engine_close(slot->engine);
        slot->resume_ns =
            weir_clock_monotonic_ns(&world->clock.clock) + RESTART_MS * WEIR_NS_PER_MS;
        if (slot->process.dead) {
            slot_end(world, slot, SIM_CRASHED);
        }
    } else if (weir_engine_is_finished(slot->engine)) {
        weir_engine_close(slot->engine); /* leaving makes calls too */
        slot_end(world, slot,
                 slot->process.dead                             ? SIM_CRASHED
                 : weir_engine_error(slot->engine)->status == 0 ? SIM_ENDED
                                                                : SIM_FAILED);
    }
}

void sim_world_open(struct sim_world *world, size_t slot)
{
    struct sim_slot *self = &world->slots[slot];
    struct weir_engine_options options = {
        .clock = &world->clock.clock,
        .log_sink = world->shows ? &world->log.sink : NULL,
        .seed = world->seed * 1000 + (uint64_t)self->process.number,
        .inline_lanes = true,
    };
    struct weir_err err = {0};
    if (world->loaded[slot] == NULL) {
        world->loaded[slot] = sim_world_load(world, slot);
    }
    self->engine = weir_engine_new(&world->loaded[slot]->config, &options, &err);
    if (self->engine == NULL) {
        fprintf(stderr, "%s\n", err.message);
    }
    WEIR_ASSERT(self->engine != NULL);
    self->outcome = SIM_RUNNING;
    sim_current = &self->process;
    (void)!weir_engine_open(self->engine);
    slot_look(world, self);
}

void sim_world_tick(struct sim_world *world, size_t slot)
{
    struct sim_slot *self = &world->slots[slot];
    if (self->outcome != SIM_RUNNING) {
        return;
    }
    sim_current = &self->process;
    if (self->engine->restarting) {
        if (weir_clock_monotonic_ns(&world->clock.clock) >= self->resume_ns) {
            (void)!weir_engine_open(self->engine);
            slot_look(world, self);
        }
        return;
    }
    if (world->spec->exchange && is_drained(world)) {
        weir_engine_request_stop(self->engine);
    }
    weir_engine_tick(self->engine);
    slot_look(world, self);
}

void sim_world_lane(struct sim_world *world, size_t slot, unsigned lane)
{
    struct sim_slot *self = &world->slots[slot];
    if (self->outcome != SIM_RUNNING || self->engine->restarting) {
        return;
    }
    sim_current = &self->process;
    (void)weir_engine_step_lane(self->engine, lane);
    if (self->process.dead) {
        slot_look(world, self);
    }
}

void sim_world_advance(struct sim_world *world, int64_t ms)
{
    weir_clock_manual_advance_ns(&world->clock, ms * WEIR_NS_PER_MS);
    sim_broker_sweep(&world->broker);
}

void sim_world_round(struct sim_world *world, size_t slot)
{
    sim_world_tick(world, slot);
    for (unsigned lane = 0; lane < world->spec->lanes; lane++) {
        sim_world_lane(world, slot, lane);
    }
    sim_world_advance(world, SIM_STEP_MS);
}

bool sim_world_run(struct sim_world *world, size_t slot)
{
    for (int i = 0; i < ROUNDS_MAX && world->violation[0] == '\0'; i++) {
        if (world->slots[slot].outcome != SIM_RUNNING) {
            return true;
        }
        sim_world_round(world, slot);
    }
    if (world->slots[slot].outcome == SIM_RUNNING) {
        sim_violate(world, "process %d does not come to an end (%d rounds)",
                    world->slots[slot].process.number, ROUNDS_MAX);
        return false;
    }
    return true;
}

void sim_world_kill(struct sim_world *world, size_t slot)
{
    struct sim_slot *self = &world->slots[slot];
    if (self->engine != NULL) {
        self->process.dead = true;
        slot_end(world, self, SIM_CRASHED);
    }
}

void sim_world_finish(struct sim_world *world)
{
    struct sim_slot *slot = &world->slots[0];
    for (int i = 0; i < STARTS_MAX && world->violation[0] == '\0'; i++) {
        if (slot->outcome == SIM_RUNNING) {
            (void)sim_world_run(world, 0);
        }
        if (slot->outcome == SIM_ENDED || world->violation[0] != '\0') {
            break;
        }
        (void)sim_world_prepare(world, 0);
        sim_world_open(world, 0);
    }
    if (slot->outcome != SIM_ENDED) {
        sim_violate(world, "no process comes to a clean end (the last one: %s)", slot->err.message);
    }
    sim_world_check_end(world);
}

unsigned sim_stride(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    const char *is_long = getenv("WEIR_LONG");
    return is_long != NULL && *is_long == '1' ? 1 : 3;
#else
    return 1;
#endif
}
