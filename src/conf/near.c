/* SPDX-License-Identifier: Apache-2.0
 *
 * Nearest names by edit distance with transpositions (optimal string alignment), ignoring case and
 * the difference of - and _. A name is near when at most a third of its letters differ, or when it
 * begins with what was written: "topik" is a topic, "topc" too, "colour" is not a "column".
 */
#include "conf/near.h"

#include <stdbool.h>

enum { LENGTH_MAX = 48 };

static char fold(char c)
{
    if (c >= 'A' && c <= 'Z') {
        return (char)(c - 'A' + 'a');
    }
    return c == '-' ? '_' : c;
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t edit_distance(struct weir_slice a, struct weir_slice b)
{
    size_t rows[3][LENGTH_MAX + 1];
    for (size_t j = 0; j <= b.size; j++) {
        rows[0][j] = j;
    }
    for (size_t i = 1; i <= a.size; i++) {
        size_t *row = rows[i % 3];
        const size_t *above = rows[(i - 1) % 3];
        row[0] = i;
        for (size_t j = 1; j <= b.size; j++) {
            bool same = fold(a.data[i - 1]) == fold(b.data[j - 1]);
            size_t best = smaller(above[j], row[j - 1]) + 1;
            best = smaller(best, above[j - 1] + (same ? 0 : 1));
            if (i > 1 && j > 1 && fold(a.data[i - 1]) == fold(b.data[j - 2]) &&
                fold(a.data[i - 2]) == fold(b.data[j - 1])) {
                best = smaller(best, rows[(i - 2) % 3][j - 2] + 1);
            }
            row[j] = best;
        }
    }
    return rows[a.size % 3][b.size];
}

static bool begins_with(struct weir_slice name, struct weir_slice start)
{
    if (start.size < 3 || start.size > name.size) {
        return false;
    }
    for (size_t i = 0; i < start.size; i++) {
        if (fold(name.data[i]) != fold(start.data[i])) {
            return false;
        }
    }
    return true;
}

void weir_near_init(struct weir_near *near, struct weir_slice written)
{
    *near = (struct weir_near){.written = written, .distance = (size_t)-1};
}

void weir_near_offer(struct weir_near *near, const char *name)
{
    struct weir_slice offered = weir_slice_of(name);
    if (near->written.size == 0 || near->written.size > LENGTH_MAX || offered.size > LENGTH_MAX) {
        return;
    }
    size_t distance = edit_distance(near->written, offered);
    size_t longer = near->written.size > offered.size ? near->written.size : offered.size;
    size_t allowed = longer <= 2 ? 0 : longer <= 5 ? 1 + (longer > 3) : 1 + longer / 3;
    if (distance > allowed || distance >= longer) {
        if (!begins_with(offered, near->written) && !begins_with(near->written, offered)) {
            return;
        }
        distance = longer; /* behind every name that is near by letters */
    }
    if (distance < near->distance) {
        near->distance = distance;
        near->best = name;
    }
}
