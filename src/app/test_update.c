/* SPDX-License-Identifier: Apache-2.0
 *
 * The text is edited, not printed anew: only the value of `expect` of a case that failed changes,
 * and in it only the sinks that got something else. Where a value ends cannot be read from the YAML
 * parser, whose blocks reach to the next token, comments included; it is where its last scalar or
 * bracket ends.
 */
#include "app/test_update.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/test_compare.h"

enum { INDENT = 2, EXPECT_BYTES_MAX = 64 << 20 };

static size_t node_end(const struct weir_node *node)
{
    size_t end = node->end;
    if (node->type != WEIR_NODE_SCALAR && !node->is_flow && node->count > 0) {
        end = node_end(node->type == WEIR_NODE_LIST ? node->items[node->count - 1]
                                                    : node->members[node->count - 1].value);
    } else {
        const char *bytes = node->text->bytes.data;
        while (end > node->start && strchr(" \n\r", bytes[end - 1]) != NULL) {
            end--;
        }
    }
    return end;
}

static void put_indent(struct weir_strbuf *out, size_t count)
{
    weir_strbuf_printf(out, "%*s", (int)count, "");
}

/* ${ begins a variable in a test file. */
static void put_escaped(struct weir_slice text, struct weir_strbuf *out)
{
    for (size_t i = 0; i < text.size; i++) {
        bool is_variable = text.data[i] == '$' && i + 1 < text.size && text.data[i + 1] == '{';
        weir_strbuf_text(out, is_variable ? "$" : "");
        weir_strbuf_push(out, text.data[i]);
    }
}

/* "\n    NAME:\n      - {…}" */
static void put_sink(const struct weir_test_file *file,
                     const struct weir_test_expect *expect,
                     const struct weir_test_result *result,
                     unsigned sink,
                     size_t indent,
                     struct weir_strbuf *out)
{
    struct weir_strbuf line;
    weir_strbuf_init(&line, EXPECT_BYTES_MAX);
    size_t count = 0;
    put_indent(out, indent);
    weir_strbuf_printf(out, "%s:", expect == NULL ? weir_test_sink_name(file, sink) : expect->sink);
    for (size_t i = 0; i < result->outputs.count; i++) {
        if (result->outputs.items[i].sink == sink) {
            weir_strbuf_clear(&line);
            weir_test_put_output(&result->outputs.items[i], weir_test_shows(expect), &line);
            weir_strbuf_push(out, '\n');
            put_indent(out, indent + INDENT);
            weir_strbuf_text(out, "- ");
            put_escaped(weir_strbuf_view(&line), out);
            count++;
        }
    }
    weir_strbuf_text(out, count == 0 ? " []" : "");
    weir_strbuf_done(&line);
}

static const struct weir_member *find_member(const struct weir_node *mapping, const char *name)
{
    for (size_t i = 0; i < mapping->count; i++) {
        if (weir_slice_equal(mapping->members[i].key->value, weir_slice_of(name))) {
            return &mapping->members[i];
        }
    }
    return NULL;
}

/* The key and value of a sink in `expect`, as the user wrote them; see test_file.c. */
static const struct weir_node *
find_entry(const struct weir_node *list, const struct weir_test_expect *expect)
{
    for (size_t i = 0; list != NULL && i < list->count && expect != NULL; i++) {
        if (weir_slice_equal(list->items[i]->members[0].value->value,
                             weir_slice_of(expect->sink))) {
            return list->items[i];
        }
    }
    return NULL;
}

static void put_expect(const struct weir_test_file *file,
                       const struct weir_test_case *one,
                       const struct weir_test_result *result,
                       const struct weir_node *list,
                       size_t indent,
                       struct weir_strbuf *out)
{
    bool is_block = list != NULL && !list->is_flow;
    for (unsigned i = 0; i < file->plan.sink_count; i++) {
        const struct weir_test_expect *expect = weir_test_expected(file, one, i);
        bool matches = weir_test_sink_matches(file, one, result, i);
        const struct weir_node *entry = is_block ? find_entry(list, expect) : NULL;
        if (expect == NULL && matches) {
            continue;
        }
        weir_strbuf_push(out, '\n');
        if (matches && entry != NULL) {
            size_t start = entry->members[0].value->start, end = node_end(entry->members[1].value);
            put_indent(out, indent);
            weir_strbuf_append(out, file->text->bytes.data + start, end - start);
        } else {
            put_sink(file, expect, result, i, indent, out);
        }
    }
}

bool weir_test_update_case(const struct weir_test_file *file,
                           size_t index,
                           const struct weir_test_result *result,
                           struct weir_test_edit *ret_edit)
{
    const struct weir_node *node = weir_node_find(file->root, "cases")->items[index];
    const struct weir_test_case *one = WEIR_ITEMS_AT(struct weir_test_case, &file->cases, index);
    const struct weir_member *member = find_member(node, "expect");
    *ret_edit = (struct weir_test_edit){0};
    weir_strbuf_init(&ret_edit->text, EXPECT_BYTES_MAX);
    if (node->is_flow || (member != NULL && member->is_merged) ||
        (member != NULL && file->text->bytes.data[member->value->start] == '*')) {
        return false;
    }
    size_t column = (size_t)node->column - 1;
    const struct weir_node *list =
        member != NULL && member->value->type == WEIR_NODE_LIST ? member->value : NULL;
    if (member == NULL) {
        ret_edit->start = ret_edit->end = node_end(node);
        weir_strbuf_push(&ret_edit->text, '\n');
        put_indent(&ret_edit->text, column);
        weir_strbuf_text(&ret_edit->text, "expect:");
    } else {
        ret_edit->start = member->key->end;
        while (file->text->bytes.data[ret_edit->start] != ':') {
            ret_edit->start++;
        }
        ret_edit->start++;
        ret_edit->end = ret_edit->start;
        if (list != NULL && list->count > 0 && !list->is_flow) {
            ret_edit->end = node_end(list->items[list->count - 1]->members[1].value);
        } else if (list != NULL) {
            ret_edit->end = node_end(list);
        }
    }
    size_t indent = column + INDENT;
    if (list != NULL && !list->is_flow && list->count > 0) {
        indent = (size_t)list->items[0]->members[0].value->column - 1;
    }
    size_t size = ret_edit->text.size;
    put_expect(file, one, result, list, indent, &ret_edit->text);
    if (ret_edit->text.size == size) {
        weir_strbuf_text(&ret_edit->text, " {}");
    }
    return !ret_edit->text.failed;
}

weir_status weir_test_update_write(const struct weir_test_file *file,
                                   const struct weir_test_edit *edits,
                                   size_t count,
                                   struct weir_err *err)
{
    char path[4096];
    if (snprintf(path, sizeof(path), "%s.new", file->path) >= (int)sizeof(path)) {
        return weir_fail(err, WEIR_IO, "%s: the name is too long", file->path);
    }
    FILE *out = fopen(path, "we");
    if (out == NULL) {
        return weir_fail(err, WEIR_IO, "%s: %s", path, strerror(errno));
    }
    struct weir_slice text = file->text->bytes;
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        fwrite(text.data + at, 1, edits[i].start - at, out);
        fwrite(edits[i].text.data, 1, edits[i].text.size, out);
        at = edits[i].end;
    }
    fwrite(text.data + at, 1, text.size - at, out);
    bool ok = !ferror(out);
    struct stat info;
    ok = stat(file->path, &info) == 0 && fchmod(fileno(out), info.st_mode & 07777) == 0 && ok;
    ok = fclose(out) == 0 && ok;
    if (!ok || rename(path, file->path) != 0) {
        int code = errno;
        (void)unlink(path);
        return weir_fail(err, WEIR_IO, "%s: %s", file->path, strerror(code));
    }
    return WEIR_OK;
}
