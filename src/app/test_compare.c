/* SPDX-License-Identifier: Apache-2.0
 *
 * Records are compared by what the expectation says of them, JSON as values. Lists are aligned by
 * their longest common subsequence, so that one missing record is one line and not all that follow;
 * a record that came in the place of another is told by the paths at which the two differ.
 */
#include "app/test_compare.h"

#include <stdio.h>
#include <string.h>

#include <weir/json.h>

#include "app/test_text.h"
#include "base/alloc.h"
#include "data/batch.h"

enum { CONTEXT_LINES = 2, PATHS_MAX = 8, ALIGN_MAX = 4000000 };

/* --- names of sinks ----------------------------------------------------------------------------*/

static bool is_only_sink(const struct weir_test_file *file)
{
    bool buries = file->loading.loaded->config.dead_letter != NULL;
    return file->plan.sink_count - buries == 1;
}

static const char *branch_of(const struct weir_test_file *file, unsigned sink)
{
    const struct weir_pipeline_config *config = &file->loading.loaded->config;
    size_t at = config->sinks.count;
    for (size_t i = 0; i < config->branches.count; i++) {
        const struct weir_branch_config *branch =
            WEIR_ITEMS_AT(struct weir_branch_config, &config->branches, i);
        if (at == sink && branch->sinks.count == 1) {
            return branch->name;
        }
        at += branch->sinks.count;
    }
    return NULL;
}

const char *weir_test_sink_name(const struct weir_test_file *file, unsigned sink)
{
    const struct weir_plan_edge *edge = &file->plan.sinks[sink];
    const char *branch = branch_of(file, sink);
    if (edge->label != NULL) {
        bool is_unique = true;
        for (unsigned i = 0; i < file->plan.sink_count; i++) {
            const char *label = file->plan.sinks[i].label;
            is_unique = is_unique && (i == sink || label == NULL || strcmp(label, edge->label) != 0);
        }
        return is_unique ? edge->label : edge->name;
    }
    return is_only_sink(file) ? "sink" : branch != NULL ? branch : edge->name;
}

static bool is_called(const struct weir_test_file *file, unsigned sink, const char *name)
{
    const struct weir_plan_edge *edge = &file->plan.sinks[sink];
    bool is_dead_letter = edge->label != NULL && strcmp(edge->label, "dead_letter") == 0;
    return strcmp(weir_test_sink_name(file, sink), name) == 0 || strcmp(edge->name, name) == 0 ||
           (is_only_sink(file) && !is_dead_letter && strcmp(name, "sink") == 0);
}

static int find_sink(const struct weir_test_file *file, const char *name)
{
    for (unsigned i = 0; i < file->plan.sink_count; i++) {
        if (is_called(file, i, name)) {
            return (int)i;
        }
    }
    return -1;
}

bool weir_test_compare_check(struct weir_test_file *file)
{
    struct weir_strbuf names;
    weir_strbuf_init(&names, 4096);
    for (unsigned i = 0; i < file->plan.sink_count; i++) {
        weir_strbuf_printf(&names, "%s%s", i == 0 ? "" : ", ", weir_test_sink_name(file, i));
    }
    for (size_t i = 0; i < file->cases.count; i++) {
        const struct weir_test_case *one = WEIR_ITEMS_AT(struct weir_test_case, &file->cases, i);
        for (size_t k = 0; k < one->expect.count; k++) {
            const struct weir_test_expect *expect =
                WEIR_ITEMS_AT(struct weir_test_expect, &one->expect, k);
            int sink = find_sink(file, expect->sink);
            if (sink < 0) {
                struct weir_diag *diag = weir_test_file_error(
                    file, &expect->sink, "the pipeline has no sink \"%s\"", expect->sink);
                diag->allowed = weir_arena_copy(&file->arena, weir_strbuf_view(&names)).data;
            } else if (weir_test_expected(file, one, (unsigned)sink) != expect) {
                (void)weir_test_file_error(file, &expect->sink,
                                           "\"%s\" is a second name of one sink", expect->sink);
            }
        }
    }
    weir_strbuf_done(&names);
    return file->diags.errors == 0;
}

const struct weir_test_expect *weir_test_expected(const struct weir_test_file *file,
                                                  const struct weir_test_case *one,
                                                  unsigned sink)
{
    for (size_t i = 0; i < one->expect.count; i++) {
        const struct weir_test_expect *expect =
            WEIR_ITEMS_AT(struct weir_test_expect, &one->expect, i);
        if (is_called(file, sink, expect->sink)) {
            return expect;
        }
    }
    return NULL;
}

/* --- records as text ---------------------------------------------------------------------------*/

struct weir_test_shows weir_test_shows(const struct weir_test_expect *expect)
{
    struct weir_test_shows shows = {0};
    for (size_t i = 0; expect != NULL && i < expect->records.count; i++) {
        const struct weir_test_record *record =
            WEIR_ITEMS_AT(struct weir_test_record, &expect->records, i);
        shows.time = shows.time || record->time.word == 0;
        shows.topic = shows.topic || record->topic != NULL;
        shows.headers = shows.headers || record->headers.count > 0;
    }
    return shows;
}

static bool parse(struct weir_arena *arena, struct weir_slice text, struct weir_value *ret_value)
{
    struct weir_err ignored = {0};
    return text.data != NULL && text.size > 0 &&
           weir_json_parse(arena, text, NULL, ret_value, &ignored) == WEIR_OK;
}

static void put_value(struct weir_slice text, struct weir_strbuf *out)
{
    struct weir_arena arena;
    struct weir_value value;
    weir_arena_init(&arena, 0);
    if (text.data == NULL) {
        weir_strbuf_text(out, "tombstone: true");
    } else if (parse(&arena, text, &value)) {
        weir_strbuf_text(out, "json: ");
        weir_value_write(value, out, WEIR_WRITE_COMPACT);
    } else {
        weir_strbuf_text(out, "value: ");
        weir_test_put_text(text, out);
    }
    weir_arena_done(&arena);
}

static void put_time(int64_t time_ms, struct weir_strbuf *out)
{
    weir_strbuf_printf(out, ", time: %lld", (long long)time_ms);
}

void weir_test_put_output(const struct weir_test_output *output,
                          struct weir_test_shows shows,
                          struct weir_strbuf *out)
{
    weir_strbuf_push(out, '{');
    if (output->key.data != NULL) {
        weir_strbuf_text(out, "key: ");
        weir_test_put_text(output->key, out);
        weir_strbuf_text(out, ", ");
    }
    put_value(output->value, out);
    if (shows.time) {
        put_time(output->time_ms, out);
    }
    if (shows.topic && output->topic.data != NULL) {
        weir_strbuf_text(out, ", topic: ");
        weir_test_put_text(output->topic, out);
    }
    for (uint32_t i = 0; shows.headers && i < output->header_count; i++) {
        weir_strbuf_text(out, i == 0 ? ", headers: {" : ", ");
        weir_test_put_text(output->headers[i].key, out);
        weir_strbuf_text(out, ": ");
        weir_test_put_text(output->headers[i].value.data == NULL ? WEIR_SLICE("") : output->headers[i].value,
                 out);
    }
    weir_strbuf_text(out, shows.headers && output->header_count > 0 ? "}}" : "}");
}

static void put_expected(const struct weir_test_record *record, struct weir_strbuf *out)
{
    const char *comma = "";
    weir_strbuf_push(out, '{');
    if (record->key != NULL) {
        weir_strbuf_text(out, "key: ");
        weir_test_put_text(weir_slice_of(record->key), out);
        comma = ", ";
    }
    if (record->json != NULL || record->value != NULL || record->tombstone) {
        weir_strbuf_text(out, comma);
        if (record->value != NULL) {
            weir_strbuf_text(out, "value: ");
            weir_test_put_text(weir_slice_of(record->value), out);
        } else {
            put_value(weir_slice_of(record->json), out);
        }
    }
    if (record->time.word == 0) {
        put_time(record->time.time_ms, out);
    }
    if (record->topic != NULL) {
        weir_strbuf_text(out, ", topic: ");
        weir_test_put_text(weir_slice_of(record->topic), out);
    }
    for (size_t i = 0; i < record->headers.count; i++) {
        weir_strbuf_printf(out, "%s%s: ", i == 0 ? ", headers: {" : ", ",
                           record->headers.items[i].key);
        weir_test_put_text(weir_slice_of(record->headers.items[i].value), out);
    }
    weir_strbuf_text(out, record->headers.count > 0 ? "}}" : "}");
}

/* --- one record against another ----------------------------------------------------------------*/

static bool same_json(struct weir_slice a, struct weir_slice b)
{
    struct weir_arena arena;
    struct weir_value first, second;
    weir_arena_init(&arena, 0);
    bool same = parse(&arena, a, &first) && parse(&arena, b, &second) &&
                weir_value_equal(first, second);
    weir_arena_done(&arena);
    return same;
}

static bool has_header(const struct weir_test_output *output, const struct weir_pair *pair)
{
    for (uint32_t i = 0; i < output->header_count; i++) {
        if (weir_slice_equal(output->headers[i].key, weir_slice_of(pair->key)) &&
            weir_slice_equal(output->headers[i].value, weir_slice_of(pair->value))) {
            return true;
        }
    }
    return false;
}

static bool record_matches(const struct weir_test_record *record,
                           const struct weir_test_output *output)
{
    bool same = record->key == NULL || weir_slice_equal(weir_slice_of(record->key), output->key);
    same = same && (!record->tombstone || output->value.data == NULL);
    same = same && (record->time.word != 0 || record->time.time_ms == output->time_ms);
    same = same &&
           (record->topic == NULL || weir_slice_equal(weir_slice_of(record->topic), output->topic));
    for (size_t i = 0; i < record->headers.count && same; i++) {
        same = has_header(output, &record->headers.items[i]);
    }
    if (same && record->value != NULL) {
        same = weir_slice_equal(weir_slice_of(record->value), output->value);
    }
    if (same && record->json != NULL) {
        same = same_json(weir_slice_of(record->json), output->value);
    }
    return same;
}

/* --- where two values part ---------------------------------------------------------------------*/

static void put_short(struct weir_value value, struct weir_strbuf *out)
{
    if (weir_value_is_absent(value)) {
        weir_strbuf_text(out, "nothing");
    } else {
        weir_value_write(value, out, WEIR_WRITE_COMPACT);
    }
}

static void put_differences(
    const char *path, struct weir_value a, struct weir_value b, int *left, struct weir_strbuf *out)
{
    bool are_objects =
        weir_value_kind(a) == WEIR_KIND_OBJECT && weir_value_kind(b) == WEIR_KIND_OBJECT;
    bool are_arrays =
        weir_value_kind(a) == WEIR_KIND_ARRAY && weir_value_kind(b) == WEIR_KIND_ARRAY;
    if (*left == 0 || (!weir_value_is_absent(a) && !weir_value_is_absent(b) &&
                       weir_value_equal(a, b))) {
        return;
    }
    char below[256];
    struct weir_value_iter iter;
    struct weir_value key, value;
    for (int side = 0; side < 2 && are_objects; side++) {
        weir_value_iter_init(&iter, side == 0 ? a : b);
        while (weir_value_iter_next(&iter, &key, &value)) {
            struct weir_slice name = weir_value_text(key);
            struct weir_value other = weir_value_get(side == 0 ? b : a, name);
            (void)snprintf(below, sizeof(below), "%s.%.*s", path, WEIR_SLICE_ARG(name));
            if (side == 0) {
                put_differences(below, value, other, left, out);
            } else if (weir_value_is_absent(other)) {
                put_differences(below, other, value, left, out);
            }
        }
    }
    size_t most = weir_value_count(a) > weir_value_count(b) ? weir_value_count(a)
                                                            : weir_value_count(b);
    for (size_t i = 0; are_arrays && i < most && *left > 0; i++) {
        (void)snprintf(below, sizeof(below), "%s[%zu]", path, i);
        put_differences(below, weir_value_at(a, i), weir_value_at(b, i), left, out);
    }
    if (!are_objects && !are_arrays) {
        weir_strbuf_printf(out, "        %s: ", path[0] == '\0' ? "." : path);
        put_short(a, out);
        weir_strbuf_text(out, " expected, ");
        put_short(b, out);
        weir_strbuf_text(out, " came\n");
        --*left;
    }
}

/* --- lists -------------------------------------------------------------------------------------*/

/* Either side is expected records, or outputs of the run before. */
struct side {
    const struct weir_test_record *records;
    const struct weir_test_output **outputs;
    size_t count;
};

struct lists {
    struct side want, have;
    struct weir_test_shows shows;
    struct weir_strbuf *out;
};

static bool outputs_equal(const struct weir_test_output *a, const struct weir_test_output *b)
{
    bool same = weir_slice_equal(a->key, b->key) && weir_slice_equal(a->value, b->value) &&
                weir_slice_equal(a->topic, b->topic) && a->time_ms == b->time_ms &&
                a->header_count == b->header_count && a->part == b->part;
    for (uint32_t i = 0; i < a->header_count && same; i++) {
        same = weir_slice_equal(a->headers[i].key, b->headers[i].key) &&
               weir_slice_equal(a->headers[i].value, b->headers[i].value);
    }
    return same;
}

static bool lists_match(const struct lists *lists, size_t want, size_t have)
{
    const struct weir_test_output *output = lists->have.outputs[have];
    return lists->want.records != NULL ? record_matches(&lists->want.records[want], output)
                                       : outputs_equal(lists->want.outputs[want], output);
}

static struct weir_slice wanted_value(const struct lists *lists, size_t want)
{
    return lists->want.records != NULL ? weir_slice_of(lists->want.records[want].json)
                                       : lists->want.outputs[want]->value;
}

static void put_want(const struct lists *lists, const char *mark, size_t want)
{
    weir_strbuf_printf(lists->out, "    %s ", mark);
    if (lists->want.records != NULL) {
        put_expected(&lists->want.records[want], lists->out);
    } else {
        weir_test_put_output(lists->want.outputs[want], lists->shows, lists->out);
    }
    weir_strbuf_push(lists->out, '\n');
}

static void put_have(const struct lists *lists, size_t have)
{
    weir_strbuf_text(lists->out, "    + ");
    weir_test_put_output(lists->have.outputs[have], lists->shows, lists->out);
    weir_strbuf_push(lists->out, '\n');
}

static void put_pair(const struct lists *lists, size_t want, size_t have)
{
    put_want(lists, "-", want);
    put_have(lists, have);
    struct weir_arena arena;
    struct weir_value a, b;
    weir_arena_init(&arena, 0);
    if (parse(&arena, wanted_value(lists, want), &a) &&
        parse(&arena, lists->have.outputs[have]->value, &b)) {
        int left = PATHS_MAX;
        put_differences("", a, b, &left, lists->out);
    }
    weir_arena_done(&arena);
}

/* Marks the records of both sides that belong together: ret[want] = have + 1, or 0. */
static void align(const struct lists *lists, size_t *ret)
{
    size_t n = lists->want.count, m = lists->have.count, first = 0, last = 0;
    while (first < n && first < m && lists_match(lists, first, first)) {
        ret[first] = first + 1;
        first++;
    }
    while (first + last < n && first + last < m &&
           lists_match(lists, n - 1 - last, m - 1 - last)) {
        ret[n - 1 - last] = m - last;
        last++;
    }
    size_t rows = n - first - last, columns = m - first - last;
    if (rows == 0 || columns == 0 || rows > ALIGN_MAX / columns) {
        return;
    }
    /* length[i][j]: of the longest common subsequence of what follows i and j */
    size_t width = columns + 1;
    uint32_t *length = weir_calloc((rows + 1) * width, sizeof(*length));
    bool *same = weir_calloc(rows * columns, sizeof(*same));
    for (size_t i = rows; i-- > 0;) {
        for (size_t j = columns; j-- > 0;) {
            same[i * columns + j] = lists_match(lists, first + i, first + j);
            uint32_t down = length[(i + 1) * width + j], right = length[i * width + j + 1];
            length[i * width + j] = same[i * columns + j] ? length[(i + 1) * width + j + 1] + 1
                                    : down > right        ? down
                                                          : right;
        }
    }
    for (size_t i = 0, j = 0; i < rows && j < columns;) {
        if (same[i * columns + j]) {
            ret[first + i++] = first + ++j;
        } else if (length[(i + 1) * width + j] >= length[i * width + j + 1]) {
            i++;
        } else {
            j++;
        }
    }
    weir_free(length);
    weir_free(same);
}

static void put_lists(const struct lists *lists, const size_t *partner)
{
    size_t want = 0, have = 0, n = lists->want.count, m = lists->have.count;
    while (want < n || have < m) {
        size_t equal = want;
        while (equal < n && partner[equal] == have + 1 + (equal - want)) {
            equal++;
        }
        for (size_t i = want; i < equal; i++) {
            bool is_near = (want > 0 && i < want + CONTEXT_LINES) || i + CONTEXT_LINES >= equal;
            bool is_tail = equal == n && have + (equal - want) == m && i >= want + CONTEXT_LINES;
            if (is_near && !is_tail) {
                put_want(lists, " ", i);
            } else if (i == want || i == want + CONTEXT_LINES) {
                weir_strbuf_printf(lists->out, "      …\n");
            }
        }
        have += equal - want;
        want = equal;
        size_t want_end = want, have_end = have;
        while (want_end < n && partner[want_end] == 0) {
            want_end++;
        }
        have_end = want_end < n ? partner[want_end] - 1 : m;
        while (want < want_end && have < have_end) {
            put_pair(lists, want++, have++);
        }
        while (want < want_end) {
            put_want(lists, "-", want++);
        }
        while (have < have_end) {
            put_have(lists, have++);
        }
    }
}

/* False, and the difference told, when the lists are not equal. */
static bool compare_lists(const struct lists *lists, const char *name)
{
    size_t *partner = weir_calloc(lists->want.count + 1, sizeof(*partner));
    align(lists, partner);
    bool same = lists->want.count == lists->have.count;
    for (size_t i = 0; i < lists->want.count; i++) {
        same = same && partner[i] == i + 1;
    }
    if (!same) {
        weir_strbuf_printf(lists->out, "  %s: %zu record%s expected (-), %zu came (+)\n", name,
                           lists->want.count, lists->want.count == 1 ? "" : "s", lists->have.count);
        put_lists(lists, partner);
    }
    weir_free(partner);
    return same;
}

static const struct weir_test_output **
list_outputs(const struct weir_test_result *result, unsigned sink, size_t *ret_count)
{
    const struct weir_test_output **items =
        weir_calloc(result->outputs.count + 1, sizeof(*items));
    size_t count = 0;
    for (size_t i = 0; i < result->outputs.count; i++) {
        if (result->outputs.items[i].sink == sink) {
            items[count++] = &result->outputs.items[i];
        }
    }
    *ret_count = count;
    return items;
}

/* --- a case ------------------------------------------------------------------------------------*/

static bool compare_sink(const struct weir_test_file *file,
                         const struct weir_test_case *one,
                         const struct weir_test_result *result,
                         unsigned sink,
                         struct weir_strbuf *out)
{
    static const struct weir_test_record none;
    const struct weir_test_expect *expect = weir_test_expected(file, one, sink);
    if (expect == NULL && file->plan.sinks[sink].component->discards) {
        return true;
    }
    struct lists lists = {.shows = weir_test_shows(expect), .out = out};
    lists.want.records = expect == NULL || expect->records.count == 0 ? &none
                                                                      : expect->records.items;
    lists.want.count = expect == NULL ? 0 : expect->records.count;
    lists.have.outputs = list_outputs(result, sink, &lists.have.count);
    bool same = compare_lists(&lists, weir_test_sink_name(file, sink));
    weir_free((void *)(uintptr_t)lists.have.outputs);
    return same;
}

bool weir_test_sink_matches(const struct weir_test_file *file,
                            const struct weir_test_case *one,
                            const struct weir_test_result *result,
                            unsigned sink)
{
    struct weir_strbuf ignored;
    weir_strbuf_init(&ignored, 0);
    bool same = compare_sink(file, one, result, sink, &ignored);
    weir_strbuf_done(&ignored);
    return same;
}

static bool compare_fates(const struct weir_test_file *file,
                          const struct weir_test_case *one,
                          const struct weir_test_result *result,
                          struct weir_strbuf *out)
{
    const struct {
        const char *name;
        const int64_t *want;
        enum weir_fate fate;
    } fates[] = {
        {"ok", &one->fates.ok, WEIR_FATE_OK},
        {"filtered", &one->fates.filtered, WEIR_FATE_FILTERED},
        {"late", &one->fates.late, WEIR_FATE_LATE},
        {"dead", &one->fates.dead, WEIR_FATE_DEAD},
        {"skipped", &one->fates.skipped, WEIR_FATE_SKIPPED},
    };
    bool same = true;
    for (size_t i = 0; i < sizeof(fates) / sizeof(fates[0]); i++) {
        int64_t have = result->fates[fates[i].fate];
        if (weir_test_file_has(file, fates[i].want) && *fates[i].want != have) {
            weir_strbuf_printf(out, "  records.%s: %lld expected, %lld came\n", fates[i].name,
                               (long long)*fates[i].want, (long long)have);
            same = false;
        }
    }
    return same;
}

static bool compare_metrics(const struct weir_test_case *one,
                            const struct weir_test_result *result,
                            struct weir_strbuf *out)
{
    bool same = true;
    for (size_t i = 0; i < one->metrics.count; i++) {
        const struct weir_pair *pair = &one->metrics.items[i];
        struct weir_strbuf have;
        weir_strbuf_init(&have, 64);
        weir_strbuf_printf(&have, "%.15g", result->metrics[i]);
        if (!result->has_metric[i] || strcmp(have.data, pair->value) != 0) {
            weir_strbuf_printf(out, "  metrics.%s: %s expected, %s\n", pair->key, pair->value,
                               result->has_metric[i] ? have.data : "there is no such metric");
            same = false;
        }
        weir_strbuf_done(&have);
    }
    return same;
}

static bool compare_error(const struct weir_test_case *one,
                          const struct weir_test_result *result,
                          struct weir_strbuf *out)
{
    if (one->error == NULL && result->error != NULL) {
        weir_strbuf_printf(out, "  the pipeline failed: %s\n", result->error);
        return false;
    }
    if (one->error != NULL &&
        (result->error == NULL || strstr(result->error, one->error) == NULL)) {
        weir_strbuf_printf(out, "  error: \"%s\" expected, %s\n", one->error,
                           result->error == NULL ? "the pipeline did not fail" : result->error);
        return false;
    }
    return true;
}

bool weir_test_compare_rest(const struct weir_test_file *file,
                            const struct weir_test_case *one,
                            const struct weir_test_result *result,
                            struct weir_strbuf *out)
{
    bool same = compare_error(one, result, out);
    same &= compare_fates(file, one, result, out);
    same &= compare_metrics(one, result, out);
    return same;
}

bool weir_test_compare(const struct weir_test_file *file,
                       const struct weir_test_case *one,
                       const struct weir_test_result *result,
                       struct weir_strbuf *out)
{
    if (result->problem != NULL) {
        weir_strbuf_printf(out, "  %s\n", result->problem);
        return false;
    }
    bool same = compare_error(one, result, out); /* the cause before what follows from it */
    for (unsigned i = 0; i < file->plan.sink_count; i++) {
        same &= compare_sink(file, one, result, i, out);
    }
    same &= compare_fates(file, one, result, out);
    same &= compare_metrics(one, result, out);
    return same;
}

/* Stable, by input partition: between partitions there is no order. */
static void order_by_part(const struct weir_test_output **items, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        const struct weir_test_output *item = items[i];
        size_t at = i;
        for (; at > 0 && items[at - 1]->part > item->part; at--) {
            items[at] = items[at - 1];
        }
        items[at] = item;
    }
}

bool weir_test_same(const struct weir_test_file *file,
                    const struct weir_test_result *first,
                    const struct weir_test_result *second,
                    struct weir_strbuf *out)
{
    if (second->problem != NULL) {
        weir_strbuf_printf(out, "  %s\n", second->problem);
        return false;
    }
    bool same = true;
    if ((first->error == NULL) != (second->error == NULL)) {
        weir_strbuf_printf(out, "  the pipeline %s\n",
                           second->error == NULL ? "did not fail" : second->error);
        same = false;
    }
    for (unsigned i = 0; i < file->plan.sink_count; i++) {
        struct lists lists = {.shows = {.time = true, .headers = true}, .out = out};
        lists.want.outputs = list_outputs(first, i, &lists.want.count);
        lists.have.outputs = list_outputs(second, i, &lists.have.count);
        order_by_part(lists.want.outputs, lists.want.count);
        order_by_part(lists.have.outputs, lists.have.count);
        same &= compare_lists(&lists, weir_test_sink_name(file, i));
        weir_free((void *)(uintptr_t)lists.want.outputs);
        weir_free((void *)(uintptr_t)lists.have.outputs);
    }
    return same;
}
