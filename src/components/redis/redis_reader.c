/* SPDX-License-Identifier: Apache-2.0
 *
 * To end a thread that waits in a blocking read, control cuts its connection; so whatever it failed
 * with then is no failure.
 */
#include "redis_reader.h"

#include <sys/socket.h>

#include "base/wake.h"

/* False: to end. */
static bool reader_set(struct redis_reader *self, redisContext *context)
{
    pthread_mutex_lock(&self->lock);
    self->context = context;
    bool go_on = !self->stopping;
    pthread_mutex_unlock(&self->lock);
    return go_on;
}

static weir_status
reader_serve(struct redis_reader *self, redisContext *context, struct weir_err *err)
{
    weir_status status = WEIR_OK;
    if (reader_set(self, context)) {
        redis_answers_use(&self->answers, context);
        status = self->serve(self->source, context, err);
    }
    (void)reader_set(self, NULL); /* nobody cuts what is freed */
    redisFree(context);
    redis_reader_drop(self);
    return status;
}

static void *reader_main(void *argument)
{
    struct redis_reader *self = argument;
    int backoff_ms = 0;
    while (reader_set(self, NULL)) {
        struct weir_err err = {0};
        redisContext *context = redis_connect(self->connection, self->key, REDIS_ANSWER_MS, &err);
        weir_status status = err.status;
        if (context != NULL) {
            if (self->link.is_down) {
                WEIR_LOG_INFO(self->ctx->log, "connected again");
            }
            weir_link_up(self->ctx, &self->link);
            backoff_ms = 0;
            status = reader_serve(self, context, &err);
        }
        if (!reader_set(self, NULL)) {
            break;
        }
        if (weir_status_class(status) == WEIR_CLASS_FATAL) {
            pthread_mutex_lock(&self->lock);
            self->failure = err;
            pthread_mutex_unlock(&self->lock);
            weir_wake(weir_control_wake_fd(self->ctx));
            break;
        }
        if (!self->link.is_down) {
            WEIR_LOG_WARN(self->ctx->log, "not connected", WEIR_F_ERR(&err));
        }
        weir_link_down(self->ctx, &self->link, &err);
        (void)weir_thread_back_off(&self->thread, &backoff_ms);
    }
    weir_link_up(self->ctx, &self->link);
    return NULL;
}

void redis_reader_init(struct redis_reader *self)
{
    pthread_mutex_init(&self->lock, NULL);
    weir_cond_init(&self->room);
}

weir_status redis_reader_start(struct redis_reader *self, struct weir_err *err)
{
    return weir_thread_start(&self->thread, reader_main, self, err);
}

weir_status redis_reader_failed(struct redis_reader *self, struct weir_err *err)
{
    pthread_mutex_lock(&self->lock);
    weir_status status = self->failure.status;
    if (status != WEIR_OK) {
        *err = self->failure;
    }
    pthread_mutex_unlock(&self->lock);
    return status;
}

void redis_reader_stop(struct redis_reader *self)
{
    pthread_mutex_lock(&self->lock);
    self->stopping = true;
    if (self->context != NULL) {
        shutdown(self->context->fd, SHUT_RDWR);
    }
    pthread_cond_signal(&self->room);
    pthread_mutex_unlock(&self->lock);
    weir_thread_stop(&self->thread);
}

void redis_reader_done(struct redis_reader *self)
{
    pthread_cond_destroy(&self->room);
    pthread_mutex_destroy(&self->lock);
}

void redis_reader_drop(struct redis_reader *self)
{
    redis_answers_done(&self->answers);
}
