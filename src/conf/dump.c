/* SPDX-License-Identifier: Apache-2.0
 *
 * Effective settings are read back from the bound structs, not from the file: what is shown is what
 * the program runs with, defaults and inherited connections included. A value that comes from a
 * secret field, from ${file:…}, or under a key that looks like one, is shown as ***.
 */
#include "conf/dump.h"

#include "base/fnv.h"
#include "base/quote.h"
#include "conf/scalar.h"
#include "conf/table.h"

enum { VALUE_MAX = 65536, PATH_MAX_BYTES = 1024, PATH_COLUMN = 34, VALUE_COLUMN = 28 };

struct walk {
    const struct weir_binder *binder;
    weir_setting_visit *visit;
    void *context;
    struct weir_strbuf path, value;
};

static void walk_object(struct walk *walk, const struct weir_field *fields, const void *config);

static bool needs_quotes(const char *text)
{
    return text[0] == '\0' || strpbrk(text, "\n\t\"'#{}[],&*!|>%@`") != NULL ||
           strstr(text, ": ") != NULL || text[0] == ' ' || text[0] == '-';
}

static void put_text(struct weir_strbuf *out, const char *text)
{
    if (needs_quotes(text)) {
        weir_quote_json(weir_slice_of(text), out);
    } else {
        weir_strbuf_text(out, text);
    }
}

static void put_list(struct weir_strbuf *out, const struct weir_strs *list)
{
    weir_strbuf_push(out, '[');
    for (size_t i = 0; i < list->count; i++) {
        weir_strbuf_text(out, i > 0 ? ", " : "");
        put_text(out, list->items[i]);
    }
    weir_strbuf_push(out, ']');
}

/* binder == NULL: without masks. */
static void
put_map(const struct weir_binder *binder, struct weir_strbuf *out, const struct weir_map *map)
{
    weir_strbuf_push(out, '{');
    for (size_t i = 0; i < map->count; i++) {
        weir_strbuf_text(out, i > 0 ? ", " : "");
        put_text(out, map->items[i].key);
        weir_strbuf_text(out, ": ");
        const struct weir_origin *origin =
            binder == NULL ? NULL : weir_binder_origin(binder, &map->items[i]);
        bool is_secret = (origin != NULL && origin->is_secret) ||
                         (binder != NULL && weir_key_is_secret(map->items[i].key));
        put_text(out, is_secret ? "***" : map->items[i].value);
    }
    weir_strbuf_push(out, '}');
}

static void put_moment(struct weir_strbuf *out,
                       const struct weir_field *field,
                       const struct weir_moment *moment)
{
    const struct weir_choice *choice =
        moment->word != 0 ? weir_choice_of(field->choices, moment->word) : NULL;
    if (choice != NULL) {
        weir_strbuf_text(out, choice->name);
    } else {
        weir_format_time(moment->time_ms, out);
    }
}

static void put_range(struct weir_strbuf *out, const struct weir_duration_range *range)
{
    weir_format_duration(range->min, out);
    if (range->max != range->min) {
        weir_strbuf_text(out, "..");
        weir_format_duration(range->max, out);
    }
}

static void put_calls(struct weir_strbuf *out, const struct weir_calls *calls)
{
    weir_strbuf_push(out, '{');
    for (size_t i = 0; i < calls->count; i++) {
        weir_strbuf_text(out, i > 0 ? ", " : "");
        put_text(out, calls->items[i].name);
        weir_strbuf_text(out, ": ");
        put_text(out, calls->items[i].text);
    }
    weir_strbuf_push(out, '}');
}

static bool put_template(struct weir_strbuf *out, const struct weir_template *template)
{
    if (template->text != NULL) {
        put_text(out, template->text);
        return true;
    }
    if (template->expr.program != NULL) {
        weir_strbuf_text(out, "{jq: ");
        put_text(out, template->expr.text.data);
        weir_strbuf_push(out, '}');
    }
    return template->expr.program != NULL;
}

/* The value of a member in configuration syntax; false: not set. binder == NULL: without masks. */
static bool put_member(const struct weir_binder *binder,
                       struct weir_strbuf *out,
                       const struct weir_field *field,
                       const void *member)
{
    const struct weir_choice *choice = NULL;
    switch (field->type) {
    case WEIR_TYPE_STR:
        if (*(const char *const *)member == NULL) {
            return false;
        }
        put_text(out, *(const char *const *)member);
        return true;
    case WEIR_TYPE_INT:
        weir_strbuf_printf(out, "%lld", (long long)*(const int64_t *)member);
        return true;
    case WEIR_TYPE_NUMBER:
        weir_strbuf_printf(out, "%.15g", *(const double *)member);
        return true;
    case WEIR_TYPE_BOOL:
        weir_strbuf_text(out, *(const bool *)member ? "true" : "false");
        return true;
    case WEIR_TYPE_DURATION:
        weir_format_duration(*(const weir_duration *)member, out);
        return true;
    case WEIR_TYPE_DURATION_RANGE:
        put_range(out, member);
        return true;
    case WEIR_TYPE_SIZE:
        weir_format_size(*(const weir_bytesize *)member, out);
        return true;
    case WEIR_TYPE_ENUM:
        choice = weir_choice_of(field->choices, *(const int *)member);
        weir_strbuf_text(out, choice == NULL ? "" : choice->name);
        return choice != NULL;
    case WEIR_TYPE_MOMENT:
        put_moment(out, field, member);
        return true;
    case WEIR_TYPE_STRS:
        put_list(out, member);
        return true;
    case WEIR_TYPE_MAP:
        put_map(binder, out, member);
        return true;
    case WEIR_TYPE_JQ:
        if (((const struct weir_expr *)member)->program == NULL) {
            return false;
        }
        put_text(out, ((const struct weir_expr *)member)->text.data);
        return true;
    case WEIR_TYPE_TEMPLATE:
        return put_template(out, member);
    case WEIR_TYPE_CALLS:
        put_calls(out, member);
        return true;
    case WEIR_TYPE_END:
    case WEIR_TYPE_OBJECT:
    case WEIR_TYPE_OBJECT_PTR:
    case WEIR_TYPE_LIST:
    case WEIR_TYPE_COMPONENT:
    case WEIR_TYPE_COUNT:
        break;
    }
    return false;
}

/* The plain value does not stay in memory. */
static uint64_t fingerprint(struct walk *walk, const struct weir_field *field, const void *member)
{
    weir_strbuf_clear(&walk->value);
    (void)put_member(NULL, &walk->value, field, member);
    uint64_t hash = weir_fnv(WEIR_FNV_START, walk->value.data, walk->value.size);
    if (walk->value.data != NULL) {
        explicit_bzero(walk->value.data, walk->value.size);
    }
    return hash;
}

static void walk_leaf(struct walk *walk, const struct weir_field *field, const void *member)
{
    const struct weir_origin *origin = weir_binder_origin(walk->binder, member);
    uint64_t print = fingerprint(walk, field, member);
    weir_strbuf_clear(&walk->value);
    bool is_set = origin != NULL && put_member(walk->binder, &walk->value, field, member);
    bool is_secret = origin != NULL && (origin->is_secret || (field->flags & WEIR_SECRET) != 0);
    const char *value = weir_strbuf_view(&walk->value).data;
    walk->visit(walk->context, &(struct weir_setting){.path = walk->path.data,
                                                      .value = !is_set     ? NULL
                                                               : is_secret ? "***"
                                                                           : value,
                                                      .field = field,
                                                      .origin = origin,
                                                      .fingerprint = print});
}

static size_t push_path(struct walk *walk, const char *name)
{
    size_t before = walk->path.size;
    weir_strbuf_printf(&walk->path, "%s%s", before > 0 ? "." : "", name);
    return before;
}

static void pop_path(struct walk *walk, size_t before)
{
    walk->path.size = before;
    if (walk->path.data != NULL) {
        walk->path.data[before] = '\0';
    }
}

static void walk_component(struct walk *walk, const struct weir_chosen *chosen)
{
    if (chosen->described == NULL) {
        return;
    }
    size_t before = push_path(walk, chosen->described->name);
    if (weir_fields_count(chosen->described->fields) == 0) {
        walk->visit(walk->context, &(struct weir_setting){.path = walk->path.data, .value = "{}"});
    } else {
        walk_object(walk, chosen->described->fields, chosen->config);
    }
    pop_path(walk, before);
}

static void
walk_list(struct walk *walk, const struct weir_field *field, const struct weir_items *list)
{
    if (weir_binder_origin(walk->binder, list) == NULL) {
        return; /* `source` as the one item of `sources`: shown where it was written */
    }
    for (size_t i = 0; i < list->count; i++) {
        size_t before = walk->path.size;
        weir_strbuf_printf(&walk->path, "[%zu]", i);
        walk_object(walk, field->children, (const char *)list->items + i * field->item_size);
        pop_path(walk, before);
    }
}

static void walk_field(struct walk *walk, const struct weir_field *field, const char *config)
{
    const void *member = config + field->offset;
    if (field->type == WEIR_TYPE_COMPONENT) {
        walk_component(walk, member);
        return;
    }
    size_t before = push_path(walk, field->name);
    if (field->type == WEIR_TYPE_OBJECT) {
        walk_object(walk, field->children, member);
    } else if (field->type == WEIR_TYPE_LIST) {
        walk_list(walk, field, member);
    } else if (field->type == WEIR_TYPE_OBJECT_PTR) {
        const void *child = *(const void *const *)member;
        if (child != NULL) {
            walk_object(walk, field->children, child);
        } else if (weir_binder_origin(walk->binder, member) != NULL) {
            walk->visit(walk->context,
                        &(struct weir_setting){.path = walk->path.data,
                                               .value = "off",
                                               .field = field,
                                               .origin = weir_binder_origin(walk->binder, member)});
        }
    } else {
        walk_leaf(walk, field, member);
    }
    pop_path(walk, before);
}

static void walk_object(struct walk *walk, const struct weir_field *fields, const void *config)
{
    for (size_t i = 0; i < weir_fields_count(fields); i++) {
        walk_field(walk, &fields[i], config);
    }
}

void weir_dump(const struct weir_binder *binder,
               const struct weir_field *fields,
               const void *config,
               weir_setting_visit *visit,
               void *context)
{
    struct walk walk = {.binder = binder, .visit = visit, .context = context};
    weir_strbuf_init(&walk.path, PATH_MAX_BYTES);
    weir_strbuf_init(&walk.value, VALUE_MAX);
    walk_object(&walk, fields, config);
    weir_strbuf_done(&walk.path);
    weir_strbuf_done(&walk.value);
}

/* --- renderings ------------------------------------------------------------------------------- */

static void put_origin(const struct weir_origin *origin, struct weir_strbuf *out)
{
    if (origin == NULL) {
        return;
    }
    if (origin->type == WEIR_ORIGIN_DEFAULT) {
        weir_strbuf_text(out, "default");
    } else if (origin->variable != NULL) {
        weir_strbuf_printf(out, "environment %s", origin->variable);
    } else {
        weir_strbuf_printf(
            out, "%s%s:%d", origin->type == WEIR_ORIGIN_INHERITED ? "taken over from " : "",
            origin->place.file == NULL ? "" : origin->place.file, origin->place.line);
    }
}

static void visit_text(void *context, const struct weir_setting *setting)
{
    struct weir_strbuf *out = context;
    if (setting->value == NULL) {
        return;
    }
    weir_strbuf_printf(out, "%-*s %-*s ", PATH_COLUMN, setting->path, VALUE_COLUMN, setting->value);
    put_origin(setting->origin, out);
    while (out->size > 0 && out->data[out->size - 1] == ' ') {
        out->size--;
    }
    weir_strbuf_push(out, '\n');
}

void weir_dump_text(const struct weir_binder *binder,
                    const struct weir_field *fields,
                    const void *config,
                    struct weir_strbuf *out)
{
    weir_dump(binder, fields, config, visit_text, out);
}

static void put_json(struct weir_strbuf *out, const char *before, const char *text)
{
    weir_strbuf_text(out, before);
    weir_quote_json(weir_slice_of(text), out);
}

static void visit_json(void *context, const struct weir_setting *setting)
{
    static const char *const types[] = {"default", "file", "inherited"};
    struct weir_strbuf *out = context;
    const struct weir_origin *origin = setting->origin;
    if (setting->value == NULL) {
        return;
    }
    weir_strbuf_text(out, out->data[out->size - 1] == '[' ? "\n" : ",\n");
    put_json(out, "{\"path\":", setting->path);
    put_json(out, ",\"value\":", setting->value);
    if (origin != NULL) {
        bool from_environment = origin->type == WEIR_ORIGIN_FILE && origin->variable != NULL;
        put_json(out, ",\"origin\":", from_environment ? "environment" : types[origin->type]);
        if (origin->variable != NULL) {
            put_json(out, ",\"variable\":", origin->variable);
        }
        if (origin->place.line > 0) {
            put_json(out, ",\"file\":", origin->place.file);
            weir_strbuf_printf(out, ",\"line\":%d", origin->place.line);
        }
    }
    weir_strbuf_push(out, '}');
}

void weir_dump_json(const struct weir_binder *binder,
                    const struct weir_field *fields,
                    const void *config,
                    struct weir_strbuf *out)
{
    weir_strbuf_push(out, '[');
    weir_dump(binder, fields, config, visit_json, out);
    weir_strbuf_text(out, "\n]\n");
}
