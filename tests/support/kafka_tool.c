/* SPDX-License-Identifier: Apache-2.0
 *
 * kafka_tool: fills topics and judges what a pipeline made of them.
 *
 * Every record that `produce` writes names itself: its payload holds its key and its sequence
 * number within that key. So `verify` needs no memory of what was sent: it reads the input topic
 * as the truth, then the output topic as a downstream reader would (read_committed, up to the high
 * watermark), and finds each input once, in order per key, with key, headers and timestamp kept.
 * But for its time, a record is the same function of (seed, index) in every run; a second `produce`
 * continues the first with --first.
 *
 * The hard decision: `verify` reads to the *high watermark*, not to where a committed reader
 * happens to stop. A reader that stops early is the sign of a transaction that nobody will end,
 * and is reported as such instead of as a short topic.
 *
 * Prints one JSON object; exit 0: as promised, 1: not, 2: could not be judged. */

#include <errno.h>
#include <inttypes.h>
#include <librdkafka/rdkafka.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    BATCH_MESSAGES = 2000,
    EXAMPLES_MAX = 8,
    PARTITIONS_MAX = 1024,
    PAYLOAD_MAX = 64 * 1024,
    POLL_MS = 50,
    REQUEST_MS = 30000,
    FLUSH_MS = 5000,
};

struct options {
    const char *brokers, *out_brokers, *topic, *in, *out, *kind, *codec;
    int64_t time_ms, count, first, keys, partitions, seed, pad, rate, every, wait_s;
    bool headers, endless, at_least_once, same_value, any_partition;
};

/* What the input said about one record, and how often the output held it. */
struct item {
    int64_t timestamp_ms;
    uint64_t value_hash;
    uint32_t seen;
    bool known, has_headers;
};

struct key_row {
    struct item *items;
    size_t count, capacity;
    int64_t last_first_seen; /* greatest sequence seen so far in the output, -1 at first */
    int32_t out_partition;
};

struct verdict {
    struct key_row *rows;
    size_t row_count;
    uint64_t input, expected, output, lost, duplicated, reordered, altered, unknown, scattered;
    uint64_t hanging, distinct;
    char examples[EXAMPLES_MAX][192];
    size_t example_count;
};

/* One topic read from its beginning to its high watermark. */
struct reader {
    rd_kafka_t *committed, *raw;
    const char *topic;
    int32_t partition_count;
    int64_t high[PARTITIONS_MAX], reached[PARTITIONS_MAX];
};

typedef void (*message_fn)(void *self, const rd_kafka_message_t *message);

__attribute__((noreturn, format(printf, 1, 2))) static void die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("kafka_tool: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(2);
}

static int64_t now_ms(void)
{
    struct timespec ts;
    if (clock_gettime(CLOCK_MONOTONIC, &ts) != 0)
        die("no monotonic clock: %s", strerror(errno));
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* Where timestamps begin: in the past, because a broker refuses the future, but not far: after its
 * restart a broker has forgotten producers whose last record is a day old, and with them what it
 * needs to drop their repeats. */
static int64_t time_begin_ms(void)
{
    return (int64_t)time(NULL) * 1000 - INT64_C(12) * 3600 * 1000;
}

static uint64_t mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15U;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9U;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebU;
    return x ^ (x >> 31);
}

static uint64_t hash_bytes(const void *data, size_t size)
{
    const unsigned char *bytes = data;
    uint64_t hash = 0xcbf29ce484222325U ^ size;
    size_t i = 0;
    for (; i + 8 <= size; i += 8) {
        uint64_t word;
        memcpy(&word, bytes + i, 8);
        hash = mix(hash ^ word);
    }
    for (; i < size; i++)
        hash = (hash ^ bytes[i]) * 0x100000001b3U;
    return mix(hash);
}

static void set(rd_kafka_conf_t *conf, const char *name, const char *value)
{
    char text[256];
    if (rd_kafka_conf_set(conf, name, value, text, sizeof text) != RD_KAFKA_CONF_OK)
        die("%s=%s: %s", name, value, text);
}

static rd_kafka_t *client_new(rd_kafka_type_t type, rd_kafka_conf_t *conf)
{
    char text[256];
    rd_kafka_t *client = rd_kafka_new(type, conf, text, sizeof text);
    if (client == NULL)
        die("cannot make a client: %s", text);
    return client;
}

/* ---- producing ---------------------------------------------------------------------------- */

struct delivery {
    int64_t confirmed, failed;
};

static void on_delivery(rd_kafka_t *client, const rd_kafka_message_t *message, void *opaque)
{
    struct delivery *delivery = opaque;
    (void)client;
    delivery->confirmed++;
    if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR && delivery->failed++ == 0)
        fprintf(stderr, "kafka_tool: not delivered: %s\n", rd_kafka_err2str(message->err));
}

static rd_kafka_t *producer_new(const struct options *options, struct delivery *delivery)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    set(conf, "bootstrap.servers", options->brokers);
    set(conf, "enable.idempotence", "true");
    set(conf, "linger.ms", "20");
    set(conf, "batch.size", "262144");
    set(conf, "message.timeout.ms", "180000");
    set(conf, "compression.type", options->codec);
    set(conf, "queue.buffering.max.messages", "200000");
    rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
    rd_kafka_conf_set_opaque(conf, delivery);
    return client_new(RD_KAFKA_PRODUCER, conf);
}

struct record {
    char key[32];
    char *value;
    size_t key_size, value_size;
    int32_t partition;
    int64_t timestamp_ms;
    char id[64];
};

/* The self-describing record: who it is stands in its payload, its header and its timestamp. */
static void record_numbered(struct record *record,
                            const struct options *options,
                            int64_t index,
                            int64_t *sequences,
                            int64_t *globals)
{
    const uint64_t draw = mix((uint64_t)options->seed * 0x2545f491U + (uint64_t)index);
    const int64_t key = (int64_t)(draw % (uint64_t)options->keys);
    record->partition = (int32_t)(key % options->partitions);
    const int64_t sequence = sequences[key]++;
    const int64_t global = globals[record->partition]++;
    record->timestamp_ms = options->time_ms + global * 7;
    record->key_size = (size_t)snprintf(record->key, sizeof record->key, "k%" PRId64, key);
    snprintf(record->id, sizeof record->id, "k%" PRId64 ":%" PRId64, key, sequence);
    int size = snprintf(record->value, PAYLOAD_MAX,
                        "{\"p\":%" PRId32 ",\"k\":\"k%" PRId64 "\",\"s\":%" PRId64 ",\"g\":%" PRId64
                        ",\"pad\":\"%.*s\"}",
                        record->partition, key, sequence, global, (int)options->pad, "");
    /* The padding is written over the closing quote and brace, so that it may be long. */
    char *end = record->value + size - 2;
    memset(end, 'x', (size_t)options->pad);
    memcpy(end + options->pad, "\"}", 2);
    record->value_size = (size_t)size + (size_t)options->pad;
}

/* Exactly 100 bytes, not JSON, different in every record. */
static void record_small(struct record *record, const struct options *options, int64_t index)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz012345";
    uint64_t draw = mix((uint64_t)options->seed + (uint64_t)index);
    record->key_size =
        (size_t)snprintf(record->key, sizeof record->key, "u%06" PRIu64, draw % 100000);
    record->partition = (int32_t)(draw % (uint64_t)options->partitions);
    for (size_t i = 0; i < 100; i++) {
        if (i % 12 == 0)
            draw = mix(draw);
        record->value[i] = letters[(draw >> (5 * (i % 12))) & 31];
    }
    record->value_size = 100;
    record->timestamp_ms = options->time_ms + index;
}

/* About 300 bytes of JSON with 12 fields; 55 in 100 are "paid". */
static void record_event(struct record *record, const struct options *options, int64_t index)
{
    static const char *const countries[] = {"DE", "FR", "SE", "PT", "US", "JP", "BR", "KE"};
    const uint64_t draw = mix((uint64_t)options->seed + (uint64_t)index);
    const uint64_t more = mix(draw);
    const uint64_t user = draw % 100000;
    const bool paid = more % 100 < 55;
    record->key_size = (size_t)snprintf(record->key, sizeof record->key, "u%06" PRIu64, user);
    record->partition = (int32_t)(user % (uint64_t)options->partitions);
    record->timestamp_ms = options->time_ms + index;
    record->value_size = (size_t)snprintf(
        record->value, PAYLOAD_MAX,
        "{\"id\":%" PRId64 ",\"user\":\"u%06" PRIu64 "\",\"status\":\"%s\",\"amount\":%" PRIu64
        ".%" PRIu64 ",\"currency\":\"EUR\",\"address\":{\"country\":\"%s\",\"city\":\"c%" PRIu64
        "\",\"zip\":\"%05" PRIu64 "\"},\"items\":[%" PRIu64 ",%" PRIu64 ",%" PRIu64
        "],\"created_at\":%" PRId64 ",\"agent\":\"Mozilla/5.0 (X11; Linux x86_64)\","
        "\"session\":\"%016" PRIx64 "%016" PRIx64 "\",\"ok\":true}",
        index, user, paid ? "paid" : "open", more % 1000, (more >> 20) % 9 + 1,
        countries[more >> 61], (more >> 30) % 500, (more >> 8) % 100000, draw % 97, draw % 89,
        draw % 83, record->timestamp_ms, draw, more);
}

static void record_send(rd_kafka_t *client, const char *topic, struct record *record, bool headers)
{
    rd_kafka_headers_t *list = NULL;
    if (headers) {
        list = rd_kafka_headers_new(2);
        if (rd_kafka_header_add(list, "id", -1, record->id, -1) != RD_KAFKA_RESP_ERR_NO_ERROR ||
            rd_kafka_header_add(list, "id", -1, NULL, 0) != RD_KAFKA_RESP_ERR_NO_ERROR)
            die("cannot build headers");
    }
    const rd_kafka_vu_t parts[] = {
        {.vtype = RD_KAFKA_VTYPE_TOPIC, .u.cstr = topic},
        {.vtype = RD_KAFKA_VTYPE_PARTITION, .u.i32 = record->partition},
        {.vtype = RD_KAFKA_VTYPE_MSGFLAGS, .u.i = RD_KAFKA_MSG_F_COPY},
        {.vtype = RD_KAFKA_VTYPE_TIMESTAMP, .u.i64 = record->timestamp_ms},
        {.vtype = RD_KAFKA_VTYPE_KEY, .u.mem = {record->key, record->key_size}},
        {.vtype = RD_KAFKA_VTYPE_VALUE, .u.mem = {record->value, record->value_size}},
        {.vtype = RD_KAFKA_VTYPE_HEADERS, .u.headers = list},
    };
    const size_t count = sizeof parts / sizeof *parts - (headers ? 0 : 1);
    for (;;) {
        rd_kafka_error_t *error = rd_kafka_produceva(client, parts, count);
        if (error == NULL)
            return;
        if (rd_kafka_error_code(error) != RD_KAFKA_RESP_ERR__QUEUE_FULL)
            die("cannot produce: %s", rd_kafka_error_string(error));
        rd_kafka_error_destroy(error);
        rd_kafka_poll(client, POLL_MS);
    }
}

static volatile sig_atomic_t stop_asked;

static void on_signal(int number)
{
    (void)number;
    stop_asked = 1;
}

/* An answer of a broker that starts can leave the library without any broker, and it asks nobody by itself any
 * more (its issue 5301). */
static void tend(rd_kafka_t *client, const char *brokers)
{
    const struct rd_kafka_metadata *ignored;
    if (rd_kafka_metadata(client, 0, NULL, &ignored, FLUSH_MS) == RD_KAFKA_RESP_ERR_NO_ERROR)
        rd_kafka_metadata_destroy(ignored);
    else
        rd_kafka_brokers_add(client, brokers);
}

/* With --endless: --count records and then more, until SIGTERM. */
static int run_produce(const struct options *options)
{
    struct delivery delivery = {0};
    signal(SIGTERM, on_signal);
    rd_kafka_t *client = producer_new(options, &delivery);
    int64_t *sequences = calloc((size_t)options->keys, sizeof *sequences);
    int64_t *globals = calloc((size_t)options->partitions, sizeof *globals);
    struct record record = {.value = malloc(PAYLOAD_MAX)};
    if (sequences == NULL || globals == NULL || record.value == NULL)
        die("out of memory");
    const bool numbered = strcmp(options->kind, "numbered") == 0;
    const bool small = strcmp(options->kind, "small") == 0;
    const int64_t end = options->first + options->count;
    const int64_t started = now_ms();
    int64_t i = numbered ? 0 : options->first;
    for (; i < end || (options->endless && !stop_asked); i++) {
        if (numbered)
            record_numbered(&record, options, i, sequences, globals);
        else if (small)
            record_small(&record, options, i);
        else
            record_event(&record, options, i);
        if (i < options->first)
            continue;
        record_send(client, options->topic, &record, options->headers);
        if (options->rate > 0) {
            const int64_t due = started + (i - options->first) * 1000 / options->rate;
            for (int64_t left = due - now_ms(); left > 0; left = due - now_ms())
                rd_kafka_poll(client, (int)left);
        } else if (i % 1000 == 0) {
            rd_kafka_poll(client, 0);
        }
    }
    while (rd_kafka_flush(client, FLUSH_MS) == RD_KAFKA_RESP_ERR__TIMED_OUT) {
        fputs("kafka_tool: still flushing\n", stderr);
        tend(client, options->brokers);
    }
    rd_kafka_destroy(client);
    free(sequences);
    free(globals);
    free(record.value);
    printf("{\"produced\":%" PRId64 ",\"failed\":%" PRId64 ",\"ms\":%" PRId64 "}\n",
           delivery.confirmed, delivery.failed, now_ms() - started);
    return delivery.failed == 0 && delivery.confirmed == i - options->first ? 0 : 2;
}

/* ---- reading ------------------------------------------------------------------------------ */

static rd_kafka_t *consumer_new(const char *brokers, const char *isolation)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    set(conf, "bootstrap.servers", brokers);
    set(conf, "group.id", "kafka_tool");
    set(conf, "enable.auto.commit", "false");
    set(conf, "auto.offset.reset", "error");
    set(conf, "enable.partition.eof", "true");
    set(conf, "isolation.level", isolation);
    set(conf, "fetch.queue.backoff.ms", "5");
    set(conf, "fetch.wait.max.ms", "50");
    set(conf, "check.crcs", "true");
    rd_kafka_t *client = client_new(RD_KAFKA_CONSUMER, conf);
    rd_kafka_poll_set_consumer(client);
    return client;
}

static int32_t partition_count(rd_kafka_t *client, const char *topic)
{
    const struct rd_kafka_metadata *metadata;
    rd_kafka_topic_t *handle = rd_kafka_topic_new(client, topic, NULL);
    rd_kafka_resp_err_t err = rd_kafka_metadata(client, 0, handle, &metadata, REQUEST_MS);
    if (err != RD_KAFKA_RESP_ERR_NO_ERROR || metadata->topic_cnt != 1)
        die("no metadata of %s: %s", topic, rd_kafka_err2str(err));
    if (metadata->topics[0].err != RD_KAFKA_RESP_ERR_NO_ERROR)
        die("topic %s: %s", topic, rd_kafka_err2str(metadata->topics[0].err));
    const int32_t count = metadata->topics[0].partition_cnt;
    rd_kafka_metadata_destroy(metadata);
    rd_kafka_topic_destroy(handle);
    if (count > PARTITIONS_MAX)
        die("topic %s has more than %d partitions", topic, PARTITIONS_MAX);
    return count;
}

static void reader_refresh(struct reader *reader)
{
    for (int32_t i = 0; i < reader->partition_count; i++) {
        int64_t low;
        rd_kafka_resp_err_t err = rd_kafka_query_watermark_offsets(
            reader->raw, reader->topic, i, &low, &reader->high[i], REQUEST_MS);
        if (err != RD_KAFKA_RESP_ERR_NO_ERROR)
            die("no watermarks of %s [%" PRId32 "]: %s", reader->topic, i, rd_kafka_err2str(err));
        if (reader->reached[i] < low)
            reader->reached[i] = low;
    }
}

static void reader_open(struct reader *reader, const char *brokers, const char *topic)
{
    *reader = (struct reader){.topic = topic};
    reader->raw = consumer_new(brokers, "read_uncommitted");
    reader->committed = consumer_new(brokers, "read_committed");
    reader->partition_count = partition_count(reader->raw, topic);
    reader_refresh(reader);
    rd_kafka_topic_partition_list_t *list =
        rd_kafka_topic_partition_list_new(reader->partition_count);
    for (int32_t i = 0; i < reader->partition_count; i++)
        rd_kafka_topic_partition_list_add(list, topic, i)->offset = reader->reached[i];
    rd_kafka_resp_err_t err = rd_kafka_assign(reader->committed, list);
    if (err != RD_KAFKA_RESP_ERR_NO_ERROR)
        die("cannot assign %s: %s", topic, rd_kafka_err2str(err));
    rd_kafka_topic_partition_list_destroy(list);
}

static void reader_close(struct reader *reader)
{
    rd_kafka_consumer_close(reader->committed);
    rd_kafka_destroy(reader->committed);
    rd_kafka_destroy(reader->raw);
}

/* Partitions in which the committed reader has not reached the high watermark. */
static int32_t reader_behind(const struct reader *reader)
{
    int32_t behind = 0;
    for (int32_t i = 0; i < reader->partition_count; i++)
        behind += reader->reached[i] < reader->high[i];
    return behind;
}

/* Hands messages to `on_message` until the high watermark is reached in all partitions and `done`
 * (when given) agrees, or the deadline passes. */
static void reader_run(struct reader *reader,
                       message_fn on_message,
                       void *self,
                       bool (*done)(const void *self),
                       int64_t deadline)
{
    rd_kafka_queue_t *queue = rd_kafka_queue_get_consumer(reader->committed);
    static rd_kafka_message_t *messages[BATCH_MESSAGES];
    bool settled = false;
    while (now_ms() < deadline) {
        if (reader_behind(reader) == 0 && (done == NULL || done(self))) {
            if (settled)
                break;
            reader_refresh(reader); /* what was written while we read belongs to it, once */
            settled = true;
            continue;
        }
        ssize_t count = rd_kafka_consume_batch_queue(queue, POLL_MS, messages, BATCH_MESSAGES);
        for (ssize_t i = 0; i < count; i++) {
            rd_kafka_message_t *message = messages[i];
            if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR)
                on_message(self, message);
            else if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF)
                reader->reached[message->partition] = message->offset;
            else if (message->rkt != NULL && message->partition >= 0)
                die("reading %s: %s", reader->topic, rd_kafka_message_errstr(message));
            rd_kafka_message_destroy(message);
        }
    }
    rd_kafka_queue_destroy(queue);
}

/* ---- judging ------------------------------------------------------------------------------ */

/* The number behind `name` in a payload made by record_numbered or by a map that kept it. */
static bool number_after(const rd_kafka_message_t *message, const char *name, int64_t *number)
{
    const char *at = memmem(message->payload, message->len, name, strlen(name));
    if (at == NULL)
        return false;
    const char *end = (const char *)message->payload + message->len;
    int64_t value = 0;
    at += strlen(name);
    if (at == end || *at < '0' || *at > '9')
        return false;
    for (; at < end && *at >= '0' && *at <= '9'; at++)
        value = value * 10 + (*at - '0');
    *number = value;
    return true;
}

static bool identify(const rd_kafka_message_t *message, int64_t *key, int64_t *sequence)
{
    return message->payload != NULL && number_after(message, "\"k\":\"k", key) &&
           number_after(message, "\"s\":", sequence);
}

__attribute__((format(printf, 2, 3))) static void
example(struct verdict *verdict, const char *format, ...)
{
    if (verdict->example_count == EXAMPLES_MAX)
        return;
    va_list args;
    va_start(args, format);
    vsnprintf(verdict->examples[verdict->example_count++], sizeof verdict->examples[0], format,
              args);
    va_end(args);
}

static struct key_row *row_at(struct verdict *verdict, size_t key)
{
    if (key >= verdict->row_count) {
        size_t count = verdict->row_count == 0 ? 1024 : verdict->row_count;
        while (count <= key)
            count *= 2;
        verdict->rows = realloc(verdict->rows, count * sizeof *verdict->rows);
        if (verdict->rows == NULL)
            die("out of memory");
        for (size_t i = verdict->row_count; i < count; i++)
            verdict->rows[i] = (struct key_row){.last_first_seen = -1, .out_partition = -1};
        verdict->row_count = count;
    }
    return &verdict->rows[key];
}

static bool headers_intact(const rd_kafka_message_t *message, int64_t key, int64_t sequence)
{
    rd_kafka_headers_t *list;
    const void *value;
    size_t size;
    char id[64];
    if (rd_kafka_message_headers(message, &list) != RD_KAFKA_RESP_ERR_NO_ERROR)
        return false;
    const int length = snprintf(id, sizeof id, "k%" PRId64 ":%" PRId64, key, sequence);
    if (rd_kafka_header_cnt(list) != 2 ||
        rd_kafka_header_get(list, 0, "id", &value, &size) != RD_KAFKA_RESP_ERR_NO_ERROR ||
        size != (size_t)length || memcmp(value, id, size) != 0)
        return false;
    return rd_kafka_header_get(list, 1, "id", &value, &size) == RD_KAFKA_RESP_ERR_NO_ERROR &&
           value == NULL;
}

struct judging {
    struct verdict *verdict;
    const struct options *options;
};

static void on_input(void *self, const rd_kafka_message_t *message)
{
    struct judging *judging = self;
    int64_t key, sequence, timestamp_type_ms;
    rd_kafka_timestamp_type_t type;
    rd_kafka_headers_t *list;
    timestamp_type_ms = rd_kafka_message_timestamp(message, &type);
    if (!identify(message, &key, &sequence))
        die("input %s [%" PRId32 "] at %" PRId64 " does not name itself",
            rd_kafka_topic_name(message->rkt), message->partition, message->offset);
    struct key_row *row = row_at(judging->verdict, (size_t)key);
    if ((size_t)sequence >= row->capacity) {
        size_t capacity = row->capacity == 0 ? 16 : row->capacity;
        while (capacity <= (size_t)sequence)
            capacity *= 2;
        row->items = realloc(row->items, capacity * sizeof *row->items);
        if (row->items == NULL)
            die("out of memory");
        memset(row->items + row->capacity, 0, (capacity - row->capacity) * sizeof *row->items);
        row->capacity = capacity;
    }
    if ((size_t)sequence >= row->count)
        row->count = (size_t)sequence + 1;
    if (row->items[sequence].known)
        die("input holds k%" PRId64 " number %" PRId64 " twice", key, sequence);
    row->items[sequence] = (struct item){
        .known = true,
        .timestamp_ms = timestamp_type_ms,
        .value_hash = hash_bytes(message->payload, message->len),
        .has_headers = rd_kafka_message_headers(message, &list) == RD_KAFKA_RESP_ERR_NO_ERROR,
    };
    judging->verdict->input++;
    if (sequence % judging->options->every == 0)
        judging->verdict->expected++;
}

static void check_order(struct judging *judging,
                        const rd_kafka_message_t *message,
                        struct key_row *row,
                        struct item *item,
                        int64_t sequence)
{
    struct verdict *verdict = judging->verdict;
    if (item->seen++ > 0) {
        verdict->duplicated++;
        if (!judging->options->at_least_once)
            example(verdict, "duplicated: %.*s number %" PRId64 " again at [%" PRId32 "] %" PRId64,
                    (int)message->key_len, (const char *)message->key, sequence, message->partition,
                    message->offset);
        return;
    }
    verdict->distinct++;
    if (sequence < row->last_first_seen) {
        verdict->reordered++;
        example(verdict,
                "reordered: %.*s number %" PRId64 " after %" PRId64 " at [%" PRId32 "] %" PRId64,
                (int)message->key_len, (const char *)message->key, sequence, row->last_first_seen,
                message->partition, message->offset);
    } else {
        row->last_first_seen = sequence;
    }
}

static void on_output(void *self, const rd_kafka_message_t *message)
{
    struct judging *judging = self;
    struct verdict *verdict = judging->verdict;
    int64_t key, sequence;
    char name[32];
    rd_kafka_timestamp_type_t type;
    verdict->output++;
    if (!identify(message, &key, &sequence) || (size_t)key >= verdict->row_count ||
        (size_t)sequence >= verdict->rows[key].count || !verdict->rows[key].items[sequence].known ||
        sequence % judging->options->every != 0) {
        verdict->unknown++;
        example(verdict, "unknown: [%" PRId32 "] %" PRId64 " is not an expected input",
                message->partition, message->offset);
        return;
    }
    struct key_row *row = &verdict->rows[key];
    struct item *item = &row->items[sequence];
    const int length = snprintf(name, sizeof name, "k%" PRId64, key);
    if (message->key_len != (size_t)length || memcmp(message->key, name, message->key_len) != 0 ||
        rd_kafka_message_timestamp(message, &type) != item->timestamp_ms ||
        (item->has_headers && !headers_intact(message, key, sequence)) ||
        (judging->options->same_value &&
         hash_bytes(message->payload, message->len) != item->value_hash)) {
        verdict->altered++;
        example(verdict, "altered: %s number %" PRId64 " at [%" PRId32 "] %" PRId64, name, sequence,
                message->partition, message->offset);
    }
    if (row->out_partition >= 0 && row->out_partition != message->partition) {
        verdict->scattered++;
        example(verdict, "scattered: %s in partitions %" PRId32 " and %" PRId32, name,
                row->out_partition, message->partition);
    }
    row->out_partition = message->partition;
    check_order(judging, message, row, item, sequence);
}

static bool all_seen(const void *self)
{
    const struct judging *judging = self;
    return judging->verdict->distinct >= judging->verdict->expected;
}

static void count_lost(struct verdict *verdict, const struct options *options)
{
    for (size_t key = 0; key < verdict->row_count; key++) {
        const struct key_row *row = &verdict->rows[key];
        for (size_t s = 0; s < row->count; s++) {
            if (!row->items[s].known)
                die("input misses k%zu number %zu", key, s);
            if (row->items[s].seen > 0 || s % (size_t)options->every != 0)
                continue;
            verdict->lost++;
            example(verdict, "lost: k%zu number %zu of %zu", key, s, row->count);
        }
    }
}

static bool verdict_print(const struct verdict *verdict, const struct options *options)
{
    printf("{\"input\":%" PRIu64 ",\"expected\":%" PRIu64 ",\"output\":%" PRIu64
           ",\"lost\":%" PRIu64 ",\"duplicated\":%" PRIu64 ",\"reordered\":%" PRIu64
           ",\"altered\":%" PRIu64 ",\"unknown\":%" PRIu64 ",\"scattered\":%" PRIu64
           ",\"hanging\":%" PRIu64 ",\"examples\":[",
           verdict->input, verdict->expected, verdict->output, verdict->lost, verdict->duplicated,
           verdict->reordered, verdict->altered, verdict->unknown, verdict->scattered,
           verdict->hanging);
    for (size_t i = 0; i < verdict->example_count; i++)
        printf("%s\"%s\"", i == 0 ? "" : ",", verdict->examples[i]);
    puts("]}");
    const uint64_t faults = verdict->lost + verdict->reordered + verdict->altered +
                            verdict->unknown + verdict->hanging +
                            (options->at_least_once ? 0 : verdict->duplicated) +
                            (options->any_partition ? 0 : verdict->scattered);
    return faults == 0;
}

static int run_verify(const struct options *options)
{
    struct verdict verdict = {0};
    struct judging judging = {.verdict = &verdict, .options = options};
    struct reader reader;
    const int64_t deadline = now_ms() + options->wait_s * 1000;
    reader_open(&reader, options->brokers, options->in);
    reader_run(&reader, on_input, &judging, NULL, deadline);
    if (reader_behind(&reader) != 0)
        die("the input %s could not be read to its end", options->in);
    reader_close(&reader);
    reader_open(&reader, options->out_brokers, options->out);
    reader_run(&reader, on_output, &judging, all_seen, deadline);
    for (int32_t i = 0; i < reader.partition_count; i++) {
        if (reader.reached[i] >= reader.high[i])
            continue;
        verdict.hanging++;
        example(&verdict, "hanging: [%" PRId32 "] stable to %" PRId64 " of %" PRId64, i,
                reader.reached[i], reader.high[i]);
    }
    reader_close(&reader);
    count_lost(&verdict, options);
    const bool good = verdict_print(&verdict, options);
    for (size_t i = 0; i < verdict.row_count; i++)
        free(verdict.rows[i].items);
    free(verdict.rows);
    return good ? 0 : 1;
}

/* ---- digest ------------------------------------------------------------------------------- */

struct digest {
    uint64_t count, bytes, values, keys;
    int64_t first_ms, last_ms;
};

static void on_digest(void *self, const rd_kafka_message_t *message)
{
    struct digest *digest = self;
    digest->count++;
    digest->bytes += message->len;
    digest->values += hash_bytes(message->payload, message->len);
    digest->keys += hash_bytes(message->key, message->key_len);
    rd_kafka_timestamp_type_t type;
    const int64_t time_ms = rd_kafka_message_timestamp(message, &type);
    if (digest->count == 1 || time_ms < digest->first_ms)
        digest->first_ms = time_ms;
    if (digest->count == 1 || time_ms > digest->last_ms)
        digest->last_ms = time_ms;
}

/* A sum of hashes does not depend on the order in which partitions are read. */
static int run_digest(const struct options *options)
{
    struct digest digest = {0};
    struct reader reader;
    reader_open(&reader, options->brokers, options->topic);
    reader_run(&reader, on_digest, &digest, NULL, now_ms() + options->wait_s * 1000);
    const int32_t behind = reader_behind(&reader);
    reader_close(&reader);
    printf("{\"count\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"values\":\"%016" PRIx64
           "\",\"keys\":\"%016" PRIx64 "\",\"hanging\":%" PRId32 ",\"first_ms\":%" PRId64
           ",\"last_ms\":%" PRId64 "}\n",
           digest.count, digest.bytes, digest.values, digest.keys, behind, digest.first_ms,
           digest.last_ms);
    return behind == 0 ? 0 : 1;
}

/* ---- command line ------------------------------------------------------------------------- */

static int64_t number_of(const char *name, const char *text)
{
    char *end;
    errno = 0;
    const long long value = strtoll(text, &end, 10);
    if (errno != 0 || *end != '\0' || end == text || value < 0)
        die("%s wants a number, not %s", name, text);
    return value;
}

static void parse(struct options *options, int count, char **arguments)
{
    const struct {
        const char *name;
        const char **text;
        int64_t *number;
        bool *flag;
    } known[] = {
        {"--brokers", &options->brokers, NULL, NULL},
        {"--topic", &options->topic, NULL, NULL},
        {"--in", &options->in, NULL, NULL},
        {"--out", &options->out, NULL, NULL},
        {"--kind", &options->kind, NULL, NULL},
        {"--codec", &options->codec, NULL, NULL},
        {"--count", NULL, &options->count, NULL},
        {"--first", NULL, &options->first, NULL},
        {"--keys", NULL, &options->keys, NULL},
        {"--seed", NULL, &options->seed, NULL},
        {"--pad", NULL, &options->pad, NULL},
        {"--rate", NULL, &options->rate, NULL},
        {"--every", NULL, &options->every, NULL},
        {"--wait", NULL, &options->wait_s, NULL},
        {"--out-brokers", &options->out_brokers, NULL, NULL},
        {"--partitions", NULL, &options->partitions, NULL},
        {"--headers", NULL, NULL, &options->headers},
        {"--endless", NULL, NULL, &options->endless},
        {"--at-least-once", NULL, NULL, &options->at_least_once},
        {"--same-value", NULL, NULL, &options->same_value},
        {"--any-partition", NULL, NULL, &options->any_partition},
    };
    for (int i = 0; i < count; i++) {
        size_t k = 0;
        while (k < sizeof known / sizeof *known && strcmp(known[k].name, arguments[i]) != 0)
            k++;
        if (k == sizeof known / sizeof *known)
            die("unknown option %s", arguments[i]);
        if (known[k].flag != NULL) {
            *known[k].flag = true;
            continue;
        }
        if (i + 1 == count)
            die("%s wants a value", arguments[i]);
        i++;
        if (known[k].text != NULL)
            *known[k].text = arguments[i];
        else
            *known[k].number = number_of(known[k].name, arguments[i]);
    }
}

int main(int argc, char **argv)
{
    struct options options = {
        .time_ms = time_begin_ms(),
        .codec = "none",
        .kind = "numbered",
        .keys = 1000,
        .partitions = 4,
        .every = 1,
        .wait_s = 120,
    };
    if (argc < 2)
        die("one of: produce, verify, digest");
    parse(&options, argc - 2, argv + 2);
    if (options.brokers == NULL)
        die("--brokers is missing");
    if (options.out_brokers == NULL)
        options.out_brokers = options.brokers; /* the output may lie in another cluster */
    if (options.keys < 1 || options.partitions < 1 || options.every < 1 ||
        options.pad > PAYLOAD_MAX - 256)
        die("a number is out of range");
    if (strcmp(argv[1], "produce") == 0 && options.topic != NULL)
        return run_produce(&options);
    if (strcmp(argv[1], "verify") == 0 && options.in != NULL && options.out != NULL)
        return run_verify(&options);
    if (strcmp(argv[1], "digest") == 0 && options.topic != NULL)
        return run_digest(&options);
    die("%s: unknown, or its topic is missing", argv[1]);
}
