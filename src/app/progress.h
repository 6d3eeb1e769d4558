/* SPDX-License-Identifier: Apache-2.0
 *
 * One line on a terminal about how far a run is: records, rate, part done, remaining time. Only for
 * runs over sources whose end is known, when standard error is a terminal; otherwise all of this
 * does nothing.
 */
#ifndef WEIR_APP_PROGRESS_H
#define WEIR_APP_PROGRESS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include <weir/log.h>

#include "engine/engine.h"

struct weir_progress {
    struct weir_log_sink sink; /* first: takes the line away before a log line, then hands it on */
    struct weir_log_sink *inner;
    bool is_wanted, is_running;
    pthread_t thread;
    pthread_mutex_t lock; /* the terminal's line, and the rest */
    pthread_cond_t ended;
    bool stop, is_drawn;
    struct weir_engine *engine;
    int64_t started_ns, first_done;
};

/* Returns the sink to log to while progress may be shown: `inner`, or one in front of it. */
struct weir_log_sink *weir_progress_init(struct weir_progress *self, struct weir_log_sink *inner);
/* Begins to show; the engine is about to run. */
void weir_progress_start(struct weir_progress *self, struct weir_engine *engine);
/* Takes the line away; the engine has ended. */
void weir_progress_stop(struct weir_progress *self);
void weir_progress_done(struct weir_progress *self);

#endif
