/* SPDX-License-Identifier: Apache-2.0
 *
 * The position of a durable consumer, from outside. Acknowledgements come in any order, so a
 * consumer has no one position; what can be said exactly is how many messages it still has to
 * acknowledge. `committed` is that many before the end. It is moved by making the consumer anew at
 * a sequence, which the server allows at any time: so who reads is asked first, and again just
 * before.
 *
 * What is read by position has its position, and its state, in logs of weir's own (nats_log.h).
 * Setting them is one more tenure; state is appended to every log before the first of them says
 * that it stands.
 */
#include <stdio.h>
#include <string.h>

#include <weir/positions.h>

#include "base/assert.h"
#include "nats_lease.h"
#include "nats_log.h"
#include "nats_source.h"
#include "source/leased.h"

struct asker {
    struct nats_client *client;
    char durable[NATS_NAME_MAX + 1];
    struct weir_value stream, consumer; /* consumer: absent when there is none */
    char log_stream[NATS_NAME_MAX + 8];
    struct nats_log *logs; /* of each partition that is read by position, */
    int64_t *positions;    /* and how far it is; -1: nowhere */
    size_t partitions;
    bool is_positioned; /* it says so, or one of them has a position */
};

static weir_status
asker_open(struct asker *self, const struct weir_positions_call *call, struct weir_err *err)
{
    const struct nats_source_config *config = call->config;
    const struct nats_stream_spec spec = {.name = config->stream, .manage = NATS_MANAGE_BIND};
    nats_source_durable(config, call->pipeline, self->durable);
    self->client = nats_client_open(&config->address, "weir positions", err);
    if (self->client == NULL) {
        return err->status;
    }
    weir_status status = nats_stream_ensure(self->client, &spec, call->arena, &self->stream, err);
    self->partitions = config->partitions > 0 ? (size_t)config->partitions : 1;
    self->positions = weir_arena_calloc(call->arena, self->partitions, sizeof(int64_t));
    self->logs = weir_arena_calloc(call->arena, self->partitions, sizeof(*self->logs));
    self->is_positioned = config->mode == NATS_MODE_POSITIONED || config->partitions > 0;
    for (size_t i = 0; i < self->partitions && status == WEIR_OK; i++) {
        struct nats_log *log = &self->logs[i];
        nats_log_name(log, self->durable, config->stream, (int32_t)i, self->log_stream);
        status = nats_log_look(log, self->client, &self->positions[i], err);
        if (status == WEIR_OK) {
            status = nats_log_follow(log, self->client,
                                     weir_arena_calloc(call->arena, 1, NATS_NAME_MAX + 8), err);
        }
        self->is_positioned = self->is_positioned || self->positions[i] >= 0;
    }
    return status == WEIR_OK ? nats_consumer_find(self->client, config->stream, self->durable,
                                                  call->arena, &self->consumer, err)
                             : status;
}

/* A partition that is read by position. Between its messages stand those of others. */
static weir_status list_part(struct asker *self,
                             const struct weir_positions_call *call,
                             struct weir_position *item,
                             struct weir_err *err)
{
    const struct nats_source_config *config = call->config;
    char subject[NATS_SUBJECT_MAX], topic[NATS_TOPIC_MAX], name[NATS_NAME_MAX + 1];
    const char *filter = subject;
    nats_source_partition(config, item->partition, subject, topic);
    item->topic = weir_arena_strdup(call->arena, topic);
    item->committed = self->positions[item->partition];
    if (item->committed < 0) {
        return WEIR_OK;
    }
    const struct nats_consumer_spec spec = {.stream = config->stream,
                                            .filters = {&filter, subject[0] != '\0'},
                                            .start_sequence = item->committed};
    struct weir_value info = {0};
    weir_status status = nats_consumer_ordered(self->client, &spec, name, NULL, err);
    if (status != WEIR_OK) {
        return status;
    }
    status = nats_consumer_find(self->client, config->stream, name, call->arena, &info, err);
    item->others = item->end - item->committed - nats_api_int(info, "num_pending", 0);
    struct weir_err ignored = {0}; /* it ends by itself */
    (void)!nats_consumer_delete(self->client, config->stream, name, call->arena, &ignored);
    return status;
}

static weir_status list(const struct weir_positions_call *call,
                        struct weir_position **ret_items,
                        size_t *ret_count,
                        struct weir_err *err)
{
    const struct nats_source_config *config = call->config;
    struct asker asker = {0};
    weir_status status = asker_open(&asker, call, err);
    size_t count = asker.is_positioned ? asker.partitions : 1;
    struct weir_position *items = weir_arena_calloc(call->arena, count, sizeof(*items));
    for (size_t i = 0; i < count && status == WEIR_OK; i++) {
        struct weir_value state = weir_value_get(asker.stream, WEIR_SLICE("state"));
        items[i].topic = config->stream;
        items[i].partition = (int32_t)i;
        items[i].first = nats_api_int(state, "first_seq", 0);
        items[i].end = nats_api_int(state, "last_seq", 0) + 1;
        items[i].committed = -1;
        if (asker.is_positioned || weir_value_is_absent(asker.consumer)) {
            status = list_part(&asker, call, &items[i], err);
        } else if (!weir_value_is_absent(asker.consumer)) {
            items[i].committed = items[i].end - nats_api_int(asker.consumer, "num_pending", 0) -
                                 nats_api_int(asker.consumer, "num_ack_pending", 0);
        }
    }
    *ret_items = items;
    *ret_count = count;
    nats_client_free(asker.client);
    return status;
}

static weir_status ask_leases(struct asker *self,
                              const struct nats_source_config *config,
                              bool *ret_held,
                              struct weir_err *err)
{
    struct nats_lease_medium medium = {.line = {.client = self->client},
                                       .ttl_ms =
                                           config->lease > 0 ? config->lease : WEIR_LEASED_TTL_MS};
    nats_lease_names(&medium, self->durable, config->stream);
    return nats_lease_look(&medium, ret_held, err);
}

/* The server says at which sequence a consumer of that time begins. Partitions are parts of one
 * stream, so there is one answer for all. */
static weir_status find(const struct weir_positions_call *call,
                        int64_t time_ms,
                        struct weir_position *items,
                        size_t count,
                        struct weir_err *err)
{
    const struct nats_source_config *config = call->config;
    const struct nats_consumer_spec spec = {.stream = config->stream,
                                            .start = {.time_ms = time_ms}};
    char name[NATS_NAME_MAX + 1];
    struct weir_value info = {0};
    struct nats_client *client = nats_client_open(&config->address, "weir positions", err);
    weir_status status =
        client == NULL ? err->status : nats_consumer_ordered(client, &spec, name, NULL, err);
    if (status == WEIR_OK) {
        status = nats_consumer_find(client, config->stream, name, call->arena, &info, err);
        struct weir_err ignored = {0}; /* it ends by itself */
        (void)!nats_consumer_delete(client, config->stream, name, call->arena, &ignored);
    }
    if (status == WEIR_OK && weir_value_is_absent(info)) {
        status = weir_fail(err, WEIR_UNAVAILABLE, "stream %s: a consumer is gone", config->stream);
    }
    struct weir_value delivered = weir_value_get(info, WEIR_SLICE("delivered"));
    int64_t target = nats_api_int(delivered, "stream_seq", 0) + 1;
    for (size_t i = 0; i < count && status == WEIR_OK; i++) {
        bool is_before = target < items[i].first; /* of what is there no more */
        items[i].target = is_before ? items[i].first : target;
    }
    nats_client_free(client);
    return status;
}

/* Requests that wait tell of a process that reads; by position, leases. */
static weir_status
readers(const struct weir_positions_call *call, struct weir_strbuf *out, struct weir_err *err)
{
    struct asker asker = {0};
    weir_status status = asker_open(&asker, call, err);
    int64_t waiting = nats_api_int(asker.consumer, "num_waiting", 0);
    bool is_held = false;
    if (status == WEIR_OK && asker.is_positioned) {
        status = ask_leases(&asker, call->config, &is_held, err);
    }
    if (status == WEIR_OK && is_held) {
        weir_strbuf_printf(out, "  whoever has its leases (%s)\n", asker.log_stream);
    }
    if (status == WEIR_OK && waiting > 0) {
        weir_strbuf_printf(out, "  whoever sent %lld requests to the consumer %s\n",
                           (long long)waiting, asker.durable);
    }
    nats_client_free(asker.client);
    return status;
}

static weir_status
expect_idle(struct asker *self, const struct nats_source_config *config, struct weir_err *err)
{
    bool is_held = false;
    weir_status status = ask_leases(self, config, &is_held, err);
    return status == WEIR_OK && is_held
               ? weir_fail(err, WEIR_REJECTED, "%s is being read", config->stream)
               : status;
}

/* The stream of the logs, made if need be. */
static weir_status make_logs(struct asker *self, struct weir_err *err)
{
    char subjects[NATS_SUBJECT_MAX];
    snprintf(subjects, sizeof(subjects), "weir.%s.log.>", self->durable);
    size_t payload;
    return nats_log_make_stream(self->client, self->log_stream, subjects, &payload, err);
}

static weir_status set_positions(struct asker *self,
                                 const struct nats_source_config *config,
                                 const struct weir_position *items,
                                 size_t count,
                                 struct weir_err *err)
{
    weir_status status = expect_idle(self, config, err);
    status = status == WEIR_OK ? make_logs(self, err) : status;
    for (size_t i = 0; i < count && status == WEIR_OK; i++) {
        struct nats_log *log = &self->logs[items[i].partition];
        status = nats_log_adopt_idle(log, self->client, err);
        if (status == WEIR_OK && log->position != items[i].target) {
            status = nats_log_commit(log, self->client, items[i].target, err);
        }
    }
    return status;
}

static weir_status commit(const struct weir_positions_call *call,
                          const struct weir_position *items,
                          size_t count,
                          struct weir_err *err)
{
    const struct nats_source_config *config = call->config;
    struct asker asker = {0};
    weir_status status = asker_open(&asker, call, err);
    if (status == WEIR_OK && nats_api_int(asker.consumer, "num_waiting", 0) > 0) {
        status = weir_fail(err, WEIR_REJECTED, "the consumer %s is being read", asker.durable);
    }
    if (status == WEIR_OK && asker.is_positioned) {
        status = set_positions(&asker, config, items, count, err);
        nats_client_free(asker.client);
        return status;
    }
    if (status == WEIR_OK && config->manage == NATS_MANAGE_BIND) {
        status = weir_fail(err, WEIR_REJECTED,
                           "moving the consumer %s means making it anew, and `manage: bind` makes "
                           "nothing",
                           asker.durable);
    }
    if (status == WEIR_OK && count == 1) {
        struct nats_consumer_spec spec = nats_source_consumer(config, asker.durable);
        struct weir_value made;
        spec.start_sequence = items[0].target > 0 ? items[0].target : 1;
        status =
            nats_consumer_delete(asker.client, config->stream, asker.durable, call->arena, err);
        if (status == WEIR_OK) {
            status = nats_consumer_ensure(asker.client, &spec, call->arena, &made, err);
        }
    }
    nats_client_free(asker.client);
    return status;
}

/* --- the state ---------------------------------------------------------------------------------*/

struct taking {
    int32_t shard;
    weir_status (*take)(void *context,
                        int32_t shard,
                        struct weir_slice entry,
                        struct weir_err *err);
    void *context;
    bool any;
};

static weir_status take_frame(void *context, struct weir_slice entry, struct weir_err *err)
{
    struct taking *self = context;
    self->any = true;
    return self->take == NULL ? WEIR_OK : self->take(self->context, self->shard, entry, err);
}

static weir_status read_state(const struct weir_positions_call *call,
                              const char *name,
                              int32_t *ret_shards,
                              weir_status (*take)(void *context,
                                                  int32_t shard,
                                                  struct weir_slice entry,
                                                  struct weir_err *err),
                              void *context,
                              struct weir_err *err)
{
    (void)name; /* it lies in the logs of the partitions */
    struct asker asker = {0};
    struct taking taking = {.take = take, .context = context};
    weir_status status = asker_open(&asker, call, err);
    *ret_shards = (int32_t)asker.partitions;
    for (size_t i = 0; i < asker.partitions && status == WEIR_OK; i++) {
        taking.shard = (int32_t)i;
        if (asker.logs[i].last > 0) {
            status = nats_log_restore(&asker.logs[i], asker.client, take_frame, &taking, err);
        }
    }
    nats_client_free(asker.client);
    return status;
}

static weir_status expect_empty(struct asker *self, struct weir_err *err)
{
    struct taking taking = {.take = NULL};
    weir_status status = WEIR_OK;
    for (size_t i = 0; i < self->partitions && status == WEIR_OK; i++) {
        if (self->logs[i].last > 0) {
            status = nats_log_restore(&self->logs[i], self->client, take_frame, &taking, err);
        }
    }
    if (status == WEIR_OK && taking.any) {
        status = weir_fail(err, WEIR_REJECTED, "%s has state already", self->log_stream);
        weir_err_hint(err, "`weir positions set --reset-state` throws it away.");
    }
    return status;
}

static weir_status
append_entry(void *context, int32_t shard, struct weir_slice entry, struct weir_err *err)
{
    struct asker *self = context;
    nats_log_append(&self->logs[shard], entry);
    return nats_log_flush(&self->logs[shard], self->client, err);
}

/* Nothing of it stands until the positions follow. */
static weir_status fill_logs(struct asker *self,
                             const struct weir_position *items,
                             const struct weir_state_entries *entries,
                             struct weir_err *err)
{
    weir_status status = entries->each(entries->self, append_entry, self, err);
    size_t done = 0;
    for (size_t i = 0; i < self->partitions && status == WEIR_OK; i++) {
        if (items[i].target >= 0) {
            status = nats_log_commit(&self->logs[i], self->client, items[i].target, err);
            done += status == WEIR_OK;
        }
    }
    if (status != WEIR_OK && done > 0) {
        weir_err_hint(err,
                      "The state of some partitions stands, of others not: `weir positions set "
                      "--reset-state`, then import again.");
    }
    return status;
}

static weir_status write_state(const struct weir_positions_call *call,
                               const char *name,
                               const struct weir_position *items,
                               size_t count,
                               const struct weir_state_entries *entries,
                               struct weir_err *err)
{
    (void)name;
    struct asker asker = {0};
    weir_status status = asker_open(&asker, call, err);
    WEIR_ASSERT(status != WEIR_OK || count == asker.partitions);
    status = status == WEIR_OK ? expect_idle(&asker, call->config, err) : status;
    status = status == WEIR_OK ? make_logs(&asker, err) : status;
    status = status == WEIR_OK ? expect_empty(&asker, err) : status;
    for (size_t i = 0; i < asker.partitions && status == WEIR_OK; i++) {
        status = nats_log_adopt_idle(&asker.logs[i], asker.client, err);
    }
    status = status == WEIR_OK ? fill_logs(&asker, items, entries, err) : status;
    for (size_t i = 0; i < asker.partitions; i++) {
        nats_log_forget(&asker.logs[i]);
    }
    nats_client_free(asker.client);
    return status;
}

/* The last message says the position, which stays. */
static weir_status
drop_state(const struct weir_positions_call *call, const char *name, struct weir_err *err)
{
    (void)name;
    struct asker asker = {0};
    weir_status status = asker_open(&asker, call, err);
    status = status == WEIR_OK ? expect_idle(&asker, call->config, err) : status;
    for (size_t i = 0; i < asker.partitions && status == WEIR_OK; i++) {
        struct nats_log *log = &asker.logs[i];
        if (asker.positions[i] >= 0) {
            status = nats_log_adopt_idle(log, asker.client, err);
            status = status == WEIR_OK ? nats_log_commit(log, asker.client, asker.positions[i], err)
                                       : status;
        }
        if (status == WEIR_OK && log->last > 0) {
            status = nats_log_cut(log, asker.client, log->last, err);
        }
    }
    nats_client_free(asker.client);
    return status;
}

const struct weir_positions_ops nats_positions_ops = {
    .unit = "records",
    .list = list,
    .find = find,
    .readers = readers,
    .commit = commit,
    .read_state = read_state,
    .write_state = write_state,
    .state_entry_max = NATS_FRAME_BYTES_MAX,
    .drop_state = drop_state,
};
