/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: no bytes make the reading of a configuration crash, hang or leak. Method: libFuzzer gives a
 * text; it is parsed, bound to the table of a pipeline with a small registry, and everything that
 * is said about it is rendered, as text, as JSON and, when it is valid, as effective settings. The
 * jq of this program refuses texts that contain §, so that places inside scalars are mapped.
 *
 * Sources: src/conf src/base
 * Links: yaml
 * Seeds: tests/conf/types tests/conf/pipelines
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "conf/dump.h"
#include "conf/pipeline.h"

struct options {
    struct weir_strs brokers;
    struct weir_template topic;
    struct weir_map properties;
    struct weir_moment start;
    struct weir_duration_range backoff;
    struct weir_expr jq;
    const char *password;
};

#define S struct options
static const struct weir_choice starts[] = {{"earliest", 1, "First."}, WEIR_CHOICES_END};
static const struct weir_field fields[] = {
    WEIR_F_STRS(S, brokers, .flags = WEIR_REQUIRED | WEIR_ADDRESS, .help = "Brokers."),
    WEIR_F_TEMPLATE(S, topic, .help = "Topic."),
    WEIR_F_MAP(S, properties, .help = "Properties."),
    WEIR_F_MOMENT(S, start, starts, .fallback = "earliest", .help = "Start."),
    WEIR_F_DURATION_RANGE(S, backoff, .fallback = "1s..5s", .max = 60000, .help = "Backoff."),
    WEIR_F_JQ(S, jq, .flags = WEIR_SHORT, .help = "Expression."),
    WEIR_F_STR(S, password, .flags = WEIR_SECRET | WEIR_CONNECTION, .help = "Password."),
    WEIR_FIELDS_END,
};
#undef S

static const struct weir_described *at(const void *context, enum weir_role role, size_t index)
{
    (void)context;
    static const struct weir_described described[WEIR_ROLE_COUNT][2] = {
        [WEIR_ROLE_SOURCE] = {{.kind = WEIR_ROLE_SOURCE,
                               .name = "kafka",
                               .fields = fields,
                               .config_size = sizeof(struct options)},
                              {.kind = WEIR_ROLE_SOURCE, .name = "stdin"}},
        [WEIR_ROLE_STEP] = {{.kind = WEIR_ROLE_STEP,
                             .name = "map",
                             .fields = fields,
                             .config_size = sizeof(struct options)},
                            {.kind = WEIR_ROLE_STEP, .name = "log"}},
        [WEIR_ROLE_SINK] = {{.kind = WEIR_ROLE_SINK,
                             .name = "kafka",
                             .fields = fields,
                             .config_size = sizeof(struct options)},
                            {.kind = WEIR_ROLE_SINK, .name = "drop"}},
    };
    return index < 2 ? &described[role][index] : NULL;
}

static struct weir_jq *compile(
    void *context, struct weir_slice text, size_t *ret_start, size_t *ret_end, struct weir_err *err)
{
    const char *mark = memmem(text.data, text.size, "§", 2);
    if (mark == NULL) {
        return context;
    }
    *ret_start = (size_t)(mark - text.data);
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
    return strcmp(name, "A") == 0 ? "value § of a" : NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char something;
    struct weir_registry registry = {.at = at};
    struct weir_compiler compiler = {compile, release, &something};
    struct weir_surroundings surroundings = {&registry, &compiler, get_variable, NULL};
    struct weir_arena arena;
    struct weir_diags diags;
    struct weir_strbuf out;
    struct weir_err err = {0};
    weir_arena_init(&arena, 0);
    weir_diags_init(&diags, &arena);
    weir_strbuf_init(&out, (size_t)1 << 28);
    struct weir_text *text =
        weir_text_new(&arena, "fuzz", (struct weir_slice){(const char *)data, size}, &err);
    if (text != NULL) {
        struct weir_loaded *loaded = weir_load_text(&surroundings, text, &diags);
        if ((loaded == NULL) != (diags.errors > 0)) {
            abort();
        }
        if (loaded != NULL) {
            weir_dump_text(&loaded->binder, weir_pipeline_fields, &loaded->config, &out);
            weir_dump_json(&loaded->binder, weir_pipeline_fields, &loaded->config, &out);
        }
        weir_loaded_free(loaded);
    }
    weir_diags_sort(&diags);
    weir_diags_render_text(&diags, true, &out);
    weir_diags_render_json(&diags, &out);
    weir_strbuf_done(&out);
    weir_arena_done(&arena);
    return 0;
}
