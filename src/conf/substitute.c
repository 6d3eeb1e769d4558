/* SPDX-License-Identifier: Apache-2.0
 *
 * ${VAR}, ${VAR:-default}, ${file:/path} and ${credential:NAME} (a file that systemd puts into the
 * service's own folder) in values; $${ is a literal ${. It happens after parsing and inside one
 * value, so what a variable holds can never add a key or a line to the document. A value keeps the
 * list of its substitutions, so that a place in it still leads back to the text; what came from a
 * file is marked as never to be shown.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <weir/strbuf.h>

#include "conf/limits.h"
#include "conf/memory.h"
#include "conf/tree.h"

struct state {
    struct weir_substituter *self;
    struct weir_node *node;
    struct weir_strbuf out;
    struct weir_substitution **tail;
};

static struct weir_diag *report(struct state *state, size_t start, size_t end, const char *message)
{
    struct weir_node *node = state->node;
    node->is_broken = true;
    return weir_diag_add(state->self->diags, node->text, weir_node_offset(node, start),
                         weir_node_offset(node, end - 1) + 1, "%s", message);
}

static bool is_name(struct weir_slice name)
{
    for (size_t i = 0; i < name.size; i++) {
        char c = name.data[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
        if (!letter && (i == 0 || c < '0' || c > '9')) {
            return false;
        }
    }
    return name.size > 0;
}

/* Reads a secret's file without its last line end. False and a message on failure. */
static bool read_secret(struct state *state, const char *path, const char **ret_problem)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat info;
    if (fd < 0 || fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
        *ret_problem = fd < 0 ? strerror(errno) : "not a regular file";
        if (fd >= 0) {
            (void)close(fd);
        }
        return false;
    }
    char *bytes = weir_conf_alloc(state->self->arena, WEIR_CONF_SECRET_BYTES_MAX + 1, 1);
    size_t size = 0;
    ssize_t got = 1;
    while (got > 0 && size <= WEIR_CONF_SECRET_BYTES_MAX) {
        got = read(fd, bytes + size, WEIR_CONF_SECRET_BYTES_MAX + 1 - size);
        size += got > 0 ? (size_t)got : 0;
    }
    (void)close(fd);
    *ret_problem = got < 0                             ? "cannot be read"
                   : size > WEIR_CONF_SECRET_BYTES_MAX ? "is larger than 64 KiB"
                   : memchr(bytes, '\0', size) != NULL ? "contains a NUL byte"
                                                       : NULL;
    if (*ret_problem != NULL) {
        return false;
    }
    if (size > 0 && bytes[size - 1] == '\n') {
        size--;
    }
    if (state->node->secret_file == NULL) {
        state->node->secret_file = weir_conf_strdup(state->self->arena, path);
    }
    state->node->secret_mode |= info.st_mode & 07777u;
    weir_strbuf_append(&state->out, bytes, size);
    return true;
}

static void substitute_file(struct state *state, struct weir_slice path, size_t start, size_t end)
{
    const char *copy = weir_conf_copy(state->self->arena, path).data;
    const char *problem = NULL;
    if (state->self->env == NULL) {
        return;
    }
    if (read_secret(state, copy, &problem)) {
        return;
    }
    struct weir_diag *diag = report(state, start, end, "the file cannot be used");
    weir_diag_hint(state->self->diags, diag, "%s: %s.", copy, problem);
}

static void
substitute_credential(struct state *state, struct weir_slice name, size_t start, size_t end)
{
    static const char variable[] = "CREDENTIALS_DIRECTORY";
    if (state->self->env == NULL) {
        return;
    }
    bool dots = weir_slice_equal(name, WEIR_SLICE(".")) || weir_slice_equal(name, WEIR_SLICE(".."));
    if (name.size == 0 || dots || memchr(name.data, '/', name.size) != NULL) {
        struct weir_diag *diag = report(state, start, end, "this is not a credential's name");
        weir_diag_hint(state->self->diags, diag,
                       "Write the name of LoadCredential=, without a path: ${credential:NAME}.");
        return;
    }
    const char *folder = state->self->env(state->self->env_context, variable);
    if (folder == NULL) {
        struct weir_diag *diag = report(state, start, end, "there are no credentials");
        weir_diag_hint(state->self->diags, diag,
                       "systemd sets %s for a service with LoadCredential=%.*s:/path.", variable,
                       WEIR_SLICE_ARG(name));
        return;
    }
    const char *path =
        weir_arena_printf(state->self->arena, "%s/%.*s", folder, WEIR_SLICE_ARG(name));
    substitute_file(state, weir_slice_of(path), start, end);
}

static void
substitute_variable(struct state *state, struct weir_slice inside, size_t start, size_t end)
{
    struct weir_slice name = inside;
    struct weir_slice fallback = {0};
    for (size_t i = 0; i + 1 < inside.size; i++) {
        if (inside.data[i] == ':' && inside.data[i + 1] == '-') {
            name.size = i;
            fallback = (struct weir_slice){inside.data + i + 2, inside.size - i - 2};
            break;
        }
    }
    if (!is_name(name)) {
        struct weir_diag *diag = report(state, start, end, "this is not a variable");
        weir_diag_hint(state->self->diags, diag,
                       "Write ${NAME}, ${NAME:-default} or ${file:/path}; $${ is a plain ${.");
        return;
    }
    const char *copy = weir_conf_copy(state->self->arena, name).data;
    const char *value =
        state->self->env == NULL ? NULL : state->self->env(state->self->env_context, copy);
    if (value == NULL && fallback.data == NULL) {
        struct weir_diag *diag = report(state, start, end, "");
        diag->message =
            weir_arena_printf(state->self->arena, "the environment variable %s is not set", copy);
        weir_diag_hint(state->self->diags, diag, "Set it, or give a default: ${%s:-default}.",
                       copy);
        return;
    }
    if (value != NULL && state->node->variable == NULL) {
        state->node->variable = copy;
    }
    weir_strbuf_slice(&state->out, value != NULL ? weir_slice_of(value) : fallback);
}

static bool begins(struct weir_slice text, const char *start)
{
    size_t size = strlen(start);
    return text.size >= size && memcmp(text.data, start, size) == 0;
}

/* raw[start] begins "${". Returns the offset behind the "}". */
static size_t substitute_one(struct state *state, size_t start)
{
    struct weir_slice raw = state->node->raw;
    const char *close = memchr(raw.data + start, '}', raw.size - start);
    if (close == NULL) {
        struct weir_diag *diag = report(state, start, start + 2, "a ${ without }");
        weir_diag_hint(state->self->diags, diag, "Write $${ for a plain ${.");
        return raw.size;
    }
    size_t end = (size_t)(close - raw.data) + 1;
    struct weir_slice inside = {raw.data + start + 2, end - start - 3};
    size_t out_start = state->out.size;
    if (begins(inside, "file:")) {
        struct weir_slice path = {inside.data + 5, inside.size - 5};
        substitute_file(state, path, start, end);
    } else if (begins(inside, "credential:")) {
        struct weir_slice name = {inside.data + 11, inside.size - 11};
        substitute_credential(state, name, start, end);
    } else {
        substitute_variable(state, inside, start, end);
    }
    struct weir_substitution *made = weir_conf_alloc(state->self->arena, 1, sizeof(*made));
    *made = (struct weir_substitution){out_start, state->out.size, start, end, NULL};
    *state->tail = made;
    state->tail = &made->next;
    return end;
}

static bool is_utf8(struct weir_slice bytes)
{
    struct weir_arena scratch;
    weir_arena_init(&scratch, 0);
    bool ok = weir_text_new(&scratch, "", bytes, NULL) != NULL;
    weir_arena_done(&scratch);
    return ok;
}

void weir_substitute(struct weir_substituter *self, struct weir_node *node)
{
    struct weir_slice raw = node->raw;
    if (memmem(raw.data, raw.size, "${", 2) == NULL) {
        return;
    }
    struct state state = {.self = self, .node = node, .tail = &node->substitutions};
    weir_strbuf_init(&state.out, WEIR_CONF_VALUE_BYTES_MAX);
    for (size_t at = 0; at < raw.size;) {
        struct weir_slice rest = {raw.data + at, raw.size - at};
        if (begins(rest, "$${")) {
            struct weir_substitution *made = weir_conf_alloc(self->arena, 1, sizeof(*made));
            *made =
                (struct weir_substitution){state.out.size, state.out.size + 2, at, at + 3, NULL};
            *state.tail = made;
            state.tail = &made->next;
            weir_strbuf_text(&state.out, "${");
            at += 3;
        } else if (begins(rest, "${")) {
            at = substitute_one(&state, at);
        } else {
            weir_strbuf_push(&state.out, raw.data[at++]);
        }
    }
    self->total_bytes += state.out.size;
    if (state.out.failed || self->total_bytes > WEIR_CONF_VALUES_BYTES_MAX) {
        (void)report(&state, 0, raw.size, "too large after substitution");
    } else if (!node->is_broken && !is_utf8(weir_strbuf_view(&state.out))) {
        (void)report(&state, 0, raw.size, "not valid UTF-8 after substitution");
    } else if (!node->is_broken) {
        node->value = weir_conf_copy(self->arena, weir_strbuf_view(&state.out));
    }
    weir_strbuf_done(&state.out);
}
