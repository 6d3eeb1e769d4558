/* SPDX-License-Identifier: Apache-2.0
 *
 * The hand-written loop that weir is measured against: what a C programmer would write with
 * librdkafka and yyjson for exactly one job, in one thread, and nothing else. A consumer group read
 * in batches, an idempotent producer with acks=all, positions committed once a second after what
 * they cover was confirmed (at-least-once); with --transactions a transaction every 100 ms instead.
 *
 *   passthrough   key and value go through untouched
 *   map           .status == "paid" | {id, user, amount, country: .address.country}
 *   window        count and sum(.id) per .user in windows of 50 s by .created_at, per partition;
 *                 time goes forward in each, a window ends with the first record behind it. What it
 *                 keeps is gone when it dies
 *
 * It has no error policy: any surprise ends it, so that a fast wrong run cannot be mistaken for a
 * result. The decision that matters for speed: payloads are copied into the producer. They are
 * small; keeping the consumer's buffers alive until delivery was not faster. */

#include <inttypes.h>
#include <librdkafka/rdkafka.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <yyjson.h>

enum {
    BATCH_MESSAGES = 1000,
    POLL_MS = 5,
    REQUEST_MS = 30000,
    POOL_BYTES = 1 << 20,
    WINDOW_MS = 50000,
    PARTITIONS_MAX = 16,
    SLOTS = 1 << 18, /* of one window; a power of two, more than twice the users */
};

/* A user's name has seven letters, so that with its end it is a number too. */
struct slot {
    uint64_t user;
    int64_t count, sum;
};

struct window {
    int64_t start_ms; /* -1: none is open */
    struct slot *slots;
    uint32_t *used; /* places in `slots`, in the order of arrival */
    size_t count;
};

struct loop {
    rd_kafka_t *consumer, *producer;
    rd_kafka_topic_t *out;
    const char *topic;
    char *read_pool, *write_pool;
    int64_t commit_ms, failed;
    bool transactions, map, window;
    struct window windows[PARTITIONS_MAX];
};

__attribute__((noreturn, format(printf, 1, 2))) static void die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("loop_kafka: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(1);
}

static void must(rd_kafka_error_t *error, const char *what)
{
    if (error != NULL)
        die("%s: %s", what, rd_kafka_error_string(error));
}

static int64_t now_ms(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void set(rd_kafka_conf_t *conf, const char *name, const char *value)
{
    char text[256];
    if (rd_kafka_conf_set(conf, name, value, text, sizeof text) != RD_KAFKA_CONF_OK)
        die("%s=%s: %s", name, value, text);
}

static void on_delivery(rd_kafka_t *client, const rd_kafka_message_t *message, void *opaque)
{
    struct loop *loop = opaque;
    (void)client;
    loop->failed += message->err != RD_KAFKA_RESP_ERR_NO_ERROR;
}

static rd_kafka_t *client_new(rd_kafka_type_t type, rd_kafka_conf_t *conf)
{
    char text[256];
    rd_kafka_t *client = rd_kafka_new(type, conf, text, sizeof text);
    if (client == NULL)
        die("cannot make a client: %s", text);
    return client;
}

static void open_clients(struct loop *loop, const char *brokers, const char *in, const char *group)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    set(conf, "bootstrap.servers", brokers);
    set(conf, "group.id", group);
    set(conf, "auto.offset.reset", "earliest");
    set(conf, "enable.auto.commit", "false");
    set(conf, "enable.auto.offset.store", "true");
    set(conf, "fetch.queue.backoff.ms", "5");
    set(conf, "check.crcs", "true");
    loop->consumer = client_new(RD_KAFKA_CONSUMER, conf);
    rd_kafka_poll_set_consumer(loop->consumer);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, in, RD_KAFKA_PARTITION_UA);
    rd_kafka_resp_err_t err = rd_kafka_subscribe(loop->consumer, list);
    if (err != RD_KAFKA_RESP_ERR_NO_ERROR)
        die("cannot subscribe: %s", rd_kafka_err2str(err));
    rd_kafka_topic_partition_list_destroy(list);

    conf = rd_kafka_conf_new();
    set(conf, "bootstrap.servers", brokers);
    set(conf, "enable.idempotence", "true");
    set(conf, "acks", "all");
    set(conf, "linger.ms", "5");
    set(conf, "partitioner", "murmur2_random");
    if (loop->transactions)
        set(conf, "transactional.id", group);
    rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
    rd_kafka_conf_set_opaque(conf, loop);
    loop->producer = client_new(RD_KAFKA_PRODUCER, conf);
    if (loop->transactions) {
        must(rd_kafka_init_transactions(loop->producer, REQUEST_MS), "init");
        must(rd_kafka_begin_transaction(loop->producer), "begin");
    }
    loop->out = rd_kafka_topic_new(loop->producer, loop->topic, NULL);
}

static void send_copy(
    struct loop *loop, const void *key, size_t key_size, const void *value, size_t size)
{
    while (rd_kafka_produce(loop->out, RD_KAFKA_PARTITION_UA, RD_KAFKA_MSG_F_COPY,
                            (void *)(uintptr_t)value, size, key, key_size, NULL) != 0) {
        if (rd_kafka_last_error() != RD_KAFKA_RESP_ERR__QUEUE_FULL)
            die("cannot produce: %s", rd_kafka_err2str(rd_kafka_last_error()));
        rd_kafka_poll(loop->producer, POLL_MS);
    }
}

static void filter_and_map(struct loop *loop, const rd_kafka_message_t *in)
{
    yyjson_alc reading, writing;
    yyjson_alc_pool_init(&reading, loop->read_pool, POOL_BYTES);
    yyjson_doc *doc = yyjson_read_opts(in->payload, in->len, 0, &reading, NULL);
    yyjson_val *root = yyjson_doc_get_root(doc);
    if (root == NULL)
        die("not JSON");
    if (!yyjson_equals_str(yyjson_obj_get(root, "status"), "paid"))
        return;
    yyjson_alc_pool_init(&writing, loop->write_pool, POOL_BYTES);
    yyjson_mut_doc *out = yyjson_mut_doc_new(&writing);
    yyjson_mut_val *object = yyjson_mut_obj(out);
    yyjson_val *address = yyjson_obj_get(root, "address");
    const struct {
        const char *name;
        yyjson_val *value;
    } fields[] = {
        {"id", yyjson_obj_get(root, "id")},
        {"user", yyjson_obj_get(root, "user")},
        {"amount", yyjson_obj_get(root, "amount")},
        {"country", yyjson_obj_get(address, "country")},
    };
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        yyjson_mut_obj_add_val(out, object, fields[i].name,
                               yyjson_val_mut_copy(out, fields[i].value));
    size_t size;
    char *text = yyjson_mut_val_write_opts(object, 0, &writing, &size, NULL);
    if (text == NULL)
        die("cannot write");
    send_copy(loop, in->key, in->key_len, text, size);
}

static void window_close(struct loop *loop, struct window *window)
{
    char text[256];
    for (size_t i = 0; i < window->count; i++) {
        struct slot *slot = &window->slots[window->used[i]];
        const char *user = (const char *)&slot->user;
        int size = snprintf(text, sizeof text,
                            "{\"key\":\"%s\",\"window\":{\"start\":%" PRId64 ",\"end\":%" PRId64
                            ",\"kind\":\"final\"},\"n\":%" PRId64 ",\"s\":%" PRId64 "}",
                            user, window->start_ms, window->start_ms + WINDOW_MS, slot->count,
                            slot->sum);
        send_copy(loop, user, strlen(user), text, (size_t)size);
        *slot = (struct slot){0};
    }
    window->count = 0;
}

static void window_add(struct loop *loop, const rd_kafka_message_t *in)
{
    yyjson_alc reading;
    yyjson_alc_pool_init(&reading, loop->read_pool, POOL_BYTES);
    yyjson_doc *doc = yyjson_read_opts(in->payload, in->len, 0, &reading, NULL);
    yyjson_val *root = yyjson_doc_get_root(doc);
    yyjson_val *name = yyjson_obj_get(root, "user");
    if (in->partition >= PARTITIONS_MAX || yyjson_get_len(name) >= sizeof(uint64_t))
        die("not an event");
    struct window *window = &loop->windows[in->partition];
    if (window->slots == NULL) {
        *window = (struct window){.start_ms = -1,
                                  .slots = calloc(SLOTS, sizeof *window->slots),
                                  .used = calloc(SLOTS, sizeof *window->used)};
        if (window->slots == NULL || window->used == NULL)
            die("out of memory");
    }
    const int64_t at = yyjson_get_sint(yyjson_obj_get(root, "created_at"));
    const int64_t start = at - at % WINDOW_MS;
    if (start != window->start_ms) {
        window_close(loop, window);
        window->start_ms = start;
    }
    uint64_t user = 0;
    memcpy(&user, yyjson_get_str(name), yyjson_get_len(name));
    uint32_t place = (uint32_t)(user * 0x9e3779b97f4a7c15u >> 40) % SLOTS;
    while (window->slots[place].user != 0 && window->slots[place].user != user)
        place = (place + 1) % SLOTS;
    struct slot *slot = &window->slots[place];
    if (slot->user == 0) {
        slot->user = user;
        window->used[window->count++] = place;
    }
    slot->count++;
    slot->sum += yyjson_get_sint(yyjson_obj_get(root, "id"));
}

static void commit(struct loop *loop, bool last)
{
    if (loop->transactions) {
        rd_kafka_topic_partition_list_t *offsets;
        rd_kafka_consumer_group_metadata_t *group;
        if (rd_kafka_assignment(loop->consumer, &offsets) != RD_KAFKA_RESP_ERR_NO_ERROR ||
            rd_kafka_position(loop->consumer, offsets) != RD_KAFKA_RESP_ERR_NO_ERROR)
            die("no positions");
        group = rd_kafka_consumer_group_metadata(loop->consumer);
        must(rd_kafka_send_offsets_to_transaction(loop->producer, offsets, group, REQUEST_MS),
             "send offsets");
        must(rd_kafka_commit_transaction(loop->producer, -1), "commit");
        rd_kafka_topic_partition_list_destroy(offsets);
        rd_kafka_consumer_group_metadata_destroy(group);
        if (!last)
            must(rd_kafka_begin_transaction(loop->producer), "begin");
    } else {
        if (rd_kafka_flush(loop->producer, REQUEST_MS) != RD_KAFKA_RESP_ERR_NO_ERROR)
            die("cannot flush");
        rd_kafka_resp_err_t err = rd_kafka_commit(loop->consumer, NULL, !last);
        if (err != RD_KAFKA_RESP_ERR_NO_ERROR && err != RD_KAFKA_RESP_ERR__NO_OFFSET)
            die("cannot commit: %s", rd_kafka_err2str(err));
    }
    if (loop->failed != 0)
        die("%" PRId64 " records were not delivered", loop->failed);
}

static void run(struct loop *loop, int64_t count)
{
    static rd_kafka_message_t *messages[BATCH_MESSAGES];
    rd_kafka_queue_t *queue = rd_kafka_queue_get_consumer(loop->consumer);
    int64_t due = now_ms() + loop->commit_ms;
    for (int64_t done = 0; done < count;) {
        ssize_t got = rd_kafka_consume_batch_queue(queue, POLL_MS, messages, BATCH_MESSAGES);
        for (ssize_t i = 0; i < got; i++) {
            if (messages[i]->err != RD_KAFKA_RESP_ERR_NO_ERROR)
                die("cannot read: %s", rd_kafka_message_errstr(messages[i]));
            if (loop->map)
                filter_and_map(loop, messages[i]);
            else if (loop->window)
                window_add(loop, messages[i]);
            else
                send_copy(loop, messages[i]->key, messages[i]->key_len, messages[i]->payload,
                          messages[i]->len);
            rd_kafka_message_destroy(messages[i]);
        }
        done += got > 0 ? got : 0;
        rd_kafka_poll(loop->producer, 0);
        if (now_ms() >= due && done > 0) {
            commit(loop, false);
            due = now_ms() + loop->commit_ms;
        }
    }
    rd_kafka_queue_destroy(queue);
    commit(loop, true);
}

int main(int argc, char **argv)
{
    if (argc != 7 && argc != 8)
        die("usage: loop_kafka BROKERS IN OUT GROUP passthrough|map|window COUNT [--transactions]");
    struct loop loop = {
        .topic = argv[3],
        .map = strcmp(argv[5], "map") == 0,
        .window = strcmp(argv[5], "window") == 0,
        .transactions = argc == 8 && strcmp(argv[7], "--transactions") == 0,
        .read_pool = malloc(POOL_BYTES),
        .write_pool = malloc(POOL_BYTES),
    };
    if (loop.read_pool == NULL || loop.write_pool == NULL)
        die("out of memory");
    loop.commit_ms = loop.transactions ? 100 : 1000;
    open_clients(&loop, argv[1], argv[2], argv[4]);
    run(&loop, strtoll(argv[6], NULL, 10));
    rd_kafka_topic_destroy(loop.out);
    rd_kafka_destroy(loop.producer);
    rd_kafka_consumer_close(loop.consumer);
    rd_kafka_destroy(loop.consumer);
    for (size_t i = 0; i < PARTITIONS_MAX; i++) {
        free(loop.windows[i].slots);
        free(loop.windows[i].used);
    }
    free(loop.read_pool);
    free(loop.write_pool);
    return 0;
}
