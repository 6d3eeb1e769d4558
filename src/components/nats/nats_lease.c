/* SPDX-License-Identifier: Apache-2.0
 *
 * All leases and members of a pipeline are one document under one key; every change expects the
 * revision that it was made from, so of two changes at once one is made again from what the other
 * left.
 *
 *     m NONCE BEAT                    a member, and how often it said that it lives
 *     l INDEX NONCE TOKEN BEAT        a lease (NONCE 0: free), and how often it was renewed
 *
 * Nobody's clock is compared with another's: a member is gone, and a lease over, when its line has
 * not changed for the leases' time, by the clock of whoever looks.
 */
#include "nats_lease.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/clock.h"

enum { TRIES = 16, TEXT_MAX = 1 << 20, FORGET_TTLS = 10 };

struct nats_member {
    uint64_t nonce, beat;
    int64_t seen_ns; /* when this line was first seen as it is */
    bool is_there;   /* in the document */
};

struct nats_tenure {
    uint64_t nonce, token, beat;
    int64_t seen_ns;
};

void nats_lease_medium_init(struct nats_lease_medium *medium)
{
    medium->tenures = weir_calloc(medium->count, sizeof(*medium->tenures));
    nats_line_init(&medium->line);
}

static void medium_disconnect(struct nats_lease_medium *self)
{
    nats_line_set(&self->line, NULL);
}

void nats_lease_medium_done(struct nats_lease_medium *medium)
{
    nats_line_done(&medium->line);
    weir_free(medium->members);
    weir_free(medium->tenures);
}

void nats_lease_names(struct nats_lease_medium *medium, const char *pipeline, const char *source)
{
    snprintf(medium->bucket, sizeof(medium->bucket), "KV_weir-%.240s", pipeline);
    snprintf(medium->key, sizeof(medium->key), "$KV.weir-%.100s.%.100s", pipeline, source);
}

/* --- the document ------------------------------------------------------------------------------*/

static void
take_member(struct nats_lease_medium *self, uint64_t nonce, uint64_t beat, int64_t now_ns)
{
    for (size_t i = 0; i < self->member_count; i++) {
        struct nats_member *member = &self->members[i];
        if (member->nonce == nonce) {
            member->seen_ns = member->beat == beat ? member->seen_ns : now_ns;
            member->beat = beat;
            member->is_there = true;
            return;
        }
    }
    if (self->member_count < WEIR_LEASE_MEMBERS_MAX) {
        self->members = weir_realloc(self->members, self->member_count + 1, sizeof(*self->members));
        self->members[self->member_count++] = (struct nats_member){nonce, beat, now_ns, true};
    }
}

static void take_line(struct nats_lease_medium *self, const char *line, int64_t now_ns)
{
    char *at = (char *)(uintptr_t)line + 1;
    if (line[0] == 'm') {
        uint64_t nonce = strtoull(at, &at, 16);
        take_member(self, nonce, strtoull(at, &at, 10), now_ns);
    } else if (line[0] == 'l') {
        uint64_t index = strtoull(at, &at, 10);
        struct nats_tenure now = {.seen_ns = now_ns};
        now.nonce = strtoull(at, &at, 16);
        now.token = strtoull(at, &at, 10);
        now.beat = strtoull(at, &at, 10);
        struct nats_tenure *known = index < self->count ? &self->tenures[index] : NULL;
        if (known != NULL && (known->seen_ns == 0 || known->nonce != now.nonce ||
                              known->token != now.token || known->beat != now.beat)) {
            *known = now;
        }
    }
}

static weir_status medium_load(struct nats_lease_medium *self, struct weir_err *err)
{
    struct weir_strbuf text;
    weir_strbuf_init(&text, TEXT_MAX);
    weir_status status =
        nats_api_last(self->line.client, self->bucket, self->key, &self->revision, &text, err);
    int64_t now_ns = weir_clock_monotonic_ns(self->clock);
    if (status == WEIR_OK) {
        const char *line = text.size > 0 ? text.data : "";
        for (size_t i = 0; i < self->member_count; i++) {
            self->members[i].is_there = false;
        }
        while (*line != '\0') {
            take_line(self, line, now_ns);
            line += strcspn(line, "\n");
            line += *line == '\n';
        }
        size_t kept = 0;
        for (size_t i = 0; i < self->member_count; i++) {
            if (self->members[i].is_there) {
                self->members[kept++] = self->members[i];
            }
        }
        self->member_count = kept;
    }
    weir_strbuf_done(&text);
    return status;
}

/* WEIR_AGAIN: somebody else has changed it meanwhile. */
static weir_status medium_store(struct nats_lease_medium *self, struct weir_err *err)
{
    struct weir_strbuf text;
    int64_t now_ns = weir_clock_monotonic_ns(self->clock);
    weir_strbuf_init(&text, TEXT_MAX);
    for (size_t i = 0; i < self->member_count; i++) {
        const struct nats_member *member = &self->members[i];
        if (now_ns - member->seen_ns < FORGET_TTLS * self->ttl_ms * WEIR_NS_PER_MS) {
            weir_strbuf_printf(&text, "m %016" PRIx64 " %" PRIu64 "\n", member->nonce,
                               member->beat);
        }
    }
    for (uint32_t i = 0; i < self->count; i++) {
        const struct nats_tenure *tenure = &self->tenures[i];
        if (tenure->token > 0) {
            weir_strbuf_printf(&text, "l %" PRIu32 " %016" PRIx64 " %" PRIu64 " %" PRIu64 "\n", i,
                               tenure->nonce, tenure->token, tenure->beat);
        }
    }
    WEIR_ASSERT(!text.failed);
    weir_status status = nats_api_publish(self->line.client, self->key, weir_strbuf_view(&text),
                                          self->revision, &self->revision, err);
    weir_strbuf_done(&text);
    if (status == WEIR_FENCED) {
        weir_err_clear(err);
        status = WEIR_AGAIN;
    }
    return status;
}

/* --- from outside ------------------------------------------------------------------------------*/

static bool has_leases(const char *text)
{
    for (const char *line = text; line != NULL && *line != '\0';) {
        unsigned long long index, nonce;
        if (sscanf(line, "l %llu %llx", &index, &nonce) == 2 && nonce != 0) {
            return true;
        }
        line = strchr(line, '\n');
        line += line != NULL;
    }
    return false;
}

static bool has_bucket(struct nats_lease_medium *medium, struct weir_err *err)
{
    struct weir_arena arena;
    struct weir_value info;
    const struct nats_stream_spec spec = {.name = medium->bucket, .manage = NATS_MANAGE_BIND};
    weir_arena_init(&arena, 0);
    weir_status status = nats_stream_ensure(medium->line.client, &spec, &arena, &info, err);
    weir_arena_done(&arena);
    if (status == WEIR_CONFIG) { /* no such stream */
        weir_err_clear(err);
    }
    return status == WEIR_OK;
}

weir_status nats_lease_look(struct nats_lease_medium *medium, bool *ret_held, struct weir_err *err)
{
    const struct weir_clock *clock = weir_clock_system();
    int64_t deadline_ns = weir_clock_monotonic_ns(clock) + medium->ttl_ms * WEIR_NS_PER_MS;
    struct weir_strbuf text;
    weir_strbuf_init(&text, TEXT_MAX);
    uint64_t first = 0, revision = 0;
    weir_status status = WEIR_OK;
    bool may_be_held = has_bucket(medium, err);
    *ret_held = false;
    while (may_be_held && status == WEIR_OK && !*ret_held) {
        weir_strbuf_clear(&text);
        status =
            nats_api_last(medium->line.client, medium->bucket, medium->key, &revision, &text, err);
        first = first == 0 ? revision : first;
        *ret_held = status == WEIR_OK && revision != first;
        may_be_held = status == WEIR_OK && has_leases(text.data) &&
                      weir_clock_monotonic_ns(clock) < deadline_ns;
        if (may_be_held && !*ret_held) {
            nats_Sleep(medium->ttl_ms / 20 + 1);
        }
    }
    weir_strbuf_done(&text);
    return err->status == WEIR_OK ? status : err->status;
}

/* --- the medium --------------------------------------------------------------------------------*/

static weir_status medium_connect(struct nats_lease_medium *self, struct weir_err *err)
{
    if (self->line.client != NULL) {
        return WEIR_OK;
    }
    weir_status status = nats_line_open(&self->line, self->address, "weir leases", err);
    if (status != WEIR_OK) {
        return status;
    }
    struct weir_arena arena;
    struct weir_value info;
    const char *subjects[] = {self->key};
    const struct nats_stream_spec spec = {.name = self->bucket,
                                          .subjects = {subjects, 1},
                                          .manage = NATS_MANAGE_CREATE,
                                          .is_direct = true,
                                          .history = 1};
    weir_arena_init(&arena, 0);
    status = nats_stream_ensure(self->line.client, &spec, &arena, &info, err);
    weir_arena_done(&arena);
    return status;
}

struct change {
    uint32_t index;
    uint64_t token;
    weir_status (*make)(struct nats_lease_medium *self,
                        struct change *change,
                        struct weir_err *err);
};

/* Makes a change to the document as it is, until it is stored. */
static weir_status
medium_change(struct nats_lease_medium *self, struct change *change, struct weir_err *err)
{
    weir_status status = medium_connect(self, err);
    for (int try = 0; try < TRIES && status == WEIR_OK; try++) {
        status = medium_load(self, err);
        const struct nats_tenure before = self->tenures[change->index];
        status = status == WEIR_OK ? change->make(self, change, err) : status;
        if (status != WEIR_OK) {
            break;
        }
        status = medium_store(self, err);
        if (status == WEIR_OK) {
            return WEIR_OK;
        }
        self->tenures[change->index] = before; /* since when it is as it is must not be forgotten */
        status = status == WEIR_AGAIN ? WEIR_OK : status;
    }
    if (status == WEIR_OK) {
        return weir_fail(err, WEIR_UNAVAILABLE, "too many processes change the leases at once");
    }
    if (weir_status_class(status) == WEIR_CLASS_UNAVAILABLE) {
        medium_disconnect(self); /* what is under way must not be taken for the next answer */
    }
    return status;
}

static weir_status
make_beat(struct nats_lease_medium *self, struct change *change, struct weir_err *err)
{
    (void)change;
    (void)err;
    uint64_t beat = 0;
    for (size_t i = 0; i < self->member_count; i++) {
        beat = self->members[i].nonce == self->nonce ? self->members[i].beat : beat;
    }
    take_member(self, self->nonce, beat + 1, weir_clock_monotonic_ns(self->clock));
    return WEIR_OK;
}

static weir_status medium_beat(void *instance, struct weir_leases *leases, struct weir_err *err)
{
    struct nats_lease_medium *self = instance;
    struct change change = {.make = make_beat};
    weir_status status = medium_change(self, &change, err);
    int64_t now_ns = weir_clock_monotonic_ns(self->clock);
    for (size_t i = 0; i < self->member_count && status == WEIR_OK; i++) {
        if (now_ns - self->members[i].seen_ns < self->ttl_ms * WEIR_NS_PER_MS) {
            weir_leases_see(leases, self->members[i].nonce);
        }
    }
    return status;
}

static weir_status
make_take(struct nats_lease_medium *self, struct change *change, struct weir_err *err)
{
    (void)err;
    struct nats_tenure *tenure = &self->tenures[change->index];
    int64_t now_ns = weir_clock_monotonic_ns(self->clock);
    bool is_free = tenure->nonce == 0 || tenure->nonce == self->nonce ||
                   now_ns - tenure->seen_ns >= self->ttl_ms * WEIR_NS_PER_MS;
    if (!is_free) {
        return WEIR_AGAIN;
    }
    *tenure = (struct nats_tenure){self->nonce, tenure->token + 1, 0, now_ns};
    change->token = tenure->token;
    return WEIR_OK;
}

static weir_status
medium_take(void *instance, uint32_t index, uint64_t *ret_token, struct weir_err *err)
{
    struct change change = {.index = index, .make = make_take};
    weir_status status = medium_change(instance, &change, err);
    *ret_token = change.token;
    return status;
}

static bool is_ours(const struct nats_lease_medium *self, const struct change *change)
{
    const struct nats_tenure *tenure = &self->tenures[change->index];
    return tenure->nonce == self->nonce && tenure->token == change->token;
}

static weir_status
make_renewal(struct nats_lease_medium *self, struct change *change, struct weir_err *err)
{
    if (!is_ours(self, change)) {
        return weir_fail(err, WEIR_FENCED, "the lease is another's");
    }
    self->tenures[change->index].beat++;
    self->tenures[change->index].seen_ns = weir_clock_monotonic_ns(self->clock);
    return WEIR_OK;
}

static weir_status
medium_renew(void *instance, uint32_t index, uint64_t token, struct weir_err *err)
{
    struct change change = {.index = index, .token = token, .make = make_renewal};
    return medium_change(instance, &change, err);
}

static weir_status
make_release(struct nats_lease_medium *self, struct change *change, struct weir_err *err)
{
    if (!is_ours(self, change)) {
        return weir_fail(err, WEIR_FENCED, "the lease is another's");
    }
    self->tenures[change->index].nonce = 0;
    return WEIR_OK;
}

static weir_status
medium_release(void *instance, uint32_t index, uint64_t token, struct weir_err *err)
{
    struct change change = {.index = index, .token = token, .make = make_release};
    return medium_change(instance, &change, err);
}

static weir_status
make_leave(struct nats_lease_medium *self, struct change *change, struct weir_err *err)
{
    (void)change;
    (void)err;
    size_t kept = 0;
    for (size_t i = 0; i < self->member_count; i++) {
        if (self->members[i].nonce != self->nonce) {
            self->members[kept++] = self->members[i];
        }
    }
    self->member_count = kept;
    return WEIR_OK;
}

static weir_status medium_leave(void *instance, struct weir_err *err)
{
    struct change change = {.make = make_leave};
    return medium_change(instance, &change, err);
}

static void medium_cut(void *instance)
{
    nats_line_cut(&((struct nats_lease_medium *)instance)->line);
}

const struct weir_lease_medium nats_lease_medium = {
    .beat = medium_beat,
    .take = medium_take,
    .renew = medium_renew,
    .release = medium_release,
    .leave = medium_leave,
    .cut = medium_cut,
};

/* --- a singleton's -----------------------------------------------------------------------------*/

static weir_status singleton_open(void *instance,
                                  const void *config,
                                  const char *pipeline,
                                  uint64_t nonce,
                                  int64_t ttl_ms,
                                  struct weir_err *err)
{
    (void)err;
    struct nats_lease_medium *self = instance;
    char name[NATS_NAME_MAX + 1];
    nats_name_of(name, pipeline);
    *self = (struct nats_lease_medium){.address = config,
                                       .clock = weir_clock_system(),
                                       .nonce = nonce,
                                       .ttl_ms = ttl_ms,
                                       .count = 1};
    snprintf(self->bucket, sizeof(self->bucket), "KV_weir-%.200s-singleton", name);
    snprintf(self->key, sizeof(self->key), "$KV.weir-%.200s-singleton.lease", name);
    nats_lease_medium_init(self);
    return WEIR_OK;
}

static void singleton_close(void *instance)
{
    nats_lease_medium_done(instance);
}

const struct weir_lease_ops nats_lease_ops = {
    .self_size = sizeof(struct nats_lease_medium),
    .medium = &nats_lease_medium,
    .open = singleton_open,
    .close = singleton_close,
};
