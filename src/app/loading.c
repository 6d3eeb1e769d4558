/* SPDX-License-Identifier: Apache-2.0
 *
 * Loading is the same for every command: bind the file, let components check what their tables
 * cannot know, compute the plan. All errors of a file are collected before anything is said.
 */
#include "app/loading.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/builtin.h"
#include "conf/compile.h"
#include "conf/text.h"

const struct weir_surroundings weir_app_surroundings = {
    .registry = &weir_builtin_registry,
    .compiler = &weir_jq_compiler,
};

void weir_loading_init(struct weir_loading *loading)
{
    weir_arena_init(&loading->arena, 0);
    weir_diags_init(&loading->diags, &loading->arena);
    loading->loaded = NULL;
    loading->connects = false;
}

void weir_loading_done(struct weir_loading *loading)
{
    if (loading->loaded != NULL) {
        weir_loaded_free(loading->loaded);
    }
    weir_arena_done(&loading->arena);
}

weir_status weir_loading_listen(const struct weir_loaded *loaded,
                                struct weir_http_listen *ret_listen,
                                struct weir_err *err)
{
    const struct weir_http_config *config = loaded->config.http;
    *ret_listen = weir_http_listen_default();
    if (config == NULL) {
        ret_listen->off = true;
        return WEIR_OK;
    }
    ret_listen->token = config->token;
    ret_listen->tls = config->tls;
    const struct weir_origin *origin = weir_binder_origin(&loaded->binder, &config->listen);
    return origin == NULL || origin->type == WEIR_ORIGIN_DEFAULT
               ? WEIR_OK
               : weir_http_listen_parse(weir_slice_of(config->listen), config->token, config->tls,
                                        ret_listen, err);
}

static void report_at(struct weir_loading *loading,
                      size_t start,
                      size_t end,
                      const char *path,
                      const struct weir_err *err)
{
    struct weir_diag *diag =
        weir_diag_add(&loading->diags, loading->loaded->text, start, end, "%s", err->message);
    diag->path = weir_arena_printf(&loading->arena, "%s%s%s", path, err->path[0] == '\0' ? "" : ".",
                                   err->path);
    if (err->hint[0] != '\0') {
        weir_diag_hint(&loading->diags, diag, "%s", err->hint);
    }
}

void weir_loading_fault(struct weir_loading *loading,
                        const void *member,
                        const char *path,
                        struct weir_err *err)
{
    const struct weir_origin *origin = weir_binder_origin(&loading->loaded->binder, member);
    const struct weir_text *text = loading->loaded->text;
    size_t start = 0, end = 0;
    if (origin != NULL && origin->place.line > 0) {
        start = weir_text_offset(text, origin->place.line, origin->place.column);
        end = start + strcspn(text->bytes.data + start, " ,}#\r\n");
    }
    err->path[0] = '\0';
    report_at(loading, start, end, path, err);
}

static void report_edge(struct weir_loading *loading,
                        const struct weir_plan_edge *edge,
                        const struct weir_err *found)
{
    struct weir_err err = *found;
    size_t start = 0, end = 0;
    (void)weir_binder_locate(&loading->loaded->binder, edge->config, err.path, &start, &end);
    report_at(loading, start, end, edge->name, &err);
}

static void check_edge(struct weir_loading *loading, const struct weir_plan_edge *edge)
{
    struct weir_err err = {0};
    if (edge->component->check != NULL && edge->component->check(edge->config, &err) != WEIR_OK) {
        report_edge(loading, edge, &err);
    }
}

/* What a step writes to beside the chain is there. */
static void check_side_sink(struct weir_loading *loading,
                            const struct weir_plan *plan,
                            const struct weir_plan_edge *step)
{
    struct weir_err err = {0};
    const char *path, *name = step->component->side_sink == NULL
                                  ? NULL
                                  : step->component->side_sink(step->config, &path);
    for (size_t i = 0; name != NULL && i < plan->sink_count; i++) {
        const struct weir_plan_edge *sink = &plan->sinks[i];
        name = strcmp(weir_plan_edge_name(sink), name) == 0 ? NULL : name;
    }
    if (name != NULL) {
        bool is_dead_letter = strcmp(name, "dead_letter") == 0;
        (void)!weir_fail(&err, WEIR_CONFIG, "there is no sink \"%s\"", name);
        weir_err_hint(&err, is_dead_letter
                                ? "Write `dead_letter: {kafka: {topic: …}}` beside `steps`."
                                : "Give one of `sinks` that `name`.");
        weir_err_path(&err, path);
        report_edge(loading, step, &err);
    }
}

static void probe_edge(struct weir_loading *loading, const struct weir_plan_edge *edge)
{
    struct weir_err err = {0};
    const char *name = loading->loaded->config.name;
    if (edge->component->probe != NULL &&
        edge->component->probe(edge->config, name, &err) != WEIR_OK) {
        report_edge(loading, edge, &err);
    }
}

static bool loading_finish(struct weir_loading *loading, struct weir_plan *ret_plan)
{
    if (loading->loaded == NULL) {
        return false;
    }
    const size_t before = loading->diags.errors; /* of files before this one */
    if (loading->loaded->config.instance == NULL) {
        loading->loaded->config.instance = getenv("WEIR_INSTANCE");
    }
    struct weir_err err = {0};
    weir_status status =
        weir_plan_make(ret_plan, &loading->loaded->config, &loading->arena, false, &err);
    for (size_t i = 0; i < ret_plan->source_count; i++) {
        check_edge(loading, &ret_plan->sources[i]);
    }
    for (size_t i = 0; i < ret_plan->step_count; i++) {
        check_edge(loading, &ret_plan->steps[i]);
        check_side_sink(loading, ret_plan, &ret_plan->steps[i]);
    }
    for (size_t i = 0; i < ret_plan->sink_count; i++) {
        check_edge(loading, &ret_plan->sinks[i]);
    }
    if (status != WEIR_OK && ret_plan->blamed_edge != NULL) {
        report_edge(loading, ret_plan->blamed_edge, &err);
    } else if (status != WEIR_OK) {
        const bool is_plain = ret_plan->blame == NULL;
        const void *member = is_plain ? &loading->loaded->config.guarantee : ret_plan->blame;
        weir_loading_fault(loading, member, is_plain ? "guarantee" : "exchange", &err);
    }
    struct weir_http_listen listen;
    struct weir_err listen_err = {0};
    if (weir_loading_listen(loading->loaded, &listen, &listen_err) != WEIR_OK) {
        weir_loading_fault(loading, &loading->loaded->config.http->listen, "http.listen",
                           &listen_err);
    }
    bool connects = loading->connects && loading->diags.errors == before;
    for (size_t i = 0; connects && i < ret_plan->source_count; i++) {
        probe_edge(loading, &ret_plan->sources[i]);
    }
    for (size_t i = 0; connects && i < ret_plan->step_count; i++) {
        probe_edge(loading, &ret_plan->steps[i]);
    }
    for (size_t i = 0; connects && i < ret_plan->sink_count; i++) {
        probe_edge(loading, &ret_plan->sinks[i]);
    }
    return loading->diags.errors == before;
}

bool weir_loading_pipeline(struct weir_loading *loading,
                           const char *path,
                           struct weir_plan *ret_plan)
{
    loading->loaded = path == NULL ? weir_load_environment(&weir_app_surroundings, &loading->diags)
                                   : weir_load_file(&weir_app_surroundings, path, &loading->diags);
    return loading_finish(loading, ret_plan);
}

bool weir_loading_text(struct weir_loading *loading,
                       struct weir_text *text,
                       struct weir_plan *ret_plan)
{
    loading->loaded = weir_load_text(&weir_app_surroundings, text, &loading->diags);
    return loading_finish(loading, ret_plan);
}

void weir_loading_report(struct weir_loading *loading)
{
    struct weir_strbuf text;
    weir_strbuf_init(&text, 16 << 20);
    weir_diags_sort(&loading->diags);
    const char *no_colour = getenv("NO_COLOR");
    bool colour = isatty(STDERR_FILENO) && (no_colour == NULL || no_colour[0] == '\0');
    weir_diags_render_text(&loading->diags, colour, &text);
    fwrite(text.data == NULL ? "" : text.data, 1, text.size, stderr);
    weir_strbuf_done(&text);
}
