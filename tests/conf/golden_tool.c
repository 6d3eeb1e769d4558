/* SPDX-License-Identifier: Apache-2.0
 *
 * Checks configuration files against a table that has a field of every type, and prints the
 * diagnostics as `weir check` does; with no errors, the effective settings. The jq of this tool
 * knows one mistake: the character § is refused where it stands.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf/bind.h"
#include "conf/dump.h"

struct inner {
    int64_t port;
    const char *host;
};

struct entry {
    const char *name;
    struct weir_chosen component;
};

struct all {
    const char *text, *word, *secret, *old;
    int64_t integer;
    double number;
    bool flag;
    weir_duration duration;
    struct weir_duration_range range;
    weir_bytesize size;
    int colour;
    struct weir_moment moment;
    struct weir_strs list;
    struct weir_map map;
    struct weir_expr expr;
    struct weir_template template;
    struct inner object;
    struct inner *maybe;
    struct weir_items entries;
    struct entry *single;
    const char *a, *b, *c;
};

struct kafka {
    struct weir_strs brokers;
    const char *topic;
    const char *password;
};

struct filter {
    struct weir_expr jq;
};

// clang-format off
static const struct weir_choice colours[] = {
    {"red", 1, "Red."}, {"green", 2, "Green."}, {"dark-blue", 3, "Dark blue."}, WEIR_CHOICES_END,
};
static const struct weir_choice moments[] = {
    {"earliest", 1, "The first."}, {"latest", 2, "The last."}, WEIR_CHOICES_END,
};
static const struct weir_field inner_fields[] = {
    WEIR_F_INT(struct inner, port, .flags = WEIR_REQUIRED, .min = 1, .max = 65535, .example = "80", .help = "A port."),
    WEIR_F_STR(struct inner, host, .fallback = "localhost", .help = "A host."),
    WEIR_FIELDS_END,
};
static const struct weir_field entry_fields[] = {
    WEIR_F_STR(struct entry, name, .flags = WEIR_NAME | WEIR_UNIQUE, .help = "A name."),
    WEIR_F_COMPONENT(struct entry, component, WEIR_ROLE_STEP, .help = "A step."),
    WEIR_FIELDS_END,
};
static const struct weir_field single_fields[] = {
    WEIR_F_STR(struct entry, name, .flags = WEIR_NAME, .help = "A name."),
    WEIR_F_COMPONENT(struct entry, component, WEIR_ROLE_SINK, .help = "A sink."),
    WEIR_FIELDS_END,
};

#define S struct all
static const struct weir_field all_fields[] = {
    WEIR_F_STR(S, text, .flags = WEIR_REQUIRED, .min = 1, .max = 20, .example = "hello", .help = "Text."),
    WEIR_F_STR(S, word, .flags = WEIR_NAME, .help = "A word."),
    WEIR_F_STR(S, secret, .flags = WEIR_SECRET, .help = "A secret."),
    WEIR_F_STR(S, old, .deprecated = "Use \"text\".", .help = "Old."),
    WEIR_F_INT(S, integer, .fallback = "7", .min = 1, .max = 100, .help = "An integer."),
    WEIR_F_NUMBER(S, number, .fallback = "0.5", .min = 0, .max = 1, .help = "A number."),
    WEIR_F_BOOL(S, flag, .fallback = "true", .help = "A flag."),
    WEIR_F_DURATION(S, duration, .fallback = "1s", .min = 10, .max = 86400000, .help = "A duration."),
    WEIR_F_DURATION_RANGE(S, range, .fallback = "100ms..10s", .min = 1, .max = 60000, .help = "A range."),
    WEIR_F_SIZE(S, size, .fallback = "64KiB", .min = 1024, .max = INT64_MAX, .help = "A size."),
    WEIR_F_ENUM(S, colour, colours, .fallback = "green", .help = "A colour."),
    WEIR_F_MOMENT(S, moment, moments, .fallback = "latest", .help = "A moment."),
    WEIR_F_STRS(S, list, .fallback = "[x, y]", .min = 1, .max = 3, .help = "A list."),
    WEIR_F_MAP(S, map, .help = "A map."),
    WEIR_F_JQ(S, expr, .help = "An expression."),
    WEIR_F_TEMPLATE(S, template, .help = "A template."),
    WEIR_F_OBJECT(S, object, struct inner, inner_fields, .help = "An object."),
    WEIR_F_OBJECT_PTR(S, maybe, struct inner, inner_fields, .flags = WEIR_OFF, .help = "Perhaps an object."),
    WEIR_F_LIST(S, entries, struct entry, entry_fields, .help = "Entries."),
    WEIR_F_OBJECT_PTR(S, single, struct entry, single_fields, .help = "A sink."),
    WEIR_F_STR(S, a, .help = "A."),
    WEIR_F_STR(S, b, .help = "B."),
    WEIR_F_STR(S, c, .help = "C."),
    WEIR_FIELDS_END,
};
#undef S
static const struct weir_rule all_rules[] = {
    {WEIR_RULE_AT_MOST_ONE, {"a", "b"}, "One is enough."},
    {WEIR_RULE_NEEDS, {"c", "a"}, NULL},
    WEIR_RULES_END,
};

#define S struct kafka
static const struct weir_field kafka_fields[] = {
    WEIR_F_STRS(S, brokers, .flags = WEIR_REQUIRED | WEIR_ADDRESS, .example = "localhost:9092", .help = "Brokers."),
    WEIR_F_STR(S, topic, .flags = WEIR_REQUIRED, .example = "orders", .help = "A topic."),
    WEIR_F_STR(S, password, .flags = WEIR_SECRET | WEIR_CONNECTION, .help = "A password."),
    WEIR_FIELDS_END,
};
#undef S
static const struct weir_field filter_fields[] = {
    WEIR_F_JQ(struct filter, jq, .flags = WEIR_REQUIRED | WEIR_SHORT, .example = ".ok", .help = "A condition."),
    WEIR_FIELDS_END,
};

static const struct weir_described described[] = {
    {.kind = WEIR_ROLE_STEP, .name = "kafka", .summary = "Kafka.", .fields = kafka_fields, .config_size = sizeof(struct kafka)},
    {.kind = WEIR_ROLE_STEP, .name = "filter", .summary = "Filter.", .fields = filter_fields, .config_size = sizeof(struct filter)},
    {.kind = WEIR_ROLE_STEP, .name = "noop", .summary = "Nothing."},
    {.kind = WEIR_ROLE_SINK, .name = "kafka", .summary = "Kafka.", .fields = kafka_fields, .config_size = sizeof(struct kafka)},
    {.kind = WEIR_ROLE_SINK, .name = "drop", .summary = "Nothing."},
};
// clang-format on

static const struct weir_described *
registry_at(const void *context, enum weir_role role, size_t index)
{
    (void)context;
    for (size_t i = 0; i < sizeof(described) / sizeof(described[0]); i++) {
        if (described[i].kind == role && index-- == 0) {
            return &described[i];
        }
    }
    return NULL;
}

static struct weir_jq *compile(
    void *context, struct weir_slice text, size_t *ret_start, size_t *ret_end, struct weir_err *err)
{
    const char *at = memmem(text.data, text.size, "§", 2);
    if (at == NULL) {
        return context;
    }
    *ret_start = (size_t)(at - text.data);
    *ret_end = *ret_start + 2;
    (void)weir_fail(err, WEIR_CONFIG, "unexpected §");
    return NULL;
}

static void release(void *context, struct weir_jq *program)
{
    if (context != program) {
        abort();
    }
}

static const char *get_variable(const void *context, const char *name)
{
    (void)context;
    return getenv(name);
}

int main(int argc, char **argv)
{
    struct weir_arena arena;
    struct weir_diags diags;
    struct weir_strbuf out;
    static char something;
    struct weir_registry registry = {.at = registry_at};
    struct weir_compiler compiler = {compile, release, &something, NULL, NULL};
    weir_arena_init(&arena, 0);
    weir_strbuf_init(&out, (size_t)1 << 24);
    weir_diags_init(&diags, &arena);
    bool as_json = argc > 1 && strcmp(argv[1], "--json") == 0;
    for (int i = as_json ? 2 : 1; i < argc; i++) {
        struct weir_err err = {0};
        struct all all = {0};
        struct weir_binder binder;
        weir_binder_init(&binder, &arena, &diags, &registry, &compiler);
        struct weir_text *text = weir_text_read(&arena, argv[i], &err);
        struct weir_node *root = NULL;
        if (text == NULL) {
            (void)weir_diag_add_err(&diags, argv[i], &err);
        } else {
            root = weir_tree_parse(&arena, text, get_variable, NULL, &diags);
        }
        if (root != NULL) {
            weir_bind(&binder, all_fields, all_rules, root, &all);
        }
        if (diags.errors == 0) {
            weir_dump_text(&binder, all_fields, &all, &out);
        }
        weir_binder_done(&binder);
    }
    weir_diags_sort(&diags);
    if (as_json) {
        weir_diags_render_json(&diags, &out);
    } else {
        weir_diags_render_text(&diags, false, &out);
    }
    (void)fwrite(out.data, 1, out.size, stdout);
    bool failed = diags.errors > 0;
    weir_strbuf_done(&out);
    weir_arena_done(&arena);
    return failed ? 78 : 0;
}
