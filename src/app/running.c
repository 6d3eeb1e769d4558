/* SPDX-License-Identifier: Apache-2.0
 *
 * The pipelines of this process: logs, the admin server, progress and engines, from start to the
 * exit code. The first SIGTERM or SIGINT drains; a second one leaves at once. SIGHUP drains too,
 * but where there is a file it has the file read again (reload.c): then one engine ends, all
 * committed, and the next one begins in its place, under the same log and admin server.
 *
 * Several pipelines have a control thread each and share nothing but the admin server. They live
 * and die together: when one fails, the others drain, so that whoever supervises the process sees
 * it end and not a half of it.
 */
#include "app/running.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "app/commands.h"
#include "app/progress.h"
#include "app/reload.h"
#include "base/alloc.h"
#include "base/assert.h"
#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "engine/engine.h"
#include "engine/metrics.h"
#include "http/routes.h"
#include "http/server.h"

enum { ECHO_MS = 100 };

/* The engines that run, for signals, which may come on any thread: `touching` is raised while they
 * are looked at, and none is freed meanwhile. */
static struct weir_engine *_Atomic running[WEIR_PIPELINES_MAX];
static atomic_int touching;
static atomic_int signals_seen;
static atomic_bool one_failed; /* the others end too */

static void stop_all(void)
{
    atomic_fetch_add(&touching, 1);
    for (size_t i = 0; i < WEIR_PIPELINES_MAX; i++) {
        struct weir_engine *engine = atomic_load(&running[i]);
        if (engine != NULL) {
            weir_engine_request_stop(engine);
        }
    }
    atomic_fetch_sub(&touching, 1);
}

static bool is_stopping(void)
{
    return atomic_load(&signals_seen) > 0 || atomic_load(&one_failed);
}

/* timeout(1) sends its signal to us and then to our group: that is one. */
static bool is_an_echo(void)
{
    static _Atomic int64_t first_ns;
    int64_t now_ns = weir_clock_monotonic_ns(weir_clock_system()), none = 0;
    return !atomic_compare_exchange_strong(&first_ns, &none, now_ns) &&
           now_ns - none < ECHO_MS * WEIR_NS_PER_MS;
}

static void on_signal(int number)
{
    (void)number;
    if (is_an_echo()) {
        return;
    }
    if (atomic_fetch_add(&signals_seen, 1) > 0) {
        static const char text[] = "weir: second signal, leaving at once\n";
        ssize_t written = write(STDERR_FILENO, text, sizeof(text) - 1);
        (void)written;
        _exit(WEIR_EXIT_FAILED);
    }
    stop_all();
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

/* One engine after the other, of one pipeline. */
struct run {
    struct process *process;
    size_t index;
    char *name; /* of the pipeline; outlives the configurations */
    struct weir_log_fd sink;
    struct weir_progress progress;
    struct weir_log_sink *lines;
    struct weir_log log;
    struct weir_loading *first;              /* the caller's */
    struct weir_loading *loading, *previous; /* what runs; what ran before, to go back to */
    pthread_mutex_t shown_lock;              /* guards engine and ended, for the HTTP thread */
    struct weir_engine *engine;
    bool ended;
    struct weir_reload *reload; /* NULL: there is nothing to read again */
    struct weir_reload reloads;
    pthread_t thread; /* of all but the first */
    weir_status status;
};

struct process {
    struct run runs[WEIR_PIPELINES_MAX];
    size_t count;
    struct weir_http *http;
    struct weir_view view;
};

/* --- the admin server's view -------------------------------------------------------------------*/

static bool run_ready(struct run *run, struct weir_strbuf *reasons)
{
    pthread_mutex_lock(&run->shown_lock);
    bool is_ready = run->ended || weir_engine_is_ready(run->engine, reasons);
    pthread_mutex_unlock(&run->shown_lock);
    return is_ready;
}

static bool view_ready(void *context, struct weir_strbuf *reasons)
{
    struct process *process = context;
    if (process->count == 1) {
        return run_ready(&process->runs[0], reasons);
    }
    bool all = true;
    struct weir_strbuf own;
    weir_strbuf_init(&own, WEIR_HTTP_ANSWER_MAX / 8);
    for (size_t i = 0; i < process->count; i++) {
        weir_strbuf_clear(&own);
        all = run_ready(&process->runs[i], &own) && all;
        struct weir_slice left = weir_strbuf_view(&own);
        while (left.size > 0) {
            const char *end = memchr(left.data, '\n', left.size);
            size_t size = end == NULL ? left.size : (size_t)(end - left.data) + 1;
            weir_strbuf_printf(reasons, "%s: %.*s", process->runs[i].name, (int)size, left.data);
            left = (struct weir_slice){left.data + size, left.size - size};
        }
    }
    weir_strbuf_done(&own);
    return all;
}

static void view_status(void *context, struct weir_strbuf *out)
{
    struct process *process = context;
    weir_strbuf_text(out, process->count == 1 ? "" : "{\"pipelines\":[");
    for (size_t i = 0; i < process->count; i++) {
        struct run *run = &process->runs[i];
        weir_strbuf_text(out, i == 0 ? "{" : ",{");
        pthread_mutex_lock(&run->shown_lock);
        weir_engine_status(run->engine, out);
        pthread_mutex_unlock(&run->shown_lock);
        weir_strbuf_text(out, "}");
    }
    weir_strbuf_text(out, process->count == 1 ? "" : "]}");
}

static void view_metrics(void *context, struct weir_strbuf *out)
{
    struct process *process = context;
    struct weir_metrics *metrics[WEIR_PIPELINES_MAX];
    for (size_t i = 0; i < process->count; i++) {
        pthread_mutex_lock(&process->runs[i].shown_lock);
        metrics[i] = weir_engine_metrics(process->runs[i].engine);
    }
    weir_metrics_render(metrics, process->count, out);
    for (size_t i = process->count; i-- > 0;) {
        pthread_mutex_unlock(&process->runs[i].shown_lock);
    }
}

static void view_state(void *context, struct weir_strbuf *out)
{
    struct process *process = context;
    const char *separator = "{\"tables\":[";
    struct weir_strbuf own;
    weir_strbuf_init(&own, WEIR_HTTP_ANSWER_MAX);
    for (size_t i = 0; i < process->count; i++) {
        struct run *run = &process->runs[i];
        weir_strbuf_clear(&own);
        pthread_mutex_lock(&run->shown_lock);
        weir_engine_state(run->engine, &own);
        pthread_mutex_unlock(&run->shown_lock);
        if (own.size > 0 || i == 0) {
            weir_strbuf_text(out, separator);
            weir_strbuf_slice(out, weir_strbuf_view(&own));
            separator = own.size > 0 ? "," : "";
        }
    }
    weir_strbuf_text(out, "]}");
    weir_strbuf_done(&own);
}

static struct weir_inquiry *view_ask(void *context,
                                     const char *pipeline,
                                     const char *step,
                                     const char *key,
                                     unsigned *ret_status,
                                     const char **ret_why)
{
    struct process *process = context;
    struct run *run = pipeline == NULL && process->count == 1 ? &process->runs[0] : NULL;
    for (size_t i = 0; pipeline != NULL && i < process->count; i++) {
        run = strcmp(process->runs[i].name, pipeline) == 0 ? &process->runs[i] : run;
    }
    *ret_status = 400;
    *ret_why = pipeline == NULL ? "say which pipeline: &pipeline=NAME"
                                : "no such pipeline runs in this process";
    if (run == NULL) {
        return NULL;
    }
    *ret_status = 503;
    *ret_why = "too many questions are waiting";
    pthread_mutex_lock(&run->shown_lock);
    struct weir_inquiry *inquiry = weir_engine_ask(run->engine, step, key);
    pthread_mutex_unlock(&run->shown_lock);
    return inquiry;
}

static weir_status
start_http(struct process *process, const struct weir_loading *loading, struct weir_err *err)
{
    struct weir_http_listen listen;
    weir_status status = weir_loading_listen(loading->loaded, &listen, err);
    if (status != WEIR_OK || listen.off) {
        return status;
    }
    return weir_http_start(&listen, &process->view, &process->runs[0].log, &process->http, err);
}

/* Another address: the server moves. If it cannot, it stays where it was. */
static void move_http(struct run *run, const struct weir_loading *from)
{
    struct process *process = run->process;
    struct weir_http_listen was, is;
    struct weir_err err = {0};
    if (weir_loading_listen(from->loaded, &was, &err) != WEIR_OK ||
        weir_loading_listen(run->loading->loaded, &is, &err) != WEIR_OK ||
        (weir_http_listen_equal(&was, &is) && (is.tls == NULL || process->count > 1))) {
        return; /* else certificates may be other ones in the same files */
    }
    WEIR_ASSERT(process->count == 1); /* else the reload was refused */
    weir_http_stop(process->http);
    process->http = NULL;
    if (start_http(process, run->loading, &err) != WEIR_OK) {
        WEIR_LOG_ERROR(&run->log, "the http server stays where it was", WEIR_F_ERR(&err));
        err = (struct weir_err){0};
        if (start_http(process, from, &err) != WEIR_OK) {
            WEIR_LOG_ERROR(&run->log, "there is no http server any more", WEIR_F_ERR(&err));
        }
    }
}

/* --- the engine --------------------------------------------------------------------------------*/

/* Makes the engine of run->loading in the place of the one that ended. */
static weir_status make_engine(struct run *run, struct weir_err *err)
{
    const struct weir_engine_options options = {.log_sink = run->lines,
                                                .labels_metrics = run->process->count > 1};
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
    atomic_store(&running[run->index], run->engine);
    if (is_stopping()) {
        weir_engine_request_stop(run->engine);
    }
    if (run->process->count == 1) {
        weir_progress_start(&run->progress, run->engine);
    }
    if (run->reload != NULL) {
        weir_reload_runs(run->reload, run->engine, run->loading);
    }
    weir_status status = weir_engine_run(run->engine);
    if (run->process->count == 1) {
        weir_progress_stop(&run->progress);
    }
    atomic_store(&running[run->index], NULL);
    while (atomic_load(&touching) > 0) {
        sched_yield(); /* a signal is looking at it */
    }
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
        bool goes_on = !is_stopping();
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

static void run_to_the_end(struct run *run)
{
    struct weir_err err = {0};
    run->status = run_engines(run, &err);
    pthread_mutex_lock(&run->shown_lock);
    run->ended = run->status == WEIR_OK;
    pthread_mutex_unlock(&run->shown_lock);
    if (run->status != WEIR_OK) {
        atomic_store(&one_failed, true);
        stop_all();
    }
}

static void *run_main(void *context)
{
    run_to_the_end(context);
    return NULL;
}

/* --- the process -------------------------------------------------------------------------------*/

static weir_status run_open(struct run *run, const struct weir_running *what, struct weir_err *err)
{
    const struct weir_pipeline_config *config = &what->loading->loaded->config;
    run->name = weir_strdup(config->name);
    run->first = run->loading = what->loading;
    pthread_mutex_init(&run->shown_lock, NULL);
    weir_log_fd_init(&run->sink, STDERR_FILENO, (enum weir_log_format)config->log.format,
                     (enum weir_log_level)config->log.level);
    run->lines = weir_progress_init(&run->progress, &run->sink.sink);
    run->log = (struct weir_log){run->lines, run->name, "weir"};
    return make_engine(run, err);
}

static weir_status run_follow_file(struct run *run,
                                   const struct weir_running *what,
                                   bool watches,
                                   struct weir_err *err)
{
    if (what->path == NULL) {
        return WEIR_OK;
    }
    const struct weir_reload_options options = {
        .path = what->path, .watches = watches, .shares_http = run->process->count > 1};
    weir_status status = weir_reload_start(&run->reloads, &options, &run->log, err);
    run->reload = status == WEIR_OK ? &run->reloads : NULL;
    return status;
}

static void run_close(struct run *run)
{
    weir_engine_free(run->engine);
    release(run, run->previous);
    release(run, run->loading);
    weir_log_sink_flush(run->lines);
    weir_progress_done(&run->progress);
    weir_log_fd_done(&run->sink);
    pthread_mutex_destroy(&run->shown_lock);
    weir_free(run->name);
}

static void run_all(struct process *process)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are the first thread's */
    for (size_t i = 1; i < process->count; i++) {
        int code = pthread_create(&process->runs[i].thread, NULL, run_main, &process->runs[i]);
        WEIR_ASSERT(code == 0);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    run_to_the_end(&process->runs[0]);
    for (size_t i = 1; i < process->count; i++) {
        pthread_join(process->runs[i].thread, NULL);
    }
}

static int run_process(struct process *process, const struct weir_running *what, bool watches)
{
    struct weir_err err = {0};
    weir_status status = WEIR_OK;
    struct run *run = NULL;
    for (size_t i = 0; i < process->count && status == WEIR_OK; i++) {
        run = &process->runs[i];
        *run = (struct run){.process = process, .index = i};
        status = run_open(run, &what[i], &err);
    }
    size_t opened = (size_t)(run - process->runs) + 1;
    status = status == WEIR_OK ? start_http(process, what[0].loading, &err) : status;
    for (size_t i = 0; i < process->count && status == WEIR_OK; i++) {
        run = &process->runs[i];
        status = run_follow_file(run, &what[i], watches, &err);
    }
    if (status != WEIR_OK) {
        WEIR_LOG_ERROR(&run->log, "cannot start", WEIR_F_ERR(&err));
    } else {
        run_all(process);
    }
    int code = exit_code(status);
    for (size_t i = 0; i < opened; i++) {
        if (process->runs[i].reload != NULL) {
            weir_reload_stop(process->runs[i].reload);
        }
        code = code == WEIR_EXIT_OK ? exit_code(process->runs[i].status) : code;
    }
    weir_http_stop(process->http);
    for (size_t i = 0; i < opened; i++) {
        run_close(&process->runs[i]);
    }
    return code;
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

/* What single files cannot show: two of a name, and one admin server with two addresses. */
static bool fit_together(const struct weir_running *what, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        const struct weir_pipeline_config *config = &what[i].loading->loaded->config;
        struct weir_err err = {0};
        for (size_t k = 0; k < i && err.status == WEIR_OK; k++) {
            if (strcmp(what[k].loading->loaded->config.name, config->name) == 0) {
                (void)!weir_fail(&err, WEIR_CONFIG, "%s has the same name", what[k].path);
                weir_err_hint(&err, "Consumer groups and state go by it: each needs its own.");
                weir_loading_fault(what[i].loading, &config->name, "name", &err);
            }
        }
        struct weir_http_listen first, own;
        err = (struct weir_err){0};
        if (weir_loading_listen(what[0].loading->loaded, &first, &err) == WEIR_OK &&
            weir_loading_listen(what[i].loading->loaded, &own, &err) == WEIR_OK &&
            !weir_http_listen_equal(&first, &own)) {
            (void)!weir_fail(&err, WEIR_CONFIG, "the http server is another one than that of %s",
                             what[0].path);
            weir_err_hint(&err, "Pipelines of one process share it: write the same `http` in all.");
            weir_loading_fault(what[i].loading, &config->http, "http", &err);
        }
    }
    bool fits = true;
    for (size_t i = 0; i < count; i++) {
        fits = fits && what[i].loading->diags.errors == 0;
    }
    return fits;
}

int weir_running_run(struct weir_running *what, size_t count, bool watches)
{
    WEIR_ASSERT(count > 0 && count <= WEIR_PIPELINES_MAX);
    bool is_sound = true;
    for (size_t i = 0; i < count; i++) {
        is_sound = is_sound && what[i].is_sound;
    }
    is_sound = is_sound && fit_together(what, count);
    for (size_t i = 0; i < count; i++) {
        weir_loading_report(what[i].loading);
    }
    if (!is_sound) {
        return WEIR_EXIT_CONFIG;
    }
    struct process *process = weir_calloc(1, sizeof(*process));
    process->count = count;
    process->view = (struct weir_view){
        .context = process, .ready = view_ready, .status = view_status, .metrics = view_metrics,
        .state = view_state, .ask = view_ask};
    int code = run_process(process, what, watches);
    weir_free(process);
    return code;
}
