/* SPDX-License-Identifier: Apache-2.0
 *
 * A question to a running pipeline: what do its steps keep for a key? Asked by the HTTP thread,
 * answered by control with what is committed.
 */
#ifndef WEIR_ENGINE_INQUIRY_H
#define WEIR_ENGINE_INQUIRY_H

#include <stdint.h>

#include <weir/strbuf.h>

struct weir_engine;
struct weir_inquiry;

enum weir_inquiry_end {
    WEIR_INQUIRY_OPEN, /* no answer yet */
    WEIR_INQUIRY_FOUND,
    WEIR_INQUIRY_NOTHING, /* nothing is kept for the key */
    WEIR_INQUIRY_LARGE,   /* more than an answer may have */
    WEIR_INQUIRY_LATE,    /* the table is too large to be searched in time */
    WEIR_INQUIRY_IDLE,    /* the engine has no partitions now: it stands by, restores, or ends */
};

/* Any thread but control. step: of one step only; NULL: of all. NULL: too many are waiting. */
struct weir_inquiry *
weir_engine_ask(struct weir_engine *engine, const char *step, const char *key);
enum weir_inquiry_end weir_inquiry_end(const struct weir_inquiry *inquiry);
/* Found: the entries, a line each (state/entry_text.h). Borrowed. */
const struct weir_strbuf *weir_inquiry_answer(const struct weir_inquiry *inquiry);
/* Who asked wants it no longer, answered or not; NULL is ignored. */
void weir_inquiry_drop(struct weir_inquiry *inquiry);

/* --- the engine's ------------------------------------------------------------------------------*/

/* Looks on for a moment. control. */
void weir_engine_answer(struct weir_engine *engine);
/* When it wants to be called again; INT64_MAX: nobody asks. control. */
int64_t weir_engine_answer_ns(const struct weir_engine *engine);
/* Nothing will be answered any more. */
void weir_engine_answer_none(struct weir_engine *engine);

#endif
