/* SPDX-License-Identifier: Apache-2.0
 *
 * A file of test cases (`weir test`): what goes in, when the clock moves, what must come out. Bound
 * by field tables like a pipeline, so its errors have a place. Immutable once loaded.
 */
#ifndef WEIR_APP_TEST_FILE_H
#define WEIR_APP_TEST_FILE_H

#include "app/loading.h"

/* What is answered to a step that asks: a table by question, or a program that gets it. */
struct weir_test_answers {
    const char *step;
    const char *table; /* text of a JSON object; NULL: the program */
    struct weir_expr program;
};

/* A step that asks. */
struct weir_test_asker {
    const char *name;  /* as the engine calls it */
    const char *label; /* as a case calls it */
    bool looks_up;     /* what is not in the table is not there; else nobody answers */
    bool takes_text;   /* a string is answered as it is */
};

/* One line of `input`: a record, or something that happens between two records. */
struct weir_test_input {
    const char *key, *value, *json; /* value: bytes as they are; json: JSON text */
    bool tombstone;
    struct weir_moment time; /* word != 0: the clock of the case */
    struct weir_map headers;
    const char *source, *topic; /* NULL: the only one */
    int64_t partition;
    weir_duration advance; /* 0: it is something else */
    weir_duration jump, jump_back;
    bool restart, end;
    struct weir_items answers; /* struct weir_test_answers: from now on */
};

struct weir_test_record {
    const char *key, *value, *json; /* NULL: not compared */
    bool tombstone;
    struct weir_moment time; /* word != 0: not compared */
    struct weir_map headers; /* these must be among its headers */
    const char *topic;
};

struct weir_test_expect {
    const char *sink;
    struct weir_items records; /* struct weir_test_record */
};

struct weir_test_fates {
    int64_t ok, filtered, late, dead, skipped;
};

struct weir_test_case {
    const char *name;
    struct weir_moment start;
    int64_t partitions;        /* 0: as many as the input names */
    struct weir_items answers; /* struct weir_test_answers */
    struct weir_items input;   /* struct weir_test_input */
    struct weir_items expect;  /* struct weir_test_expect */
    struct weir_test_fates fates;
    struct weir_map metrics;
    const char *error; /* NULL: the pipeline must not fail */
};

struct weir_test_file {
    const char *path;
    struct weir_arena arena;
    struct weir_diags diags;
    struct weir_text *text;
    struct weir_node *root;
    struct weir_binder binder;
    const char *pipeline_path; /* NULL: it stands in the file */
    struct weir_items cases;   /* struct weir_test_case */
    struct weir_items answers; /* struct weir_test_answers: of every case */
    struct weir_test_asker *askers;
    size_t asker_count;
    struct weir_loading loading; /* the pipeline */
    struct weir_plan plan;
};

/* False: errors are in file->diags or file->loading.diags. weir_test_file_done in any case. */
bool weir_test_file_load(struct weir_test_file *file, const char *path);
void weir_test_file_done(struct weir_test_file *file);
/* Shows what is wrong, on standard error. */
void weir_test_file_report(struct weir_test_file *file);
/* Was the member written? */
bool weir_test_file_has(const struct weir_test_file *file, const void *member);
/* An error where the member is written. */
struct weir_diag *
weir_test_file_error(struct weir_test_file *file, const void *member, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The line on which the index-th case begins. */
int weir_test_file_line(const struct weir_test_file *file, size_t index);

#endif
