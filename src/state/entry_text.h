/* SPDX-License-Identifier: Apache-2.0
 *
 * Entries as people see them: a line of JSON, and the question whether one is of a key that somebody
 * names.
 */
#ifndef WEIR_STATE_ENTRY_TEXT_H
#define WEIR_STATE_ENTRY_TEXT_H

#include <stdint.h>

#include <weir/slice.h>
#include <weir/strbuf.h>

enum { WEIR_ENTRY_LINE_MAX = 128 << 20 }; /* bytes */

/* Borrowed. */
struct weir_entry_text {
    const char *topic;
    int32_t partition;
    const char *step;
    struct weir_slice key, value;
    int64_t timer; /* WEIR_NO_TIMER: none */
    /* weir_step_ops.show of the step; may be NULL. */
    void (*show)(struct weir_slice key, struct weir_slice value, struct weir_strbuf *out);
};

/* {"topic":…,"partition":…,"step":…,"key":"hex","timer":…,"value":"hex","shows":{…}} and a newline.
 */
void weir_entry_text_put(const struct weir_entry_text *entry, struct weir_strbuf *out);

/* A key as somebody writes it: JSON, or the text of a string. */
struct weir_wanted_key {
    struct weir_strbuf json, quoted, text; /* as it is; taken for a text; the text of a JSON string */
};

void weir_wanted_key_init(struct weir_wanted_key *wanted, const char *key);
void weir_wanted_key_done(struct weir_wanted_key *wanted);
/* Is it what the step shows as the key of an entry with this one? show may be NULL: no. */
bool weir_wanted_key_is(const struct weir_wanted_key *wanted,
                        struct weir_slice key,
                        void (*show)(struct weir_slice key,
                                     struct weir_slice value,
                                     struct weir_strbuf *out));

#endif
