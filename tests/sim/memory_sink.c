/* SPDX-License-Identifier: Apache-2.0
 *
 * Sink and transaction, modelled on src/components/kafka: every transaction carries every owned
 * partition; a commit whose answer is missing is followed by a new producer epoch and a look at the
 * group. Where the real client has room to move, this one takes the harsher way: a fenced producer
 * swallows what is written and says so only later.
 */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "memory_priv.h"

const struct weir_field sim_memory_fields[] = {
    WEIR_F_STR(struct memory_config, topic, .flags = WEIR_REQUIRED, .help = "The topic."),
    WEIR_FIELDS_END,
};

/* --- the producer ---------------------------------------------------------------------------*/

static void *producer_new(void *argument, struct weir_err *err)
{
    (void)err;
    struct weir_ctx *ctx = argument;
    struct memory_producer *self = weir_calloc(1, sizeof(*self));
    self->process = sim_current;
    self->ctx = ctx;
    self->room = sim_current->room;
    if (ctx->instance != NULL) {
        snprintf(self->id, sizeof(self->id), "%s-%s", ctx->pipeline, ctx->instance);
    } else {
        uint64_t bits;
        weir_ctx_random(ctx, &bits, sizeof(bits));
        snprintf(self->id, sizeof(self->id), "%s-%016llx", ctx->pipeline, (unsigned long long)bits);
    }
    sim_current->producer = self;
    return self;
}

static void producer_pop(struct memory_producer *self, bool deliver)
{
    struct memory_sent *sent = &self->sent[0];
    if (deliver) {
        sim_broker_append(self->process->broker, sent->partition, sent->key, sent->value,
                          self->process->number);
    }
    weir_free(sent->key);
    weir_free(sent->value);
    self->sent_count--;
    memmove(self->sent, self->sent + 1, self->sent_count * sizeof(*self->sent));
}

static bool is_poisoned(const char *value)
{
    return strstr(value, "poison") != NULL;
}

/* Some of what was under way still arrives. */
void sim_producer_die(struct memory_producer *self, uint64_t number)
{
    size_t arriving = self->sent_count == 0 ? 0 : number % (self->sent_count + 1);
    while (self->sent_count > 0) {
        bool deliver = arriving > 0 && !is_poisoned(self->sent[0].value);
        arriving -= arriving > 0;
        producer_pop(self, deliver);
    }
}

static void producer_free(void *object)
{
    struct memory_producer *self = object;
    if (self->process->producer == self) {
        self->process->producer = NULL;
    }
    while (self->sent_count > 0) {
        producer_pop(self, false);
    }
    weir_free(self->sent);
    weir_free(self);
}

/* Delivers up to `most`; stops at a poisoned one. */
static void producer_deliver(struct memory_producer *self, size_t most)
{
    for (; most > 0 && self->sent_count > 0 && !self->process->dead; most--) {
        bool poisoned = is_poisoned(self->sent[0].value);
        producer_pop(self, !poisoned);
        self->poisoned = self->poisoned || poisoned;
    }
}

static weir_status producer_failure(struct memory_producer *self, struct weir_err *err)
{
    if (self->fenced) {
        return weir_fail(err, WEIR_FENCED, "a newer producer has this id");
    }
    bool shows =
        !self->ctx->transactional || (!self->process->poison_in_commit && ++self->poison_polls > 1);
    if (self->poisoned && shows) {
        return weir_fail(err, WEIR_REJECTED, "the target refuses a record");
    }
    return WEIR_OK;
}

/* --- the sink -------------------------------------------------------------------------------*/

static void memory_close(void *instance)
{
    (void)instance;
}
static weir_status
memory_sink_open(void *instance, const void *config, struct weir_ctx *ctx, struct weir_err *err)
{
    struct memory_sink *self = instance;
    const struct memory_config *options = config;
    struct sim_call call;
    if (!sim_call_enter(&call, sim_current, SIM_CALL_OPEN)) {
        return sim_call_fail(&call, err);
    }
    self->producer = weir_ctx_share(ctx, "memory", producer_new, ctx, producer_free, err);
    self->topic = sim_memory_topic(sim_current->broker, options);
    self->is_exchange = options->shards > 0;
    return sim_call_leave(&call, WEIR_OK, err);
}

static weir_status memory_sink_prepare(void *instance,
                                       struct weir_run *run,
                                       struct weir_record *record,
                                       struct weir_err *err)
{
    struct memory_sink *self = instance;
    struct sim_call call;
    if (!sim_call_enter(&call, self->producer->process, SIM_CALL_PREPARE)) {
        return sim_call_fail(&call, err);
    }
    struct weir_slice bytes;
    weir_status status = weir_record_bytes(weir_run_batch(run), record, &bytes, err);
    if (status == WEIR_OK && memmem(bytes.data, bytes.size, "unfit", 5) != NULL) {
        status = weir_fail(err, WEIR_TOO_LARGE, "the record does not fit");
    }
    if (status == WEIR_OK && self->is_exchange && record->raw.data != record->target.data) {
        struct weir_slice frame = record->target;
        char *joined =
            weir_arena_alloc(weir_batch_arena(weir_run_batch(run)), frame.size + bytes.size);
        WEIR_ASSERT(joined != NULL);
        memcpy(joined, frame.data, frame.size);
        memcpy(joined + frame.size, bytes.data, bytes.size);
        record->raw = (struct weir_slice){joined, frame.size + bytes.size};
    }
    return sim_call_leave(&call, status, err);
}

static void sink_send(struct memory_sink *self,
                      struct sim_partition *partition,
                      const char *key,
                      const char *value)
{
    struct memory_producer *producer = self->producer;
    struct sim_process *process = producer->process;
    sim_trace(process, value, strlen(value));
    if (!producer->ctx->transactional) {
        if (producer->sent_count == producer->sent_capacity) {
            producer->sent_capacity = producer->sent_capacity * 2 + 16;
            producer->sent =
                weir_realloc(producer->sent, producer->sent_capacity, sizeof(*producer->sent));
        }
        producer->sent[producer->sent_count++] = (struct memory_sent){
            partition, key == NULL ? NULL : weir_strdup(key), weir_strdup(value), false};
        return;
    }
    if (!producer->begun) {
        process->violation = "a record is written outside a transaction";
        return;
    }
    producer->poisoned = producer->poisoned || is_poisoned(value);
    if (sim_txn_write(process->broker, producer->handle, producer->epoch, partition, key, value,
                      process->number) != SIM_OK) {
        producer->fenced = true;
    }
}

static weir_status memory_sink_write(void *instance,
                                     unsigned lane,
                                     struct weir_batch *batch,
                                     struct weir_record *const *records,
                                     size_t count,
                                     size_t *cursor,
                                     struct weir_err *err)
{
    (void)lane;
    struct memory_sink *self = instance;
    struct sim_call call;
    if (!sim_call_enter(&call, self->producer->process, SIM_CALL_WRITE)) {
        return sim_call_fail(&call, err);
    }
    size_t end = call.half ? *cursor + (count - *cursor) / 2 : count;
    weir_status status = WEIR_OK;
    while (*cursor < end && status == WEIR_OK) {
        struct weir_record *record = records[*cursor];
        struct weir_slice bytes;
        status = weir_record_bytes(batch, record, &bytes, err);
        if (status == WEIR_OK && memmem(bytes.data, bytes.size, "refused", 7) != NULL) {
            status = weir_fail(err, WEIR_REJECTED, "the target refuses this record");
        } else if (status == WEIR_OK && self->producer->room == 0) {
            status = WEIR_AGAIN;
        }
        if (status == WEIR_OK) {
            self->producer->room--;
            char *value =
                self->is_exchange ? sim_hex(record->raw) : weir_strndup(bytes.data, bytes.size);
            int32_t to = self->is_exchange ? weir_record_shard(record) : 0;
            char *key =
                record->key.data == NULL ? NULL : weir_strndup(record->key.data, record->key.size);
            sink_send(self, &self->topic->partitions[to], key, value);
            weir_free(key);
            weir_free(value);
            (*cursor)++;
        }
    }
    return sim_call_leave(&call, status, err);
}

static weir_status memory_sink_poll(void *instance, struct weir_err *err)
{
    struct memory_sink *self = instance;
    struct memory_producer *producer = self->producer;
    struct sim_call call;
    sim_enquire_poll(producer->process);
    if (!sim_call_enter(&call, producer->process, SIM_CALL_SINK_POLL)) {
        return sim_call_fail(&call, err);
    }
    producer->room = producer->process->room;
    producer_deliver(producer, call.half ? 1 : 3);
    return sim_call_leave(&call, producer_failure(producer, err), err);
}

static void memory_sink_seal(void *instance)
{
    struct memory_sink *self = instance;
    struct sim_call call;
    if (!sim_call_enter(&call, self->producer->process, SIM_CALL_SEAL)) {
        return;
    }
    for (size_t i = 0; i < self->producer->sent_count; i++) {
        self->producer->sent[i].sealed = true;
    }
    struct weir_err ignored = {0};
    (void)!sim_call_leave(&call, WEIR_OK, &ignored);
}

static weir_status memory_sink_confirm(void *instance, struct weir_err *err)
{
    struct memory_sink *self = instance;
    struct memory_producer *producer = self->producer;
    struct sim_call call;
    if (!sim_call_enter(&call, producer->process, SIM_CALL_CONFIRM)) {
        return sim_call_fail(&call, err);
    }
    weir_status status = producer_failure(producer, err);
    if (status == WEIR_OK && producer->sent_count > 0 && producer->sent[0].sealed) {
        status = WEIR_AGAIN;
    }
    return sim_call_leave(&call, status, err);
}

static weir_status memory_sink_abort(void *instance, struct weir_err *err)
{
    struct memory_sink *self = instance;
    struct memory_producer *producer = self->producer;
    struct sim_call call;
    if (!sim_call_enter(&call, producer->process, SIM_CALL_SINK_ABORT)) {
        return sim_call_fail(&call, err);
    }
    if (!producer->ctx->transactional) {
        producer_deliver(producer, SIZE_MAX); /* what is under way cannot be taken back */
    }
    producer->poisoned = false;
    producer->poison_polls = 0;
    return sim_call_leave(&call, WEIR_OK, err);
}

weir_status
sim_memory_name(const void *config, bool connect, struct weir_strbuf *out, struct weir_err *err)
{
    (void)config;
    (void)connect;
    (void)err;
    weir_strbuf_text(out, "memory");
    return WEIR_OK;
}

/* --- the transaction ------------------------------------------------------------------------*/

struct memory_domain {
    struct memory_producer *producer;
    struct sim_topic *state;
};

static weir_status memory_domain_open(void *instance,
                                      struct weir_ctx *ctx,
                                      void *const *sources,
                                      size_t source_count,
                                      void *const *sinks,
                                      size_t sink_count,
                                      struct weir_err *err)
{
    (void)ctx;
    (void)sources;
    (void)source_count;
    (void)err;
    struct memory_domain *self = instance;
    WEIR_ASSERT(sink_count > 0);
    self->producer = ((struct memory_sink *)sinks[0])->producer;
    return WEIR_OK;
}

static weir_status answer_status(enum sim_answer answer, struct weir_err *err)
{
    switch (answer) {
    case SIM_OK:
        return WEIR_OK;
    case SIM_STALE:
    case SIM_EXPELLED:
    case SIM_UNSTABLE:
        return weir_fail(err, WEIR_ABORTED, "not of the current generation");
    case SIM_REPLACED:
    case SIM_FENCED:
        return weir_fail(err, WEIR_FENCED, "a newer producer has this id");
    }
    WEIR_UNREACHABLE();
}

static weir_status memory_domain_begin(void *instance, struct weir_err *err)
{
    struct memory_domain *self = instance;
    struct memory_producer *producer = self->producer;
    struct sim_broker *broker = producer->process->broker;
    struct sim_call call;
    if (!sim_call_enter(&call, producer->process, SIM_CALL_BEGIN)) {
        return sim_call_fail(&call, err);
    }
    if (producer->begun) {
        producer->process->violation = "a transaction is begun inside another";
    }
    if (!producer->initialised || producer->suspect) {
        producer->handle =
            sim_producer_init(broker, producer->id, producer->ctx->transaction_timeout_ms);
        producer->epoch = sim_producer_epoch(broker, producer->handle);
        producer->initialised = true;
        producer->suspect = producer->fenced = false;
    }
    weir_status status = WEIR_OK;
    if (!call.half) {
        status = answer_status(sim_txn_begin(broker, producer->handle, producer->epoch), err);
        producer->begun = status == WEIR_OK;
    }
    producer->poisoned = false;
    producer->poison_polls = 0;
    return sim_call_leave(&call, status, err);
}

static weir_status domain_send_offsets(struct memory_producer *producer,
                                       const struct weir_commit_source *source,
                                       struct weir_err *err)
{
    struct memory_source *from = source->self;
    struct sim_call call;
    if (!sim_call_enter(&call, producer->process, SIM_CALL_SEND_OFFSETS)) {
        return sim_call_fail(&call, err);
    }
    enum sim_answer answer = SIM_OK;
    size_t count = call.half ? source->count / 2 : source->count;
    for (size_t i = 0; i < count && answer == SIM_OK; i++) {
        const struct weir_partition *item = source->items[i];
        WEIR_ASSERT(item->closing >= 0);
        sim_trace(producer->process, &item->closing, sizeof(item->closing));
        answer = sim_txn_offset(producer->process->broker, producer->handle, producer->epoch,
                                from->topic, from->member, (size_t)item->index, item->closing);
    }
    return sim_call_leave(&call, answer_status(answer, err), err);
}

/* What stands is what the group says; a new epoch ends whatever is still under way. */
static weir_status domain_unknown(struct memory_producer *producer,
                                  const struct weir_commit *commit,
                                  weir_status status)
{
    struct sim_broker *broker = producer->process->broker;
    producer->handle =
        sim_producer_init(broker, producer->id, producer->ctx->transaction_timeout_ms);
    producer->epoch = sim_producer_epoch(broker, producer->handle);
    producer->begun = false;
    for (size_t i = 0; i < commit->source_count; i++) {
        const struct memory_source *from = commit->sources[i].self;
        for (size_t k = 0; k < commit->sources[i].count; k++) {
            struct weir_partition *item = commit->sources[i].items[k];
            int64_t offset;
            (void)sim_group_fetch(&from->topic->partitions[item->index], &offset);
            if (offset >= 0) {
                item->committed = offset;
            }
        }
    }
    return status;
}

static weir_status
memory_domain_commit(void *instance, const struct weir_commit *commit, struct weir_err *err)
{
    struct memory_domain *self = instance;
    struct memory_producer *producer = self->producer;
    if (!producer->begun && !producer->process->dead) {
        producer->process->violation = "a commit outside a transaction";
    }
    weir_status status = WEIR_OK;
    for (size_t i = 0; i < commit->source_count && status == WEIR_OK; i++) {
        if (commit->sources[i].count > 0) {
            status = domain_send_offsets(producer, &commit->sources[i], err);
        }
    }
    if (status == WEIR_OK && producer->poisoned) {
        status = weir_fail(err, WEIR_REJECTED, "the target refuses a record");
    }
    struct sim_call call;
    if (status != WEIR_OK) {
        return status;
    }
    bool sent = sim_call_enter(&call, producer->process, SIM_CALL_END_TXN);
    if (sent && !call.half) {
        status = answer_status(
            sim_txn_end(producer->process->broker, producer->handle, producer->epoch, true), err);
        producer->begun = producer->begun && status != WEIR_OK;
    }
    status = sent ? sim_call_leave(&call, status, err) : sim_call_fail(&call, err);
    if (status == WEIR_UNKNOWN) {
        return domain_unknown(producer, commit, status);
    }
    return status;
}

static weir_status memory_domain_abort(void *instance, struct weir_err *err)
{
    struct memory_domain *self = instance;
    struct memory_producer *producer = self->producer;
    if (!producer->begun) {
        return WEIR_OK;
    }
    struct sim_call call;
    weir_status status = WEIR_OK;
    bool sent = sim_call_enter(&call, producer->process, SIM_CALL_TXN_ABORT);
    if (!sent && call.status == WEIR_AGAIN) {
        return WEIR_AGAIN;
    }
    producer->begun = false;
    if (sent) {
        status = answer_status(
            sim_txn_end(producer->process->broker, producer->handle, producer->epoch, false), err);
        status = sim_call_leave(&call, status, err);
    } else {
        status = sim_call_fail(&call, err);
    }
    if (status == WEIR_UNAVAILABLE) { /* initialising anew ends what is open */
        producer->suspect = true;
        weir_err_clear(err);
        return WEIR_OK;
    }
    return status;
}

/* --- the state log --------------------------------------------------------------------------*/

/* Entries are bytes, the broker's values text: in hexadecimal. */
static weir_status memory_state_open(
    void *instance, const char *name, int32_t shards, size_t *ret_entry_max, struct weir_err *err)
{
    struct memory_domain *self = instance;
    struct sim_process *process = self->producer->process;
    struct sim_call call;
    if (!sim_call_enter(&call, process, SIM_CALL_STATE_OPEN)) {
        return sim_call_fail(&call, err);
    }
    self->state = sim_broker_topic(process->broker, name);
    if (self->state == NULL) {
        self->state = sim_broker_add_topic(process->broker, name, (size_t)shards);
    }
    WEIR_ASSERT(self->state->partition_count == (size_t)shards);
    *ret_entry_max = 200; /* so that some deltas are split */
    return sim_call_leave(&call, WEIR_OK, err);
}

static weir_status memory_state_restore(void *instance,
                                        int32_t shard,
                                        weir_status (*take)(void *context,
                                                            struct weir_slice entry,
                                                            struct weir_err *err),
                                        void *context,
                                        struct weir_err *err)
{
    struct memory_domain *self = instance;
    struct sim_call call;
    if (!sim_call_enter(&call, self->producer->process, SIM_CALL_STATE_RESTORE)) {
        return sim_call_fail(&call, err);
    }
    const struct sim_partition *partition = &self->state->partitions[shard];
    weir_status status = WEIR_OK;
    for (size_t i = 0; i < partition->count && status == WEIR_OK; i++) {
        const struct sim_entry *entry = &partition->entries[i];
        if (entry->control || entry->state != SIM_COMMITTED) {
            continue; /* open: of a process that lost the partition; it can only be aborted */
        }
        size_t size;
        char *bytes = sim_unhex(entry->value, &size);
        status = take(context, (struct weir_slice){bytes, size}, err);
        weir_free(bytes);
    }
    return sim_call_leave(&call, status, err);
}

static weir_status
memory_state_append(void *instance, int32_t shard, struct weir_slice entry, struct weir_err *err)
{
    struct memory_domain *self = instance;
    struct memory_producer *producer = self->producer;
    struct sim_call call;
    if (!sim_call_enter(&call, producer->process, SIM_CALL_STATE_APPEND)) {
        return sim_call_fail(&call, err);
    }
    WEIR_ASSERT(entry.size <= 200);
    char *text = sim_hex(entry);
    weir_status status = answer_status(
        sim_txn_write(producer->process->broker, producer->handle, producer->epoch,
                      &self->state->partitions[shard], "", text, producer->process->number),
        err);
    weir_free(text);
    return sim_call_leave(&call, status, err);
}

static weir_status
memory_state_place(void *instance, int32_t shard, int64_t *ret_place, struct weir_err *err)
{
    (void)err;
    const struct memory_domain *self = instance;
    *ret_place = (int64_t)self->state->partitions[shard].count;
    return WEIR_OK;
}

/* What is cut is gone: entries become control records. */
static void memory_state_cut(void *instance, int32_t shard, int64_t place)
{
    struct memory_domain *self = instance;
    if (self->producer->process->dead) {
        return;
    }
    for (int64_t i = 0; i < place; i++) {
        self->state->partitions[shard].entries[i].control = true;
    }
}

static const struct weir_state_log_ops memory_state_log = {
    .open = memory_state_open,
    .restore = memory_state_restore,
    .append = memory_state_append,
    .place = memory_state_place,
    .cut = memory_state_cut,
};

const struct weir_domain_ops sim_memory_domain = {
    .self_size = sizeof(struct memory_domain),
    .open = memory_domain_open,
    .close = memory_close,
    .begin = memory_domain_begin,
    .commit = memory_domain_commit,
    .abort = memory_domain_abort,
    .state_log = &memory_state_log,
};

/* --- the component --------------------------------------------------------------------------*/

static const struct weir_sink_ops memory_sink_ops = {
    .prepare = memory_sink_prepare,
    .write = memory_sink_write,
    .poll = memory_sink_poll,
    .seal = memory_sink_seal,
    .confirm = memory_sink_confirm,
    .abort = memory_sink_abort,
};

const struct weir_component sim_memory_sink = {
    .abi = WEIR_ABI,
    .described = {.kind = WEIR_ROLE_SINK,
                  .name = "memory",
                  .summary = "Writes to a topic in memory.",
                  .example = "memory: {topic: out}",
                  .fields = sim_memory_fields,
                  .config_size = sizeof(struct memory_config)},
    .self_size = sizeof(struct memory_sink),
    .durable = true,
    .domain = &sim_memory_domain,
    .open = memory_sink_open,
    .close = memory_close,
    .domain_name = sim_memory_name,
    .ops = {.sink = &memory_sink_ops},
};
