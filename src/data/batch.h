/* SPDX-License-Identifier: Apache-2.0
 *
 * A batch as the engine sees it: the records of one task in the order read, the arena that owns
 * what they point at, and the client library's objects that must outlive them.
 *
 *     refs    [ m0 m1 m2 m3 … ]        released together when the batch dies
 *     records [ r0 r1 r2 r3 … ]        as read; steps make new arrays in the arena
 *     outputs [ sink 0: r0 r2 ][ sink 1: r2' ]
 *
 * Owned by one lane from intake to release; recycled through the lane's free list.
 */
#ifndef WEIR_DATA_BATCH_H
#define WEIR_DATA_BATCH_H

#include <weir/record.h>
#include <weir/strbuf.h>

struct weir_output {
    struct weir_record **records;
    size_t count, capacity;
};

/* One fate per input record (DESIGN: accounting). */
enum weir_fate {
    WEIR_FATE_FILTERED,
    WEIR_FATE_OK,
    WEIR_FATE_LATE,
    WEIR_FATE_DEAD,
    WEIR_FATE_SKIPPED,
    WEIR_FATE_COUNT
};

struct weir_asking;
struct weir_batch {
    struct weir_arena arena;
    struct weir_record *records;
    size_t count, capacity;
    void **refs;
    size_t ref_count, ref_capacity;
    const struct weir_batch_origin *origin; /* of the source; may be NULL */
    struct weir_strbuf *scratch;            /* the lane's; for serialising */

    void *task;          /* the engine's; set at intake */
    uint64_t run;        /* the run number it was read under */
    int64_t first, next; /* where it begins; position behind its last record */
    size_t bytes;        /* payload bytes it keeps alive */
    int64_t read_ns;
    uint8_t *fates;              /* by ordinal; enum weir_fate */
    struct weir_output *outputs; /* by sink */
    size_t output_count;
    size_t sink_at, cursor; /* how far it is written */
    size_t tally[WEIR_FATE_COUNT];
    bool is_special;            /* no records, but the one below */
    struct weir_record special; /* a watermark or a tick; see engine/lane.c */
    struct weir_asking *asking; /* the engine's: it rests until it is answered */
    struct weir_batch *link;    /* free list, pending list, waiting list */
};

struct weir_batch *weir_batch_new(struct weir_strbuf *scratch);
void weir_batch_free(struct weir_batch *batch);
/* Releases what it references and empties it for reuse. */
void weir_batch_clear(struct weir_batch *batch);

#endif
