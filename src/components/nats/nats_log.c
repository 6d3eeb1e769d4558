/* SPDX-License-Identifier: Apache-2.0
 *
 * Appending is a publish with Nats-Expected-Last-Subject-Sequence, one at a time: the answer to one
 * is what the next expects. Pipelining them with predicted sequences would let a stranger's message
 * shift the rest of the chain.
 *
 * An answer that does not come leaves open whether the message is stored, or will be. The same
 * message is sent again: if the first one was stored the second is refused, and the subject's last
 * message says whose it is; if the first one comes later still, it is the one that is refused.
 */
#include "nats_log.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"

enum { TRIES = 3, HEAD_BYTES = 400 };

void nats_log_name(
    struct nats_log *log, const char *pipeline, const char *source, int32_t index, char *ret_stream)
{
    snprintf(ret_stream, NATS_NAME_MAX + 8, "weir-%.240s", pipeline);
    snprintf(log->subject, sizeof(log->subject), "weir.%s.log.%s.%d", pipeline, source, (int)index);
    log->stream = ret_stream;
}

void nats_log_name_in(struct nats_log *log,
                      const char *pipeline,
                      const char *source,
                      int32_t index,
                      const struct nats_target *target)
{
    /* Another subject than that of a log in a stream of weir's own: two streams cannot share one.
     */
    snprintf(log->subject, sizeof(log->subject), "weir.%s.task.%s.%d", pipeline, source,
             (int)index);
    log->stream = target->spec.name;
    log->target = target;
}

weir_status nats_log_make_stream(struct nats_client *client,
                                 const char *stream,
                                 const char *subjects,
                                 size_t *ret_payload,
                                 struct weir_err *err)
{
    struct weir_arena arena;
    struct weir_value info;
    const struct nats_stream_spec spec = {.name = stream,
                                          .subjects = {&subjects, 1},
                                          .manage = NATS_MANAGE_CREATE,
                                          .is_direct = true};
    weir_arena_init(&arena, 0);
    weir_status status = nats_stream_ensure(client, &spec, &arena, &info, err);
    *ret_payload = status == WEIR_OK ? nats_payload_max(client, info) : 0;
    weir_arena_done(&arena);
    return status;
}

/* --- records -----------------------------------------------------------------------------------*/

/* The beginning of a message, with a NUL behind it. */
struct head {
    char text[HEAD_BYTES + 1];
    size_t size;
};

static struct head head_of(struct weir_slice text)
{
    struct head head = {.size = text.size < HEAD_BYTES ? text.size : HEAD_BYTES};
    memcpy(head.text, text.data, head.size);
    return head;
}

struct record {
    char kind; /* o, c or a */
    uint64_t nonce, token, epoch;
    int64_t position;
    const char *stream; /* in the head */
};

static bool record_parse(const struct head *head, struct record *ret)
{
    char *at = (char *)(uintptr_t)head->text + 1;
    *ret = (struct record){.kind = head->text[0]};
    ret->nonce = strtoull(at, &at, 16);
    ret->token = strtoull(at, &at, 10);
    if (ret->kind == 'c') {
        ret->epoch = strtoull(at, &at, 10);
    }
    if (ret->kind == 'c' || ret->kind == 'a') {
        ret->position = strtoll(at, &at, 10);
    }
    if (ret->kind == 'a' && *at == ' ') {
        ret->stream = at + 1;
        return ret->token > 0;
    }
    return (ret->kind == 'o' || ret->kind == 'c') && *at == '\0' && ret->token > 0;
}

static weir_status log_last(struct nats_log *log,
                            struct nats_client *client,
                            uint64_t *ret_sequence,
                            struct head *ret,
                            struct weir_err *err)
{
    struct weir_strbuf text;
    weir_strbuf_init(&text, SIZE_MAX / 2);
    weir_status status = nats_api_last(client, log->stream, log->subject, ret_sequence, &text, err);
    *ret = head_of(weir_strbuf_view(&text));
    weir_strbuf_done(&text);
    return status;
}

/* --- appending ---------------------------------------------------------------------------------*/

/* The outputs and frames of a commit, and its text, as one batch. */
static weir_status log_send_batch(struct nats_log *log,
                                  struct nats_client *client,
                                  struct weir_slice text,
                                  int try,
                                  struct weir_err *err)
{
    char id[64], last[24];
    size_t outputs = log->outputs.count;
    natsStatus code = NATS_OK;
    for (size_t i = 0; i <= log->frame_count && code == NATS_OK; i++) {
        struct weir_slice part = i < log->frame_count ? weir_strbuf_view(&log->frames[i]) : text;
        natsMsg *message = NULL;
        code = natsMsg_Create(&message, log->subject, NULL, part.data, (int)part.size);
        if (code == NATS_OK && i == 0) { /* the fence: of a subject it is asked once */
            snprintf(last, sizeof(last), "%" PRIu64, log->last);
            code = natsMsgHeader_Set(message, "Nats-Expected-Last-Subject-Sequence", last);
        }
        if (message != NULL) {
            nats_batch_push(&log->outputs, message);
        }
    }
    snprintf(id, sizeof(id), "%016" PRIx64 "-%" PRIx64 "-%" PRIx64 "-%d", log->nonce, log->token,
             log->epoch + 1, try);
    weir_status status = code == NATS_OK
                             ? nats_batch_publish(&log->outputs, client, id, &log->last, err)
                             : nats_fail(err, log->subject, code);
    while (log->outputs.count > outputs) {
        natsMsg_Destroy(log->outputs.messages[--log->outputs.count]);
    }
    return status;
}

/* A message, or a commit with all that belongs to it, until it is known to stand, or not to. */
static weir_status log_send(struct nats_log *log,
                            struct nats_client *client,
                            struct weir_slice text,
                            bool is_batch,
                            struct weir_err *err)
{
    const struct head ours = head_of(text);
    uint64_t before = log->last;
    bool is_open = false; /* one of them may be stored */
    weir_status status = WEIR_UNAVAILABLE;
    for (int try = 0; try < TRIES && weir_status_class(status) == WEIR_CLASS_UNAVAILABLE; try++) {
        weir_err_clear(err);
        status = is_batch
                     ? log_send_batch(log, client, text, try, err)
                     : nats_api_publish(client, log->subject, text, log->last, &log->last, err);
        if (status == WEIR_FENCED && is_open) {
            struct weir_err ignored = {0};
            struct head last;
            uint64_t sequence;
            if (log_last(log, client, &sequence, &last, &ignored) != WEIR_OK) {
                return err->status = WEIR_UNKNOWN;
            }
            if (sequence != before && last.size == ours.size &&
                memcmp(last.text, ours.text, ours.size) == 0) {
                log->last = sequence;
                weir_err_clear(err);
                return WEIR_OK;
            }
        }
        is_open = is_open || weir_status_class(status) == WEIR_CLASS_UNAVAILABLE;
    }
    if (is_open && weir_status_class(status) == WEIR_CLASS_UNAVAILABLE) {
        err->status = status = WEIR_UNKNOWN;
    }
    return status;
}

static weir_status log_append(struct nats_log *log,
                              struct nats_client *client,
                              struct weir_slice text,
                              struct weir_err *err)
{
    return log_send(log, client, text, false, err);
}

/* --- reading all of it -------------------------------------------------------------------------*/

struct scan {
    weir_status (*take)(void *context, struct weir_slice entry, struct weir_err *err);
    void *context;
    struct weir_strbuf *frames; /* of a commit whose end has not come yet */
    size_t count, capacity;
    int64_t position;
    uint64_t epoch, last;
};

static void scan_forget(struct scan *scan)
{
    for (size_t i = 0; i < scan->count; i++) {
        weir_strbuf_done(&scan->frames[i]);
    }
    scan->count = 0;
}

static void scan_keep(struct scan *scan, struct weir_slice frame)
{
    if (scan->count == scan->capacity) {
        scan->capacity = scan->capacity == 0 ? 8 : 2 * scan->capacity;
        scan->frames = weir_realloc(scan->frames, scan->capacity, sizeof(*scan->frames));
    }
    struct weir_strbuf *copy = &scan->frames[scan->count++];
    weir_strbuf_init(copy, SIZE_MAX / 2);
    weir_strbuf_slice(copy, frame);
    WEIR_ASSERT(!copy->failed);
}

static weir_status scan_message(struct scan *scan, struct weir_slice text, struct weir_err *err)
{
    if (text.size >= 2 && text.data[0] == 'f') {
        if (scan->take != NULL) {
            scan_keep(scan, (struct weir_slice){text.data + 2, text.size - 2});
        }
        return WEIR_OK;
    }
    const struct head head = head_of(text);
    struct record record;
    if (!record_parse(&head, &record)) {
        return weir_fail(err, WEIR_CORRUPT, "this is no record of weir");
    }
    weir_status status = WEIR_OK;
    if (record.kind == 'c') {
        scan->position = record.position;
        scan->epoch = record.epoch;
        for (size_t i = 0; i < scan->count && status == WEIR_OK; i++) {
            status = scan->take(scan->context, weir_strbuf_view(&scan->frames[i]), err);
        }
    }
    scan_forget(scan);
    return status;
}

static weir_status
scan_take(void *context, natsMsg *message, uint64_t sequence, struct weir_err *err)
{
    struct scan *scan = context;
    scan->last = sequence;
    return scan_message(
        scan, (struct weir_slice){natsMsg_GetData(message), (size_t)natsMsg_GetDataLength(message)},
        err);
}

/* All messages of the subject, up to log->last at least. */
static weir_status
log_scan(struct nats_log *log, struct nats_client *client, struct scan *scan, struct weir_err *err)
{
    const char *filter = log->subject;
    const struct nats_consumer_spec spec = {.stream = log->stream, .filters = {&filter, 1}};
    weir_status status = nats_scan(client, &spec, log->last, scan_take, scan, err);
    if (status == WEIR_OK && scan->last < log->last) {
        status = weir_fail(err, WEIR_UNAVAILABLE, "%s: not all of it can be read", log->stream);
    }
    scan_forget(scan);
    weir_free(scan->frames);
    return status;
}

weir_status
nats_log_restore(struct nats_log *log,
                 struct nats_client *client,
                 weir_status (*take)(void *context, struct weir_slice entry, struct weir_err *err),
                 void *context,
                 struct weir_err *err)
{
    struct scan scan = {.take = take, .context = context};
    return log_scan(log, client, &scan, err);
}

/* The subject of a log in another stream: `task` for `log`. */
static void log_name_there(struct nats_log *there, const struct nats_log *log)
{
    const char *at = strstr(log->subject + strlen("weir."), ".log.");
    WEIR_ASSERT(at != NULL);
    snprintf(there->subject, sizeof(there->subject), "%.*s.task.%s", (int)(at - log->subject),
             log->subject, at + strlen(".log."));
}

weir_status nats_log_follow(struct nats_log *log,
                            struct nats_client *client,
                            char *ret_stream,
                            struct weir_err *err)
{
    struct head head;
    struct record record;
    weir_status status =
        log->last == 0 ? WEIR_OK : log_last(log, client, &log->last, &head, err);
    if (status == WEIR_OK && log->last > 0 && record_parse(&head, &record) && record.kind == 'a') {
        struct nats_log there = {.stream = ret_stream};
        log_name_there(&there, log);
        snprintf(ret_stream, NATS_NAME_MAX + 8, "%s", record.stream);
        memcpy(log->subject, there.subject, sizeof(log->subject));
        log->stream = ret_stream;
        status = log_last(log, client, &log->last, &head, err);
    }
    return status;
}

weir_status nats_log_look(struct nats_log *log,
                          struct nats_client *client,
                          int64_t *ret_position,
                          struct weir_err *err)
{
    struct head head;
    struct record record;
    struct scan scan = {.position = -1};
    struct weir_arena arena;
    struct weir_value info;
    const struct nats_stream_spec spec = {.name = log->stream, .manage = NATS_MANAGE_BIND};
    weir_arena_init(&arena, 0);
    weir_status status = nats_stream_ensure(client, &spec, &arena, &info, err);
    weir_arena_done(&arena);
    *ret_position = -1;
    if (status == WEIR_CONFIG) { /* there is no such stream */
        weir_err_clear(err);
        return WEIR_OK;
    }
    status = status == WEIR_OK ? log_last(log, client, &log->last, &head, err) : status;
    bool is_record = status == WEIR_OK && record_parse(&head, &record);
    if (is_record && record.kind == 'a') {
        struct nats_target target = {.spec = {.name = record.stream}};
        struct nats_log there = {.stream = record.stream, .target = &target};
        log_name_there(&there, log);
        status = nats_log_look(&there, client, ret_position, err);
        *ret_position = *ret_position < 0 ? record.position : *ret_position;
        return status;
    }
    if (is_record && record.kind == 'c') {
        scan.position = record.position;
    } else if (status == WEIR_OK && log->last > 0) {
        status = log_scan(log, client, &scan, err);
    }
    *ret_position = scan.position;
    return status;
}

/* --- a tenure ----------------------------------------------------------------------------------*/

weir_status nats_log_adopt(struct nats_log *log,
                           struct nats_client *client,
                           uint64_t nonce,
                           uint64_t token,
                           struct weir_err *err)
{
    char text[80];
    struct head head;
    struct record record;
    int size = snprintf(text, sizeof(text), "o %016" PRIx64 " %" PRIu64, nonce, token);
    weir_status status = WEIR_FENCED;
    log->nonce = nonce;
    log->token = token;
    for (int try = 0; try < TRIES && status == WEIR_FENCED; try++) { /* a zombie may be appending */
        weir_err_clear(err);
        status = log_last(log, client, &log->last, &head, err);
        bool is_record = status == WEIR_OK && record_parse(&head, &record);
        if (is_record && record.kind == 'a') {
            status = weir_fail(err, WEIR_CONFIG, "positions and outputs lie together in %s",
                               record.stream);
            weir_err_hint(err, "Write `atomic: true` again, or begin anew under another `name`.");
            return status;
        }
        if (is_record && record.token > token) {
            return weir_fail(err, WEIR_FENCED, "a later tenure has begun");
        }
        if (status == WEIR_OK) {
            status = log_append(log, client, (struct weir_slice){text, (size_t)size}, err);
        }
    }
    struct scan scan = {.position = -1};
    status = status == WEIR_OK ? log_scan(log, client, &scan, err) : status;
    log->position = scan.position;
    log->epoch = scan.epoch;
    log->commits = 0;
    return status;
}

/* The token of the last one will do: nobody has it any more, and the next one is greater. */
weir_status
nats_log_adopt_idle(struct nats_log *log, struct nats_client *client, struct weir_err *err)
{
    struct head head;
    struct record record = {0};
    weir_status status = log_last(log, client, &log->last, &head, err);
    bool is_known = log->last > 0 && record_parse(&head, &record);
    return status == WEIR_OK ? nats_log_adopt(log, client, 0, is_known ? record.token : 1, err)
                             : status;
}

void nats_log_append(struct nats_log *log, struct weir_slice entry)
{
    log->frames = weir_realloc(log->frames, log->frame_count + 1, sizeof(*log->frames));
    struct weir_strbuf *frame = &log->frames[log->frame_count++];
    weir_strbuf_init(frame, SIZE_MAX / 2);
    weir_strbuf_text(frame, "f ");
    weir_strbuf_slice(frame, entry);
    WEIR_ASSERT(!frame->failed);
}

void nats_log_forget(struct nats_log *log)
{
    for (size_t i = 0; i < log->frame_count; i++) {
        weir_strbuf_done(&log->frames[i]);
    }
    weir_free(log->frames);
    log->frames = NULL;
    log->frame_count = 0;
    nats_batch_clear(&log->outputs);
    log->timed = 0;
}

weir_status nats_log_hand_over(struct nats_log *log,
                               struct nats_client *client,
                               const struct nats_log *to,
                               bool has_state,
                               int64_t *ret_position,
                               struct weir_err *err)
{
    struct head head;
    struct record record;
    weir_status status = log_last(log, client, &log->last, &head, err);
    bool is_over = status == WEIR_OK && record_parse(&head, &record) && record.kind == 'a';
    if (is_over && strcmp(record.stream, to->stream) != 0) {
        status = weir_fail(err, WEIR_CONFIG, "positions lie in the stream %s", record.stream);
        weir_err_hint(err, "Name that stream again, or begin anew under another `name`.");
        return status;
    }
    if (is_over) {
        *ret_position = record.position;
        return WEIR_OK;
    }
    struct scan scan = {.position = -1};
    status = status == WEIR_OK && log->last > 0 ? log_scan(log, client, &scan, err) : status;
    *ret_position = scan.position;
    if (status == WEIR_OK && scan.position >= 0 && has_state) {
        status = weir_fail(err, WEIR_CONFIG, "the state lies in the stream %s", log->stream);
        weir_err_hint(err, "Leave `atomic` out, or begin anew under another `name`.");
    }
    char text[HEAD_BYTES];
    int size = snprintf(text, sizeof(text), "a %016" PRIx64 " %" PRIu64 " %" PRId64 " %s",
                        to->nonce, to->token, scan.position, to->stream);
    return status == WEIR_OK ? log_append(log, client, (struct weir_slice){text, (size_t)size}, err)
                             : status;
}

weir_status nats_log_flush(struct nats_log *log, struct nats_client *client, struct weir_err *err)
{
    weir_status status = WEIR_OK;
    for (size_t i = 0; i < log->frame_count && status == WEIR_OK; i++) {
        status = log_append(log, client, weir_strbuf_view(&log->frames[i]), err);
    }
    nats_log_forget(log);
    return status;
}

weir_status nats_log_commit(struct nats_log *log,
                            struct nats_client *client,
                            int64_t position,
                            struct weir_err *err)
{
    char text[HEAD_BYTES];
    bool is_batch = log->target != NULL;
    weir_status status = WEIR_OK;
    for (size_t i = 0; i < log->frame_count && status == WEIR_OK && !is_batch; i++) {
        status = log_append(log, client, weir_strbuf_view(&log->frames[i]), err);
    }
    if (is_batch && log->outputs.count + log->frame_count + 1 > NATS_BATCH_MAX) {
        status = weir_fail(err, WEIR_TOO_LARGE, "%zu messages are to be committed together, %d can",
                           log->outputs.count + log->frame_count + 1, NATS_BATCH_MAX);
    }
    if (status == WEIR_OK) {
        int size = snprintf(text, sizeof(text), "c %016" PRIx64 " %" PRIu64 " %" PRIu64 " %" PRId64,
                            log->nonce, log->token, log->epoch + 1, position);
        status = log_send(log, client, (struct weir_slice){text, (size_t)size}, is_batch, err);
    }
    nats_log_forget(log);
    if (status == WEIR_OK) {
        log->epoch++;
        log->position = position;
        log->commits++;
    }
    return status;
}

weir_status nats_log_cut(struct nats_log *log,
                         struct nats_client *client,
                         uint64_t before,
                         struct weir_err *err)
{
    char subject[NATS_NAME_MAX + 40], body[NATS_SUBJECT_MAX + 80];
    struct weir_arena arena;
    struct weir_value value;
    struct nats_answer answer;
    int size = snprintf(body, sizeof(body), "{\"filter\":\"%s\",\"seq\":%" PRIu64 "}", log->subject,
                        before);
    snprintf(subject, sizeof(subject), "$JS.API.STREAM.PURGE.%s", log->stream);
    weir_arena_init(&arena, 0);
    weir_status status = nats_api_ask(
        client, &arena, subject, (struct weir_slice){body, (size_t)size}, &answer, &value, err);
    if (status == WEIR_OK && answer.code != 0) {
        status = nats_api_fail(err, log->stream, &answer);
    }
    weir_arena_done(&arena);
    log->commits = 0;
    return status;
}
