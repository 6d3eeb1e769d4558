/* SPDX-License-Identifier: Apache-2.0
 *
 * weir positions: where a pipeline goes on reading, shown, moved, saved and restored.
 *
 * A change is all or nothing as far as the systems allow: every new position is computed and
 * checked before the first one is written, and nobody may read meanwhile (positions.c). A position
 * outside of what can be read is refused, not moved to the nearest end: the pipeline would stop on
 * it, or silently skip.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <weir/json.h>

#include "app/args.h"
#include "app/positions.h"
#include "base/assert.h"
#include "base/quote.h"
#include "conf/near.h"
#include "conf/scalar.h"

enum { LINE_BYTES_MAX = 1 << 20, TABLE_MAX = 64 << 20 };

/* What positions are moved to. */
enum where { WHERE_EARLIEST, WHERE_LATEST, WHERE_TIME, WHERE_POSITION };

struct change {
    const struct weir_args *args;
    struct weir_standing standing;
    enum where where;
    int64_t number;     /* a time in milliseconds, or a position */
    const char *topic;  /* NULL: all */
    int64_t partition;  /* -1: all */
    size_t moved_count; /* partitions with a target */
};

enum { NO_TARGET = -1 };

/* --- targets -----------------------------------------------------------------------------------*/

static void clear_targets(struct change *self)
{
    for (size_t i = 0; i < self->standing.source_count; i++) {
        struct weir_standing_source *source = &self->standing.sources[i];
        for (size_t k = 0; k < source->count; k++) {
            source->items[k].target = NO_TARGET;
        }
    }
}

static bool is_chosen(const struct change *self, const struct weir_position *item)
{
    return (self->topic == NULL || strcmp(self->topic, item->topic) == 0) &&
           (self->partition < 0 || self->partition == item->partition);
}

static int nothing_chosen(const struct change *self)
{
    struct weir_near near;
    weir_near_init(&near, weir_slice_of(self->topic == NULL ? "" : self->topic));
    bool has_topic = self->topic == NULL;
    for (size_t i = 0; i < self->standing.source_count; i++) {
        const struct weir_standing_source *source = &self->standing.sources[i];
        for (size_t k = 0; k < source->count; k++) {
            weir_near_offer(&near, source->items[k].topic);
            has_topic = has_topic || strcmp(self->topic, source->items[k].topic) == 0;
        }
    }
    if (has_topic && self->partition >= 0) {
        fprintf(stderr, "weir positions: there is no partition %" PRId64 "\n", self->partition);
    } else if (self->topic != NULL) {
        fprintf(stderr, "weir positions: the pipeline does not read \"%s\"", self->topic);
        fprintf(stderr, near.best == NULL ? "\n" : "; did you mean \"%s\"?\n", near.best);
    } else {
        fputs("weir positions: the pipeline keeps no positions\n", stderr);
    }
    return WEIR_EXIT_FAILED;
}

static int unknown_end(const struct weir_position *item)
{
    fprintf(stderr, "weir positions: %s: its end is not known; give a position\n", item->topic);
    return WEIR_EXIT_FAILED;
}

/* Times are asked of the source, all its partitions at once. */
static int find_times(struct change *self, struct weir_standing_source *source)
{
    struct weir_err err = {0};
    if (source->ops == NULL || source->ops->find == NULL) {
        fprintf(stderr, "weir positions: %s has no times; give earliest, latest or a position\n",
                source->name);
        return WEIR_EXIT_FAILED;
    }
    const struct weir_positions_call call = weir_standing_call(&self->standing, source);
    if (source->ops->find(&call, self->number, source->items, source->count, &err) != WEIR_OK) {
        return weir_standing_fail("positions", source->name, &err);
    }
    for (size_t i = 0; i < source->count; i++) {
        if (!is_chosen(self, &source->items[i])) {
            source->items[i].target = NO_TARGET;
        }
    }
    return WEIR_EXIT_OK;
}

static int find_targets(struct change *self)
{
    for (size_t i = 0; i < self->standing.source_count; i++) {
        struct weir_standing_source *source = &self->standing.sources[i];
        size_t chosen = 0;
        for (size_t k = 0; k < source->count; k++) {
            struct weir_position *item = &source->items[k];
            if (!is_chosen(self, item)) {
                continue;
            }
            chosen++;
            if (self->where == WHERE_LATEST && item->end < 0) {
                return unknown_end(item);
            }
            item->target = self->where == WHERE_EARLIEST ? (item->first < 0 ? 0 : item->first)
                           : self->where == WHERE_LATEST ? item->end
                                                         : self->number;
        }
        self->moved_count += chosen;
        if (self->where == WHERE_TIME && chosen > 0) {
            int code = find_times(self, source);
            if (code != WEIR_EXIT_OK) {
                return code;
            }
        }
    }
    return self->moved_count > 0 ? WEIR_EXIT_OK : nothing_chosen(self);
}

static int check_target(struct change *self,
                        const struct weir_standing_source *source,
                        const struct weir_position *item)
{
    struct weir_err err = {0};
    if (item->target < item->first || (item->end >= 0 && item->target > item->end)) {
        fprintf(stderr,
                "weir positions: %s, partition %d: %" PRId64 " is not among %" PRId64 " to %" PRId64
                ", which can be read\n",
                item->topic, item->partition, item->target, item->first, item->end);
        return WEIR_EXIT_FAILED;
    }
    if (source->ops != NULL && source->ops->check != NULL) {
        const struct weir_positions_call call = weir_standing_call(&self->standing, source);
        if (source->ops->check(&call, item, &err) != WEIR_OK) {
            return weir_standing_fail("positions", "", &err);
        }
    }
    return WEIR_EXIT_OK;
}

static int check_targets(struct change *self)
{
    for (size_t i = 0; i < self->standing.source_count; i++) {
        const struct weir_standing_source *source = &self->standing.sources[i];
        for (size_t k = 0; k < source->count; k++) {
            int code = source->items[k].target == NO_TARGET
                           ? WEIR_EXIT_OK
                           : check_target(self, source, &source->items[k]);
            if (code != WEIR_EXIT_OK) {
                return code;
            }
        }
        bool is_kept =
            self->standing.state != NULL || (source->ops != NULL && source->ops->commit != NULL);
        if (!is_kept) {
            fprintf(stderr,
                    "weir positions: %s: positions are not kept: each start reads from the "
                    "beginning\n",
                    source->name);
            return WEIR_EXIT_FAILED;
        }
    }
    return WEIR_EXIT_OK;
}

/* --- writing -----------------------------------------------------------------------------------*/

static weir_status
commit_source(struct change *self, struct weir_standing_source *source, struct weir_err *err)
{
    struct weir_position *moved =
        weir_arena_calloc(&self->standing.loading.arena, source->count + 1, sizeof(*moved));
    WEIR_ASSERT(moved != NULL);
    size_t count = 0;
    for (size_t k = 0; k < source->count; k++) {
        if (source->items[k].target != NO_TARGET) {
            moved[count++] = source->items[k];
        }
    }
    for (size_t k = 0; k < count && self->standing.state != NULL; k++) {
        weir_state_log_put_position(self->standing.state, source->name, moved[k].topic,
                                    moved[k].partition, moved[k].target);
    }
    if (count == 0 || source->ops == NULL || source->ops->commit == NULL) {
        return WEIR_OK;
    }
    const struct weir_positions_call call = weir_standing_call(&self->standing, source);
    return source->ops->commit(&call, moved, count, err);
}

static int commit_targets(struct change *self)
{
    struct weir_err err = {0};
    struct weir_state_log *state = self->standing.state;
    for (size_t i = 0; i < self->standing.source_count; i++) {
        struct weir_standing_source *source = &self->standing.sources[i];
        if (commit_source(self, source, &err) != WEIR_OK) {
            return weir_standing_fail("positions", source->name, &err);
        }
    }
    bool resets = weir_args_has(self->args, "reset-state");
    if (state != NULL && resets) {
        weir_state_log_drop_frames(state);
    }
    if (state != NULL &&
        weir_state_log_commit(state, weir_state_log_epoch(state) + 1, &err) != WEIR_OK) {
        return weir_standing_fail("positions", "", &err);
    }
    /* Last: positions without their state are refused at the next start, state without its
     * positions would be used. */
    if (resets && weir_standing_drop_state(&self->standing, &err) != WEIR_OK) {
        return weir_standing_fail("positions", "the positions are moved, the state is still there",
                                  &err);
    }
    return WEIR_EXIT_OK;
}

/* State is of all partitions: one that stays where it is would be without. */
static bool moves_all(const struct change *self)
{
    for (size_t i = 0; i < self->standing.source_count; i++) {
        for (size_t k = 0; k < self->standing.sources[i].count; k++) {
            if (self->standing.sources[i].items[k].target == NO_TARGET) {
                return false;
            }
        }
    }
    return true;
}

/* A sink whose target knows what it was sent takes none of it twice, wanted or not. */
static void warn_of_repeats(const struct change *self)
{
    bool is_back = false;
    for (size_t i = 0; i < self->standing.source_count; i++) {
        const struct weir_standing_source *source = &self->standing.sources[i];
        for (size_t k = 0; k < source->count; k++) {
            const struct weir_position *item = &source->items[k];
            is_back = is_back || (item->target != NO_TARGET && item->target < item->committed);
        }
    }
    const struct weir_plan *plan = &self->standing.plan;
    for (size_t i = 0; i < plan->sink_count && is_back; i++) {
        const struct weir_plan_edge *sink = &plan->sinks[i];
        if (sink->identified) {
            fprintf(stderr,
                    "weir positions: warning: records will be read again, but %s drops outputs that "
                    "it was sent before, by %s\n"
                    "To have them written again, also differently, write `guarantee: at-least-once` "
                    "before the pipeline is started.\n",
                    sink->name, sink->component->drops_repeats);
        }
    }
}

static bool print_change(const struct change *self, bool is_done)
{
    for (size_t i = 0; i < self->standing.source_count; i++) {
        const struct weir_standing_source *source = &self->standing.sources[i];
        for (size_t k = 0; k < source->count; k++) {
            const struct weir_position *item = &source->items[k];
            if (item->target == NO_TARGET) {
                continue;
            }
            char from[24] = "nowhere";
            if (item->committed >= 0) {
                (void)snprintf(from, sizeof(from), "%" PRId64, item->committed);
            }
            printf("%s %s %d: %s -> %" PRId64 "\n", source->name, item->topic, item->partition,
                   from, item->target);
        }
    }
    if (is_done && weir_args_has(self->args, "reset-state")) {
        puts("the state was thrown away");
    }
    puts(is_done ? "done" : "nothing was changed (--dry-run)");
    return fflush(stdout) == 0;
}

static int apply(struct change *self)
{
    bool is_dry = weir_args_has(self->args, "dry-run");
    int code = check_targets(self);
    if (code == WEIR_EXIT_OK && weir_args_has(self->args, "reset-state") && !moves_all(self)) {
        fputs("weir positions: with --reset-state every partition must be moved\n", stderr);
        code = WEIR_EXIT_FAILED;
    }
    if (code == WEIR_EXIT_OK && !is_dry) {
        code = commit_targets(self);
    }
    if (code == WEIR_EXIT_OK && !print_change(self, !is_dry)) {
        code = WEIR_EXIT_FAILED;
    }
    if (code == WEIR_EXIT_OK) {
        warn_of_repeats(self);
    }
    return code;
}

/* A dry run may look at a pipeline that runs. */
static bool open_to_change(struct change *self, int *ret_code)
{
    const char *path = self->args->count > 1 ? self->args->operands[1] : NULL;
    bool is_open =
        weir_standing_open(&self->standing, "positions", path,
                           weir_args_has(self->args, "dry-run")       ? WEIR_STANDING_LOOK
                           : weir_args_has(self->args, "reset-state") ? WEIR_STANDING_RESET
                                                                      : WEIR_STANDING_MOVE,
                           ret_code);
    if (is_open) {
        clear_targets(self);
    }
    return is_open;
}

/* --- set ---------------------------------------------------------------------------------------*/

static bool parse_where(struct change *self, const char *text)
{
    struct weir_slice slice = weir_slice_of(text);
    if (strcmp(text, "earliest") == 0) {
        self->where = WHERE_EARLIEST;
    } else if (strcmp(text, "latest") == 0) {
        self->where = WHERE_LATEST;
    } else if (weir_parse_int(slice, &self->number)) {
        self->where = WHERE_POSITION;
        return self->number >= 0;
    } else {
        self->where = WHERE_TIME;
        return weir_parse_time(slice, &self->number);
    }
    return true;
}

static int set(const struct weir_args *args)
{
    struct change self = {.args = args, .partition = -1, .topic = weir_args_get(args, "topic")};
    const char *to = weir_args_get(args, "to"), *partition = weir_args_get(args, "partition");
    if (to == NULL) {
        return weir_args_wrong(args, "set needs --to earliest, latest, a time or a position");
    }
    if (!parse_where(&self, to)) {
        return weir_args_wrong(args,
                               "--to is earliest, latest, a time such as "
                               "2026-01-31T12:00:00Z, or a position, not \"%s\"",
                               to);
    }
    if (partition != NULL && (!weir_parse_int(weir_slice_of(partition), &self.partition) ||
                              self.partition < 0 || self.topic == NULL)) {
        return weir_args_wrong(args, "--partition is a number, and stands beside --topic");
    }
    int code = WEIR_EXIT_OK;
    if (open_to_change(&self, &code)) {
        code = find_targets(&self);
        code = code == WEIR_EXIT_OK ? apply(&self) : code;
    }
    weir_standing_close(&self.standing);
    return code;
}

/* --- export and import -------------------------------------------------------------------------*/

static int export(const struct weir_args *args)
{
    struct weir_standing standing;
    int code = WEIR_EXIT_OK;
    struct weir_strbuf out;
    weir_strbuf_init(&out, TABLE_MAX);
    bool is_open =
        weir_standing_open(&standing, "positions", args->count > 1 ? args->operands[1] : NULL,
                           WEIR_STANDING_LOOK, &code);
    for (size_t i = 0; is_open && i < standing.source_count; i++) {
        const struct weir_standing_source *source = &standing.sources[i];
        for (size_t k = 0; k < source->count; k++) {
            const struct weir_position *item = &source->items[k];
            if (item->committed < 0 || source->is_exchange) {
                continue;
            }
            weir_strbuf_text(&out, "{\"source\":");
            weir_quote_json(weir_slice_of(source->name), &out);
            weir_strbuf_text(&out, ",\"topic\":");
            weir_quote_json(weir_slice_of(item->topic), &out);
            weir_strbuf_printf(&out, ",\"partition\":%d,\"position\":%" PRId64 "}\n",
                               item->partition, item->committed);
        }
    }
    struct weir_slice text = weir_strbuf_view(&out);
    if (is_open && (out.failed || fwrite(text.data, 1, text.size, stdout) != text.size ||
                    fflush(stdout) != 0)) {
        code = WEIR_EXIT_FAILED;
    }
    weir_strbuf_done(&out);
    weir_standing_close(&standing);
    return code;
}

static int wrong_line(size_t number, const char *message)
{
    fprintf(stderr, "weir positions: line %zu: %s\n", number, message);
    return WEIR_EXIT_FAILED;
}

static struct weir_position *
find_item(struct change *self, struct weir_slice source, struct weir_slice topic, int64_t partition)
{
    for (size_t i = 0; i < self->standing.source_count; i++) {
        struct weir_standing_source *own = &self->standing.sources[i];
        if (source.data != NULL && !weir_slice_equal(source, weir_slice_of(own->name))) {
            continue;
        }
        for (size_t k = 0; k < own->count; k++) {
            struct weir_position *item = &own->items[k];
            if (item->partition == partition &&
                weir_slice_equal(topic, weir_slice_of(item->topic))) {
                return item;
            }
        }
    }
    return NULL;
}

static int take_line(struct change *self, struct weir_slice line, size_t number)
{
    struct weir_err err = {0};
    struct weir_value value;
    if (weir_json_parse(&self->standing.loading.arena, line, NULL, &value, &err) != WEIR_OK) {
        return wrong_line(number, err.message);
    }
    struct weir_slice source = weir_value_text(weir_value_get(value, WEIR_SLICE("source")));
    struct weir_slice topic = weir_value_text(weir_value_get(value, WEIR_SLICE("topic")));
    int64_t partition = 0, position = 0;
    if (topic.data == NULL ||
        !weir_value_int64(weir_value_get(value, WEIR_SLICE("partition")), &partition) ||
        !weir_value_int64(weir_value_get(value, WEIR_SLICE("position")), &position) ||
        position < 0) {
        return wrong_line(number, "it has no topic, partition and position, as export writes them");
    }
    struct weir_position *item = find_item(self, source, topic, partition);
    if (item == NULL) {
        return wrong_line(number, "the pipeline does not read this partition");
    }
    if (item->target != NO_TARGET) {
        return wrong_line(number, "this partition came before");
    }
    item->target = position;
    self->moved_count++;
    return WEIR_EXIT_OK;
}

static int read_lines(struct change *self)
{
    static char line[LINE_BYTES_MAX];
    int code = WEIR_EXIT_OK;
    for (size_t number = 1; code == WEIR_EXIT_OK && fgets(line, sizeof(line), stdin) != NULL;
         number++) {
        size_t size = strcspn(line, "\n");
        if (strspn(line, " \t\r\n") < strlen(line)) {
            code = take_line(self, (struct weir_slice){line, size}, number);
        }
    }
    if (code == WEIR_EXIT_OK && self->moved_count == 0) {
        fputs("weir positions: standard input has no positions\n", stderr);
        code = WEIR_EXIT_FAILED;
    }
    return code;
}

static int import(const struct weir_args *args)
{
    struct change self = {.args = args, .partition = -1};
    int code = WEIR_EXIT_OK;
    if (open_to_change(&self, &code)) {
        code = read_lines(&self);
        code = code == WEIR_EXIT_OK ? apply(&self) : code;
    }
    weir_standing_close(&self.standing);
    return code;
}

/* --- the command -------------------------------------------------------------------------------*/

/* Options that belong to another action are a mistake, not noise. */
static const char *foreign_option(const struct weir_args *args, const char *action)
{
    static const struct {
        const char *option, *actions;
    } rows[] = {
        {"to", "set"},
        {"topic", "set"},
        {"partition", "set"},
        {"dry-run", "set import"},
        {"reset-state", "set import"},
        {"format", "show"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (weir_args_has(args, rows[i].option) && strstr(rows[i].actions, action) == NULL) {
            return rows[i].option;
        }
    }
    return NULL;
}

int weir_cmd_positions(int argc, char **argv)
{
    struct weir_args args;
    int code = WEIR_EXIT_OK;
    if (!weir_args_parse(&args, argc, argv, &code)) {
        return code;
    }
    const char *action = args.operands[0];
    const char *foreign = foreign_option(&args, action);
    if (foreign != NULL) {
        return weir_args_wrong(&args, "--%s has no meaning for %s", foreign, action);
    }
    if (strcmp(action, "show") == 0) {
        return weir_standing_show("positions", args.count > 1 ? args.operands[1] : NULL,
                                  weir_args_get(&args, "format"));
    }
    return strcmp(action, "set") == 0      ? set(&args)
           : strcmp(action, "export") == 0 ? export(&args)
                                           : import(&args);
}
