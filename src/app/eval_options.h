/* SPDX-License-Identifier: Apache-2.0
 *
 * The command line of `weir eval`.
 */
#ifndef WEIR_APP_EVAL_OPTIONS_H
#define WEIR_APP_EVAL_OPTIONS_H

#include <weir/arena.h>
#include <weir/jq.h>

#include "data/heap.h"

struct eval_options {
    struct weir_slice program;
    bool null_input, raw_input, slurp, raw, nul, join, ascii, sort_keys, tab, lines, unbuffered;
    bool seq, stream, stream_errors, exit_status, explain, from_file;
    int indent; /* -1: two on a terminal, else compact */
    int color;  /* 1 always, 0 on a terminal, -1 never */
    const char **files;
    size_t file_count;
    const char **paths;
    size_t path_count;
    const char *prelude; /* ~/.jq, when it is a file */
    struct weir_jq_named *named;
    size_t named_count;
    struct weir_value positional;
    struct weir_arena arena; /* owns all of it */
    struct weir_heap heap;   /* values while parsing */
};

/* Negative: go on; else the exit code, and what is wrong was printed. */
int eval_options_parse(struct eval_options *options, int argc, char **argv);
void eval_options_done(struct eval_options *options);

#endif
