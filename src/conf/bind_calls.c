/* SPDX-License-Identifier: Apache-2.0
 *
 * A mapping of names to calls: `p95: quantile(.ms; 0.95)`. The arguments are jq expressions,
 * separated by `;` outside of brackets and strings, as in jq itself.
 */
#include "conf/bind_priv.h"

#include "conf/memory.h"
#include "conf/near.h"

enum { DEPTH_MAX = 64 };

struct parts {
    struct weir_slice name, args[WEIR_CALL_ARGS_MAX + 1];
    size_t count;
};

static struct weir_slice trim(struct weir_slice text)
{
    const char *space = " \t\r\n";
    while (text.size > 0 && strchr(space, text.data[0]) != NULL) {
        text.data++;
        text.size--;
    }
    while (text.size > 0 && strchr(space, text.data[text.size - 1]) != NULL) {
        text.size--;
    }
    return text;
}

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
}

/* Where the argument that begins at `at` ends: at a `;` or the closing bracket of the call. Inside
 * of a string only `\(` counts, which opens an expression. 0: neither comes. */
static size_t argument_end(struct weir_slice text, size_t at)
{
    char open[DEPTH_MAX];
    size_t depth = 0;
    for (; at < text.size; at++) {
        char c = text.data[at];
        bool in_string = depth > 0 && open[depth - 1] == '"';
        if (in_string && c == '\\' && at + 1 < text.size) {
            at++;
            if (text.data[at] == '(' && depth < DEPTH_MAX) {
                open[depth++] = '(';
            }
        } else if (in_string) {
            depth -= c == '"';
        } else if (c == '"' || c == '(' || c == '[' || c == '{') {
            if (depth == DEPTH_MAX) {
                return 0;
            }
            open[depth++] = c;
        } else if (depth == 0 && (c == ';' || c == ')')) {
            return at;
        } else if (c == ')' || c == ']' || c == '}') {
            depth -= depth > 0;
        }
    }
    return 0;
}

/* False: it is not a call. */
static bool split_call(struct weir_slice text, struct parts *parts)
{
    size_t at = 0;
    while (at < text.size && is_word(text.data[at])) {
        at++;
    }
    parts->name = (struct weir_slice){text.data, at};
    parts->count = 0;
    struct weir_slice rest = trim((struct weir_slice){text.data + at, text.size - at});
    if (rest.size == 0) {
        return at > 0;
    }
    if (at == 0 || rest.data[0] != '(') {
        return false;
    }
    at = (size_t)(rest.data - text.data) + 1;
    for (;;) {
        size_t end = argument_end(text, at);
        if (end == 0) {
            return false;
        }
        if (parts->count <= WEIR_CALL_ARGS_MAX) {
            parts->args[parts->count++] = trim((struct weir_slice){text.data + at, end - at});
        }
        at = end + 1;
        if (text.data[end] == ')') {
            return trim((struct weir_slice){text.data + at, text.size - at}).size == 0;
        }
    }
}

static const char *list_callables(struct weir_binder *binder, const struct weir_field *field)
{
    const char *list = "";
    for (const struct weir_callable *item = field->callables; item->name != NULL; item++) {
        list = weir_arena_printf(binder->arena, "%s%s%s", list, list[0] == '\0' ? "" : ", ",
                                 item->signature);
    }
    return list;
}

static void bind_call(struct weir_binder *binder,
                      const struct weir_field *field,
                      struct weir_bind_at at,
                      struct weir_call *call)
{
    struct parts parts;
    struct weir_diag *diag;
    call->text = at.node->value.data;
    call->function = -1;
    struct weir_slice text = trim(at.node->value);
    if (!split_call(text, &parts)) {
        diag = weir_bind_error(binder, at.node, at.path, "\"%s\" must be one call, not \"%.*s\"",
                               call->name, (int)text.size, text.data);
        diag->allowed = list_callables(binder, field);
        diag->hint = "Derive more from it in a `map` behind this step.";
        return;
    }
    const struct weir_callable *found = NULL;
    struct weir_near near;
    weir_near_init(&near, parts.name);
    for (const struct weir_callable *item = field->callables; item->name != NULL; item++) {
        weir_near_offer(&near, item->name);
        if (weir_slice_equal(parts.name, weir_slice_of(item->name))) {
            found = item;
            call->function = (int)(item - field->callables);
        }
    }
    if (found == NULL) {
        diag = weir_bind_error(binder, at.node, at.path, "there is no aggregate \"%.*s\"",
                               (int)parts.name.size, parts.name.data);
        diag->suggestion = near.best;
        diag->allowed = list_callables(binder, field);
        return;
    }
    if ((int)parts.count < found->min_args || (int)parts.count > found->max_args) {
        diag = weir_bind_error(binder, at.node, at.path, "\"%s\" has %zu argument%s here",
                               found->name, parts.count, parts.count == 1 ? "" : "s");
        weir_diag_hint(binder->diags, diag, "Write %s.", found->signature);
        return;
    }
    for (size_t i = 0; i < parts.count; i++) {
        weir_bind_program(binder, field, at, parts.args[i], &call->args[i]);
    }
    call->arg_count = parts.count;
}

void weir_bind_calls(struct weir_binder *binder,
                     const struct weir_field *field,
                     struct weir_bind_at at,
                     struct weir_calls *member)
{
    struct weir_node *node = at.node;
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
            (void)weir_bind_error(binder, place, &path, "\"%s\" must be a call, not %s",
                                  key->raw.data, weir_node_text(value));
            continue;
        }
        struct weir_call *call = &member->items[member->count++];
        call->name = key->raw.data;
        bind_call(binder, field, (struct weir_bind_at){key, value, &path}, call);
    }
    if (node->count == 0) {
        (void)weir_bind_error(binder, node, at.path, "\"%s\" is empty", field->name);
    }
}
