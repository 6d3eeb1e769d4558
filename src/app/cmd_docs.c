/* SPDX-License-Identifier: Apache-2.0
 *
 * weir docs: the reference, from the tables of the program itself. With --all it makes the pages
 * of docs/reference, which are committed and compared by a test.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "app/args.h"
#include "app/builtin.h"
#include "app/help.h"
#include "conf/docs.h"
#include "conf/near.h"
#include "conf/pipeline.h"
#include "conf/table.h"
#include "engine/metrics.h"
#include "http/routes.h"

enum { PAGE_MAX = 4 << 20, PATH_BYTES_MAX = 4096 };

/* --- pages on the terminal ---------------------------------------------------------------------
 */

static bool is_named(const struct weir_described *described, const char *name)
{
    const char *role = weir_role_name(described->kind);
    size_t size = strlen(role);
    bool has_role = strncmp(name, role, size) == 0 && name[size] == '.';
    return strcmp(described->name, has_role ? name + size + 1 : name) == 0;
}

static size_t render_components(const char *name, enum weir_docs_form form, struct weir_strbuf *out)
{
    const struct weir_registry *registry = &weir_builtin_registry;
    size_t count = 0;
    for (enum weir_role role = WEIR_ROLE_SOURCE; role < WEIR_ROLE_COUNT; role++) {
        const struct weir_described *described = NULL;
        for (size_t i = 0; (described = registry->at(registry->context, role, i)) != NULL; i++) {
            if (is_named(described, name)) {
                weir_strbuf_text(out, count++ > 0 ? "\n" : "");
                weir_docs_component(described, registry, form, out);
            }
        }
    }
    return count;
}

static int unknown_name(const char *name)
{
    const struct weir_registry *registry = &weir_builtin_registry;
    struct weir_near near;
    weir_near_init(&near, weir_slice_of(name));
    weir_near_offer(&near, "pipeline");
    weir_near_offer(&near, "jq");
    for (enum weir_role role = WEIR_ROLE_SOURCE; role < WEIR_ROLE_COUNT; role++) {
        const struct weir_described *described = NULL;
        for (size_t i = 0; (described = registry->at(registry->context, role, i)) != NULL; i++) {
            weir_near_offer(&near, described->name);
        }
    }
    fprintf(stderr, "weir docs: there is no \"%s\"", name);
    if (near.best != NULL) {
        fprintf(stderr, "; did you mean \"%s\"?\n", near.best);
    } else {
        fputs("\n`weir list` shows the names.\n", stderr);
    }
    return WEIR_EXIT_USAGE;
}

static int show(const char *name, enum weir_docs_form form)
{
    struct weir_strbuf out;
    weir_strbuf_init(&out, PAGE_MAX);
    if (strcmp(name, "pipeline") == 0) {
        weir_docs_pipeline(weir_pipeline_fields, weir_pipeline_rules, &weir_builtin_registry, form,
                           &out);
    } else if (strcmp(name, "jq") == 0) {
        weir_docs_jq(form, &out);
    } else if (render_components(name, form, &out) == 0) {
        weir_strbuf_done(&out);
        return unknown_name(name);
    }
    struct weir_slice text = weir_strbuf_view(&out);
    bool ok =
        !out.failed && fwrite(text.data, 1, text.size, stdout) == text.size && fflush(stdout) == 0;
    weir_strbuf_done(&out);
    return ok ? WEIR_EXIT_OK : WEIR_EXIT_FAILED;
}

/* --- pages as files ----------------------------------------------------------------------------
 */

/* A page that is about no component. */
struct page {
    const char *name;
    void (*render)(struct weir_strbuf *out);
};

static void render_index(struct weir_strbuf *out)
{
    weir_docs_index(&weir_builtin_registry, out);
}

static void render_pipeline(struct weir_strbuf *out)
{
    weir_docs_pipeline(weir_pipeline_fields, weir_pipeline_rules, &weir_builtin_registry,
                       WEIR_DOCS_MARKDOWN, out);
}

static void render_jq(struct weir_strbuf *out)
{
    weir_docs_jq(WEIR_DOCS_MARKDOWN, out);
}

static const struct page pages[] = {
    {"README", render_index},       {"pipeline", render_pipeline}, {"jq", render_jq},
    {"metrics", weir_metrics_docs}, {"http", weir_http_docs},      {"commands", weir_help_docs},
};

static bool write_page(const char *folder, const char *name, const struct weir_strbuf *page)
{
    char path[PATH_BYTES_MAX];
    int size = snprintf(path, sizeof(path), "%s/%s.md", folder, name);
    if (size < 0 || (size_t)size >= sizeof(path) || page->failed) {
        fprintf(stderr, "weir docs: %s: too long\n", name);
        return false;
    }
    FILE *file = fopen(path, "w");
    struct weir_slice text = weir_strbuf_view(page);
    bool ok = file != NULL && fwrite(text.data, 1, text.size, file) == text.size;
    if (file != NULL) {
        ok = fclose(file) == 0 && ok;
    }
    if (!ok) {
        fprintf(stderr, "weir docs: %s: %s\n", path, strerror(errno));
    }
    return ok;
}

static bool write_components(const char *folder, enum weir_role role)
{
    const struct weir_registry *registry = &weir_builtin_registry;
    const struct weir_described *described = NULL;
    bool ok = true;
    for (size_t i = 0; ok && (described = registry->at(registry->context, role, i)) != NULL; i++) {
        struct weir_strbuf page;
        char name[128];
        weir_strbuf_init(&page, PAGE_MAX);
        weir_docs_component(described, registry, WEIR_DOCS_MARKDOWN, &page);
        (void)snprintf(name, sizeof(name), "%s-%s", weir_role_name(role), described->name);
        ok = write_page(folder, name, &page);
        weir_strbuf_done(&page);
    }
    return ok;
}

static int write_all(const char *folder)
{
    bool ok = mkdir(folder, 0777) == 0 || errno == EEXIST;
    if (!ok) {
        fprintf(stderr, "weir docs: %s: %s\n", folder, strerror(errno));
    }
    for (size_t i = 0; ok && i < sizeof(pages) / sizeof(pages[0]); i++) {
        struct weir_strbuf page;
        weir_strbuf_init(&page, PAGE_MAX);
        pages[i].render(&page);
        ok = write_page(folder, pages[i].name, &page);
        weir_strbuf_done(&page);
    }
    for (enum weir_role role = WEIR_ROLE_SOURCE; ok && role < WEIR_ROLE_COUNT; role++) {
        ok = write_components(folder, role);
    }
    return ok ? WEIR_EXIT_OK : WEIR_EXIT_FAILED;
}

int weir_cmd_docs(int argc, char **argv)
{
    struct weir_args args;
    int code = WEIR_EXIT_OK;
    if (!weir_args_parse(&args, argc, argv, &code)) {
        return code;
    }
    bool all = weir_args_has(&args, "all");
    const char *folder = weir_args_get(&args, "out");
    if (all != (folder != NULL) || (all && args.count > 0)) {
        return weir_args_wrong(&args, "--all and --out belong together, without names");
    }
    if (all) {
        return write_all(folder);
    }
    if (args.count == 0) {
        return weir_args_wrong(&args, "NAME is missing; `weir list` shows the names");
    }
    enum weir_docs_form form =
        weir_args_has(&args, "markdown") ? WEIR_DOCS_MARKDOWN : WEIR_DOCS_TEXT;
    for (size_t i = 0; i < args.count && code == WEIR_EXIT_OK; i++) {
        code = show(args.operands[i], form);
    }
    return code;
}
