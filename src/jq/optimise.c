/* SPDX-License-Identifier: Apache-2.0
 *
 * What is known about a program before it runs: how many results each node can have, which calls
 * look at the frame they stand in, which fields follow each other, which values are constant.
 *
 * The number of results is a greatest fixpoint: all functions are taken to have one result, bodies
 * are looked at, and what turns out to have more is corrected until nothing changes.
 */
#include "jq/program.h"
#include "jq/run.h"
#include "jq/scope.h"

static enum jq_many larger(enum jq_many a, enum jq_many b)
{
    return a > b ? a : b;
}

static enum jq_many many_of(const struct jq_node *node)
{
    return node == NULL ? JQ_ONE : (enum jq_many)node->many;
}

static enum jq_many at_most_one(enum jq_many many)
{
    return many == JQ_ONE ? JQ_ONE : JQ_MAYBE;
}

static enum jq_many list_many(const struct jq_node *node)
{
    enum jq_many many = JQ_ONE;
    for (uint32_t i = 0; i < node->count; i++) {
        many = larger(many, many_of(node->list[i]));
    }
    return many;
}

static enum jq_many pattern_many(const struct jq_pattern *pattern)
{
    enum jq_many many = JQ_ONE;
    for (uint32_t i = 0; i < pattern->count; i++) {
        many = larger(many, many_of(pattern->entries[i].key));
        if (pattern->entries[i].pattern != NULL) {
            many = larger(many, pattern_many(pattern->entries[i].pattern));
        }
    }
    return many;
}

static enum jq_many call_many(const struct jq_node *node)
{
    enum jq_many many = (enum jq_many)node->function->many;
    for (uint32_t i = 0; i < node->count; i++) {
        if (node->function->params[i].by_value) {
            many = larger(many, many_of(node->list[i]));
        }
    }
    return many;
}

// clang-format off
static enum jq_many count(const struct jq_node *node)
{
    enum jq_many a = many_of(node->a), b = many_of(node->b), c = many_of(node->c);
    switch ((int)node->op) {
    case JQ_FIELD: case JQ_PATH: return node->opt ? JQ_MAYBE : JQ_ONE;
    case JQ_INDEX: case JQ_SLICE: return larger(larger(a, b), larger(c, node->opt ? JQ_MAYBE : JQ_ONE));
    case JQ_PIPE: case JQ_BINARY: case JQ_AND: case JQ_OR: return larger(a, b);
    case JQ_IF: return larger(a, larger(b, c));
    case JQ_NEGATE: case JQ_FORMAT: case JQ_GETPATH: case JQ_PATHS_OF: return a;
    case JQ_ALT: return a == JQ_MANY ? JQ_MANY : b;
    case JQ_TRY: return larger(a, node->b == NULL ? JQ_MAYBE : b);
    case JQ_OBJECT: case JQ_STRING: return list_many(node);
    case JQ_NATIVE: return larger(list_many(node), (node->native->flags & JQ_OPTIONAL) != 0 ? JQ_MAYBE : JQ_ONE);
    case JQ_ASSIGN: case JQ_MODIFY: return b;
    case JQ_REDUCE: return b;
    case JQ_BIND: return larger(larger(a, b), pattern_many(node->pattern));
    case JQ_DEFINE: return a;
    case JQ_LABEL: return larger(a, JQ_MAYBE);
    case JQ_FIRST: return at_most_one(a);
    case JQ_LAST: return at_most_one(a);
    case JQ_CALL: return call_many(node);
    case JQ_EMPTY: case JQ_BREAK: return JQ_MAYBE;
    case JQ_COMMA: case JQ_EACH: case JQ_RECURSE: case JQ_FOREACH: case JQ_CLOSURE:
    case JQ_RANGE: case JQ_LIMIT: return JQ_MANY;
    default: return JQ_ONE;
    }
}
// clang-format on

static unsigned at_most_two(unsigned count)
{
    return count > 2 ? 2 : count;
}

static unsigned least_of(const struct jq_node *node)
{
    return node == NULL ? 1 : jq_least(node);
}

// clang-format off
unsigned jq_least(const struct jq_node *node)
{
    unsigned least = 1, other;
    switch ((int)node->op) {
    case JQ_COMMA: return at_most_two(jq_least(node->a) + jq_least(node->b));
    case JQ_PIPE: case JQ_BINARY: return at_most_two(jq_least(node->a) * jq_least(node->b));
    case JQ_DEFINE: case JQ_NEGATE: case JQ_FORMAT: return jq_least(node->a);
    case JQ_IF:
        least = least_of(node->b);
        other = least_of(node->c);
        return at_most_two(jq_least(node->a) * (least < other ? least : other));
    case JQ_OBJECT: case JQ_STRING:
        for (uint32_t i = 0; i < node->count; i++) {
            least = at_most_two(least * jq_least(node->list[i]));
        }
        return least;
    default: return node->many == JQ_ONE ? 1 : 0;
    }
}
// clang-format on

static void count_pattern(struct jq_pattern *pattern);

/* Sets many below and at the node. */
static void count_all(struct jq_node *node)
{
    if (node == NULL) {
        return;
    }
    count_all(node->a);
    count_all(node->b);
    count_all(node->c);
    count_all(node->d);
    for (uint32_t i = 0; i < node->count; i++) {
        count_all(node->list[i]);
    }
    count_pattern(node->pattern);
    node->many = (uint8_t)count(node);
}

static void count_pattern(struct jq_pattern *pattern)
{
    for (; pattern != NULL; pattern = pattern->next) {
        for (uint32_t i = 0; i < pattern->count; i++) {
            count_all(pattern->entries[i].key);
            count_pattern(pattern->entries[i].pattern);
        }
    }
}

/* ── frames ── */

/* True if evaluating the node looks at any frame. */
static bool looks_at_frames(const struct jq_node *node)
{
    if (node == NULL) {
        return false;
    }
    if (node->op == JQ_VARIABLE || node->op == JQ_CLOSURE || node->op == JQ_CALL ||
        node->op == JQ_BREAK || node->binds) {
        return true;
    }
    bool looks = looks_at_frames(node->a) || looks_at_frames(node->b) || looks_at_frames(node->c) ||
                 looks_at_frames(node->d);
    for (uint32_t i = 0; !looks && i < node->count; i++) {
        looks = looks_at_frames(node->list[i]);
    }
    return looks;
}

static bool call_captures(const struct jq_node *call)
{
    if (call->level == 0) {
        return true; /* the callee's frame links to the caller's */
    }
    for (uint32_t i = 0; i < call->count; i++) {
        const struct jq_param *param = &call->function->params[i];
        if ((!param->by_value || param->called) && call->list[i]->op != JQ_CLOSURE &&
            looks_at_frames(call->list[i])) {
            return true;
        }
    }
    return false;
}

/* ── rewriting ── */

static void fuse_fields(struct jq_resolver *self, struct jq_node *node)
{
    /* field | (field | …) and field | path become one path. */
    struct jq_node *first = node->a, *second = node->b;
    if (first->op != JQ_FIELD || first->opt || first->value.kind != WEIR_KIND_STRING) {
        return;
    }
    struct jq_node *rest = NULL;
    if (second->op == JQ_PIPE && (second->a->op == JQ_FIELD || second->a->op == JQ_PATH)) {
        rest = second->b;
        second = second->a;
    }
    bool field = second->op == JQ_FIELD && second->value.kind == WEIR_KIND_STRING && !second->opt;
    if (!field && (second->op != JQ_PATH || second->opt)) {
        return;
    }
    uint32_t more = field ? 1 : second->slot;
    struct jq_node *path = jq_node_new(&self->build, JQ_PATH, node->offset, NULL, NULL);
    path->size = node->size;
    path->keys = jq_build_alloc(&self->build, (more + 1) * sizeof path->keys[0]);
    path->keys[0] = first->value;
    memcpy(path->keys + 1, field ? &second->value : second->keys, more * sizeof path->keys[0]);
    path->slot = more + 1;
    if (rest == NULL) {
        *node = *path;
    } else {
        node->a = path;
        node->b = rest;
    }
}

/* (a | b) | c is a | (b | c). */
static void turn_pipes(struct jq_node *node)
{
    while (node->a->op == JQ_PIPE) {
        struct jq_node *left = node->a;
        struct jq_node *a = left->a;
        left->a = left->b;
        left->b = node->b;
        node->a = a;
        node->b = left;
    }
}

static bool is_constant(const struct jq_node *node)
{
    if (node == NULL || node->op == JQ_LITERAL) {
        return true;
    }
    if (node->op == JQ_OBJECT) {
        for (uint32_t i = 0; i < node->count; i++) {
            if (!is_constant(node->list[i])) {
                return false;
            }
        }
        return true;
    }
    return (node->op == JQ_ARRAY || node->op == JQ_COMMA || node->op == JQ_NEGATE ||
            (node->op == JQ_BINARY && node->sub != JQ_TIMES)) &&
           is_constant(node->a) && is_constant(node->b);
}

/* Evaluates constants once, here. Those that fail are left to fail when they are reached. */
static void fold(struct jq_resolver *self, struct jq_node *node)
{
    if (node->op == JQ_LITERAL || node->op == JQ_COMMA || !is_constant(node)) {
        return;
    }
    count_all(node);
    if (node->many != JQ_ONE) {
        return;
    }
    if (self->folder == NULL) {
        struct weir_jq_limits limits = {.steps = 100000, .memory_bytes = 4 << 20};
        self->folder = weir_jq_run_new(&limits);
    }
    struct weir_jq_run *run = self->folder;
    run->steps = 0;
    run->failed = JQ_FINE;
    struct weir_value value = jq_eval_one(run, node, NULL, weir_value_null()), frozen;
    if (!weir_value_is_absent(value) && jq_build_freeze(&self->build, value, &frozen)) {
        node->op = JQ_LITERAL;
        node->value = frozen;
        node->a = node->b = NULL;
        node->count = 0;
    }
    weir_jq_run_reset(run);
}

static void check_keys(struct jq_resolver *self, const struct jq_node *object)
{
    for (uint32_t i = 0; i < object->count; i += 2) {
        const struct jq_node *key = object->list[i];
        if (key->op == JQ_LITERAL && key->value.kind >= WEIR_KIND_ARRAY) {
            jq_build_fail(&self->build, key->offset, key->size, "an %s cannot be an object key",
                          weir_value_kind_name(key->value));
        }
    }
}

static bool has_distinct_keys(const struct jq_node *object)
{
    if (object->count > 64) {
        return false;
    }
    for (uint32_t i = 0; i < object->count; i += 2) {
        const struct jq_node *key = object->list[i];
        if (key->op != JQ_LITERAL || key->value.kind != WEIR_KIND_STRING) {
            return false;
        }
        for (uint32_t j = 0; j < i; j += 2) {
            if (weir_value_equal(key->value, object->list[j]->value)) {
                return false;
            }
        }
    }
    return true;
}

/* Paths whose steps can be taken and written back one by one: no two of them lead to one place. */
static bool is_stepwise(const struct jq_node *path)
{
    switch ((int)path->op) {
    case JQ_FIELD:
        return !path->opt && path->value.kind == WEIR_KIND_STRING;
    case JQ_PATH:
    case JQ_EACH:
        return !path->opt;
    case JQ_PIPE:
        return is_stepwise(path->a) && is_stepwise(path->b);
    default:
        return false;
    }
}

static void rewrite_pattern(struct jq_resolver *self, struct jq_pattern *pattern);

static void rewrite(struct jq_resolver *self, struct jq_node *node)
{
    if (node == NULL) {
        return;
    }
    if (node->op == JQ_PIPE) {
        turn_pipes(node);
    }
    rewrite(self, node->a);
    rewrite(self, node->b);
    rewrite(self, node->c);
    rewrite(self, node->d);
    for (uint32_t i = 0; i < node->count; i++) {
        rewrite(self, node->list[i]);
    }
    rewrite_pattern(self, node->pattern);
    if (node->op == JQ_PIPE) {
        if (node->a->op == JQ_IDENTITY) {
            *node = *node->b;
        } else if (node->b->op == JQ_IDENTITY) {
            *node = *node->a;
        } else {
            fuse_fields(self, node);
        }
    }
    if (node->op == JQ_ARRAY || node->op == JQ_OBJECT || node->op == JQ_NEGATE ||
        node->op == JQ_BINARY) {
        fold(self, node);
    }
    if (node->op == JQ_OBJECT) {
        check_keys(self, node);
        node->distinct = has_distinct_keys(node);
    }
    if (node->op == JQ_ASSIGN || node->op == JQ_UPDATE || node->op == JQ_MODIFY) {
        node->stepwise = is_stepwise(node->a);
    }
    if (node->op == JQ_CALL) {
        node->captures = call_captures(node);
    }
}

static void rewrite_pattern(struct jq_resolver *self, struct jq_pattern *pattern)
{
    for (; pattern != NULL; pattern = pattern->next) {
        for (uint32_t i = 0; i < pattern->count; i++) {
            rewrite(self, pattern->entries[i].key);
            rewrite_pattern(self, pattern->entries[i].pattern);
        }
    }
}

void jq_optimise(struct jq_resolver *self, struct jq_node **body)
{
    rewrite(self, *body);
    for (struct jq_function *f = self->functions; f != NULL; f = f->next) {
        rewrite(self, f->body);
    }
    bool changed = true;
    while (changed) {
        changed = false;
        for (struct jq_function *f = self->functions; f != NULL; f = f->next) {
            count_all(f->body);
            if (f->body->many > f->many) {
                f->many = f->body->many;
                changed = true;
            }
        }
    }
    count_all(*body);
    weir_jq_run_free(self->folder);
    self->folder = NULL;
}
