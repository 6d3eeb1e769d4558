/* SPDX-License-Identifier: Apache-2.0
 *
 * The line is drawn by a thread of its own, twice a second, from the engine's snapshot: the control
 * thread never waits for a terminal. Log lines share the terminal, so they come through a sink that
 * wipes the line first; the next drawing puts it back below them. The remaining time assumes the
 * mean rate since the first look, in the sources' own units (bytes of files), which wavers less
 * than records. The first line comes after two seconds: short runs stay silent.
 */
#include "app/progress.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/thread.h"
#include "engine/metrics.h"

enum { EVERY_MS = 500, FIRST_AFTER_MS = 2000, LINE_MAX_BYTES = 160 };

static void put(const char *text, size_t size)
{
    ssize_t written = write(STDERR_FILENO, text, size);
    (void)written; /* a terminal that is gone needs no progress */
}

/* With the lock held. */
static void wipe(struct weir_progress *self)
{
    if (self->is_drawn) {
        static const char text[] = "\r\033[K";
        put(text, sizeof(text) - 1);
        self->is_drawn = false;
    }
}

static void on_log(struct weir_log_sink *sink, const struct weir_log_entry *entry)
{
    struct weir_progress *self = (struct weir_progress *)(void *)sink;
    pthread_mutex_lock(&self->lock);
    wipe(self);
    self->inner->write(self->inner, entry);
    pthread_mutex_unlock(&self->lock);
}

struct weir_log_sink *weir_progress_init(struct weir_progress *self, struct weir_log_sink *inner)
{
    *self = (struct weir_progress){.inner = inner};
    const char *terminal = getenv("TERM");
    self->is_wanted = isatty(STDERR_FILENO) == 1 && terminal != NULL &&
                      strcmp(terminal, "dumb") != 0 && terminal[0] != '\0';
    if (!self->is_wanted) {
        return inner;
    }
    self->sink =
        (struct weir_log_sink){.write = on_log, .clock = inner->clock, .level = inner->level};
    pthread_mutex_init(&self->lock, NULL);
    weir_cond_init(&self->ended);
    return &self->sink;
}

/* 1234567 as 1,234,567. */
static void format_count(uint64_t value, char text[32])
{
    char digits[24];
    int count = snprintf(digits, sizeof(digits), "%" PRIu64, value);
    int at = 0;
    for (int i = 0; i < count; i++) {
        if (i > 0 && (count - i) % 3 == 0) {
            text[at++] = ',';
        }
        text[at++] = digits[i];
    }
    text[at] = '\0';
}

static void format_left(int64_t seconds, char *text, size_t size)
{
    if (seconds < 60) {
        (void)snprintf(text, size, "%" PRId64 " s", seconds);
    } else if (seconds < 3600) {
        (void)snprintf(text, size, "%" PRId64 " min %02" PRId64 " s", seconds / 60, seconds % 60);
    } else {
        (void)snprintf(text, size, "%" PRId64 " h %02" PRId64 " min", seconds / 3600,
                       seconds / 60 % 60);
    }
}

/* With the lock held. */
static void draw(struct weir_progress *self)
{
    struct weir_engine_progress now;
    weir_engine_progress(self->engine, &now);
    int64_t elapsed_ms =
        (weir_clock_monotonic_ns(weir_clock_system()) - self->started_ns) / WEIR_NS_PER_MS;
    if (!now.is_known || now.total <= 0) {
        return;
    }
    if (self->first_done < 0) {
        self->first_done = now.done;
    }
    if (elapsed_ms < FIRST_AFTER_MS) {
        return;
    }
    int64_t moved = now.done - self->first_done;
    char records[32], rate[32], left[48] = "", line[LINE_MAX_BYTES];
    format_count(now.records, records);
    format_count(now.records * 1000 / (uint64_t)elapsed_ms, rate);
    if (moved > 0) {
        double more_ms = (double)(now.total - now.done) * (double)elapsed_ms / (double)moved;
        char time[32];
        format_left((int64_t)(more_ms / 1000.0 + 0.5), time, sizeof(time));
        (void)snprintf(left, sizeof(left), ", %s left", time);
    }
    int size = snprintf(line, sizeof(line), "\r%s records, %s/s, %d %%%s\033[K", records, rate,
                        (int)((double)now.done * 100.0 / (double)now.total), left);
    put(line, (size_t)size);
    self->is_drawn = true;
}

static void *show(void *context)
{
    struct weir_progress *self = context;
    pthread_mutex_lock(&self->lock);
    while (!self->stop) {
        const struct timespec until = weir_deadline(EVERY_MS);
        if (pthread_cond_timedwait(&self->ended, &self->lock, &until) == ETIMEDOUT) {
            draw(self);
        }
    }
    wipe(self);
    pthread_mutex_unlock(&self->lock);
    return NULL;
}

/* Records on the same terminal would tear the line apart. */
static bool terminal_is_free(const struct weir_plan *plan)
{
    bool is_free = true;
    for (size_t i = 0; i < plan->sink_count; i++) {
        is_free = is_free && strcmp(plan->sinks[i].component->described.name, "stdout") != 0;
    }
    return is_free || isatty(STDOUT_FILENO) != 1;
}

void weir_progress_start(struct weir_progress *self, struct weir_engine *engine)
{
    const struct weir_plan *plan = weir_engine_plan(engine);
    bool is_bounded = true;
    for (size_t i = 0; i < plan->source_count; i++) {
        is_bounded = is_bounded && plan->sources[i].component->bounded;
    }
    if (!self->is_wanted || !is_bounded || !terminal_is_free(plan)) {
        return;
    }
    self->engine = engine;
    self->stop = false;
    self->first_done = -1;
    self->started_ns = weir_clock_monotonic_ns(weir_clock_system());
    self->is_running = pthread_create(&self->thread, NULL, show, self) == 0;
}

void weir_progress_stop(struct weir_progress *self)
{
    if (self->is_running) {
        pthread_mutex_lock(&self->lock);
        self->stop = true;
        pthread_cond_signal(&self->ended);
        pthread_mutex_unlock(&self->lock);
        pthread_join(self->thread, NULL);
        self->is_running = false;
    }
}

void weir_progress_done(struct weir_progress *self)
{
    if (self->is_wanted) {
        pthread_cond_destroy(&self->ended);
        pthread_mutex_destroy(&self->lock);
    }
}
