/* SPDX-License-Identifier: Apache-2.0
 *
 * Collecting positions. Where a source keeps them is the plan's decision, as when the pipeline
 * runs: with a state log its positions win over what the source's system says. A log is read
 * without its lock, so looking never stops a pipeline from starting; only who wants to change takes
 * the lock, and holds it until the change is durable.
 */
#include "app/positions.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/builtin.h"
#include "app/commands.h"
#include "base/assert.h"
#include "base/log.h"
#include "base/quote.h"
#include "conf/scalar.h"

enum { TABLE_MAX = 64 << 20 };

static struct weir_log_fd client_log;

int weir_standing_fail(const char *command, const char *what, const struct weir_err *err)
{
    fprintf(stderr, "weir %s: %s%s%s\n", command, what, what[0] == '\0' ? "" : ": ", err->message);
    if (err->hint[0] != '\0') {
        fprintf(stderr, "%s\n", err->hint);
    } else if (weir_status_class(err->status) == WEIR_CLASS_UNAVAILABLE) {
        fputs("Is the server up, and this its address? `weir check --connect` tries every one of the "
              "pipeline.\n",
              stderr);
    }
    return WEIR_EXIT_FAILED;
}

struct weir_positions_call weir_standing_call(struct weir_standing *self,
                                              const struct weir_standing_source *source)
{
    return (struct weir_positions_call){
        .config = source->edge->config,
        .pipeline = self->loading.loaded->config.name,
        .arena = &self->loading.arena,
        .log = &self->log,
    };
}

/* --- collecting --------------------------------------------------------------------------------*/

/* What the state log has of a source that cannot be asked, such as `generate`. */
static void list_from_log(struct weir_standing *self, struct weir_standing_source *source)
{
    struct weir_state_position row;
    size_t count = 0;
    for (size_t i = 0; weir_state_log_position_at(self->state, i, &row); i++) {
        count += strcmp(row.source, source->name) == 0;
    }
    source->items = weir_arena_calloc(&self->loading.arena, count + 1, sizeof(*source->items));
    WEIR_ASSERT(source->items != NULL);
    for (size_t i = 0; weir_state_log_position_at(self->state, i, &row); i++) {
        if (strcmp(row.source, source->name) == 0) {
            source->items[source->count++] =
                (struct weir_position){.topic = weir_arena_strdup(&self->loading.arena, row.topic),
                                       .partition = row.partition,
                                       .end = -1};
        }
    }
}

static weir_status
list_source(struct weir_standing *self, struct weir_standing_source *source, struct weir_err *err)
{
    weir_status status = WEIR_OK;
    if (source->ops != NULL) {
        const struct weir_positions_call call = weir_standing_call(self, source);
        status = source->ops->list(&call, &source->items, &source->count, err);
        if (status == WEIR_REJECTED && source->is_exchange) { /* not made yet: nothing waits */
            weir_err_clear(err);
            source->count = 0;
            status = WEIR_OK;
        }
    } else if (self->state != NULL) {
        list_from_log(self, source);
    }
    for (size_t i = 0; status == WEIR_OK && self->state != NULL && i < source->count; i++) {
        struct weir_position *item = &source->items[i];
        (void)weir_state_log_get_position(self->state, source->name, item->topic, item->partition,
                                          &item->committed);
    }
    return status;
}

static const struct weir_standing_source *state_system(const struct weir_standing *self)
{
    for (size_t i = 0; self->plan.state_in_domain && i < self->source_count; i++) {
        const struct weir_positions_ops *ops = self->sources[i].ops;
        if (ops != NULL && ops->drop_state != NULL) {
            return &self->sources[i];
        }
    }
    return NULL;
}

static bool may_change(const struct weir_standing *self,
                       const char *command,
                       enum weir_standing_use use,
                       int *ret_code)
{
    bool has_state = self->plan.stateful && self->plan.state_is_kept;
    const char *reason = NULL;
    if (use == WEIR_STANDING_MOVE && has_state) {
        reason =
            "the pipeline keeps state, which belongs to its positions; moved alone, they would "
            "count records twice or never\n"
            "With --reset-state the state is thrown away too (`weir state export` keeps it).";
    } else if (use == WEIR_STANDING_RESET && !has_state) {
        reason = "the pipeline keeps no state\nLeave --reset-state out.";
    } else if (use == WEIR_STANDING_RESET && self->plan.state_in_domain &&
               state_system(self) == NULL) {
        reason = "state in this system cannot be thrown away from outside\n"
                 "To begin anew, give the pipeline another `name`.";
    }
    if (reason != NULL) {
        fprintf(stderr, "weir %s: %s\n", command, reason);
        *ret_code = WEIR_EXIT_FAILED;
    }
    return reason == NULL;
}

weir_status weir_standing_drop_state(struct weir_standing *self, struct weir_err *err)
{
    const struct weir_standing_source *system = state_system(self);
    if (system == NULL) {
        return WEIR_OK;
    }
    char name[300];
    snprintf(name, sizeof(name), "%s.state", self->loading.loaded->config.name);
    const struct weir_positions_call call = weir_standing_call(self, system);
    return system->ops->drop_state(&call, name, err);
}

static bool open_log(struct weir_standing *self, const char *command, bool to_change, int *ret_code)
{
    if (!self->plan.uses_log) {
        return true;
    }
    const char *name = self->loading.loaded->config.name;
    struct weir_err err = {0};
    self->state = to_change ? weir_state_log_open(self->plan.log_dir, name, &err)
                            : weir_state_log_read(self->plan.log_dir, name, &err);
    if (self->state == NULL) {
        *ret_code = weir_standing_fail(command, "", &err);
        return false;
    }
    self->committed_ms = weir_state_log_written_ms(self->state);
    return true;
}

static bool refuse_readers(struct weir_standing *self,
                           const struct weir_standing_source *source,
                           const char *command,
                           int *ret_code)
{
    if (source->ops == NULL || source->ops->readers == NULL) {
        return true;
    }
    const struct weir_positions_call call = weir_standing_call(self, source);
    struct weir_strbuf readers;
    struct weir_err err = {0};
    weir_strbuf_init(&readers, 1 << 20);
    bool is_free = false;
    if (source->ops->readers(&call, &readers, &err) != WEIR_OK) {
        *ret_code = weir_standing_fail(command, source->name, &err);
    } else if (readers.size > 0) {
        fprintf(stderr, "weir %s: the pipeline runs; %s is read by\n%s", command, source->name,
                readers.data);
        fputs("Stop it first. A process that was killed counts until its session_timeout is "
              "over.\n",
              stderr);
        *ret_code = WEIR_EXIT_FAILED;
    } else {
        is_free = true;
    }
    weir_strbuf_done(&readers);
    return is_free;
}

/* What waits in the topic of an exchange is the pipeline's backlog too. */
static void add_exchange(struct weir_standing *self)
{
    const struct weir_plan *plan = &self->plan;
    if (plan->exchange_topic == NULL || plan->sources[0].component->position_ops == NULL) {
        return;
    }
    struct weir_plan_edge *edge =
        weir_arena_calloc(&self->loading.arena, 1, sizeof(struct weir_plan_edge));
    WEIR_ASSERT(edge != NULL);
    *edge = plan->sources[0];
    edge->config = plan->exchange_source_config;
    self->sources[self->source_count++] =
        (struct weir_standing_source){.edge = edge,
                                      .name = plan->exchange_name,
                                      .unit = edge->component->position_ops->unit,
                                      .ops = edge->component->position_ops,
                                      .is_exchange = true};
}

static void fill_sources(struct weir_standing *self)
{
    self->source_count = self->plan.source_count;
    self->sources =
        weir_arena_calloc(&self->loading.arena, self->source_count + 2, sizeof(*self->sources));
    WEIR_ASSERT(self->sources != NULL);
    for (size_t i = 0; i < self->source_count; i++) {
        const struct weir_plan_edge *edge = &self->plan.sources[i];
        const struct weir_positions_ops *ops = edge->component->position_ops;
        self->sources[i] = (struct weir_standing_source){
            .edge = edge,
            .name = weir_plan_edge_name(edge),
            .unit = ops != NULL ? ops->unit : "records",
            .ops = ops,
        };
    }
}

bool weir_standing_open(struct weir_standing *self,
                        const char *command,
                        const char *path,
                        enum weir_standing_use use,
                        int *ret_code)
{
    const bool to_change = use != WEIR_STANDING_LOOK;
    *self = (struct weir_standing){0};
    weir_log_fd_init(&client_log, STDERR_FILENO, WEIR_LOG_FORMAT_TEXT, WEIR_LEVEL_WARN);
    self->log = (struct weir_log){&client_log.sink, NULL, command};
    weir_loading_init(&self->loading);
    bool is_sound = weir_loading_pipeline(&self->loading, path, &self->plan);
    weir_loading_report(&self->loading);
    if (!is_sound) {
        *ret_code = WEIR_EXIT_CONFIG;
        return false;
    }
    fill_sources(self);
    if (!to_change) {
        add_exchange(self);
    }
    if (!may_change(self, command, use, ret_code) ||
        !open_log(self, command, to_change, ret_code)) {
        return false;
    }
    for (size_t i = 0; i < self->source_count; i++) {
        struct weir_standing_source *source = &self->sources[i];
        struct weir_err err = {0};
        if (to_change && !refuse_readers(self, source, command, ret_code)) {
            return false;
        }
        if (list_source(self, source, &err) != WEIR_OK) {
            *ret_code = weir_standing_fail(command, source->name, &err);
            return false;
        }
    }
    return true;
}

void weir_standing_close(struct weir_standing *self)
{
    weir_state_log_close(self->state);
    weir_loading_done(&self->loading);
    weir_log_sink_flush(&client_log.sink);
    weir_log_fd_done(&client_log);
}

/* --- showing -----------------------------------------------------------------------------------*/

static int64_t lag_of(const struct weir_position *item)
{
    int64_t lag = item->end - item->committed - item->others;
    return item->end < 0 || item->committed < 0 ? -1 : lag < 0 ? 0 : lag;
}

/* A cell: the number, or - when it is unknown. */
static const char *cell(char text[24], int64_t value)
{
    (void)snprintf(text, 24, value < 0 ? "-" : "%" PRId64, value);
    return text;
}

static int widest(const struct weir_standing *self, bool topics)
{
    size_t width = topics ? strlen("topic") : strlen("source");
    for (size_t i = 0; i < self->source_count; i++) {
        const struct weir_standing_source *source = &self->sources[i];
        size_t size = topics ? 0 : strlen(source->name);
        for (size_t k = 0; topics && k < source->count; k++) {
            size = strlen(source->items[k].topic) > size ? strlen(source->items[k].topic) : size;
        }
        width = size > width ? size : width;
    }
    return (int)(width < 60 ? width : 60);
}

static void put_total(const struct weir_standing_source *source,
                      int64_t total,
                      size_t unknown,
                      struct weir_strbuf *out)
{
    if (source->count == 0) {
        weir_strbuf_printf(out, "%s has no positions\n", source->name);
        return;
    }
    if (unknown < source->count) {
        weir_strbuf_printf(out, "%s is behind by %" PRId64 " %s\n", source->name, total,
                           source->unit);
    }
    if (unknown > 0) {
        weir_strbuf_printf(out, "%s: the lag of %zu partition%s is unknown\n", source->name,
                           unknown, unknown == 1 ? "" : "s");
    }
}

static void put_table(const struct weir_standing *self, struct weir_strbuf *out)
{
    int source_width = widest(self, false), topic_width = widest(self, true);
    weir_strbuf_printf(out, "%-*s  %-*s  %9s  %14s  %14s  %14s\n", source_width, "source",
                       topic_width, "topic", "partition", "committed", "end", "lag");
    for (size_t i = 0; i < self->source_count; i++) {
        const struct weir_standing_source *source = &self->sources[i];
        int64_t total = 0;
        size_t unknown = 0;
        for (size_t k = 0; k < source->count; k++) {
            const struct weir_position *item = &source->items[k];
            char committed[24], end[24], lag[24];
            weir_strbuf_printf(out, "%-*s  %-*s  %9d  %14s  %14s  %14s\n", source_width,
                               source->name, topic_width, item->topic, item->partition,
                               cell(committed, item->committed), cell(end, item->end),
                               cell(lag, lag_of(item)));
            total += lag_of(item) < 0 ? 0 : lag_of(item);
            unknown += lag_of(item) < 0;
        }
        put_total(source, total, unknown, out);
    }
    if (self->committed_ms > 0) {
        weir_strbuf_text(out, "last commit ");
        weir_format_time(self->committed_ms, out);
        weir_strbuf_push(out, '\n');
    }
}

static void put_number(const char *name, int64_t value, struct weir_strbuf *out)
{
    if (value < 0) {
        weir_strbuf_printf(out, ",\"%s\":null", name);
    } else {
        weir_strbuf_printf(out, ",\"%s\":%" PRId64, name, value);
    }
}

static void put_json(const struct weir_standing *self, struct weir_strbuf *out)
{
    weir_strbuf_text(out, "{\"pipeline\":");
    weir_quote_json(weir_slice_of(self->loading.loaded->config.name), out);
    weir_strbuf_text(out, ",\"last_commit\":");
    if (self->committed_ms > 0) {
        weir_strbuf_push(out, '"');
        weir_format_time(self->committed_ms, out);
        weir_strbuf_push(out, '"');
    } else {
        weir_strbuf_text(out, "null");
    }
    weir_strbuf_text(out, ",\"partitions\":[");
    bool is_first = true;
    for (size_t i = 0; i < self->source_count; i++) {
        const struct weir_standing_source *source = &self->sources[i];
        for (size_t k = 0; k < source->count; k++) {
            const struct weir_position *item = &source->items[k];
            weir_strbuf_text(out, is_first ? "\n{\"source\":" : ",\n{\"source\":");
            is_first = false;
            weir_quote_json(weir_slice_of(source->name), out);
            weir_strbuf_text(out, ",\"topic\":");
            weir_quote_json(weir_slice_of(item->topic), out);
            weir_strbuf_printf(out, ",\"partition\":%d", item->partition);
            put_number("first", item->first, out);
            put_number("committed", item->committed, out);
            put_number("end", item->end, out);
            put_number("lag", lag_of(item), out);
            weir_strbuf_printf(out, ",\"unit\":\"%s\"}", source->unit);
        }
    }
    weir_strbuf_text(out, "\n]}\n");
}

bool weir_standing_print(const struct weir_standing *self, bool as_json)
{
    struct weir_strbuf out;
    weir_strbuf_init(&out, TABLE_MAX);
    if (as_json) {
        put_json(self, &out);
    } else {
        put_table(self, &out);
    }
    struct weir_slice text = weir_strbuf_view(&out);
    bool told =
        !out.failed && fwrite(text.data, 1, text.size, stdout) == text.size && fflush(stdout) == 0;
    weir_strbuf_done(&out);
    return told;
}

int weir_standing_show(const char *command, const char *path, const char *format)
{
    struct weir_standing standing;
    int code = WEIR_EXIT_OK;
    if (weir_standing_open(&standing, command, path, WEIR_STANDING_LOOK, &code) &&
        !weir_standing_print(&standing, format != NULL && strcmp(format, "json") == 0)) {
        code = WEIR_EXIT_FAILED;
    }
    weir_standing_close(&standing);
    return code;
}
