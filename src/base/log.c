/* SPDX-License-Identifier: Apache-2.0
 *
 * From the call site to a sink, and the limit on repeats.
 *
 * A loop that fails a hundred thousand times a second must not bury the one line that says why. The
 * limit counts call sites, not texts: the repeats of a failure differ in their offset. A site that
 * has held lines back stands in a list; the next line of any site of the same sink, after the
 * window has passed, tells it, so that the end of a flood is reported too. The sites are static
 * memory, so the list allocates nothing. One lock guards it; it is never held while a sink writes.
 */
#include "base/log.h"

#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/clock.h"

static pthread_mutex_t sites_lock = PTHREAD_MUTEX_INITIALIZER;
static struct weir_log_site *sites; /* those of which something is held back or may be */

static const struct weir_clock *sink_clock(const struct weir_log_sink *sink)
{
    return sink->clock == NULL ? weir_clock_system() : sink->clock;
}

static void site_remember(struct weir_log_site *site,
                          const struct weir_log *log,
                          enum weir_log_level level,
                          const char *message)
{
    site->level = level;
    site->message = message;
    snprintf(site->pipeline, sizeof(site->pipeline), "%s", log->pipeline ? log->pipeline : "");
    snprintf(site->component, sizeof(site->component), "%s", log->component ? log->component : "");
}

/* Says what a site holds back, as a line of its own. The copy is the caller's. */
static void site_tell(const struct weir_log_site *copy, struct weir_log_sink *sink, int64_t wall_ms)
{
    const struct weir_log_entry entry = {
        .level = copy->level,
        .wall_ms = wall_ms,
        .pipeline = copy->pipeline[0] == '\0' ? NULL : copy->pipeline,
        .component = copy->component[0] == '\0' ? NULL : copy->component,
        .message = copy->message,
        .suppressed = copy->suppressed,
    };
    sink->write(sink, &entry);
}

/* Takes one site of this sink out of the list whose window has passed (any, if all); copies it and
 * begins it anew. False: none. The lock is taken here. */
static bool
sites_take(struct weir_log_sink *sink, int64_t now_ns, bool all, struct weir_log_site *ret_copy)
{
    bool found = false;
    pthread_mutex_lock(&sites_lock);
    for (struct weir_log_site **at = &sites; *at != NULL && !found;) {
        struct weir_log_site *site = *at;
        bool over = now_ns - site->window_ns >= WEIR_LOG_WINDOW_MS * WEIR_NS_PER_MS;
        if (site->sink != sink || !(all || over)) {
            at = &site->next;
            continue;
        }
        *ret_copy = *site;
        *at = site->next;
        site->sink = NULL;
        site->written = site->suppressed = 0;
        found = ret_copy->suppressed > 0;
    }
    pthread_mutex_unlock(&sites_lock);
    return found;
}

/* Counts this line. True: write it, with ret_suppressed lines before it. */
static bool site_admit(struct weir_log_site *site,
                       const struct weir_log *log,
                       enum weir_log_level level,
                       const char *message,
                       int64_t now_ns,
                       uint64_t *ret_suppressed)
{
    *ret_suppressed = 0;
    pthread_mutex_lock(&sites_lock);
    if (site->sink == NULL) {
        site->sink = log->sink;
        site->window_ns = now_ns;
        site->next = sites;
        sites = site;
    } else if (site->sink != log->sink) {
        pthread_mutex_unlock(&sites_lock);
        return true; /* a second sink in the process: the limit stays with the first one's */
    } else if (now_ns - site->window_ns >= WEIR_LOG_WINDOW_MS * WEIR_NS_PER_MS) {
        *ret_suppressed = site->suppressed;
        site->window_ns = now_ns;
        site->written = site->suppressed = 0;
    }
    bool admitted = site->written < WEIR_LOG_BURST;
    if (admitted) {
        site->written++;
    } else {
        site->suppressed++;
        site_remember(site, log, level, message);
    }
    pthread_mutex_unlock(&sites_lock);
    return admitted;
}

void weir_log_write(const struct weir_log *log,
                    struct weir_log_site *site,
                    enum weir_log_level level,
                    const char *message,
                    const struct weir_log_field *fields)
{
    const struct weir_clock *clock = sink_clock(log->sink);
    int64_t now_ns = weir_clock_monotonic_ns(clock);
    struct weir_log_entry entry = {
        .level = level,
        .pipeline = log->pipeline,
        .component = log->component,
        .message = message,
        .fields = fields,
    };
    if (!site_admit(site, log, level, message, now_ns, &entry.suppressed)) {
        return;
    }
    entry.wall_ms = weir_clock_wall_ms(clock);
    struct weir_log_site copy;
    while (sites_take(log->sink, now_ns, false, &copy)) {
        site_tell(&copy, log->sink, entry.wall_ms);
    }
    log->sink->write(log->sink, &entry);
}

void weir_log_sink_flush(struct weir_log_sink *sink)
{
    struct weir_log_site copy;
    while (sites_take(sink, 0, true, &copy)) {
        site_tell(&copy, sink, weir_clock_wall_ms(sink_clock(sink)));
    }
}

void weir_log_set_level(struct weir_log_sink *sink, enum weir_log_level level)
{
    __atomic_store_n(&sink->level, (int)level, __ATOMIC_RELAXED);
}

static const char *const level_names[] = {
    [WEIR_LEVEL_DEBUG] = "debug", [WEIR_LEVEL_INFO] = "info", [WEIR_LEVEL_WARN] = "warn",
    [WEIR_LEVEL_ERROR] = "error", [WEIR_LEVEL_OFF] = "off",
};

const char *weir_log_level_name(enum weir_log_level level)
{
    WEIR_ASSERT(level >= WEIR_LEVEL_DEBUG && level <= WEIR_LEVEL_OFF);
    return level_names[level];
}
