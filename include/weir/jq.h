/* SPDX-License-Identifier: Apache-2.0
 *
 * jq 1.8 programs over values.
 *
 * A program is compiled once (weir_jq_compile), is immutable from then on and may be run by any
 * number of threads. A run (struct weir_jq_run) belongs to one thread: it holds the heap, the
 * limits and what a program may ask its surroundings for. Results live in the heap of the run until
 * weir_jq_run_reset, which a lane calls once per batch; inputs are borrowed and must live as long.
 *
 *     struct weir_jq *program = weir_jq_compile(text, NULL, &fault, &err);
 *     struct weir_jq_run *run = weir_jq_run_new(NULL);
 *     for each record of the batch:
 *         weir_jq_run_set_record(run, &record);            only if weir_jq_facts says so
 *         status = weir_jq_each(run, program, input, emit, context, &err);
 *     weir_jq_run_reset(run);
 */
#ifndef WEIR_JQ_H
#define WEIR_JQ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <weir/slice.h>
#include <weir/status.h>
#include <weir/value.h>

struct weir_jq;
struct weir_jq_run;

/* ── compiling ── */

struct weir_jq_named {
    const char *name; /* without the $ */
    struct weir_value value;
};

struct weir_jq_options {
    const char *name;         /* of the text, in messages and $__loc__; NULL: "<top-level>" */
    bool eval;                /* allow input, debug, halt … */
    bool environment;         /* allow $ENV and env */
    bool answer;              /* allow $answer */
    const char *const *paths; /* where import and include look; NULL: modules are refused */
    size_t path_count;
    const char *origin;  /* where relative search paths of the program begin; NULL: here */
    const char *prelude; /* a file of definitions that the program sees; NULL: none */
    const struct weir_jq_named *named; /* global variables; copied */
    size_t named_count;
};

/* Where in the program text an error is: bytes [offset, offset + size). err->line and err->column
 * say the same, 1-based, counted in the program text. */
struct weir_jq_fault {
    size_t offset, size;
    int line, column;
};

/* NULL and a message on failure (WEIR_CONFIG). The text is copied. */
struct weir_jq *weir_jq_compile(struct weir_slice text,
                                const struct weir_jq_options *options,
                                struct weir_jq_fault *ret_fault,
                                struct weir_err *err);
void weir_jq_free(struct weir_jq *program);

struct weir_jq_facts {
    bool deterministic; /* same input, same results: no now, no environment, no input */
    bool single;        /* yields exactly one result, or fails */
    bool several;       /* yields at least two results, or fails */
    bool constant;      /* looks at nothing: not at the input, not at $record */
    bool uses_record;   /* reads $record */
    bool uses_answer;   /* reads $answer */
};
struct weir_jq_facts weir_jq_facts(const struct weir_jq *program);
/* The compiled form, indented, one operation a line: for `eval --explain`. */
void weir_jq_explain(const struct weir_jq *program, struct weir_strbuf *buf);

/* ── running ── */

/* 0 means the default, which no honest program meets. */
struct weir_jq_limits {
    uint64_t steps;       /* operations per evaluation; default 2^32 */
    uint32_t depth;       /* nested evaluations; default 100,000 */
    uint64_t results;     /* results of one evaluation; default 1,000,000 */
    size_t memory_bytes;  /* of one evaluation; default 256 MiB */
    uint32_t regex_steps; /* backtracking of one match; default 10,000,000 */
};

struct weir_jq_run *weir_jq_run_new(const struct weir_jq_limits *limits);
void weir_jq_run_free(struct weir_jq_run *run);
/* Drops all results. */
void weir_jq_run_reset(struct weir_jq_run *run);

struct weir_jq_header {
    struct weir_slice key, value;
};

/* What $record shows; read when the program does. Borrowed until the next call or reset. */
struct weir_jq_record {
    struct weir_slice key; /* data == NULL: null; what is not UTF-8 becomes U+FFFD */
    struct weir_slice topic;
    int64_t partition, offset;
    int64_t time_ms;
    bool has_time;
    const struct weir_jq_header *headers;
    size_t header_count;
};
void weir_jq_run_set_record(struct weir_jq_run *run, const struct weir_jq_record *record);
/* What $answer is: a value that is not the run's own (parsed, a number). Until the next call or
 * reset; null before. */
void weir_jq_run_set_answer(struct weir_jq_run *run, struct weir_value answer);

/* Takes one result, borrowed; valid until reset. Anything but WEIR_OK ends the evaluation and is
 * returned by weir_jq_each. */
typedef weir_status (*weir_jq_emit)(void *context, struct weir_value value, struct weir_err *err);

/* Runs the program on one input. WEIR_EVAL: the program failed, with jq's message; WEIR_LIMIT: a
 * limit was reached. Results before a failure were emitted. */
WEIR_MUST_USE weir_status weir_jq_each(struct weir_jq_run *run,
                                       const struct weir_jq *program,
                                       struct weir_value input,
                                       weir_jq_emit emit,
                                       void *context,
                                       struct weir_err *err);
/* The one result of a program. WEIR_EVAL when it yields none or several ("… yields no value"). */
WEIR_MUST_USE weir_status weir_jq_one(struct weir_jq_run *run,
                                      const struct weir_jq *program,
                                      struct weir_value input,
                                      struct weir_value *ret_value,
                                      struct weir_err *err);
/* A filter: true if some result is neither false nor null. */
WEIR_MUST_USE weir_status weir_jq_test(struct weir_jq_run *run,
                                       const struct weir_jq *program,
                                       struct weir_value input,
                                       bool *ret_pass,
                                       struct weir_err *err);
/* The value of the last error (WEIR_EVAL): what `error(…)` was given. Absent if there is none. */
struct weir_value weir_jq_error_value(const struct weir_jq_run *run);

/* ── the surroundings, for `weir eval` ── */

struct weir_jq_host {
    void *context;
    /* The next input: WEIR_OK, WEIR_END, or a failure with its message. */
    weir_status (*input)(void *context, struct weir_value *ret_value, struct weir_err *err);
    void (*debug)(void *context, struct weir_value value);
    void (*stderr_write)(void *context, struct weir_value value);
    const char *(*input_filename)(void *context);
    uint64_t (*input_line)(void *context);
};
void weir_jq_run_set_host(struct weir_jq_run *run, const struct weir_jq_host *host);
/* After `halt` or `halt_error` (weir_jq_each returned WEIR_ABORTED): the exit code, and the value
 * to print (absent for halt). */
int weir_jq_run_halted(const struct weir_jq_run *run, struct weir_value *ret_value);

/* ── the table of builtins, for docs ── */

struct weir_jq_builtin {
    const char *name;
    int arity;
    bool deterministic;
    bool eval_only;                       /* refused in pipelines */
    bool weir_own;                        /* not part of jq */
    const char *doc;                      /* one sentence */
    const char *program, *input, *output; /* an example; NULL: none */
};
/* NULL behind the last. */
const struct weir_jq_builtin *weir_jq_builtin_at(size_t index);

#endif
