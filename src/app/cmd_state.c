/* SPDX-License-Identifier: Apache-2.0
 *
 * weir state: what the steps of a pipeline remember, shown, saved and moved between media.
 *
 * Export writes JSON lines: one per shard with its position, one per step with its layout and
 * clock, one per entry with key and value as the step keeps them (hexadecimal, exact) and, for
 * people, what the step says they are. A line names its shard, so lines may be taken out or put
 * together with any tool; import needs a shard's position and a step's layout before its entries.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <weir/json.h>

#include "app/admin_client.h"
#include "app/args.h"
#include "app/state_store.h"
#include "base/quote.h"
#include "state/entry_text.h"
#include "state/table_delta.h"

enum { TABLE_MAX = 256 << 20 };

static int failed(const char *what, const struct weir_err *err)
{
    return weir_standing_fail("state", what, err);
}

static bool print(struct weir_strbuf *out)
{
    struct weir_slice text = weir_strbuf_view(out);
    bool ok = !out->failed && fwrite(text.data, 1, text.size, stdout) == text.size;
    weir_strbuf_clear(out);
    return ok;
}

/* --- list and size -----------------------------------------------------------------------------*/

/* A step's table in a shard. */
struct row {
    struct weir_slice step, topic;
    int64_t partition, position, version, keys, bytes, clock; /* clock: INT64_MIN, none */
};

static void put_head(struct weir_strbuf *out)
{
    weir_strbuf_printf(out, "%-24s  %-24s  %9s  %12s  %14s  %14s\n", "step", "topic", "partition",
                       "keys", "bytes", "clock");
}

static void put_row(const struct row *row, struct weir_strbuf *out)
{
    char time[24] = "-";
    if (row->clock != INT64_MIN) {
        snprintf(time, sizeof(time), "%" PRId64, row->clock);
    }
    weir_strbuf_printf(out, "%-24.*s  %-24.*s  %9" PRId64 "  %12" PRId64 "  %14" PRId64 "  %14s\n",
                       (int)row->step.size, row->step.data, (int)row->topic.size, row->topic.data,
                       row->partition, row->keys, row->bytes, time);
}

static void put_json(const struct row *row, bool is_first, struct weir_strbuf *out)
{
    weir_strbuf_text(out, is_first ? "{\"step\":" : ",{\"step\":");
    weir_quote_json(row->step, out);
    weir_strbuf_text(out, ",\"topic\":");
    weir_quote_json(row->topic, out);
    weir_strbuf_printf(out,
                       ",\"partition\":%" PRId64 ",\"position\":%" PRId64 ",\"version\":%" PRId64
                       ",\"keys\":%" PRId64 ",\"bytes\":%" PRId64 ",\"clock\":",
                       row->partition, row->position, row->version, row->keys, row->bytes);
    if (row->clock == INT64_MIN) {
        weir_strbuf_text(out, "null}");
    } else {
        weir_strbuf_printf(out, "%" PRId64 "}", row->clock);
    }
}

static struct row row_of(const struct weir_store_shard *shard, const struct weir_shard_step *step)
{
    return (struct row){.step = weir_slice_of(step->name),
                        .topic = weir_slice_of(shard->topic),
                        .partition = shard->partition,
                        .position = shard->position,
                        .version = step->version,
                        .keys = (int64_t)weir_state_count(step->state),
                        .bytes = (int64_t)weir_state_bytes(step->state),
                        .clock = weir_state_clock(step->state)};
}

static int list(struct weir_store *store, bool as_json)
{
    struct weir_strbuf out;
    weir_strbuf_init(&out, TABLE_MAX);
    bool is_first = true;
    if (as_json) {
        weir_strbuf_text(&out, "{\"tables\":[");
    } else {
        put_head(&out);
    }
    for (size_t i = 0; i < store->shard_count; i++) {
        const struct weir_shard_step *step;
        for (size_t k = 0; (step = weir_shard_log_step_at(store->shards[i].log, k)) != NULL; k++) {
            const struct row row = row_of(&store->shards[i], step);
            if (as_json) {
                put_json(&row, is_first, &out);
            } else {
                put_row(&row, &out);
            }
            is_first = false;
        }
    }
    weir_strbuf_text(&out, as_json ? "]}\n" : "");
    bool ok = print(&out);
    weir_strbuf_done(&out);
    return ok && fflush(stdout) == 0 ? WEIR_EXIT_OK : WEIR_EXIT_FAILED;
}

static int size(struct weir_store *store)
{
    size_t keys = 0, bytes = 0, frames = 0, log_bytes = 0, shards = 0;
    for (size_t i = 0; i < store->shard_count; i++) {
        const struct weir_store_shard *shard = &store->shards[i];
        const struct weir_shard_step *step;
        for (size_t k = 0; (step = weir_shard_log_step_at(shard->log, k)) != NULL; k++) {
            keys += weir_state_count(step->state);
            bytes += weir_state_bytes(step->state);
        }
        frames += shard->frames;
        log_bytes += weir_shard_log_bytes(shard->log);
        shards += shard->frames > 0;
    }
    printf("shards  %zu\nkeys    %zu\nbytes   %zu\nlog     %zu bytes in %zu frames\n", shards, keys,
           bytes, log_bytes, frames);
    return fflush(stdout) == 0 ? WEIR_EXIT_OK : WEIR_EXIT_FAILED;
}

/* --- export and get ----------------------------------------------------------------------------*/

struct exporting {
    const struct weir_store *store;
    const char *step; /* NULL: all */
    const char *key;  /* NULL: all, and the lines of shards and steps too */
    struct weir_wanted_key wanted;
    struct weir_strbuf out;
    size_t found;
};

static void put_shard(const struct weir_store_shard *shard, struct weir_strbuf *out)
{
    weir_strbuf_text(out, "{\"topic\":");
    weir_quote_json(weir_slice_of(shard->topic), out);
    weir_strbuf_printf(out, ",\"partition\":%d", shard->partition);
}

static void put_step(const struct weir_store_shard *shard,
                     const struct weir_shard_step *step,
                     struct weir_strbuf *out)
{
    put_shard(shard, out);
    weir_strbuf_text(out, ",\"step\":");
    weir_quote_json(weir_slice_of(step->name), out);
}

static bool export_entry(struct exporting *self,
                         const struct weir_store_shard *shard,
                         const struct weir_shard_step *step,
                         const struct weir_component *component,
                         const struct weir_entry *entry)
{
    const struct weir_entry_text text = {
        .topic = shard->topic,
        .partition = shard->partition,
        .step = step->name,
        .key = weir_entry_key(entry),
        .value = weir_entry_value(entry),
        .timer = weir_entry_timer(entry),
        .show = component == NULL ? NULL : component->ops.step->show,
    };
    if (self->key != NULL && !weir_wanted_key_is(&self->wanted, text.key, text.show)) {
        return true;
    }
    self->found++;
    weir_entry_text_put(&text, &self->out);
    return print(&self->out);
}

static bool export_step(struct exporting *self,
                        const struct weir_store_shard *shard,
                        const struct weir_shard_step *step)
{
    if (self->key == NULL) {
        put_step(shard, step, &self->out);
        weir_strbuf_printf(&self->out, ",\"version\":%u", step->version);
        if (weir_state_clock(step->state) != INT64_MIN) {
            weir_strbuf_printf(&self->out, ",\"clock\":%" PRId64, weir_state_clock(step->state));
        }
        weir_strbuf_text(&self->out, "}\n");
    }
    const struct weir_component *component = weir_store_component(self->store, step->name);
    struct weir_state_cursor cursor = {0};
    const struct weir_entry *entry;
    bool ok = print(&self->out);
    while (ok && (entry = weir_state_next(step->state, &cursor)) != NULL) {
        ok = export_entry(self, shard, step, component, entry);
    }
    return ok;
}

static bool export_shard(struct exporting *self, const struct weir_store_shard *shard)
{
    if (shard->topic == NULL) {
        return true;
    }
    if (self->key == NULL) {
        put_shard(shard, &self->out);
        weir_strbuf_text(&self->out, ",\"source\":");
        weir_quote_json(weir_slice_of(shard->source), &self->out);
        weir_strbuf_printf(&self->out, ",\"position\":%" PRId64 "}\n", shard->position);
    }
    bool ok = true;
    const struct weir_shard_step *step;
    for (size_t k = 0; ok && (step = weir_shard_log_step_at(shard->log, k)) != NULL; k++) {
        if (self->step == NULL || strcmp(self->step, step->name) == 0) {
            ok = export_step(self, shard, step);
        }
    }
    return ok && print(&self->out);
}

static int export(const struct weir_store *store, const char *step, const char *key)
{
    struct exporting self = {.store = store, .step = step, .key = key};
    weir_strbuf_init(&self.out, WEIR_ENTRY_LINE_MAX);
    weir_wanted_key_init(&self.wanted, key != NULL ? key : "");
    bool ok = true;
    for (size_t i = 0; ok && i < store->shard_count; i++) {
        ok = export_shard(&self, &store->shards[i]);
    }
    weir_strbuf_done(&self.out);
    weir_wanted_key_done(&self.wanted);
    if (ok && key != NULL && self.found == 0) {
        fprintf(stderr, "weir state: nothing is kept for the key %s\n", key);
        return WEIR_EXIT_FAILED;
    }
    return ok && fflush(stdout) == 0 ? WEIR_EXIT_OK : WEIR_EXIT_FAILED;
}

/* --- import ------------------------------------------------------------------------------------*/

static bool take_hex(struct weir_value value, struct weir_arena *arena, struct weir_slice *ret)
{
    if (weir_value_kind(value) != WEIR_KIND_STRING) {
        return false;
    }
    struct weir_slice text = weir_value_text(value);
    char *bytes = weir_arena_alloc(arena, text.size / 2 + 1);
    if (bytes == NULL || text.size % 2 != 0) {
        return false;
    }
    for (size_t i = 0; i < text.size; i++) {
        char c = text.data[i];
        int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
        if (digit < 0) {
            return false;
        }
        bytes[i / 2] = (char)(i % 2 == 0 ? digit << 4 : bytes[i / 2] | digit);
    }
    *ret = (struct weir_slice){bytes, text.size / 2};
    return true;
}

static const char *
take_entry(const struct weir_shard_step *step, struct weir_value line, struct weir_arena *arena)
{
    struct weir_slice key, value;
    int64_t timer = WEIR_NO_TIMER;
    struct weir_value time = weir_value_get(line, WEIR_SLICE("timer"));
    if (!take_hex(weir_value_get(line, WEIR_SLICE("key")), arena, &key) || key.size == 0 ||
        key.size > WEIR_STATE_KEY_MAX ||
        !take_hex(weir_value_get(line, WEIR_SLICE("value")), arena, &value) ||
        value.size > WEIR_STATE_VALUE_MAX ||
        (!weir_value_is_absent(time) && !weir_value_int64(time, &timer))) {
        return "its key, value or timer is not as export writes them";
    }
    bool is_new;
    weir_state_set_restoring(step->state, true);
    struct weir_entry *entry = weir_state_put(step->state, key, value.size, &is_new);
    if (is_new) {
        memcpy(weir_state_edit(step->state, entry), value.data, value.size);
        weir_state_set_timer(step->state, entry, timer);
    }
    weir_state_set_restoring(step->state, false);
    return is_new ? NULL : "this key came before";
}

static const char *take_step(struct weir_store_shard *shard,
                             struct weir_value line,
                             struct weir_value name,
                             struct weir_arena *arena)
{
    int64_t version = 0, clock = INT64_MIN;
    bool is_head = weir_value_int64(weir_value_get(line, WEIR_SLICE("version")), &version);
    struct weir_value time = weir_value_get(line, WEIR_SLICE("clock"));
    if (!weir_value_is_absent(time) && !weir_value_int64(time, &clock)) {
        return "its clock is no number";
    }
    const struct weir_shard_step *step = weir_shard_log_step(
        shard->log, weir_value_text(name), is_head ? (uint32_t)version : UINT32_MAX);
    if (step == NULL) {
        return "the line with the step's version comes first";
    }
    if (!is_head) {
        return take_entry(step, line, arena);
    }
    weir_state_set_restoring(step->state, true);
    weir_state_set_clock(step->state, clock);
    weir_state_set_restoring(step->state, false);
    return NULL;
}

/* NULL: well. */
static const char *
take_line(struct weir_store *store, struct weir_slice text, struct weir_arena *arena)
{
    struct weir_value line;
    struct weir_err err = {0};
    int64_t partition = 0;
    if (weir_json_parse(arena, text, NULL, &line, &err) != WEIR_OK) {
        return "not JSON";
    }
    struct weir_slice topic = weir_value_text(weir_value_get(line, WEIR_SLICE("topic")));
    if (topic.data == NULL ||
        !weir_value_int64(weir_value_get(line, WEIR_SLICE("partition")), &partition) ||
        partition < 0 || partition > INT32_MAX) {
        return "it has no topic and partition, as export writes them";
    }
    struct weir_store_shard *shard = weir_store_shard(store, topic, (int32_t)partition);
    if (shard->source == NULL) {
        return "the pipeline has several sources; state is of one";
    }
    struct weir_value name = weir_value_get(line, WEIR_SLICE("step"));
    if (weir_value_kind(name) == WEIR_KIND_STRING) {
        return shard->position < 0 ? "the line with the shard's position comes first"
                                   : take_step(shard, line, name, arena);
    }
    return weir_value_int64(weir_value_get(line, WEIR_SLICE("position")), &shard->position) &&
                   shard->position >= 0
               ? NULL
               : "it has neither a step nor a position";
}

/* False: the input has ended. */
static bool read_line(struct weir_strbuf *line)
{
    char part[65536];
    weir_strbuf_clear(line);
    while (fgets(part, sizeof(part), stdin) != NULL) {
        size_t size = strcspn(part, "\n");
        weir_strbuf_append(line, part, size);
        if (part[size] == '\n') {
            return true;
        }
    }
    return line->size > 0;
}

static int read_lines(struct weir_store *store)
{
    size_t number = 0;
    const char *wrong = NULL;
    struct weir_strbuf line;
    struct weir_arena arena;
    weir_strbuf_init(&line, WEIR_ENTRY_LINE_MAX);
    while (wrong == NULL && read_line(&line)) {
        number++;
        if (line.size == 0) {
            continue;
        }
        weir_arena_init(&arena, 0);
        wrong = line.failed ? "it is too long" : take_line(store, weir_strbuf_view(&line), &arena);
        weir_arena_done(&arena);
    }
    weir_strbuf_done(&line);
    if (wrong == NULL && store->shard_count == 0) {
        fputs("weir state: standard input has no state\n", stderr);
        return WEIR_EXIT_FAILED;
    }
    if (wrong != NULL) {
        fprintf(stderr, "weir state: line %zu: %s\n", number, wrong);
        return WEIR_EXIT_FAILED;
    }
    return WEIR_EXIT_OK;
}

static int import(struct weir_store *store, bool is_dry)
{
    struct weir_err err = {0};
    int code = read_lines(store);
    if (code != WEIR_EXIT_OK) {
        return code;
    }
    struct weir_strbuf plan;
    weir_strbuf_init(&plan, TABLE_MAX);
    bool fits = weir_store_plan(store, &plan) && print(&plan) && fflush(stdout) == 0;
    weir_strbuf_done(&plan);
    if (!fits) {
        fputs("weir state: the pipeline would not go on with this state; nothing was written\n",
              stderr);
        return WEIR_EXIT_FAILED;
    }
    if (!is_dry && weir_store_write(store, &err) != WEIR_OK) {
        return failed("", &err);
    }
    puts(is_dry ? "nothing was written (--dry-run)" : "done");
    return fflush(stdout) == 0 ? WEIR_EXIT_OK : WEIR_EXIT_FAILED;
}

/* --- a running process -------------------------------------------------------------------------*/

static weir_status
ask(const struct weir_args *args, const char *path, struct weir_strbuf *out, struct weir_err *err)
{
    return weir_admin_get(weir_args_get(args, "url"), path, getenv("WEIR_HTTP_TOKEN"), out, err);
}

static int64_t number_of(struct weir_value row, struct weir_slice name, int64_t otherwise)
{
    int64_t number = otherwise;
    return weir_value_int64(weir_value_get(row, name), &number) ? number : otherwise;
}

static struct row row_from(struct weir_value value)
{
    return (struct row){.step = weir_value_text(weir_value_get(value, WEIR_SLICE("step"))),
                        .topic = weir_value_text(weir_value_get(value, WEIR_SLICE("topic"))),
                        .partition = number_of(value, WEIR_SLICE("partition"), 0),
                        .keys = number_of(value, WEIR_SLICE("keys"), 0),
                        .bytes = number_of(value, WEIR_SLICE("bytes"), 0),
                        .clock = number_of(value, WEIR_SLICE("clock"), INT64_MIN)};
}

/* The table of what /state says, or its sums. */
static weir_status put_state(const struct weir_strbuf *answer,
                             const char *pipeline,
                             bool sums,
                             struct weir_strbuf *out,
                             struct weir_err *err)
{
    struct weir_arena arena;
    struct weir_value all, row;
    weir_arena_init(&arena, 0);
    weir_status status = weir_json_parse(&arena, weir_strbuf_view(answer), NULL, &all, err);
    int64_t keys = 0, bytes = 0;
    if (status == WEIR_OK && !sums) {
        put_head(out);
    }
    struct weir_value_iter iter;
    if (status == WEIR_OK) {
        weir_value_iter_init(&iter, weir_value_get(all, WEIR_SLICE("tables")));
    }
    while (status == WEIR_OK && weir_value_iter_next(&iter, NULL, &row)) {
        struct weir_slice name = weir_value_text(weir_value_get(row, WEIR_SLICE("pipeline")));
        if (pipeline != NULL && !weir_slice_equal(name, weir_slice_of(pipeline))) {
            continue;
        }
        const struct row shown = row_from(row);
        keys += shown.keys;
        bytes += shown.bytes;
        if (!sums) {
            put_row(&shown, out);
        }
    }
    if (sums) {
        weir_strbuf_printf(out, "keys    %" PRId64 "\nbytes   %" PRId64 "\n", keys, bytes);
    }
    weir_arena_done(&arena);
    return status;
}

static weir_status look_there(const struct weir_args *args,
                              const char *action,
                              struct weir_strbuf *out,
                              struct weir_err *err)
{
    static const char *const names[] = {"key", "step", "pipeline"};
    const char *format = weir_args_get(args, "format");
    struct weir_strbuf path, answer;
    weir_strbuf_init(&path, 1 << 20);
    weir_strbuf_init(&answer, TABLE_MAX);
    bool gets = strcmp(action, "get") == 0;
    weir_strbuf_text(&path, gets ? "/state/get" : "/state");
    for (size_t i = 0; gets && i < 3; i++) {
        const char *value = weir_args_get(args, names[i]);
        if (value != NULL) {
            weir_strbuf_printf(&path, "%c%s=", i == 0 ? '?' : '&', names[i]);
            weir_admin_escape(value, &path);
        }
    }
    bool as_it_is = gets || (format != NULL && strcmp(format, "json") == 0);
    weir_status status = ask(args, path.data, as_it_is ? out : &answer, err);
    if (status == WEIR_OK && !as_it_is) {
        status = put_state(&answer, weir_args_get(args, "pipeline"), strcmp(action, "size") == 0,
                           out, err);
    }
    weir_strbuf_done(&path);
    weir_strbuf_done(&answer);
    return status;
}

static int ask_process(const struct weir_args *args, const char *action)
{
    if (strcmp(action, "export") == 0) {
        return weir_args_wrong(args, "export takes FILE, not --url: it reads the state log, while the "
                                     "pipeline runs too, and has each shard as of one commit");
    }
    if (strcmp(action, "import") == 0) {
        return weir_args_wrong(args, "import takes FILE, not --url: of a pipeline that does not run");
    }
    if (args->count > 1) {
        return weir_args_wrong(args, "--url is in the place of FILE");
    }
    struct weir_err err = {0};
    struct weir_strbuf out;
    weir_strbuf_init(&out, TABLE_MAX);
    weir_status status = look_there(args, action, &out, &err);
    bool told = status == WEIR_OK && print(&out) && fflush(stdout) == 0;
    weir_strbuf_done(&out);
    return status != WEIR_OK ? failed("", &err) : told ? WEIR_EXIT_OK : WEIR_EXIT_FAILED;
}

/* --- the command -------------------------------------------------------------------------------*/

static const char *foreign_option(const struct weir_args *args, const char *action)
{
    static const struct {
        const char *option, *actions;
    } rows[] = {
        {"step", "get export"},
        {"key", "get"},
        {"dry-run", "import"},
        {"format", "list"},
        {"pipeline", "list size get"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (weir_args_has(args, rows[i].option) && strstr(rows[i].actions, action) == NULL) {
            return rows[i].option;
        }
    }
    return NULL;
}

static int look(struct weir_store *store, const struct weir_args *args, const char *action)
{
    struct weir_err err = {0};
    if (weir_store_read(store, &err) != WEIR_OK) {
        return failed("", &err);
    }
    const char *format = weir_args_get(args, "format");
    return strcmp(action, "list") == 0 ? list(store, format != NULL && strcmp(format, "json") == 0)
           : strcmp(action, "size") == 0
               ? size(store)
               : export(store, weir_args_get(args, "step"), weir_args_get(args, "key"));
}

int weir_cmd_state(int argc, char **argv)
{
    struct weir_args args;
    struct weir_store store;
    int code = WEIR_EXIT_OK;
    if (!weir_args_parse(&args, argc, argv, &code)) {
        return code;
    }
    const char *action = args.operands[0];
    const char *foreign = foreign_option(&args, action);
    if (foreign != NULL) {
        return weir_args_wrong(&args, "--%s has no meaning for %s", foreign, action);
    }
    if (strcmp(action, "get") == 0 && !weir_args_has(&args, "key")) {
        return weir_args_wrong(&args, "get needs --key");
    }
    if (weir_args_has(&args, "url")) {
        return ask_process(&args, action);
    }
    if (weir_args_has(&args, "pipeline")) {
        return weir_args_wrong(&args, "--pipeline has no meaning without --url");
    }
    if (weir_store_open(&store, "state", args.count > 1 ? args.operands[1] : NULL, &code)) {
        code = strcmp(action, "import") == 0 ? import(&store, weir_args_has(&args, "dry-run"))
                                             : look(&store, &args, action);
    }
    weir_store_close(&store);
    return code;
}
