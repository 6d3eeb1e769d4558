/* SPDX-License-Identifier: Apache-2.0
 *
 * The Kafka transaction: outputs of the pipeline's sinks and positions of its sources become
 * visible together (KIP-98, KIP-447). The rules, each of which exists because the naive way loses
 * or doubles records:
 *
 *   - Every transaction carries the position of every owned partition, moved or not, so that the
 *     broker checks the group generation and a zombie can publish nothing.
 *   - Group metadata without a member id or with a negative generation is never sent: the broker
 *     does not check those.
 *   - A commit whose answer is missing has an unknown outcome. librdkafka has no KIP-890, so a late
 *     EndTxn could end the next transaction; the producer is therefore destroyed, the id
 *     initialised anew (which fences whatever is under way), and the committed offsets are read
 *     back. Their metadata "w1:<nonce>:<epoch>" tells whether this epoch is what stands.
 *   - The same after any transaction during which a request timed out or a connection broke, even
 *     if librdkafka's own retry succeeded. Such a transaction is not aborted, it is fenced.
 *
 * A commit is a sequence of stages, and an abort is one, none of which waits for a broker that does
 * not answer longer than a fraction of a second at a time: control calls again.
 */
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/failpoint.h"
#include "base/thread.h"
#include "kafka_sink.h"
#include "kafka_source.h"
#include "kafka_state_log.h"

/* No call takes longer than a slice: between them control serves everything else. */
enum { SLICE_MS = 100, QUESTION_MS = 500 };
enum { READ_BACK_MS = 20000, ABORT_MS = 2000, SENDING_MARGIN_MS = 2000, METADATA_MAX = 64 };

/* How far a commit, or an abort, is. */
enum stage {
    STAGE_NONE,
    STAGE_SENDING,
    STAGE_COMMITTING,
    STAGE_RENEWING,
    STAGE_ASKING,
    STAGE_ABORTING,
};

struct kafka_transaction {
    struct weir_ctx *ctx;
    struct kafka_producer *producer;
    struct kafka_source **sources;
    size_t source_count;
    struct kafka_sink **sinks;
    size_t sink_count;
    struct kafka_state_log state_log;
    char nonce[17];
    bool initialised, begun;
    bool suspect; /* a request's fate is uncertain: initialise anew before the next transaction */
    unsigned troubles_seen;
    enum stage stage;
    int64_t until_ms; /* when the stage is given up */
    size_t sent;      /* sources whose positions are sent */
    struct sending *sending;
    char unknown_nonce[17]; /* of the producer whose commit is unknown */
    char why[384];          /* … and what the commit failed with */
};

/* Requests timed out or connections broke since the transaction began. */
static bool transaction_has_troubles(const struct kafka_transaction *self)
{
    return atomic_load_explicit(&self->producer->client.troubles, memory_order_relaxed) !=
           self->troubles_seen;
}

/* Without an instance nobody else has our id: the broker gave up the transaction for its age. The
 * membership of the group stands, and a producer initialised anew is all that is needed. */
static weir_status transaction_survives(struct kafka_transaction *self, struct weir_err *err)
{
    if (err->status == WEIR_FENCED && self->ctx->instance == NULL) {
        self->suspect = true;
        err->status = WEIR_UNAVAILABLE;
    }
    return err->status;
}

/* No sink writes to this cluster: only positions and state do. */
static struct kafka_producer *transaction_own_producer(struct kafka_transaction *self,
                                                       struct weir_err *err)
{
    const struct kafka_producer_settings settings = {
        .connection = kafka_source_connection(self->sources[0]),
        .compression = "lz4",
        .partitioner = "murmur2_random",
        .linger_ms = 5,
        .batch_bytes = 1000000,
    };
    return kafka_producer_get(self->ctx, &settings, err);
}

static weir_status transaction_open(void *instance,
                                    struct weir_ctx *ctx,
                                    void *const *sources,
                                    size_t source_count,
                                    void *const *sinks,
                                    size_t sink_count,
                                    struct weir_err *err)
{
    struct kafka_transaction *self = instance;
    self->ctx = ctx;
    self->sources = weir_calloc(source_count, sizeof(struct kafka_source *));
    self->sinks = weir_calloc(sink_count, sizeof(struct kafka_sink *));
    memcpy(self->sources, sources, source_count * sizeof(struct kafka_source *));
    memcpy(self->sinks, sinks, sink_count * sizeof(struct kafka_sink *));
    self->source_count = source_count;
    self->sink_count = sink_count;
    self->producer =
        sink_count > 0 ? kafka_sink_producer(self->sinks[0]) : transaction_own_producer(self, err);
    if (self->producer == NULL) {
        return err->status;
    }
    for (size_t i = 1; i < sink_count; i++) {
        if (kafka_sink_producer(self->sinks[i]) != self->producer) {
            weir_status status =
                weir_fail(err, WEIR_CONFIG, "the Kafka sinks have different producer settings");
            weir_err_hint(
                err, "One transaction has one producer: give the sinks the same `brokers`, "
                     "`compression`, `partitioner`, `linger`, `batch_bytes` and `properties`.");
            return status;
        }
    }
    return WEIR_OK;
}

/* A new handle with the same id; initialising it fences everything the old one has under way. */
static weir_status transaction_renew(struct kafka_transaction *self, struct weir_err *err)
{
    self->initialised = self->begun = false;
    return kafka_producer_replace(self->producer, err);
}

static weir_status transaction_init(struct kafka_transaction *self, struct weir_err *err)
{
    rd_kafka_error_t *error = rd_kafka_init_transactions(self->producer->rk, SLICE_MS);
    if (error == NULL) {
        uint64_t bits;
        weir_ctx_random(self->ctx, &bits, sizeof(bits));
        snprintf(self->nonce, sizeof(self->nonce), "%016llx", (unsigned long long)bits);
        self->initialised = true;
        self->suspect = false;
        return WEIR_OK;
    }
    if (rd_kafka_error_is_retriable(error)) {
        rd_kafka_error_destroy(error);
        return WEIR_AGAIN;
    }
    bool fatal = rd_kafka_error_is_fatal(error) != 0;
    weir_status status = kafka_fail(err, "cannot begin transactions", error);
    if (fatal && weir_status_class(status) != WEIR_CLASS_FATAL) {
        err->status = status = WEIR_FENCED;
    }
    return status;
}

static weir_status transaction_begin(void *instance, struct weir_err *err)
{
    struct kafka_transaction *self = instance;
    WEIR_ASSERT(self->stage != STAGE_ABORTING);
    weir_status status = WEIR_OK;
    if (self->suspect && self->initialised) {
        status = transaction_renew(self, err);
    }
    if (status == WEIR_OK && !self->initialised) {
        status = transaction_init(self, err);
    }
    if (status != WEIR_OK) {
        return status;
    }
    for (size_t i = 0; i < self->sink_count; i++) {
        kafka_sink_refresh(self->sinks[i]);
    }
    rd_kafka_error_t *error = rd_kafka_begin_transaction(self->producer->rk);
    if (error != NULL) {
        self->suspect = true;
        (void)!kafka_fail(err, "cannot begin a transaction", error);
        status = transaction_survives(self, err);
        return status == WEIR_FENCED ? status : (err->status = WEIR_UNAVAILABLE);
    }
    self->begun = true;
    self->stage = STAGE_NONE;
    self->troubles_seen =
        atomic_load_explicit(&self->producer->client.troubles, memory_order_relaxed);
    return WEIR_OK;
}

/* --- positions ---------------------------------------------------------------------------------*/

static rd_kafka_topic_partition_list_t *commit_list(const struct kafka_transaction *self,
                                                    const struct weir_commit *commit,
                                                    const struct weir_commit_source *source)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)source->count);
    for (size_t i = 0; i < source->count; i++) {
        WEIR_ASSERT(source->items[i]->closing >= 0); /* a logical offset would be dropped */
        rd_kafka_topic_partition_t *item = rd_kafka_topic_partition_list_add(
            list, source->items[i]->topic, source->items[i]->index);
        item->offset = source->items[i]->closing;
        char metadata[METADATA_MAX];
        int size = snprintf(metadata, sizeof(metadata), "w1:%s:%llu", self->nonce,
                            (unsigned long long)commit->epoch);
        item->metadata = weir_strndup(metadata, (size_t)size);
        item->metadata_size = (size_t)size;
    }
    return list;
}

/* rd_kafka_send_offsets_to_transaction waits for ever, whatever its time-out, when the coordinator
 * of the group that librdkafka remembers is gone (2.15.1). So another thread makes the call, and is
 * left behind with the producer when it does not return: no lock is shared with it but this. */
struct sending {
    rd_kafka_t *rk;
    rd_kafka_topic_partition_list_t *list;
    rd_kafka_consumer_group_metadata_t *group;
    int timeout_ms;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    rd_kafka_error_t *error;
    bool done, left;
};

static void sending_free(struct sending *self)
{
    rd_kafka_topic_partition_list_destroy(self->list);
    rd_kafka_consumer_group_metadata_destroy(self->group);
    pthread_cond_destroy(&self->changed);
    pthread_mutex_destroy(&self->lock);
    weir_free(self);
}

static void *sending_main(void *argument)
{
    struct sending *self = argument;
    int64_t until_ms = kafka_now_ms() + self->timeout_ms;
    rd_kafka_error_t *error;
    for (;;) {
        error = rd_kafka_send_offsets_to_transaction(self->rk, self->list, self->group,
                                                     self->timeout_ms);
        if (error == NULL || !rd_kafka_error_is_retriable(error) || kafka_now_ms() > until_ms) {
            break;
        }
        rd_kafka_error_destroy(error);
    }
    pthread_mutex_lock(&self->lock);
    self->done = true;
    self->error = error;
    bool left = self->left;
    pthread_cond_signal(&self->changed);
    pthread_mutex_unlock(&self->lock);
    if (left) { /* nobody else knows of the producer any more */
        if (error != NULL) {
            rd_kafka_error_destroy(error);
        }
        rd_kafka_destroy(self->rk);
        sending_free(self);
    }
    return NULL;
}

static struct sending *sending_start(rd_kafka_t *rk,
                                     rd_kafka_topic_partition_list_t *list,
                                     rd_kafka_consumer_group_metadata_t *group,
                                     int timeout_ms)
{
    struct sending *self = weir_calloc(1, sizeof(*self));
    *self = (struct sending){.rk = rk, .list = list, .group = group, .timeout_ms = timeout_ms};
    pthread_mutex_init(&self->lock, NULL);
    weir_cond_init(&self->changed);
    pthread_t thread;
    int code = pthread_create(&thread, NULL, sending_main, self);
    WEIR_ASSERT(code == 0);
    pthread_detach(thread);
    return self;
}

/* False: it has not returned yet. True: it has, and is freed. */
static bool sending_wait(struct sending *self, rd_kafka_error_t **ret_error, int64_t timeout_ms)
{
    const struct timespec until = weir_deadline(timeout_ms);
    pthread_mutex_lock(&self->lock);
    while (!self->done && pthread_cond_timedwait(&self->changed, &self->lock, &until) == 0) {
    }
    bool done = self->done;
    *ret_error = self->error;
    pthread_mutex_unlock(&self->lock);
    if (done) {
        sending_free(self);
    }
    return done;
}

/* True: it is left behind, with the producer. False: it has returned meanwhile, and is freed. */
static bool sending_leave(struct sending *self)
{
    pthread_mutex_lock(&self->lock);
    bool done = self->done;
    self->left = !done;
    pthread_mutex_unlock(&self->lock);
    if (done) {
        if (self->error != NULL) {
            rd_kafka_error_destroy(self->error);
        }
        sending_free(self);
    }
    return !done;
}

/* Nothing is committed without EndTxn; initialising anew aborts what was begun. */
static weir_status transaction_stop_sending(struct kafka_transaction *self, struct weir_err *err)
{
    struct sending *sending = self->sending;
    self->sending = NULL;
    self->suspect = true;
    if (sending == NULL || !sending_leave(sending)) {
        return WEIR_OK;
    }
    self->initialised = self->begun = false;
    return kafka_producer_abandon(self->producer, err);
}

static weir_status begin_sending(struct kafka_transaction *self,
                                 const struct weir_commit *commit,
                                 const struct weir_commit_source *source,
                                 struct weir_err *err)
{
    rd_kafka_t *consumer = kafka_source_handle(source->self);
    rd_kafka_consumer_group_metadata_t *group = rd_kafka_consumer_group_metadata(consumer);
    const char *member = group == NULL ? NULL : rd_kafka_consumer_group_metadata_member_id(group);
    if (member == NULL || member[0] == '\0' ||
        rd_kafka_consumer_group_metadata_generation_id(group) < 0) {
        if (group != NULL) {
            rd_kafka_consumer_group_metadata_destroy(group);
        }
        return weir_fail(err, WEIR_ABORTED, "this process is not a member of the group now");
    }
    self->sending = sending_start(self->producer->rk, commit_list(self, commit, source), group,
                                  (int)commit->timeout_ms);
    self->until_ms = kafka_now_ms() + commit->timeout_ms + SENDING_MARGIN_MS;
    return WEIR_OK;
}

static weir_status send_positions(struct kafka_transaction *self,
                                  const struct weir_commit *commit,
                                  const struct weir_commit_source *source,
                                  struct weir_err *err)
{
    if (self->sending == NULL && begin_sending(self, commit, source, err) != WEIR_OK) {
        return err->status;
    }
    rd_kafka_error_t *error = NULL;
    if (!sending_wait(self->sending, &error, SLICE_MS)) {
        if (kafka_now_ms() < self->until_ms && !weir_ctx_must_hurry(self->ctx)) {
            return WEIR_AGAIN;
        }
        weir_status lost = transaction_stop_sending(self, err);
        return lost != WEIR_OK
                   ? lost
                   : weir_fail(err, WEIR_UNAVAILABLE, "the group's coordinator does not answer");
    }
    self->sending = NULL;
    if (error == NULL) {
        return WEIR_OK;
    }
    if (rd_kafka_error_txn_requires_abort(error) == 0) {
        self->suspect = true; /* timed out: whether AddOffsets arrived is unknown */
    }
    (void)!kafka_fail(err, "cannot send positions", error);
    return transaction_survives(self, err);
}

static weir_status
commit_send(struct kafka_transaction *self, const struct weir_commit *commit, struct weir_err *err)
{
    while (self->sent < commit->source_count) {
        const struct weir_commit_source *source = &commit->sources[self->sent];
        weir_status status =
            source->count == 0 ? WEIR_OK : send_positions(self, commit, source, err);
        if (status != WEIR_OK) {
            return status;
        }
        self->sent++;
    }
    weir_failpoint(WEIR_FAILPOINT_AFTER_SEND_OFFSETS);
    self->stage = STAGE_COMMITTING;
    self->until_ms = kafka_now_ms() + commit->timeout_ms;
    return WEIR_OK;
}

/* --- commit ------------------------------------------------------------------------------------*/

/* What the group says about the partitions of one source; `closing` is set to it. */
static weir_status read_back(struct kafka_transaction *self,
                             const struct weir_commit *commit,
                             const struct weir_commit_source *source,
                             bool *all_new,
                             bool *all_old,
                             struct weir_err *err)
{
    rd_kafka_t *consumer = kafka_source_handle(source->self);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)source->count);
    for (size_t i = 0; i < source->count; i++) {
        rd_kafka_topic_partition_list_add(list, source->items[i]->topic, source->items[i]->index);
    }
    rd_kafka_resp_err_t code = kafka_committed(consumer, list, kafka_now_ms() + QUESTION_MS);
    weir_status status = WEIR_OK;
    if (kafka_is_passing(code) && kafka_now_ms() < self->until_ms) {
        status = WEIR_AGAIN;
    } else if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        /* Leaving and joining again reads them before anything is processed. */
        status = weir_fail(err, WEIR_FENCED,
                           "cannot read back the positions after an unknown outcome: %s",
                           rd_kafka_err2str(code));
    }
    char wanted[METADATA_MAX];
    int size = snprintf(wanted, sizeof(wanted), "w1:%s:%llu", self->unknown_nonce,
                        (unsigned long long)commit->epoch);
    for (int i = 0; i < list->cnt && status == WEIR_OK; i++) {
        const rd_kafka_topic_partition_t *item = &list->elems[i];
        bool is_new = item->metadata_size == (size_t)size &&
                      memcmp(item->metadata, wanted, (size_t)size) == 0;
        *all_new = *all_new && is_new;
        *all_old = *all_old && !is_new &&
                   (item->offset == source->items[i]->committed || item->offset < 0);
        if (item->offset >= 0) {
            source->items[i]->closing = item->offset;
        } else {
            source->items[i]->closing = source->items[i]->committed;
        }
    }
    rd_kafka_topic_partition_list_destroy(list);
    return status;
}

/* What the next start finds out anyway, and has the time for. */
static weir_status
commit_leave(struct kafka_transaction *self, const struct weir_commit *commit, struct weir_err *err)
{
    if (!commit->last && !weir_ctx_must_hurry(self->ctx)) {
        return WEIR_OK;
    }
    self->begun = false;
    if (err->status == WEIR_OK) {
        (void)!weir_fail(err, WEIR_FATAL, "the outcome of a commit is unknown: %s", self->why);
    }
    weir_err_hint(err, "The next start finds out which commit stands and goes on from there.");
    return err->status = WEIR_FATAL;
}

/* The answer to EndTxn is missing: fences what is under way, then asks the group. */
static weir_status commit_is_unknown(struct kafka_transaction *self,
                                     const struct weir_commit *commit,
                                     struct weir_err *err)
{
    _Static_assert(sizeof(self->why) == sizeof(err->message), "same text");
    memcpy(self->why, err->message, sizeof(self->why));
    if (commit_leave(self, commit, err) != WEIR_OK) {
        return err->status;
    }
    WEIR_LOG_WARN(self->ctx->log, "outcome of a commit unknown, asking the group",
                  WEIR_F("epoch", commit->epoch), WEIR_F("detail", (const char *)self->why));
    weir_err_clear(err);
    memcpy(self->unknown_nonce, self->nonce, sizeof(self->nonce));
    self->stage = STAGE_RENEWING;
    self->until_ms = kafka_now_ms() + 4 * self->ctx->transaction_timeout_ms;
    return transaction_renew(self, err);
}

/* librdkafka does not tell answers of its thread apart: one to a call that was given up, because
 * the thread was busy for a slice, ends a wait of the next call too early, which then finds the
 * transaction still committing. The call that failed so has forgotten that it committed, and what
 * EndTxn answers meanwhile ends the process by an assertion; so it is called again at once. */
static rd_kafka_error_t *commit_slice(const struct kafka_transaction *self)
{
    rd_kafka_error_t *error = rd_kafka_commit_transaction(self->producer->rk, SLICE_MS);
    if (error != NULL && rd_kafka_error_code(error) == RD_KAFKA_RESP_ERR__STATE &&
        !rd_kafka_error_is_fatal(error) && !rd_kafka_error_txn_requires_abort(error)) {
        rd_kafka_error_destroy(error);
        error = rd_kafka_commit_transaction(self->producer->rk, SLICE_MS);
    }
    return error;
}

static weir_status
commit_end(struct kafka_transaction *self, const struct weir_commit *commit, struct weir_err *err)
{
    rd_kafka_error_t *error = commit_slice(self);
    if (error == NULL) {
        self->begun = false;
        self->stage = STAGE_NONE;
        self->suspect = self->suspect || transaction_has_troubles(self);
        return WEIR_OK;
    }
    if (rd_kafka_error_is_retriable(error) && kafka_now_ms() < self->until_ms &&
        !weir_ctx_must_hurry(self->ctx)) {
        rd_kafka_error_destroy(error);
        return WEIR_AGAIN;
    }
    /* A message that could not be delivered fails the commit before EndTxn is sent: certain. */
    struct weir_err delivery = {0};
    if (rd_kafka_error_txn_requires_abort(error) &&
        kafka_producer_poll(self->producer, &delivery) != WEIR_OK) {
        rd_kafka_error_destroy(error);
        *err = delivery;
        return err->status;
    }
    bool fenced = rd_kafka_error_is_fatal(error) != 0 &&
                  kafka_status(rd_kafka_error_code(error)) == WEIR_FENCED;
    (void)!kafka_fail(err, "commit failed", error);
    if (fenced && self->ctx->instance != NULL) {
        return err->status = WEIR_FENCED;
    }
    return commit_is_unknown(self, commit, err);
}

static weir_status
commit_renew(struct kafka_transaction *self, const struct weir_commit *commit, struct weir_err *err)
{
    weir_status status = transaction_init(self, err);
    if (status == WEIR_AGAIN && kafka_now_ms() >= self->until_ms) {
        return weir_fail(err, WEIR_FENCED, "no transaction coordinator answers");
    }
    if (status == WEIR_OK) {
        self->stage = STAGE_ASKING;
        self->until_ms = kafka_now_ms() + READ_BACK_MS;
        return WEIR_OK;
    }
    if (status != WEIR_AGAIN && weir_status_class(status) != WEIR_CLASS_FATAL) {
        /* What stands is not known: nothing may be written again. */
        return err->status = WEIR_FENCED;
    }
    return status == WEIR_AGAIN && commit_leave(self, commit, err) != WEIR_OK ? err->status
                                                                              : status;
}

static weir_status
commit_ask(struct kafka_transaction *self, const struct weir_commit *commit, struct weir_err *err)
{
    bool all_new = true, all_old = true;
    weir_status status = WEIR_OK;
    for (size_t i = 0; i < commit->source_count && status == WEIR_OK; i++) {
        status = read_back(self, commit, &commit->sources[i], &all_new, &all_old, err);
    }
    if (status == WEIR_AGAIN && commit_leave(self, commit, err) != WEIR_OK) {
        return err->status;
    }
    if (status != WEIR_OK) {
        return status;
    }
    self->stage = STAGE_NONE;
    if (all_new) {
        return WEIR_OK;
    }
    if (all_old) {
        return weir_fail(err, WEIR_ABORTED, "the commit did not happen: %s", self->why);
    }
    for (size_t i = 0; i < commit->source_count; i++) {
        for (size_t k = 0; k < commit->sources[i].count; k++) {
            commit->sources[i].items[k]->committed = commit->sources[i].items[k]->closing;
        }
    }
    return weir_fail(err, WEIR_UNKNOWN, "another commit stands: %s", self->why);
}

static weir_status
transaction_commit(void *instance, const struct weir_commit *commit, struct weir_err *err)
{
    static weir_status (*const steps[])(struct kafka_transaction * self,
                                        const struct weir_commit *commit, struct weir_err *err) = {
        [STAGE_SENDING] = commit_send,
        [STAGE_COMMITTING] = commit_end,
        [STAGE_RENEWING] = commit_renew,
        [STAGE_ASKING] = commit_ask,
    };
    struct kafka_transaction *self = instance;
    if (self->stage == STAGE_NONE) {
        WEIR_ASSERT(self->begun);
        weir_failpoint(WEIR_FAILPOINT_BEFORE_SEND_OFFSETS);
        self->stage = STAGE_SENDING;
        self->sent = 0;
    }
    weir_status status = WEIR_OK;
    while (status == WEIR_OK && self->stage != STAGE_NONE) {
        status = steps[self->stage](self, commit, err);
    }
    if (status != WEIR_AGAIN) {
        self->stage = STAGE_NONE;
    }
    return status;
}

/* --- giving up -------------------------------------------------------------------------------*/

/* A producer that is going to be initialised anew need not abort: that aborts what is open, and the
 * broker that would have to answer may be gone. */
static weir_status abort_go_on(struct kafka_transaction *self, struct weir_err *err)
{
    rd_kafka_error_t *error = rd_kafka_abort_transaction(self->producer->rk, SLICE_MS);
    self->suspect = transaction_has_troubles(self);
    if (error != NULL && !self->suspect && rd_kafka_error_is_retriable(error) &&
        kafka_now_ms() < self->until_ms && !weir_ctx_must_hurry(self->ctx)) {
        rd_kafka_error_destroy(error);
        return WEIR_AGAIN;
    }
    self->stage = STAGE_NONE;
    self->begun = false;
    kafka_producer_forget_failure(self->producer); /* its messages are purged */
    if (error == NULL) {
        return WEIR_OK;
    }
    WEIR_LOG_WARN(self->ctx->log, "abort failed, initialising the producer anew",
                  WEIR_F("detail", (const char *)rd_kafka_error_string(error)));
    if (kafka_status(rd_kafka_error_code(error)) == WEIR_FENCED && self->ctx->instance != NULL) {
        return kafka_fail(err, "fenced", error);
    }
    rd_kafka_error_destroy(error);
    self->suspect = true; /* initialising anew aborts what is open */
    return WEIR_OK;
}

static weir_status transaction_abort(void *instance, struct weir_err *err)
{
    struct kafka_transaction *self = instance;
    if (self->stage == STAGE_ABORTING) {
        return abort_go_on(self, err);
    }
    /* Closed in the middle of a commit; or what timed out may still be answered, which librdkafka
     * does not expect of a transaction that has ended (2.15.1: an assertion). */
    self->suspect = self->suspect || self->stage == STAGE_COMMITTING ||
                    weir_status_class(self->producer->failure.status) == WEIR_CLASS_UNAVAILABLE;
    self->stage = STAGE_NONE;
    weir_status status = self->sending == NULL ? WEIR_OK : transaction_stop_sending(self, err);
    kafka_producer_forget_failure(self->producer);
    if (self->begun && status == WEIR_OK && !self->suspect) {
        self->stage = STAGE_ABORTING;
        self->until_ms = kafka_now_ms() + ABORT_MS;
        return WEIR_AGAIN;
    }
    self->begun = false;
    return status;
}

static void transaction_close(void *instance)
{
    struct kafka_transaction *self = instance;
    struct weir_err ignored = {0}; /* the time-out or the next start aborts it */
    while (self->producer != NULL && transaction_abort(self, &ignored) == WEIR_AGAIN) {
    }
    kafka_state_log_close(&self->state_log);
    weir_free(self->sources);
    weir_free(self->sinks);
}

/* --- the state log -----------------------------------------------------------------------------*/

static weir_status state_open(
    void *instance, const char *name, int32_t shards, size_t *ret_entry_max, struct weir_err *err)
{
    struct kafka_transaction *self = instance;
    return kafka_state_log_open(&self->state_log, self->ctx,
                                kafka_source_connection(self->sources[0]), self->producer, name,
                                shards, ret_entry_max, err);
}

static weir_status
state_restore(void *instance,
              int32_t shard,
              weir_status (*take)(void *context, struct weir_slice entry, struct weir_err *err),
              void *context,
              struct weir_err *err)
{
    struct kafka_transaction *self = instance;
    return kafka_state_log_restore(&self->state_log, shard, take, context, err);
}

static weir_status
state_append(void *instance, int32_t shard, struct weir_slice entry, struct weir_err *err)
{
    struct kafka_transaction *self = instance;
    return kafka_state_log_append(&self->state_log, shard, entry, err);
}

static weir_status
state_place(void *instance, int32_t shard, int64_t *ret_place, struct weir_err *err)
{
    struct kafka_transaction *self = instance;
    return kafka_state_log_place(&self->state_log, shard, ret_place, err);
}

static void state_cut(void *instance, int32_t shard, int64_t place)
{
    struct kafka_transaction *self = instance;
    kafka_state_log_cut(&self->state_log, shard, place);
}

static const struct weir_state_log_ops kafka_state_log_ops = {
    .open = state_open,
    .restore = state_restore,
    .append = state_append,
    .place = state_place,
    .cut = state_cut,
};

const struct weir_domain_ops kafka_transaction_ops = {
    .self_size = sizeof(struct kafka_transaction),
    .open = transaction_open,
    .close = transaction_close,
    .begin = transaction_begin,
    .commit = transaction_commit,
    .abort = transaction_abort,
    .state_log = &kafka_state_log_ops,
};
