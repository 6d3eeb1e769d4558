/* SPDX-License-Identifier: Apache-2.0
 *
 * One question for all topics at a time; its answer is looked for whenever the source is polled.
 */
#include "kafka_watch.h"

#include <string.h>

#include "base/alloc.h"

enum { EVERY_MS = 2000, ANSWER_MS = 5000 };

struct all {
    struct kafka_partition **parts;
    size_t count;
};

static struct all all_parts(const struct kafka_lane *lanes, unsigned lane_count)
{
    struct all all = {0};
    for (unsigned i = 0; i < lane_count; i++) {
        all.count += lanes[i].count;
    }
    all.parts = weir_calloc(all.count + 1, sizeof(struct kafka_partition *));
    size_t at = 0;
    for (unsigned i = 0; i < lane_count; i++) {
        for (size_t k = 0; k < lanes[i].count; k++) {
            all.parts[at++] = lanes[i].parts[k];
        }
    }
    return all;
}

static void watch_ask(struct kafka_watch *self, rd_kafka_t *rk, const struct all *all)
{
    const char **names = weir_calloc(all->count, sizeof(const char *));
    size_t count = 0;
    for (size_t i = 0; i < all->count; i++) {
        size_t k = count; /* mostly the last one's topic */
        while (k > 0 && strcmp(names[k - 1], all->parts[i]->topic) != 0) {
            k--;
        }
        if (k == 0) {
            names[count++] = all->parts[i]->topic;
        }
    }
    rd_kafka_TopicCollection_t *topics = rd_kafka_TopicCollection_of_topic_names(names, count);
    kafka_question_begin(&self->question, rk, RD_KAFKA_ADMIN_OP_DESCRIBETOPICS, ANSWER_MS);
    rd_kafka_DescribeTopics(rk, topics, self->question.options, self->question.queue);
    rd_kafka_TopicCollection_destroy(topics);
    weir_free(names);
    self->asks = true;
}

static struct kafka_partition *
compare(const struct all *all, const rd_kafka_TopicDescription_t *topic, const struct weir_log *log)
{
    struct kafka_partition *changed = NULL;
    const char *name = rd_kafka_TopicDescription_name(topic);
    uint64_t id = kafka_topic_id(topic);
    bool is_known = id != 0 && rd_kafka_error_code(rd_kafka_TopicDescription_error(topic)) ==
                                   RD_KAFKA_RESP_ERR_NO_ERROR;
    for (size_t i = 0; i < all->count && is_known; i++) {
        struct kafka_partition *part = all->parts[i];
        if (strcmp(part->topic, name) == 0) {
            if (part->topic_id == 0) {
                WEIR_LOG_DEBUG(log, "topic known", WEIR_F("topic", (const char *)part->topic),
                               WEIR_F("partition", part->index), WEIR_F("id", id));
            } else if (part->topic_id != id) {
                changed = part;
            }
            part->topic_id = id;
        }
    }
    return changed;
}

static struct kafka_partition *
watch_hear(struct kafka_watch *self, const struct all *all, const struct weir_log *log)
{
    struct kafka_partition *changed = NULL;
    if (rd_kafka_event_error(self->question.event) == RD_KAFKA_RESP_ERR_NO_ERROR) {
        size_t count;
        const rd_kafka_TopicDescription_t **topics = rd_kafka_DescribeTopics_result_topics(
            rd_kafka_event_DescribeTopics_result(self->question.event), &count);
        for (size_t i = 0; i < count && changed == NULL; i++) {
            changed = compare(all, topics[i], log);
        }
    }
    return changed;
}

void kafka_watch_poll(struct kafka_watch *self,
                      rd_kafka_t *rk,
                      struct kafka_lane *lanes,
                      unsigned lane_count,
                      struct kafka_partition **ret_part)
{
    *ret_part = NULL;
    self->question.event = self->asks ? rd_kafka_queue_poll(self->question.queue, 0) : NULL;
    bool is_due = !self->asks && kafka_now_ms() >= self->due_ms;
    if (self->question.event == NULL && !is_due) {
        return;
    }
    struct all all = all_parts(lanes, lane_count);
    if (self->question.event != NULL) {
        *ret_part = watch_hear(self, &all, lanes[0].log);
        kafka_watch_end(self);
        self->due_ms = kafka_now_ms() + EVERY_MS;
    } else if (all.count > 0) {
        watch_ask(self, rk, &all);
    }
    weir_free(all.parts);
}

void kafka_watch_end(struct kafka_watch *self)
{
    if (self->asks) {
        kafka_question_end(&self->question);
        self->asks = false;
    }
}
