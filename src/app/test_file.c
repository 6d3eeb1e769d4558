/* SPDX-License-Identifier: Apache-2.0
 *
 * The field tables of a test file, and loading. Three of its parts have no type in a field table
 * and are given one before binding: `json`, any YAML, becomes the text of a JSON value; `expect`
 * and `answers`, mappings with names of sinks and steps as keys, become lists. A pipeline that
 * stands in the file is loaded from a copy of the text in which everything else is blank, so that
 * its errors have their places.
 */
#include "app/test_file.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/builtin.h"
#include "conf/compile.h"
#include "conf/memory.h"

// clang-format off
static const struct weir_choice clock_choices[] = {
    {"clock", 1, "What the clock of the case shows."},
    WEIR_CHOICES_END,
};
static const struct weir_choice any_choices[] = {
    {"any", 1, "It is not compared."},
    WEIR_CHOICES_END,
};
static const struct weir_choice no_choices[] = {WEIR_CHOICES_END};

static const struct weir_rule input_rules[] = {
    {WEIR_RULE_EXACTLY_ONE, {"value", "json", "tombstone", "advance", "jump", "jump_back", "restart", "end", "answers"},
     "A line of `input` is a record (value, json or tombstone) or something that happens."},
    WEIR_RULES_END,
};
#define S struct weir_test_answers
static const struct weir_field answers_fields[] = {
    WEIR_F_STR(S, step, .flags = WEIR_REQUIRED, .help = "A step that asks."),
    WEIR_F_STR(S, table, .help = "Answers by question."),
    WEIR_F_NAMED(S, program, "answers", JQ, struct weir_expr, .help = "Makes the answer of the question."),
    WEIR_FIELDS_END,
};
#undef S

#define S struct weir_test_input
static const struct weir_field input_fields[] = {
    WEIR_F_STR(S, key, .unset = "no key", .example = "de", .help = "The record's key."),
    WEIR_F_STR(S, value, .example = "'a line'", .help = "The record's value, as it is."),
    WEIR_F_STR(S, json, .example = "{id: 1}", .help = "The record's value, as JSON."),
    WEIR_F_BOOL(S, tombstone, .help = "A record without a value."),
    WEIR_F_MOMENT(S, time, clock_choices, .fallback = "clock", .help = "The record's event time."),
    WEIR_F_MAP(S, headers, .example = "{trace: a1}", .help = "The record's headers."),
    WEIR_F_STR(S, source, .unset = "the first source", .example = "orders",
               .help = "The source it comes from: its name, or its number from 0."),
    WEIR_F_STR(S, topic, .unset = "the source's (first) topic", .example = "orders",
               .help = "The topic it lies in."),
    WEIR_F_INT(S, partition, .fallback = "0", .min = 0, .max = 255, .help = "Its partition."),
    WEIR_F_DURATION(S, advance, .min = 1, .max = INT64_C(366) * 86400000, .example = "10s",
                    .help = "The clock moves on by so much."),
    WEIR_F_DURATION(S, jump, .min = 1, .max = INT64_C(366) * 86400000, .example = "1d",
                    .help = "The wall clock is set ahead by so much, at once."),
    WEIR_F_DURATION(S, jump_back, .min = 1, .max = INT64_C(366) * 86400000, .example = "1d",
                    .help = "The wall clock is set back by so much."),
    WEIR_F_BOOL(S, restart, .help = "The process is killed, and starts again from the last commit."),
    WEIR_F_BOOL(S, end, .help = "The sources have come to their end."),
    WEIR_F_LIST(S, answers, struct weir_test_answers, answers_fields, .max = 1024,
                .help = "What is answered from now on."),
    WEIR_FIELDS_END,
};
#undef S

static const struct weir_rule record_rules[] = {
    {WEIR_RULE_AT_MOST_ONE, {"value", "json", "tombstone"}, "A record has one value."},
    {WEIR_RULE_AT_LEAST_ONE, {"value", "json", "tombstone", "key"}, "Say what is expected."},
    WEIR_RULES_END,
};
#define S struct weir_test_record
static const struct weir_field record_fields[] = {
    WEIR_F_STR(S, key, .unset = "any", .example = "de", .help = "Its key."),
    WEIR_F_STR(S, value, .unset = "any", .example = "'a line'", .help = "Its value, byte by byte."),
    WEIR_F_STR(S, json, .unset = "any", .example = "{id: 1}",
               .help = "Its value, as JSON: order of keys and blanks do not count."),
    WEIR_F_BOOL(S, tombstone, .help = "It has no value."),
    WEIR_F_MOMENT(S, time, any_choices, .fallback = "any", .help = "Its event time."),
    WEIR_F_MAP(S, headers, .example = "{trace: a1}", .help = "Headers that it has, among others."),
    WEIR_F_STR(S, topic, .unset = "any", .example = "orders", .help = "The topic it goes to."),
    WEIR_FIELDS_END,
};
#undef S

#define S struct weir_test_expect
static const struct weir_field expect_fields[] = {
    WEIR_F_STR(S, sink, .flags = WEIR_REQUIRED, .help = "A sink."),
    WEIR_F_LIST(S, records, struct weir_test_record, record_fields, .rules = record_rules,
                .max = 100000, .help = "What it gets, in order."),
    WEIR_FIELDS_END,
};
#undef S

#define S struct weir_test_fates
static const struct weir_field fates_fields[] = {
    WEIR_F_INT(S, ok, .min = 0, .max = INT64_MAX, .help = "Records that reached a sink or the state."),
    WEIR_F_INT(S, filtered, .min = 0, .max = INT64_MAX, .help = "Records that no sink got."),
    WEIR_F_INT(S, late, .min = 0, .max = INT64_MAX, .help = "Records too late for all their windows."),
    WEIR_F_INT(S, dead, .min = 0, .max = INT64_MAX, .help = "Records given to the dead letters."),
    WEIR_F_INT(S, skipped, .min = 0, .max = INT64_MAX, .help = "Records that failed and were skipped."),
    WEIR_FIELDS_END,
};
#undef S

#define S struct weir_test_case
static const struct weir_field case_fields[] = {
    WEIR_F_STR(S, name, .flags = WEIR_REQUIRED | WEIR_UNIQUE, .min = 1, .max = 200,
               .example = "'paid orders only'", .help = "Says what is tested."),
    WEIR_F_MOMENT(S, start, no_choices, .fallback = "2026-01-01T00:00:00Z",
                  .help = "Where the clock stands at first."),
    WEIR_F_INT(S, partitions, .min = 1, .max = 256, .unset = "as many as the input names",
               .example = "4", .help = "Partitions of each topic."),
    WEIR_F_LIST(S, answers, struct weir_test_answers, answers_fields, .max = 1024,
                .help = "What is answered to the steps that ask."),
    WEIR_F_LIST(S, input, struct weir_test_input, input_fields, .rules = input_rules, .max = 100000,
                .help = "What happens, in order."),
    WEIR_F_LIST(S, expect, struct weir_test_expect, expect_fields, .max = 1024,
                .help = "What each sink gets."),
    WEIR_F_NAMED(S, fates, "records", OBJECT, struct weir_test_fates, .children = fates_fields,
                 .item_size = sizeof(struct weir_test_fates),
                 .help = "How many records had which fate."),
    WEIR_F_MAP(S, metrics, .example = "{stream_state_keys: 2}",
               .help = "Metrics at the end, summed over the series of that name."),
    WEIR_F_STR(S, error, .unset = "it must not fail", .example = "offset 2",
               .help = "The pipeline must stop with an error that has these words."),
    WEIR_FIELDS_END,
};
#undef S

struct file_config {
    const char *pipeline;
    struct weir_items answers;
    struct weir_items cases;
};
#define S struct file_config
static const struct weir_field file_fields[] = {
    WEIR_F_STR(S, pipeline, .flags = WEIR_REQUIRED, .example = "orders.yaml",
               .help = "The pipeline's file, seen from the test's folder, or the pipeline itself."),
    WEIR_F_LIST(S, answers, struct weir_test_answers, answers_fields, .max = 1024,
                .help = "What is answered in every case that says nothing else."),
    WEIR_F_LIST(S, cases, struct weir_test_case, case_fields, .flags = WEIR_REQUIRED, .min = 1,
                .max = 10000, .help = "The cases."),
    WEIR_FIELDS_END,
};
#undef S
// clang-format on

/* --- what tables do not know -------------------------------------------------------------------*/

/* No node of the parser weighs so much. */
static const size_t made_weight = SIZE_MAX;

static bool is_made(const struct weir_node *node)
{
    return node->weight == made_weight;
}

static struct weir_node *
make_node(struct weir_arena *arena, const struct weir_node *at, enum weir_node_type type)
{
    struct weir_node *node = weir_conf_alloc(arena, 1, sizeof(*node));
    *node = (struct weir_node){.type = type,
                               .style = WEIR_STYLE_DOUBLE,
                               .text = at->text,
                               .start = at->start,
                               .end = at->end,
                               .line = at->line,
                               .column = at->column,
                               .value = {"", 0},
                               .is_flow = at->is_flow,
                               .weight = made_weight};
    return node;
}

static struct weir_node *
make_scalar(struct weir_arena *arena, const struct weir_node *at, struct weir_slice value)
{
    struct weir_node *node = make_node(arena, at, WEIR_NODE_SCALAR);
    node->value = node->raw = weir_conf_copy(arena, value);
    return node;
}

static bool is_digits(const char **at, const char *end)
{
    const char *start = *at;
    while (*at < end && **at >= '0' && **at <= '9') {
        ++*at;
    }
    return *at > start;
}

/* As JSON writes numbers. */
static bool is_number(struct weir_slice text)
{
    const char *at = text.data, *end = text.data + text.size;
    at += at < end && *at == '-';
    const char *whole = at;
    if (!is_digits(&at, end) || (*whole == '0' && at > whole + 1)) {
        return false;
    }
    if (at < end && *at == '.') {
        at++;
        if (!is_digits(&at, end)) {
            return false;
        }
    }
    if (at < end && (*at == 'e' || *at == 'E')) {
        at++;
        at += at < end && (*at == '+' || *at == '-');
        if (!is_digits(&at, end)) {
            return false;
        }
    }
    return at == end;
}

static void put_string(struct weir_slice text, struct weir_strbuf *out)
{
    weir_value_write(weir_value_string(text), out, WEIR_WRITE_COMPACT);
}

static void put_json(const struct weir_node *node, struct weir_strbuf *out)
{
    bool is_mapping = node->type == WEIR_NODE_MAPPING;
    if (node->type == WEIR_NODE_SCALAR) {
        bool is_plain = node->style == WEIR_STYLE_PLAIN;
        bool is_word = weir_slice_equal(node->value, WEIR_SLICE("true")) ||
                       weir_slice_equal(node->value, WEIR_SLICE("false"));
        if (weir_node_is_null(node)) {
            weir_strbuf_text(out, "null");
        } else if (is_plain && (is_word || is_number(node->value))) {
            weir_strbuf_slice(out, node->value);
        } else {
            put_string(node->value, out);
        }
        return;
    }
    weir_strbuf_push(out, is_mapping ? '{' : '[');
    for (size_t i = 0; i < node->count; i++) {
        weir_strbuf_text(out, i > 0 ? "," : "");
        if (is_mapping) {
            put_string(node->members[i].key->value, out);
            weir_strbuf_push(out, ':');
        }
        put_json(is_mapping ? node->members[i].value : node->items[i], out);
    }
    weir_strbuf_push(out, is_mapping ? '}' : ']');
}

static struct weir_node *json_of(struct weir_test_file *file, const struct weir_node *node)
{
    struct weir_strbuf text;
    weir_strbuf_init(&text, (size_t)16 << 20);
    put_json(node, &text);
    struct weir_node *scalar = make_scalar(&file->arena, node, weir_strbuf_view(&text));
    weir_strbuf_done(&text);
    return scalar;
}

static void shape_records(struct weir_test_file *file, struct weir_node *list)
{
    for (size_t i = 0; list->type == WEIR_NODE_LIST && i < list->count; i++) {
        struct weir_node *record = list->items[i];
        for (size_t k = 0; record->type == WEIR_NODE_MAPPING && k < record->count; k++) {
            struct weir_member *member = &record->members[k];
            if (!weir_slice_equal(member->key->value, WEIR_SLICE("json")) ||
                is_made(member->value)) {
                continue;
            }
            member->value = json_of(file, member->value);
        }
    }
}

/* NULL: there is nothing to be shaped, or it is wrong, and that is said. */
static struct weir_node *named_parts(struct weir_test_file *file,
                                     struct weir_member *member,
                                     const char *name,
                                     const char *hint)
{
    struct weir_node *node = member->value;
    if (is_made(node) || weir_node_is_null(node)) {
        return NULL;
    }
    if (node->type != WEIR_NODE_MAPPING) {
        struct weir_diag *diag =
            weir_diag_add(&file->diags, node->text, node->start, node->start + 1,
                          "`%s` is a mapping, not %s", name, weir_node_text(node));
        weir_diag_hint(&file->diags, diag, "%s", hint);
        member->value = make_node(&file->arena, node, WEIR_NODE_LIST);
        return NULL;
    }
    return node;
}

/* {KEY: value} becomes [{NAME: KEY, PART: value}]; the values are those of the mapping. */
static struct weir_node *list_parts(struct weir_test_file *file,
                                    const struct weir_node *node,
                                    const char *name,
                                    const char *part)
{
    struct weir_node *list = make_node(&file->arena, node, WEIR_NODE_LIST);
    list->items = weir_conf_alloc(&file->arena, node->count, sizeof(*list->items));
    list->count = node->count;
    for (size_t i = 0; i < node->count; i++) {
        struct weir_node *key = node->members[i].key;
        struct weir_node *entry = make_node(&file->arena, key, WEIR_NODE_MAPPING);
        entry->count = 2;
        entry->members = weir_conf_alloc(&file->arena, 2, sizeof(*entry->members));
        entry->members[0] =
            (struct weir_member){make_scalar(&file->arena, key, weir_slice_of(name)), key, false};
        entry->members[1] = (struct weir_member){
            make_scalar(&file->arena, key, weir_slice_of(part)), node->members[i].value, false};
        list->items[i] = entry;
    }
    return list;
}

static void shape_expect(struct weir_test_file *file, struct weir_member *member)
{
    const struct weir_node *node = named_parts(file, member, "expect",
                                               "Write the records below the name of their sink: "
                                               "`expect: {sink: [{json: {id: 1}}]}`.");
    if (node != NULL) {
        member->value = list_parts(file, node, "sink", "records");
        for (size_t i = 0; i < node->count; i++) {
            shape_records(file, node->members[i].value);
        }
    }
}

/* A table becomes text, a program stays what it is. */
static void shape_answers(struct weir_test_file *file, struct weir_member *member)
{
    static const char *const hint = "Write the answers below the name of their step: `answers: "
                                    "{nats_kv: {KEY: VALUE}}`, or a jq "
                                    "program that gets the question.";
    const struct weir_node *node = named_parts(file, member, "answers", hint);
    if (node == NULL) {
        return;
    }
    member->value = list_parts(file, node, "step", "answers");
    for (size_t i = 0; i < node->count; i++) {
        struct weir_member *part = &member->value->items[i]->members[1];
        struct weir_node *value = part->value;
        if (value->type == WEIR_NODE_MAPPING) {
            part->key = make_scalar(&file->arena, part->key, WEIR_SLICE("table"));
            part->value = json_of(file, value);
        } else if (value->type == WEIR_NODE_LIST || weir_node_is_null(value)) {
            struct weir_diag *diag = weir_diag_add(
                &file->diags, value->text, value->start, value->start + 1,
                "the answers of a step are a table or a jq program, not %s", weir_node_text(value));
            weir_diag_hint(&file->diags, diag, "%s", hint);
            part->value = make_scalar(&file->arena, value, WEIR_SLICE("empty"));
        }
    }
}

static void shape_input(struct weir_test_file *file, struct weir_node *list)
{
    shape_records(file, list);
    for (size_t i = 0; list->type == WEIR_NODE_LIST && i < list->count; i++) {
        struct weir_node *line = list->items[i];
        for (size_t k = 0; line->type == WEIR_NODE_MAPPING && k < line->count; k++) {
            if (weir_slice_equal(line->members[k].key->value, WEIR_SLICE("answers"))) {
                shape_answers(file, &line->members[k]);
            }
        }
    }
}

/* Returns the pipeline, if it stands in the file. */
static struct weir_node *shape(struct weir_test_file *file)
{
    struct weir_node *pipeline = NULL, *root = file->root;
    for (size_t i = 0; root->type == WEIR_NODE_MAPPING && i < root->count; i++) {
        struct weir_member *member = &root->members[i];
        if (weir_slice_equal(member->key->value, WEIR_SLICE("pipeline")) &&
            member->value->type == WEIR_NODE_MAPPING) {
            pipeline = member->value;
            member->value = make_scalar(&file->arena, member->key, WEIR_SLICE("here"));
        } else if (weir_slice_equal(member->key->value, WEIR_SLICE("answers"))) {
            shape_answers(file, member);
        }
    }
    struct weir_node *cases = weir_node_find(root, "cases");
    for (size_t i = 0; cases != NULL && cases->type == WEIR_NODE_LIST && i < cases->count; i++) {
        struct weir_node *one = cases->items[i];
        for (size_t k = 0; one->type == WEIR_NODE_MAPPING && k < one->count; k++) {
            if (weir_slice_equal(one->members[k].key->value, WEIR_SLICE("input"))) {
                shape_input(file, one->members[k].value);
            } else if (weir_slice_equal(one->members[k].key->value, WEIR_SLICE("answers"))) {
                shape_answers(file, &one->members[k]);
            } else if (weir_slice_equal(one->members[k].key->value, WEIR_SLICE("expect"))) {
                shape_expect(file, &one->members[k]);
            }
        }
    }
    return pipeline;
}

/* --- loading -----------------------------------------------------------------------------------*/

static bool load_inside(struct weir_test_file *file, const struct weir_node *node)
{
    struct weir_slice all = file->text->bytes;
    char *bytes = weir_conf_alloc(&file->arena, all.size + 1, 1);
    for (size_t i = 0; i < all.size; i++) {
        bool inside = i >= node->start && i < node->end;
        bytes[i] = all.data[i];
        /* A character is one column, whatever bytes it has. */
        if (!inside && all.data[i] != '\n' && ((unsigned char)all.data[i] & 0xc0) != 0x80) {
            bytes[i] = ' ';
        } else if (!inside && all.data[i] != '\n') {
            bytes[i] = '\0';
        }
    }
    size_t size = 0;
    for (size_t i = 0; i < all.size; i++) {
        if (bytes[i] != '\0') {
            bytes[size++] = bytes[i];
        }
    }
    struct weir_err err = {0};
    struct weir_text *text = weir_text_new(&file->loading.arena, file->text->name,
                                           (struct weir_slice){bytes, size}, &err);
    if (text == NULL) {
        (void)weir_diag_add_err(&file->diags, file->path, &err);
        return false;
    }
    return weir_loading_text(&file->loading, text, &file->plan);
}

static bool load_pipeline(struct weir_test_file *file, const struct weir_node *inside)
{
    if (inside != NULL) {
        file->pipeline_path = NULL;
        return load_inside(file, inside);
    }
    const char *slash = strrchr(file->path, '/');
    if (slash != NULL && file->pipeline_path[0] != '/') {
        file->pipeline_path = weir_arena_printf(&file->arena, "%.*s/%s", (int)(slash - file->path),
                                                file->path, file->pipeline_path);
    }
    return weir_loading_pipeline(&file->loading, file->pipeline_path, &file->plan);
}

static const char *process_getenv(const void *context, const char *name)
{
    (void)context;
    return getenv(name);
}

bool weir_test_file_load(struct weir_test_file *file, const char *path)
{
    *file = (struct weir_test_file){.path = path};
    weir_arena_init(&file->arena, 0);
    weir_diags_init(&file->diags, &file->arena);
    weir_loading_init(&file->loading);
    weir_binder_init(&file->binder, &file->arena, &file->diags, &weir_builtin_registry,
                     &weir_jq_compiler);
    struct weir_err err = {0};
    file->text = weir_text_read(&file->arena, path, &err);
    if (file->text == NULL) {
        (void)weir_diag_add_err(&file->diags, path, &err);
        return false;
    }
    file->root = weir_tree_parse(&file->arena, file->text, process_getenv, NULL, &file->diags);
    if (file->root == NULL || file->diags.errors > 0) {
        return false;
    }
    struct file_config config = {0};
    struct weir_node *inside = shape(file);
    weir_bind(&file->binder, file_fields, NULL, file->root, &config);
    file->cases = config.cases;
    file->answers = config.answers;
    file->pipeline_path = config.pipeline;
    bool is_loaded = (inside != NULL || config.pipeline != NULL) && load_pipeline(file, inside);
    return is_loaded && file->diags.errors == 0;
}

void weir_test_file_done(struct weir_test_file *file)
{
    weir_binder_done(&file->binder);
    weir_loading_done(&file->loading);
    weir_arena_done(&file->arena);
}

void weir_test_file_report(struct weir_test_file *file)
{
    struct weir_diags *both[] = {&file->diags, &file->loading.diags};
    for (size_t i = 0; i < 2; i++) {
        struct weir_loading shown = {.diags = *both[i]};
        weir_loading_report(&shown);
    }
}

bool weir_test_file_has(const struct weir_test_file *file, const void *member)
{
    const struct weir_origin *origin = weir_binder_origin(&file->binder, member);
    return origin != NULL && origin->type == WEIR_ORIGIN_FILE;
}

struct weir_diag *
weir_test_file_error(struct weir_test_file *file, const void *member, const char *format, ...)
{
    char message[512];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(message, sizeof(message), format, args);
    va_end(args);
    const struct weir_origin *origin = weir_binder_origin(&file->binder, member);
    size_t start = 0, end = 0;
    if (origin != NULL && origin->place.line > 0) {
        start = weir_text_offset(file->text, origin->place.line, origin->place.column);
        end = start + strcspn(file->text->bytes.data + start, " ,:}#\r\n");
    }
    return weir_diag_add(&file->diags, file->text, start, end, "%s", message);
}

int weir_test_file_line(const struct weir_test_file *file, size_t index)
{
    return weir_node_find(file->root, "cases")->items[index]->line;
}
