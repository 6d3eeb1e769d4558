/* SPDX-License-Identifier: Apache-2.0
 *
 * The field table: everything weir knows about a configuration, as data.
 *
 * A component declares a struct for its configuration and one row per member. Parsing, defaults,
 * bounds, choices, required fields, cross-field rules, suggestions, redaction, `weir explain`,
 * `weir schema`, `weir docs` and docs/reference read these rows; nothing restates them, and there
 * is no validate() callback. Rows are static and immutable; any thread.
 *
 *     struct example_config {
 *         struct weir_strs brokers;
 *         weir_duration linger;
 *         struct weir_template topic;
 *     };
 *     #define S struct example_config
 *     static const struct weir_field example_fields[] = {
 *         WEIR_F_STRS(S, brokers, .flags = WEIR_REQUIRED, .example = "localhost:9092",
 *                     .help = "Seed brokers, host:port."),
 *         WEIR_F_DURATION(S, linger, .fallback = "5ms", .min = 0, .max = 60000, .help = "…."),
 *         WEIR_F_TEMPLATE(S, topic, .flags = WEIR_REQUIRED, .help = "…."),
 *         WEIR_FIELDS_END,
 *     };
 *     #undef S
 *
 * The bound struct starts zeroed. A field that the user left out gets its `fallback`, a text that
 * goes through the same parser as the user's; without a fallback the member stays zero (strings
 * NULL, lists empty, expressions with program == NULL). Whatever members point at lives in the
 * configuration's arena, as long as the pipeline; strings are NUL-terminated UTF-8 without NUL.
 */
#ifndef WEIR_FIELDS_H
#define WEIR_FIELDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <weir/slice.h>
#include <weir/status.h>

/* --- member types ----------------------------------------------------------------------------- */

typedef int64_t weir_duration; /* milliseconds; written 10ms 1s 5m 1h 2d */
typedef int64_t weir_bytesize; /* bytes; written 4096 64KiB 10MB */

/* Where something stands in the user's text. line == 0: nowhere (a default). */
struct weir_place {
    const char *file;
    int line, column; /* 1-based; the column counts characters */
};

struct weir_strs {
    const char **items;
    size_t count;
};

struct weir_pair {
    const char *key, *value;
};

struct weir_map {
    struct weir_pair *items; /* in the order written; keys are unique */
    size_t count;
};

/* 100ms..10s; a single duration is both ends. */
struct weir_duration_range {
    weir_duration min, max;
};

/* A jq program, compiled when the configuration is loaded. program == NULL: the field is absent. */
struct weir_jq;
struct weir_expr {
    struct weir_slice text;
    const struct weir_jq *program;
    struct weir_place place;
};

/* `orders`, or {jq: EXPR}. text != NULL: a constant; else expr.program != NULL; else absent. */
struct weir_template {
    const char *text;
    struct weir_expr expr;
};

/* A word of the choices, or a point in time (RFC 3339, or milliseconds since the epoch).
 * word != 0: the choice's value (so choices start at 1); else time_ms. */
struct weir_moment {
    int word;
    int64_t time_ms;
};

/* What can be called in a mapping of calls: `orders: count`, `p95: quantile(.ms; 0.95)`. Ends with
 * name == NULL. */
struct weir_callable {
    const char *name;
    int min_args, max_args;
    const char *signature, *help; /* "quantile(expr; q)"; a sentence */
};

enum { WEIR_CALL_ARGS_MAX = 3 };

struct weir_call {
    const char *name; /* the key */
    const char *text; /* as written */
    int function;     /* index into the callables */
    struct weir_expr args[WEIR_CALL_ARGS_MAX];
    size_t arg_count;
};

struct weir_calls {
    struct weir_call *items; /* in the order written */
    size_t count;
};

/* A component picked by name and its bound configuration (of described->config_size bytes).
 * described == NULL: absent. */
struct weir_described;
struct weir_chosen {
    const struct weir_described *described;
    const void *config;
    struct weir_place place;
};

/* Items of a list of objects, item_size bytes each: WEIR_ITEMS_AT(struct x, &list, i). */
struct weir_items {
    void *items;
    size_t count;
};
#define WEIR_ITEMS_AT(T, list, i) (&((T *)(list)->items)[i])

/* --- rows ------------------------------------------------------------------------------------- */

enum weir_type {
    WEIR_TYPE_END,            /* ends a table */
    WEIR_TYPE_STR,            /* const char * */
    WEIR_TYPE_INT,            /* int64_t */
    WEIR_TYPE_NUMBER,         /* double */
    WEIR_TYPE_BOOL,           /* bool */
    WEIR_TYPE_DURATION,       /* weir_duration */
    WEIR_TYPE_DURATION_RANGE, /* struct weir_duration_range */
    WEIR_TYPE_SIZE,           /* weir_bytesize */
    WEIR_TYPE_ENUM,           /* int: the value of the choice */
    WEIR_TYPE_MOMENT,         /* struct weir_moment */
    WEIR_TYPE_STRS,           /* struct weir_strs; one string is a list of one; "a,b" is two */
    WEIR_TYPE_MAP,            /* struct weir_map of scalars as text */
    WEIR_TYPE_JQ,             /* struct weir_expr */
    WEIR_TYPE_TEMPLATE,       /* struct weir_template */
    WEIR_TYPE_CALLS,          /* struct weir_calls: a mapping of names to calls */
    WEIR_TYPE_OBJECT,         /* a struct inside this one, described by children */
    WEIR_TYPE_OBJECT_PTR,     /* a pointer to such a struct, NULL when absent or `off` */
    WEIR_TYPE_LIST,           /* struct weir_items of such structs */
    WEIR_TYPE_COMPONENT,      /* struct weir_chosen: the object's one key that is no other field */
    WEIR_TYPE_COUNT
};

/* What a registry is asked for: `source:`, an entry of `steps:`, `sink:`. */
enum weir_role { WEIR_ROLE_SOURCE = 1, WEIR_ROLE_STEP, WEIR_ROLE_SINK, WEIR_ROLE_COUNT };

enum weir_field_flags {
    WEIR_REQUIRED = 1,
    WEIR_SECRET = 2,   /* shown as ***; belongs in ${VAR} or ${file:…} */
    WEIR_ADVANCED = 4, /* listed after the others */
    WEIR_SHORT = 8,    /* a scalar or list in place of the object binds to this field: filter: .a */
    WEIR_CONNECTION = 16, /* unset: taken from the component of the same system before this one,
                             unless this one writes a WEIR_ADDRESS field of its own */
    WEIR_ADDRESS = 32,    /* names the system (brokers, url); taken over like WEIR_CONNECTION */
    WEIR_OFF = 64,        /* OBJECT_PTR: `off` is allowed and leaves NULL */
    WEIR_NAME = 128,      /* STR: only a-z 0-9 . _ - */
    WEIR_UNIQUE = 256,    /* STR in the objects of a list: no two have the same */
    WEIR_HOST_PORT = 512, /* STR: HOST:PORT, :PORT or [IPV6]:PORT */
    WEIR_MANY = 1024,     /* JQ: may have several results; otherwise one is needed */
    WEIR_ANSWER = 2048,   /* JQ: knows $answer (struct weir_ask_ops) */
};

/* A word a field can have. Ends with name == NULL. */
struct weir_choice {
    const char *name;
    int value;
    const char *help;
};

struct weir_rule;

struct weir_field {
    const char *name;       /* snake_case; COMPONENT: NULL */
    const char *help;       /* a sentence or more, in the user's words, ending in a full stop */
    const char *fallback;   /* the default, in configuration syntax */
    const char *unset;      /* without a fallback: what being absent means ("the name", "CPUs") */
    const char *example;    /* a value, in configuration syntax */
    const char *since;      /* the version it came with, when later than its component */
    const char *deprecated; /* what to use instead */
    const char *elsewhere;  /* names of it in other programs, "a,b": suggested when written here */
    enum weir_type type;
    enum weir_role kind; /* COMPONENT: which */
    uint32_t flags;      /* enum weir_field_flags */
    size_t offset;
    int64_t min, max; /* both 0: no bounds. Value, ms, bytes; STR, STRS, LIST: length, count */
    const struct weir_choice *choices;     /* ENUM, MOMENT */
    const struct weir_callable *callables; /* CALLS */
    const struct weir_field *children;     /* OBJECT, OBJECT_PTR, LIST */
    const struct weir_rule *rules;         /* of the children; may be NULL */
    size_t item_size;                      /* OBJECT, OBJECT_PTR, LIST: size of the struct */
    /* MAP: whether the entry can be; err says why not. Any thread. NULL: every entry can. */
    weir_status (*entry)(const char *key, const char *value, struct weir_err *err);
};

/* Relations between fields of one object, judged by what the user wrote. */
enum weir_rule_type {
    WEIR_RULE_END,
    WEIR_RULE_EXACTLY_ONE,  /* of fields */
    WEIR_RULE_AT_MOST_ONE,  /* of fields */
    WEIR_RULE_AT_LEAST_ONE, /* of fields */
    WEIR_RULE_NEEDS,        /* fields[0] is written only together with all the others */
};

struct weir_rule {
    enum weir_rule_type type;
    const char *fields[9]; /* NULL-terminated when fewer */
    const char *hint;      /* what to do, a sentence; may be NULL */
};

#define WEIR_FIELDS_END                                                                            \
    {                                                                                              \
        .type = WEIR_TYPE_END                                                                      \
    }
#define WEIR_RULES_END                                                                             \
    {                                                                                              \
        .type = WEIR_RULE_END                                                                      \
    }
#define WEIR_CHOICES_END                                                                           \
    {                                                                                              \
        .name = NULL                                                                               \
    }

/* What can be picked by name in a configuration. A component embeds one (weir/component.h). */
struct weir_described {
    enum weir_role kind;
    const char *name;    /* the YAML key */
    const char *system;  /* components of one system share connections; NULL: the name */
    const char *summary; /* one line for `weir list`, ending in a full stop */
    const char *help;    /* Markdown for `weir docs`; may be NULL */
    const char *example; /* YAML of an entry, such as "kafka: {…}"; checked by the tests */
    const struct weir_field *fields; /* NULL: no options */
    const struct weir_rule *rules;   /* may be NULL */
    size_t config_size;
};

/* Where the binder finds components: the index-th of a kind, NULL behind the last. */
struct weir_registry {
    const struct weir_described *(*at)(const void *context, enum weir_role kind, size_t index);
    const void *context;
};

/* --- making rows ------------------------------------------------------------------------------ */

/* offsetof() that does not compile when the member has another C type. */
#define WEIR_AT(S, m, T)                                                                           \
    (offsetof(S, m) + 0 * sizeof(struct {                                                          \
                          _Static_assert(_Generic(&((S *)0)->m, T * : 1, default : 0),             \
                                         #m ": field type differs from struct member");            \
                          int unused;                                                              \
                      }))

#define WEIR_FIELD_(S, m, TYPE, T, ...)                                                            \
    {                                                                                              \
        .name = #m, .type = WEIR_TYPE_##TYPE, .offset = WEIR_AT(S, m, T), __VA_ARGS__              \
    }
/* S: the struct; m: the member, which is also the YAML key; then .fallback, .min, .flags, .help …
 */
#define WEIR_F_STR(S, m, ...) WEIR_FIELD_(S, m, STR, const char *, __VA_ARGS__)
#define WEIR_F_INT(S, m, ...) WEIR_FIELD_(S, m, INT, int64_t, __VA_ARGS__)
#define WEIR_F_NUMBER(S, m, ...) WEIR_FIELD_(S, m, NUMBER, double, __VA_ARGS__)
#define WEIR_F_BOOL(S, m, ...) WEIR_FIELD_(S, m, BOOL, bool, __VA_ARGS__)
#define WEIR_F_DURATION(S, m, ...) WEIR_FIELD_(S, m, DURATION, weir_duration, __VA_ARGS__)
#define WEIR_F_DURATION_RANGE(S, m, ...)                                                           \
    WEIR_FIELD_(S, m, DURATION_RANGE, struct weir_duration_range, __VA_ARGS__)
#define WEIR_F_SIZE(S, m, ...) WEIR_FIELD_(S, m, SIZE, weir_bytesize, __VA_ARGS__)
#define WEIR_F_ENUM(S, m, CHOICES, ...)                                                            \
    WEIR_FIELD_(S, m, ENUM, int, .choices = (CHOICES), __VA_ARGS__)
#define WEIR_F_MOMENT(S, m, CHOICES, ...)                                                          \
    WEIR_FIELD_(S, m, MOMENT, struct weir_moment, .choices = (CHOICES), __VA_ARGS__)
#define WEIR_F_STRS(S, m, ...) WEIR_FIELD_(S, m, STRS, struct weir_strs, __VA_ARGS__)
#define WEIR_F_MAP(S, m, ...) WEIR_FIELD_(S, m, MAP, struct weir_map, __VA_ARGS__)
#define WEIR_F_JQ(S, m, ...) WEIR_FIELD_(S, m, JQ, struct weir_expr, __VA_ARGS__)
#define WEIR_F_TEMPLATE(S, m, ...) WEIR_FIELD_(S, m, TEMPLATE, struct weir_template, __VA_ARGS__)
#define WEIR_F_CALLS(S, m, CALLABLES, ...)                                                         \
    WEIR_FIELD_(S, m, CALLS, struct weir_calls, .callables = (CALLABLES), __VA_ARGS__)
/* T: the type of the member (of what it points at, of one item); FIELDS: its table. */
#define WEIR_F_OBJECT(S, m, T, FIELDS, ...)                                                        \
    WEIR_FIELD_(S, m, OBJECT, T, .children = (FIELDS), .item_size = sizeof(T), __VA_ARGS__)
#define WEIR_F_OBJECT_PTR(S, m, T, FIELDS, ...)                                                    \
    WEIR_FIELD_(S, m, OBJECT_PTR, T *, .children = (FIELDS), .item_size = sizeof(T), __VA_ARGS__)
#define WEIR_F_LIST(S, m, T, FIELDS, ...)                                                          \
    WEIR_FIELD_(S, m, LIST, struct weir_items, .children = (FIELDS), .item_size = sizeof(T),       \
                __VA_ARGS__)
/* At most one in a table. The key itself is the component's name. */
#define WEIR_F_COMPONENT(S, m, KIND, ...)                                                          \
    {                                                                                              \
        .name = NULL, .type = WEIR_TYPE_COMPONENT, .kind = (KIND),                                 \
        .offset = WEIR_AT(S, m, struct weir_chosen), __VA_ARGS__                                   \
    }
/* A row whose YAML key is not the member's name, such as a key that is a C keyword. */
#define WEIR_F_NAMED(S, m, KEY, TYPE, T, ...)                                                      \
    {                                                                                              \
        .name = (KEY), .type = WEIR_TYPE_##TYPE, .offset = WEIR_AT(S, m, T), __VA_ARGS__           \
    }

#endif
