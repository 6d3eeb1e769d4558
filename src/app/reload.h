/* SPDX-License-Identifier: Apache-2.0
 *
 * A configuration that changes while its pipeline runs: SIGHUP, or a changed file, has the file
 * read again. What is wrong is logged and the pipeline runs on; else the running engine is asked to
 * hand over and the new configuration is there to be taken.
 *
 *     weir_reload_catch();                        before the first load
 *     weir_reload_start(&reload, …);
 *     weir_reload_runs(&reload, engine, loading); each time one begins to run
 *     weir_engine_run(engine);
 *     next = weir_reload_take(&reload);           it does not run any more
 *     weir_reload_stop(&reload);
 */
#ifndef WEIR_APP_RELOAD_H
#define WEIR_APP_RELOAD_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/stat.h>

#include <weir/log.h>

#include "app/loading.h"
#include "engine/engine.h"

struct weir_reload {
    const char *path; /* the file; borrowed */
    struct weir_log log;
    bool on_terminal; /* at the start */
    bool shares_http;
    int wake_fd; /* an eventfd: SIGHUP arrived, or it is time to stop */
    atomic_bool hung_up;
    int watch_fd;     /* -1: only SIGHUP */
    struct stat seen; /* the file when it was last read */
    pthread_t thread;
    pthread_mutex_t lock; /* held while a file is judged; guards the rest */
    pthread_cond_t changed;
    struct weir_engine *engine;         /* NULL: none runs */
    const struct weir_loading *running; /* its configuration */
    struct weir_loading *next;
    bool quit;
};

/* From here on SIGHUP means: read the file again. */
void weir_reload_catch(void);
struct weir_reload_options {
    const char *path; /* borrowed */
    bool watches;     /* changes of the file count too */
    bool shares_http; /* other pipelines use the admin server too: it must stay where it is */
};

/* The log is borrowed until weir_reload_stop. Fails when the file cannot be watched. At most
 * WEIR_PIPELINES_MAX at a time. */
WEIR_MUST_USE weir_status weir_reload_start(struct weir_reload *self,
                                            const struct weir_reload_options *options,
                                            const struct weir_log *log,
                                            struct weir_err *err);
void weir_reload_runs(struct weir_reload *self,
                      struct weir_engine *engine,
                      const struct weir_loading *loading);
/* What is to run next, the caller's from then on (weir_loading_done, weir_free); NULL: nothing. */
struct weir_loading *weir_reload_take(struct weir_reload *self);
void weir_reload_stop(struct weir_reload *self);

#endif
