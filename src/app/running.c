/* SPDX-License-Identifier: Apache-2.0
 *
 * A pipeline in this process: the log, the admin server, progress and the engine, from start to the
 * exit code. The first SIGTERM or SIGINT drains; a second one leaves at once. SIGHUP drains too,
 * but where there is a file it has the file read again (reload.c): then one engine ends, all
 * committed, and the next one begins in its place, under the same log and admin server.
 */
#include "app/running.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "app/commands.h"
#include "app/progress.h"
#include "app/reload.h"
#include "base/alloc.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "engine/engine.h"
#include "engine/metrics.h"
#include "http/server.h"

static struct weir_engine *volatile running;
static volatile sig_atomic_t signals_seen;

static void on_signal(int number)
{
    (void)number;
    if (signals_seen++ > 0) {
        static const char text[] = "weir: second signal, leaving at once\n";
        ssize_t written = write(STDERR_FILENO, text, sizeof(text) - 1);
        (void)written;
        _exit(WEIR_EXIT_FAILED);
    }
    if (running != NULL) {
        weir_engine_request_stop(running);
    }
}

static void catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal};
    sigemptyset(&action.sa_mask);
    action.sa_flags = SA_RESTART;
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    struct sigaction before;
    if (sigaction(SIGHUP, NULL, &before) == 0 && before.sa_handler != SIG_IGN) { /* nohup */
        sigaction(SIGHUP, &action, NULL);
    }
    /* A closed pipe and a file size limit are errors of a write, not the end of the process. */
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
}

/* One engine after the other, of one process. */
struct run {
    char *name; /* of the pipeline; outlives the configurations */
    struct weir_log_fd sink;
    struct weir_progress progress;
    struct weir_log_sink *lines;
    struct weir_log log;
    struct weir_loading *first;              /* the caller's */
    struct weir_loading *loading, *previous; /* what runs; what ran before, to go back to */
    pthread_mutex_t shown_lock;              /* guards engine, for the HTTP thread */
    struct weir_engine *engine;
    struct weir_http *http;
    struct weir_view view;
    struct weir_reload *reload; /* NULL: there is nothing to read again */
};

/* --- the admin server's view -------------------------------------------------------------------*/

static bool view_ready(void *context, struct weir_strbuf *reasons)
{
    struct run *run = context;
    pthread_mutex_lock(&run->shown_lock);
    bool is_ready = weir_engine_is_ready(run->engine, reasons);
    pthread_mutex_unlock(&run->shown_lock);
    return is_ready;
}

static void view_status(void *context, struct weir_strbuf *out)
{
    struct run *run = context;
    pthread_mutex_lock(&run->shown_lock);
    weir_strbuf_text(out, "{");
    weir_engine_status(run->engine, out);
    weir_strbuf_text(out, "}");
    pthread_mutex_unlock(&run->shown_lock);
}

static void view_metrics(void *context, struct weir_strbuf *out)
{
    struct run *run = context;
    pthread_mutex_lock(&run->shown_lock);
    struct weir_metrics *metrics = weir_engine_metrics(run->engine);
    weir_metrics_render(&metrics, 1, out);
    pthread_mutex_unlock(&run->shown_lock);
}

static weir_status
start_http(struct run *run, const struct weir_loading *loading, struct weir_err *err)
{
    struct weir_http_listen listen;
    weir_status status = weir_loading_listen(loading->loaded, &listen, err);
    if (status != WEIR_OK || listen.off) {
        return status;
    }
    return weir_http_start(&listen, &run->view, &run->log, &run->http, err);
}

/* Another address: the server moves. If it cannot, it stays where it was. */
static void move_http(struct run *run, const struct weir_loading *from)
{
    struct weir_http_listen was, is;
    struct weir_err err = {0};
    if (weir_loading_listen(from->loaded, &was, &err) != WEIR_OK ||
        weir_loading_listen(run->loading->loaded, &is, &err) != WEIR_OK ||
        weir_http_listen_equal(&was, &is)) {
        return;
    }
    weir_http_stop(run->http);
    run->http = NULL;
    if (start_http(run, run->loading, &err) != WEIR_OK) {
        WEIR_LOG_ERROR(&run->log, "the http server stays where it was", WEIR_F_ERR(&err));
        err = (struct weir_err){0};
        if (start_http(run, from, &err) != WEIR_OK) {
            WEIR_LOG_ERROR(&run->log, "there is no http server any more", WEIR_F_ERR(&err));
        }
    }
}

/* --- the engine --------------------------------------------------------------------------------*/

/* Makes the engine of run->loading in the place of the one that ended. */
static weir_status make_engine(struct run *run, struct weir_err *err)
{
    const struct weir_engine_options options = {.log_sink = run->lines};
    struct weir_engine *engine = weir_engine_new(&run->loading->loaded->config, &options, err);
    if (engine == NULL) {
        return err->status;
    }
    pthread_mutex_lock(&run->shown_lock);
    struct weir_engine *old = run->engine;
    run->engine = engine;
    pthread_mutex_unlock(&run->shown_lock);
    weir_engine_free(old);
    return WEIR_OK;
}

static weir_status run_engine(struct run *run)
{
    running = run->engine;
    if (signals_seen > 0) {
        weir_engine_request_stop(run->engine);
    }
    weir_progress_start(&run->progress, run->engine);
    if (run->reload != NULL) {
        weir_reload_runs(run->reload, run->engine, run->loading);
    }
    weir_status status = weir_engine_run(run->engine);
    weir_progress_stop(&run->progress);
    running = NULL;
    return status;
}

static void release(struct run *run, struct weir_loading *loading)
{
    if (loading != NULL) {
        weir_loading_done(loading);
        if (loading == run->first) {
            weir_loading_init(loading);
        } else {
            weir_free(loading);
        }
    }
}

/* False: neither the next configuration nor the one before has an engine. */
static bool follow(struct run *run, struct weir_loading *next, struct weir_err *err)
{
    release(run, run->previous);
    run->previous = run->loading;
    run->loading = next;
    weir_status status = make_engine(run, err);
    if (status != WEIR_OK) {
        WEIR_LOG_ERROR(&run->log, "the new configuration cannot start: going back to the old one",
                       WEIR_F_ERR(err));
        run->loading = run->previous;
        run->previous = NULL;
        *err = (struct weir_err){0};
        status = make_engine(run, err);
        release(run, next);
        return status == WEIR_OK;
    }
    weir_log_fd_change(&run->sink, (enum weir_log_format)next->loaded->config.log.format);
    weir_log_set_level(&run->sink.sink, (enum weir_log_level)next->loaded->config.log.level);
    weir_log_set_level(run->lines, (enum weir_log_level)next->loaded->config.log.level);
    move_http(run, run->previous);
    return true;
}

/* A new configuration that fails before it has taken a partition gives way to the one before. */
static bool go_back(struct run *run, struct weir_err *err)
{
    struct weir_loading *failed = run->loading;
    WEIR_LOG_ERROR(&run->log, "the new configuration cannot start: going back to the old one",
                   WEIR_F_ERR(weir_engine_error(run->engine)));
    run->loading = run->previous;
    run->previous = NULL;
    weir_status status = make_engine(run, err);
    if (status == WEIR_OK) {
        move_http(run, failed);
        release(run, failed);
    } else {
        run->previous = failed; /* the ended engine still borrows it */
    }
    return status == WEIR_OK;
}

static weir_status run_engines(struct run *run, struct weir_err *err)
{
    for (;;) {
        weir_status status = run_engine(run);
        struct weir_loading *next = run->reload == NULL ? NULL : weir_reload_take(run->reload);
        bool failed_early = status != WEIR_OK && !weir_engine_has_begun(run->engine);
        bool goes_on = signals_seen == 0;
        if (goes_on && failed_early && run->previous != NULL) {
            release(run, next);
            goes_on = go_back(run, err);
        } else if (goes_on && status == WEIR_OK && next != NULL) {
            goes_on = follow(run, next, err);
        } else {
            release(run, next);
            return status;
        }
        if (!goes_on) {
            WEIR_LOG_ERROR(&run->log, "cannot start", WEIR_F_ERR(err));
            return err->status;
        }
    }
}

static int exit_code(weir_status status)
{
    return status == WEIR_OK       ? WEIR_EXIT_OK
           : status == WEIR_CONFIG ? WEIR_EXIT_CONFIG
                                   : WEIR_EXIT_FAILED;
}

static int run_loaded(struct weir_loading *loading, const char *path, bool watches)
{
    const struct weir_pipeline_config *config = &loading->loaded->config;
    struct run run = {.name = weir_strdup(config->name), .first = loading, .loading = loading};
    struct weir_reload reload;
    pthread_mutex_init(&run.shown_lock, NULL);
    weir_log_fd_init(&run.sink, STDERR_FILENO, (enum weir_log_format)config->log.format,
                     (enum weir_log_level)config->log.level);
    run.lines = weir_progress_init(&run.progress, &run.sink.sink);
    run.log = (struct weir_log){run.lines, run.name, "weir"};
    run.view = (struct weir_view){
        .context = &run, .ready = view_ready, .status = view_status, .metrics = view_metrics};
    struct weir_err err = {0};
    weir_status status = make_engine(&run, &err);
    status = status == WEIR_OK ? start_http(&run, loading, &err) : status;
    if (status == WEIR_OK && path != NULL) {
        status = weir_reload_start(&reload, path, watches, &run.log, &err);
        run.reload = status == WEIR_OK ? &reload : NULL;
    }
    if (status != WEIR_OK) {
        WEIR_LOG_ERROR(&run.log, "cannot start", WEIR_F_ERR(&err));
    } else {
        status = run_engines(&run, &err);
    }
    if (run.reload != NULL) {
        weir_reload_stop(run.reload);
    }
    weir_http_stop(run.http);
    weir_engine_free(run.engine);
    release(&run, run.previous);
    release(&run, run.loading);
    weir_log_sink_flush(run.lines);
    weir_progress_done(&run.progress);
    weir_log_fd_done(&run.sink);
    pthread_mutex_destroy(&run.shown_lock);
    weir_free(run.name);
    return exit_code(status);
}

bool weir_running_prepare(const char *command)
{
    const char *unknown = weir_failpoint_init();
    if (unknown != NULL) {
        fprintf(stderr, "weir %s: unknown failpoint or fault \"%s\"\n", command, unknown);
        return false;
    }
    catch_signals();
    return true;
}

int weir_running_loaded(struct weir_loading *loading, bool is_sound)
{
    weir_loading_report(loading);
    return is_sound ? run_loaded(loading, NULL, false) : WEIR_EXIT_CONFIG;
}

int weir_running_file(struct weir_loading *loading, bool is_sound, const char *path, bool watches)
{
    weir_loading_report(loading);
    return is_sound ? run_loaded(loading, path, watches) : WEIR_EXIT_CONFIG;
}
