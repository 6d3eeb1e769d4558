/* SPDX-License-Identifier: Apache-2.0
 *
 * generate: makes records up, for trying out, for tests and for measuring the engine alone. Record
 * n of the pipeline is position n / partitions of partition n % partitions, and all that a template
 * sees of it (but the time) follows from n and the seed: so any record can be made again, and
 * positions are durable like a file's.
 *
 * Templates cost more than anything else in a pipeline that does little. Where speed counts,
 * `distinct` renders that many records once; after that a record is a pointer.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <weir/component.h>
#include <weir/jq.h>
#include <weir/json.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/block.h"
#include "base/limits.h"
#include "base/thread.h"
#include "base/wake.h"

enum {
    BLOCK_BYTES = 256 * 1024,
    INPUT_BYTES = 160, /* of the document a template sees */
    NUMBER_BYTES = 20, /* of a number in it */
    TICK_MS_MAX = 100, /* how often a limited rate is looked at, at least */
    JQ_RESET_EVERY = 64,
};

struct generate_config {
    int64_t count, partitions, seed, distinct;
    double rate;
    struct weir_expr template, key;
};

// clang-format off
#define S struct generate_config
static const struct weir_field generate_fields[] = {
    WEIR_F_INT(S, count, .unset = "endless", .min = 1, .max = INT64_C(1) << 53, .example = "1000",
               .help = "How many records; then the source ends."),
    WEIR_F_NUMBER(S, rate, .fallback = "0", .min = 0, .max = INT64_C(1000000000),
                  .example = "100", .help = "Records per second over all partitions; 0: as many as "
                                            "possible."),
    WEIR_F_JQ(S, template, .unset = "{\"n\": n}", .example = "'{id: .n, user: \"u\\(.n % 10)\"}'",
              .help = "Makes the value, exactly one, from `{n, partition, random, time}`: the "
                      "record's number from 0 on, its partition, a number from 0 to below 1 that "
                      "follows from n and the seed, and the wall clock in milliseconds."),
    WEIR_F_JQ(S, key, .unset = "no key", .example = ".n % 10 | tostring",
              .help = "Makes the key, from the same as the template."),
    WEIR_F_INT(S, seed, .fallback = "1", .min = 0, .max = INT64_MAX,
               .help = "Another seed makes other random numbers."),
    WEIR_F_INT(S, partitions, .fallback = "1", .min = 1, .max = 1024,
               .help = "How many partitions; they are worked on in parallel."),
    WEIR_F_INT(S, distinct, .unset = "every record is made anew", .min = 1, .max = 1000000,
               .flags = WEIR_ADVANCED,
               .help = "Makes only so many records and repeats them, which costs next to nothing."),
    WEIR_FIELDS_END,
};
#undef S
// clang-format on

struct made {
    struct weir_slice key, value;
};

struct generate_part {
    struct weir_partition *part;
    int64_t next, end;     /* end: INT64_MAX, endless */
    int64_t base_ns, base; /* a limited rate counts from here */
    bool based, told;
};

/* The numbers of the document that templates see. */
enum { NUMBER_N, NUMBER_PARTITION, NUMBER_RANDOM, NUMBER_TIME, NUMBER_COUNT };

/* One of them, and where it stands in the document. */
struct generate_number {
    int64_t value;
    char *text;
    size_t size;
};

/* One lane's tools. */
struct generate_lane {
    struct generate_part **parts;
    size_t count, turn;
    struct weir_jq_run *jq;
    struct weir_arena arena; /* the parsed input */
    struct weir_value input; /* what templates see; absent before the first */
    struct generate_number numbers[NUMBER_COUNT];
    char input_text[INPUT_BYTES];
    struct weir_strbuf text, key_text;
    char plain[32]; /* without a template */
    unsigned used;  /* evaluations since the last reset */
    struct weir_block *block;
};

struct generate_source {
    const struct generate_config *config;
    struct weir_ctx *ctx;
    struct weir_block_pool *pool;
    struct weir_arena arena; /* what `distinct` made */
    struct made *made;       /* NULL: each record is made */
    size_t made_count;
    struct generate_part *parts;
    struct generate_lane *lanes;
    struct weir_thread ticker;
};

/* --- making one --------------------------------------------------------------------------------*/

/* Up to `end`; returns where it begins. */
static char *print_number(char *end, uint64_t number)
{
    do {
        *--end = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    return end;
}

/* splitmix64 (Steele, Lea, Flood 2014) of the seed and n. */
static uint64_t mix(uint64_t seed, uint64_t n)
{
    uint64_t bits = seed * UINT64_C(0xd1342543de82ef95) + n * UINT64_C(0x9e3779b97f4a7c15);
    bits = (bits ^ (bits >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    bits = (bits ^ (bits >> 27)) * UINT64_C(0x94d049bb133111eb);
    return bits ^ (bits >> 31);
}

/* What stands in front of each. */
static const char *const number_names[NUMBER_COUNT] = {
    "{\"n\":", ",\"partition\":", ",\"random\":0", ",\"time\":"};

/* The text of a number; behind the 0 of `random` ten digits, of which the first one, that keeps
 * the zeros behind it, gives way to the point. */
static struct weir_slice number_text(unsigned which, int64_t number, char room[NUMBER_BYTES])
{
    char *end = room + NUMBER_BYTES;
    char *at = print_number(end, number < 0 ? 0 - (uint64_t)number : (uint64_t)number);
    if (number < 0) {
        *--at = '-';
    } else if (which == NUMBER_RANDOM) {
        *at = '.';
    }
    return (struct weir_slice){at, (size_t)(end - at)};
}

/* The whole document anew. */
static weir_status render_input(struct generate_lane *lane, struct weir_err *err)
{
    char *at = lane->input_text;
    for (unsigned i = 0; i < NUMBER_COUNT; i++) {
        char room[NUMBER_BYTES];
        struct weir_slice text = number_text(i, lane->numbers[i].value, room);
        size_t size = strlen(number_names[i]);
        memcpy(at, number_names[i], size);
        at += size;
        lane->numbers[i].text = at;
        lane->numbers[i].size = text.size;
        memcpy(at, text.data, text.size);
        at += text.size;
    }
    *at++ = '}';
    weir_arena_reset(&lane->arena);
    struct weir_slice whole = {lane->input_text, (size_t)(at - lane->input_text)};
    WEIR_ASSERT(whole.size < INPUT_BYTES);
    return weir_json_parse_in_place(&lane->arena, whole, NULL, &lane->input, err);
}

/* A parsed document points at its numbers' digits, so others of as many digits are written over
 * them. What an evaluation has made of the last ones is text by now. */
static weir_status make_input(const struct generate_source *self,
                              struct generate_lane *lane,
                              int64_t n,
                              int64_t time_ms,
                              struct weir_value *ret_input,
                              struct weir_err *err)
{
    if (++lane->used > JQ_RESET_EVERY) {
        weir_jq_run_reset(lane->jq);
        lane->used = 0;
    }
    uint64_t bits = mix((uint64_t)self->config->seed, (uint64_t)n);
    uint64_t billionths = (bits >> 32) * UINT64_C(1000000000) >> 32;
    const int64_t values[NUMBER_COUNT] = {n, n % self->config->partitions,
                                          (int64_t)(billionths + UINT64_C(1000000000)), time_ms};
    bool fits = !weir_value_is_absent(lane->input);
    for (unsigned i = 0; i < NUMBER_COUNT; i++) {
        struct generate_number *number = &lane->numbers[i];
        if (number->value != values[i]) {
            char room[NUMBER_BYTES];
            struct weir_slice text = number_text(i, values[i], room);
            number->value = values[i];
            fits = fits && text.size == number->size;
            if (fits) {
                memcpy(number->text, text.data, text.size);
            }
        }
    }
    weir_status status = fits ? WEIR_OK : render_input(lane, err);
    *ret_input = lane->input;
    return status;
}

/* The text lives until the next call. */
static weir_status make_value(const struct generate_source *self,
                              struct generate_lane *lane,
                              struct weir_value input,
                              struct weir_slice *ret_text,
                              struct weir_err *err)
{
    struct weir_value value;
    weir_status status = weir_jq_one(lane->jq, self->config->template.program, input, &value, err);
    if (status != WEIR_OK) {
        weir_err_path(err, "template");
        return status;
    }
    weir_strbuf_clear(&lane->text);
    weir_value_write(value, &lane->text, 0);
    *ret_text = weir_strbuf_view(&lane->text);
    return lane->text.failed ? weir_fail(err, WEIR_TOO_LARGE, "the value is too long") : WEIR_OK;
}

static weir_status make_key(const struct generate_source *self,
                            struct generate_lane *lane,
                            struct weir_value input,
                            struct weir_slice *ret_text,
                            struct weir_err *err)
{
    struct weir_value key;
    weir_status status = weir_jq_one(lane->jq, self->config->key.program, input, &key, err);
    if (status != WEIR_OK) {
        weir_err_path(err, "key");
        return status;
    }
    *ret_text = weir_value_text(key);
    if (ret_text->data == NULL && weir_value_kind(key) != WEIR_KIND_NULL) {
        weir_strbuf_clear(&lane->key_text);
        weir_value_write(key, &lane->key_text, 0);
        *ret_text = weir_strbuf_view(&lane->key_text);
    }
    return lane->key_text.failed ? weir_fail(err, WEIR_TOO_LARGE, "the key is too long") : WEIR_OK;
}

/* --- opening; control --------------------------------------------------------------------------*/

static weir_status render_distinct(struct generate_source *self, size_t count, struct weir_err *err)
{
    struct generate_lane *lane = &self->lanes[0];
    self->made = weir_arena_calloc(&self->arena, count, sizeof(*self->made));
    WEIR_ASSERT(self->made != NULL);
    int64_t time_ms = weir_clock_wall_ms(self->ctx->clock);
    for (; self->made_count < count; self->made_count++) {
        struct made *made = &self->made[self->made_count];
        struct weir_value input;
        struct weir_slice text = {NULL, 0};
        weir_status status =
            make_input(self, lane, (int64_t)self->made_count, time_ms, &input, err);
        if (status == WEIR_OK && self->config->key.program != NULL) {
            status = make_key(self, lane, input, &text, err);
            made->key = text.data == NULL ? text : weir_arena_copy(&self->arena, text);
        }
        if (status == WEIR_OK && self->config->template.program != NULL) {
            status = make_value(self, lane, input, &text, err);
            made->value = status == WEIR_OK ? weir_arena_copy(&self->arena, text) : text;
        } else if (status == WEIR_OK) {
            made->value.data = weir_arena_printf(&self->arena, "{\"n\":%zu}", self->made_count);
            made->value.size = made->value.data == NULL ? 0 : strlen(made->value.data);
        }
        if (status == WEIR_OK && made->value.data == NULL) {
            status = weir_fail(err, WEIR_CONFIG, "the records of `distinct` are too large");
        }
        if (status != WEIR_OK) {
            return status;
        }
    }
    return WEIR_OK;
}

static bool is_constant(const struct weir_expr *expr)
{
    return weir_jq_facts(expr->program).constant;
}

static weir_status
generate_open(void *instance, const void *config, struct weir_ctx *ctx, struct weir_err *err)
{
    struct generate_source *self = instance;
    self->config = config;
    self->ctx = ctx;
    self->pool = weir_block_pool_new(BLOCK_BYTES);
    weir_arena_init(&self->arena, WEIR_BATCH_BYTES_MAX);
    self->parts = weir_calloc((size_t)self->config->partitions, sizeof(*self->parts));
    self->lanes = weir_calloc(ctx->lanes, sizeof(*self->lanes));
    for (unsigned i = 0; i < ctx->lanes; i++) {
        struct generate_lane *lane = &self->lanes[i];
        lane->jq = weir_jq_run_new(NULL);
        weir_arena_init(&lane->arena, WEIR_RECORD_BYTES_MAX);
        weir_strbuf_init(&lane->text, WEIR_RECORD_BYTES_MAX);
        weir_strbuf_init(&lane->key_text, WEIR_RECORD_BYTES_MAX);
    }
    size_t distinct = (size_t)self->config->distinct;
    const struct weir_expr *template = &self->config->template, *key = &self->config->key;
    if (distinct == 0 && template->program != NULL && is_constant(template) &&
        (key->program == NULL || is_constant(key))) {
        distinct = 1;
    }
    return distinct == 0 ? WEIR_OK : render_distinct(self, distinct, err);
}

static void generate_close(void *instance)
{
    struct generate_source *self = instance;
    if (self->ctx == NULL) {
        return;
    }
    for (unsigned i = 0; i < self->ctx->lanes; i++) {
        struct generate_lane *lane = &self->lanes[i];
        weir_block_unref(lane->block);
        weir_jq_run_free(lane->jq);
        weir_arena_done(&lane->arena);
        weir_strbuf_done(&lane->text);
        weir_strbuf_done(&lane->key_text);
        weir_free(lane->parts);
    }
    weir_free(self->lanes);
    weir_free(self->parts);
    weir_arena_done(&self->arena);
    weir_block_pool_close(self->pool);
    *self = (struct generate_source){0};
}

/* With a limited rate nothing else would wake a lane that has made its share. */
static void *ticker_main(void *argument)
{
    const struct generate_source *self = argument;
    const struct generate_config *config = self->config;
    double wanted_ms = 1000.0 * (double)config->partitions / config->rate;
    int tick_ms = wanted_ms < 1 ? 1 : wanted_ms > TICK_MS_MAX ? TICK_MS_MAX : (int)wanted_ms;
    while (!weir_thread_pause(&self->ticker, tick_ms)) {
        for (unsigned i = 0; i < self->ctx->lanes; i++) {
            weir_wake(weir_lane_wake_fd(self->ctx, i));
        }
    }
    return NULL;
}

static int64_t part_end(const struct generate_config *config, int64_t index)
{
    if (config->count == 0) {
        return INT64_MAX;
    }
    return config->count > index
               ? (config->count - index + config->partitions - 1) / config->partitions
               : 0;
}

static void generate_assign(struct generate_source *self)
{
    size_t count = (size_t)self->config->partitions;
    struct weir_assignment *items = weir_calloc(count, sizeof(*items));
    struct weir_partition **parts = weir_calloc(count, sizeof(struct weir_partition *));
    for (size_t i = 0; i < count; i++) {
        items[i] = (struct weir_assignment){
            .topic = "generate", .index = (int32_t)i, .source_data = &self->parts[i]};
    }
    weir_source_assign(self->ctx, items, count, parts);
    for (size_t i = 0; i < count; i++) {
        struct generate_part *item = &self->parts[i];
        *item = (struct generate_part){
            .part = parts[i], .next = parts[i]->read, .end = part_end(self->config, (int64_t)i)};
        if (item->end != INT64_MAX) {
            atomic_store_explicit(&item->part->end, item->end, memory_order_relaxed);
        }
        struct generate_lane *lane = &self->lanes[item->part->lane];
        lane->parts = weir_realloc(lane->parts, lane->count + 1, sizeof(struct generate_part *));
        lane->parts[lane->count++] = item;
    }
    weir_free(items);
    weir_free(parts);
}

static weir_status generate_start(void *instance, struct weir_err *err)
{
    struct generate_source *self = instance;
    generate_assign(self);
    weir_source_exhausted(self->ctx);
    if (!(self->config->rate > 0)) {
        return WEIR_OK;
    }
    return weir_thread_start(&self->ticker, ticker_main, self, err);
}

static void generate_stop(void *instance)
{
    struct generate_source *self = instance;
    weir_thread_stop(&self->ticker);
    size_t count = 0;
    size_t most = self->parts == NULL ? 0 : (size_t)self->config->partitions;
    struct weir_partition **parts = weir_calloc(most, sizeof(struct weir_partition *));
    for (size_t i = 0; i < most; i++) {
        if (self->parts[i].part != NULL) {
            parts[count++] = self->parts[i].part;
            self->parts[i].part = NULL;
        }
    }
    if (count > 0) {
        weir_source_revoke(self->ctx, parts, count, false);
    }
    weir_free(parts);
}

/* --- reading; lane -----------------------------------------------------------------------------*/

/* How many records of a partition are due. */
static int64_t part_due(const struct generate_source *self, struct generate_part *item)
{
    int64_t left = item->end - item->next;
    if (!(self->config->rate > 0)) {
        return left;
    }
    int64_t now_ns = weir_clock_monotonic_ns(self->ctx->clock);
    double per_second = self->config->rate / (double)self->config->partitions;
    double due = 0;
    if (item->based) {
        due = (double)(item->base - item->next) + 1.0 +
              (double)(now_ns - item->base_ns) * 1e-9 * per_second;
    }
    if (!item->based || due > per_second + 1.0) { /* what a full sink delayed is not made up for */
        item->based = true;
        item->base_ns = now_ns;
        item->base = item->next;
        due = 1.0;
    }
    return due < 1.0 ? 0 : due < (double)left ? (int64_t)due : left;
}

/* Key and value side by side in the lane's block. */
static void lane_keep(struct generate_source *self, struct generate_lane *lane, struct made *made)
{
    size_t size = made->key.size + made->value.size;
    if (lane->block == NULL || lane->block->capacity - lane->block->size < size) {
        weir_block_unref(lane->block);
        lane->block = weir_block_take(self->pool, size);
    }
    struct weir_slice *texts[] = {&made->value, &made->key};
    for (size_t i = 0; i < 2; i++) {
        char *at = lane->block->bytes + lane->block->size;
        if (texts[i]->data != NULL) {
            memcpy(at, texts[i]->data, texts[i]->size);
            texts[i]->data = at;
            lane->block->size += texts[i]->size;
        }
    }
}

static weir_status make_record(struct generate_source *self,
                               struct generate_lane *lane,
                               int64_t n,
                               int64_t time_ms,
                               struct made *made,
                               struct weir_err *err)
{
    const struct generate_config *config = self->config;
    struct weir_value input = weir_value_null();
    weir_status status = WEIR_OK;
    made->key = (struct weir_slice){NULL, 0};
    if (config->key.program != NULL || config->template.program != NULL) {
        status = make_input(self, lane, n, time_ms, &input, err);
    }
    if (status == WEIR_OK && config->key.program != NULL) {
        status = make_key(self, lane, input, &made->key, err);
    }
    if (status == WEIR_OK && config->template.program != NULL) {
        status = make_value(self, lane, input, &made->value, err);
    } else if (status == WEIR_OK) {
        char *end = lane->plain + sizeof(lane->plain), *at = end;
        *--at = '}';
        at = print_number(at, (uint64_t)n) - 5;
        memcpy(at, "{\"n\":", 5);
        made->value = (struct weir_slice){at, (size_t)(end - at)};
    }
    if (status == WEIR_OK) {
        lane_keep(self, lane, made);
    }
    return status;
}

/* False: the batch takes no more. */
static bool part_deliver(struct generate_part *item,
                         struct weir_intake *intake,
                         const struct made *made,
                         struct weir_block *ref,
                         int64_t time_ms)
{
    if (ref != NULL) {
        weir_block_ref(ref);
    }
    struct weir_record *record = weir_intake_record(intake, item->part, ref);
    if (record == NULL) {
        weir_block_unref(ref);
        return false;
    }
    record->position = item->next++;
    record->flags = WEIR_RECORD_RAW;
    record->time_ms = time_ms;
    record->raw = made->value;
    record->key = made->key;
    return true;
}

static weir_status part_read(struct generate_source *self,
                             struct generate_lane *lane,
                             struct generate_part *item,
                             struct weir_intake *intake,
                             size_t count,
                             struct weir_err *err)
{
    int64_t time_ms = weir_clock_wall_ms(self->ctx->clock);
    int64_t partitions = self->config->partitions;
    struct weir_block *held = NULL;
    for (size_t i = 0; i < count; i++) {
        int64_t n = item->next * partitions + item->part->index;
        struct made fresh;
        const struct made *made = &fresh;
        struct weir_block *ref = NULL;
        if (self->made != NULL) {
            made = &self->made[(size_t)n % self->made_count];
        } else {
            weir_status status = make_record(self, lane, n, time_ms, &fresh, err);
            if (status != WEIR_OK) {
                return status;
            }
            ref = lane->block == held ? NULL : lane->block;
            held = lane->block;
        }
        if (!part_deliver(item, intake, made, ref, time_ms)) {
            break;
        }
    }
    return WEIR_OK;
}

static void
part_tell_end(struct generate_source *self, struct generate_part *item, struct weir_intake *intake)
{
    item->told = true;
    weir_intake_end(intake, item->part);
    weir_wake(weir_control_wake_fd(self->ctx));
}

static weir_status generate_read(
    void *instance, unsigned index, struct weir_intake *intake, size_t max, struct weir_err *err)
{
    struct generate_source *self = instance;
    struct generate_lane *lane = &self->lanes[index];
    bool moved = false;
    size_t left = max;
    for (size_t i = 0; i < lane->count && left > 0; i++) {
        /* Each call begins with another partition, so that each gets its turn. */
        struct generate_part *item = lane->parts[(lane->turn + i) % lane->count];
        int64_t due = part_due(self, item);
        size_t take = due < (int64_t)left ? (size_t)due : left;
        int64_t before = item->next;
        weir_status status = part_read(self, lane, item, intake, take, err);
        if (status != WEIR_OK) {
            return status;
        }
        left -= (size_t)(item->next - before);
        moved = moved || item->next != before;
        if (item->next >= item->end && !item->told) {
            part_tell_end(self, item, intake);
        }
    }
    lane->turn++;
    return moved ? WEIR_OK : WEIR_AGAIN;
}

static weir_status generate_seek(void *instance,
                                 struct weir_partition *const *items,
                                 size_t count,
                                 struct weir_err *err)
{
    (void)instance;
    (void)err;
    for (size_t i = 0; i < count; i++) {
        struct generate_part *item = items[i]->source_data;
        item->next = items[i]->read;
        item->based = item->told = false;
    }
    return WEIR_OK;
}

static const struct weir_batch_origin generate_origin = {.release = weir_block_release};

static const struct weir_source_ops generate_ops = {
    .start = generate_start,
    .read = generate_read,
    .seek = generate_seek,
    .stop = generate_stop,
    .origin = &generate_origin,
};

const struct weir_component weir_component_generate_source = {
    .abi = WEIR_ABI,
    .described =
        {
            .kind = WEIR_ROLE_SOURCE,
            .name = "generate",
            .summary = "Makes records up, from a template and a seed.",
            .help = "For trying out, tests and measuring. The same seed makes the same records "
                    "(the time apart). With `count` it ends; positions are kept in the state log, "
                    "so that a second run goes on where the first one ended. A record's time is "
                    "the wall clock.",
            .example = "generate: {count: 1000, template: '{id: .n, user: \"u\\(.n % 10)\"}'}",
            .fields = generate_fields,
            .config_size = sizeof(struct generate_config),
        },
    .self_size = sizeof(struct generate_source),
    .positions = WEIR_POSITIONS_LOG,
    .bounded = true,
    .exclusive = true,
    .deterministic = true,
    .open = generate_open,
    .close = generate_close,
    .ops = {.source = &generate_ops},
};
