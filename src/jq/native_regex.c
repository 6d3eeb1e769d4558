/* SPDX-License-Identifier: Apache-2.0
 *
 * Regular expressions by Oniguruma, Perl syntax with named groups. A compiled expression is kept in
 * a small cache of the run, found by pattern and options; a program has few, so the last one used
 * is nearly always the right one. Matching has a limit on its steps back.
 *
 * Offsets are code points. Where the text is ASCII up to the match, which costs one look, they are
 * the byte offsets.
 */
#include <limits.h>
#include <oniguruma.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "jq/native.h"

#define CACHE_SIZE 32

struct cached_regex {
    char *pattern;
    size_t size;
    OnigOptionType options;
    regex_t *regex;
    OnigRegion *region;
};

struct jq_regex_cache {
    struct cached_regex entries[CACHE_SIZE];
    size_t count, last, victim;
    OnigMatchParam *param;
};

void jq_regexes_free(struct jq_regex_cache *cache)
{
    if (cache == NULL) {
        return;
    }
    for (size_t i = 0; i < cache->count; i++) {
        onig_free(cache->entries[i].regex);
        onig_region_free(cache->entries[i].region, 1);
        weir_free(cache->entries[i].pattern);
    }
    onig_free_match_param(cache->param);
    weir_free(cache);
}

static struct jq_regex_cache *cache_of(struct weir_jq_run *run)
{
    if (run->regexes == NULL) {
        run->regexes = weir_calloc(1, sizeof *run->regexes);
        run->regexes->param = onig_new_match_param();
        onig_initialize_match_param(run->regexes->param);
        onig_set_retry_limit_in_match_of_match_param(run->regexes->param, run->regex_steps);
        onig_set_retry_limit_in_search_of_match_param(run->regexes->param, run->regex_steps);
    }
    return run->regexes;
}

static bool
is_entry(const struct cached_regex *entry, struct weir_slice pattern, OnigOptionType options)
{
    return entry->options == options && entry->size == pattern.size &&
           memcmp(entry->pattern, pattern.data, pattern.size) == 0;
}

/* The compiled expression; NULL: failed. */
static struct cached_regex *
compile(struct weir_jq_run *run, struct weir_slice pattern, OnigOptionType options)
{
    struct jq_regex_cache *cache = cache_of(run);
    if (cache->count > 0 && is_entry(&cache->entries[cache->last], pattern, options)) {
        return &cache->entries[cache->last];
    }
    for (size_t i = 0; i < cache->count; i++) {
        if (is_entry(&cache->entries[i], pattern, options)) {
            cache->last = i;
            return &cache->entries[i];
        }
    }
    OnigErrorInfo info;
    regex_t *regex;
    const OnigUChar *start = (const OnigUChar *)pattern.data;
    int code = onig_new(&regex, start, start + pattern.size, options, ONIG_ENCODING_UTF8,
                        ONIG_SYNTAX_PERL_NG, &info);
    if (code != ONIG_NORMAL) {
        OnigUChar text[ONIG_MAX_ERROR_MESSAGE_LEN];
        onig_error_code_to_str(text, code, &info);
        jq_fail(run, "Regex failure: %s", (const char *)text);
        return NULL;
    }
    size_t place = cache->count < CACHE_SIZE ? cache->count++ : cache->victim++ % CACHE_SIZE;
    struct cached_regex *entry = &cache->entries[place];
    if (entry->regex != NULL) {
        onig_free(entry->regex);
        onig_region_free(entry->region, 1);
        weir_free(entry->pattern);
    }
    *entry = (struct cached_regex){.pattern = weir_strndup(pattern.data, pattern.size),
                                   .size = pattern.size,
                                   .options = options,
                                   .regex = regex,
                                   .region = onig_region_new()};
    cache->last = place;
    return entry;
}

/* ── modifiers ── */

static bool parse_modifiers(struct weir_jq_run *run,
                            struct weir_value modifiers,
                            OnigOptionType *ret_options,
                            bool *ret_global)
{
    *ret_options = ONIG_OPTION_CAPTURE_GROUP;
    *ret_global = false;
    if (modifiers.kind == WEIR_KIND_NULL) {
        return true;
    }
    if (modifiers.kind != WEIR_KIND_STRING) {
        jq_type_error(run, weir_retain(modifiers), "is not a string");
        return false;
    }
    for (uint32_t i = 0; i < modifiers.size; i++) {
        switch (modifiers.as.bytes[i]) {
        case 'g':
            *ret_global = true;
            break;
        case 'i':
            *ret_options |= ONIG_OPTION_IGNORECASE;
            break;
        case 'x':
            *ret_options |= ONIG_OPTION_EXTEND;
            break;
        case 'm':
            *ret_options |= ONIG_OPTION_MULTILINE;
            break;
        case 's':
            *ret_options |= ONIG_OPTION_SINGLELINE;
            break;
        case 'p':
            *ret_options |= ONIG_OPTION_MULTILINE | ONIG_OPTION_SINGLELINE;
            break;
        case 'l':
            *ret_options |= ONIG_OPTION_FIND_LONGEST;
            break;
        case 'n':
            *ret_options |= ONIG_OPTION_FIND_NOT_EMPTY;
            break;
        default:
            jq_fail(run, "%.*s is not a valid modifier string", (int)modifiers.size,
                    modifiers.as.bytes);
            return false;
        }
    }
    return true;
}

/* ── matches ── */

/* Counts code points forward from where it stood. */
struct counter {
    const char *text;
    int at;
    double points;
};

static double count_to(struct counter *counter, int end)
{
    if (end < counter->at) {
        counter->at = 0;
        counter->points = 0;
    }
    for (; counter->at < end; counter->at++) {
        counter->points += ((unsigned char)counter->text[counter->at] & 0xc0) != 0x80;
    }
    return counter->points;
}

static struct weir_value
member(struct weir_jq_run *run, struct weir_value object, const char *name, struct weir_value value)
{
    return weir_object_set(&run->heap, object, weir_value_string(weir_slice_of(name)), value);
}

static struct weir_value part(struct weir_jq_run *run, struct weir_value input, int start, int end)
{
    struct weir_slice text = {input.as.bytes + start, (size_t)(end - start)};
    return weir_is_counted(input) ? weir_string_new(&run->heap, text) : weir_value_string(text);
}

struct names {
    struct weir_jq_run *run;
    struct weir_value captures;
};

static int add_name(const OnigUChar *name,
                    const OnigUChar *end,
                    int count,
                    int *groups,
                    regex_t *regex,
                    void *context)
{
    struct names *self = context;
    (void)regex;
    struct weir_slice text = {(const char *)name, (size_t)(end - name)};
    for (int i = 0; i < count; i++) {
        struct weir_value *capture = &weir_array_mut(self->captures)->items[groups[i] - 1];
        *capture = member(self->run, *capture, "name", weir_string_new(&self->run->heap, text));
    }
    return 0;
}

static struct weir_value captures_of(struct weir_jq_run *run,
                                     struct weir_value input,
                                     struct cached_regex *entry,
                                     double zero_width,
                                     struct counter *counter)
{
    const OnigRegion *region = entry->region;
    struct weir_value captures = weir_array_new(&run->heap, (size_t)region->num_regs);
    for (int i = 1; i < region->num_regs; i++) {
        int start = region->beg[i], end = region->end[i];
        struct weir_value capture = weir_object_new(&run->heap, 4);
        double offset = -1, length = 0;
        struct weir_value text = weir_value_null();
        if (start >= 0) {
            offset = zero_width >= 0 ? zero_width : count_to(counter, start);
            length = zero_width >= 0 ? 0 : count_to(counter, end) - offset;
            text =
                zero_width >= 0 ? weir_value_string(WEIR_SLICE("")) : part(run, input, start, end);
        }
        capture = member(run, capture, "offset", weir_value_number(offset));
        if (zero_width < 0 && start >= 0 && start != end) {
            capture = member(run, capture, "length", weir_value_number(length));
            capture = member(run, capture, "string", text);
        } else {
            capture = member(run, capture, "string", text);
            capture = member(run, capture, "length", weir_value_number(length));
        }
        capture = member(run, capture, "name", weir_value_null());
        captures = weir_array_push(&run->heap, captures, capture);
    }
    struct names names = {run, captures};
    onig_foreach_name(entry->regex, add_name, &names);
    return names.captures;
}

static struct weir_value match_value(struct weir_jq_run *run,
                                     struct weir_value input,
                                     struct cached_regex *entry,
                                     struct counter *counter)
{
    int start = entry->region->beg[0], end = entry->region->end[0];
    double offset = count_to(counter, start);
    double length = count_to(counter, end) - offset;
    struct weir_value match = weir_object_new(&run->heap, 4);
    match = member(run, match, "offset", weir_value_number(offset));
    match = member(run, match, "length", weir_value_number(length));
    match = member(run, match, "string", part(run, input, start, end));
    struct counter inner = {.text = counter->text};
    return member(run, match, "captures",
                  captures_of(run, input, entry, start == end ? offset : -1, &inner));
}

static int
search(struct weir_jq_run *run, struct weir_value input, struct cached_regex *entry, int from)
{
    const OnigUChar *text = (const OnigUChar *)input.as.bytes, *end = text + input.size;
    int found = onig_search_with_param(entry->regex, text, end, text + from, end, entry->region,
                                       ONIG_OPTION_NONE, run->regexes->param);
    if (found == ONIGERR_RETRY_LIMIT_IN_MATCH_OVER || found == ONIGERR_RETRY_LIMIT_IN_SEARCH_OVER) {
        jq_limit(run, "regular expression took more than %u steps back",
                 (unsigned)run->regex_steps);
    } else if (found < 0 && found != ONIG_MISMATCH) {
        OnigUChar message[ONIG_MAX_ERROR_MESSAGE_LEN];
        onig_error_code_to_str(message, found);
        jq_fail(run, "Regex failure: %s", (const char *)message);
    }
    return found;
}

static struct weir_value all_matches(struct weir_jq_run *run,
                                     struct weir_value input,
                                     struct cached_regex *entry,
                                     bool global)
{
    struct weir_value matches = weir_array_new(&run->heap, 2);
    struct counter counter = {.text = input.as.bytes};
    int from = 0;
    do {
        if (!jq_step(run)) {
            return jq_step_failed(run);
        }
        int found = search(run, input, entry, from);
        if (run->failed != JQ_FINE) {
            return (struct weir_value){0};
        }
        if (found < 0) {
            break;
        }
        matches = weir_array_push(&run->heap, matches, match_value(run, input, entry, &counter));
        int start = entry->region->beg[0], end = entry->region->end[0];
        from = start == end ? end + 1 : end;
    } while (global && from <= (int)input.size);
    return matches;
}

/* _match_impl(pattern; modifiers; test) */
static struct weir_value
match(struct weir_jq_run *run, struct weir_value input, struct weir_value *arguments)
{
    if (input.kind != WEIR_KIND_STRING) {
        return jq_type_error(run, input, "cannot be matched, as it is not a string");
    }
    if (arguments[0].kind != WEIR_KIND_STRING) {
        return jq_type_error(run, arguments[0], "is not a string");
    }
    if (input.size > INT_MAX / 2) {
        return jq_fail(run, "String too long");
    }
    OnigOptionType options;
    bool global;
    if (!parse_modifiers(run, arguments[1], &options, &global)) {
        return (struct weir_value){0};
    }
    struct cached_regex *entry = compile(run, weir_value_text(arguments[0]), options);
    if (entry == NULL) {
        return (struct weir_value){0};
    }
    struct weir_value result;
    if (arguments[2].kind == WEIR_KIND_TRUE) {
        int found = search(run, input, entry, 0);
        result = run->failed == JQ_FINE ? weir_value_bool(found >= 0) : (struct weir_value){0};
    } else {
        result = all_matches(run, input, entry, global);
    }
    weir_release(&run->heap, input);
    weir_release(&run->heap, arguments[0]);
    weir_release(&run->heap, arguments[1]);
    return result;
}

/* test(pattern; modifiers) and test(pattern) with a string: the common case without a call. */
static struct weir_value
test(struct weir_jq_run *run, struct weir_value input, struct weir_value *arguments)
{
    struct weir_value all[3] = {arguments[0], arguments[1], weir_value_bool(true)};
    return match(run, input, all);
}

static struct weir_value
test_simple(struct weir_jq_run *run, struct weir_value input, struct weir_value *arguments)
{
    struct weir_value pattern = arguments[0];
    struct weir_value all[3] = {pattern, weir_value_null(), weir_value_bool(true)};
    if (pattern.kind == WEIR_KIND_ARRAY) {
        size_t count = weir_value_count(pattern);
        if (count > 0) {
            all[0] = weir_retain(weir_value_at(pattern, 0));
            all[1] = count > 1 ? weir_retain(weir_value_at(pattern, 1)) : weir_value_null();
            weir_release(&run->heap, pattern);
            return match(run, input, all);
        }
    }
    if (pattern.kind != WEIR_KIND_STRING) {
        return jq_fail(run, "%s not a string or array", weir_value_kind_name(pattern));
    }
    return match(run, input, all);
}

#define MATCH_OR_ARRAY(name)                                                                       \
    "def " name "($val): ($val|type) as $vt | if $vt == \"string\" then " name "($val; null)"      \
    " elif $vt == \"array\" and ($val | length) > 1 then " name "($val[0]; $val[1])"               \
    " elif $vt == \"array\" and ($val | length) > 0 then " name "($val[0]; null)"                  \
    " else error( $vt + \" not a string or array\") end;"
#define NAMED                                                                                      \
    "(reduce ( .captures | .[] | select(.name != null) | { (.name) : .string } ) as $pair"         \
    " ({}; . + $pair))"

// clang-format off
static const struct jq_native table[] = {
    JQ_FN("_match_impl", 3, match, JQ_HIDDEN, NULL, JQ_NO_EXAMPLE),
    JQ_FN("test", 2, test, 0, "True if the expression matches; flags g i x s m p n l.", "test(\"B\"; \"i\")", "\"abc\"", "true"),
    JQ_FN("test", 1, test_simple, 0, "True if the expression matches.", "test(\"b\")", "\"abc\"", "true"),
    JQ_DEF("match", 2, "def match(re; mode): _match_impl(re; mode; false)|.[];", 0, "The matches: offset, length, string, captures.", "[match(\"b\"; \"g\").offset]", "\"abb\"", "[1,2]"),
    JQ_DEF("match", 1, MATCH_OR_ARRAY("match"), 0, "The first match.", "match(\"b\").offset", "\"abb\"", "1"),
    JQ_DEF("capture", 2, "def capture(re; mods): match(re; mods) | " NAMED ";", 0, "The named groups, an object.", "capture(\"(?<x>b)\"; null)", "\"abb\"", "{\"x\":\"b\"}"),
    JQ_DEF("capture", 1, MATCH_OR_ARRAY("capture"), 0, "The named groups, an object.", "capture(\"(?<x>b)\")", "\"abb\"", "{\"x\":\"b\"}"),
    JQ_DEF("scan", 2, "def scan($re; $flags): match($re; \"g\" + $flags) | if (.captures|length > 0) then [ .captures | .[] | .string ] else .string end;", 0, "All matches as strings, or their groups.", "[scan(\"B\"; \"i\")]", "\"abb\"", "[\"b\",\"b\"]"),
    JQ_DEF("scan", 1, "def scan($re): scan($re; null);", 0, "All matches as strings, or their groups.", "[scan(\"b\")]", "\"abb\"", "[\"b\",\"b\"]"),
    JQ_DEF("splits", 2, "def splits($re; $flags): .[foreach (match($re; $flags+\"g\"), null) as {$offset, $length} (null; {start: .next, end: $offset, next: ($offset+$length)})];", 0, "The parts between matches.", "[splits(\",\"; null)]", "\"a,b\"", "[\"a\",\"b\"]"),
    JQ_DEF("splits", 1, "def splits($re): splits($re; null);", 0, "The parts between matches.", "[splits(\", *\")]", "\"a, b\"", "[\"a\",\"b\"]"),
    JQ_DEF("split", 2, "def split($re; $flags): [ splits($re; $flags) ];", 0, "The parts between matches, an array.", "split(\", *\"; null)", "\"a, b\"", "[\"a\",\"b\"]"),
    JQ_DEF("sub", 3, "def sub($re; s; $flags): . as $in | (reduce match($re; $flags) as $edit ({result: [], previous: 0};"
        " $in[ .previous: ($edit | .offset) ] as $gap"
        " | [reduce ( $edit | .captures | .[] | select(.name != null) | { (.name) : .string } ) as $pair ({}; . + $pair) | s ] as $inserts"
        " | reduce range(0; $inserts|length) as $ix (.; .result[$ix] += $gap + $inserts[$ix])"
        " | .previous = ($edit | .offset + .length ) )"
        " | .result[] + $in[.previous:] ) // $in;", 0, "Matches replaced; groups are the input of the replacement.", "sub(\"b\"; \"x\"; \"g\")", "\"abb\"", "\"axx\""),
    JQ_DEF("sub", 2, "def sub($re; s): sub($re; s; \"\");", 0, "The first match replaced.", "sub(\"b\"; \"x\")", "\"abb\"", "\"axb\""),
    JQ_DEF("gsub", 3, "def gsub($re; s; flags): sub($re; s; flags + \"g\");", 0, "All matches replaced.", "gsub(\"B\"; \"x\"; \"i\")", "\"abb\"", "\"axx\""),
    JQ_DEF("gsub", 2, "def gsub($re; s): sub($re; s; \"g\");", 0, "All matches replaced.", "gsub(\"b\"; \"x\")", "\"abb\"", "\"axx\""),
};
// clang-format on

JQ_FAMILY(jq_regex_natives, table);
