/* SPDX-License-Identifier: Apache-2.0
 *
 * A JSON value: 16 bytes, passed by value.
 *
 *      0      1      2         4              8                              16
 *     ┌──────┬──────┬─────────┬──────────────┬──────────────────────────────┐
 *     │ kind │ form │ flags   │ size         │ number · bytes · container   │
 *     └──────┴──────┴─────────┴──────────────┴──────────────────────────────┘
 *
 * Kinds stand in jq's order of types, so kinds compare as jq compares. The form says where the
 * content lies; readers never look at it: a number may be a double or still its text in the
 * document (it is converted when somebody computes with it, and printed without loss when nobody
 * did), and an array or object may be a node of the parsed document, for which nothing was built.
 *
 * A value borrows what it points at: the bytes of a parsed document and its arena, a program's
 * constants, or the heap of an evaluation (counted, private to src/data and src/jq). Whoever gives
 * a value says how long it lives. A zeroed value is "absent": no value at all, not null.
 */
#ifndef WEIR_VALUE_H
#define WEIR_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <weir/slice.h>
#include <weir/status.h>
#include <weir/strbuf.h>

enum weir_kind {
    WEIR_KIND_ABSENT,
    WEIR_KIND_NULL,
    WEIR_KIND_FALSE,
    WEIR_KIND_TRUE,
    WEIR_KIND_NUMBER,
    WEIR_KIND_STRING,
    WEIR_KIND_ARRAY,
    WEIR_KIND_OBJECT,
};

enum weir_form {
    WEIR_FORM_PLAIN = 0,      /* null, booleans, doubles, strings */
    WEIR_FORM_TEXT = 1,       /* a number that still is its decimal text */
    WEIR_FORM_NODE = 2,       /* an array or object of a parsed document */
    WEIR_FORM_BUILT = 3,      /* an array or object built in memory */
    WEIR_FORM_COUNTED = 0x80, /* or-ed in: reference-counted in an evaluation's heap */
};

/* Private to src/data. */
enum weir_value_flags {
    WEIR_VALUE_PLAIN = 1,   /* a text that is printed as it stands */
    WEIR_VALUE_DOUBLED = 2, /* a parsed object that has a key twice */
};

struct weir_value {
    uint8_t kind;   /* enum weir_kind */
    uint8_t form;   /* enum weir_form */
    uint16_t flags; /* enum weir_value_flags */
    uint32_t size;  /* of strings and number texts, in bytes; of parsed containers: members */
    union {
        double number;
        const char *bytes;
        const void *container;
    } as;
};

static inline struct weir_value weir_value_null(void)
{
    return (struct weir_value){.kind = WEIR_KIND_NULL};
}

static inline struct weir_value weir_value_bool(bool truth)
{
    return (struct weir_value){.kind = truth ? WEIR_KIND_TRUE : WEIR_KIND_FALSE};
}

static inline struct weir_value weir_value_number(double number)
{
    return (struct weir_value){.kind = WEIR_KIND_NUMBER, .as.number = number};
}

/* Borrows the bytes, which must be valid UTF-8 and at most 4 GiB - 1. */
static inline struct weir_value weir_value_string(struct weir_slice text)
{
    return (struct weir_value){
        .kind = WEIR_KIND_STRING, .size = (uint32_t)text.size, .as.bytes = text.data};
}

static inline enum weir_kind weir_value_kind(struct weir_value value)
{
    return (enum weir_kind)value.kind;
}

static inline bool weir_value_is_absent(struct weir_value value)
{
    return value.kind == WEIR_KIND_ABSENT;
}

/* jq's truth: everything but false and null (and absent). */
static inline bool weir_value_is_true(struct weir_value value)
{
    return value.kind > WEIR_KIND_FALSE;
}

/* The bytes of a string; of any other kind: absent. Lives as long as the value. */
static inline struct weir_slice weir_value_text(struct weir_value value)
{
    return value.kind == WEIR_KIND_STRING ? (struct weir_slice){value.as.bytes, value.size}
                                          : (struct weir_slice){NULL, 0};
}

/* jq's name of the kind: "null", "boolean", "number", "string", "array", "object". */
const char *weir_value_kind_name(struct weir_value value);

/* A number as a double (what jq computes with); NAN for any other kind. */
double weir_value_double(struct weir_value value);
/* True if the value is a number whose double is integral and fits. */
bool weir_value_int64(struct weir_value value, int64_t *ret);

/* Elements of an array, members of an object (doubled keys once); 0 for other kinds. */
size_t weir_value_count(struct weir_value value);

/* The member named key; absent if there is none or the value is no object. Borrowed. */
struct weir_value weir_value_get(struct weir_value object, struct weir_slice key);
/* The element at index; absent if there is none or the value is no array. Borrowed. Parsed arrays
 * are walked: use the iterator to visit all. */
struct weir_value weir_value_at(struct weir_value array, size_t index);

/* Walks the elements of an array or the members of an object in jq's printing order. */
struct weir_value_iter {
    const void *at;
    const void *owner;
    size_t index, count;
    uint8_t kind, form;
    bool doubled; /* the object has a key twice: skip all but the first, take the last value */
};
void weir_value_iter_init(struct weir_value_iter *iter, struct weir_value container);
/* False at the end. ret_key may be NULL; it is absent for arrays. Both results are borrowed. */
bool weir_value_iter_next(struct weir_value_iter *iter,
                          struct weir_value *ret_key,
                          struct weir_value *ret_value);

/* jq's order over all values: negative, 0 or positive. Numbers that still are text compare exactly,
 * others as doubles; nan is less than any number. */
int weir_value_compare(struct weir_value a, struct weir_value b);
bool weir_value_equal(struct weir_value a, struct weir_value b);
/* A hash that agrees with weir_value_equal. */
uint64_t weir_value_hash(struct weir_value value);

enum weir_write_flags {
    WEIR_WRITE_COMPACT = 0,
    WEIR_WRITE_SORTED = 1, /* members by key */
    WEIR_WRITE_ASCII = 2,  /* everything above 0x7f as \u escapes */
    WEIR_WRITE_TAB = 4,    /* indent with tabs */
    WEIR_WRITE_COLOR = 8,
    WEIR_WRITE_LINES = 16,       /* an item a line, even without indentation */
    WEIR_WRITE_INDENT_SHIFT = 8, /* n << SHIFT: indent by n spaces */
};

/* Appends the value as JSON, as jq 1.8.2 prints it. An absent value writes nothing. */
void weir_value_write(struct weir_value value, struct weir_strbuf *buf, unsigned flags);
/* Colours as in $JQ_COLORS: null:false:true:numbers:strings:arrays:objects:keys, each the inside of
 * an SGR escape; those that are left out stay. False: it is not of that form, and nothing changed.
 * For the whole process, before anything is written. */
bool weir_value_set_colors(const char *text);

#endif
