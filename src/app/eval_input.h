/* SPDX-License-Identifier: Apache-2.0
 *
 * The inputs of `weir eval`: files one after the other, as values, lines or events.
 */
#ifndef WEIR_APP_EVAL_INPUT_H
#define WEIR_APP_EVAL_INPUT_H

#include <stdio.h>

#include "app/eval_options.h"
#include "data/reader.h"

struct eval_input {
    const struct eval_options *options;
    struct weir_reader *reader; /* NULL with raw input */
    struct weir_heap heap;      /* of the reader */
    FILE *file;                 /* NULL: open the next */
    size_t next_file;
    const char *name; /* of the file being read */
    char *line_text;
    size_t line_room;
    uint64_t line; /* line ends seen in it */
    unsigned failures;
    bool slurped, fed_last;
};

void eval_input_open(struct eval_input *input, const struct eval_options *options);
void eval_input_close(struct eval_input *input);
/* WEIR_OK and a value in the heap; WEIR_END; WEIR_INVALID with the reader's message. */
weir_status eval_input_next(struct eval_input *input,
                            struct weir_heap *heap,
                            struct weir_value *ret_value,
                            struct weir_err *err);
/* The file being read; NULL before the first. */
const char *eval_input_name(const struct eval_input *input);

#endif
