/* SPDX-License-Identifier: Apache-2.0
 *
 * The resolver: names to slots, parameters, functions and builtins.
 *
 * Scopes are a chain of single names, newest first, so shadowing is order. A frame belongs to the
 * main program, to each function, and to each argument that binds variables of its own: such an
 * argument can be entered again while it is still running, and then must not share its variables
 * with itself. A reference is the number of static links to follow and a place in that frame.
 *
 * A builtin that is defined in jq is parsed when a program first uses it, and is a function of the
 * main frame like any other.
 */
#include "jq/program.h"

#include <stdio.h>

#include "jq/modules.h"
#include "jq/scope.h"

static bool resolve(struct jq_resolver *self, struct jq_node *node, struct jq_place place);

static struct jq_scope *
scope_new(struct jq_resolver *self, enum jq_scope_kind kind, struct weir_slice name)
{
    struct jq_scope *scope = jq_build_alloc(&self->build, sizeof *scope);
    scope->kind = kind;
    scope->name = name;
    return scope;
}

struct jq_scope *jq_scope_push(struct jq_resolver *self,
                               struct jq_scope *up,
                               enum jq_scope_kind kind,
                               struct weir_slice name)
{
    struct jq_scope *scope = scope_new(self, kind, name);
    scope->up = up;
    return scope;
}

static struct jq_place bind_slot(struct jq_resolver *self,
                                 struct jq_place place,
                                 enum jq_scope_kind kind,
                                 struct weir_slice name,
                                 uint32_t *ret_slot)
{
    struct jq_scope *scope = jq_scope_push(self, place.scope, kind, name);
    scope->frame = place.frame;
    scope->slot = place.frame->slot_count++;
    *ret_slot = scope->slot;
    place.scope = scope;
    return place;
}

static const struct jq_scope *
find(const struct jq_scope *scope, enum jq_scope_kind kind, struct weir_slice name)
{
    while (scope != NULL && (scope->kind != kind || !weir_slice_equal(scope->name, name))) {
        scope = scope->up;
    }
    return scope;
}

/* ── patterns ── */

/* Where the variables of patterns go. Alternatives share those of one name, so that the last one
 * bound is seen; without alternatives the first one is, and others of its name get slots that
 * nobody sees. */
struct declaring {
    const struct jq_scope *outer;
    bool shared;
};

static struct jq_place declare(struct jq_resolver *self,
                               struct weir_slice name,
                               uint32_t *ret_slot,
                               struct jq_place place,
                               const struct declaring *how)
{
    for (const struct jq_scope *scope = place.scope; scope != how->outer; scope = scope->up) {
        if (scope->kind == JQ_SCOPE_VARIABLE && weir_slice_equal(scope->name, name)) {
            *ret_slot = how->shared ? scope->slot : place.frame->slot_count++;
            return place;
        }
    }
    return bind_slot(self, place, JQ_SCOPE_VARIABLE, name, ret_slot);
}

static struct jq_place declare_pattern(struct jq_resolver *self,
                                       struct jq_pattern *pattern,
                                       struct jq_place place,
                                       const struct declaring *how)
{
    if (pattern->kind == JQ_PATTERN_VARIABLE) {
        return declare(self, pattern->name, &pattern->slot, place, how);
    }
    for (uint32_t i = 0; i < pattern->count; i++) {
        struct jq_pattern_entry *entry = &pattern->entries[i];
        if (entry->name.data != NULL) {
            place = declare(self, entry->name, &entry->slot, place, how);
        }
        if (entry->pattern != NULL) {
            place = declare_pattern(self, entry->pattern, place, how);
        }
    }
    return place;
}

/* Key expressions see the variables bound to their left. */
static bool
resolve_pattern_keys(struct jq_resolver *self, struct jq_pattern *pattern, struct jq_place place)
{
    for (uint32_t i = 0; i < pattern->count; i++) {
        struct jq_pattern_entry *entry = &pattern->entries[i];
        if (entry->key != NULL && !resolve(self, entry->key, place)) {
            return false;
        }
        if (entry->pattern != NULL && !resolve_pattern_keys(self, entry->pattern, place)) {
            return false;
        }
    }
    return true;
}

static bool resolve_patterns(struct jq_resolver *self,
                             struct jq_pattern *first,
                             struct jq_place place,
                             struct jq_place *ret_place)
{
    const struct jq_scope *outer = place.scope;
    const struct declaring how = {.outer = outer, .shared = first->next != NULL};
    for (struct jq_pattern *pattern = first; pattern != NULL; pattern = pattern->next) {
        place = declare_pattern(self, pattern, place, &how);
    }
    for (const struct jq_scope *scope = place.scope; scope != outer; scope = scope->up) {
        first->all_count++;
    }
    first->all_slots =
        jq_build_alloc(&self->build, (first->all_count + 1) * sizeof first->all_slots[0]);
    uint32_t i = 0;
    for (const struct jq_scope *scope = place.scope; scope != outer; scope = scope->up) {
        first->all_slots[i++] = scope->slot;
    }
    for (struct jq_pattern *pattern = first; pattern != NULL; pattern = pattern->next) {
        if (!resolve_pattern_keys(self, pattern, place)) {
            return false;
        }
    }
    *ret_place = place;
    return true;
}

/* ── functions ── */

static bool
resolve_function(struct jq_resolver *self, struct jq_function *function, struct jq_place place)
{
    function->frame.depth = place.frame->depth + 1;
    function->frame.param_count = function->param_count;
    function->next = self->functions;
    self->functions = function;
    struct jq_place inside = {.scope = place.scope, .frame = &function->frame};
    for (uint32_t i = 0; i < function->param_count; i++) {
        struct jq_param *param = &function->params[i];
        struct jq_scope *scope = jq_scope_push(self, inside.scope, JQ_SCOPE_PARAM, param->name);
        scope->frame = inside.frame;
        scope->slot = i;
        scope->param = param;
        inside.scope = scope;
        if (param->by_value) {
            inside = bind_slot(self, inside, JQ_SCOPE_VARIABLE, param->name, &param->slot);
        }
    }
    return resolve(self, function->body, inside);
}

/* Makes the function known, itself included, and resolves its body. */
bool jq_resolve_define(struct jq_resolver *self,
                       struct jq_function *function,
                       struct jq_place *place)
{
    struct jq_scope *scope = jq_scope_push(self, place->scope, JQ_SCOPE_FUNCTION, function->name);
    scope->frame = place->frame;
    scope->function = function;
    place->scope = scope;
    return resolve_function(self, function, *place);
}

/* A definition of the table, once per program. NULL: a mistake in the table, reported. */
static struct jq_function *builtin_function(struct jq_resolver *self,
                                            const struct jq_native *native)
{
    for (const struct jq_scope *scope = self->builtins; scope != NULL; scope = scope->up) {
        if (scope->native == native) {
            return scope->function;
        }
    }
    struct jq_source source = {
        .name = native->name, .text = weir_slice_of(native->source), .is_builtin = true};
    struct jq_build build = self->build;
    build.source = &source;
    struct jq_module *module = jq_parse(&build);
    if (module == NULL || module->body->op != JQ_DEFINE) {
        return NULL;
    }
    struct jq_function *function = module->body->function;
    struct jq_scope *scope = jq_scope_push(self, self->builtins, JQ_SCOPE_FUNCTION, function->name);
    scope->function = function;
    scope->native = native;
    self->builtins = scope;
    const struct jq_source *outer = self->build.source;
    self->build.source = &source;
    struct jq_place place = {.frame = &self->program->frame};
    bool done = jq_resolve_define(self, function, &place);
    self->build.source = outer;
    return done ? function : NULL;
}

/* ── calls ── */

/* Gives an argument a frame of its own if it binds anything, and resolves it. */
static bool resolve_argument(struct jq_resolver *self, struct jq_node *node, struct jq_place place)
{
    if (!node->binds) {
        return resolve(self, node, place);
    }
    node->framed = true;
    node->frame = jq_build_alloc(&self->build, sizeof *node->frame);
    node->frame->depth = place.frame->depth + 1;
    return resolve(self, node, (struct jq_place){.scope = place.scope, .frame = node->frame});
}

static bool resolve_arguments(struct jq_resolver *self, struct jq_node *call, struct jq_place place)
{
    for (uint32_t i = 0; i < call->count; i++) {
        if (!resolve_argument(self, call->list[i], place)) {
            return false;
        }
    }
    return true;
}

static void environment_hint(const struct jq_resolver *self)
{
    weir_err_hint(self->build.err, "In a pipeline `jq: {environment: true}` opens it.");
}

static bool
check_allowed(struct jq_resolver *self, const struct jq_node *call, const struct jq_native *native)
{
    bool eval = self->options != NULL && self->options->eval;
    bool environment = self->options != NULL && self->options->environment;
    if ((native->flags & JQ_EVAL_ONLY) != 0 && !eval) {
        jq_build_fail(&self->build, call->offset, call->size,
                      "%s/%d is not available in a pipeline, where a record has no next input, no "
                      "terminal and no exit code",
                      native->name, native->arity);
        return false;
    }
    if ((native->flags & JQ_ENVIRONMENT) != 0 && !environment) {
        jq_build_fail(&self->build, call->offset, call->size,
                      "%s is not available here: the environment is closed to programs",
                      native->name);
        environment_hint(self);
        return false;
    }
    if ((native->flags & JQ_UNSTABLE) != 0) {
        self->program->facts.deterministic = false;
    }
    return true;
}

static struct jq_node *build_node(
    struct jq_resolver *self, uint32_t offset, enum jq_op op, struct jq_node *a, struct jq_node *b)
{
    return jq_node_new(&self->build, op, offset, a, b);
}

/* map(f), select(f) and error(m) are written out. */
static bool expand(struct jq_resolver *self, struct jq_node *call, struct jq_node *argument)
{
    uint32_t at = call->offset;
    if (call->native->op == JQ_ARRAY) {
        struct jq_node *each = build_node(self, at, JQ_EACH, NULL, NULL);
        call->a = build_node(self, at, JQ_PIPE, each, argument);
        call->op = JQ_ARRAY;
    } else if (call->native->op == JQ_IF) {
        call->a = argument;
        call->b = build_node(self, at, JQ_IDENTITY, NULL, NULL);
        call->c = build_node(self, at, JQ_EMPTY, NULL, NULL);
        call->op = JQ_IF;
    } else if (call->native->op == JQ_UPDATE) {
        call->a = build_node(self, at, JQ_EACH, NULL, NULL);
        call->b = argument;
        call->op = JQ_UPDATE;
    } else {
        call->a = argument;
        call->b = build_node(self, at, JQ_ERROR, NULL, NULL);
        call->op = JQ_PIPE;
    }
    call->native = NULL;
    return true;
}

static bool resolve_native(struct jq_resolver *self,
                           struct jq_node *call,
                           const struct jq_native *native,
                           struct jq_place place)
{
    if (!check_allowed(self, call, native)) {
        return false;
    }
    if (native->source != NULL) {
        struct jq_function *function = builtin_function(self, native);
        if (function == NULL) {
            return false;
        }
        call->function = function;
        call->level = (uint16_t)place.frame->depth;
        return resolve_arguments(self, call, place);
    }
    call->native = native;
    for (uint32_t i = 0; i < call->count; i++) {
        if (!resolve(self, call->list[i], place)) {
            return false;
        }
    }
    if (native->op == 0) {
        call->op = JQ_NATIVE;
        return true;
    }
    if (native->op == JQ_ARRAY || native->op == JQ_IF || native->op == JQ_PIPE ||
        native->op == JQ_UPDATE) {
        return expand(self, call, call->list[0]);
    }
    call->op = native->op;
    call->sub = native->sub;
    call->a = call->count > 0 ? call->list[0] : NULL;
    call->b = call->count > 1 ? call->list[1] : NULL;
    call->slot = native->op == JQ_GLOBAL ? native->sub : 0;
    call->count = 0;
    return true;
}

enum { SHORT_NAME = 3 }; /* some builtin is near to any name as short as this */

static void
report_unknown(struct jq_resolver *self, const struct jq_node *call, const struct jq_scope *scope)
{
    jq_build_fail(&self->build, call->offset, call->size, "%.*s/%u is not defined",
                  WEIR_SLICE_ARG(call->text), call->count);
    for (; scope != NULL; scope = scope->up) {
        if (scope->kind == JQ_SCOPE_FUNCTION && weir_slice_equal(scope->name, call->text)) {
            weir_err_hint(self->build.err, "%.*s takes %u arguments", WEIR_SLICE_ARG(call->text),
                          scope->function->param_count);
            return;
        }
    }
    bool known = false;
    const struct jq_native *native;
    for (size_t i = 0; (native = jq_native_at(i)) != NULL && !known; i++) {
        if (weir_slice_equal(weir_slice_of(native->name), call->text)) {
            weir_err_hint(self->build.err, "there is %s/%u", native->name, (unsigned)native->arity);
            known = true;
        }
    }
    const char *near = known ? NULL : jq_native_near(call->text);
    bool may_be_field =
        !known && call->count == 0 && memchr(call->text.data, ':', call->text.size) == NULL;
    if (near != NULL && (call->text.size > SHORT_NAME || !may_be_field)) {
        weir_err_hint(self->build.err, "did you mean %s?", near);
    } else if (may_be_field) {
        weir_err_hint(self->build.err, "a field begins with a dot: .%.*s",
                      WEIR_SLICE_ARG(call->text));
    }
}

static bool resolve_call(struct jq_resolver *self, struct jq_node *call, struct jq_place place)
{
    for (const struct jq_scope *scope = place.scope; scope != NULL; scope = scope->up) {
        if (!weir_slice_equal(scope->name, call->text)) {
            continue;
        }
        if (scope->kind == JQ_SCOPE_PARAM && call->count == 0) {
            call->op = JQ_CLOSURE;
            call->slot = scope->slot;
            call->level = (uint16_t)(place.frame->depth - scope->frame->depth);
            scope->param->called = true;
            return true;
        }
        if (scope->kind == JQ_SCOPE_FUNCTION && scope->function->param_count == call->count) {
            call->function = scope->function;
            call->level = (uint16_t)(place.frame->depth - scope->frame->depth);
            return resolve_arguments(self, call, place);
        }
    }
    const struct jq_native *native = jq_native_find(call->text, call->count);
    if (native == NULL || ((native->flags & JQ_HIDDEN) != 0 && !self->build.source->is_builtin)) {
        report_unknown(self, call, place.scope);
        return false;
    }
    return resolve_native(self, call, native, place);
}

/* ── variables ── */

static bool resolve_global(struct jq_resolver *self, struct jq_node *node)
{
    if (weir_slice_equal(node->text, WEIR_SLICE("record"))) {
        node->op = JQ_GLOBAL;
        node->slot = JQ_GLOBAL_RECORD;
        self->program->facts.uses_record = true;
        return true;
    }
    if (weir_slice_equal(node->text, WEIR_SLICE("answer")) && self->options != NULL &&
        self->options->answer) {
        node->op = JQ_GLOBAL;
        node->slot = JQ_GLOBAL_ANSWER;
        self->program->facts.uses_answer = true;
        return true;
    }
    if (weir_slice_equal(node->text, WEIR_SLICE("ENV"))) {
        if (self->options == NULL || !self->options->environment) {
            jq_build_fail(&self->build, node->offset, node->size,
                          "$ENV is not available here: the environment is closed to programs");
            environment_hint(self);
            return false;
        }
        node->op = JQ_GLOBAL;
        node->slot = JQ_GLOBAL_ENV;
        self->program->facts.deterministic = false;
        return true;
    }
    jq_build_fail(&self->build, node->offset, node->size, "$%.*s is not defined",
                  WEIR_SLICE_ARG(node->text));
    return false;
}

static bool resolve_variable(struct jq_resolver *self, struct jq_node *node, struct jq_place place)
{
    const struct jq_scope *scope = place.scope;
    while (scope != NULL &&
           ((scope->kind != JQ_SCOPE_VARIABLE && scope->kind != JQ_SCOPE_CONSTANT) ||
            !weir_slice_equal(scope->name, node->text))) {
        scope = scope->up;
    }
    if (scope == NULL) {
        return resolve_global(self, node);
    }
    if (scope->kind == JQ_SCOPE_CONSTANT) {
        node->op = JQ_LITERAL;
        node->value = scope->value;
        return true;
    }
    node->slot = scope->slot;
    node->level = (uint16_t)(place.frame->depth - scope->frame->depth);
    return true;
}

static bool resolve_break(struct jq_resolver *self, struct jq_node *node, struct jq_place place)
{
    const struct jq_scope *scope = find(place.scope, JQ_SCOPE_LABEL, node->text);
    if (scope == NULL) {
        jq_build_fail(&self->build, node->offset, node->size, "$*label-%.*s is not defined",
                      WEIR_SLICE_ARG(node->text));
        return false;
    }
    node->slot = scope->slot;
    node->level = (uint16_t)(place.frame->depth - scope->frame->depth);
    return true;
}

/* ── nodes ── */

static bool resolve_children(struct jq_resolver *self, struct jq_node *node, struct jq_place place)
{
    struct jq_node *children[] = {node->a, node->b, node->c, node->d};
    for (size_t i = 0; i < sizeof children / sizeof children[0]; i++) {
        if (children[i] != NULL && !resolve(self, children[i], place)) {
            return false;
        }
    }
    for (uint32_t i = 0; i < node->count; i++) {
        if (!resolve(self, node->list[i], place)) {
            return false;
        }
    }
    return true;
}

static bool resolve_loop(struct jq_resolver *self, struct jq_node *node, struct jq_place place)
{
    struct jq_place inside;
    return resolve(self, node->a, place) && resolve(self, node->b, place) &&
           resolve_patterns(self, node->pattern, place, &inside) &&
           resolve(self, node->c, inside) && (node->d == NULL || resolve(self, node->d, inside));
}

static bool resolve_format(struct jq_resolver *self, struct jq_node *node, struct jq_place place)
{
    node->native = jq_native_find(WEIR_SLICE("format"), 1);
    node->value = weir_value_string(node->text);
    return resolve(self, node->a, place);
}

static bool resolve(struct jq_resolver *self, struct jq_node *node, struct jq_place place)
{
    struct jq_place inside;
    switch ((int)node->op) {
    case JQ_VARIABLE:
        return resolve_variable(self, node, place);
    case JQ_CALL:
        return resolve_call(self, node, place);
    case JQ_BREAK:
        return resolve_break(self, node, place);
    case JQ_FORMAT:
        return resolve_format(self, node, place);
    case JQ_LABEL:
        inside = bind_slot(self, place, JQ_SCOPE_LABEL, node->text, &node->slot);
        return resolve(self, node->a, inside);
    case JQ_BIND:
        return resolve(self, node->a, place) &&
               resolve_patterns(self, node->pattern, place, &inside) &&
               resolve(self, node->b, inside);
    case JQ_REDUCE:
    case JQ_FOREACH:
        return resolve_loop(self, node, place);
    case JQ_DEFINE:
        inside = place;
        return jq_resolve_define(self, node->function, &inside) && resolve(self, node->a, inside);
    default:
        return resolve_children(self, node, place);
    }
}

/* Named variables and imports stand around the whole program. */
bool jq_resolve_program(struct jq_resolver *self, struct jq_module *module)
{
    struct jq_place place = {.frame = &self->program->frame};
    for (size_t i = 0; self->options != NULL && i < self->options->named_count; i++) {
        const struct weir_jq_named *named = &self->options->named[i];
        struct jq_scope *scope =
            jq_scope_push(self, place.scope, JQ_SCOPE_CONSTANT,
                          weir_arena_copy(self->build.arena, weir_slice_of(named->name)));
        if (!jq_build_freeze(&self->build, named->value, &scope->value)) {
            return false;
        }
        place.scope = scope;
    }
    if (self->options != NULL && self->options->prelude != NULL &&
        !jq_modules_prelude(self, self->options->prelude, &place)) {
        return false;
    }
    return jq_modules_import(self, module, NULL, &place) && resolve(self, module->body, place);
}
