/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of builtins, put together from its families, and how names are looked up in it.
 */
#include "jq/program.h"

#include <stdlib.h>
#include <string.h>

static const struct jq_native_family *const families[] = {
    &jq_core_natives,    &jq_text_natives,  &jq_math_natives,
    &jq_date_natives,    &jq_regex_natives, &jq_collection_natives,
    &jq_defined_natives, &jq_host_natives,  &jq_weir_natives,
};

#define FAMILY_COUNT (sizeof families / sizeof families[0])

const struct jq_native *jq_native_at(size_t index)
{
    for (size_t i = 0; i < FAMILY_COUNT; i++) {
        if (index < families[i]->count) {
            return &families[i]->natives[index];
        }
        index -= families[i]->count;
    }
    return NULL;
}

const struct jq_native *jq_native_find(struct weir_slice name, size_t arity)
{
    const struct jq_native *native;
    for (size_t i = 0; (native = jq_native_at(i)) != NULL; i++) {
        if (native->arity == arity && weir_slice_equal(weir_slice_of(native->name), name)) {
            return native;
        }
    }
    return NULL;
}

/* Letters to insert, delete, replace or swap; gives up above `most`. */
static size_t distance(struct weir_slice a, const char *b, size_t most)
{
    size_t size = strlen(b);
    if (size > 31 || a.size > 31) {
        return most + 1;
    }
    size_t rows[3][33] = {{0}};
    for (size_t j = 0; j <= size; j++) {
        rows[1][j] = j;
    }
    for (size_t i = 1; i <= a.size; i++) {
        size_t *before = rows[(i - 1) % 3], *last = rows[i % 3], *row = rows[(i + 1) % 3];
        row[0] = i;
        for (size_t j = 1; j <= size; j++) {
            size_t best = last[j - 1] + (a.data[i - 1] != b[j - 1]);
            best = last[j] + 1 < best ? last[j] + 1 : best;
            best = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
            if (i > 1 && j > 1 && a.data[i - 1] == b[j - 2] && a.data[i - 2] == b[j - 1] &&
                before[j - 2] + 1 < best) {
                best = before[j - 2] + 1;
            }
            row[j] = best;
        }
    }
    return rows[(a.size + 1) % 3][size];
}

const char *jq_native_near(struct weir_slice name)
{
    const char *near = NULL;
    size_t best = name.size < 4 ? 2 : 3;
    const struct jq_native *native;
    for (size_t i = 0; (native = jq_native_at(i)) != NULL; i++) {
        size_t far = (native->flags & JQ_HIDDEN) != 0 ? best : distance(name, native->name, best);
        if (far < best) {
            best = far;
            near = native->name;
        }
    }
    return near;
}

const struct weir_jq_builtin *weir_jq_builtin_at(size_t index)
{
    static _Thread_local struct weir_jq_builtin builtin;
    const struct jq_native *native;
    for (size_t i = 0; (native = jq_native_at(i)) != NULL; i++) {
        if ((native->flags & JQ_HIDDEN) != 0) {
            continue;
        }
        if (index-- == 0) {
            builtin = (struct weir_jq_builtin){
                .name = native->name,
                .arity = native->arity,
                .deterministic = (native->flags & JQ_UNSTABLE) == 0,
                .eval_only = (native->flags & JQ_EVAL_ONLY) != 0,
                .weir_own = (native->flags & JQ_WEIR) != 0,
                .doc = native->doc,
                .program = native->program,
                .input = native->input,
                .output = native->output,
            };
            return &builtin;
        }
    }
    return NULL;
}
