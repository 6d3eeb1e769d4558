/* SPDX-License-Identifier: Apache-2.0
 *
 * Batches and the two faces of a record's value, bytes and JSON. Conversion happens at most once
 * in each direction and only when somebody asks: a filter parses, a pass-through does not, and a
 * record that was only filtered leaves with the bytes it came with.
 */
#include "data/batch.h"

#include <weir/json.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/limits.h"

struct weir_batch *weir_batch_new(struct weir_strbuf *scratch)
{
    struct weir_batch *batch = weir_calloc(1, sizeof(*batch));
    weir_arena_init(&batch->arena, WEIR_BATCH_BYTES_MAX);
    batch->scratch = scratch;
    return batch;
}

void weir_batch_clear(struct weir_batch *batch)
{
    if (batch->ref_count > 0) {
        WEIR_ASSERT(batch->origin != NULL && batch->origin->release != NULL);
        batch->origin->release(batch->refs, batch->ref_count);
    }
    weir_arena_reset(&batch->arena);
    batch->count = batch->ref_count = 0;
    batch->origin = NULL;
    batch->task = NULL;
    batch->run = 0;
    batch->first = batch->next = 0;
    batch->bytes = 0;
    batch->fates = NULL;
    batch->outputs = NULL;
    batch->output_count = 0;
    batch->sink_at = batch->cursor = 0;
    memset(batch->tally, 0, sizeof(batch->tally));
    batch->is_special = false;
    batch->asking = NULL;
    batch->link = NULL;
}

void weir_batch_free(struct weir_batch *batch)
{
    if (batch == NULL) {
        return;
    }
    weir_batch_clear(batch);
    weir_arena_done(&batch->arena);
    weir_free(batch->records);
    weir_free(batch->refs);
    weir_free(batch);
}

struct weir_arena *weir_batch_arena(struct weir_batch *batch)
{
    return &batch->arena;
}

struct weir_record *weir_batch_append(struct weir_batch *batch)
{
    if (batch->count == batch->capacity) {
        if (batch->capacity >= WEIR_BATCH_RECORDS_MAX) {
            return NULL;
        }
        batch->capacity = batch->capacity == 0 ? 64 : batch->capacity * 2;
        batch->records = weir_realloc(batch->records, batch->capacity, sizeof(*batch->records));
    }
    struct weir_record *record = &batch->records[batch->count];
    *record = (struct weir_record){.ordinal = (uint32_t)batch->count};
    batch->count++;
    return record;
}

bool weir_batch_hold(struct weir_batch *batch, void *ref, const struct weir_batch_origin *origin)
{
    WEIR_ASSERT(origin != NULL);
    WEIR_ASSERT(batch->origin == NULL || batch->origin == origin);
    if (batch->ref_count == batch->ref_capacity) {
        batch->ref_capacity = batch->ref_capacity == 0 ? 64 : batch->ref_capacity * 2;
        batch->refs = weir_realloc(batch->refs, batch->ref_capacity, sizeof(*batch->refs));
    }
    batch->origin = origin;
    batch->refs[batch->ref_count++] = ref;
    return true;
}

weir_status weir_record_bytes(struct weir_batch *batch,
                              struct weir_record *record,
                              struct weir_slice *ret_bytes,
                              struct weir_err *err)
{
    if ((record->flags & WEIR_RECORD_RAW) == 0) {
        WEIR_ASSERT((record->flags & WEIR_RECORD_JSON) != 0);
        struct weir_strbuf *text = batch->scratch;
        weir_strbuf_clear(text);
        weir_value_write(record->json, text, 0);
        if (text->failed) {
            return weir_fail(err, WEIR_TOO_LARGE, "the result is longer than %zu bytes",
                             (size_t)WEIR_RECORD_BYTES_MAX);
        }
        record->raw = weir_arena_copy(&batch->arena, weir_strbuf_view(text));
        if (record->raw.data == NULL) {
            return weir_fail(err, WEIR_LIMIT, "the batch has no memory left for its results");
        }
        record->flags |= WEIR_RECORD_RAW;
    }
    *ret_bytes = record->raw;
    return WEIR_OK;
}

weir_status weir_record_json(struct weir_batch *batch,
                             struct weir_record *record,
                             struct weir_value *ret_value,
                             struct weir_err *err)
{
    if ((record->flags & WEIR_RECORD_JSON) == 0) {
        WEIR_ASSERT((record->flags & WEIR_RECORD_RAW) != 0);
        if (record->raw.data == NULL) {
            record->json = weir_value_null();
        } else {
            weir_status status =
                weir_json_parse_in_place(&batch->arena, record->raw, NULL, &record->json, err);
            if (status != WEIR_OK) {
                return status;
            }
        }
        record->flags |= WEIR_RECORD_JSON;
    }
    *ret_value = record->json;
    return WEIR_OK;
}

weir_status
weir_record_read_headers(struct weir_batch *batch, struct weir_record *record, struct weir_err *err)
{
    if (record->headers_read || record->source_ref == NULL || batch->origin == NULL ||
        batch->origin->read_headers == NULL) {
        return WEIR_OK;
    }
    weir_status status = batch->origin->read_headers(record, &batch->arena, err);
    record->headers_read = status == WEIR_OK;
    return status;
}

struct weir_slice weir_record_message_id(struct weir_batch *batch, const struct weir_record *record)
{
    static const char *const names[] = {"message_id", "message-id", "ce_id", "Nats-Msg-Id"};
    enum { NAME_COUNT = sizeof names / sizeof names[0], ID_MAX = 256 };
    struct weir_record copy = *record;
    struct weir_err ignored = {0};
    if (weir_record_read_headers(batch, &copy, &ignored) != WEIR_OK) {
        return (struct weir_slice){0};
    }
    for (uint32_t i = 0; i < copy.header_count; i++) {
        for (int k = 0; k < NAME_COUNT; k++) {
            if (weir_slice_equal(copy.headers[i].key, weir_slice_of(names[k]))) {
                struct weir_slice id = copy.headers[i].value;
                id.size = id.size < ID_MAX ? id.size : ID_MAX;
                return id;
            }
        }
    }
    return (struct weir_slice){0};
}
