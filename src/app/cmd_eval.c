/* SPDX-License-Identifier: Apache-2.0
 *
 * weir eval: jq for the terminal, with jq's options and exit codes, so that a program can be tried
 * before it goes into a pipeline, and scripts that call jq can call this.
 *
 *     0 done · 1 last result false or null (-e) · 2 usage or input · 3 the program does not compile
 *     4 no result (-e) · 5 the program failed · anything: halt_error(n)
 *
 * Inputs are read piece by piece: a stream of any length runs in the memory of one value. What was
 * read is copied into the heap of the run, which is reset behind each input.
 */
#include <errno.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <weir/jq.h>

#include "app/commands.h"
#include "app/eval_input.h"
#include "app/eval_options.h"
#include "base/alloc.h"
#include "data/reader.h"
#include "jq/run.h"

enum {
    EXIT_NULL = 1,
    EXIT_SYSTEM = 2,
    EXIT_COMPILE = 3,
    EXIT_NO_RESULT = 4,
    EXIT_PROGRAM = 5,
};

struct eval {
    const struct eval_options *options;
    struct weir_jq_run *run;
    struct weir_jq *program;
    struct eval_input input;
    struct weir_strbuf buf;
    unsigned flags; /* enum weir_write_flags */
    bool yielded, last_true, nul_in_text;
};

/* ── output ── */

static weir_status print(void *context, struct weir_value value, struct weir_err *err)
{
    struct eval *self = context;
    const struct eval_options *options = self->options;
    struct weir_slice text = weir_value_text(value);
    self->yielded = true;
    self->last_true = weir_value_is_true(value);
    weir_strbuf_clear(&self->buf);
    if (options->raw && text.data != NULL) {
        if (options->nul && memchr(text.data, '\0', text.size) != NULL) {
            return weir_fail(err, WEIR_EVAL,
                             "Cannot dump a string containing NUL with --raw-output0 option");
        }
        if (options->ascii) {
            weir_value_write(value, &self->buf, WEIR_WRITE_ASCII);
        } else {
            weir_strbuf_slice(&self->buf, text);
        }
    } else {
        if (options->seq) {
            weir_strbuf_push(&self->buf, '\036');
        }
        weir_value_write(value, &self->buf, self->flags);
    }
    if (options->nul) {
        weir_strbuf_push(&self->buf, '\0');
    } else if (!options->join) {
        weir_strbuf_push(&self->buf, '\n');
    }
    fwrite(self->buf.data == NULL ? "" : self->buf.data, 1, self->buf.size, stdout);
    if (options->unbuffered) {
        fflush(stdout);
    }
    return ferror(stdout) ? weir_fail(err, WEIR_IO, "writing failed") : WEIR_OK;
}

static void write_json(struct weir_value value, FILE *file, unsigned flags)
{
    struct weir_strbuf buf;
    weir_strbuf_init(&buf, SIZE_MAX / 2);
    weir_value_write(value, &buf, flags);
    fwrite(buf.data == NULL ? "" : buf.data, 1, buf.size, file);
    weir_strbuf_done(&buf);
}

static void write_text_or_json(struct weir_value value, FILE *file)
{
    struct weir_slice text = weir_value_text(value);
    if (text.data != NULL) {
        fwrite(text.data, 1, text.size, file);
    } else {
        write_json(value, file, WEIR_WRITE_COMPACT);
    }
}

/* ── what the program may ask for ── */

static void show_debug(void *context, struct weir_value value)
{
    struct eval *self = context;
    fputs("[\"DEBUG:\",", stderr);
    write_json(value, stderr, self->flags & ~(unsigned)(WEIR_WRITE_TAB | WEIR_WRITE_LINES) & 0xff);
    fputs("]\n", stderr);
}

static void show_stderr(void *context, struct weir_value value)
{
    (void)context;
    write_text_or_json(value, stderr);
}

static weir_status next_input(void *context, struct weir_value *ret_value, struct weir_err *err)
{
    struct eval *self = context;
    return eval_input_next(&self->input, &self->run->heap, ret_value, err);
}

static const char *input_filename(void *context)
{
    return eval_input_name(&((struct eval *)context)->input);
}

static uint64_t input_line(void *context)
{
    return ((struct eval *)context)->input.line;
}

/* ── running ── */

static int report_halt(struct eval *self)
{
    struct weir_value message;
    int code = weir_jq_run_halted(self->run, &message);
    if (!weir_value_is_absent(message) && message.kind != WEIR_KIND_NULL) {
        write_text_or_json(message, stderr);
        if (message.kind != WEIR_KIND_STRING) {
            fputc('\n', stderr);
        }
    }
    return code;
}

static void report_failure(struct eval *self, weir_status status)
{
    struct weir_value error = weir_jq_error_value(self->run);
    char place[64];
    const char *name = eval_input_name(&self->input);
    fprintf(stderr, "weir: error (at %s)",
            name == NULL ? "<unknown>"
                         : (snprintf(place, sizeof place, "%.40s:%llu", name,
                                     (unsigned long long)self->input.line),
                            place));
    if (status == WEIR_EVAL && !weir_value_is_absent(error) && error.kind != WEIR_KIND_STRING) {
        fputs(" (not a string)", stderr);
    }
    fputs(": ", stderr);
    write_text_or_json(error, stderr);
}

/* Runs the program on one value. Negative: go on; else the exit code. */
static int run_one(struct eval *self, struct weir_value value)
{
    struct weir_err err = {0};
    weir_status status = weir_jq_each(self->run, self->program, value, print, self, &err);
    int code = -1;
    if (status == WEIR_ABORTED) {
        code = report_halt(self);
    } else if (status != WEIR_OK) {
        bool own = status == WEIR_EVAL && !weir_value_is_absent(weir_jq_error_value(self->run));
        if (own) {
            report_failure(self, status);
            fputc('\n', stderr);
        } else {
            fprintf(stderr, "weir: error%s: %s\n", status == WEIR_EVAL ? " (at <unknown>)" : "",
                    err.message);
        }
        code = status == WEIR_IO ? EXIT_SYSTEM : EXIT_PROGRAM;
    }
    bool halted = status == WEIR_ABORTED;
    weir_jq_run_reset(self->run);
    return halted ? code + 256 : code;
}

static int run_inputs(struct eval *self)
{
    int code = 0;
    while (self->input.failures == 0) {
        struct weir_value value;
        struct weir_err err = {0};
        weir_status status = eval_input_next(&self->input, &self->run->heap, &value, &err);
        if (status == WEIR_END) {
            break;
        }
        if (status != WEIR_OK) {
            fprintf(stderr, "weir: %s%s\n",
                    self->options->seq ? "ignoring parse error: " : "parse error: ", err.message);
            if (self->options->seq) {
                continue;
            }
            code = EXIT_PROGRAM;
            break;
        }
        int result = run_one(self, value);
        if (result >= 256) {
            return result - 256;
        }
        code = result >= 0 ? result : 0;
        if (result == EXIT_SYSTEM) {
            break;
        }
    }
    return self->input.failures > 0 ? EXIT_SYSTEM : code;
}

static int run_all(struct eval *self)
{
    int code;
    if (self->options->null_input) {
        int result = run_one(self, weir_value_null());
        if (result >= 256) {
            return result - 256;
        }
        code = result >= 0 ? result : 0;
        code = self->input.failures > 0 ? EXIT_SYSTEM : code;
    } else {
        code = run_inputs(self);
    }
    if (code != 0 || !self->options->exit_status) {
        return code;
    }
    return !self->yielded ? EXIT_NO_RESULT : self->last_true ? 0 : EXIT_NULL;
}

/* ── compiling ── */

static void
report_fault(struct weir_slice text, const struct weir_jq_fault *fault, const struct weir_err *err)
{
    fprintf(stderr, "weir: error: %s", err->message);
    fprintf(stderr, " at line %d, column %d:\n", fault->line, fault->column);
    const char *start = text.data + (fault->offset < text.size ? fault->offset : text.size);
    const char *end = start;
    while (start > text.data && start[-1] != '\n') {
        start--;
    }
    while (end < text.data + text.size && *end != '\n') {
        end++;
    }
    fprintf(stderr, "    %.*s\n    ", (int)(end - start), start);
    for (int i = 1; i < fault->column; i++) {
        fputc(' ', stderr);
    }
    for (size_t i = 0;
         i < (fault->size == 0 ? 1 : fault->size) && fault->offset + i < text.size + 1; i++) {
        fputc('^', stderr);
    }
    fputc('\n', stderr);
    if (err->hint[0] != '\0') {
        fprintf(stderr, "    %s\n", err->hint);
    }
}

static unsigned write_flags(const struct eval_options *options)
{
    bool terminal = isatty(STDOUT_FILENO) == 1;
    const char *no_color = getenv("NO_COLOR");
    unsigned flags = 0;
    int indent = options->indent >= 0 ? options->indent : terminal ? 2 : 0;
    const char *colors = getenv("JQ_COLORS");
    if (colors != NULL && !weir_value_set_colors(colors)) {
        fputs("Failed to set $JQ_COLORS\n", stderr);
    }
    bool color = terminal && (no_color == NULL || no_color[0] == '\0');
    flags |= options->tab ? WEIR_WRITE_TAB : (unsigned)indent << WEIR_WRITE_INDENT_SHIFT;
    flags |= options->lines ? WEIR_WRITE_LINES : 0;
    flags |= options->ascii ? WEIR_WRITE_ASCII : 0;
    flags |= options->sort_keys ? WEIR_WRITE_SORTED : 0;
    color = options->color > 0 || (color && options->color == 0);
    return flags | (color ? WEIR_WRITE_COLOR : 0);
}

static int compile_and_run(struct eval *self, struct weir_slice text)
{
    const struct eval_options *options = self->options;
    struct weir_jq_options asked = {
        .eval = true,
        .environment = true,
        .paths = options->paths,
        .path_count = options->path_count,
        .prelude = options->prelude,
        .named = options->named,
        .named_count = options->named_count,
    };
    struct weir_jq_fault fault = {0};
    struct weir_err err = {0};
    self->program = weir_jq_compile(text, &asked, &fault, &err);
    if (self->program == NULL) {
        report_fault(text, &fault, &err);
        return EXIT_COMPILE;
    }
    if (options->explain) {
        weir_jq_explain(self->program, &self->buf);
        fputs(self->buf.data == NULL ? "" : self->buf.data, stdout);
        return 0;
    }
    /* No limit here but memory: whoever sits at a terminal can interrupt. */
    struct weir_jq_limits limits = {
        .steps = UINT64_MAX, .results = UINT64_MAX, .memory_bytes = SIZE_MAX / 4};
    self->run = weir_jq_run_new(&limits);
    struct weir_jq_host host = {
        .context = self,
        .input = next_input,
        .debug = show_debug,
        .stderr_write = show_stderr,
        .input_filename = input_filename,
        .input_line = input_line,
    };
    weir_jq_run_set_host(self->run, &host);
    eval_input_open(&self->input, options);
    int code = run_all(self);
    eval_input_close(&self->input);
    return code;
}

int weir_cmd_eval(int argc, char **argv)
{
    setlocale(LC_TIME, "");
    struct eval_options options;
    int code = eval_options_parse(&options, argc, argv);
    if (code < 0) {
        struct eval self = {.options = &options, .flags = write_flags(&options)};
        weir_strbuf_init(&self.buf, SIZE_MAX / 2);
        code = compile_and_run(&self, options.program);
        weir_jq_run_free(self.run);
        weir_jq_free(self.program);
        weir_strbuf_done(&self.buf);
        if (fflush(stdout) != 0 || ferror(stdout)) {
            fprintf(stderr, "weir: error: writing output failed: %s\n", strerror(errno));
            code = EXIT_SYSTEM;
        }
    }
    eval_options_done(&options);
    return code;
}
