/* SPDX-License-Identifier: Apache-2.0
 *
 * Entries become records: one field is the value, or all of them as a JSON object, written into the
 * chunk's text when the answer comes, by the thread that reads.
 */
#include "redis_chunk.h"

#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"

enum { ENTRY_OVERHEAD_BYTES = 200 };

static void chunk_free(struct weir_chunk *base)
{
    struct redis_chunk *chunk = (struct redis_chunk *)base;
    redis_answer_unref(chunk->answer);
    weir_strbuf_done(&chunk->text);
    weir_free(chunk);
}

bool redis_reply_is_list(const redisReply *reply)
{
    return reply != NULL && reply->type == REDIS_REPLY_ARRAY;
}

const redisReply *redis_reply_find(const redisReply *reply, const char *name)
{
    for (size_t i = 0; redis_reply_is_list(reply) && i + 1 < reply->elements; i += 2) {
        if (strcmp(reply->element[i]->str, name) == 0) {
            return reply->element[i + 1];
        }
    }
    return NULL;
}

/* --- entries ---------------------------------------------------------------------------------*/

struct weir_slice redis_reply_slice(const redisReply *reply)
{
    return (struct weir_slice){reply->str, reply->len};
}

/* All fields as one JSON object. Bytes are copied as they are, with what JSON demands escaped. */
static void write_text(struct weir_strbuf *out, struct weir_slice text)
{
    weir_strbuf_push(out, '"');
    size_t from = 0;
    for (size_t i = 0; i < text.size; i++) {
        unsigned char c = (unsigned char)text.data[i];
        if (c >= 0x20 && c != '"' && c != '\\') {
            continue;
        }
        weir_strbuf_append(out, text.data + from, i - from);
        if (c < 0x20) {
            weir_strbuf_printf(out, "\\u%04x", c);
        } else {
            weir_strbuf_push(out, '\\');
            weir_strbuf_push(out, (char)c);
        }
        from = i + 1;
    }
    weir_strbuf_append(out, text.data + from, text.size - from);
    weir_strbuf_push(out, '"');
}

static void write_object(struct weir_strbuf *out, const redisReply *fields)
{
    weir_strbuf_push(out, '{');
    for (size_t i = 0; i + 1 < fields->elements; i += 2) {
        if (i > 0) {
            weir_strbuf_push(out, ',');
        }
        write_text(out, redis_reply_slice(fields->element[i]));
        weir_strbuf_push(out, ':');
        write_text(out, redis_reply_slice(fields->element[i + 1]));
    }
    weir_strbuf_push(out, '}');
}

/* Field, or absent. */
static struct weir_slice field_find(const redisReply *fields, const char *name)
{
    for (size_t i = 0; name != NULL && i + 1 < fields->elements; i += 2) {
        if (weir_slice_equal(redis_reply_slice(fields->element[i]), weir_slice_of(name))) {
            return redis_reply_slice(fields->element[i + 1]);
        }
    }
    return (struct weir_slice){NULL, 0};
}

void redis_chunk_add(const struct redis_source_config *config,
                     struct redis_chunk *chunk,
                     const redisReply *item)
{
    const redisReply *fields = item->element[1];
    struct redis_entry *entry = &chunk->entries[chunk->base.count++];
    *entry =
        (struct redis_entry){.id = item->element[0], .key = field_find(fields, config->key_field)};
    if (config->field != NULL) {
        entry->value = field_find(fields, config->field);
    } else {
        size_t before = chunk->text.size;
        write_object(&chunk->text, fields);
        entry->value.size = chunk->text.size - before;
    }
    chunk->base.bytes += ENTRY_OVERHEAD_BYTES;
    for (size_t k = 0; k < fields->elements; k++) {
        chunk->base.bytes += fields->element[k]->len + sizeof(redisReply);
    }
}

/* The text has stopped growing: values become pointers into it. */
void redis_chunk_finish(const struct redis_source_config *config, struct redis_chunk *chunk)
{
    WEIR_ASSERT(!chunk->text.failed);
    const char *at = chunk->text.data;
    for (size_t i = 0; i < chunk->base.count && config->field == NULL; i++) {
        chunk->entries[i].value.data = at;
        at += chunk->entries[i].value.size;
    }
    chunk->base.bytes += chunk->text.capacity;
}

/* The first part of an id is the server's time in ms. */
static int64_t id_time_ms(const redisReply *id)
{
    int64_t time_ms = 0;
    for (size_t i = 0; i < id->len && id->str[i] >= '0' && id->str[i] <= '9'; i++) {
        if (time_ms > (INT64_MAX - 9) / 10) {
            return INT64_MAX;
        }
        time_ms = time_ms * 10 + (id->str[i] - '0');
    }
    return time_ms;
}

struct redis_chunk *redis_chunk_new(struct redis_answer *answer, size_t room)
{
    struct redis_chunk *chunk = weir_calloc(1, sizeof(*chunk) + room * sizeof(struct redis_entry));
    weir_chunk_init(&chunk->base, chunk_free);
    chunk->answer = answer;
    redis_answer_ref(answer);
    weir_strbuf_init(&chunk->text, SIZE_MAX / 2);
    return chunk;
}

size_t redis_chunk_deliver(struct weir_chunk *base,
                           struct weir_intake *intake,
                           struct weir_partition *part,
                           int64_t *next,
                           size_t max)
{
    const struct redis_chunk *chunk = (const struct redis_chunk *)base;
    size_t count = 0;
    size_t from = *next > base->start ? (size_t)(*next - base->start) : 0;
    for (size_t i = from; i < base->count && count < max; i++) {
        const struct redis_entry *entry = &chunk->entries[i];
        struct weir_chunk *ref = count == 0 ? base : NULL;
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
        record->position = base->start + (int64_t)i;
        record->flags = WEIR_RECORD_RAW;
        record->time_ms = id_time_ms(entry->id);
        record->key = entry->key;
        record->raw = entry->value;
        if (entry->spent > 0) {
            record->flags |= WEIR_RECORD_SPENT;
            record->attempt = (uint16_t)(entry->spent < UINT16_MAX ? entry->spent : UINT16_MAX);
        }
        *next = record->position + 1;
        count++;
    }
    return count;
}

bool redis_reply_is_entry(const redisReply *reply)
{
    return redis_reply_is_list(reply) && reply->elements == 2 &&
           redis_reply_is_list(reply->element[1]);
}

const struct weir_batch_origin redis_chunk_origin = {.release = weir_chunk_release};
