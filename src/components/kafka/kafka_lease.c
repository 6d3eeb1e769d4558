/* SPDX-License-Identifier: Apache-2.0
 *
 * A group of its own over a topic with one partition, `NAME.singleton`, in which nothing is ever
 * written: who has the partition has the lease. What expires is the member's session.
 *
 * librdkafka's heartbeats go on while we are busy, so that having the partition says nothing of how
 * long it will last. Renewing is therefore a commit, which the coordinator takes from a member of
 * the current generation only, and from which it counts the session anew: nobody else gets the
 * partition for a session from before the call. The position that is committed is the tenure's
 * token, one more than the last one's.
 *
 * The assignment is cooperative and sticky: processes that come do not take the partition away, and
 * a commit that fails because the group is just assembling is tried again.
 */
#include "kafka_lease.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/lease.h"
#include "kafka_client.h"
#include "kafka_question.h"

/* Parts of the lease's time. */
enum { HEARTBEATS = 15, PATIENCE = 6 };
enum { LISTEN_MS = 500, CREATE_MS = 10000, POLL_INTERVAL_MS = 300000 };

struct kafka_lease {
    struct kafka_client client; /* first: librdkafka's opaque */
    const struct kafka_connection *connection;
    struct weir_log log;
    char *topic; /* and the group */
    int64_t ttl_ms;
    rd_kafka_t *rk; /* NULL: has left the group */
    bool is_member; /* the topic is there, and the group joined */
    bool is_ours;   /* the partition is assigned to us */
};

/* --- membership --------------------------------------------------------------------------------*/

/* keeper, within a poll. */
static void on_rebalance(rd_kafka_t *rk,
                         rd_kafka_resp_err_t code,
                         rd_kafka_topic_partition_list_t *list,
                         void *opaque)
{
    struct kafka_lease *self = opaque;
    rd_kafka_error_t *error = NULL;
    if (code == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
        error = rd_kafka_incremental_assign(rk, list);
        (void)rd_kafka_pause_partitions(rk, list); /* there is nothing to read */
        self->is_ours = self->is_ours || (error == NULL && list->cnt > 0);
    } else if (code == RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS) {
        self->is_ours = self->is_ours && list->cnt == 0;
        error = rd_kafka_incremental_unassign(rk, list);
    } else {
        self->is_ours = false;
        rd_kafka_assign(rk, NULL);
    }
    if (error != NULL) {
        rd_kafka_error_destroy(error);
    }
}

/* Without leaving the group, which takes somebody who answers, the session ends by itself. */
static void lease_drop(struct kafka_lease *self)
{
    if (self->rk != NULL) {
        rd_kafka_destroy_flags(self->rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
        self->rk = NULL;
    }
    self->is_member = self->is_ours = false;
}

static weir_status lease_connect(struct kafka_lease *self, struct weir_err *err)
{
    char session[24], heartbeat[24], interval[24];
    snprintf(session, sizeof(session), "%lld", (long long)self->ttl_ms);
    snprintf(heartbeat, sizeof(heartbeat), "%lld", (long long)(self->ttl_ms / HEARTBEATS));
    snprintf(interval, sizeof(interval), "%lld",
             (long long)(self->ttl_ms > POLL_INTERVAL_MS ? self->ttl_ms : POLL_INTERVAL_MS));
    const char *const settings[] = {
        "group.id",
        self->topic,
        "group.protocol",
        "classic",
        "partition.assignment.strategy",
        "cooperative-sticky",
        "session.timeout.ms",
        session,
        "heartbeat.interval.ms",
        heartbeat,
        "max.poll.interval.ms",
        interval,
        "enable.auto.commit",
        "false",
        "auto.offset.reset",
        "latest",
        NULL,
    };
    rd_kafka_conf_t *conf = kafka_conf_new(self->connection, &self->client, settings, err);
    if (conf == NULL) {
        return err->status;
    }
    rd_kafka_conf_set_rebalance_cb(conf, on_rebalance);
    self->rk = kafka_client_new(&self->client, RD_KAFKA_CONSUMER, conf, err);
    if (self->rk == NULL) {
        return err->status;
    }
    rd_kafka_poll_set_consumer(self->rk);
    return WEIR_OK;
}

static weir_status lease_subscribe(struct kafka_lease *self, struct weir_err *err)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, self->topic, RD_KAFKA_PARTITION_UA);
    rd_kafka_resp_err_t code = rd_kafka_subscribe(self->rk, list);
    rd_kafka_topic_partition_list_destroy(list);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return weir_fail(err, WEIR_CONFIG, "cannot join %s: %s", self->topic,
                         rd_kafka_err2str(code));
    }
    self->is_member = true;
    return WEIR_OK;
}

/* --- the topic ---------------------------------------------------------------------------------*/

static int patience_ms(const struct kafka_lease *self)
{
    return (int)(self->ttl_ms / PATIENCE);
}

static weir_status lease_create(struct kafka_lease *self, struct weir_err *err)
{
    static const char *const none[] = {NULL};
    rd_kafka_resp_err_t code = kafka_topic_create(self->rk, self->topic, 1, none, CREATE_MS);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR || code == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS) {
        return WEIR_OK;
    }
    weir_status status = weir_fail(err, kafka_status(code), "cannot create the topic %s: %s",
                                   self->topic, rd_kafka_err2str(code));
    weir_err_hint(err, "The lease of a singleton needs it, with one partition.");
    return status;
}

/* Whoever joins before the topic is there would wait long for it. WEIR_AGAIN: it was just made. */
static weir_status lease_join(struct kafka_lease *self, struct weir_err *err)
{
    const struct rd_kafka_metadata *metadata;
    rd_kafka_topic_t *topic = rd_kafka_topic_new(self->rk, self->topic, NULL);
    rd_kafka_resp_err_t code =
        rd_kafka_metadata(self->rk, 0, topic, &metadata, patience_ms(self));
    rd_kafka_topic_destroy(topic);
    int partitions = 0;
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
        code = metadata->topics[0].err;
        partitions = metadata->topics[0].partition_cnt;
        rd_kafka_metadata_destroy(metadata);
    }
    if (code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) {
        weir_status status = lease_create(self, err);
        return status == WEIR_OK ? WEIR_AGAIN : status;
    }
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return weir_fail(err, kafka_status(code), "nobody tells of the topic %s: %s", self->topic,
                         rd_kafka_err2str(code));
    }
    if (partitions != 1) {
        weir_status status = weir_fail(err, WEIR_CONFIG, "the topic %s has %d partitions",
                                       self->topic, partitions);
        weir_err_hint(err, "The lease of a singleton is its only one: delete the topic, and weir "
                           "makes it anew.");
        return status;
    }
    return lease_subscribe(self, err);
}

/* --- the medium; keeper ------------------------------------------------------------------------*/

static weir_status
lease_judge(struct kafka_lease *self, const rd_kafka_message_t *message, struct weir_err *err)
{
    if (message->err == RD_KAFKA_RESP_ERR_INVALID_SESSION_TIMEOUT) {
        weir_status status = weir_fail(err, WEIR_CONFIG,
                                       "singleton_timeout: the brokers do not take %lld ms",
                                       (long long)self->ttl_ms);
        weir_err_hint(err, "Their group.min.session.timeout.ms (6 s unless it is set) and "
                           "group.max.session.timeout.ms say what they take.");
        return status;
    }
    if (message->err == RD_KAFKA_RESP_ERR__FATAL) {
        return weir_fail(err, WEIR_UNAVAILABLE, "the consumer gave up; joining again");
    }
    return kafka_status(message->err) == WEIR_DENIED
               ? weir_fail(err, WEIR_DENIED, "%s", rd_kafka_message_errstr(message))
               : WEIR_OK;
}

/* Serves the group; who waits for the partition listens for a while. */
static weir_status lease_listen(struct kafka_lease *self, struct weir_err *err)
{
    int64_t until_ms = kafka_now_ms() + LISTEN_MS;
    weir_status status = WEIR_OK;
    kafka_client_tend(&self->client, self->rk);
    for (;;) {
        int64_t left_ms = self->is_ours ? 0 : until_ms - kafka_now_ms();
        rd_kafka_message_t *message =
            rd_kafka_consumer_poll(self->rk, left_ms < 0 ? 0 : (int)left_ms);
        if (message == NULL && left_ms <= 0) {
            return status;
        }
        if (message != NULL && message->err != RD_KAFKA_RESP_ERR_NO_ERROR && status == WEIR_OK) {
            struct weir_err own = {0};
            status = lease_judge(self, message, &own);
            *err = status == WEIR_OK ? *err : own;
        }
        if (message != NULL) {
            rd_kafka_message_destroy(message);
        }
        if (status != WEIR_OK) {
            return status;
        }
    }
}

static weir_status medium_beat(void *instance, struct weir_leases *leases, struct weir_err *err)
{
    struct kafka_lease *self = instance;
    (void)leases; /* the group knows its members */
    char why[128];
    if (self->rk != NULL &&
        rd_kafka_fatal_error(self->rk, why, sizeof(why)) != RD_KAFKA_RESP_ERR_NO_ERROR) {
        lease_drop(self);
    }
    weir_status status = self->rk == NULL ? lease_connect(self, err) : WEIR_OK;
    if (status == WEIR_OK && !self->is_member) {
        status = lease_join(self, err);
    }
    if (status == WEIR_OK) {
        status = lease_listen(self, err);
    }
    if (status == WEIR_OK) {
        status = kafka_client_refused(&self->client, self->rk, err);
    }
    if (status == WEIR_OK && !self->is_ours) { /* else renewing asks */
        int64_t low, high;
        rd_kafka_resp_err_t code = rd_kafka_query_watermark_offsets(
            self->rk, self->topic, 0, &low, &high, patience_ms(self));
        if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
            status = weir_fail(err, WEIR_UNAVAILABLE, "the lease of the singleton: %s",
                               rd_kafka_err2str(code));
        }
    }
    return status == WEIR_AGAIN ? WEIR_OK : status;
}

/* Refused unless this process is a member of the group's current generation. */
static rd_kafka_resp_err_t lease_commit(struct kafka_lease *self, uint64_t token)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, self->topic, 0)->offset = (int64_t)token;
    /* A queue of its own: an answer that comes too late is nobody's. */
    rd_kafka_queue_t *queue = rd_kafka_queue_new(self->rk);
    rd_kafka_resp_err_t code = rd_kafka_commit_queue(self->rk, list, queue, NULL, NULL);
    rd_kafka_event_t *event = code == RD_KAFKA_RESP_ERR_NO_ERROR
                                  ? rd_kafka_queue_poll(queue, patience_ms(self))
                                  : NULL;
    if (event != NULL) {
        code = rd_kafka_event_error(event);
        rd_kafka_topic_partition_list_t *items = rd_kafka_event_topic_partition_list(event);
        code = code != RD_KAFKA_RESP_ERR_NO_ERROR        ? code
               : items == NULL || items->cnt != 1 ? RD_KAFKA_RESP_ERR__FAIL
                                                  : items->elems[0].err;
        rd_kafka_event_destroy(event);
    } else if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
        code = RD_KAFKA_RESP_ERR__TIMED_OUT;
    }
    rd_kafka_queue_destroy(queue);
    rd_kafka_topic_partition_list_destroy(list);
    return code;
}

/* The generation that we know is not the group's any more, or not yet. */
static bool is_assembling(rd_kafka_resp_err_t code)
{
    return code == RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS ||
           code == RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION || kafka_is_passing(code);
}

static weir_status
medium_renew(void *instance, uint32_t index, uint64_t token, struct weir_err *err)
{
    struct kafka_lease *self = instance;
    (void)index;
    int64_t until_ms = kafka_now_ms() + patience_ms(self);
    rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR_NO_ERROR;
    while (self->rk != NULL && self->is_ours) {
        code = lease_commit(self, token);
        if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
            return WEIR_OK;
        }
        if (!is_assembling(code) || kafka_now_ms() >= until_ms) {
            break;
        }
        rd_kafka_message_t *message = rd_kafka_consumer_poll(self->rk, LISTEN_MS / HEARTBEATS);
        if (message != NULL) {
            rd_kafka_message_destroy(message);
        }
    }
    bool is_over = !self->is_ours || code == RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID;
    return weir_fail(err, is_over ? WEIR_FENCED : WEIR_UNAVAILABLE, "the lease of the singleton: %s",
                     is_over ? "this process is not its holder any more" : rd_kafka_err2str(code));
}

static weir_status
medium_take(void *instance, uint32_t index, uint64_t *ret_token, struct weir_err *err)
{
    struct kafka_lease *self = instance;
    if (!self->is_ours) {
        return WEIR_AGAIN;
    }
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, self->topic, 0);
    rd_kafka_resp_err_t code =
        kafka_committed(self->rk, list, kafka_now_ms() + patience_ms(self));
    int64_t last = list->elems[0].offset;
    rd_kafka_topic_partition_list_destroy(list);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return weir_fail(err, WEIR_UNAVAILABLE, "the lease of the singleton: %s",
                         rd_kafka_err2str(code));
    }
    *ret_token = last < 0 ? 1 : (uint64_t)last + 1;
    weir_status status = medium_renew(self, index, *ret_token, err);
    return status == WEIR_FENCED ? WEIR_AGAIN : status;
}

/* The others need not wait for the end of the session. */
static weir_status medium_leave(void *instance, struct weir_err *err)
{
    struct kafka_lease *self = instance;
    (void)err;
    if (self->rk != NULL) {
        rd_kafka_consumer_close(self->rk);
    }
    lease_drop(self);
    return WEIR_OK;
}

static weir_status
medium_release(void *instance, uint32_t index, uint64_t token, struct weir_err *err)
{
    (void)index, (void)token;
    return medium_leave(instance, err);
}

static const struct weir_lease_medium kafka_lease_medium = {
    .beat = medium_beat,
    .take = medium_take,
    .renew = medium_renew,
    .release = medium_release,
    .leave = medium_leave,
};

static weir_status lease_open(void *instance,
                              const void *config,
                              const char *pipeline,
                              uint64_t nonce,
                              int64_t ttl_ms,
                              struct weir_err *err)
{
    (void)nonce, (void)err; /* the group gives each member an id of its own */
    struct kafka_lease *self = instance;
    static const char suffix[] = ".singleton";
    size_t size = strlen(pipeline) + sizeof(suffix);
    self->connection = config;
    self->topic = weir_calloc(1, size);
    snprintf(self->topic, size, "%s%s", pipeline, suffix);
    self->ttl_ms = ttl_ms;
    self->client.log = &self->log;
    return WEIR_OK;
}

static void lease_close(void *instance)
{
    struct kafka_lease *self = instance;
    lease_drop(self);
    weir_free(self->topic);
}

const struct weir_lease_ops kafka_lease_ops = {
    .self_size = sizeof(struct kafka_lease),
    .medium = &kafka_lease_medium,
    .open = lease_open,
    .close = lease_close,
};
