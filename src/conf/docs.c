/* SPDX-License-Identifier: Apache-2.0
 *
 * Documentation is a walk over the same rows that bind a file. Objects inside an object become
 * sections of their own, each table once however often it is used (`source` and `sources` share
 * one), in the order in which they are met.
 */
#include "conf/docs.h"

#include <stdint.h>
#include <stdio.h>

#include "base/assert.h"
#include "conf/scalar.h"
#include "conf/table.h"

enum { SECTIONS_MAX = 32, TITLE_MAX = 128, TEXT_WIDTH = 78, TEXT_INDENT = 6 };

struct section {
    const struct weir_field *fields;
    const struct weir_rule *rules;
    char title[TITLE_MAX];
};

struct docs {
    struct weir_strbuf *out;
    const struct weir_registry *registry;
    bool as_text;
    struct section sections[SECTIONS_MAX];
    size_t count;
};

static size_t add_section(struct docs *self,
                          const struct weir_field *fields,
                          const struct weir_rule *rules,
                          const char *title)
{
    size_t index = 0;
    while (index < self->count && self->sections[index].fields != fields) {
        index++;
    }
    if (index == self->count) {
        WEIR_ASSERT(self->count < SECTIONS_MAX);
        struct section *section = &self->sections[self->count++];
        section->fields = fields;
        section->rules = rules;
        size_t size = strlen(title);
        WEIR_ASSERT(size < TITLE_MAX);
        memcpy(section->title, title, size + 1);
    }
    return index;
}

/* --- words ------------------------------------------------------------------------------------ */

static const char *type_word(const struct weir_field *field)
{
    static const char *const words[WEIR_TYPE_COUNT] = {
        [WEIR_TYPE_STR] = "text",
        [WEIR_TYPE_INT] = "integer",
        [WEIR_TYPE_NUMBER] = "number",
        [WEIR_TYPE_BOOL] = "true or false",
        [WEIR_TYPE_DURATION] = "duration",
        [WEIR_TYPE_DURATION_RANGE] = "range of durations",
        [WEIR_TYPE_SIZE] = "size",
        [WEIR_TYPE_ENUM] = "word",
        [WEIR_TYPE_MOMENT] = "word or time",
        [WEIR_TYPE_STRS] = "list of texts",
        [WEIR_TYPE_MAP] = "mapping of texts",
        [WEIR_TYPE_JQ] = "jq expression",
        [WEIR_TYPE_CALLS] = "mapping of calls",
        [WEIR_TYPE_TEMPLATE] = "text or {jq: …}",
        [WEIR_TYPE_OBJECT] = "mapping",
        [WEIR_TYPE_OBJECT_PTR] = "mapping",
        [WEIR_TYPE_LIST] = "list of mappings",
    };
    WEIR_ASSERT(words[field->type] != NULL);
    return words[field->type];
}

static void put_bound(struct weir_strbuf *out, const struct weir_field *field, int64_t value)
{
    if (field->type == WEIR_TYPE_DURATION || field->type == WEIR_TYPE_DURATION_RANGE) {
        weir_format_duration(value, out);
    } else if (field->type == WEIR_TYPE_SIZE) {
        weir_format_size(value, out);
    } else {
        weir_strbuf_printf(out, "%lld", (long long)value);
    }
}

static void put_bounds(struct weir_strbuf *out, const struct weir_field *field)
{
    bool counts = field->type == WEIR_TYPE_STR || field->type == WEIR_TYPE_STRS ||
                  field->type == WEIR_TYPE_LIST || field->type == WEIR_TYPE_TEMPLATE;
    if ((field->min == 0 && field->max == 0) || counts) {
        return;
    }
    weir_strbuf_text(out, ", ");
    if (field->max == INT64_MAX) {
        weir_strbuf_text(out, "at least ");
        put_bound(out, field, field->min);
        return;
    }
    if (field->min != INT64_MIN) {
        put_bound(out, field, field->min);
        weir_strbuf_text(out, " to ");
    } else {
        weir_strbuf_text(out, "at most ");
    }
    put_bound(out, field, field->max);
}

/* "duration, 1ms to 1h, required" */
static void put_type(struct docs *self, const struct weir_field *field)
{
    weir_strbuf_text(self->out, type_word(field));
    put_bounds(self->out, field);
    weir_strbuf_text(self->out, (field->flags & WEIR_OFF) != 0 ? ", or off" : "");
    weir_strbuf_text(self->out, (field->flags & WEIR_REQUIRED) != 0 ? ", required" : "");
    weir_strbuf_text(self->out, (field->flags & WEIR_SECRET) != 0 ? ", secret" : "");
}

static void put_default(struct docs *self, const struct weir_field *field)
{
    const char *mark = self->as_text ? "" : "`";
    if (field->fallback != NULL) {
        weir_strbuf_printf(self->out, "%s%s%s", mark, field->fallback, mark);
    } else if (field->unset != NULL) {
        weir_strbuf_text(self->out, field->unset);
    } else if ((field->flags & (WEIR_ADDRESS | WEIR_CONNECTION)) != 0) {
        weir_strbuf_text(self->out, "that of the component of the same system before it");
    }
}

/* The help and what follows from the row, as one paragraph. */
static void put_meaning(struct weir_strbuf *out, const struct weir_field *field, const char *mark)
{
    weir_strbuf_text(out, field->help);
    for (const struct weir_choice *choice = field->choices; choice != NULL && choice->name != NULL;
         choice++) {
        weir_strbuf_printf(out, " %s%s%s: %s", mark, choice->name, mark, choice->help);
    }
    if ((field->flags & WEIR_SHORT) != 0) {
        weir_strbuf_text(out, " Can be written without its name, in place of the mapping.");
    }
    if (field->example != NULL) {
        weir_strbuf_printf(out, " Example: %s%s%s.", mark, field->example, mark);
    }
    if (field->since != NULL) {
        weir_strbuf_printf(out, " Since %s.", field->since);
    }
    if (field->deprecated != NULL) {
        weir_strbuf_printf(out, " Deprecated: %s", field->deprecated);
    }
}

/* Text wrapped at the terminal's width. */
static void put_wrapped(struct weir_strbuf *out, const char *text, int indent)
{
    int column = 0;
    while (*text != '\0') {
        size_t size = strcspn(text, " \n");
        if (column > 0 && column + 1 + (int)size > TEXT_WIDTH) {
            weir_strbuf_push(out, '\n');
            column = 0;
        }
        if (size > 0) {
            weir_strbuf_printf(out, "%*s", column == 0 ? indent : 1, "");
            weir_strbuf_append(out, text, size);
            column += (column == 0 ? indent : 1) + (int)size;
        }
        text += size;
        if (*text == '\n') {
            weir_strbuf_push(out, '\n');
            column = 0;
        }
        text += *text != '\0';
    }
    weir_strbuf_text(out, column > 0 ? "\n" : "");
}

/* --- rows ------------------------------------------------------------------------------------- */

static void put_component_row(struct docs *self, const struct weir_field *field)
{
    const struct weir_described *described = NULL;
    const char *mark = self->as_text ? "" : "`";
    weir_strbuf_printf(self->out, self->as_text ? "  a %s\n      " : "| *a %s* | mapping | | ",
                       weir_role_name(field->kind));
    for (size_t i = 0;
         (described = self->registry->at(self->registry->context, field->kind, i)) != NULL; i++) {
        weir_strbuf_printf(self->out, "%s%s%s%s", i > 0 ? ", " : "One of ", mark, described->name,
                           mark);
    }
    weir_strbuf_text(self->out, self->as_text ? ".\n" : ". |\n");
}

/* Table cells cannot hold | or line ends. */
static void put_cell(struct weir_strbuf *out, const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text == '|') {
            weir_strbuf_push(out, '\\');
        }
        weir_strbuf_push(out, *text == '\n' ? ' ' : *text);
    }
}

static void put_row(struct docs *self, const struct weir_field *field)
{
    if (field->type == WEIR_TYPE_COMPONENT) {
        put_component_row(self, field);
        return;
    }
    struct weir_strbuf meaning;
    weir_strbuf_init(&meaning, 16384);
    put_meaning(&meaning, field, self->as_text ? "" : "`");
    const char *text = weir_strbuf_view(&meaning).data;
    if (self->as_text) {
        weir_strbuf_printf(self->out, "  %s   ", field->name);
        put_type(self, field);
        size_t before = self->out->size;
        weir_strbuf_text(self->out, "; default: ");
        size_t behind = self->out->size;
        put_default(self, field);
        if (self->out->size == behind && !self->out->failed) {
            self->out->size = before;
        }
        weir_strbuf_push(self->out, '\n');
        put_wrapped(self->out, text, TEXT_INDENT);
    } else {
        weir_strbuf_printf(self->out, "| `%s` | ", field->name);
        put_type(self, field);
        weir_strbuf_text(self->out, " | ");
        put_default(self, field);
        weir_strbuf_text(self->out, " | ");
        put_cell(self->out, text);
        weir_strbuf_text(self->out, " |\n");
    }
    weir_strbuf_done(&meaning);
}

static void put_rule(struct docs *self, const struct weir_rule *rule)
{
    static const char *const words[] = {
        [WEIR_RULE_EXACTLY_ONE] = "Exactly one of ",
        [WEIR_RULE_AT_MOST_ONE] = "At most one of ",
        [WEIR_RULE_AT_LEAST_ONE] = "At least one of ",
        [WEIR_RULE_NEEDS] = "",
    };
    const char *mark = self->as_text ? "" : "`";
    size_t max = sizeof(rule->fields) / sizeof(rule->fields[0]);
    weir_strbuf_printf(self->out, "%s%s", self->as_text ? "  " : "- ", words[rule->type]);
    for (size_t i = 0; i < max && rule->fields[i] != NULL; i++) {
        bool is_needs = rule->type == WEIR_RULE_NEEDS;
        const char *joint = i == 0 ? "" : is_needs && i == 1 ? " needs " : ", ";
        weir_strbuf_printf(self->out, "%s%s%s%s", joint, mark, rule->fields[i], mark);
    }
    weir_strbuf_printf(self->out, ".%s%s\n", rule->hint != NULL ? " " : "",
                       rule->hint != NULL ? rule->hint : "");
}

static void put_rows(struct docs *self, const struct section *section, bool advanced)
{
    for (size_t i = 0; i < weir_fields_count(section->fields); i++) {
        const struct weir_field *field = &section->fields[i];
        if (((field->flags & WEIR_ADVANCED) != 0) == advanced) {
            put_row(self, field);
        }
        if (field->children != NULL) {
            char title[TITLE_MAX];
            int size =
                snprintf(title, sizeof(title),
                         field->type == WEIR_TYPE_LIST ? "An entry of %s" : "%s", field->name);
            WEIR_ASSERT(size > 0);
            (void)add_section(self, field->children, field->rules, title);
        }
    }
}

static void put_section(struct docs *self, const struct section *section)
{
    if (weir_fields_count(section->fields) == 0) {
        return;
    }
    weir_strbuf_printf(self->out, self->as_text ? "\n%s:\n" : "\n## %s\n\n", section->title);
    if (!self->as_text) {
        weir_strbuf_text(self->out, "| key | type | default | meaning |\n|---|---|---|---|\n");
    }
    put_rows(self, section, false);
    put_rows(self, section, true);
    if (section->rules != NULL && section->rules->type != WEIR_RULE_END) {
        weir_strbuf_push(self->out, '\n');
    }
    for (const struct weir_rule *rule = section->rules; rule != NULL && rule->type != WEIR_RULE_END;
         rule++) {
        put_rule(self, rule);
    }
}

static void put_sections(struct docs *self)
{
    for (size_t i = 0; i < self->count; i++) {
        struct section section = self->sections[i];
        put_section(self, &section);
    }
}

/* The example of a component as it stands in a file. */
static void put_example(struct docs *self, const struct weir_described *described)
{
    static const char *const starts[WEIR_ROLE_COUNT] = {
        [WEIR_ROLE_SOURCE] = "source:\n  ",
        [WEIR_ROLE_STEP] = "steps:\n  - ",
        [WEIR_ROLE_SINK] = "sink:\n  ",
    };
    const char *margin = self->as_text ? "    " : "";
    const char *indent = described->kind == WEIR_ROLE_STEP ? "    " : "  ";
    weir_strbuf_text(self->out, self->as_text ? "\nExample:\n" : "\n```yaml\n");
    for (const char *p = starts[described->kind]; *p != '\0'; p++) {
        weir_strbuf_text(self->out, p == starts[described->kind] || p[-1] == '\n' ? margin : "");
        weir_strbuf_push(self->out, *p);
    }
    for (const char *p = described->example; *p != '\0'; p++) {
        weir_strbuf_push(self->out, *p);
        if (*p == '\n' && p[1] != '\0') {
            weir_strbuf_printf(self->out, "%s%s", margin, indent);
        }
    }
    weir_strbuf_text(self->out, self->as_text ? "\n" : "\n```\n");
}

void weir_docs_component(const struct weir_described *described,
                         const struct weir_registry *registry,
                         enum weir_docs_form form,
                         struct weir_strbuf *out)
{
    struct docs self = {.out = out, .registry = registry, .as_text = form == WEIR_DOCS_TEXT};
    weir_strbuf_printf(out, self.as_text ? "%s %s: %s\n" : "# %s: %s\n\n%s\n",
                       weir_role_name(described->kind), described->name, described->summary);
    if (described->help != NULL) {
        weir_strbuf_push(out, '\n');
        if (self.as_text) {
            put_wrapped(out, described->help, 0);
        } else {
            weir_strbuf_printf(out, "%s\n", described->help);
        }
    }
    if (described->example != NULL) {
        put_example(&self, described);
    }
    if (weir_fields_count(described->fields) == 0) {
        weir_strbuf_text(out, "\nIt has no options.\n");
        return;
    }
    (void)add_section(&self, described->fields, described->rules, "Options");
    put_sections(&self);
}

void weir_docs_pipeline(const struct weir_field *fields,
                        const struct weir_rule *rules,
                        const struct weir_registry *registry,
                        enum weir_docs_form form,
                        struct weir_strbuf *out)
{
    struct docs self = {.out = out, .registry = registry, .as_text = form == WEIR_DOCS_TEXT};
    weir_strbuf_text(out, self.as_text ? "The keys of a pipeline file.\n"
                                       : "# Pipeline file\n\nThe keys of a pipeline file.\n");
    (void)add_section(&self, fields, rules, "Keys");
    put_sections(&self);
    weir_strbuf_text(out, self.as_text ? "\nValues:\n" : "\n## Values\n\n");
    static const char *const values[] = {
        "Durations: `10ms`, `1s`, `5m`, `1h`, `2d`; fractions such as `1.5s`. Ranges: "
        "`100ms..10s`.",
        "Sizes: `512`, `64KiB`, `10MB`, `1GiB`.",
        "Times: `2026-01-31T12:00:00Z`, `2026-01-31`, or milliseconds since 1970.",
        "`${VAR}` is the value of an environment variable, `${VAR:-default}` has a default, "
        "`${file:/path}` is the content of a file without its last line end, `$${` is a plain "
        "`${`.",
    };
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        if (self.as_text) {
            put_wrapped(out, values[i], 2);
        } else {
            weir_strbuf_printf(out, "- %s\n", values[i]);
        }
    }
}

void weir_docs_index(const struct weir_registry *registry, struct weir_strbuf *out)
{
    weir_strbuf_text(out, "# Reference\n\nGenerated from the field tables of the program.\n\n"
                          "- [Pipeline file](pipeline.md)\n- [Functions of expressions](jq.md)\n"
                          "- [Metrics](metrics.md)\n- [HTTP](http.md)\n"
                          "- [Commands](commands.md)\n");
    for (enum weir_role role = WEIR_ROLE_SOURCE; role < WEIR_ROLE_COUNT; role++) {
        const struct weir_described *described = NULL;
        weir_strbuf_printf(out, "\n## %c%s\n\n| name | what it does |\n|---|---|\n",
                           weir_role_plural(role)[0] - 'a' + 'A', weir_role_plural(role) + 1);
        for (size_t i = 0; (described = registry->at(registry->context, role, i)) != NULL; i++) {
            weir_strbuf_printf(out, "| [%s](%s-%s.md) | %s |\n", described->name,
                               weir_role_name(role), described->name, described->summary);
        }
    }
}
