/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading by position: the stream, or each partition of it, is read in order by the process that
 * has its lease, from the position that the last commit left (nats_log.h). Nothing is acknowledged
 * to the server: a consumer of this process's own begins at the position, and a new one takes its
 * place whenever something may have been missed.
 *
 *   keeper   thread: renews and takes leases (base/lease.h, nats_lease.h)
 *   reader   thread per partition that this process has (nats_reader.h); a message stays in its
 *            window until it is committed, an abort reads it from there
 *   control  adopts what the keeper took, gives back what leaves or is lost, commits
 *
 * A position is the sequence of the next message to read. A commit of which nobody knows whether it
 * stands is not guessed at: the partition is given back as lost, and taken anew from what stands.
 */
#include "nats_positioned.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/clock.h"
#include "base/wake.h"
#include "nats_lease.h"
#include "nats_reader.h"
#include "nats_record.h"
#include "nats_source.h"

enum { LEASE_MS = 10000, RETRY_MS = 200, CUT_COMMITS = 1000, FIND_TIMEOUT_MS = 5000 };

struct nats_part {
    int32_t index;
    char subject[NATS_SUBJECT_MAX]; /* to read; empty: all of the stream */
    const char *filter;
    char topic[NATS_SUBJECT_MAX + NATS_NAME_MAX + 2];
    struct nats_log log;
    struct weir_partition *part; /* control; NULL: not this process's */
    bool is_over;                /* control: a commit found so, or cannot tell */

    pthread_mutex_t lock; /* guards what follows against lanes that look while control changes it */
    bool is_read;
    unsigned lane;
    struct nats_reader reader; /* valid while is_read */
    int64_t next;              /* lane, or paused: number in the window of what is delivered next */
};

struct nats_positioned {
    const struct nats_source_config *config;
    struct weir_ctx *ctx;
    struct nats_part *parts;
    uint32_t part_count;
    uint64_t nonce;
    char name[NATS_NAME_MAX + 1], stream[NATS_NAME_MAX + 8];
    struct nats_lease_medium medium;
    struct weir_leases *leases;
    int stop_fd, keep_fd; /* keep_fd: the keeper should look */
    bool running, is_known;
    pthread_t keeper;
    struct nats_client *client; /* control */
    int64_t tried_ns;           /* control: when adopting failed last */

    pthread_mutex_t lock; /* guards what follows */
    struct weir_err failure;
};

/* --- the keeper --------------------------------------------------------------------------------*/

static void *keeper_main(void *argument)
{
    struct nats_positioned *self = argument;
    bool told = false;
    for (;;) {
        int64_t wait_ns =
            weir_leases_due_ns(self->leases) - weir_clock_monotonic_ns(self->ctx->clock);
        int timeout_ms = wait_ns <= 0 ? 0 : (int)(wait_ns / WEIR_NS_PER_MS) + 1;
        struct pollfd wait[] = {{.fd = self->stop_fd, .events = POLLIN},
                                {.fd = self->keep_fd, .events = POLLIN}};
        (void)!poll(wait, 2, timeout_ms);
        if (wait[0].revents != 0) {
            return NULL;
        }
        if (wait[1].revents != 0) {
            uint64_t count;
            ssize_t got = read(self->keep_fd, &count, sizeof(count));
            WEIR_ASSERT(got == (ssize_t)sizeof(count) || errno == EAGAIN);
        }
        struct weir_err err = {0};
        weir_status status = weir_leases_round(self->leases, &err);
        if (weir_status_class(status) == WEIR_CLASS_FATAL && status != WEIR_FENCED) {
            pthread_mutex_lock(&self->lock);
            self->failure = err;
            pthread_mutex_unlock(&self->lock);
            weir_wake(weir_control_wake_fd(self->ctx));
            return NULL;
        }
        if (status != WEIR_OK && !told) {
            WEIR_LOG_WARN(self->ctx->log, "leases cannot be renewed", WEIR_F_ERR(&err));
        } else if (status == WEIR_OK && told) {
            WEIR_LOG_INFO(self->ctx->log, "leases are renewed again");
        }
        told = status != WEIR_OK;
        weir_wake(weir_control_wake_fd(self->ctx));
    }
}

/* --- opening; control --------------------------------------------------------------------------*/

static void part_init(struct nats_positioned *self, struct nats_part *part, int32_t index)
{
    const struct nats_source_config *config = self->config;
    part->index = index;
    pthread_mutex_init(&part->lock, NULL);
    if (config->partition != NULL) {
        const char *hole = strstr(config->partition, "{}");
        snprintf(part->subject, sizeof(part->subject), "%.*s%d%s", (int)(hole - config->partition),
                 config->partition, index, hole + 2);
    } else if (config->filter.count == 1) {
        snprintf(part->subject, sizeof(part->subject), "%s", config->filter.items[0]);
    }
    part->filter = part->subject;
    snprintf(part->topic, sizeof(part->topic), "%s%s%s", config->stream,
             part->subject[0] != '\0' ? "/" : "", part->subject);
    nats_log_name(&part->log, self->name, config->stream, index, self->stream);
}

static weir_status positioned_open(void *instance,
                                   const struct nats_source_config *config,
                                   struct weir_ctx *ctx,
                                   struct weir_err *err)
{
    struct nats_positioned *self = instance;
    self->config = config;
    self->ctx = ctx;
    pthread_mutex_init(&self->lock, NULL);
    nats_source_durable(config, ctx->pipeline, self->name);
    self->part_count = config->partitions > 0 ? (uint32_t)config->partitions : 1;
    self->parts = weir_calloc(self->part_count, sizeof(*self->parts));
    for (uint32_t i = 0; i < self->part_count; i++) {
        part_init(self, &self->parts[i], (int32_t)i);
    }
    weir_ctx_random(ctx, &self->nonce, sizeof(self->nonce));
    int64_t ttl_ms = config->lease > 0 ? config->lease : LEASE_MS;
    self->medium = (struct nats_lease_medium){.address = &config->address,
                                              .clock = ctx->clock,
                                              .nonce = self->nonce,
                                              .ttl_ms = ttl_ms,
                                              .count = self->part_count};
    snprintf(self->medium.bucket, sizeof(self->medium.bucket), "KV_weir-%.240s", self->name);
    snprintf(self->medium.key, sizeof(self->medium.key), "$KV.weir-%.100s.%.100s", self->name,
             config->stream);
    nats_lease_medium_init(&self->medium);
    self->leases = weir_leases_new(&(struct weir_leases_settings){.medium = &nats_lease_medium,
                                                                  .medium_self = &self->medium,
                                                                  .clock = ctx->clock,
                                                                  .count = self->part_count,
                                                                  .member = self->nonce,
                                                                  .ttl_ms = ttl_ms});
    self->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    self->keep_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return self->stop_fd >= 0 && self->keep_fd >= 0
               ? WEIR_OK
               : weir_fail(err, WEIR_FATAL, "no descriptor: %s", strerror(errno));
}

static void positioned_close(void *instance)
{
    struct nats_positioned *self = instance;
    for (uint32_t i = 0; i < self->part_count; i++) {
        nats_log_forget(&self->parts[i].log);
        pthread_mutex_destroy(&self->parts[i].lock);
    }
    nats_lease_medium_done(&self->medium);
    weir_leases_free(self->leases);
    nats_client_free(self->client);
    int fds[] = {self->stop_fd, self->keep_fd};
    for (size_t i = 0; i < 2; i++) {
        if (fds[i] >= 0) {
            close(fds[i]);
        }
    }
    weir_free(self->parts);
    pthread_mutex_destroy(&self->lock);
}

struct nats_client *nats_positioned_client(struct nats_positioned *self, struct weir_err *err)
{
    if (self->client != NULL && natsConnection_IsClosed(self->client->connection)) {
        nats_client_free(self->client);
        self->client = NULL;
    }
    if (self->client == NULL) {
        sigset_t all, before; /* the library starts threads */
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        self->client = nats_client_open(&self->config->address, "weir positions", err);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
    }
    return self->client;
}

/* The stream that is read keeps what was read; and weir's own is there. */
static weir_status check_streams(struct nats_positioned *self, struct weir_err *err)
{
    const struct nats_stream_spec spec = {.name = self->config->stream,
                                          .subjects = self->config->subjects,
                                          .manage = (enum nats_manage)self->config->manage};
    struct nats_client *client = nats_positioned_client(self, err);
    if (client == NULL) {
        return err->status;
    }
    struct weir_arena arena;
    struct weir_value info;
    weir_arena_init(&arena, 0);
    weir_status status = nats_stream_ensure(client, &spec, &arena, &info, err);
    if (status == WEIR_OK) {
        struct weir_value config = weir_value_get(info, WEIR_SLICE("config"));
        struct weir_slice kept = weir_value_text(weir_value_get(config, WEIR_SLICE("retention")));
        if (!weir_slice_equal(kept, WEIR_SLICE("limits"))) {
            status =
                weir_fail(err, WEIR_CONFIG,
                          "the stream %s has the retention %.*s, and cannot be read by position",
                          spec.name, kept.size < 20 ? (int)kept.size : 20, kept.data);
            weir_err_hint(err,
                          "Positions need a stream that keeps what was read (`limits`). Without "
                          "state, write `mode: shared`.");
        }
    }
    weir_arena_done(&arena);
    char subjects[NATS_NAME_MAX + 20];
    snprintf(subjects, sizeof(subjects), "weir.%s.log.>", self->name);
    return status == WEIR_OK ? nats_log_make_stream(client, self->stream, subjects, err) : status;
}

static weir_status positioned_start(void *instance, struct weir_err *err)
{
    struct nats_positioned *self = instance;
    weir_status status = check_streams(self, err);
    if (status != WEIR_OK) {
        return status;
    }
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int code = pthread_create(&self->keeper, NULL, keeper_main, self);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (code != 0) {
        return weir_fail(err, WEIR_FATAL, "cannot start a thread: %s", strerror(code));
    }
    self->running = true;
    return WEIR_OK;
}

/* --- where reading begins; control -------------------------------------------------------------*/

/* The sequence of the first message of that time or later. */
static weir_status find_time(struct nats_positioned *self,
                             struct nats_client *client,
                             int64_t end,
                             int64_t *ret,
                             struct weir_err *err)
{
    const struct nats_consumer_spec spec = {.stream = self->config->stream,
                                            .start = self->config->start};
    char name[NATS_NAME_MAX + 1], subject[2 * NATS_NAME_MAX + 60], reply[NATS_INBOX_MAX + 8];
    natsMsg *message = NULL;
    *ret = end;
    weir_status status = nats_consumer_ordered(client, &spec, name, err);
    if (status != WEIR_OK) {
        return status;
    }
    snprintf(subject, sizeof(subject), "$JS.API.CONSUMER.MSG.NEXT.%s.%s", spec.stream, name);
    snprintf(reply, sizeof(reply), "%stime", client->prefix);
    natsStatus code = natsConnection_PublishRequestString(client->connection, subject, reply,
                                                          "{\"batch\":1,\"no_wait\":true}");
    if (code == NATS_OK) {
        code = natsSubscription_NextMsg(&message, client->inbox, FIND_TIMEOUT_MS);
    }
    if (code != NATS_OK) {
        return nats_fail(err, spec.stream, code);
    }
    struct nats_delivery delivery;
    if (nats_delivery_parse(natsMsg_GetReply(message), &delivery)) {
        *ret = (int64_t)delivery.sequence;
    }
    natsMsg_Destroy(message);
    return WEIR_OK;
}

/* Of a partition that has no position yet. */
static weir_status find_start(struct nats_positioned *self,
                              struct nats_client *client,
                              int64_t *ret,
                              struct weir_err *err)
{
    const struct nats_source_config *config = self->config;
    const struct nats_stream_spec spec = {.name = config->stream, .manage = NATS_MANAGE_BIND};
    struct weir_arena arena;
    struct weir_value info;
    weir_arena_init(&arena, 0);
    weir_status status = nats_stream_ensure(client, &spec, &arena, &info, err);
    if (status == WEIR_OK) {
        struct weir_value state = weir_value_get(info, WEIR_SLICE("state"));
        int64_t first = nats_api_int(state, "first_seq", 1),
                last = nats_api_int(state, "last_seq", 0);
        first = first > 0 ? first : 1;
        if (config->start_sequence > 0) {
            *ret = config->start_sequence > first ? config->start_sequence : first;
        } else if (config->start.word == NATS_START_EARLIEST) {
            *ret = first;
        } else if (config->start.word == NATS_START_LATEST) {
            *ret = last + 1;
        } else if (config->start.word == NATS_START_LAST) {
            *ret = last > first ? last : first;
        } else {
            status = find_time(self, client, last + 1, ret, err);
        }
    }
    weir_arena_done(&arena);
    return status;
}

/* --- ownership; control ------------------------------------------------------------------------*/

static void give_back(struct nats_positioned *self, struct nats_part *part, bool lost)
{
    pthread_mutex_lock(&part->lock);
    part->is_read = false;
    pthread_mutex_unlock(&part->lock);
    if (part->reader.running) {
        nats_reader_drain(&part->reader);
    }
    weir_source_revoke(self->ctx, &part->part, 1, lost);
    /* The commit in it may have found out that it was lost. */
    weir_leases_let_go(self->leases, (uint32_t)part->index, lost || part->is_over);
    part->part = NULL;
    if (part->reader.ctx != NULL) {
        nats_reader_stop(&part->reader);
        nats_reader_done(&part->reader);
        part->reader = (struct nats_reader){0};
    }
    nats_log_forget(&part->log);
    weir_wake(self->keep_fd);
}

static weir_status
part_read(struct nats_positioned *self, struct nats_part *part, struct weir_err *err)
{
    const struct nats_source_config *config = self->config;
    size_t budget = (size_t)self->ctx->in_flight_bytes / self->part_count;
    part->reader = (struct nats_reader){
        .ctx = self->ctx,
        .address = &config->address,
        .stream = {.name = config->stream, .manage = NATS_MANAGE_BIND},
        .consumer = {.stream = config->stream,
                     .filters = {&part->filter, part->subject[0] != '\0' ? 1 : 0}},
        .is_ordered = true,
        .skips_lost = config->on_data_loss == NATS_LOSS_SKIP,
        .count = config->count,
        .budget = budget,
        .lane = part->part->lane,
        .behind = -1,
        .next = (uint64_t)part->log.position,
    };
    weir_status status = nats_reader_init(&part->reader, err);
    pthread_mutex_lock(&part->lock);
    part->next = 0;
    part->lane = part->part->lane;
    part->is_read = true;
    pthread_mutex_unlock(&part->lock);
    return status == WEIR_OK ? nats_reader_start(&part->reader, err) : status;
}

/* The state, if there is any, must be of the very position: they were committed together. */
static weir_status
part_begin(struct nats_positioned *self, struct nats_part *part, struct weir_err *err)
{
    const struct weir_assignment item = {
        .topic = part->topic,
        .index = part->index,
        .position = part->log.position,
        .partition_count = (int32_t)self->part_count,
        .source_data = part,
    };
    weir_source_assign(self->ctx, &item, 1, &part->part);
    if (part->part->read != part->log.position) {
        weir_status status =
            weir_fail(err, WEIR_CONFIG, "%.200s stands at %lld, its state at %lld", part->topic,
                      (long long)part->log.position, (long long)part->part->read);
        weir_err_hint(err, "Begin anew under another `name`.");
        return status;
    }
    return part_read(self, part, err);
}

static weir_status take_over(struct nats_positioned *self,
                             struct nats_part *part,
                             uint64_t token,
                             struct weir_err *err)
{
    struct nats_client *client = nats_positioned_client(self, err);
    weir_status status =
        client == NULL ? err->status : nats_log_adopt(&part->log, client, self->nonce, token, err);
    part->is_over = false;
    if (status == WEIR_OK && part->log.position < 0) {
        /* Made durable at once: what `latest` or a time means must not change with a restart. */
        status = find_start(self, client, &part->log.position, err);
        status = status == WEIR_OK ? nats_log_commit(&part->log, client, part->log.position, err)
                                   : status;
    }
    if (status == WEIR_OK) {
        return part_begin(self, part, err);
    }
    if (status == WEIR_FENCED) {
        weir_leases_let_go(self->leases, (uint32_t)part->index, true);
        weir_err_clear(err);
        return WEIR_OK;
    }
    return status;
}

static weir_status
part_poll(struct nats_positioned *self, struct nats_part *part, struct weir_err *err)
{
    uint64_t token;
    uint32_t index = (uint32_t)part->index;
    enum weir_lease_state state = weir_leases_state(self->leases, index, &token);
    bool ours = part->part != NULL;
    if (ours && (part->is_over || state == WEIR_LEASE_LOST || state == WEIR_LEASE_FREE)) {
        WEIR_LOG_WARN(self->ctx->log, "lease lost", WEIR_F("partition", (const char *)part->topic));
        give_back(self, part, true);
    } else if (ours && state == WEIR_LEASE_LEAVING) {
        give_back(self, part, false);
    } else if (!ours && state == WEIR_LEASE_HELD) {
        return take_over(self, part, token, err);
    } else if (!ours && state != WEIR_LEASE_FREE && state != WEIR_LEASE_DRAINED) {
        weir_leases_let_go(self->leases, index, false);
        weir_wake(self->keep_fd);
    } else if (ours) {
        int64_t behind = atomic_load_explicit(&part->reader.behind, memory_order_relaxed);
        atomic_store_explicit(&part->part->end, behind, memory_order_relaxed);
        return nats_reader_failed(&part->reader, err);
    }
    return WEIR_OK;
}

static weir_status positioned_poll(void *instance, struct weir_err *err)
{
    struct nats_positioned *self = instance;
    pthread_mutex_lock(&self->lock);
    if (self->failure.status != WEIR_OK) {
        *err = self->failure;
    }
    pthread_mutex_unlock(&self->lock);
    if (!self->is_known && weir_leases_members(self->leases) > 0) {
        self->is_known = true; /* perhaps there is nothing for this process */
        weir_source_assign(self->ctx, NULL, 0, NULL);
    }
    int64_t now_ns = weir_clock_monotonic_ns(self->ctx->clock);
    bool is_early = self->tried_ns != 0 && now_ns - self->tried_ns < RETRY_MS * WEIR_NS_PER_MS;
    for (uint32_t i = 0; i < self->part_count && err->status == WEIR_OK; i++) {
        struct nats_part *part = &self->parts[i];
        if (part->part != NULL || !is_early) {
            weir_status status = part_poll(self, part, err);
            self->tried_ns = status == WEIR_OK ? self->tried_ns : now_ns;
        }
    }
    if (err->status != WEIR_OK && weir_status_class(err->status) != WEIR_CLASS_FATAL) {
        WEIR_LOG_WARN(self->ctx->log, "cannot take over partitions", WEIR_F_ERR(err));
        weir_err_clear(err);
    }
    return err->status;
}

static void positioned_stop(void *instance)
{
    struct nats_positioned *self = instance;
    for (uint32_t i = 0; i < self->part_count; i++) {
        struct nats_part *part = &self->parts[i];
        if (part->part != NULL) {
            bool lost =
                part->is_over || weir_leases_state(self->leases, i, NULL) == WEIR_LEASE_LOST;
            give_back(self, part, lost);
        } else {
            weir_leases_let_go(self->leases, i, false);
        }
    }
    if (!self->running) {
        return;
    }
    weir_wake(self->stop_fd);
    pthread_join(self->keeper, NULL);
    self->running = false;
    struct weir_err ignored = {0}; /* what is not released ends by itself */
    (void)!weir_leases_leave(self->leases, &ignored);
}

/* --- reading; lane -----------------------------------------------------------------------------*/

static weir_status positioned_read(
    void *instance, unsigned lane, struct weir_intake *intake, size_t max, struct weir_err *err)
{
    (void)err;
    struct nats_positioned *self = instance;
    size_t total = 0;
    for (uint32_t i = 0; i < self->part_count; i++) {
        struct nats_part *part = &self->parts[i];
        size_t got = 1;
        while (total < max && got > 0) {
            pthread_mutex_lock(&part->lock);
            bool is_ours = part->is_read && part->lane == lane;
            struct nats_chunk *chunk =
                is_ours ? nats_window_at(&part->reader.window, part->next) : NULL;
            pthread_mutex_unlock(&part->lock);
            if (chunk == NULL) {
                break;
            }
            got = nats_chunk_deliver(chunk, self->config, intake, part->part, &part->next, true,
                                     max - total);
            total += got;
            nats_chunk_unref(chunk);
        }
    }
    return total > 0 ? WEIR_OK : WEIR_AGAIN;
}

/* --- positions; control ------------------------------------------------------------------------*/

static weir_status positioned_seek(void *instance,
                                   struct weir_partition *const *items,
                                   size_t count,
                                   struct weir_err *err)
{
    (void)instance;
    (void)err;
    for (size_t i = 0; i < count; i++) {
        struct nats_part *part = items[i]->source_data;
        part->next = nats_window_find(&part->reader.window, (uint64_t)items[i]->read);
    }
    return WEIR_OK;
}

struct nats_log *nats_positioned_log(struct nats_positioned *self, int32_t index)
{
    WEIR_ASSERT(index >= 0 && (uint32_t)index < self->part_count);
    return &self->parts[index].log;
}

void nats_positioned_abort(struct nats_positioned *self)
{
    for (uint32_t i = 0; i < self->part_count; i++) {
        nats_log_forget(&self->parts[i].log);
    }
}

/* Without state nothing is cut by snapshots. */
static void
part_tidy(struct nats_positioned *self, struct nats_part *part, struct nats_client *client)
{
    struct weir_err err = {0};
    if (!self->ctx->keeps_state && part->log.commits >= CUT_COMMITS &&
        nats_log_cut(&part->log, client, part->log.last, &err) != WEIR_OK) {
        WEIR_LOG_WARN(self->ctx->log, "cannot cut the log of positions", WEIR_F_ERR(&err));
    }
}

weir_status nats_positioned_commit(struct nats_positioned *self,
                                   struct weir_partition *const *items,
                                   size_t count,
                                   bool *stands,
                                   struct weir_err *err)
{
    weir_status status = WEIR_OK;
    for (size_t i = 0; i < count; i++) {
        struct nats_part *part = items[i]->source_data;
        struct weir_err one = {0};
        weir_status done = WEIR_OK;
        if (items[i]->closing != part->log.position || part->log.frame_count > 0) {
            struct nats_client *client = nats_positioned_client(self, &one);
            done = client == NULL ? one.status
                                  : nats_log_commit(&part->log, client, items[i]->closing, &one);
            if (done == WEIR_OK) {
                int64_t number =
                    nats_window_find(&part->reader.window, (uint64_t)items[i]->closing);
                nats_window_cut(&part->reader.window, number);
                part_tidy(self, part, client);
            } else if (client != NULL) { /* what stands is found out when it is taken anew */
                part->is_over = true;
                nats_client_free(self->client);
                self->client = NULL;
            }
        }
        if (stands != NULL) {
            stands[i] = done == WEIR_OK;
        }
        if (done != WEIR_OK && status == WEIR_OK) {
            status = weir_status_class(done) == WEIR_CLASS_FATAL && done != WEIR_FENCED
                         ? done
                         : WEIR_UNAVAILABLE;
            one.status = status;
            *err = one;
        }
    }
    return status;
}

static weir_status positioned_commit(void *instance,
                                     struct weir_partition *const *items,
                                     size_t count,
                                     struct weir_err *err)
{
    return nats_positioned_commit(instance, items, count, NULL, err);
}

const struct nats_mode nats_positioned_mode = {
    .self_size = sizeof(struct nats_positioned),
    .open = positioned_open,
    .close = positioned_close,
    .ops =
        {
            .start = positioned_start,
            .poll = positioned_poll,
            .read = positioned_read,
            .seek = positioned_seek,
            .commit = positioned_commit,
            .stop = positioned_stop,
        },
};
