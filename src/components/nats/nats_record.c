/* SPDX-License-Identifier: Apache-2.0
 *
 * A message as a record. Nothing is copied: key, value and headers lie in the message, which lives
 * as long as its chunk, and the batch holds a reference to that.
 */
#include "nats_record.h"

#include <stdlib.h>
#include <string.h>

static struct weir_slice subject_token(const char *subject, int64_t token)
{
    for (; token > 1 && subject != NULL; token--) {
        subject = strchr(subject, '.');
        subject = subject == NULL ? NULL : subject + 1;
    }
    return (struct weir_slice){subject, subject == NULL ? 0 : strcspn(subject, ".")};
}

static struct weir_slice key_of(const struct nats_key *key, natsMsg *message)
{
    const char *subject = natsMsg_GetSubject(message);
    if (key->header != NULL) {
        const char *value = NULL;
        (void)natsMsgHeader_Get(message, key->header, &value);
        return weir_slice_of(value);
    }
    return key->token > 0 ? subject_token(subject, key->token) : weir_slice_of(subject);
}

size_t nats_chunk_deliver(struct nats_chunk *chunk,
                          const struct nats_key *key,
                          struct weir_intake *intake,
                          struct weir_partition *part,
                          int64_t *next,
                          bool by_sequence,
                          size_t max)
{
    size_t count = 0;
    for (size_t i = (size_t)(*next - chunk->base.start); i < chunk->base.count && count < max;
         i++) {
        struct weir_chunk *ref = count == 0 ? &chunk->base : NULL;
        if (ref != NULL) {
            weir_chunk_ref(ref);
        }
        struct weir_record *record = weir_intake_record(intake, part, ref);
        if (record == NULL) {
            if (ref != NULL) {
                weir_chunk_unref(ref);
            }
            break;
        }
        struct nats_item *item = &chunk->items[i];
        natsMsg *message = item->message;
        const char *data = natsMsg_GetData(message);
        record->position = by_sequence ? (int64_t)item->sequence : *next;
        record->source_ref = item;
        record->flags = WEIR_RECORD_RAW;
        record->time_ms = item->time_ms;
        record->key = key_of(key, message);
        record->raw =
            (struct weir_slice){data == NULL ? "" : data, (size_t)natsMsg_GetDataLength(message)};
        if (chunk->is_condemned) {
            record->flags |= WEIR_RECORD_SPENT;
            record->attempt =
                (uint16_t)(chunk->attempts < UINT16_MAX ? chunk->attempts : UINT16_MAX);
        }
        (*next)++;
        count++;
    }
    return count;
}

weir_status nats_window_deliver(struct nats_window *window,
                                const struct nats_key *key,
                                struct weir_intake *intake,
                                struct weir_partition *part,
                                int64_t *next,
                                size_t max)
{
    size_t count = 0, got = 1;
    struct nats_chunk *chunk = NULL;
    while (count < max && got > 0 && (chunk = nats_window_next(window, *next, NULL)) != NULL) {
        got = nats_chunk_deliver(chunk, key, intake, part, next, false, max - count);
        count += got;
        nats_chunk_unref(chunk);
    }
    return count > 0 ? WEIR_OK : WEIR_AGAIN;
}

/* Keys with several values become as many headers. */
static weir_status
read_headers(struct weir_record *record, struct weir_arena *arena, struct weir_err *err)
{
    natsMsg *message = ((const struct nats_item *)record->source_ref)->message;
    const char **keys = NULL;
    int key_count = 0;
    weir_status status = WEIR_OK;
    if (natsMsgHeader_Keys(message, &keys, &key_count) != NATS_OK) {
        return WEIR_OK;
    }
    struct weir_header *list = NULL;
    size_t total = 0;
    for (int i = 0; i < key_count && status == WEIR_OK; i++) {
        const char **values = NULL;
        int count = 0;
        if (natsMsgHeader_Values(message, keys[i], &values, &count) != NATS_OK) {
            continue;
        }
        struct weir_header *more = weir_arena_calloc(arena, total + (size_t)count, sizeof(*more));
        if (more == NULL) {
            status = weir_fail(err, WEIR_LIMIT, "the record's headers need too much memory");
            count = 0;
        } else if (total > 0) {
            memcpy(more, list, total * sizeof(*more));
        }
        for (int k = 0; k < count; k++) {
            more[total++] = (struct weir_header){weir_slice_of(keys[i]), weir_slice_of(values[k])};
        }
        list = more;
        free((void *)values);
    }
    free((void *)keys);
    record->headers = list;
    record->header_count = (uint32_t)total;
    return status;
}

/* Read by whoever acknowledges, which is after a commit of this record. */
static void give_up(const struct weir_record *record)
{
    ((struct nats_item *)record->source_ref)->is_given_up = true;
}

const struct weir_batch_origin nats_chunk_origin = {
    .release = weir_chunk_release,
    .read_headers = read_headers,
    .give_up = give_up,
};
