/* SPDX-License-Identifier: Apache-2.0
 *
 * libyaml's events become a tree. libyaml gives each node a line and a column; everything else that
 * people get wrong is judged here with a place: duplicate keys, tags, unknown anchors, a second
 * document. Anchors are only known once their node is complete, so no node contains itself; each
 * node carries the weight of everything below it with aliases expanded, and the weight is limited,
 * so a few lines of aliases cannot unfold into gigabytes later.
 *
 * After a syntax error libyaml cannot go on: it is then the only error reported for the file, and
 * its message is put into words that say what to change.
 */
#include "conf/tree.h"

#include <stdint.h>
#include <yaml.h>

#include "base/assert.h"
#include "conf/limits.h"
#include "conf/memory.h"
#include "conf/near.h"

struct anchor {
    const char *name;
    struct weir_node *node;
    struct anchor *next;
};

struct loader {
    yaml_parser_t parser;
    struct weir_arena *arena;
    struct weir_text *text;
    struct weir_diags *diags;
    struct weir_substituter substituter;
    struct anchor *anchors;
    size_t anchor_count;
    size_t node_count;
    bool failed; /* libyaml stopped, or a limit was reached: unwind */
    /* The last place that was looked up; events come in order, so walking on is enough. */
    size_t cached_line, cached_column, cached_offset;
};

static size_t mark_offset(struct loader *self, yaml_mark_t mark)
{
    if (mark.line != self->cached_line || mark.column < self->cached_column) {
        return weir_text_offset(self->text, (int)mark.line + 1, (int)mark.column + 1);
    }
    struct weir_slice bytes = self->text->bytes;
    size_t at = self->cached_offset;
    for (size_t column = self->cached_column; column < mark.column && at < bytes.size; column++) {
        at++;
        while (at < bytes.size && ((unsigned char)bytes.data[at] & 0xc0u) == 0x80u) {
            at++;
        }
    }
    return at;
}

static size_t mark_cache(struct loader *self, yaml_mark_t mark)
{
    size_t offset = mark_offset(self, mark);
    self->cached_line = mark.line;
    self->cached_column = mark.column;
    self->cached_offset = offset;
    return offset;
}

/* --- syntax errors ---------------------------------------------------------------------------- */

struct syntax_message {
    const char *problem; /* begins libyaml's text */
    const char *message, *hint;
};

// clang-format off
static const struct syntax_message syntax_messages[] = {
    {"mapping values are not allowed", "a second \": \" in one value",
     "Put the value in single quotes if it contains \": \"; otherwise check the indentation."},
    {"did not find expected key", "expected a key here",
     "Keys of one mapping begin in the same column, and entries of a list with \"- \"."},
    {"did not find expected '-' indicator", "expected a list entry here",
     "Entries of one list begin in the same column with \"- \"."},
    {"could not find expected ':'", "expected \": \" behind a key",
     "Write \"key: value\"; put a value that runs over several lines in quotes or behind |."},
    {"did not find expected ',' or", "a { or [ that does not end where it should",
     "Is a comma missing? A jq expression goes into single quotes: '{id, n: .x}'."},
    {"did not find expected node content", "expected a value here",
     "Put a value that begins with a special character in single quotes."},
    {"did not find expected alphabetic or numeric character", "& and * begin YAML anchors",
     "Put a value that begins with & or * in single quotes."},
    {"found character that cannot start any token", "a value cannot begin with this character",
     "Put the value in single quotes."},
    {"found unknown escape character", "unknown escape in double quotes",
     "Single quotes keep backslashes as they are."},
    {"did not find expected whitespace or line break", "expected a space or the end of the line",
     "Put the value in single quotes."},
    {"block sequence entries are not allowed", "a list cannot begin here",
     "Put the list on the following lines, each entry with \"- \"."},
    {"did not find expected <document start>", "something stands behind the end of the document",
     "Check the indentation: all keys of the file begin in the same column."},
    {"did not find expected comment or line break", "expected the end of the line behind | or >",
     "The text of a block begins on the next line."},
    {NULL, NULL, NULL},
};
// clang-format on

static bool line_has_tab_indent(const struct weir_text *text, int line)
{
    if (line < 1 || line > text->line_count) {
        return false;
    }
    struct weir_slice bytes = weir_text_line(text, line);
    size_t at = 0;
    while (at < bytes.size && bytes.data[at] == ' ') {
        at++;
    }
    return at < bytes.size && bytes.data[at] == '\t';
}

static bool report_tab(struct loader *self, int line)
{
    if (!line_has_tab_indent(self->text, line)) {
        return false;
    }
    size_t start = self->text->lines[line - 1];
    while (self->text->bytes.data[start] == ' ') {
        start++;
    }
    size_t end = start;
    while (end < self->text->bytes.size && self->text->bytes.data[end] == '\t') {
        end++;
    }
    struct weir_diag *diag =
        weir_diag_add(self->diags, self->text, start, end, "a tab in the indentation");
    weir_diag_hint(self->diags, diag, "YAML is indented with spaces.");
    return true;
}

static void report_syntax(struct loader *self)
{
    const yaml_parser_t *parser = &self->parser;
    self->failed = true;
    const char *problem = parser->problem == NULL ? "cannot be parsed" : parser->problem;
    int line = (int)parser->problem_mark.line + 1;
    if (report_tab(self, line) || report_tab(self, line - 1)) {
        return;
    }
    size_t at = weir_text_offset(self->text, line, (int)parser->problem_mark.column + 1);
    if (parser->error == YAML_SCANNER_ERROR && parser->context != NULL &&
        strstr(parser->context, "quoted scalar") != NULL &&
        strstr(problem, "end of stream") != NULL) {
        at = weir_text_offset(self->text, (int)parser->context_mark.line + 1,
                              (int)parser->context_mark.column + 1);
        (void)weir_diag_add(self->diags, self->text, at, at + 1, "a quote that is never closed");
        return;
    }
    for (const struct syntax_message *row = syntax_messages; row->problem != NULL; row++) {
        if (strncmp(problem, row->problem, strlen(row->problem)) == 0) {
            struct weir_diag *diag =
                weir_diag_add(self->diags, self->text, at, at, "%s", row->message);
            weir_diag_hint(self->diags, diag, "%s", row->hint);
            return;
        }
    }
    (void)weir_diag_add(self->diags, self->text, at, at, "not valid YAML: %s", problem);
}

static void report_limit(struct loader *self, const yaml_event_t *event, const char *what)
{
    size_t at = mark_offset(self, event->start_mark);
    (void)weir_diag_add(self->diags, self->text, at, at, "%s", what);
    self->failed = true;
}

static bool next_event(struct loader *self, yaml_event_t *ret_event)
{
    if (self->failed) {
        return false;
    }
    if (yaml_parser_parse(&self->parser, ret_event) == 0) {
        report_syntax(self);
        return false;
    }
    return true;
}

/* --- nodes ------------------------------------------------------------------------------------ */

static struct weir_node *parse_node(struct loader *self, yaml_event_t *event, int depth);

static void note_anchor(struct loader *self, const yaml_char_t *name, struct weir_node *node)
{
    if (name == NULL || node == NULL) {
        return;
    }
    if (++self->anchor_count > WEIR_CONF_ANCHORS_MAX) {
        if (!self->failed) {
            (void)weir_diag_add(self->diags, self->text, node->start, node->start,
                                "too many anchors in one file");
        }
        self->failed = true;
        return;
    }
    struct anchor *anchor = weir_conf_alloc(self->arena, 1, sizeof(*anchor));
    anchor->name = weir_conf_strdup(self->arena, (const char *)name);
    anchor->node = node;
    anchor->next = self->anchors;
    self->anchors = anchor;
}

static void check_tag(struct loader *self, const yaml_char_t *tag, struct weir_node *node)
{
    if (tag == NULL || strcmp((const char *)tag, "!") == 0) {
        return;
    }
    node->is_broken = true;
    size_t end = node->start;
    while (end < self->text->bytes.size && self->text->bytes.data[end] > ' ') {
        end++;
    }
    struct weir_diag *diag =
        weir_diag_add(self->diags, self->text, node->start, end, "YAML tags have no meaning here");
    weir_diag_hint(self->diags, diag, "Put a value that begins with ! in single quotes.");
}

static struct weir_node *
new_node(struct loader *self, const yaml_event_t *event, enum weir_node_type type)
{
    if (++self->node_count > WEIR_CONF_NODES_MAX) {
        report_limit(self, event, "too many values in one file");
        return NULL;
    }
    struct weir_node *node = weir_conf_alloc(self->arena, 1, sizeof(*node));
    node->type = type;
    node->text = self->text;
    node->line = (int)event->start_mark.line + 1;
    node->column = (int)event->start_mark.column + 1;
    node->start = mark_cache(self, event->start_mark);
    node->end = mark_offset(self, event->end_mark);
    node->weight = 1;
    return node;
}

static enum weir_scalar_style scalar_style(yaml_scalar_style_t style)
{
    return style == YAML_SINGLE_QUOTED_SCALAR_STYLE   ? WEIR_STYLE_SINGLE
           : style == YAML_DOUBLE_QUOTED_SCALAR_STYLE ? WEIR_STYLE_DOUBLE
           : style == YAML_LITERAL_SCALAR_STYLE       ? WEIR_STYLE_LITERAL
           : style == YAML_FOLDED_SCALAR_STYLE        ? WEIR_STYLE_FOLDED
                                                      : WEIR_STYLE_PLAIN;
}

static struct weir_node *parse_scalar(struct loader *self, const yaml_event_t *event)
{
    struct weir_node *node = new_node(self, event, WEIR_NODE_SCALAR);
    if (node == NULL) {
        return NULL;
    }
    const char *value = (const char *)event->data.scalar.value;
    node->style = scalar_style(event->data.scalar.style);
    node->raw = weir_conf_copy(self->arena, (struct weir_slice){value, event->data.scalar.length});
    node->value = node->raw;
    while (node->end > node->start && (unsigned char)self->text->bytes.data[node->end - 1] <= ' ') {
        node->end--;
    }
    if (memchr(value, '\0', event->data.scalar.length) != NULL) {
        (void)weir_diag_add(self->diags, self->text, node->start, node->end,
                            "a value cannot contain a NUL character");
        node->is_broken = true;
    }
    check_tag(self, event->data.scalar.tag, node);
    note_anchor(self, event->data.scalar.anchor, node);
    return node;
}

static void add_weight(struct loader *self,
                       const yaml_event_t *event,
                       struct weir_node *node,
                       const struct weir_node *child)
{
    node->weight += child->weight;
    if (node->weight > WEIR_CONF_NODES_MAX && !self->failed) {
        report_limit(self, event, "aliases that repeat too much");
    }
}

static struct weir_node *parse_list(struct loader *self, const yaml_event_t *event, int depth)
{
    struct weir_node *node = new_node(self, event, WEIR_NODE_LIST);
    if (node == NULL) {
        return NULL;
    }
    node->is_flow = event->data.sequence_start.style == YAML_FLOW_SEQUENCE_STYLE;
    check_tag(self, event->data.sequence_start.tag, node);
    size_t capacity = 0;
    yaml_event_t child_event;
    while (next_event(self, &child_event)) {
        if (child_event.type == YAML_SEQUENCE_END_EVENT) {
            node->end = mark_offset(self, child_event.end_mark);
            yaml_event_delete(&child_event);
            note_anchor(self, event->data.sequence_start.anchor, node);
            return node;
        }
        struct weir_node *child = parse_node(self, &child_event, depth + 1);
        if (child != NULL) {
            if (node->count == capacity) {
                capacity = capacity == 0 ? 8 : capacity * 2;
                struct weir_node **items =
                    weir_conf_alloc(self->arena, capacity, sizeof(struct weir_node *));
                if (node->count > 0) {
                    memcpy(items, node->items, node->count * sizeof(struct weir_node *));
                }
                node->items = items;
            }
            node->items[node->count++] = child;
            add_weight(self, &child_event, node, child);
        }
        yaml_event_delete(&child_event);
    }
    return NULL;
}

static bool is_merge_key(const struct weir_node *key)
{
    return key->style == WEIR_STYLE_PLAIN && weir_slice_equal(key->raw, WEIR_SLICE("<<"));
}

static struct weir_member *find_member(const struct weir_node *mapping, struct weir_slice key)
{
    for (size_t i = 0; i < mapping->count; i++) {
        if (weir_slice_equal(mapping->members[i].key->raw, key)) {
            return &mapping->members[i];
        }
    }
    return NULL;
}

static void append_member(struct loader *self,
                          struct weir_node *mapping,
                          size_t *capacity,
                          struct weir_member member)
{
    if (mapping->count == WEIR_CONF_KEYS_MAX) {
        if (!self->failed) {
            (void)weir_diag_add(self->diags, self->text, member.key->start, member.key->end,
                                "too many keys in one mapping");
        }
        self->failed = true;
        return;
    }
    if (mapping->count == *capacity) {
        *capacity = *capacity == 0 ? 8 : *capacity * 2;
        struct weir_member *members = weir_conf_alloc(self->arena, *capacity, sizeof(*members));
        if (mapping->count > 0) {
            memcpy(members, mapping->members, mapping->count * sizeof(*members));
        }
        mapping->members = members;
    }
    mapping->members[mapping->count++] = member;
}

static void merge_into(struct loader *self,
                       struct weir_node *mapping,
                       size_t *capacity,
                       const struct weir_node *source)
{
    if (source->type == WEIR_NODE_LIST) {
        for (size_t i = 0; i < source->count; i++) {
            if (source->items[i]->type != WEIR_NODE_MAPPING) {
                (void)weir_diag_add(self->diags, self->text, source->items[i]->start,
                                    source->items[i]->end, "<< merges mappings, this is %s",
                                    weir_node_text(source->items[i]));
                continue;
            }
            merge_into(self, mapping, capacity, source->items[i]);
        }
        return;
    }
    if (source->type != WEIR_NODE_MAPPING) {
        struct weir_diag *diag =
            weir_diag_add(self->diags, self->text, source->start, source->end,
                          "<< merges a mapping, this is %s", weir_node_text(source));
        weir_diag_hint(self->diags, diag, "Write <<: *name, with &name at a mapping.");
        return;
    }
    for (size_t i = 0; i < source->count; i++) {
        if (find_member(mapping, source->members[i].key->raw) == NULL) {
            struct weir_member member = source->members[i];
            member.is_merged = true;
            append_member(self, mapping, capacity, member);
        }
    }
}

/* One key and its value; false when libyaml stopped or the mapping ended. */
static bool
parse_member(struct loader *self, yaml_event_t *event, int depth, struct weir_member *ret_member)
{
    *ret_member = (struct weir_member){0};
    struct weir_node *key = parse_node(self, event, depth);
    yaml_event_t value_event;
    if (!next_event(self, &value_event)) {
        return false;
    }
    struct weir_node *value = parse_node(self, &value_event, depth);
    yaml_event_delete(&value_event);
    if (self->failed || key == NULL || value == NULL) {
        return !self->failed;
    }
    if (key->type != WEIR_NODE_SCALAR) {
        struct weir_diag *diag =
            weir_diag_add(self->diags, self->text, key->start, key->end,
                          "a key must be a word, this is %s", weir_node_text(key));
        weir_diag_hint(self->diags, diag, "Put a jq expression in single quotes.");
        return true;
    }
    *ret_member = (struct weir_member){.key = key, .value = value};
    return true;
}

static void
report_duplicate(struct loader *self, const struct weir_node *key, const struct weir_node *first)
{
    struct weir_diag *diag = weir_diag_add(self->diags, self->text, key->start, key->end,
                                           "\"%.*s\" is written twice", WEIR_SLICE_ARG(key->raw));
    weir_diag_hint(self->diags, diag, "The first one stands in line %d.", first->line);
}

static struct weir_node *parse_mapping(struct loader *self, const yaml_event_t *event, int depth)
{
    struct weir_node *node = new_node(self, event, WEIR_NODE_MAPPING);
    if (node == NULL) {
        return NULL;
    }
    node->is_flow = event->data.mapping_start.style == YAML_FLOW_MAPPING_STYLE;
    check_tag(self, event->data.mapping_start.tag, node);
    size_t capacity = 0;
    struct weir_node *merged = NULL;
    yaml_event_t key_event;
    while (next_event(self, &key_event)) {
        if (key_event.type == YAML_MAPPING_END_EVENT) {
            node->end = mark_offset(self, key_event.end_mark);
            yaml_event_delete(&key_event);
            if (merged != NULL) {
                merge_into(self, node, &capacity, merged);
            }
            note_anchor(self, event->data.mapping_start.anchor, node);
            return node;
        }
        struct weir_member member;
        bool go_on = parse_member(self, &key_event, depth + 1, &member);
        if (go_on && member.key != NULL) {
            add_weight(self, &key_event, node, member.value);
            const struct weir_member *first = find_member(node, member.key->raw);
            if (is_merge_key(member.key)) {
                if (merged != NULL) {
                    report_duplicate(self, member.key, member.key);
                }
                merged = member.value;
            } else if (first != NULL) {
                report_duplicate(self, member.key, first->key);
            } else {
                append_member(self, node, &capacity, member);
            }
        }
        yaml_event_delete(&key_event);
        if (!go_on) {
            break;
        }
    }
    return NULL;
}

static struct weir_node *parse_alias(struct loader *self, const yaml_event_t *event)
{
    const char *name = (const char *)event->data.alias.anchor;
    const struct anchor *anchor = self->anchors;
    while (anchor != NULL && strcmp(anchor->name, name) != 0) {
        anchor = anchor->next;
    }
    if (anchor != NULL) {
        return anchor->node;
    }
    struct weir_node *node = new_node(self, event, WEIR_NODE_SCALAR);
    if (node == NULL) {
        return NULL;
    }
    node->is_broken = true;
    node->raw = node->value = WEIR_SLICE("");
    struct weir_near near;
    weir_near_init(&near, weir_slice_of(name));
    for (anchor = self->anchors; anchor != NULL; anchor = anchor->next) {
        weir_near_offer(&near, anchor->name);
    }
    struct weir_diag *diag = weir_diag_add(self->diags, self->text, node->start, node->end,
                                           "there is no anchor &%s before this", name);
    diag->suggestion = near.best;
    if (near.best == NULL) {
        weir_diag_hint(self->diags, diag, "Put a value that begins with * in single quotes.");
    }
    return node;
}

static struct weir_node *parse_node(struct loader *self, yaml_event_t *event, int depth)
{
    if (depth > WEIR_CONF_DEPTH_MAX) {
        report_limit(self, event, "nested too deeply");
        return NULL;
    }
    if (event->type == YAML_SCALAR_EVENT) {
        return parse_scalar(self, event);
    }
    if (event->type == YAML_SEQUENCE_START_EVENT) {
        return parse_list(self, event, depth);
    }
    if (event->type == YAML_MAPPING_START_EVENT) {
        return parse_mapping(self, event, depth);
    }
    WEIR_ASSERT(event->type == YAML_ALIAS_EVENT);
    return parse_alias(self, event);
}

/* --- values ----------------------------------------------------------------------------------- */

/* Substitutes in every value once; keys stay as they are. is_done nodes were reached by another
 * alias. Recursion is as deep as the tree. */
static void substitute_below(struct loader *self, struct weir_node *node)
{
    if (node->weight == 0) {
        return;
    }
    node->weight = 0;
    if (node->type == WEIR_NODE_SCALAR && !node->is_broken) {
        weir_substitute(&self->substituter, node);
    }
    for (size_t i = 0; i < node->count; i++) {
        substitute_below(self,
                         node->type == WEIR_NODE_LIST ? node->items[i] : node->members[i].value);
    }
}

static struct weir_node *parse_document(struct loader *self)
{
    struct weir_node *root = NULL;
    yaml_event_t event;
    for (int documents = 0; next_event(self, &event);) {
        if (event.type == YAML_STREAM_END_EVENT) {
            yaml_event_delete(&event);
            if (root == NULL && !self->failed && self->diags->errors == 0) {
                (void)weir_diag_add(self->diags, self->text, 0, 0, "the file is empty");
            }
            return root;
        }
        if (event.type == YAML_DOCUMENT_START_EVENT && ++documents == 2) {
            size_t at = mark_offset(self, event.start_mark);
            struct weir_diag *diag =
                weir_diag_add(self->diags, self->text, at, at + 3, "a second document");
            weir_diag_hint(self->diags, diag, "A file holds one pipeline; use one file for each.");
            yaml_event_delete(&event);
            return root;
        }
        if (event.type == YAML_SCALAR_EVENT || event.type == YAML_SEQUENCE_START_EVENT ||
            event.type == YAML_MAPPING_START_EVENT || event.type == YAML_ALIAS_EVENT) {
            root = parse_node(self, &event, 1);
        }
        yaml_event_delete(&event);
    }
    return NULL;
}

static struct weir_node *parse_text(struct loader *self)
{
    int ok = yaml_parser_initialize(&self->parser);
    WEIR_ASSERT(ok == 1);
    yaml_parser_set_encoding(&self->parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&self->parser, (const unsigned char *)self->text->bytes.data,
                                 self->text->bytes.size);
    struct weir_node *root = parse_document(self);
    yaml_parser_delete(&self->parser);
    if (root != NULL && !self->failed) {
        substitute_below(self, root);
        return root;
    }
    return NULL;
}

struct weir_node *weir_tree_parse(struct weir_arena *arena,
                                  struct weir_text *text,
                                  weir_getenv *env,
                                  const void *env_context,
                                  struct weir_diags *diags)
{
    struct loader self = {
        .arena = arena,
        .text = text,
        .diags = diags,
        .substituter = {.arena = arena, .env = env, .env_context = env_context, .diags = diags},
    };
    return parse_text(&self);
}

struct weir_node *weir_tree_of(struct weir_arena *arena, const char *name, const char *yaml)
{
    struct weir_diags diags;
    weir_diags_init(&diags, arena);
    struct weir_err err = {0};
    struct weir_text *text = weir_text_new(arena, name, weir_slice_of(yaml), &err);
    WEIR_ASSERT(text != NULL);
    struct weir_node *root = weir_tree_parse(arena, text, NULL, NULL, &diags);
    return diags.errors == 0 ? root : NULL;
}

struct weir_node *weir_node_find(const struct weir_node *mapping, const char *key)
{
    if (mapping->type != WEIR_NODE_MAPPING) {
        return NULL;
    }
    const struct weir_member *member = find_member(mapping, weir_slice_of(key));
    return member == NULL ? NULL : member->value;
}

bool weir_node_is_null(const struct weir_node *node)
{
    return node->type == WEIR_NODE_SCALAR && node->style == WEIR_STYLE_PLAIN &&
           (node->raw.size == 0 || weir_slice_equal(node->raw, WEIR_SLICE("~")) ||
            weir_slice_equal(node->raw, WEIR_SLICE("null")));
}

const char *weir_node_text(const struct weir_node *node)
{
    switch (node->type) {
    case WEIR_NODE_LIST:
        return "a list";
    case WEIR_NODE_MAPPING:
        return "a mapping";
    case WEIR_NODE_SCALAR:
        break;
    }
    return weir_node_is_null(node) ? "nothing" : "text";
}

struct weir_place weir_node_place(const struct weir_node *node)
{
    return (struct weir_place){node->text->name, node->line, node->column};
}
