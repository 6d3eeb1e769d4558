/* SPDX-License-Identifier: Apache-2.0
 *
 * Records to values, in one pass without recursion. Open containers are linked through their own
 * nodes: the second one holds the place of the parent, the first one's span the filter over the
 * keys seen so far, until both are closed. Nodes are reserved for the densest ordinary text at the
 * top of the arena, and what was not needed is given back.
 *
 * On the way it is noted what printing would otherwise have to find out: `dirty` is the last byte
 * so far that jq would not print as it stands, so a container that begins behind it prints by one
 * copy.
 *
 * Only well-formed JSON is read here. Whatever else comes goes to the lenient reader, which either
 * accepts it (nan, broken UTF-8, a lone surrogate) or gives jq's message with line and column; so
 * does an object of many members that has a key twice, which is rebuilt, so that no walk is ever
 * quadratic.
 */
#include <weir/json.h>

#include <stdlib.h>

#include "base/alloc.h"
#include "base/hash.h"
#include "data/freeze.h"
#include "data/heap.h"
#include "data/node.h"
#include "data/reader.h"
#include "data/scan.h"

#define DEPTH_DEFAULT 10000
#define READER_HEAP_BYTES ((size_t)1 << 32)
#define NONE UINT32_MAX

enum outcome { ODD, DONE, DEEP, FULL };

/* The document ends with a closing bracket, so only strings and words look for its end. The parser
 * lies in the loop's registers: what is inlined changes it there, what is rare takes and gives a
 * copy. */
struct parser {
    struct weir_arena *arena;
    const char *end;
    struct weir_json_node *nodes, *next, *limit; /* limit: no room for a container from there on */
    struct weir_json_node *open;                 /* the innermost container; NULL: none */
    uint32_t count;                              /* of its members, */
    uint64_t seen;                               /* a bit per hash of a key */
    uint32_t depth, depth_max;
    const char *dirty; /* NULL: all is clean so far */
    enum outcome outcome;
};

#define INLINE static inline __attribute__((always_inline))
#define RARELY static __attribute__((noinline, cold))
#define LIKELY(condition) __builtin_expect(condition, 1)

/* ── nodes ── */

RARELY struct parser grow(struct parser self)
{
    size_t used = (size_t)(self.next - self.nodes), room = (size_t)(self.limit - self.nodes) + 1;
    size_t open = self.open == NULL ? 0 : (size_t)(self.open - self.nodes);
    struct weir_json_node *nodes =
        weir_arena_regrow(self.arena, self.nodes, room * sizeof *nodes, 2 * room * sizeof *nodes);
    if (nodes == NULL || 2 * room >= UINT32_MAX) {
        self.outcome = FULL;
        return self;
    }
    self.nodes = nodes;
    self.next = nodes + used;
    self.limit = nodes + 2 * room - 1;
    self.open = self.open == NULL ? NULL : nodes + open;
    return self;
}

INLINE struct weir_json_node *next_node(struct parser *self)
{
    if (!LIKELY(self->next < self->limit)) {
        *self = grow(*self);
        if (self->outcome == FULL) {
            return NULL;
        }
    }
    return self->next++;
}

/* ── scalars ── */

static int hex_digit(char c)
{
    int low = c | 0x20;
    return c >= '0' && c <= '9' ? c - '0' : low >= 'a' && low <= 'f' ? low - 'a' + 10 : -1;
}

static int32_t hex4(const char *at, const char *end)
{
    int32_t code = 0;
    for (int i = 0; i < 4; i++) {
        int digit = at + i < end ? hex_digit(at[i]) : -1;
        if (digit < 0) {
            return -1;
        }
        code = code * 16 + digit;
    }
    return code;
}

/* Behind "\u"; surrogates must come in pairs. */
static const char *unescape_unicode(const char *at, const char *end, char **out)
{
    int32_t code = hex4(at, end);
    at += 4;
    if (code >= 0xd800 && code <= 0xdbff) {
        int32_t low = end - at >= 6 && at[0] == '\\' && at[1] == 'u' ? hex4(at + 2, end) : -1;
        if (low < 0xdc00 || low > 0xdfff) {
            return NULL;
        }
        at += 6;
        code = 0x10000 + ((code - 0xd800) << 10 | (low - 0xdc00));
    } else if (code < 0 || (code >= 0xdc00 && code <= 0xdfff)) {
        return NULL;
    }
    *out += weir_utf8_put((uint32_t)code, *out);
    return at;
}

/* The content of a string with escapes, [at, end) between its quotes, into the arena. */
static bool
unescape(struct parser *self, const char *at, const char *end, struct weir_json_node *node)
{
    static const char names[] = "\\\"/bfnrt", meanings[] = "\\\"/\b\f\n\r\t";
    char *text = weir_arena_alloc(self->arena, (size_t)(end - at)), *out = text;
    if (text == NULL) {
        self->outcome = FULL;
        return false;
    }
    while (at < end) {
        const char *escape = memchr(at, '\\', (size_t)(end - at));
        size_t run = (size_t)((escape == NULL ? end : escape) - at);
        memcpy(out, at, run);
        out += run;
        at += run;
        if (escape == NULL) {
            break;
        }
        char c = at[1]; /* there is one: the quote is not escaped */
        at += 2;
        const char *name = c == '\0' ? NULL : strchr(names, c);
        if (name != NULL) {
            *out++ = meanings[name - names];
        } else if (c != 'u' || (at = unescape_unicode(at, end, &out)) == NULL) {
            return false;
        }
    }
    node->size = (uint32_t)(out - text);
    node->as.bytes = text;
    node->flags = 0;
    return true;
}

/* A string with something in it that is not plain, from `at` on. */
RARELY const char *
read_string_slowly(struct parser *self, const char *at, struct weir_json_node *node)
{
    const char *start = node->as.bytes, *end = self->end;
    bool escapes = false;
    for (;;) {
        while (at < end && (unsigned char)*at >= 0x80) {
            if (weir_utf8_next(&at, end) < 0) {
                return NULL;
            }
        }
        at = weir_scan_plain(at, end);
        if (at == end || (unsigned char)*at < 0x20) {
            return NULL;
        }
        if (*at == '"') {
            break;
        }
        if (*at == '\\') {
            escapes = true;
            at++;
            if (at == end) {
                return NULL;
            }
        }
        if ((unsigned char)*at < 0x80) {
            self->dirty = at; /* what was escaped, or DEL */
            at++;
        }
    }
    node->size = (uint32_t)(at - start);
    node->flags = (uintptr_t)self->dirty < (uintptr_t)start ? WEIR_VALUE_PLAIN : 0;
    return !escapes || unescape(self, start, at, node) ? at + 1 : NULL;
}

/* Behind the opening quote. */
INLINE const char *read_string(struct parser *self, const char *at, struct weir_json_node *node)
{
    const char *stop = weir_scan_plain(at, self->end);
    *node = (struct weir_json_node){.kind = WEIR_KIND_STRING,
                                    .flags = WEIR_VALUE_PLAIN,
                                    .size = (uint32_t)(stop - at),
                                    .as.bytes = at};
    if (LIKELY(stop < self->end && *stop == '"')) {
        return stop + 1;
    }
    struct parser copy = *self;
    at = read_string_slowly(&copy, stop, node);
    *self = copy;
    return at;
}

INLINE const char *skip_digits(const char *at)
{
    while ((unsigned char)(*at - '0') < 10) {
        at++;
    }
    return at;
}

INLINE const char *read_number(struct parser *self, const char *start, struct weir_json_node *node)
{
    const char *first = start + (*start == '-'), *at = skip_digits(first);
    bool plain = true;
    if (at == first || (*first == '0' && at > first + 1)) {
        return NULL;
    }
    if (*at == '.') {
        const char *fraction = at + 1;
        at = skip_digits(fraction);
        if (at == fraction) {
            return NULL;
        }
        plain = *first != '0' || at - fraction <= 6; /* else jq may print an exponent */
    }
    if ((*at | 0x20) == 'e') {
        const char *digits = at + 1;
        digits += *digits == '+' || *digits == '-';
        at = skip_digits(digits);
        if (at == digits) {
            return NULL;
        }
        plain = false;
    }
    if (!plain) {
        self->dirty = start;
    }
    *node = (struct weir_json_node){.kind = WEIR_KIND_NUMBER,
                                    .form = WEIR_FORM_TEXT,
                                    .flags = plain ? WEIR_VALUE_PLAIN : 0,
                                    .size = (uint32_t)(at - start),
                                    .as.bytes = start};
    return at;
}

INLINE const char *read_word(const struct parser *self, const char *at, struct weir_json_node *node)
{
    const char *word = *at == 't' ? "true" : *at == 'f' ? "false" : "null";
    size_t size = *at == 'f' ? 5 : 4;
    node->kind = *at == 't' ? WEIR_KIND_TRUE : *at == 'f' ? WEIR_KIND_FALSE : WEIR_KIND_NULL;
    return (size_t)(self->end - at) > size && memcmp(at, word, size) == 0 ? at + size : NULL;
}

/* Each of these returns the place behind what it read, or NULL for what is odd. */
INLINE const char *read_scalar(struct parser *self, const char *at)
{
    struct weir_json_node *node = next_node(self);
    if (node == NULL) {
        return NULL;
    }
    if (*at == '"') {
        return read_string(self, at + 1, node);
    }
    *node = (struct weir_json_node){0};
    return *at == 't' || *at == 'f' || *at == 'n' ? read_word(self, at, node)
                                                  : read_number(self, at, node);
}

/* ── containers ── */

INLINE const char *skip_blanks(struct parser *self, const char *at)
{
    while (!LIKELY((unsigned char)*at > ' ') &&
           (*at == ' ' || *at == '\n' || *at == '\t' || *at == '\r')) {
        self->dirty = at++;
    }
    return at;
}

INLINE uint64_t key_bit(const struct weir_json_node *key)
{
    const unsigned char *bytes = (const unsigned char *)key->as.bytes;
    unsigned size = key->size, hash = size;
    if (size > 0) {
        hash += bytes[0] * 5u + bytes[size - 1] * 11u + bytes[size / 2] * 23u;
    }
    return UINT64_C(1) << (hash & 63);
}

/* True if the key stands among those before it. Large objects are looked over when they close. */
RARELY bool is_doubled(const struct weir_json_node *object, const struct weir_json_node *key)
{
    const struct weir_json_node *other = weir_node_first(object);
    while (other != key && !weir_node_keys_equal(other, key)) {
        other = weir_node_next(other + 1);
    }
    return other != key;
}

/* The key, the colon and the blanks around it. */
INLINE const char *read_key(struct parser *self, const char *at)
{
    struct weir_json_node *key = next_node(self);
    if (key == NULL || *at != '"' || (at = read_string(self, at + 1, key)) == NULL) {
        return NULL;
    }
    uint64_t bit = key_bit(key);
    if ((self->seen & bit) != 0 && self->count <= WEIR_NODE_DOUBLED_MAX &&
        is_doubled(self->open, key)) {
        self->open->flags = WEIR_VALUE_DOUBLED;
        self->dirty = at;
    }
    self->seen |= bit;
    at = skip_blanks(self, at);
    return *at == ':' ? skip_blanks(self, at + 1) : NULL;
}

/* An opening bracket or brace; returns the place of its first value. What is known of the container
 * around it waits in that one's node, and the way back to it in the second node of this. */
INLINE const char *open_container(struct parser *self, const char *at)
{
    struct weir_json_node *node = next_node(self);
    if (node == NULL || self->depth == self->depth_max) {
        self->outcome = node == NULL ? FULL : DEEP;
        return NULL;
    }
    self->depth++;
    if (self->open != NULL) {
        self->open->size = self->count;
        self->open->as.span = self->seen;
    }
    node[0] = (struct weir_json_node){.kind = *at == '{' ? WEIR_KIND_OBJECT : WEIR_KIND_ARRAY,
                                      .form = WEIR_FORM_NODE};
    node[1] = (struct weir_json_node){
        .size = self->open == NULL ? NONE : (uint32_t)(self->open - self->nodes), .as.bytes = at};
    self->open = node;
    self->next++;
    self->count = 0;
    self->seen = 0;
    return skip_blanks(self, at + 1);
}

static bool has_doubled_key(const struct weir_json_node *object)
{
    size_t slots = 256;
    while (slots < (size_t)object->size * 2) {
        slots *= 2;
    }
    const struct weir_json_node **table = weir_calloc(slots, sizeof *table);
    const struct weir_json_node *key = weir_node_first(object);
    bool doubled = false;
    for (size_t i = 0; i < object->size && !doubled; i++) {
        size_t at = weir_hash_key(key->as.bytes, key->size) & (slots - 1);
        for (; table[at] != NULL && !doubled; at = (at + 1) & (slots - 1)) {
            doubled = weir_node_keys_equal(table[at], key);
        }
        table[at] = key;
        key = weir_node_next(key + 1);
    }
    weir_free(table);
    return doubled;
}

INLINE char closing(const struct weir_json_node *container)
{
    return container->kind == WEIR_KIND_OBJECT ? '}' : ']';
}

/* At the closing bracket or brace; false: the object must be rebuilt. */
INLINE bool close_container(struct parser *self, const char *at)
{
    struct weir_json_node *node = self->open;
    uint32_t parent = node[1].size, count = self->count;
    bool plain = (uintptr_t)self->dirty < (uintptr_t)node[1].as.bytes;
    node[1].size = plain ? (uint32_t)(at + 1 - node[1].as.bytes) : 0;
    node->size = count;
    node->as.span = (uint64_t)(self->next - node);
    self->depth--;
    self->open = NULL;
    if (LIKELY(parent != NONE)) {
        self->open = self->nodes + parent;
        self->count = self->open->size;
        self->seen = self->open->as.span;
    }
    return LIKELY(count <= WEIR_NODE_DOUBLED_MAX) || node->kind == WEIR_KIND_ARRAY ||
           !has_doubled_key(node);
}

/* Behind a value: closes what ends here, up to where the next key or value begins. NULL: the
 * document is read, or odd. */
INLINE const char *go_on(struct parser *self, const char *at)
{
    for (;;) {
        self->count++;
        at = skip_blanks(self, at);
        if (LIKELY(*at == ',')) {
            return skip_blanks(self, at + 1);
        }
        if (*at != closing(self->open) || !close_container(self, at)) {
            return NULL;
        }
        at++;
        if (at == self->end) {
            self->outcome = self->open == NULL ? DONE : ODD;
            return NULL;
        }
        if (self->open == NULL) {
            return NULL;
        }
    }
}

/* A document that begins and ends with a bracket. */
static struct parser read_container(struct parser self, const char *at)
{
    while (at != NULL) {
        if (self.open != NULL && self.open->kind == WEIR_KIND_OBJECT) {
            at = read_key(&self, at);
            if (at == NULL) {
                break;
            }
        }
        if (*at != '{' && *at != '[') {
            at = read_scalar(&self, at);
        } else {
            at = open_container(&self, at);
            if (at == NULL || *at != closing(self.open)) {
                continue;
            }
            (void)close_container(&self, at);
            at++;
            if (at == self.end || self.open == NULL) {
                self.outcome = at == self.end && self.open == NULL ? DONE : ODD;
                break;
            }
        }
        at = at == NULL ? NULL : go_on(&self, at);
    }
    return self;
}

/* A text that is one scalar. In the arena, with something behind it. */
static void read_root_scalar(struct parser *self, struct weir_slice text)
{
    char *copy = weir_arena_alloc(self->arena, text.size + 1);
    if (copy == NULL) {
        self->outcome = FULL;
        return;
    }
    memcpy(copy, text.data, text.size);
    copy[text.size] = ']';
    self->end = copy + text.size + 1;
    self->outcome = read_scalar(self, copy) == copy + text.size ? DONE : self->outcome;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

static struct parser read_document(struct parser self, struct weir_slice text)
{
    const char *at = text.data, *end = text.data + text.size;
    while (at < end && is_blank(*at)) {
        at++;
    }
    while (at < end && is_blank(end[-1])) {
        end--;
    }
    if (at == end) {
        return self;
    }
    if (*at != '{' && *at != '[') {
        read_root_scalar(&self, (struct weir_slice){at, (size_t)(end - at)});
        return self;
    }
    self.end = end;
    return end[-1] == '}' || end[-1] == ']' ? read_container(self, at) : self;
}

/* ── the whole ── */

static weir_status parse_leniently(struct weir_arena *arena,
                                   struct weir_slice bytes,
                                   uint32_t depth,
                                   struct weir_value *ret_value,
                                   struct weir_err *err)
{
    struct weir_heap heap;
    struct weir_strbuf message;
    weir_heap_init(&heap, READER_HEAP_BYTES);
    weir_strbuf_init(&message, 1 << 16);
    weir_status status = WEIR_OK;
    struct weir_value value = weir_reader_parse(&heap, bytes, depth, &message);
    if (weir_value_is_absent(value)) {
        bool deep = strstr(message.data, "depth limit") != NULL;
        status = weir_fail(err, deep ? WEIR_LIMIT : WEIR_INVALID, "not JSON: %s", message.data);
    } else if (!weir_value_freeze(arena, value, ret_value)) {
        status =
            weir_fail(err, WEIR_TOO_LARGE, "parsed JSON of %zu bytes does not fit", bytes.size);
    }
    weir_strbuf_done(&message);
    weir_heap_done(&heap);
    return status;
}

weir_status weir_json_parse_in_place(struct weir_arena *arena,
                                     struct weir_slice bytes,
                                     const struct weir_json_limits *limits,
                                     struct weir_value *ret_value,
                                     struct weir_err *err)
{
    uint32_t depth = limits == NULL || limits->depth == 0 ? DEPTH_DEFAULT : limits->depth;
    if (bytes.size >= UINT32_MAX) {
        return weir_fail(err, WEIR_TOO_LARGE, "JSON text of %zu bytes is too large", bytes.size);
    }
    size_t room = bytes.size / 4 + 8;
    struct weir_json_node *nodes = weir_arena_alloc(arena, room * sizeof *nodes);
    struct parser self = {.arena = arena,
                          .nodes = nodes,
                          .next = nodes,
                          .limit = nodes + room - 1,
                          .depth_max = depth,
                          .outcome = nodes == NULL ? FULL : ODD};
    if (nodes != NULL && bytes.size > 0) {
        self = read_document(self, bytes);
    }
    size_t reserved = (size_t)(self.limit - self.nodes + 1) * sizeof *nodes;
    switch (self.outcome) {
    case DONE:
        weir_arena_shrink(arena, self.nodes, reserved,
                          (size_t)(self.next - self.nodes) * sizeof *nodes);
        *ret_value = weir_node_value(self.nodes);
        return WEIR_OK;
    case DEEP:
        return weir_fail(err, WEIR_LIMIT, "not JSON: deeper than %u containers", (unsigned)depth);
    case FULL:
        return weir_fail(err, WEIR_TOO_LARGE, "parsed JSON of %zu bytes does not fit", bytes.size);
    case ODD:
    default:
        weir_arena_shrink(arena, self.nodes, reserved, 0);
        return parse_leniently(arena, bytes, depth, ret_value, err);
    }
}

weir_status weir_json_parse(struct weir_arena *arena,
                            struct weir_slice bytes,
                            const struct weir_json_limits *limits,
                            struct weir_value *ret_value,
                            struct weir_err *err)
{
    struct weir_slice copy = weir_arena_copy(arena, bytes);
    return copy.data == NULL
               ? weir_fail(err, WEIR_TOO_LARGE, "JSON text of %zu bytes does not fit", bytes.size)
               : weir_json_parse_in_place(arena, copy, limits, ret_value, err);
}
