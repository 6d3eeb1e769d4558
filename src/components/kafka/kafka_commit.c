/* SPDX-License-Identifier: Apache-2.0
 *
 * A coordinator that is slow or gone must not hold control, so a commit is sent and its answer
 * looked for in later calls. One at a time: of two under way the older one could be the last that
 * arrives. When what is wanted has changed before the answer, it is asked for afterwards.
 */
#include "kafka_commit.h"

#include <string.h>

#include "base/assert.h"

void kafka_commit_init(struct kafka_commit *self, rd_kafka_t *rk, struct weir_ctx *ctx)
{
    const uint64_t one = 1;
    self->rk = rk;
    self->log = ctx->log;
    self->answers = rd_kafka_queue_new(rk);
    rd_kafka_queue_io_event_enable(self->answers, weir_control_wake_fd(ctx), &one, sizeof(one));
}

void kafka_commit_done(struct kafka_commit *self)
{
    if (self->answers != NULL) {
        rd_kafka_queue_io_event_enable(self->answers, -1, NULL, 0);
        rd_kafka_queue_destroy(self->answers);
    }
    if (self->asked != NULL) {
        rd_kafka_topic_partition_list_destroy(self->asked);
    }
    *self = (struct kafka_commit){0};
}

static bool
commit_covers(const struct kafka_commit *self, struct weir_partition *const *items, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const rd_kafka_topic_partition_t *item =
            self->asked == NULL
                ? NULL
                : rd_kafka_topic_partition_list_find(self->asked, items[i]->topic, items[i]->index);
        if (item == NULL || item->offset != items[i]->closing) {
            return false;
        }
    }
    return true;
}

static rd_kafka_resp_err_t
commit_send(struct kafka_commit *self, struct weir_partition *const *items, size_t count)
{
    if (self->asked != NULL) {
        rd_kafka_topic_partition_list_destroy(self->asked);
    }
    self->asked = rd_kafka_topic_partition_list_new((int)count);
    for (size_t i = 0; i < count; i++) {
        WEIR_ASSERT(items[i]->closing >= 0);
        rd_kafka_topic_partition_list_add(self->asked, items[i]->topic, items[i]->index)->offset =
            items[i]->closing;
    }
    rd_kafka_resp_err_t code =
        rd_kafka_commit_queue(self->rk, self->asked, self->answers, NULL, NULL);
    self->is_under_way = code == RD_KAFKA_RESP_ERR_NO_ERROR;
    return code;
}

static rd_kafka_resp_err_t answer_code(rd_kafka_event_t *answer)
{
    rd_kafka_resp_err_t code = rd_kafka_event_error(answer);
    const rd_kafka_topic_partition_list_t *list = rd_kafka_event_topic_partition_list(answer);
    for (int i = 0; list != NULL && i < list->cnt && code == RD_KAFKA_RESP_ERR_NO_ERROR; i++) {
        code = list->elems[i].err;
    }
    return code;
}

static weir_status
commit_judge(struct kafka_commit *self, rd_kafka_resp_err_t code, struct weir_err *err)
{
    weir_status status = kafka_status(code);
    if (code == RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID || status == WEIR_DENIED) {
        (void)!weir_fail(err, status, "cannot commit positions: %s", rd_kafka_err2str(code));
        kafka_hint(err, code);
        return status;
    }
    /* A rebalance is under way, or nobody answers: the outputs are safe, the positions wait. */
    self->not_before_ms = kafka_now_ms() + KAFKA_PAUSE_MS;
    WEIR_LOG_WARN(self->log, "positions not committed yet",
                  WEIR_F("detail", (const char *)rd_kafka_err2str(code)));
    return WEIR_AGAIN;
}

weir_status kafka_commit_positions(struct kafka_commit *self,
                                   struct weir_partition *const *items,
                                   size_t count,
                                   struct weir_err *err)
{
    if (self->is_under_way) {
        rd_kafka_event_t *answer = rd_kafka_queue_poll(self->answers, 0);
        if (answer == NULL) {
            return WEIR_AGAIN;
        }
        rd_kafka_resp_err_t code = answer_code(answer);
        rd_kafka_event_destroy(answer);
        self->is_under_way = false;
        self->stands = code == RD_KAFKA_RESP_ERR_NO_ERROR;
        if (!self->stands) {
            return commit_judge(self, code, err);
        }
    }
    if (count == 0 || (self->stands && commit_covers(self, items, count))) {
        return WEIR_OK;
    }
    self->stands = false;
    if (kafka_now_ms() < self->not_before_ms) {
        return WEIR_AGAIN;
    }
    rd_kafka_resp_err_t code = commit_send(self, items, count);
    return code == RD_KAFKA_RESP_ERR_NO_ERROR ? WEIR_AGAIN : commit_judge(self, code, err);
}
