/* SPDX-License-Identifier: Apache-2.0
 *
 * A thread waits for SIGHUP and for changes of the file's folder, so that the control thread never
 * waits for a disk or a compiler. The folder is watched, not the file: editors and config maps put
 * a new file in the old one's place.
 *
 * What cannot follow is refused before anything is stopped: positions and file lengths lie in the
 * state log under the names of sources and sinks, so a renamed one would begin anew and write twice
 * what it has written before. SIGHUP swaps even if no setting differs, for files behind settings
 * (certificates) may.
 */
#include "app/reload.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "app/running.h"
#include "base/alloc.h"
#include "base/assert.h"
#include "base/wake.h"
#include "conf/dump.h"

enum { QUIET_MS = 100 }; /* a change is over when the folder is quiet for that long */

/* The handler looks at these; a slot is emptied before its reload goes. */
static struct weir_reload *_Atomic reloads[WEIR_PIPELINES_MAX];
static atomic_int touching;    /* the handler is looking */
static atomic_bool hung_early; /* before there was anybody to tell */

static void on_hup(int number)
{
    (void)number;
    int saved = errno;
    bool any = false;
    atomic_fetch_add(&touching, 1);
    for (size_t i = 0; i < WEIR_PIPELINES_MAX; i++) {
        struct weir_reload *self = atomic_load(&reloads[i]);
        if (self != NULL) {
            atomic_store(&self->hung_up, true);
            weir_wake(self->wake_fd);
            any = true;
        }
    }
    atomic_fetch_sub(&touching, 1);
    if (!any) {
        atomic_store(&hung_early, true);
    }
    errno = saved;
}

void weir_reload_catch(void)
{
    struct sigaction action = {.sa_handler = on_hup, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaction(SIGHUP, &action, NULL);
}

static void enlist(struct weir_reload *self)
{
    for (size_t i = 0; i < WEIR_PIPELINES_MAX; i++) {
        struct weir_reload *none = NULL;
        if (atomic_compare_exchange_strong(&reloads[i], &none, self)) {
            return;
        }
    }
    WEIR_UNREACHABLE(); /* no more pipelines than that are run */
}

static void delist(struct weir_reload *self)
{
    for (size_t i = 0; i < WEIR_PIPELINES_MAX; i++) {
        struct weir_reload *own = self;
        (void)atomic_compare_exchange_strong(&reloads[i], &own, NULL);
    }
    while (atomic_load(&touching) > 0) {
        sched_yield();
    }
}

/* --- what differs ------------------------------------------------------------------------------*/

struct settings {
    struct weir_arena *arena;
    struct weir_setting *items;
    size_t count, capacity;
};

static void collect(void *context, const struct weir_setting *setting)
{
    struct settings *all = context;
    if (setting->value == NULL) {
        return;
    }
    if (all->count == all->capacity) {
        all->capacity = all->capacity == 0 ? 64 : all->capacity * 2;
        all->items = weir_realloc(all->items, all->capacity, sizeof(*all->items));
    }
    all->items[all->count] = *setting;
    all->items[all->count].path = weir_arena_strdup(all->arena, setting->path);
    all->items[all->count].value = weir_arena_strdup(all->arena, setting->value);
    all->count++;
}

static struct settings settings_of(const struct weir_loading *loading, struct weir_arena *arena)
{
    struct settings all = {.arena = arena};
    weir_dump(&loading->loaded->binder, weir_pipeline_fields, &loading->loaded->config, collect,
              &all);
    return all;
}

static const struct weir_setting *setting_find(const struct settings *all, const char *path)
{
    for (size_t i = 0; i < all->count; i++) {
        if (strcmp(all->items[i].path, path) == 0) {
            return &all->items[i];
        }
    }
    return NULL;
}

static void tell_change(const struct weir_reload *self,
                        const char *path,
                        const struct weir_setting *from,
                        const struct weir_setting *to)
{
    WEIR_LOG_INFO(&self->log, "a setting changes", WEIR_F("setting", path),
                  WEIR_F("from", from == NULL ? "(not set)" : from->value),
                  WEIR_F("to", to == NULL ? "(not set)" : to->value));
}

/* Logs them; returns how many. */
static size_t tell_changes(const struct weir_reload *self, struct weir_loading *next)
{
    struct settings old = settings_of(self->running, &next->arena);
    struct settings new = settings_of(next, &next->arena);
    size_t changes = 0;
    for (size_t i = 0; i < new.count; i++) {
        const struct weir_setting *to = &new.items[i];
        const struct weir_setting *from = setting_find(&old, to->path);
        if (from == NULL || from->fingerprint != to->fingerprint ||
            strcmp(from->value, to->value) != 0) {
            tell_change(self, to->path, from, to);
            changes++;
        }
    }
    for (size_t i = 0; i < old.count; i++) {
        if (setting_find(&new, old.items[i].path) == NULL) {
            tell_change(self, old.items[i].path, &old.items[i], NULL);
            changes++;
        }
    }
    weir_free(old.items);
    weir_free(new.items);
    return changes;
}

/* --- what can follow ---------------------------------------------------------------------------*/

static bool same(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

/* Does the state log keep something under the edge's name? */
static bool is_kept(const struct weir_plan_edge *edge, bool is_source)
{
    return is_source ? edge->component->positions == WEIR_POSITIONS_LOG
                     : edge->component->ops.sink->mark != NULL;
}

/* An edge of `in` with a kept name that `of` does not have; NULL: none. */
static const struct weir_plan_edge *edge_beyond(const struct weir_plan_edge *in,
                                                size_t in_count,
                                                const struct weir_plan_edge *of,
                                                size_t of_count,
                                                bool is_source)
{
    for (size_t i = 0; i < in_count; i++) {
        bool found = !is_kept(&in[i], is_source);
        for (size_t k = 0; k < of_count && !found; k++) {
            found = strcmp(weir_plan_edge_name(&in[i]), weir_plan_edge_name(&of[k])) == 0;
        }
        if (!found) {
            return &in[i];
        }
    }
    return NULL;
}

static weir_status check_names(const struct weir_plan *old,
                               const struct weir_plan *new,
                               bool is_source,
                               struct weir_err *err)
{
    const struct weir_plan_edge *before = is_source ? old->sources : old->sinks;
    const struct weir_plan_edge *after = is_source ? new->sources : new->sinks;
    size_t count = is_source ? old->source_count : old->sink_count;
    size_t after_count = is_source ? new->source_count : new->sink_count;
    const struct weir_plan_edge *gone = edge_beyond(before, count, after, after_count, is_source);
    const struct weir_plan_edge *come = edge_beyond(after, after_count, before, count, is_source);
    if (gone == NULL || come == NULL) {
        return WEIR_OK;
    }
    (void)!weir_fail(err, WEIR_CONFIG, "%.100s may be %.100s under another name, without its %s",
                     weir_plan_edge_name(come), weir_plan_edge_name(gone),
                     is_source ? "positions" : "file lengths");
    weir_err_hint(err, "Keep its name with `name: %.60s`, or stop weir and start it again.",
                  weir_plan_edge_name(gone));
    return err->status;
}

/* Every step that has state must be found again, as restoring would: it refuses what it cannot give
 * to anybody. */
static weir_status
check_steps(const struct weir_plan *old, const struct weir_plan *new, struct weir_err *err)
{
    for (size_t i = 0; old->state_is_kept && i < old->stateful_step_count; i++) {
        const struct weir_plan_step *step = &old->stateful_steps[i];
        bool found = false;
        for (size_t k = 0; k < new->stateful_step_count && !found; k++) {
            const struct weir_plan_step *other = &new->stateful_steps[k];
            if (strcmp(step->name, other->name) == 0 && step->component == other->component) {
                found = true;
                if (step->version != other->version) {
                    (void)!weir_fail(
                        err, WEIR_CONFIG,
                        "the state of \"%.100s\" is of other aggregates, or of another "
                        "kind or size of window",
                        step->name);
                    weir_err_hint(err, "Stop weir; `weir positions set --reset-state` throws the "
                                       "state away.");
                    return err->status;
                }
            }
        }
        if (!found) {
            bool is_named = strchr(step->name, '[') == NULL;
            (void)!weir_fail(err, WEIR_CONFIG, "the state of step \"%.100s\" would be nobody's",
                             step->name);
            weir_err_hint(err, is_named
                                   ? "Steps are found again by their `name:`: keep it."
                                   : "A step without a `name:` is found again by its place: leave "
                                     "it there, and name steps before their first start.");
            return err->status;
        }
    }
    return WEIR_OK;
}

static weir_status check_sources(const struct weir_plan *plan, struct weir_err *err)
{
    for (size_t i = 0; i < plan->source_count; i++) {
        enum weir_positions positions = plan->sources[i].component->positions;
        if (positions == WEIR_POSITIONS_NONE ||
            (positions == WEIR_POSITIONS_LOG && !plan->uses_log)) {
            (void)!weir_fail(err, WEIR_CONFIG, "%.100s cannot be read on from where it stands",
                             weir_plan_edge_name(&plan->sources[i]));
            weir_err_hint(err, "Stop weir and start it again.");
            return err->status;
        }
    }
    return WEIR_OK;
}

static weir_status check_identity(const struct weir_pipeline_config *old,
                                  const struct weir_pipeline_config *new,
                                  struct weir_err *err)
{
    const char *what = !same(old->name, new->name)             ? "name"
                       : !same(old->instance, new->instance)   ? "instance"
                       : !same(old->state.dir, new->state.dir) ? "state.dir"
                                                               : NULL;
    if (what != NULL) {
        (void)!weir_fail(err, WEIR_CONFIG, "another %s is another pipeline", what);
        weir_err_path(err, what);
        weir_err_hint(err, "Stop weir and start it again.");
        return err->status;
    }
    return WEIR_OK;
}

/* State that was kept per partition is not there per shard, nor per other shards. */
static weir_status
check_exchange(const struct weir_plan *old, const struct weir_plan *new, struct weir_err *err)
{
    if (!old->state_is_kept || old->stateful_step_count == 0 ||
        ((old->exchange == NULL) == (new->exchange == NULL) &&
         old->exchange_shards == new->exchange_shards)) {
        return WEIR_OK;
    }
    (void)!weir_fail(err, WEIR_CONFIG,
                     "another exchange, or other shards, would be without the "
                     "state");
    weir_err_hint(err, "Leave `exchange` as it is, or stop weir; `weir positions set "
                       "--reset-state` throws the state away.");
    return err->status;
}

static weir_status
check_http(const struct weir_reload *self, const struct weir_loading *next, struct weir_err *err)
{
    struct weir_http_listen was, is;
    weir_status status = weir_loading_listen(self->running->loaded, &was, err);
    status = status == WEIR_OK ? weir_loading_listen(next->loaded, &is, err) : status;
    if (status == WEIR_OK && self->shares_http && !weir_http_listen_equal(&was, &is)) {
        status =
            weir_fail(err, WEIR_CONFIG, "other pipelines of this process share the http server");
        weir_err_path(err, "http");
        weir_err_hint(err, "Stop weir and start it again, with the same `http` in all files.");
    }
    return status;
}

static weir_status check_follows(const struct weir_reload *self,
                                 const struct weir_loading *next,
                                 const struct weir_plan *new,
                                 struct weir_err *err)
{
    const struct weir_plan *old = weir_engine_plan(self->engine);
    weir_status status = check_identity(&self->running->loaded->config, &next->loaded->config, err);
    if (status == WEIR_OK && old->uses_log && !new->uses_log) {
        (void)!weir_fail(err, WEIR_CONFIG, "the positions in %.200s would be left behind",
                         old->log_dir);
        weir_err_hint(err, "Stop weir and start it again.");
        return err->status;
    }
    status = status == WEIR_OK ? check_http(self, next, err) : status;
    status = status == WEIR_OK ? check_exchange(old, new, err) : status;
    status = status == WEIR_OK ? check_steps(old, new, err) : status;
    status = status == WEIR_OK ? check_sources(old, err) : status;
    status = status == WEIR_OK ? check_sources(new, err) : status;
    if (status == WEIR_OK && old->uses_log) {
        status = check_names(old, new, true, err);
        status = status == WEIR_OK ? check_names(old, new, false, err) : status;
    }
    return status;
}

/* --- reading it again --------------------------------------------------------------------------*/

static void tell_diags(const struct weir_reload *self, struct weir_diags *diags)
{
    weir_diags_sort(diags);
    for (size_t i = 0; i < diags->count; i++) {
        const struct weir_diag *diag = &diags->items[i];
        int line = 0, column = 0;
        if (diag->text != NULL) {
            weir_text_locate(diag->text, diag->start, &line, &column);
        }
        const char *file = diag->text != NULL ? diag->text->name : diag->file;
        if (diag->is_warning) {
            WEIR_LOG_WARN(&self->log, "the file has a fault", WEIR_F("error", diag->message),
                          WEIR_F("file", file), WEIR_F("line", line), WEIR_F("column", column),
                          WEIR_F("setting", diag->path), WEIR_F("hint", diag->hint));
        } else {
            WEIR_LOG_ERROR(&self->log, "the file has an error", WEIR_F("error", diag->message),
                           WEIR_F("file", file), WEIR_F("line", line), WEIR_F("column", column),
                           WEIR_F("setting", diag->path), WEIR_F("hint", diag->hint));
        }
    }
}

/* Judges the file; what can run next is in self->next afterwards. With the lock. */
static void reload(struct weir_reload *self, bool always)
{
    struct weir_loading *next = weir_calloc(1, sizeof(*next));
    struct weir_plan plan;
    struct weir_err err = {0};
    weir_loading_init(next);
    bool is_sound = weir_loading_pipeline(next, self->path, &plan);
    tell_diags(self, &next->diags);
    if (!is_sound) {
        WEIR_LOG_ERROR(&self->log, "not reloaded: the pipeline runs on as it was",
                       WEIR_F("errors", next->diags.errors));
    } else if (check_follows(self, next, &plan, &err) != WEIR_OK) {
        WEIR_LOG_ERROR(&self->log, "not reloaded: the pipeline runs on as it was",
                       WEIR_F_ERR(&err));
    } else {
        size_t changes = tell_changes(self, next);
        if (changes > 0 || always) {
            WEIR_LOG_INFO(&self->log, "reloading", WEIR_F("changes", changes));
            self->next = next;
            weir_engine_request_handover(self->engine);
            return;
        }
        WEIR_LOG_INFO(&self->log, "the file was written again, no setting changes");
    }
    weir_loading_done(next);
    weir_free(next);
}

/* --- the thread --------------------------------------------------------------------------------*/

static bool file_changed(struct weir_reload *self)
{
    struct stat now;
    if (stat(self->path, &now) != 0) {
        return false; /* between two files: the next event tells */
    }
    bool changed = now.st_ino != self->seen.st_ino || now.st_dev != self->seen.st_dev ||
                   now.st_size != self->seen.st_size ||
                   now.st_mtim.tv_sec != self->seen.st_mtim.tv_sec ||
                   now.st_mtim.tv_nsec != self->seen.st_mtim.tv_nsec;
    self->seen = now;
    return changed;
}

static void drain(int fd)
{
    char bytes[4096];
    ssize_t got = read(fd, bytes, sizeof(bytes));
    (void)got; /* what happened does not matter, only that something did */
}

static void judge(struct weir_reload *self, bool always)
{
    pthread_mutex_lock(&self->lock);
    while ((self->next != NULL || self->engine == NULL) && !self->quit) {
        pthread_cond_wait(&self->changed, &self->lock);
    }
    if (!self->quit) {
        reload(self, always);
    }
    pthread_mutex_unlock(&self->lock);
}

static void *reload_main(void *context)
{
    struct weir_reload *self = context;
    bool watched = false;
    for (;;) {
        struct pollfd fds[] = {{.fd = self->wake_fd, .events = POLLIN},
                               {.fd = self->watch_fd, .events = POLLIN}};
        int count = poll(fds, 2, watched ? QUIET_MS : -1);
        pthread_mutex_lock(&self->lock);
        bool quit = self->quit;
        pthread_mutex_unlock(&self->lock);
        if (quit) {
            return NULL;
        }
        if (fds[1].revents != 0) {
            drain(self->watch_fd);
            watched = true;
        }
        if (fds[0].revents != 0) {
            drain(self->wake_fd);
        }
        if (atomic_exchange(&self->hung_up, false)) {
            if (self->on_terminal && !isatty(STDERR_FILENO)) {
                kill(getpid(), SIGTERM); /* the terminal is gone: nobody asked for a reload */
                continue;
            }
            (void)file_changed(self);
            judge(self, true);
        } else if (count == 0 && watched) {
            watched = false;
            if (file_changed(self)) {
                judge(self, false);
            }
        }
    }
}

static weir_status watch(struct weir_reload *self, struct weir_err *err)
{
    const char *slash = strrchr(self->path, '/');
    char *folder = slash == NULL         ? weir_strdup(".")
                   : slash == self->path ? weir_strdup("/")
                                         : weir_strndup(self->path, (size_t)(slash - self->path));
    self->watch_fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    weir_status status = WEIR_OK;
    if (self->watch_fd < 0 ||
        inotify_add_watch(self->watch_fd, folder, IN_CLOSE_WRITE | IN_MOVED_TO | IN_CREATE) < 0) {
        status =
            weir_fail(err, WEIR_FATAL, "cannot watch the folder %s: %s", folder, strerror(errno));
        weir_err_hint(err, "Leave --watch out and send SIGHUP to reload.");
    }
    weir_free(folder);
    return status;
}

weir_status weir_reload_start(struct weir_reload *self,
                              const struct weir_reload_options *options,
                              const struct weir_log *log,
                              struct weir_err *err)
{
    *self = (struct weir_reload){.path = options->path,
                                 .shares_http = options->shares_http,
                                 .log = weir_log_named(log, "reload"),
                                 .watch_fd = -1};
    self->on_terminal = isatty(STDERR_FILENO) == 1;
    (void)file_changed(self);
    weir_status status = options->watches ? watch(self, err) : WEIR_OK;
    if (status != WEIR_OK) {
        if (self->watch_fd >= 0) {
            close(self->watch_fd);
        }
        return status;
    }
    self->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    WEIR_ASSERT(self->wake_fd >= 0);
    pthread_mutex_init(&self->lock, NULL);
    pthread_cond_init(&self->changed, NULL);
    enlist(self);
    if (atomic_load(&hung_early)) {
        atomic_store(&self->hung_up, true);
        weir_wake(self->wake_fd);
    }
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are the control thread's */
    int code = pthread_create(&self->thread, NULL, reload_main, self);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    WEIR_ASSERT(code == 0);
    return WEIR_OK;
}

void weir_reload_runs(struct weir_reload *self,
                      struct weir_engine *engine,
                      const struct weir_loading *loading)
{
    pthread_mutex_lock(&self->lock);
    self->engine = engine;
    self->running = loading;
    pthread_cond_signal(&self->changed);
    pthread_mutex_unlock(&self->lock);
}

struct weir_loading *weir_reload_take(struct weir_reload *self)
{
    pthread_mutex_lock(&self->lock);
    struct weir_loading *next = self->next;
    self->next = NULL;
    self->engine = NULL;
    pthread_mutex_unlock(&self->lock);
    return next;
}

void weir_reload_stop(struct weir_reload *self)
{
    pthread_mutex_lock(&self->lock);
    self->quit = true;
    pthread_cond_signal(&self->changed);
    pthread_mutex_unlock(&self->lock);
    delist(self);
    weir_wake(self->wake_fd);
    pthread_join(self->thread, NULL);
    pthread_cond_destroy(&self->changed);
    pthread_mutex_destroy(&self->lock);
    close(self->wake_fd);
    if (self->watch_fd >= 0) {
        close(self->watch_fd);
    }
}
