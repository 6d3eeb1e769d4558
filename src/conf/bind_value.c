/* SPDX-License-Identifier: Apache-2.0
 *
 * From one YAML node to one member of a struct: every type that is not itself described by a table.
 * Quoting makes no difference (a port may be "9092"), because what ${VAR} leaves behind is text
 * too; the field's type decides. A value that comes from a secret is never repeated in a message.
 */
#include "conf/bind_priv.h"

#include <stdarg.h>
#include <stdio.h>

#include "conf/memory.h"
#include "conf/near.h"
#include "conf/scalar.h"

enum { SHOWN_MAX = 60 };

struct shown {
    char text[SHOWN_MAX + 8];
};

/* The value for a message: quoted, cut, masked. */
static struct shown show(const struct weir_field *field, const struct weir_node *node)
{
    struct shown shown = {"a secret"};
    if ((field->flags & WEIR_SECRET) != 0 || node->secret_file != NULL) {
        return shown;
    }
    size_t size = node->value.size;
    if (size > SHOWN_MAX) {
        size = SHOWN_MAX;
        while (size > 0 && ((unsigned char)node->value.data[size] & 0xc0u) == 0x80u) {
            size--;
        }
    }
    (void)snprintf(shown.text, sizeof(shown.text), "\"%.*s%s\"", (int)size, node->value.data,
                   size < node->value.size ? "…" : "");
    return shown;
}

/* A value that parsed as its type: without quotes. */
static struct shown show_number(const struct weir_field *field, const struct weir_node *node)
{
    struct shown shown = show(field, node);
    size_t size = strlen(shown.text);
    if (shown.text[0] == '"') {
        memmove(shown.text, shown.text + 1, size - 2);
        shown.text[size - 2] = '\0';
    }
    return shown;
}

/* What the type is called, and how it is written. */
struct type_words {
    const char *name, *hint;
};

// clang-format off
static const struct type_words type_words[WEIR_TYPE_COUNT] = {
    [WEIR_TYPE_STR] = {"text", NULL},
    [WEIR_TYPE_INT] = {"an integer", NULL},
    [WEIR_TYPE_NUMBER] = {"a number", NULL},
    [WEIR_TYPE_BOOL] = {"true or false", NULL},
    [WEIR_TYPE_DURATION] = {"a duration", "Write a number with a unit: 10ms, 1s, 5m, 1h, 2d."},
    [WEIR_TYPE_DURATION_RANGE] = {"a range of durations", "Write the smaller one first: 100ms..10s."},
    [WEIR_TYPE_SIZE] = {"a size", "Write a number with a unit: 512, 64KiB, 10MB, 1GiB."},
    [WEIR_TYPE_ENUM] = {"one of the allowed words", NULL},
    [WEIR_TYPE_MOMENT] = {"a time", "Write a time like 2026-01-31T12:00:00Z, or milliseconds since 1970."},
    [WEIR_TYPE_STRS] = {"a list of texts", "Write [a, b], or one entry per line behind \"- \"."},
    [WEIR_TYPE_MAP] = {"a mapping of texts", "Write {key: value}, or one \"key: value\" per line."},
    [WEIR_TYPE_JQ] = {"a jq expression", NULL},
    [WEIR_TYPE_TEMPLATE] = {"text or {jq: EXPRESSION}", NULL},
    [WEIR_TYPE_CALLS] = {"a mapping of names to calls", "Write {orders: count, revenue: sum(.amount)}."},
};
// clang-format on

/* The key as written: `filter: 5` is about "filter", not about the field that it is short for. */
static const char *name_of(const struct weir_field *field, struct weir_bind_at at)
{
    return at.key != NULL ? at.key->value.data : field->name;
}

static const char *nearest_choice(const struct weir_field *field, struct weir_slice written)
{
    struct weir_near near;
    weir_near_init(&near, written);
    for (const struct weir_choice *choice = field->choices; choice->name != NULL; choice++) {
        weir_near_offer(&near, choice->name);
    }
    return near.best;
}

static void
report_type(struct weir_binder *binder, const struct weir_field *field, struct weir_bind_at at)
{
    const struct type_words *words = &type_words[field->type];
    struct weir_node *node = at.node;
    struct weir_diag *diag = NULL;
    if (weir_node_is_null(node)) {
        diag = weir_bind_error(binder, at.key != NULL ? at.key : node, at.path,
                               "\"%s\" has no value", name_of(field, at));
        weir_diag_hint(binder->diags, diag, "Give it %s, or remove the key.", words->name);
        return;
    }
    if (node->type == WEIR_NODE_SCALAR) {
        diag = weir_bind_error(binder, node, at.path, "\"%s\" must be %s, not %s",
                               name_of(field, at), words->name, show(field, node).text);
    } else {
        diag = weir_bind_error(binder, node, at.path, "\"%s\" must be %s, not %s",
                               name_of(field, at), words->name, weir_node_text(node));
    }
    diag->hint = words->hint;
    if (field->type == WEIR_TYPE_MOMENT) {
        diag->allowed = weir_choices_list(binder->arena, field->choices);
        diag->suggestion = nearest_choice(field, node->value);
    }
    bool is_short =
        node->is_flow && node->end - node->start <= SHOWN_MAX &&
        memchr(node->text->bytes.data + node->start, '\n', node->end - node->start) == NULL;
    if (field->type == WEIR_TYPE_JQ && is_short) {
        weir_diag_hint(binder->diags, diag, "Put the expression in single quotes: '%.*s'.",
                       (int)(node->end - node->start), node->text->bytes.data + node->start);
    } else if (field->type == WEIR_TYPE_JQ) {
        diag->hint = "Put the expression in single quotes.";
    }
}

/* --- bounds ----------------------------------------------------------------------------------- */

static const char *
format_bound(struct weir_binder *binder, const struct weir_field *field, int64_t value)
{
    struct weir_strbuf buf;
    weir_strbuf_init(&buf, 64);
    if (field->type == WEIR_TYPE_DURATION || field->type == WEIR_TYPE_DURATION_RANGE) {
        weir_format_duration(value, &buf);
    } else if (field->type == WEIR_TYPE_SIZE) {
        weir_format_size(value, &buf);
    } else {
        weir_strbuf_printf(&buf, "%lld", (long long)value);
    }
    const char *text = weir_conf_copy(binder->arena, weir_strbuf_view(&buf)).data;
    weir_strbuf_done(&buf);
    return text;
}

/* "between 1 and 100", "at least 1", "at most 100" */
static const char *bounds_text(struct weir_binder *binder, const struct weir_field *field)
{
    const char *min = format_bound(binder, field, field->min);
    const char *max = format_bound(binder, field, field->max);
    if (field->max == INT64_MAX) {
        return weir_arena_printf(binder->arena, "at least %s", min);
    }
    if (field->min == INT64_MIN) {
        return weir_arena_printf(binder->arena, "at most %s", max);
    }
    return weir_arena_printf(binder->arena, "between %s and %s", min, max);
}

static bool has_bounds(const struct weir_field *field)
{
    return field->min != 0 || field->max != 0;
}

static void check_value_bounds(struct weir_binder *binder,
                               const struct weir_field *field,
                               struct weir_bind_at at,
                               int64_t low,
                               int64_t high)
{
    if (has_bounds(field) && (low < field->min || high > field->max)) {
        (void)weir_bind_error(binder, at.node, at.path, "\"%s\" must be %s, not %s",
                              name_of(field, at), bounds_text(binder, field),
                              show_number(field, at.node).text);
    }
}

static void check_number_bounds(struct weir_binder *binder,
                                const struct weir_field *field,
                                struct weir_bind_at at,
                                double value)
{
    if (has_bounds(field) && !(value >= (double)field->min && value <= (double)field->max)) {
        (void)weir_bind_error(binder, at.node, at.path, "\"%s\" must be %s, not %s",
                              name_of(field, at), bounds_text(binder, field),
                              show_number(field, at.node).text);
    }
}

static void check_count_bounds(struct weir_binder *binder,
                               const struct weir_field *field,
                               struct weir_bind_at at,
                               size_t count,
                               const char *unit)
{
    if (count == 0 && (field->flags & WEIR_REQUIRED) != 0) {
        (void)weir_bind_error(binder, at.node, at.path, "\"%s\" is empty", name_of(field, at));
    } else if (has_bounds(field) && ((int64_t)count < field->min || (int64_t)count > field->max)) {
        (void)weir_bind_error(binder, at.node, at.path, "\"%s\" must have %s %s, not %zu",
                              name_of(field, at), bounds_text(binder, field), unit, count);
    }
}

/* --- secrets ---------------------------------------------------------------------------------- */

static void check_secret(struct weir_binder *binder, struct weir_bind_at at)
{
    struct weir_node *node = at.node;
    if (binder->default_depth > 0) {
        return;
    }
    if (node->secret_file != NULL && (node->secret_mode & 077u) != 0) {
        struct weir_diag *diag = weir_bind_error(binder, node, at.path,
                                                 "the secret's file can be read by others (mode "
                                                 "%04o)",
                                                 node->secret_mode);
        weir_diag_hint(binder->diags, diag, "chmod 600 %s", node->secret_file);
        return;
    }
    if (node->secret_file == NULL && node->variable == NULL && node->raw.size > 0) {
        weir_text_mask_range(binder->arena, node->text, node->start, node->end);
        if ((node->text->mode & 077u) != 0) {
            struct weir_diag *diag = weir_bind_error(
                binder, node, at.path, "a secret in a file that others can read (mode %04o)",
                node->text->mode);
            weir_diag_hint(binder->diags, diag,
                           "Use ${file:/path} or ${VAR} for it, or chmod 600 the file.");
            weir_diag_warn(binder->diags, diag);
        }
    }
}

/* --- types ------------------------------------------------------------------------------------ */

static const struct weir_choice *find_choice(const struct weir_field *field,
                                             const struct weir_node *node)
{
    for (const struct weir_choice *choice = field->choices; choice->name != NULL; choice++) {
        if (weir_slice_equal(node->value, weir_slice_of(choice->name))) {
            return choice;
        }
    }
    return NULL;
}

static void bind_enum(struct weir_binder *binder,
                      const struct weir_field *field,
                      struct weir_bind_at at,
                      int *member)
{
    const struct weir_choice *found = find_choice(field, at.node);
    if (found != NULL) {
        *member = found->value;
        return;
    }
    struct weir_diag *diag = weir_bind_error(binder, at.node, at.path, "\"%s\" cannot be %s",
                                             name_of(field, at), show(field, at.node).text);
    diag->suggestion = nearest_choice(field, at.node->value);
    diag->allowed = weir_choices_list(binder->arena, field->choices);
}

static bool bind_moment(const struct weir_field *field,
                        const struct weir_node *node,
                        struct weir_moment *member)
{
    const struct weir_choice *found = find_choice(field, node);
    if (found != NULL) {
        member->word = found->value;
        return true;
    }
    return weir_parse_time(node->value, &member->time_ms);
}

static bool is_plain_name(struct weir_slice text)
{
    for (size_t i = 0; i < text.size; i++) {
        char c = text.data[i];
        if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '.' && c != '_' &&
            c != '-') {
            return false;
        }
    }
    return true;
}

/* HOST:PORT, :PORT or [IPV6]:PORT */
static bool is_host_port(struct weir_slice text)
{
    const char *colon = memrchr(text.data, ':', text.size);
    if (colon == NULL) {
        return false;
    }
    struct weir_slice host = {text.data, (size_t)(colon - text.data)};
    struct weir_slice port = {colon + 1, text.size - host.size - 1};
    int64_t number = 0;
    bool is_bracketed = host.size > 2 && host.data[0] == '[' && host.data[host.size - 1] == ']';
    return weir_parse_int(port, &number) && number >= 0 && number <= 65535 && port.data[0] != '+' &&
           port.data[0] != '-' && (is_bracketed || memchr(host.data, ':', host.size) == NULL) &&
           memchr(host.data, ' ', host.size) == NULL && memchr(host.data, '/', host.size) == NULL;
}

static void bind_str(struct weir_binder *binder,
                     const struct weir_field *field,
                     struct weir_bind_at at,
                     const char **member)
{
    const struct weir_node *node = at.node;
    if (node->value.size == 0 && (field->flags & WEIR_REQUIRED) != 0) {
        (void)weir_bind_error(binder, node, at.path, "\"%s\" is empty", name_of(field, at));
        return;
    }
    if ((field->flags & WEIR_NAME) != 0 && !is_plain_name(node->value)) {
        struct weir_diag *diag = weir_bind_error(binder, node, at.path, "\"%s\" cannot be %s",
                                                 name_of(field, at), show(field, node).text);
        diag->hint = "Only a-z, 0-9 and . _ - can stand in it.";
        return;
    }
    if ((field->flags & WEIR_HOST_PORT) != 0 && !is_host_port(node->value)) {
        struct weir_diag *diag =
            weir_bind_error(binder, node, at.path, "\"%s\" must be HOST:PORT, not %s",
                            name_of(field, at), show(field, node).text);
        diag->hint = "For example 127.0.0.1:9600.";
        return;
    }
    if (has_bounds(field)) {
        check_count_bounds(binder, field, at, node->value.size, "bytes");
    }
    *member = node->value.data;
}

static bool is_commented(const struct weir_node *node)
{
    struct weir_slice line = weir_text_line(node->text, node->line);
    const char *end = node->text->bytes.data + node->end;
    const char *line_end = line.data + line.size;
    return node->style == WEIR_STYLE_PLAIN && end < line_end &&
           memmem(end, (size_t)(line_end - end), " #", 2) != NULL;
}

static void note_program(struct weir_binder *binder, struct weir_jq *program)
{
    if (binder->program_count == binder->program_capacity) {
        size_t capacity = binder->program_capacity == 0 ? 16 : binder->program_capacity * 2;
        struct weir_jq **programs =
            weir_conf_alloc(binder->arena, capacity, sizeof(struct weir_jq *));
        for (size_t i = 0; i < binder->program_count; i++) {
            programs[i] = binder->programs[i];
        }
        binder->programs = programs;
        binder->program_capacity = capacity;
    }
    binder->programs[binder->program_count++] = program;
}

static void bind_jq(struct weir_binder *binder,
                    const struct weir_field *field,
                    struct weir_bind_at at,
                    struct weir_expr *member)
{
    weir_bind_program(binder, field, at, at.node->value, member);
}

void weir_bind_program(struct weir_binder *binder,
                       const struct weir_field *field,
                       struct weir_bind_at at,
                       struct weir_slice text,
                       struct weir_expr *member)
{
    struct weir_node *node = at.node;
    struct weir_err err = {0};
    size_t start = 0;
    size_t end = 0;
    member->text = text;
    member->place = weir_node_place(node);
    if (text.size == 0) {
        (void)weir_bind_error(binder, node, at.path, "\"%s\" is an empty expression",
                              name_of(field, at));
        return;
    }
    struct weir_jq *program =
        binder->compiler->compile(binder->compiler->context, text, &start, &end, &err);
    size_t from = (size_t)(text.data - node->value.data); /* of the part within the whole */
    start += from;
    end += from;
    if (program != NULL) {
        note_program(binder, program);
        member->program = program;
        if ((field->flags & WEIR_MANY) == 0 && binder->compiler->has_several != NULL &&
            binder->compiler->has_several(program)) {
            struct weir_diag *several =
                weir_bind_error(binder, node, at.path, "\"%s\" needs one value and gets several",
                                name_of(field, at));
            several->hint = "Make an array of them, [...], or take the first one: first(...).";
        }
        if ((field->flags & WEIR_ANSWER) == 0 && binder->compiler->reads_answer != NULL &&
            binder->compiler->reads_answer(program)) {
            struct weir_diag *unknown = weir_bind_error(
                binder, node, at.path, "$answer is not defined in \"%s\"", name_of(field, at));
            unknown->hint = "Only the result of a step that asks somebody knows it.";
        }
        return;
    }
    const char *message =
        node->secret_file != NULL ? "the expression is not valid jq" : err.message;
    struct weir_diag *diag = weir_bind_error(binder, node, at.path, "%s", message);
    diag->start = weir_node_offset(node, start);
    diag->end = end > start ? weir_node_offset(node, end - 1) + 1 : diag->start;
    if (diag->end > node->end || diag->end < diag->start) {
        diag->end = node->end;
    }
    const struct weir_substitution *made = weir_node_substitution(node, start);
    if (made != NULL && node->secret_file == NULL) {
        weir_diag_hint(binder->diags, diag, "It is in what %.*s stands for, behind \"%.*s\".",
                       (int)(made->raw_end - made->raw_start), node->raw.data + made->raw_start,
                       (int)(start - made->start), node->value.data + made->start);
        return;
    }
    if (is_commented(node)) {
        diag->hint = "YAML takes what stands behind \" #\" as a comment; use single quotes.";
    } else if (err.hint[0] != '\0') {
        diag->hint = weir_conf_strdup(binder->arena, err.hint);
    }
}

static void bind_template(struct weir_binder *binder,
                          const struct weir_field *field,
                          struct weir_bind_at at,
                          struct weir_template *member)
{
    struct weir_node *node = at.node;
    if (node->type == WEIR_NODE_SCALAR && !weir_node_is_null(node)) {
        bind_str(binder, field, at, &member->text);
        return;
    }
    if (node->type != WEIR_NODE_MAPPING || node->count != 1 ||
        !weir_slice_equal(node->members[0].key->raw, WEIR_SLICE("jq"))) {
        report_type(binder, field, at);
        return;
    }
    struct weir_node *expr = node->members[0].value;
    struct weir_field inner = *field;
    inner.name = "jq";
    inner.type = WEIR_TYPE_JQ;
    struct weir_bind_path path = {.up = at.path, .name = "jq"};
    struct weir_bind_at inner_at = {node->members[0].key, expr, &path};
    weir_bind_scalar(binder, &inner, inner_at, &member->expr);
}

/* --- lists and maps --------------------------------------------------------------------------- */

static struct weir_slice trim(struct weir_slice text)
{
    while (text.size > 0 && text.data[0] == ' ') {
        text.data++;
        text.size--;
    }
    while (text.size > 0 && text.data[text.size - 1] == ' ') {
        text.size--;
    }
    return text;
}

/* "a, b" → two items. */
static void split(struct weir_binder *binder, struct weir_slice text, struct weir_strs *ret_list)
{
    size_t count = 1;
    for (size_t i = 0; i < text.size; i++) {
        count += text.data[i] == ',';
    }
    ret_list->items = weir_conf_alloc(binder->arena, count, sizeof(const char *));
    while (text.size > 0) {
        const char *comma = memchr(text.data, ',', text.size);
        size_t size = comma == NULL ? text.size : (size_t)(comma - text.data);
        struct weir_slice item = trim((struct weir_slice){text.data, size});
        if (item.size > 0) {
            ret_list->items[ret_list->count++] = weir_conf_copy(binder->arena, item).data;
        }
        size += comma != NULL;
        text.data += size;
        text.size -= size;
    }
}

static void bind_strs(struct weir_binder *binder,
                      const struct weir_field *field,
                      struct weir_bind_at at,
                      struct weir_strs *member)
{
    struct weir_node *node = at.node;
    if (node->type == WEIR_NODE_MAPPING || weir_node_is_null(node)) {
        report_type(binder, field, at);
        return;
    }
    if (node->type == WEIR_NODE_SCALAR) {
        split(binder, node->value, member);
    } else {
        member->items = weir_conf_alloc(binder->arena, node->count, sizeof(const char *));
        for (size_t i = 0; i < node->count; i++) {
            struct weir_node *item = node->items[i];
            if (item->is_broken) {
                continue;
            }
            if (item->type != WEIR_NODE_SCALAR || weir_node_is_null(item)) {
                (void)weir_bind_error(binder, item, at.path,
                                      "an entry of \"%s\" must be text, not %s", name_of(field, at),
                                      weir_node_text(item));
            } else if (item->value.size == 0) {
                (void)weir_bind_error(binder, item, at.path, "an entry of \"%s\" is empty",
                                      name_of(field, at));
            } else {
                member->items[member->count++] = item->value.data;
            }
        }
        if (member->count != node->count) {
            return;
        }
    }
    check_count_bounds(binder, field, at, member->count, "entries");
}

static void
check_entry(struct weir_binder *binder, const struct weir_field *field, struct weir_bind_at at)
{
    struct weir_err err = {0};
    if (field->entry == NULL ||
        field->entry(at.key->raw.data, at.node->value.data, &err) == WEIR_OK) {
        return;
    }
    struct weir_diag *diag = weir_bind_error(binder, at.key, at.path, "%s", err.message);
    if (err.hint[0] != '\0') {
        weir_diag_hint(binder->diags, diag, "%s", err.hint);
    }
}

static void bind_map(struct weir_binder *binder,
                     const struct weir_field *field,
                     struct weir_bind_at at,
                     struct weir_map *member)
{
    struct weir_node *node = at.node;
    if (node->type != WEIR_NODE_MAPPING) {
        report_type(binder, field, at);
        return;
    }
    member->items = weir_conf_alloc(binder->arena, node->count, sizeof(*member->items));
    for (size_t i = 0; i < node->count; i++) {
        const struct weir_node *key = node->members[i].key;
        struct weir_node *value = node->members[i].value;
        struct weir_bind_path path = {.up = at.path, .name = key->raw.data};
        if (value->is_broken) {
            continue;
        }
        if (value->type != WEIR_NODE_SCALAR || weir_node_is_null(value)) {
            const struct weir_node *place = value->type == WEIR_NODE_SCALAR ? key : value;
            (void)weir_bind_error(binder, place, &path, "\"%s\" must be text, not %s",
                                  key->raw.data, weir_node_text(value));
            continue;
        }
        if (weir_key_is_secret(key->raw.data)) {
            struct weir_bind_at inner = {key, value, &path};
            check_secret(binder, inner);
        }
        check_entry(binder, field, (struct weir_bind_at){key, value, &path});
        weir_bind_note_origin(binder, field, value, &member->items[member->count]);
        member->items[member->count++] = (struct weir_pair){key->raw.data, value->value.data};
    }
}

/* --- all -------------------------------------------------------------------------------------- */

/* Types whose text is parsed; false: it is not such a text. */
static bool parse_simple(struct weir_binder *binder,
                         const struct weir_field *field,
                         struct weir_bind_at at,
                         void *member)
{
    struct weir_slice text = at.node->value;
    int64_t integer = 0;
    bool ok = false;
    if (field->type == WEIR_TYPE_BOOL) {
        return weir_parse_bool(text, member);
    }
    if (field->type == WEIR_TYPE_MOMENT) {
        return bind_moment(field, at.node, member);
    }
    if (field->type == WEIR_TYPE_NUMBER) {
        double number = 0;
        ok = weir_parse_number(text, &number);
        if (ok) {
            check_number_bounds(binder, field, at, number);
            *(double *)member = number;
        }
        return ok;
    }
    if (field->type == WEIR_TYPE_DURATION_RANGE) {
        struct weir_duration_range range;
        ok = weir_parse_duration_range(text, &range);
        if (ok) {
            check_value_bounds(binder, field, at, range.min, range.max);
            *(struct weir_duration_range *)member = range;
        }
        return ok;
    }
    ok = field->type == WEIR_TYPE_INT        ? weir_parse_int(text, &integer)
         : field->type == WEIR_TYPE_DURATION ? weir_parse_duration(text, &integer)
                                             : weir_parse_size(text, &integer);
    if (ok) {
        check_value_bounds(binder, field, at, integer, integer);
        *(int64_t *)member = integer;
    }
    return ok;
}

void weir_bind_scalar(struct weir_binder *binder,
                      const struct weir_field *field,
                      struct weir_bind_at at,
                      void *member)
{
    struct weir_node *node = at.node;
    weir_bind_note_origin(binder, field, node, member);
    if (node->is_broken) {
        return;
    }
    if ((field->flags & WEIR_SECRET) != 0) {
        check_secret(binder, at);
    }
    if (field->type == WEIR_TYPE_STRS) {
        bind_strs(binder, field, at, member);
        return;
    }
    if (field->type == WEIR_TYPE_MAP) {
        bind_map(binder, field, at, member);
        return;
    }
    if (field->type == WEIR_TYPE_TEMPLATE) {
        bind_template(binder, field, at, member);
        return;
    }
    if (field->type == WEIR_TYPE_CALLS && node->type == WEIR_NODE_MAPPING) {
        weir_bind_calls(binder, field, at, member);
        return;
    }
    if (node->type != WEIR_NODE_SCALAR || weir_node_is_null(node)) {
        report_type(binder, field, at);
    } else if (field->type == WEIR_TYPE_STR) {
        bind_str(binder, field, at, member);
    } else if (field->type == WEIR_TYPE_ENUM) {
        bind_enum(binder, field, at, member);
    } else if (field->type == WEIR_TYPE_JQ) {
        bind_jq(binder, field, at, member);
    } else if (!parse_simple(binder, field, at, member)) {
        report_type(binder, field, at);
    }
}
