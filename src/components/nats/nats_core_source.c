/* SPDX-License-Identifier: Apache-2.0
 *
 * The NATS source without JetStream: what is published to a subject while we listen. Nobody can read
 * it again; within the process an aborted epoch can, because messages stay in a window until they
 * are committed.
 *
 * A publisher cannot be slowed down. When the window is full its thread takes nothing more, the
 * library's own queue fills as far as it may, and what comes then is gone: counted, and said.
 */
#include "nats_probe.h"
#include "nats_record.h"

#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/thread.h"
#include "base/wake.h"

enum { WAIT_MS = 100, CHUNK_MAX = 500, HEAP_MIN = 100, HEAP_MS = 1, TELL_MS = 1000 };
#define NS_PER_MS 1000000LL

struct nats_core_source_config {
    struct nats_address address;
    struct nats_key key;
    const char *subject, *queue;
};

// clang-format off
#define S struct nats_core_source_config
static const struct weir_field nats_core_source_fields[] = {
    NATS_ADDRESS_FIELDS(S),
    WEIR_F_STR(S, subject, .flags = WEIR_REQUIRED, .min = 1, .max = NATS_SUBJECT_MAX,
               .example = "sensors.*.temperature",
               .help = "The subject to listen to, with wildcards: `*` for a token, `>` for all that "
                       "follow."),
    WEIR_F_STR(S, queue, .unset = "each process gets every message", .min = 1, .max = NATS_NAME_MAX,
               .example = "weir", .help = "The queue group: each message goes to one of its members."),
    NATS_KEY_FIELDS(S),
    WEIR_FIELDS_END,
};
#undef S
static const struct weir_rule nats_core_source_rules[] = {
    {WEIR_RULE_AT_MOST_ONE, {"key_token", "key_header"}, NULL},
    WEIR_RULES_END,
};
// clang-format on

struct nats_core_source {
    const struct nats_core_source_config *config;
    struct weir_ctx *ctx;
    struct weir_partition *part;
    struct nats_window window;
    struct weir_link link; /* the thread's */
    struct weir_thread thread;
    int64_t next; /* lane, or paused: what is delivered next */

    pthread_mutex_t lock; /* guards what follows */
    struct weir_err failure;
};

/* --- the thread --------------------------------------------------------------------------------*/

static weir_status core_subscribe(struct nats_core_source *self,
                                  struct nats_client *client,
                                  natsSubscription **ret,
                                  struct weir_err *err)
{
    const struct nats_core_source_config *config = self->config;
    natsStatus code =
        config->queue != NULL
            ? natsConnection_QueueSubscribeSync(ret, client->connection, config->subject,
                                                config->queue)
            : natsConnection_SubscribeSync(ret, client->connection, config->subject);
    if (code == NATS_OK) {
        nats_client_keep(client, *ret);
    }
    int limit = (int)(self->ctx->in_flight_bytes / 2);
    code = code == NATS_OK ? natsSubscription_SetPendingLimits(*ret, -1, limit) : code;
    /* What the server refuses it says before it answers. */
    code = code == NATS_OK ? natsConnection_Flush(client->connection) : code;
    return code != NATS_OK ? nats_fail(err, config->subject, code)
                           : nats_client_denied(client, err);
}

/* What was lost, and of how much the log knows. */
struct core_losses {
    int64_t told, told_ns;
};

/* Once a second, and at the end. */
static void core_tell_lost(const struct nats_core_source *self,
                           natsSubscription *sub,
                           bool is_end,
                           struct core_losses *losses)
{
    int64_t lost = 0, now_ns = weir_clock_monotonic_ns(self->ctx->clock);
    if (natsSubscription_GetDropped(sub, &lost) == NATS_OK && lost > losses->told &&
        (is_end || now_ns - losses->told_ns > TELL_MS * NS_PER_MS)) {
        WEIR_LOG_WARN(self->ctx->log, "messages are lost: they come faster than they are processed",
                      WEIR_F("subject", self->config->subject),
                      WEIR_F("messages", lost - losses->told));
        *losses = (struct core_losses){lost, now_ns};
    }
}

/* Takes what is there, waiting for the first message, and a moment for others. False: the
 * connection is gone. */
static bool core_receive(struct nats_core_source *self, natsSubscription *sub)
{
    natsMsg *message = NULL;
    natsStatus code = natsSubscription_NextMsg(&message, sub, WAIT_MS);
    if (code != NATS_OK) {
        return code == NATS_TIMEOUT || code == NATS_SLOW_CONSUMER;
    }
    uint64_t queued = 0;
    (void)natsSubscription_QueuedMsgs(sub, &queued);
    if (queued < HEAP_MIN) {
        (void)weir_thread_pause(&self->thread, HEAP_MS);
        (void)natsSubscription_QueuedMsgs(sub, &queued);
    }
    queued = queued < CHUNK_MAX ? queued : CHUNK_MAX - 1;
    struct nats_chunk *chunk = nats_chunk_new((size_t)queued + 1);
    int64_t now_ms = weir_clock_wall_ms(self->ctx->clock);
    while (code == NATS_OK) {
        nats_chunk_add(chunk, message, 0, now_ms);
        code = queued-- > 0 ? natsSubscription_NextMsg(&message, sub, WAIT_MS) : NATS_TIMEOUT;
    }
    nats_window_push(&self->window, chunk);
    weir_wake(weir_lane_wake_fd(self->ctx, self->part->lane));
    return code == NATS_TIMEOUT || code == NATS_SLOW_CONSUMER;
}

/* Until the connection is gone or the source ends. */
static weir_status
core_serve(struct nats_core_source *self, struct nats_client *client, struct weir_err *err)
{
    natsSubscription *sub = NULL;
    struct core_losses losses = {0};
    size_t budget = (size_t)self->ctx->in_flight_bytes / 2;
    weir_status status = core_subscribe(self, client, &sub, err);
    if (status == WEIR_OK) {
        WEIR_LOG_INFO(self->ctx->log, "listening", WEIR_F("subject", self->config->subject));
        weir_link_up(self->ctx, &self->link);
    }
    while (status == WEIR_OK && !weir_thread_pause(&self->thread, 0)) {
        core_tell_lost(self, sub, false, &losses);
        if (!nats_window_wait(&self->window, budget, WAIT_MS)) {
            weir_ctx_close_epoch(self->ctx);
        } else if (!core_receive(self, sub)) {
            status = weir_fail(err, WEIR_UNAVAILABLE, "the connection broke");
        }
    }
    if (sub != NULL) {
        core_tell_lost(self, sub, true, &losses);
    }
    return status;
}

static void core_fail(struct nats_core_source *self, const struct weir_err *err)
{
    pthread_mutex_lock(&self->lock);
    self->failure = *err;
    pthread_mutex_unlock(&self->lock);
    weir_wake(weir_control_wake_fd(self->ctx));
}

static void *core_main(void *argument)
{
    struct nats_core_source *self = argument;
    char name[NATS_NAME_MAX];
    snprintf(name, sizeof(name), "weir %s %s", self->ctx->pipeline, self->ctx->path);
    int waited_ms = 0;
    bool told = false;
    do {
        struct weir_err err = {0};
        struct nats_client *client = nats_client_open(&self->config->address, name, &err);
        weir_status status = err.status;
        if (client != NULL) {
            waited_ms = 0;
            told = false;
            status = core_serve(self, client, &err);
            nats_client_free(client);
        }
        if (status == WEIR_OK) {
            break; /* to end */
        }
        if (weir_status_class(status) == WEIR_CLASS_FATAL) {
            core_fail(self, &err);
            break;
        }
        if (!told) {
            WEIR_LOG_WARN(self->ctx->log, "not connected: what is published meanwhile is lost",
                          WEIR_F_ERR(&err));
            told = true;
        }
        weir_link_down(self->ctx, &self->link, &err);
    } while (!weir_thread_back_off(&self->thread, &waited_ms));
    weir_link_up(self->ctx, &self->link);
    return NULL;
}

/* --- its life; control -------------------------------------------------------------------------*/

static weir_status
core_source_open(void *instance, const void *config, struct weir_ctx *ctx, struct weir_err *err)
{
    (void)err;
    struct nats_core_source *self = instance;
    self->config = config;
    self->ctx = ctx;
    nats_window_init(&self->window);
    pthread_mutex_init(&self->lock, NULL);
    return WEIR_OK;
}

static void core_source_close(void *instance)
{
    struct nats_core_source *self = instance;
    if (self->ctx != NULL) {
        nats_window_done(&self->window);
        pthread_mutex_destroy(&self->lock);
        *self = (struct nats_core_source){0};
    }
}

static weir_status core_source_start(void *instance, struct weir_err *err)
{
    struct nats_core_source *self = instance;
    const struct weir_assignment item = {.topic = self->config->subject, .source_data = self};
    weir_source_assign(self->ctx, &item, 1, &self->part);
    return weir_thread_start(&self->thread, core_main, self, err);
}

static void core_source_stop(void *instance)
{
    struct nats_core_source *self = instance;
    weir_thread_stop(&self->thread);
    if (self->part != NULL) {
        weir_source_revoke(self->ctx, &self->part, 1, false);
        self->part = NULL;
    }
}

static weir_status core_source_poll(void *instance, struct weir_err *err)
{
    struct nats_core_source *self = instance;
    pthread_mutex_lock(&self->lock);
    if (self->failure.status != WEIR_OK) {
        *err = self->failure;
    }
    pthread_mutex_unlock(&self->lock);
    if (self->part != NULL) {
        atomic_store_explicit(&self->part->end, nats_window_filled(&self->window),
                              memory_order_relaxed);
    }
    return err->status;
}

static weir_status core_source_read(
    void *instance, unsigned lane, struct weir_intake *intake, size_t max, struct weir_err *err)
{
    (void)err;
    struct nats_core_source *self = instance;
    if (self->part == NULL || self->part->lane != lane) {
        return WEIR_AGAIN;
    }
    return nats_window_deliver(&self->window, &self->config->key, intake, self->part, &self->next,
                               max);
}

static weir_status core_source_seek(void *instance,
                                    struct weir_partition *const *items,
                                    size_t count,
                                    struct weir_err *err)
{
    (void)err;
    struct nats_core_source *self = instance;
    WEIR_ASSERT(count == 1);
    self->next = items[0]->read;
    return WEIR_OK;
}

static weir_status core_source_commit(void *instance,
                                      struct weir_partition *const *items,
                                      size_t count,
                                      struct weir_err *err)
{
    (void)err;
    struct nats_core_source *self = instance;
    WEIR_ASSERT(count == 1);
    nats_window_cut(&self->window, items[0]->closing);
    return WEIR_OK;
}

static weir_status
fail_name(struct weir_err *err, const char *what, const char *text, const char *hint)
{
    weir_status status = weir_fail(err, WEIR_CONFIG, "\"%s\" is no %s to listen to", text, what);
    weir_err_hint(err, "%s", hint);
    weir_err_path(err, what);
    return status;
}

static weir_status core_source_check(const void *config, struct weir_err *err)
{
    const struct nats_core_source_config *self = config;
    for (const char *at = self->subject; at != NULL;) {
        size_t size = strcspn(at, ".");
        bool is_wild = size == 1 && (*at == '*' || *at == '>');
        bool is_last = at[size] == '\0';
        if (size == 0 || (!is_wild && strcspn(at, "*> \t\r\n") < size) || (*at == '>' && !is_last)) {
            return fail_name(err, "subject", self->subject,
                             "Tokens between dots, without spaces; `*` stands for a token, `>` at "
                             "the end for all that follow.");
        }
        at = is_last ? NULL : at + size + 1;
    }
    if (self->queue != NULL && strpbrk(self->queue, " \t\r\n") != NULL) {
        return fail_name(err, "queue", self->queue, "A name without spaces.");
    }
    return nats_address_check(&self->address, err);
}

static weir_status core_source_probe(const void *config, const char *pipeline, struct weir_err *err)
{
    (void)pipeline;
    const struct nats_core_source_config *self = config;
    const struct nats_probe probe = {.address = &self->address};
    return nats_probe_try(&probe, err);
}

static const struct weir_source_ops core_source_ops = {
    .start = core_source_start,
    .poll = core_source_poll,
    .read = core_source_read,
    .seek = core_source_seek,
    .commit = core_source_commit,
    .stop = core_source_stop,
    .origin = &nats_chunk_origin,
};

const struct weir_component weir_component_nats_core_source = {
    .abi = WEIR_ABI,
    .described =
        {
            .kind = WEIR_ROLE_SOURCE,
            .name = "nats_core",
            .system = "nats",
            .summary = "Listens to a NATS subject without JetStream.",
            .help = "At most once: what is published while nobody listens, or faster than it is "
                    "processed for longer than memory lasts, is lost, and the latter is said in the "
                    "log. A record keeps its headers; its time is when it came, its key the subject, "
                    "a token of it, or a header. What a stream keeps is the source `nats`.",
            .example = "nats_core: {url: localhost:4222, subject: sensors.>, queue: weir}",
            .fields = nats_core_source_fields,
            .rules = nats_core_source_rules,
            .config_size = sizeof(struct nats_core_source_config),
        },
    .self_size = sizeof(struct nats_core_source),
    .positions = WEIR_POSITIONS_NONE,
    .open = core_source_open,
    .close = core_source_close,
    .check = core_source_check,
    .probe = core_source_probe,
    .ops = {.source = &core_source_ops},
};
