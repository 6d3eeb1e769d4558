/* SPDX-License-Identifier: Apache-2.0
 *
 * A server that does not know batches (before 2.12) drops `allow_atomic` from a stream's
 * configuration without a word, and would store a batch message by message. So the configuration is
 * read back each time a connection is made, and without it nothing is published.
 */
#include "nats_batch.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"

enum { ANSWER_TIMEOUT_MS = 3000 };

/* --- the stream --------------------------------------------------------------------------------*/

/* Does the pattern, which may end in `>` and have `*` for tokens, stand for the subject? */
static bool subject_matches(struct weir_slice pattern, struct weir_slice subject)
{
    size_t p = 0, s = 0;
    while (p < pattern.size && s < subject.size) {
        if (pattern.data[p] == '>') {
            return true;
        }
        bool is_any = pattern.data[p] == '*';
        size_t from = p;
        while (p < pattern.size && pattern.data[p] != '.') {
            p++;
        }
        size_t begin = s;
        while (s < subject.size && subject.data[s] != '.') {
            s++;
        }
        bool is_same = p - from == s - begin &&
                       memcmp(pattern.data + from, subject.data + begin, s - begin) == 0;
        if (!is_any && !is_same) {
            return false;
        }
        if (p < pattern.size && s < subject.size) {
            p++;
            s++;
        } else {
            break;
        }
    }
    return p == pattern.size && s == subject.size;
}

bool nats_target_keeps(const struct nats_target *target, struct weir_slice subject)
{
    for (size_t i = 0; i < target->kept.count; i++) {
        if (subject_matches(weir_slice_of(target->kept.items[i]), subject)) {
            return true;
        }
    }
    return false;
}

void nats_target_init(struct nats_target *target)
{
    *target = (struct nats_target){0};
    pthread_mutex_init(&target->lock, NULL);
    weir_arena_init(&target->arena, 0);
}

void nats_target_done(struct nats_target *target)
{
    weir_arena_done(&target->arena);
    pthread_mutex_destroy(&target->lock);
}

static void target_read_subjects(struct nats_target *target, struct weir_value config)
{
    struct weir_value list = weir_value_get(config, WEIR_SLICE("subjects"));
    size_t count = weir_value_count(list);
    pthread_mutex_lock(&target->lock);
    if (target->kept.count == 0) {
        const char **items = weir_arena_calloc(&target->arena, count + 1, sizeof(*items));
        WEIR_ASSERT(items != NULL);
        for (size_t i = 0; i < count; i++) {
            struct weir_slice text = weir_value_text(weir_value_at(list, i));
            items[i] = weir_arena_copy(&target->arena, text).data;
        }
        target->kept = (struct weir_strs){items, count};
    }
    pthread_mutex_unlock(&target->lock);
}

/* What would delete the log, or make it unreadable. NULL: nothing. */
static const char *target_flaw(struct weir_value config)
{
    struct weir_slice kept = weir_value_text(weir_value_get(config, WEIR_SLICE("retention")));
    if (!weir_value_is_true(weir_value_get(config, WEIR_SLICE("allow_atomic")))) {
        return "takes no atomic batches";
    }
    if (!weir_value_is_true(weir_value_get(config, WEIR_SLICE("allow_direct")))) {
        return "cannot be read directly";
    }
    if (!weir_slice_equal(kept, WEIR_SLICE("limits"))) {
        return "does not keep what was read";
    }
    return nats_api_int(config, "max_age", 0) > 0 || nats_api_int(config, "max_msgs", -1) > 0 ||
                   nats_api_int(config, "max_bytes", -1) > 0 ||
                   nats_api_int(config, "max_msgs_per_subject", -1) > 0
               ? "has a limit, which would delete positions that lie in it"
               : NULL;
}

weir_status nats_target_ensure(struct nats_target *target,
                               struct nats_client *client,
                               const char *subject,
                               struct weir_err *err)
{
    struct weir_arena arena;
    struct weir_value info;
    char below[NATS_SUBJECT_MAX + 3];
    struct nats_stream_spec spec = target->spec;
    snprintf(below, sizeof(below), "%s.>", subject);
    const char **subjects = weir_calloc(spec.subjects.count + 1, sizeof(*subjects));
    for (size_t i = 0; i < spec.subjects.count; i++) {
        subjects[i] = spec.subjects.items[i];
    }
    subjects[spec.subjects.count] = below;
    if (spec.subjects.count > 0) {
        spec.subjects = (struct weir_strs){subjects, spec.subjects.count + 1};
    }
    spec.is_direct = spec.is_atomic = true;
    weir_arena_init(&arena, 0);
    weir_status status = nats_stream_ensure(client, &spec, &arena, &info, err);
    if (status == WEIR_OK) {
        struct weir_value config = weir_value_get(info, WEIR_SLICE("config"));
        const char *flaw = target_flaw(config);
        target_read_subjects(target, config);
        target->payload_max = nats_payload_max(client, info);
        if (flaw != NULL) {
            status = weir_fail(err, WEIR_CONFIG, "the stream %s %s", spec.name, flaw);
            weir_err_hint(err, "With `atomic`, the server is 2.12 or later, and the stream has "
                               "allow_atomic, allow_direct and no limits. Without it, outputs are "
                               "effectively-once.");
        } else if (!nats_target_keeps(target, weir_slice_of(below))) {
            status =
                weir_fail(err, WEIR_CONFIG, "the stream %s does not keep %s", spec.name, below);
            weir_err_hint(err, "Add the subject: positions are committed with the outputs.");
        }
    }
    weir_arena_done(&arena);
    weir_free(subjects);
    return status;
}

/* --- a batch -----------------------------------------------------------------------------------*/

void nats_batch_push(struct nats_batch *batch, natsMsg *message)
{
    if (batch->count == batch->capacity) {
        batch->capacity = batch->capacity == 0 ? 64 : 2 * batch->capacity;
        batch->messages = weir_realloc(batch->messages, batch->capacity, sizeof(*batch->messages));
    }
    batch->messages[batch->count++] = message;
}

void nats_batch_clear(struct nats_batch *batch)
{
    for (size_t i = 0; i < batch->count; i++) {
        natsMsg_Destroy(batch->messages[i]);
    }
    batch->count = 0;
}

void nats_batch_done(struct nats_batch *batch)
{
    nats_batch_clear(batch);
    weir_free(batch->messages);
    *batch = (struct nats_batch){0};
}

weir_status nats_batch_publish(struct nats_batch *batch,
                               struct nats_client *client,
                               const char *id,
                               uint64_t *ret_sequence,
                               struct weir_err *err)
{
    natsStatus code = NATS_OK;
    natsMsg *reply = NULL;
    WEIR_ASSERT(batch->count > 0);
    for (size_t i = 0; i < batch->count && code == NATS_OK; i++) {
        natsMsg *message = batch->messages[i];
        char number[24];
        bool is_last = i + 1 == batch->count;
        snprintf(number, sizeof(number), "%zu", i + 1);
        code = natsMsgHeader_Set(message, "Nats-Batch-Id", id);
        code = code == NATS_OK ? natsMsgHeader_Set(message, "Nats-Batch-Sequence", number) : code;
        if (code == NATS_OK && !is_last) {
            code = natsConnection_PublishMsg(client->connection, message);
        } else if (code == NATS_OK) {
            code = natsMsgHeader_Set(message, "Nats-Batch-Commit", "1");
            code = code == NATS_OK ? natsConnection_RequestMsg(&reply, client->connection, message,
                                                               ANSWER_TIMEOUT_MS)
                                   : code;
        }
    }
    return code != NATS_OK ? nats_fail(err, "publishing a batch", code)
                           : nats_api_published("the batch", reply, ret_sequence, err);
}
