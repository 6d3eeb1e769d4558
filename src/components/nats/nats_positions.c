/* SPDX-License-Identifier: Apache-2.0
 *
 * The position of a durable consumer, from outside. Acknowledgements come in any order, so a
 * consumer has no one position; what can be said exactly is how many messages it still has to
 * acknowledge. `committed` is that many before the end. It is moved by making the consumer anew at
 * a sequence, which the server allows at any time: so who reads is asked first, and again just
 * before.
 */
#include <stdio.h>
#include <string.h>

#include <weir/positions.h>

#include "nats_log.h"
#include "nats_source.h"

struct asker {
    struct nats_client *client;
    char durable[NATS_NAME_MAX + 1];
    struct weir_value stream, consumer; /* consumer: absent when there is none */
    int64_t *positions;                 /* of each partition that is read by position; -1: none */
    size_t partitions;
    bool is_positioned; /* one of them has a position */
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
    for (size_t i = 0; i < self->partitions && status == WEIR_OK; i++) {
        struct nats_log log = {0};
        char stream[NATS_NAME_MAX + 8];
        nats_log_name(&log, self->durable, config->stream, (int32_t)i, stream);
        status = nats_log_look(&log, self->client, &self->positions[i], err);
        self->is_positioned = self->is_positioned || self->positions[i] >= 0;
    }
    return status == WEIR_OK ? nats_consumer_find(self->client, config->stream, self->durable,
                                                  call->arena, &self->consumer, err)
                             : status;
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
        if (asker.is_positioned) {
            items[i].committed = asker.positions[i];
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

/* Requests that wait tell of a process that reads. */
static weir_status
readers(const struct weir_positions_call *call, struct weir_strbuf *out, struct weir_err *err)
{
    struct asker asker = {0};
    weir_status status = asker_open(&asker, call, err);
    int64_t waiting = nats_api_int(asker.consumer, "num_waiting", 0);
    if (status == WEIR_OK && waiting > 0) {
        weir_strbuf_printf(out, "  whoever sent %lld requests to the consumer %s\n",
                           (long long)waiting, asker.durable);
    }
    nats_client_free(asker.client);
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
        status = weir_fail(err, WEIR_REJECTED,
                           "the stream is read by position; such positions cannot be moved");
        weir_err_hint(err, "To begin elsewhere, give the pipeline another `name` and a `start`.");
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

const struct weir_positions_ops nats_positions_ops = {
    .unit = "records",
    .list = list,
    .readers = readers,
    .commit = commit,
};
