/* SPDX-License-Identifier: Apache-2.0
 *
 * Records and batches.
 *
 * A record is a key, a value, headers, an event time and a source position. Its value is raw bytes
 * until somebody asks for JSON (weir_record_json), parsed at most once; unchanged bytes pass
 * through untouched. A value that a step made is serialised at most once (weir_record_bytes).
 *
 * A batch is the records of one task, in order, with the arena that owns what they point at.
 * Payloads of a client library are referenced, not copied: the source leaves them in `refs` and
 * they are released when the batch dies. A batch is owned by its lane; nothing here is shared
 * between threads.
 */
#ifndef WEIR_RECORD_H
#define WEIR_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <weir/arena.h>
#include <weir/slice.h>
#include <weir/status.h>
#include <weir/value.h>

struct weir_batch;

/* One header; a key can occur several times; order is kept. */
struct weir_header {
    struct weir_slice key, value; /* value.data == NULL: null */
};

enum weir_record_flags {
    WEIR_RECORD_RAW = 1,  /* `raw` is valid */
    WEIR_RECORD_JSON = 2, /* `json` is valid */
    WEIR_RECORD_NO_TIME = 4,
    WEIR_RECORD_WATERMARK = 8, /* no record: nothing before time_ms comes any more (engine) */
    WEIR_RECORD_TICK = 16,     /* no record: processing time is time_ms (engine) */
    WEIR_RECORD_SPENT = 32,    /* set by a source: delivered `attempt` times and never done with,
                                  so it is not processed but has failed */
};

/* The ordinal of a record that comes from none of the batch (made by a timer). */
#define WEIR_NO_ORDINAL UINT32_MAX

struct weir_record {
    struct weir_slice key; /* data == NULL: no key */
    struct weir_slice raw; /* the value's bytes; data == NULL: tombstone */
    struct weir_value json;
    struct weir_slice target; /* where a sink puts it (topic, subject, file); set by its prepare */
    int64_t position;         /* in the source partition: Kafka offset, line number, … */
    int64_t time_ms;          /* event time; milliseconds since the epoch */
    /* Headers are read from the client library when somebody needs them: see
     * weir_record_headers. */
    void *source_ref;
    const struct weir_header *headers;
    uint32_t header_count;
    uint8_t flags;
    bool headers_read;
    uint16_t attempt; /* deliveries so far, of a record that is spent */
    uint32_t ordinal; /* which record of the batch, as read, this one comes from */
};

/* What a source provides for the batches it filled. */
struct weir_batch_origin {
    /* Frees the client library's objects when the batch dies. Lane thread. */
    void (*release)(void **refs, size_t count);
    /* Fills record->headers from record->source_ref, in the arena. May be NULL: no headers. */
    weir_status (*read_headers)(struct weir_record *record,
                                struct weir_arena *arena,
                                struct weir_err *err);
    /* The record has failed for good: it is a dead letter or skipped, which is safe when its
     * position is committed. Lane thread. May be NULL. */
    void (*give_up)(const struct weir_record *record);
};

/* The value as bytes: the raw ones if there are, else the serialised JSON (kept in the batch's
 * arena). Fails with WEIR_TOO_LARGE at the record size limit. */
WEIR_MUST_USE weir_status weir_record_bytes(struct weir_batch *batch,
                                            struct weir_record *record,
                                            struct weir_slice *ret_bytes,
                                            struct weir_err *err);
/* The value as JSON, parsed at most once. A tombstone is null. WEIR_INVALID: not JSON. */
WEIR_MUST_USE weir_status weir_record_json(struct weir_batch *batch,
                                           struct weir_record *record,
                                           struct weir_value *ret_value,
                                           struct weir_err *err);
WEIR_MUST_USE weir_status weir_record_read_headers(struct weir_batch *batch,
                                                   struct weir_record *record,
                                                   struct weir_err *err);

/* The id that its producer gave the record, for log lines: the first header called message_id,
 * message-id, ce_id (CloudEvents) or Nats-Msg-Id; at most 256 bytes of it. data == NULL: none. */
struct weir_slice weir_record_message_id(struct weir_batch *batch,
                                         const struct weir_record *record);

/* Appends a zeroed record; NULL at the memory limit. The pointer is valid until the next append. */
struct weir_record *weir_batch_append(struct weir_batch *batch);
struct weir_arena *weir_batch_arena(struct weir_batch *batch);
/* Hands a client library's object to the batch, to be released when it dies. False without memory.
 */
WEIR_MUST_USE bool
weir_batch_hold(struct weir_batch *batch, void *ref, const struct weir_batch_origin *origin);

#endif
