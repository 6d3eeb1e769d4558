/* SPDX-License-Identifier: Apache-2.0
 *
 * How often the server has delivered a message blames nobody: a request raises it for all that it
 * brings, also for what no lane has seen. So a process that tries a message alone writes that down
 * before, and strikes it out when the message is done with, or given back. What stands there
 * afterwards was written by a process that died during the try, or does not know yet that the
 * message is somebody else's now; a kill from outside looks no different, which is why one is not
 * enough.
 *
 * The book is one key per consumer, whoever writes expects the revision that he has read:
 *
 *     4711 2 5f3a…        message, tries, who makes the last one (0: nobody, it was given back)
 *
 * It has a line per process that tries something, and per message of which one has died. One that
 * dies behind an acknowledgement leaves a line of a message that never comes again: such lines are
 * struck out at a connection, when all messages up to theirs are acknowledged, and the oldest ones
 * when there are many.
 */
#include "nats_trial.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

enum { LINES_MAX = 1000, LINE_BYTES_MAX = 64, TRIES = 16 };

#define BUCKET "weir-tries"

void nats_trials_init(struct nats_trials *self,
                      const char *stream,
                      const char *durable,
                      uint64_t nonce,
                      int64_t limit)
{
    *self = (struct nats_trials){.nonce = nonce, .limit = limit};
    snprintf(self->subject, sizeof(self->subject), "$KV." BUCKET ".%s.%s", stream, durable);
    weir_strbuf_init(&self->book, 2 * LINES_MAX * LINE_BYTES_MAX);
}

void nats_trials_done(struct nats_trials *self)
{
    weir_strbuf_done(&self->book);
}

/* --- the book ----------------------------------------------------------------------------------*/

struct line {
    uint64_t sequence, nonce;
    int64_t tries;
};

/* Of the text at *at, which moves behind it; false: that was all. */
static bool take_line(const char **at, struct line *ret)
{
    char *end = (char *)(uintptr_t)*at;
    ret->sequence = strtoull(end, &end, 10);
    ret->tries = strtoll(end, &end, 10);
    ret->nonce = strtoull(end, &end, 16);
    bool is_there = *end == '\n';
    *at = is_there ? end + 1 : end;
    return is_there;
}

static void put_line(struct weir_strbuf *out, const struct line *line)
{
    weir_strbuf_printf(out, "%" PRIu64 " %" PRId64 " %016" PRIx64 "\n", line->sequence, line->tries,
                       line->nonce);
}

static const char *book_text(const struct weir_strbuf *book)
{
    return book->size > 0 ? book->data : "";
}

static size_t count_lines(const struct weir_strbuf *book)
{
    const char *at = book_text(book);
    size_t count = 0;
    for (struct line line; take_line(&at, &line); count++) {
    }
    return count;
}

struct change {
    uint64_t done;  /* to strike out; 0: nothing */
    uint64_t back;  /* given back */
    uint64_t tried; /* to write down */
    bool condemned; /* it has been tried often enough */
};

/* The book after the change. */
static void
write_book(const struct nats_trials *self, struct change *change, struct weir_strbuf *out)
{
    const char *at = book_text(&self->book);
    size_t count = count_lines(&self->book), index = 0;
    struct line tried = {.sequence = change->tried};
    for (struct line line; take_line(&at, &line); index++) {
        if (change->tried != 0 && line.sequence == change->tried) {
            tried = line;
            continue;
        }
        if (line.sequence == change->back && line.nonce == self->nonce) {
            line.nonce = 0;
            line.tries--;
        }
        bool is_done = line.sequence == change->done || line.sequence <= self->floor;
        if (!is_done && line.tries > 0 && index + LINES_MAX > count) {
            put_line(out, &line);
        }
    }
    bool is_ours = tried.nonce == self->nonce; /* it came again, and nobody has died */
    change->condemned = !is_ours && tried.tries >= self->limit;
    if (!is_ours && !change->condemned) {
        tried.tries++;
        tried.nonce = self->nonce;
    }
    if (change->tried != 0) {
        put_line(out, &tried);
    }
}

static weir_status trials_change(struct nats_trials *self,
                                 struct nats_client *client,
                                 struct change *change,
                                 struct weir_err *err)
{
    weir_status status = WEIR_OK;
    bool is_written = false;
    struct weir_strbuf text;
    weir_strbuf_init(&text, 2 * LINES_MAX * LINE_BYTES_MAX);
    for (int i = 0; i < TRIES && status == WEIR_OK && !is_written; i++) {
        if (!self->is_known) {
            status = nats_api_last(client, "KV_" BUCKET, self->subject, &self->revision,
                                   &self->book, err);
        }
        if (status != WEIR_OK) {
            break;
        }
        weir_strbuf_clear(&text);
        write_book(self, change, &text);
        WEIR_ASSERT(!text.failed);
        is_written = weir_slice_equal(weir_strbuf_view(&text), weir_strbuf_view(&self->book));
        if (!is_written) {
            status = nats_api_publish(client, self->subject, weir_strbuf_view(&text),
                                      self->revision, &self->revision, err);
            is_written = status == WEIR_OK;
        }
        self->is_known = is_written;
        if (status == WEIR_FENCED) { /* somebody else has written meanwhile */
            weir_err_clear(err);
            status = WEIR_OK;
        }
    }
    if (status == WEIR_OK && !is_written) {
        status = weir_fail(err, WEIR_UNAVAILABLE, "too many processes try messages alone at once");
    }
    if (status == WEIR_OK) {
        weir_strbuf_clear(&self->book);
        weir_strbuf_slice(&self->book, weir_strbuf_view(&text));
        const char *at = book_text(&self->book);
        self->highest = 0;
        for (struct line line; take_line(&at, &line);) {
            self->highest = line.sequence > self->highest ? line.sequence : self->highest;
        }
    }
    weir_strbuf_done(&text);
    return status;
}

/* --- tries -------------------------------------------------------------------------------------*/

weir_status nats_trials_ensure(struct nats_trials *self,
                               struct nats_client *client,
                               int64_t floor,
                               struct weir_err *err)
{
    struct weir_arena arena;
    struct weir_value info;
    const char *subjects[] = {"$KV." BUCKET ".>"};
    const struct nats_stream_spec spec = {.name = "KV_" BUCKET,
                                          .subjects = {subjects, 1},
                                          .manage = NATS_MANAGE_CREATE,
                                          .is_direct = true,
                                          .is_bucket = true,
                                          .history = 1};
    weir_arena_init(&arena, 0);
    weir_status status = nats_stream_ensure(client, &spec, &arena, &info, err);
    weir_arena_done(&arena);
    self->is_known = false;
    self->floor = (uint64_t)floor;
    struct change nothing = {0};
    return status == WEIR_OK ? trials_change(self, client, &nothing, err) : status;
}

bool nats_trials_has(const struct nats_trials *self, uint64_t sequence)
{
    const char *at = sequence <= self->highest ? book_text(&self->book) : "";
    for (struct line line; take_line(&at, &line);) {
        if (line.sequence == sequence) {
            return true;
        }
    }
    return false;
}

weir_status nats_trials_begin(struct nats_trials *self,
                              struct nats_client *client,
                              uint64_t sequence,
                              bool *ret_condemned,
                              struct weir_err *err)
{
    struct change change = {.done = self->sequence, .tried = sequence};
    weir_status status = trials_change(self, client, &change, err);
    if (status == WEIR_OK) {
        self->sequence = sequence;
    }
    *ret_condemned = change.condemned;
    return status;
}

weir_status nats_trials_end(struct nats_trials *self,
                            struct nats_client *client,
                            bool is_over,
                            struct weir_err *err)
{
    if (self->sequence == 0) {
        return WEIR_OK;
    }
    struct change change = {.done = is_over ? self->sequence : 0,
                            .back = is_over ? 0 : self->sequence};
    weir_status status = trials_change(self, client, &change, err);
    if (status == WEIR_OK) {
        self->sequence = 0;
    }
    return status;
}

void nats_trials_knock(const struct nats_trials *self,
                       struct nats_client *client,
                       const char *reply)
{
    char body[sizeof(self->subject) + 40];
    snprintf(body, sizeof(body), "{\"last_by_subj\":\"%s\"}", self->subject);
    (void)natsConnection_PublishRequestString(client->connection, "$JS.API.DIRECT.GET.KV_" BUCKET,
                                              reply, body);
}
