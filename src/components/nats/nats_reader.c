/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading a durable consumer by requests (MSG.NEXT). Two requests are kept under way as long as the
 * window has room, so the server always has one to serve; not asking is the back-pressure. Each is
 * bounded in messages and bytes. Messages do not say which request they answer, but the server
 * serves requests in the order they came, so the oldest one is counted down; whatever ends one
 * early says so to its own reply subject.
 *
 * The server sends a heartbeat to requests that wait. When nothing is heard for more than twice its
 * time, the requests are taken for lost (the consumer was deleted, a leader changed) and the
 * consumer is looked at; so it is when nobody takes acknowledgements. A consumer that is gone was
 * somewhere: what it still had to deliver is behind what the server last said was acknowledged, so
 * from there on it is made again, whatever the configuration says of new ones.
 *
 * A message stays in the window until its position is committed, for as long as that takes: the
 * server is told in time that work goes on (+WPI). What it delivers once more although the window
 * has it, after a broken connection, is dropped here.
 *
 * A message that was delivered often may be one that processes die of. It is a chunk of its own in
 * the window, which is tried alone (nats_trial.h), and nothing is asked for meanwhile: what would
 * be delivered once more if the process dies would come under suspicion.
 */
#include "nats_reader.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <weir/json.h>

#include "base/assert.h"
#include "base/wake.h"

enum { WAIT_MS = 100, HEARTBEAT_MS = 2000, EXPIRES_MS = 30000, LOOK_MS = 5000, CHUNK_MAX = 500 };
enum { GIVE_BACK_MS = 100, GIVE_BACK_TIMEOUT_MS = 2000, DRAIN_MS = 1000, HEAP_MS = 1 };
enum { STOP_MS = 2000, STOP_LOOK_MS = 50 };
#define NS_PER_MS 1000000LL

static int64_t reader_now(const struct nats_reader *self)
{
    return weir_clock_monotonic_ns(self->ctx->clock);
}

/* --- messages ----------------------------------------------------------------------------------*/

static void reader_push(struct nats_reader *self, struct nats_chunk *chunk)
{
    if (chunk->base.count == 0) {
        nats_chunk_unref(chunk);
        return;
    }
    chunk->touched_ns = reader_now(self);
    nats_acker_saw(&self->acker, chunk->highest);
    /* Long before the window is full, so that lanes have something to do while it is committed. */
    self->unclosed += chunk->base.bytes;
    if (self->unclosed >= self->budget / 4) {
        self->unclosed = 0;
        weir_ctx_commit_soon(self->ctx);
    }
    nats_window_push(&self->window, chunk);
    weir_wake(weir_lane_wake_fd(self->ctx, self->lane));
}

/* nats-server 2.9 begins to count anew when a message is given back. */
static bool reader_suspects(const struct nats_reader *self, const struct nats_delivery *delivery)
{
    return self->max_deliveries > 0 && (delivery->deliveries >= self->max_deliveries ||
                                        nats_trials_has(&self->trials, delivery->sequence));
}

/* The message becomes a chunk of its own, behind what came before it. */
static struct nats_chunk *reader_push_trial(struct nats_reader *self,
                                            struct nats_chunk *chunk,
                                            natsMsg *message,
                                            const struct nats_delivery *delivery)
{
    size_t capacity = chunk->capacity;
    reader_push(self, chunk);
    struct nats_chunk *trial = nats_chunk_new(1);
    nats_chunk_add(trial, message, delivery->sequence, delivery->time_ns / NS_PER_MS);
    trial->is_trial = true;
    trial->attempts = delivery->deliveries > self->max_deliveries ? delivery->deliveries - 1
                                                                  : self->max_deliveries;
    reader_push(self, trial);
    self->trials_end = nats_window_filled(&self->window);
    return nats_chunk_new(capacity);
}

static void reader_count_down(struct nats_reader *self)
{
    if (self->pull_count == 0) {
        return; /* of a request that was given up */
    }
    self->pulls[0].was_served = true;
    if (--self->pulls[0].left == 0) {
        self->was_waiting = false;
        self->pulls[0] = self->pulls[1];
        self->pull_count--;
    }
}

/* A request ended before all of its messages came. */
static void reader_end_pull(struct nats_reader *self, uint64_t number)
{
    for (size_t i = 0; i < self->pull_count; i++) {
        if (self->pulls[i].number == number) {
            self->pulls[i] = self->pulls[NATS_PULLS - 1];
            self->pull_count--;
        }
    }
}

/* How far the server has looked for messages of ours, when all that it found are here: what lies
 * before is nobody's loss. */
static void reader_pass_others(struct nats_reader *self, natsMsg *heartbeat)
{
    const char *number = NULL, *sequence = NULL;
    if (self->is_ordered &&
        natsMsgHeader_Get(heartbeat, "Nats-Last-Consumer", &number) == NATS_OK &&
        natsMsgHeader_Get(heartbeat, "Nats-Last-Stream", &sequence) == NATS_OK &&
        strtoull(number, NULL, 10) == self->number) {
        uint64_t next = strtoull(sequence, NULL, 10) + 1;
        self->next = next > self->next ? next : self->next;
    }
}

/* What is acknowledged, by all processes. Of a consumer that nothing was acknowledged to 2.9 does
 * not say where it began, but while it has delivered nothing, that it has come so far. */
static void reader_note_floor(struct nats_reader *self, struct weir_value info)
{
    struct weir_value floor = weir_value_get(info, WEIR_SLICE("ack_floor"));
    struct weir_value delivered = weir_value_get(info, WEIR_SLICE("delivered"));
    bool is_fresh = nats_api_int(delivered, "consumer_seq", 0) == 0;
    uint64_t now = (uint64_t)nats_api_int(is_fresh ? delivered : floor, "stream_seq", 0);
    self->floor = now > self->floor ? now : self->floor;
}

static void reader_hear_look(struct nats_reader *self, natsMsg *message)
{
    struct weir_arena arena;
    struct weir_value info = {0};
    struct weir_err ignored = {0};
    struct weir_slice text = {natsMsg_GetData(message), (size_t)natsMsg_GetDataLength(message)};
    weir_arena_init(&arena, 0);
    if (weir_json_parse(&arena, text, NULL, &info, &ignored) == WEIR_OK) {
        reader_note_floor(self, info);
    }
    weir_arena_done(&arena);
}

/* A message to our inbox that is no delivery: what the server says of a request. */
static weir_status reader_hear(struct nats_reader *self, natsMsg *message, struct weir_err *err)
{
    const char *subject = natsMsg_GetSubject(message), *code = NULL, *text = NULL;
    uint64_t number = strtoull(subject + strlen(self->line.client->prefix), NULL, 10);
    if (natsMsgHeader_Get(message, "Status", &code) != NATS_OK) {
        reader_hear_look(self, message);
        return WEIR_OK;
    }
    if (strcmp(code, "100") == 0) {
        reader_pass_others(self, message);
        return WEIR_OK;
    }
    self->was_waiting = strcmp(code, "408") == 0;
    (void)natsMsgHeader_Get(message, "Description", &text);
    text = text == NULL ? "" : text;
    bool is_size = strstr(text, "Message Size Exceeds MaxBytes") != NULL;
    for (size_t i = 0; i < self->pull_count && is_size; i++) {
        bool is_this = self->pulls[i].number == number && !self->pulls[i].was_served;
        self->oversized = self->oversized || is_this;
    }
    reader_end_pull(self, number);
    if (strstr(text, "Exceeded MaxRequest") != NULL) {
        weir_status status = weir_fail(err, WEIR_CONFIG, "the consumer %s refuses a request: %s",
                                       self->consumer.name, text);
        weir_err_hint(err, "Set `count` below the consumer's limit.");
        return status;
    }
    return strcmp(text, "Consumer Deleted") == 0
               ? weir_fail(err, WEIR_UNAVAILABLE, "the consumer %s is gone", self->consumer.name)
               : WEIR_OK;
}

/* --- what the stream has cut off ---------------------------------------------------------------*/

/* With a filter nobody can tell which of them would have been ours. */
static weir_status reader_tell_lost(struct nats_reader *self, uint64_t lost, struct weir_err *err)
{
    bool is_filtered = self->consumer.filters.count > 0;
    if (self->skips_lost) {
        WEIR_LOG_WARN(self->ctx->log, "messages were deleted before they were read",
                      WEIR_F("stream", self->stream.name), WEIR_F("messages", lost),
                      WEIR_F("at_most", is_filtered));
        return WEIR_OK;
    }
    weir_status status = weir_fail(
        err, WEIR_DATA_LOSS, "stream %s: %s%llu messages were deleted before they were read",
        self->stream.name, is_filtered ? "up to " : "", (unsigned long long)lost);
    weir_err_hint(err, "Keep more in the stream, or write `on_data_loss: skip`.");
    return status;
}

/* The first sequence that the stream still has. */
static weir_status
reader_ask_first(struct nats_reader *self, uint64_t *ret_first, struct weir_err *err)
{
    struct weir_arena arena;
    struct weir_value info;
    weir_arena_init(&arena, 0);
    weir_status status = nats_stream_ensure(self->line.client, &self->stream, &arena, &info, err);
    if (status == WEIR_OK) {
        struct weir_value state = weir_value_get(info, WEIR_SLICE("state"));
        *ret_first = (uint64_t)nats_api_int(state, "first_seq", 0);
    }
    weir_arena_done(&arena);
    return status;
}

/* Nothing was asked for, and all that was delivered is here: what is cut off was not. */
static weir_status reader_check_cut(struct nats_reader *self, struct weir_err *err)
{
    uint64_t first = 0;
    weir_status status = reader_ask_first(self, &first, err);
    if (status == WEIR_OK && first > self->next) {
        status = reader_tell_lost(self, first - self->next, err);
        self->next = status == WEIR_OK ? first : self->next;
    }
    return status;
}

/* Sequences that did not come, of a stream that is read whole. */
struct gaps {
    uint64_t from, size; /* the first one, and how many there are */
    size_t at;           /* in the chunk, what came behind the first */
};

/* Of messages that came together: deleted one by one they are nobody's loss, what the stream has
 * cut off is. Asked once for all of them. */
static weir_status
reader_check_gaps(struct nats_reader *self, const struct gaps *gaps, struct weir_err *err)
{
    uint64_t first = 0;
    weir_status status = reader_ask_first(self, &first, err);
    if (status == WEIR_OK && first > gaps->from) {
        uint64_t lost = first - gaps->from;
        status = reader_tell_lost(self, lost < gaps->size ? lost : gaps->size, err);
    }
    return status;
}

/* A gap in the consumer's own numbers: something was lost on its way to us. A gap in the stream's:
 * with a filter, messages of others; without one it is noted. */
static weir_status reader_check_order(struct nats_reader *self,
                                      const struct nats_delivery *delivery,
                                      size_t at,
                                      struct gaps *gaps,
                                      struct weir_err *err)
{
    if (delivery->number != ++self->number) {
        return weir_fail(err, WEIR_UNAVAILABLE, "stream %s: messages were left out on their way",
                         self->stream.name);
    }
    if (delivery->sequence > self->next && self->consumer.filters.count == 0) {
        if (gaps->size == 0) {
            *gaps = (struct gaps){.from = self->next, .at = at};
        }
        gaps->size += delivery->sequence - self->next;
    }
    self->next = delivery->sequence + 1;
    return WEIR_OK;
}

/* --- receiving ---------------------------------------------------------------------------------*/

/* Takes what is there, waiting for the first message. When they come often, in heaps: waking for
 * each costs more than all the rest. */
static weir_status reader_receive(struct nats_reader *self, struct weir_err *err)
{
    natsMsg *message = NULL;
    natsStatus code = natsSubscription_NextMsg(&message, self->line.client->inbox, WAIT_MS);
    if (code == NATS_TIMEOUT) {
        return WEIR_OK;
    }
    uint64_t queued = 0;
    if (code == NATS_OK) {
        if (reader_now(self) - self->heard_ns < HEAP_MS * NS_PER_MS) {
            (void)weir_thread_pause(&self->thread, HEAP_MS);
        }
        self->heard_ns = reader_now(self);
        (void)natsSubscription_QueuedMsgs(self->line.client->inbox, &queued);
    }
    queued = queued < CHUNK_MAX ? queued : CHUNK_MAX - 1;
    struct nats_chunk *chunk = nats_chunk_new((size_t)queued + 1);
    struct gaps gaps = {.size = 0};
    weir_status status = WEIR_OK;
    while (code == NATS_OK && status == WEIR_OK) {
        struct nats_delivery delivery;
        if (!nats_delivery_parse(natsMsg_GetReply(message), &delivery)) {
            status = reader_hear(self, message, err);
            natsMsg_Destroy(message);
        } else {
            reader_count_down(self);
            int64_t base = self->is_ordered ? (int64_t)delivery.sequence + 1 : 0;
            atomic_store_explicit(&self->behind, base + delivery.behind, memory_order_relaxed);
            if (self->is_ordered) {
                status = reader_check_order(self, &delivery, chunk->base.count, &gaps, err);
            }
            if (status != WEIR_OK) {
                natsMsg_Destroy(message);
            } else if (delivery.deliveries > 1 &&
                       nats_window_has(&self->window, delivery.sequence)) {
                natsMsg_Destroy(message);
            } else if (reader_suspects(self, &delivery)) {
                chunk = reader_push_trial(self, chunk, message, &delivery);
            } else {
                nats_chunk_add(chunk, message, delivery.sequence, delivery.time_ns / NS_PER_MS);
            }
        }
        if (queued-- == 0 || status != WEIR_OK) {
            break;
        }
        code = natsSubscription_NextMsg(&message, self->line.client->inbox, WAIT_MS);
    }
    if (gaps.size > 0 && status == WEIR_OK) {
        status = reader_check_gaps(self, &gaps, err);
    }
    if (gaps.size > 0 && status != WEIR_OK) { /* what lies behind them is for another time */
        nats_chunk_cut(chunk, gaps.at);
        self->next = gaps.from;
    }
    reader_push(self, chunk);
    self->is_drained = atomic_load(&self->draining) && code != NATS_OK && code != NATS_TIMEOUT;
    return code == NATS_OK || self->is_drained ? status : nats_fail(err, self->stream.name, code);
}

/* --- requests ----------------------------------------------------------------------------------*/

static weir_status reader_pull(struct nats_reader *self, struct weir_err *err)
{
    char subject[3 * NATS_NAME_MAX], reply[NATS_INBOX_MAX + 24], body[200];
    int64_t count = self->oversized ? 1 : self->count;
    uint64_t number = ++self->pulled;
    snprintf(subject, sizeof(subject), "$JS.API.CONSUMER.MSG.NEXT.%s.%s", self->stream.name,
             self->consumer.name);
    snprintf(reply, sizeof(reply), "%s%llu", self->line.client->prefix, (unsigned long long)number);
    int size =
        snprintf(body, sizeof(body), "{\"batch\":%lld,\"expires\":%lld,\"idle_heartbeat\":%lld",
                 (long long)count, EXPIRES_MS * NS_PER_MS, HEARTBEAT_MS * NS_PER_MS);
    if (!self->oversized) {
        size += snprintf(body + size, sizeof(body) - (size_t)size, ",\"max_bytes\":%zu",
                         self->budget / 4);
    }
    size += snprintf(body + size, sizeof(body) - (size_t)size, "}");
    if (self->pull_count == 0) {
        self->heard_ns = reader_now(self);
    }
    self->oversized = false;
    self->pulls[self->pull_count++] = (struct nats_pull){.number = number, .left = count};
    natsStatus code =
        natsConnection_PublishRequest(self->line.client->connection, subject, reply, body, size);
    return code == NATS_OK ? WEIR_OK : nats_fail(err, self->stream.name, code);
}

/* What was asked for comes still, and then nothing. */
static void reader_unsubscribe(struct nats_reader *self)
{
    if (atomic_load(&self->draining) && !self->is_unsubscribed) {
        self->is_unsubscribed = true;
        (void)natsSubscription_Drain(self->line.client->inbox);
    }
}

/* Keeps requests under way while there is room for what they may bring. */
static weir_status reader_top_up(struct nats_reader *self, struct weir_err *err)
{
    weir_status status = WEIR_OK;
    while (status == WEIR_OK && self->pull_count < NATS_PULLS && !atomic_load(&self->draining) &&
           nats_window_acked(&self->window) >= self->trials_end) {
        if (nats_window_bytes(&self->window) > self->budget / 2) {
            weir_ctx_commit_soon(self->ctx);
            if (self->pull_count > 0 ||
                !nats_window_wait(&self->window, self->budget / 2, WAIT_MS)) {
                break;
            }
        }
        bool was_idle = self->is_ordered && self->pull_count == 0 && !self->was_waiting;
        status = was_idle ? reader_check_cut(self, err) : WEIR_OK;
        status = status == WEIR_OK ? reader_pull(self, err) : status;
    }
    return status;
}

static weir_status reader_check_silence(struct nats_reader *self, struct weir_err *err)
{
    bool is_silent = self->pull_count > 0 &&
                     reader_now(self) - self->heard_ns >= (2 * HEARTBEAT_MS + 500) * NS_PER_MS;
    if (is_silent) {
        WEIR_LOG_WARN(self->ctx->log, "no heartbeat of the consumer; asking again",
                      WEIR_F("stream", self->stream.name), WEIR_F("durable", self->consumer.name));
        self->pull_count = 0;
        self->was_waiting = false;
    } else if (!atomic_exchange(&self->acker.is_unheard, false)) {
        return WEIR_OK;
    }
    struct weir_arena arena;
    struct weir_value info;
    weir_arena_init(&arena, 0);
    weir_status status = nats_consumer_find(self->line.client, self->stream.name,
                                            self->consumer.name, &arena, &info, err);
    if (status == WEIR_OK && weir_value_is_absent(info)) {
        status = weir_fail(err, WEIR_UNAVAILABLE, "the consumer %s is gone", self->consumer.name);
    }
    weir_arena_done(&arena);
    return status;
}

/* What is next in the window may be to be tried alone: that is written down before. */
static weir_status reader_try(struct nats_reader *self, struct weir_err *err)
{
    struct nats_chunk *trial = nats_window_trial(&self->window);
    weir_status status = WEIR_OK;
    if (trial == NULL) {
        status = nats_trials_end(&self->trials, self->line.client, true, err);
    } else if (!trial->is_ready) {
        bool is_condemned = false;
        status =
            nats_trials_begin(&self->trials, self->line.client, trial->lowest, &is_condemned, err);
        if (status == WEIR_OK) {
            nats_window_ready(&self->window, trial, is_condemned);
            weir_wake(weir_lane_wake_fd(self->ctx, self->lane));
        }
    }
    if (trial != NULL) {
        nats_chunk_unref(trial);
    }
    return status;
}

/* --- what the server is told -------------------------------------------------------------------*/

/* Work on a message may take longer than the server waits for its acknowledgement. */
static void reader_touch(struct nats_reader *self)
{
    int64_t now_ns = reader_now(self), patience_ns = self->ack_wait_ms * NS_PER_MS / 3;
    if (self->is_ordered || now_ns - self->touched_ns < patience_ns / 4) {
        return;
    }
    self->touched_ns = now_ns;
    struct nats_chunk *chunk = nats_window_after(&self->window, NULL);
    while (chunk != NULL) {
        if (now_ns - chunk->touched_ns >= patience_ns) {
            chunk->touched_ns = now_ns;
            (void)nats_chunk_tell(self->line.client, chunk, 0, INT64_MAX, "+WPI");
        }
        struct nats_chunk *next = nats_window_after(&self->window, chunk);
        nats_chunk_unref(chunk);
        chunk = next;
    }
}

/* Asks how far the consumer is. */
static void reader_look(struct nats_reader *self)
{
    int64_t now_ns = reader_now(self);
    if (self->is_ordered || now_ns - self->looked_ns < LOOK_MS * NS_PER_MS) {
        return;
    }
    self->looked_ns = now_ns;
    char subject[3 * NATS_NAME_MAX], reply[NATS_INBOX_MAX + 8];
    snprintf(subject, sizeof(subject), "$JS.API.CONSUMER.INFO.%s.%s", self->stream.name,
             self->consumer.name);
    snprintf(reply, sizeof(reply), "%slook", self->line.client->prefix);
    (void)natsConnection_PublishRequest(self->line.client->connection, subject, reply, "", 0);
}

/* Part of what was delivered is acknowledged. What waited for it goes on: the thread, to try what
 * is next alone, and what is behind a try. The acker. */
static void reader_go_on(void *instance, struct nats_client *client)
{
    struct nats_reader *self = instance;
    if (self->max_deliveries == 0) {
        return;
    }
    struct nats_chunk *trial = nats_window_trial(&self->window);
    if (trial != NULL) {
        char reply[NATS_INBOX_MAX + 8];
        snprintf(reply, sizeof(reply), "%stry", client->prefix);
        nats_trials_knock(&self->trials, client, reply);
        nats_chunk_unref(trial);
    }
    weir_wake(weir_lane_wake_fd(self->ctx, self->lane));
}

/* --- the thread --------------------------------------------------------------------------------*/

/* What it gets now has numbers that were read already, of other messages. Beginning anew by itself
 * could have outputs dropped: their ids are made of those numbers. */
static weir_status
reader_tell_set_back(const struct nats_reader *self, uint64_t last, struct weir_err *err)
{
    weir_status status = weir_fail(
        err, WEIR_DATA_LOSS,
        "stream %s ends at sequence %llu, and %llu was to be read next: it was deleted and "
        "made again, or set back",
        self->stream.name, (unsigned long long)last, (unsigned long long)self->next);
    weir_err_hint(err, "Say where to go on: `weir positions set --to earliest` reads all of it.");
    return status;
}

/* A consumer from the position on. */
static weir_status
reader_ensure_ordered(struct nats_reader *self, struct weir_value info, struct weir_err *err)
{
    struct weir_value state = weir_value_get(info, WEIR_SLICE("state"));
    uint64_t first = (uint64_t)nats_api_int(state, "first_seq", 0);
    uint64_t last = (uint64_t)nats_api_int(state, "last_seq", 0);
    weir_status status = WEIR_OK;
    if (self->next > last + 1 && self->next != self->start_sequence) {
        status = reader_tell_set_back(self, last, err);
    } else if (first > self->next) {
        status = reader_tell_lost(self, first - self->next, err);
        self->next = first;
    }
    self->number = 0;
    self->was_waiting = true; /* so to speak: it was looked at just now */
    self->consumer.start_sequence = (int64_t)self->next;
    self->consumer.name = self->consumer_name;
    int64_t pending = 0;
    if (status == WEIR_OK) {
        status = nats_consumer_ordered(self->line.client, &self->consumer, self->consumer_name,
                                       &pending, err);
    }
    if (status == WEIR_OK) {
        atomic_store_explicit(&self->behind, (int64_t)self->next + pending, memory_order_relaxed);
    }
    return status;
}

/* The durable consumer, behind what was acknowledged if it was there before; the messages of a
 * stream that was made anew were not. */
static weir_status reader_ensure_durable(struct nats_reader *self,
                                         struct weir_arena *arena,
                                         struct weir_value *info,
                                         struct weir_err *err)
{
    struct weir_value state = weir_value_get(*info, WEIR_SLICE("state"));
    struct weir_slice created = weir_value_text(weir_value_get(*info, WEIR_SLICE("created")));
    struct nats_consumer_spec spec = self->consumer;
    if (self->created[0] != '\0') {
        bool is_same = weir_slice_equal(created, weir_slice_of(self->created)) &&
                       (uint64_t)nats_api_int(state, "last_seq", 0) >= self->floor;
        spec.start_sequence = is_same ? (int64_t)self->floor + 1 : 1;
    }
    weir_status status = nats_consumer_ensure(self->line.client, &spec, arena, info, err);
    if (status == WEIR_OK) {
        self->floor = 0;
        reader_note_floor(self, *info);
        self->looked_ns = reader_now(self);
        snprintf(self->created, sizeof(self->created), "%.*s", (int)created.size, created.data);
    }
    return status;
}

/* Stream and consumer are as they should be. */
static weir_status reader_ensure(struct nats_reader *self, struct weir_err *err)
{
    struct weir_arena arena;
    struct weir_value info;
    weir_arena_init(&arena, 0);
    weir_status status = nats_stream_ensure(self->line.client, &self->stream, &arena, &info, err);
    if (status == WEIR_OK && self->is_ordered) {
        status = reader_ensure_ordered(self, info, err);
    } else if (status == WEIR_OK) {
        status = reader_ensure_durable(self, &arena, &info, err);
    }
    if (status == WEIR_OK && self->max_deliveries > 0) {
        struct weir_value floor = weir_value_get(info, WEIR_SLICE("ack_floor"));
        status = nats_trials_ensure(&self->trials, self->line.client,
                                    nats_api_int(floor, "stream_seq", 0), err);
    }
    if (status == WEIR_OK && !self->is_ordered) {
        struct weir_value config = weir_value_get(info, WEIR_SLICE("config"));
        int64_t limit = nats_api_int(config, "max_deliver", -1);
        self->ack_wait_ms = nats_api_int(config, "ack_wait", 30000 * NS_PER_MS) / NS_PER_MS;
        atomic_store_explicit(&self->behind, nats_api_int(info, "num_pending", -1),
                              memory_order_relaxed);
        if (limit > 0 && self->max_deliveries > 0) {
            status = weir_fail(err, WEIR_CONFIG,
                               "the consumer %s has a limit of its own: max_deliver %lld",
                               self->consumer.name, (long long)limit);
            weir_err_hint(err, "Set its max_deliver to -1, or leave out `max_deliveries`.");
        } else if (limit > 0 && !self->was_connected) {
            WEIR_LOG_WARN(
                self->ctx->log,
                "the consumer has a limit of deliveries: messages that reach it, also by "
                "crashes, are left out by the server; set its max_deliver to -1 and write "
                "max_deliveries here, and they are failed records",
                WEIR_F("durable", self->consumer.name), WEIR_F("max_deliver", limit));
        }
    }
    weir_arena_done(&arena);
    return status;
}

static weir_status reader_serve(struct nats_reader *self, struct weir_err *err)
{
    self->pull_count = 0;
    self->oversized = self->is_unsubscribed = self->is_drained = false;
    weir_status status = reader_ensure(self, err);
    if (status == WEIR_OK && self->was_connected) {
        WEIR_LOG_INFO(self->ctx->log, "connected again");
    }
    if (status == WEIR_OK) {
        self->was_connected = true;
        weir_link_up(self->ctx, &self->link);
    }
    while (status == WEIR_OK && !weir_thread_pause(&self->thread, self->is_drained ? WAIT_MS : 0)) {
        reader_unsubscribe(self);
        status = nats_client_denied(self->line.client, err);
        status = status == WEIR_OK ? reader_check_silence(self, err) : status;
        status = status == WEIR_OK ? reader_top_up(self, err) : status;
        status = status == WEIR_OK ? reader_try(self, err) : status;
        if (status == WEIR_OK) {
            reader_touch(self);
            reader_look(self);
        }
        if (status == WEIR_OK && !self->is_drained) {
            status = reader_receive(self, err);
        }
    }
    /* What came after the last request is in the inbox still, and is to be given back. */
    int64_t until_ns = reader_now(self) + DRAIN_MS * NS_PER_MS;
    reader_unsubscribe(self);
    while (status == WEIR_OK && !self->is_drained && reader_now(self) < until_ns) {
        status = reader_receive(self, err);
    }
    return status;
}

static void reader_set_client(struct nats_reader *self, struct nats_client *client)
{
    if (self->line.client != NULL) {
        nats_client_close(self->line.client); /* whoever waits for an answer is woken */
    }
    nats_acker_use(&self->acker, client);
    nats_line_set(&self->line, client);
}

static void reader_fail(struct nats_reader *self, const struct weir_err *err)
{
    pthread_mutex_lock(&self->lock);
    self->failure = *err;
    pthread_mutex_unlock(&self->lock);
    weir_wake(weir_control_wake_fd(self->ctx));
}

/* Before its message is given back: whoever gets it must find what is true. */
static void reader_end_try(struct nats_reader *self)
{
    struct nats_chunk *trial = nats_window_trial(&self->window);
    bool is_over = trial == NULL || !trial->is_ready;
    struct weir_err err = {0};
    if (trial != NULL) {
        nats_chunk_unref(trial);
    }
    if (nats_trials_end(&self->trials, self->line.client, is_over, &err) != WEIR_OK) {
        WEIR_LOG_WARN(self->ctx->log, "a message that was given back counts as tried in vain",
                      WEIR_F_ERR(&err));
    }
}

/* What was delivered and is not acknowledged. With a delay: if it was one of these that made us
 * stop, two processes would hand it to each other as fast as they can. */
static void reader_give_back(struct nats_reader *self)
{
    int64_t acked = nats_window_acked(&self->window);
    reader_end_try(self);
    char body[64];
    snprintf(body, sizeof(body), "-NAK {\"delay\": %lld}", GIVE_BACK_MS * NS_PER_MS);
    natsStatus code = NATS_OK;
    struct nats_chunk *chunk = nats_window_after(&self->window, NULL);
    while (chunk != NULL) {
        code = code == NATS_OK ? nats_chunk_tell(self->line.client, chunk, acked, INT64_MAX, body)
                               : code;
        struct nats_chunk *next = nats_window_after(&self->window, chunk);
        nats_chunk_unref(chunk);
        chunk = next;
    }
    (void)natsConnection_FlushTimeout(self->line.client->connection, GIVE_BACK_TIMEOUT_MS);
}

static void *reader_main(void *argument)
{
    struct nats_reader *self = argument;
    char name[NATS_NAME_MAX];
    snprintf(name, sizeof(name), "weir %s %s", self->ctx->pipeline, self->ctx->path);
    int backoff_ms = 0;
    bool told = false;
    while (!weir_thread_pause(&self->thread, 0)) {
        struct weir_err err = {0};
        struct nats_client *client = nats_client_open(self->address, name, &err);
        weir_status status = client == NULL ? err.status : WEIR_OK;
        if (client != NULL) {
            reader_set_client(self, client);
            status = reader_serve(self, &err);
            if (status == WEIR_OK) {
                break; /* to end */
            }
            if (self->heard_ns > 0) {
                backoff_ms = 0;
                told = false;
            }
            reader_set_client(self, NULL);
        }
        /* What is refused at the first connection is a mistake; later it is a server that restarts.
         */
        if (weir_status_class(status) == WEIR_CLASS_FATAL &&
            (!self->was_connected || status != WEIR_DENIED)) {
            reader_fail(self, &err);
            break;
        }
        if (!told) {
            WEIR_LOG_WARN(self->ctx->log, "not connected", WEIR_F_ERR(&err));
            told = true;
        }
        weir_link_down(self->ctx, &self->link, &err);
        (void)weir_thread_back_off(&self->thread, &backoff_ms);
    }
    weir_link_up(self->ctx, &self->link);
    nats_acker_stop(&self->acker);
    if (!self->is_ordered && self->line.client != NULL) {
        reader_give_back(self);
    }
    return NULL;
}

/* --- its life; control -------------------------------------------------------------------------*/

void nats_reader_init(struct nats_reader *self)
{
    nats_window_init(&self->window);
    nats_acker_init(&self->acker, self->ctx, &self->window, reader_go_on, self);
    if (self->max_deliveries > 0) {
        uint64_t nonce;
        weir_ctx_random(self->ctx, &nonce, sizeof(nonce));
        nats_trials_init(&self->trials, self->stream.name, self->consumer.name, nonce,
                         self->max_deliveries);
    }
    nats_line_init(&self->line);
    pthread_mutex_init(&self->lock, NULL);
}

weir_status nats_reader_start(struct nats_reader *self, struct weir_err *err)
{
    weir_status status = self->is_ordered ? WEIR_OK : nats_acker_start(&self->acker, err);
    return status == WEIR_OK ? weir_thread_start(&self->thread, reader_main, self, err) : status;
}

weir_status nats_reader_ack(struct nats_reader *self, int64_t to)
{
    return nats_acker_ack(&self->acker, to);
}

weir_status nats_reader_failed(struct nats_reader *self, struct weir_err *err)
{
    pthread_mutex_lock(&self->lock);
    if (self->failure.status != WEIR_OK) {
        *err = self->failure;
    }
    pthread_mutex_unlock(&self->lock);
    return err->status;
}

void nats_reader_drain(struct nats_reader *self)
{
    atomic_store(&self->draining, true);
}

void nats_reader_leave(struct nats_reader *self)
{
    (void)weir_thread_stop_within(&self->thread, 0);
    self->leave_by_ns = reader_now(self) + STOP_MS * NS_PER_MS;
}

bool nats_reader_has_left(struct nats_reader *self, int timeout_ms)
{
    if (reader_now(self) >= self->leave_by_ns || weir_ctx_must_hurry(self->ctx)) {
        nats_line_cut(&self->line);
    }
    return weir_thread_stop_within(&self->thread, timeout_ms);
}

void nats_reader_stop(struct nats_reader *self)
{
    nats_reader_leave(self);
    while (!nats_reader_has_left(self, STOP_LOOK_MS)) {
    }
}

void nats_reader_done(struct nats_reader *self)
{
    nats_acker_done(&self->acker);
    nats_line_done(&self->line);
    nats_window_done(&self->window);
    nats_trials_done(&self->trials);
    pthread_mutex_destroy(&self->lock);
}
