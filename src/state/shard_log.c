/* SPDX-License-Identifier: Apache-2.0
 *
 * Frames. The payload of a delta:
 *
 *     u8 1 | u32 size | source \0 topic \0 | i32 partition | i64 position [ | u64 topic's id ]
 *     u8 2 | u32 size | step \0 | u32 version | the table's delta
 *
 * and of a piece the second alone. An end has none.
 */
#include "state/shard_log.h"

#include <stdio.h>
#include <string.h>
#include <xxhash.h>

#include "base/alloc.h"
#include "base/assert.h"

enum {
    KIND_DELTA = 1,
    KIND_PIECE = 2,
    KIND_END = 3,
    SECTION_POSITION = 1,
    SECTION_STEP = 2,
    SECTION_HEAD = 5,
    FRAME_HEAD = 32,
    CHECKSUM = 8,
    PARTS_MAX = UINT16_MAX,
    PIECE_BYTES = 1 << 20, /* at least; as much as the epoch's delta, so that a log never grows
                            * faster than its snapshot … */
    PIECE_BYTES_MAX = 16 << 20, /* … up to this, because lanes stand still meanwhile */
    DELTA_BYTES_MAX = 1 << 30,
};
#define SNAPSHOT_BYTES ((size_t)4 << 20)

static const char magic[4] = "WSF1";

struct frame_head {
    char magic[4];
    uint8_t kind, zero;
    uint16_t part, parts, zero2;
    uint32_t zero4;
    uint64_t number, first;
};
_Static_assert(sizeof(struct frame_head) == FRAME_HEAD, "no holes");

struct log_position {
    char *source, *topic;
    int32_t partition;
    int64_t position;
    uint64_t topic_id;
};

/* What an abort goes back to. A snapshot goes on behind its last committed piece: what no delta has
 * changed since it began is in a piece that stands, or still ahead of the cursor. For a rollback
 * moves no entry: one that was dropped has kept its block, since that frees only a commit; who took
 * its key meanwhile had another, which was free at the commit. With a disk only committed entries
 * come and go, and one that was in memory when the cursor passed is in a piece or has a row. */
struct progress {
    uint64_t number; /* of the next frame */
    size_t since;    /* bytes written since the last complete snapshot */
    bool wanted, snapshotting;
    uint64_t first; /* number of the snapshot's first frame */
    size_t step;    /* which one is being written */
    struct weir_state_cursor cursor;
};

struct weir_shard_log {
    struct weir_shard_step *steps;
    size_t step_count;
    bool discovers; /* names and tables of the steps are the log's own */
    size_t snapshot_bytes;
    struct log_position *positions;
    size_t position_count;
    struct progress open, committed;
    bool begins_snapshot, completes; /* the open frames do so */
    /* restoring */
    bool begun, whole;
    uint64_t begins; /* number of the first frame taken */
    struct weir_strbuf parts;
    uint16_t part, part_count; /* the next one, of how many */
    uint8_t part_kind;
    size_t taken_bytes, expected_bytes;
    /* writing */
    struct weir_strbuf payload, frames;
    struct frame_place {
        size_t at, size;
    } * places;
    size_t place_count, place_capacity;
};

struct weir_shard_log *
weir_shard_log_new(const struct weir_shard_step *steps, size_t count, size_t snapshot_bytes)
{
    struct weir_shard_log *log = weir_calloc(1, sizeof(*log));
    log->steps = weir_calloc(count + 1, sizeof(*log->steps));
    if (count > 0) {
        memcpy(log->steps, steps, count * sizeof(*steps));
    }
    log->step_count = count;
    log->snapshot_bytes = snapshot_bytes > 0 ? snapshot_bytes : SNAPSHOT_BYTES;
    weir_strbuf_init(&log->parts, DELTA_BYTES_MAX);
    weir_strbuf_init(&log->payload, DELTA_BYTES_MAX);
    weir_strbuf_init(&log->frames, (size_t)DELTA_BYTES_MAX * 2);
    return log;
}

struct weir_shard_log *weir_shard_log_new_discovering(void)
{
    struct weir_shard_log *log = weir_shard_log_new(NULL, 0, SIZE_MAX);
    log->discovers = true;
    return log;
}

void weir_shard_log_free(struct weir_shard_log *log)
{
    if (log == NULL) {
        return;
    }
    for (size_t i = 0; log->discovers && i < log->step_count; i++) {
        weir_free((char *)(uintptr_t)log->steps[i].name);
        weir_state_free(log->steps[i].state);
    }
    for (size_t i = 0; i < log->position_count; i++) {
        weir_free(log->positions[i].source);
        weir_free(log->positions[i].topic);
    }
    weir_free(log->positions);
    weir_free(log->steps);
    weir_free(log->places);
    weir_strbuf_done(&log->parts);
    weir_strbuf_done(&log->payload);
    weir_strbuf_done(&log->frames);
    weir_free(log);
}

const struct weir_shard_step *weir_shard_log_step_at(const struct weir_shard_log *log, size_t index)
{
    return index < log->step_count ? &log->steps[index] : NULL;
}

static struct weir_state_position position_of(const struct log_position *row)
{
    return (struct weir_state_position){row->source, row->topic, row->partition, row->position,
                                        row->topic_id};
}

bool weir_shard_log_position_at(const struct weir_shard_log *log,
                                size_t index,
                                struct weir_state_position *ret_position)
{
    if (index >= log->position_count) {
        return false;
    }
    const struct log_position *row = &log->positions[index];
    *ret_position = position_of(row);
    return true;
}

size_t weir_shard_log_bytes(const struct weir_shard_log *log)
{
    return log->taken_bytes;
}

void weir_shard_log_expect(struct weir_shard_log *log, size_t bytes)
{
    log->expected_bytes = bytes;
}

/* --- restoring ---------------------------------------------------------------------------------*/

static weir_status damaged(const struct weir_shard_log *log, const char *what, struct weir_err *err)
{
    weir_status status = weir_fail(err, WEIR_CORRUPT, "the state log is damaged at frame %llu: %s",
                                   (unsigned long long)log->open.number, what);
    weir_err_hint(err, "Restore it from a copy, or remove it and begin anew under another "
                       "`name`.");
    return status;
}

/* A text that ends within the section; NULL otherwise. Moves *at behind it. */
static const char *section_text(const char **at, const char *end)
{
    const char *text = *at;
    const char *stop = memchr(text, '\0', (size_t)(end - text));
    if (stop != NULL) {
        *at = stop + 1;
    }
    return stop == NULL ? NULL : text;
}

static struct log_position *find_position(const struct weir_shard_log *log,
                                          const char *source,
                                          const char *topic,
                                          int32_t partition)
{
    for (size_t i = 0; i < log->position_count; i++) {
        struct log_position *row = &log->positions[i];
        if (row->partition == partition && strcmp(row->topic, topic) == 0 &&
            strcmp(row->source, source) == 0) {
            return row;
        }
    }
    return NULL;
}

bool weir_shard_log_get_position(const struct weir_shard_log *log,
                                 const char *source,
                                 const char *topic,
                                 int32_t partition,
                                 struct weir_state_position *ret_position)
{
    const struct log_position *row = find_position(log, source, topic, partition);
    if (row != NULL) {
        *ret_position = position_of(row);
    }
    return row != NULL;
}

static weir_status
take_position(struct weir_shard_log *log, const char *at, const char *end, struct weir_err *err)
{
    const char *source = section_text(&at, end);
    const char *topic = source == NULL ? NULL : section_text(&at, end);
    int32_t partition;
    int64_t position;
    uint64_t topic_id = 0;
    const ptrdiff_t size = sizeof(partition) + sizeof(position);
    if (topic == NULL ||
        (end - at != size && end - at != size + (ptrdiff_t)sizeof(topic_id))) {
        return damaged(log, "a position is not well formed", err);
    }
    memcpy(&partition, at, sizeof(partition));
    memcpy(&position, at + sizeof(partition), sizeof(position));
    memcpy(&topic_id, at + size, (size_t)(end - at - size));
    struct log_position *row = find_position(log, source, topic, partition);
    if (row == NULL) {
        log->positions =
            weir_realloc(log->positions, log->position_count + 1, sizeof(*log->positions));
        row = &log->positions[log->position_count++];
        *row = (struct log_position){
            .source = weir_strdup(source), .topic = weir_strdup(topic), .partition = partition};
    }
    row->position = position;
    row->topic_id = topic_id;
    return WEIR_OK;
}

static const struct weir_shard_step *
find_step(struct weir_shard_log *log, const char *name, uint32_t version)
{
    for (size_t i = 0; i < log->step_count; i++) {
        if (strcmp(log->steps[i].name, name) == 0) {
            return &log->steps[i];
        }
    }
    if (!log->discovers) {
        return NULL;
    }
    log->steps = weir_realloc(log->steps, log->step_count + 1, sizeof(*log->steps));
    log->steps[log->step_count] =
        (struct weir_shard_step){weir_strdup(name), version, weir_state_new(NULL)};
    return &log->steps[log->step_count++];
}

const struct weir_shard_step *
weir_shard_log_step(struct weir_shard_log *log, struct weir_slice name, uint32_t version)
{
    char text[256];
    snprintf(text, sizeof(text), "%.*s", (int)name.size, name.data);
    const struct weir_shard_step *step = NULL;
    for (size_t i = 0; i < log->step_count && step == NULL; i++) {
        step = strcmp(log->steps[i].name, text) == 0 ? &log->steps[i] : NULL;
    }
    if (step == NULL && version != UINT32_MAX) {
        return find_step(log, text, version);
    }
    return step != NULL && (version == UINT32_MAX || step->version == version) ? step : NULL;
}

static weir_status
other_layout(const char *name, unsigned is, unsigned wanted, struct weir_err *err)
{
    weir_status status = weir_fail(
        err, WEIR_CONFIG, "the state of \"%.100s\" was written in layout %u, this weir has %u",
        name, is, wanted);
    weir_err_hint(err, "Run it as it was before, or begin anew under another `name`.");
    return status;
}

static weir_status other_meaning(const char *name, struct weir_err *err)
{
    weir_status status = weir_fail(err, WEIR_CONFIG,
                                   "the state of \"%.100s\" is of other aggregates, or of another "
                                   "kind or size of window",
                                   name);
    weir_err_hint(err,
                  "Run it as it was before; `weir positions set --reset-state` throws the state "
                  "away; another `name` of the pipeline begins beside it.");
    return status;
}

static weir_status
take_step(struct weir_shard_log *log, const char *at, const char *end, struct weir_err *err)
{
    const char *name = section_text(&at, end);
    uint32_t version;
    if (name == NULL || end - at < (ptrdiff_t)sizeof(version)) {
        return damaged(log, "a step is not well formed", err);
    }
    memcpy(&version, at, sizeof(version));
    at += sizeof(version);
    const struct weir_shard_step *step = find_step(log, name, version);
    if (step != NULL) {
        if (step->version != version) {
            return step->version >> 24 == version >> 24
                       ? other_meaning(name, err)
                       : other_layout(name, version >> 24, step->version >> 24, err);
        }
        struct weir_slice delta = {at, (size_t)(end - at)};
        size_t came = log->taken_bytes > delta.size ? log->taken_bytes - delta.size : 0;
        weir_state_expect(step->state, came, log->expected_bytes);
        return weir_state_apply(step->state, delta, err);
    }
    weir_status status = weir_fail(
        err, WEIR_CONFIG, "there is state of a step \"%.100s\", which this pipeline has not", name);
    weir_err_hint(err,
                  "Steps are found again by their `name:`. Give the step its old name, or begin "
                  "anew under another `name` of the pipeline.");
    return status;
}

static weir_status
take_payload(struct weir_shard_log *log, struct weir_slice payload, struct weir_err *err)
{
    const char *at = payload.data, *end = payload.data + payload.size;
    weir_status status = WEIR_OK;
    while (at < end && status == WEIR_OK) {
        uint32_t size;
        if (end - at < SECTION_HEAD) {
            return damaged(log, "a section is torn", err);
        }
        int type = *at;
        memcpy(&size, at + 1, sizeof(size));
        at += SECTION_HEAD;
        if (size > (size_t)(end - at)) {
            return damaged(log, "a section is torn", err);
        }
        if (type == SECTION_POSITION) {
            status = take_position(log, at, at + size, err);
        } else if (type == SECTION_STEP) {
            status = take_step(log, at, at + size, err);
        } else {
            status = damaged(log, "a section of an unknown type", err);
        }
        at += size;
    }
    return status;
}

weir_status
weir_shard_log_take(struct weir_shard_log *log, struct weir_slice frame, struct weir_err *err)
{
    struct frame_head head;
    uint64_t checksum;
    if (frame.size < FRAME_HEAD + CHECKSUM) {
        return damaged(log, "a frame is too short", err);
    }
    memcpy(&head, frame.data, sizeof(head));
    memcpy(&checksum, frame.data + frame.size - CHECKSUM, CHECKSUM);
    if (memcmp(head.magic, magic, sizeof(magic)) != 0) {
        return damaged(log, "not a frame of this format", err);
    }
    if (checksum != XXH3_64bits(frame.data, frame.size - CHECKSUM)) {
        return damaged(log, "the checksum is wrong", err);
    }
    if (!log->begun) {
        log->begun = true;
        log->begins = log->open.number = head.number;
        log->whole = head.number == 0;
    }
    if (head.number != log->open.number) {
        return damaged(log, "frames are missing", err);
    }
    struct weir_slice payload = {frame.data + FRAME_HEAD, frame.size - FRAME_HEAD - CHECKSUM};
    bool is_next = log->part == 0 || (head.kind == log->part_kind && head.parts == log->part_count);
    if (head.part != log->part || head.part >= head.parts || !is_next) {
        return damaged(log, "parts are out of order", err);
    }
    if (head.kind < KIND_DELTA || head.kind > KIND_END) {
        return damaged(log, "a frame of an unknown kind", err);
    }
    log->part_kind = head.kind;
    log->part_count = head.parts;
    log->open.number++;
    log->taken_bytes += frame.size;
    if (head.kind == KIND_END) {
        log->whole = log->whole || head.first >= log->begins;
        return WEIR_OK;
    }
    if (head.parts > 1) {
        weir_strbuf_slice(&log->parts, payload);
        log->part++;
        if (log->part < head.parts) {
            return WEIR_OK;
        }
        payload = weir_strbuf_view(&log->parts);
    }
    weir_status status = take_payload(log, payload, err);
    weir_strbuf_clear(&log->parts);
    log->part = 0;
    return status;
}

weir_status weir_shard_log_restored(struct weir_shard_log *log, struct weir_err *err)
{
    if (log->begun && (!log->whole || log->part != 0)) {
        return damaged(log, log->part != 0 ? "it ends within an entry" : "its beginning is gone",
                       err);
    }
    for (size_t i = 0; i < log->step_count; i++) {
        weir_state_restored(log->steps[i].state);
    }
    log->open.since = log->taken_bytes;
    log->committed = log->open;
    return WEIR_OK;
}

/* --- writing -----------------------------------------------------------------------------------*/

static void
put_frame(struct weir_shard_log *log, struct frame_head head, const char *payload, size_t size)
{
    struct weir_strbuf *out = &log->frames;
    size_t at = out->size;
    memcpy(head.magic, magic, sizeof(magic));
    head.number = log->open.number++;
    weir_strbuf_append(out, &head, sizeof(head));
    weir_strbuf_append(out, payload, size);
    WEIR_ASSERT(!out->failed);
    uint64_t checksum = XXH3_64bits(out->data + at, out->size - at);
    weir_strbuf_append(out, &checksum, sizeof(checksum));
    WEIR_ASSERT(!out->failed);
    if (log->place_count == log->place_capacity) {
        log->place_capacity = log->place_capacity == 0 ? 8 : log->place_capacity * 2;
        log->places = weir_realloc(log->places, log->place_capacity, sizeof(*log->places));
    }
    log->places[log->place_count++] = (struct frame_place){at, out->size - at};
    log->open.since += out->size - at;
}

/* The payload in one frame, or in parts. */
static void put_payload(struct weir_shard_log *log, uint8_t kind, size_t frame_max)
{
    WEIR_ASSERT(!log->payload.failed);
    size_t room = frame_max - FRAME_HEAD - CHECKSUM;
    size_t parts = (log->payload.size + room - 1) / room;
    WEIR_ASSERT(parts <= PARTS_MAX);
    for (size_t part = 0; part < parts; part++) {
        size_t size = part + 1 < parts ? room : log->payload.size - part * room;
        put_frame(log,
                  (struct frame_head){.kind = kind,
                                      .part = (uint16_t)part,
                                      .parts = (uint16_t)parts,
                                      .first = log->open.first},
                  log->payload.data + part * room, size);
    }
    weir_strbuf_clear(&log->payload);
}

static size_t section_begin(struct weir_strbuf *out, char type)
{
    const uint32_t unknown = 0;
    weir_strbuf_push(out, type);
    weir_strbuf_append(out, &unknown, sizeof(unknown));
    return out->size;
}

static void section_end(struct weir_strbuf *out, size_t begin)
{
    uint32_t size = (uint32_t)(out->size - begin);
    memcpy(out->data + begin - sizeof(size), &size, sizeof(size));
}

static size_t step_begin(struct weir_strbuf *out, const struct weir_shard_step *step)
{
    size_t begin = section_begin(out, SECTION_STEP);
    weir_strbuf_append(out, step->name, strlen(step->name) + 1);
    weir_strbuf_append(out, &step->version, sizeof(step->version));
    return begin;
}

static void put_delta(struct weir_shard_log *log)
{
    for (size_t i = 0; i < log->step_count; i++) {
        const struct weir_shard_step *step = &log->steps[i];
        bool dirty = weir_state_is_dirty(step->state);
        size_t begin = dirty ? step_begin(&log->payload, step) : 0;
        weir_state_seal(step->state, dirty ? &log->payload : NULL);
        if (dirty) {
            section_end(&log->payload, begin);
        }
    }
}

static bool snapshot_is_due(const struct weir_shard_log *log)
{
    size_t bytes = 0;
    for (size_t i = 0; i < log->step_count; i++) {
        bytes += weir_state_bytes(log->steps[i].state);
    }
    return log->snapshot_bytes != SIZE_MAX && log->open.since > log->snapshot_bytes + 2 * bytes;
}

/* first: the number of the epoch's first frame, which has the position. */
static void
put_piece(struct weir_shard_log *log, uint64_t first, size_t delta_bytes, size_t frame_max)
{
    if (!log->open.snapshotting) {
        if (!log->open.wanted && !snapshot_is_due(log)) {
            return;
        }
        log->open.snapshotting = true;
        log->open.wanted = false;
        log->open.first = first;
        log->begins_snapshot = true;
        log->open.step = 0;
        log->open.cursor = (struct weir_state_cursor){0};
    }
    size_t since = log->open.since;
    size_t most = delta_bytes < PIECE_BYTES       ? PIECE_BYTES
                  : delta_bytes > PIECE_BYTES_MAX ? PIECE_BYTES_MAX
                                                  : delta_bytes;
    for (size_t left = most; left > 0 && log->open.step < log->step_count;) {
        const struct weir_shard_step *step = &log->steps[log->open.step];
        size_t begin = step_begin(&log->payload, step);
        bool more = weir_state_snapshot_part(step->state, &log->open.cursor, left, &log->payload);
        section_end(&log->payload, begin);
        if (!more) {
            log->open.step++;
            log->open.cursor = (struct weir_state_cursor){0};
        }
        left = more || log->payload.size >= most ? 0 : most - log->payload.size;
    }
    if (log->payload.size > 0) {
        put_payload(log, KIND_PIECE, frame_max);
    }
    if (log->open.step == log->step_count) {
        put_frame(log, (struct frame_head){.kind = KIND_END, .parts = 1, .first = log->open.first},
                  "", 0);
        log->open.snapshotting = false;
        log->open.since = log->open.since - since; /* deltas since its beginning are not counted */
        log->completes = true;
    }
}

void weir_shard_log_seal(struct weir_shard_log *log,
                         const struct weir_state_position *at,
                         size_t frame_max)
{
    WEIR_ASSERT(frame_max > FRAME_HEAD + CHECKSUM);
    weir_strbuf_clear(&log->frames);
    log->place_count = 0;
    log->begins_snapshot = log->completes = false;
    uint64_t first = log->open.number;
    log->open.first = log->open.snapshotting ? log->open.first : 0;
    size_t begin = section_begin(&log->payload, SECTION_POSITION);
    weir_strbuf_append(&log->payload, at->source, strlen(at->source) + 1);
    weir_strbuf_append(&log->payload, at->topic, strlen(at->topic) + 1);
    weir_strbuf_append(&log->payload, &at->partition, sizeof(at->partition));
    weir_strbuf_append(&log->payload, &at->position, sizeof(at->position));
    weir_strbuf_append(&log->payload, &at->topic_id, at->topic_id != 0 ? sizeof(at->topic_id) : 0);
    section_end(&log->payload, begin);
    put_delta(log);
    size_t delta_bytes = log->payload.size;
    put_payload(log, KIND_DELTA, frame_max);
    put_piece(log, first, delta_bytes, frame_max);
}

bool weir_shard_log_has_more(const struct weir_shard_log *log)
{
    return log->open.wanted || log->open.snapshotting;
}

void weir_shard_log_want_snapshot(struct weir_shard_log *log)
{
    log->open.wanted = log->committed.wanted = !log->open.snapshotting;
}

void weir_shard_log_skip(struct weir_shard_log *log)
{
    log->place_count = 0;
    log->begins_snapshot = log->completes = false;
}

bool weir_shard_log_frame(const struct weir_shard_log *log, size_t index, struct weir_slice *ret)
{
    if (index >= log->place_count) {
        return false;
    }
    *ret = (struct weir_slice){log->frames.data + log->places[index].at, log->places[index].size};
    return true;
}

bool weir_shard_log_begins(const struct weir_shard_log *log)
{
    return log->begins_snapshot;
}

bool weir_shard_log_committed(struct weir_shard_log *log)
{
    log->committed = log->open;
    bool complete = log->completes;
    log->completes = false;
    return complete;
}

void weir_shard_log_aborted(struct weir_shard_log *log)
{
    log->open = log->committed;
    log->completes = false;
}
