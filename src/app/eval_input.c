/* SPDX-License-Identifier: Apache-2.0
 *
 * Inputs come line by line, as jq reads them, so that a value typed at a terminal is answered at
 * once and errors know their line. All files form one text: a value may start in one file and end
 * in the next. A file that cannot be opened is reported and counted; the others are read.
 */
#include "app/eval_input.h"

#include "base/alloc.h"

#include <errno.h>
#include <stdlib.h>

void eval_input_open(struct eval_input *input, const struct eval_options *options)
{
    *input = (struct eval_input){.options = options};
    weir_heap_init(&input->heap, 0);
    if (!options->raw_input) {
        unsigned flags = (options->seq ? WEIR_READER_SEQ : 0u) |
                         (options->stream ? WEIR_READER_STREAM : 0u) |
                         (options->stream_errors ? WEIR_READER_STREAM_ERRORS : 0u);
        input->reader = weir_reader_new(&input->heap, flags, 0);
    }
}

static void close_file(struct eval_input *input)
{
    if (input->file != NULL && input->file != stdin) {
        fclose(input->file);
    }
    input->file = NULL;
}

void eval_input_close(struct eval_input *input)
{
    close_file(input);
    weir_reader_free(input->reader);
    weir_heap_done(&input->heap);
    weir_free(input->line_text);
}

const char *eval_input_name(const struct eval_input *input)
{
    return input->name;
}

/* False: no more files. */
static bool open_next(struct eval_input *input)
{
    const struct eval_options *options = input->options;
    while (input->file == NULL) {
        const char *path = "-";
        if (options->file_count == 0 ? input->next_file > 0
                                     : input->next_file == options->file_count) {
            return false;
        }
        if (options->file_count > 0) {
            path = options->files[input->next_file];
        }
        input->next_file++;
        input->line = 0;
        if (strcmp(path, "-") == 0) {
            input->file = stdin;
            input->name = "<stdin>";
            return true;
        }
        input->file = fopen(path, "rb");
        input->name = path;
        if (input->file == NULL) {
            fprintf(stderr, "weir: error: Could not open file %s: %s\n", path, strerror(errno));
            input->failures++;
        }
    }
    return true;
}

/* The next line with its end; size 0: the end of all files. */
static struct weir_slice next_line(struct eval_input *input)
{
    while (open_next(input)) {
        ssize_t size = getline(&input->line_text, &input->line_room, input->file);
        if (size > 0) {
            input->line += input->line_text[size - 1] == '\n';
            return (struct weir_slice){input->line_text, (size_t)size};
        }
        if (ferror(input->file)) {
            fprintf(stderr, "weir: error: %s: %s\n", input->name, strerror(errno));
            input->failures++;
        }
        close_file(input);
    }
    return (struct weir_slice){"", 0};
}

static struct weir_value clean_text(struct weir_heap *heap, struct weir_slice text)
{
    struct weir_strbuf buf;
    weir_strbuf_init(&buf, SIZE_MAX / 2);
    weir_utf8_clean(text, &buf);
    struct weir_value value = weir_string_new(heap, weir_strbuf_view(&buf));
    weir_strbuf_done(&buf);
    return value;
}

static weir_status
next_raw(struct eval_input *input, struct weir_heap *heap, struct weir_value *ret_value)
{
    if (input->options->slurp) {
        if (input->slurped) {
            return WEIR_END;
        }
        input->slurped = true;
        struct weir_strbuf all;
        weir_strbuf_init(&all, SIZE_MAX / 2);
        for (struct weir_slice line; (line = next_line(input)).size > 0;) {
            weir_strbuf_slice(&all, line);
        }
        *ret_value = clean_text(heap, weir_strbuf_view(&all));
        weir_strbuf_done(&all);
        return WEIR_OK;
    }
    struct weir_slice line = next_line(input);
    if (line.size == 0) {
        return WEIR_END;
    }
    line.size -= line.data[line.size - 1] == '\n';
    *ret_value = clean_text(heap, line);
    return WEIR_OK;
}

static weir_status next_value(struct eval_input *input,
                              struct weir_heap *heap,
                              struct weir_value *ret_value,
                              struct weir_err *err)
{
    for (;;) {
        struct weir_value value;
        switch (weir_reader_next(input->reader, &value)) {
        case WEIR_READER_VALUE:
            *ret_value = weir_heap_copy(heap, value);
            weir_release(&input->heap, value);
            return WEIR_OK;
        case WEIR_READER_ERROR:
            return weir_fail(err, WEIR_INVALID, "%s", weir_reader_message(input->reader));
        case WEIR_READER_END:
            return WEIR_END;
        case WEIR_READER_MORE:
        default:
            break;
        }
        if (input->fed_last) {
            return WEIR_END;
        }
        struct weir_slice line = next_line(input);
        input->fed_last = line.size == 0;
        weir_reader_feed(input->reader, line, input->fed_last);
    }
}

weir_status eval_input_next(struct eval_input *input,
                            struct weir_heap *heap,
                            struct weir_value *ret_value,
                            struct weir_err *err)
{
    if (input->reader == NULL) {
        return next_raw(input, heap, ret_value);
    }
    if (!input->options->slurp) {
        return next_value(input, heap, ret_value, err);
    }
    if (input->slurped) {
        return WEIR_END;
    }
    input->slurped = true;
    struct weir_value all = weir_array_new(heap, 16), value;
    weir_status status;
    while ((status = next_value(input, heap, &value, err)) == WEIR_OK) {
        all = weir_array_push(heap, all, value);
    }
    *ret_value = all;
    return status == WEIR_END ? WEIR_OK : status;
}
