/* SPDX-License-Identifier: Apache-2.0
 *
 * URLs of sources and sinks. The scheme is the component's name, the query its options: so a new
 * component can be written as NAME:?option=value without a line here. What stands before the query
 * needs a row that says which options host and path are.
 *
 * An option is not looked up in the component's table: what is written is an ordinary file, and the
 * binder that reads it knows the nearest name, the bounds and the type.
 */
#include <string.h>

#include "conf/made.h"
#include "conf/memory.h"
#include "conf/near.h"
#include "conf/table.h"

enum { PARAMETERS_MAX = 100 };

/* What the parts of a URL are. */
struct shape {
    const char *scheme, *example;
    const char *host, *path;        /* options; NULL: there is no such part */
    const char *sink_path;          /* the path's of a sink, when it is another one */
    const char *instead_of_path[3]; /* options with which the path may be empty */
    const char *path_word;          /* for messages */
    bool is_rooted;                 /* the path keeps its first slash */
};

static const struct shape shapes[] = {
    {"kafka",
     "kafka://HOST:PORT/TOPIC",
     "brokers",
     "topic",
     NULL,
     {"topic", "topics", "pattern"},
     "topic",
     false},
    {"nats",
     "nats://HOST:PORT/NAME",
     "url",
     "stream",
     "subject",
     {"stream", "subject"},
     "stream or subject",
     false},
    {"redis",
     "redis://HOST:PORT/STREAM",
     "url",
     "stream",
     NULL,
     {"stream", "command"},
     "stream",
     false},
    {"file", "file:///PATH", NULL, "path", NULL, {"path", "paths"}, "path", true},
};

struct parameter {
    const char *group; /* before the first dot; NULL: no dot */
    const char *name;
    const char *value;
    bool is_written;
};

struct reader {
    struct weir_made *made;
    const char *origin;
    const struct shape *shape;
    struct parameter parameters[PARAMETERS_MAX];
    size_t count;
    bool failed;
};

static const struct shape *shape_of(const char *scheme)
{
    for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
        if (strcmp(shapes[i].scheme, scheme) == 0) {
            return &shapes[i];
        }
    }
    return NULL;
}

/* --- reading -----------------------------------------------------------------------------------*/

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* The part without %XX, in the arena. */
static const char *decode(struct reader *self, struct weir_slice part)
{
    char *text = weir_conf_alloc(self->made->diags->arena, part.size + 1, 1);
    size_t size = 0;
    for (size_t i = 0; i < part.size; i++) {
        if (part.data[i] != '%') {
            text[size++] = part.data[i];
            continue;
        }
        int high = part.size - i > 2 ? hex_digit(part.data[i + 1]) : -1;
        int low = part.size - i > 2 ? hex_digit(part.data[i + 2]) : -1;
        if (high < 0 || low < 0 || high * 16 + low == 0) {
            struct weir_diag *diag =
                weir_made_error(self->made, "%s: %% without two hexadecimal digits", self->origin);
            diag->hint = "Write %25 for a percent sign.";
            self->failed = true;
            break;
        }
        text[size++] = (char)(high * 16 + low);
        i += 2;
    }
    return text;
}

static bool is_option_name(struct weir_slice name)
{
    for (size_t i = 0; i < name.size; i++) {
        char c = name.data[i];
        bool fits = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                    c == '_' || c == '-' || c == '.';
        if (!fits) {
            return false;
        }
    }
    return name.size > 0;
}

/* One NAME=VALUE of the query. */
static void read_parameter(struct reader *self, struct weir_slice part)
{
    const char *equals = part.size > 0 ? memchr(part.data, '=', part.size) : NULL;
    struct weir_slice name = {part.data, equals == NULL ? 0 : (size_t)(equals - part.data)};
    if (!is_option_name(name) || self->count == PARAMETERS_MAX) {
        struct weir_diag *diag = weir_made_error(self->made, "%s: \"%.*s\" is not NAME=VALUE",
                                                 self->origin, WEIR_SLICE_ARG(part));
        diag->hint = "Options stand behind the ?, with & between them.";
        self->failed = true;
        return;
    }
    struct parameter *parameter = &self->parameters[self->count++];
    const char *dot = memchr(name.data, '.', name.size);
    struct weir_slice inner = name;
    if (dot != NULL && dot > name.data && dot + 1 < name.data + name.size) {
        struct weir_slice group = {name.data, (size_t)(dot - name.data)};
        parameter->group = weir_conf_copy(self->made->diags->arena, group).data;
        inner = (struct weir_slice){dot + 1, name.size - group.size - 1};
    }
    parameter->name = weir_conf_copy(self->made->diags->arena, inner).data;
    struct weir_slice value = {equals + 1, part.size - name.size - 1};
    parameter->value = decode(self, value);
}

static void read_query(struct reader *self, const char *query)
{
    while (*query != '\0' && !self->failed) {
        size_t size = strcspn(query, "&");
        if (size > 0) {
            read_parameter(self, (struct weir_slice){query, size});
        }
        query += size + (query[size] == '&');
    }
}

static bool has_parameter(const struct reader *self, const char *const *names, size_t count)
{
    for (size_t i = 0; i < self->count; i++) {
        for (size_t k = 0; k < count && names[k] != NULL; k++) {
            if (self->parameters[i].group == NULL &&
                strcmp(self->parameters[i].name, names[k]) == 0) {
                return true;
            }
        }
    }
    return false;
}

/* --- writing -----------------------------------------------------------------------------------*/

static void
write_option(struct reader *self, const char *indent, const char *name, const char *value)
{
    const char *before = weir_arena_printf(self->made->diags->arena, "%s%s: ", indent, name);
    weir_made_line_open(self->made, self->origin, before, value);
}

static void write_parameters(struct reader *self)
{
    for (size_t i = 0; i < self->count; i++) {
        struct parameter *first = &self->parameters[i];
        if (first->group == NULL) {
            write_option(self, "    ", first->name, first->value);
            continue;
        }
        if (first->is_written) {
            continue;
        }
        const char *head = weir_arena_printf(self->made->diags->arena, "    %s:", first->group);
        weir_made_line(self->made, self->origin, head, NULL);
        for (size_t k = i; k < self->count; k++) {
            struct parameter *other = &self->parameters[k];
            if (other->group != NULL && strcmp(other->group, first->group) == 0) {
                write_option(self, "      ", other->name, other->value);
                other->is_written = true;
            }
        }
    }
}

static void write_value(struct reader *self, const char *name, const char *value)
{
    const char *before = weir_arena_printf(self->made->diags->arena, "    %s: ", name);
    weir_made_line(self->made, self->origin, before, value);
}

static void misplaced(struct reader *self, const char *scheme, const char *part)
{
    struct weir_diag *diag =
        weir_made_error(self->made, "%s: %s: has no %s", self->origin, scheme, part);
    diag->hint =
        self->shape == NULL
            ? weir_arena_printf(self->made->diags->arena, "Write %s:, with options behind a ?.",
                                scheme)
            : weir_arena_printf(self->made->diags->arena, "Write %s.", self->shape->example);
    self->failed = true;
}

/* Host and path, and below them the query. `rest` is what stands behind "scheme:". */
static void
write_component(struct reader *self, const char *scheme, const char *role, const char *rest)
{
    const struct shape *shape = self->shape;
    size_t size = strcspn(rest, "?");
    read_query(self, rest[size] == '?' ? rest + size + 1 : rest + size);
    struct weir_slice path = {rest, size}, host = {NULL, 0};
    if (size >= 2 && rest[0] == '/' && rest[1] == '/') {
        size_t end = 2;
        while (end < size && rest[end] != '/') {
            end++;
        }
        host = (struct weir_slice){rest + 2, end - 2};
        path = (struct weir_slice){rest + end, size - end};
    }
    if (path.size > 0 && path.data[0] == '/' && (shape == NULL || !shape->is_rooted)) {
        path = (struct weir_slice){path.data + 1, path.size - 1};
    }
    if (host.size > 0 && memchr(host.data, '@', host.size) != NULL) {
        struct weir_diag *diag =
            weir_made_error(self->made, "%s carries more than a host and a %s", self->origin,
                            shape == NULL ? "path" : shape->path_word);
        diag->hint = "Write logins as options: ?auth.user=NAME&auth.password=${VARIABLE}.";
        self->failed = true;
    } else if (host.size > 0 && (shape == NULL || shape->host == NULL)) {
        misplaced(self, scheme, "host");
    } else if (path.size > 0 && (shape == NULL || shape->path == NULL)) {
        misplaced(self, scheme, "path");
    } else if (path.size == 0 && shape != NULL && shape->path != NULL &&
               !has_parameter(self, shape->instead_of_path, 3)) {
        struct weir_diag *diag =
            weir_made_error(self->made, "%s names no %s", self->origin, shape->path_word);
        diag->hint = weir_arena_printf(self->made->diags->arena, "Write %s.", shape->example);
        self->failed = true;
    }
    if (self->failed) {
        return;
    }
    bool is_bare = host.size == 0 && path.size == 0 && self->count == 0;
    weir_made_line(
        self->made, self->origin,
        weir_arena_printf(self->made->diags->arena, is_bare ? "%s: %s" : "%s:", role, scheme),
        NULL);
    if (is_bare) {
        return;
    }
    weir_made_line(self->made, self->origin,
                   weir_arena_printf(self->made->diags->arena, "  %s:", scheme), NULL);
    if (host.size > 0) {
        write_value(self, shape->host, decode(self, host));
    }
    if (path.size > 0) {
        bool is_sink = strcmp(role, weir_role_name(WEIR_ROLE_SINK)) == 0;
        write_value(self, is_sink && shape->sink_path != NULL ? shape->sink_path : shape->path,
                    decode(self, path));
    }
    write_parameters(self);
}

/* --- which component ---------------------------------------------------------------------------*/

static void unknown_scheme(struct weir_made *made,
                           const struct weir_registry *registry,
                           enum weir_role role,
                           const char *origin,
                           const char *scheme)
{
    const char *does = role == WEIR_ROLE_SOURCE ? "read from" : "write to";
    struct weir_diag *diag =
        weir_made_error(made, "%s is not a URL that this build can %s", origin, does);
    struct weir_strbuf names;
    struct weir_near near;
    weir_near_init(&near, weir_slice_of(scheme));
    weir_strbuf_init(&names, 4096);
    const struct weir_described *described = NULL;
    for (size_t i = 0; (described = registry->at(registry->context, role, i)) != NULL; i++) {
        const struct shape *shape = shape_of(described->name);
        weir_near_offer(&near, described->name);
        weir_strbuf_text(&names, i == 0 ? "" : ", ");
        weir_strbuf_text(&names, shape != NULL ? shape->example : described->name);
        weir_strbuf_text(&names, shape != NULL ? "" : ":");
    }
    diag->suggestion = near.best;
    diag->allowed = weir_conf_copy(made->diags->arena, weir_strbuf_view(&names)).data;
    weir_strbuf_done(&names);
}

/* The letters before the colon; "" without one. */
static const char *scheme_of(struct weir_made *made, const char *url)
{
    size_t size = strspn(url, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+-");
    struct weir_slice scheme = {url, url[size] == ':' ? size : 0};
    return weir_conf_copy(made->diags->arena, scheme).data;
}

const struct weir_described *weir_made_url(struct weir_made *made,
                                           const struct weir_registry *registry,
                                           enum weir_role role,
                                           const char *origin,
                                           const char *url)
{
    const char *scheme = scheme_of(made, url);
    const struct weir_described *described = weir_registry_find(registry, role, scheme);
    if (described == NULL) {
        unknown_scheme(made, registry, role, origin, scheme);
        return NULL;
    }
    struct reader reader = {.made = made, .origin = origin, .shape = shape_of(scheme)};
    write_component(&reader, scheme, weir_role_name(role), url + strlen(scheme) + 1);
    return reader.failed ? NULL : described;
}

/* A URL, also one with a mistake in it; not the path of a file with a colon in its name. */
static bool
looks_like_url(struct weir_made *made, const struct weir_registry *registry, const char *text)
{
    const char *scheme = scheme_of(made, text);
    const char *rest = text + strlen(scheme) + 1;
    if (scheme[0] == '\0') {
        return false;
    }
    struct weir_near near;
    weir_near_init(&near, weir_slice_of(scheme));
    const struct weir_described *described = NULL;
    for (enum weir_role role = WEIR_ROLE_SOURCE; role < WEIR_ROLE_COUNT; role++) {
        for (size_t i = 0; role != WEIR_ROLE_STEP &&
                           (described = registry->at(registry->context, role, i)) != NULL;
             i++) {
            weir_near_offer(&near, described->name);
        }
    }
    return (rest[0] == '/' && rest[1] == '/') || near.distance == 0 ||
           (near.best != NULL && (rest[0] == '\0' || rest[0] == '?'));
}

const struct weir_described *weir_made_place(struct weir_made *made,
                                             const struct weir_registry *registry,
                                             enum weir_role role,
                                             const char *origin,
                                             const char *text)
{
    if (strcmp(text, "-") == 0) {
        return weir_made_url(made, registry, role, origin,
                             role == WEIR_ROLE_SOURCE ? "stdin:" : "stdout:");
    }
    if (looks_like_url(made, registry, text)) {
        return weir_made_url(made, registry, role, origin, text);
    }
    weir_made_line(made, origin, weir_arena_printf(made->diags->arena, "%s:", weir_role_name(role)),
                   NULL);
    weir_made_line(made, origin, "  file:", NULL);
    weir_made_line(made, origin, "    path: ", text);
    return weir_registry_find(registry, role, "file");
}
