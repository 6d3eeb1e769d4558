/* SPDX-License-Identifier: Apache-2.0
 *
 * jq's options, spelled as jq spells them: short ones can be gathered (-nr), the first argument
 * that is no option is the program, -L takes its folder with or without a space.
 */
#include "app/eval_options.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <weir/json.h>

#include "app/help.h"
#include "base/alloc.h"
#include "data/reader.h"

#define GO_ON (-1)
#define USAGE 2
#define FILE_MAX ((size_t)1 << 31)

static int wrong(const char *format, const char *what)
{
    fputs("weir: ", stderr);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    fprintf(stderr, format, what);
#pragma GCC diagnostic pop
    fputs("\nTry `weir eval --help`.\n", stderr);
    return USAGE;
}

static void *grown(struct eval_options *options, const void *list, size_t count, size_t size)
{
    void *copy = weir_arena_alloc(&options->arena, (count + 1) * size);
    if (copy == NULL) {
        abort();
    }
    if (count > 0) {
        memcpy(copy, list, count * size);
    }
    return copy;
}

static void
add_text(struct eval_options *options, const char ***list, size_t *count, const char *text)
{
    *list = grown(options, *list, *count, sizeof **list);
    (*list)[(*count)++] = text;
}

/* The first definition of a name stands. */
static void add_named(struct eval_options *options, const char *name, struct weir_value value)
{
    for (size_t i = 0; i < options->named_count; i++) {
        if (strcmp(options->named[i].name, name) == 0) {
            return;
        }
    }
    options->named = grown(options, options->named, options->named_count, sizeof *options->named);
    options->named[options->named_count++] = (struct weir_jq_named){name, value};
}

static struct weir_value text_value(struct eval_options *options, struct weir_slice text)
{
    struct weir_strbuf buf;
    weir_strbuf_init(&buf, SIZE_MAX / 2);
    weir_utf8_clean(text, &buf);
    struct weir_value value = weir_string_new(&options->heap, weir_strbuf_view(&buf));
    weir_strbuf_done(&buf);
    return value;
}

static struct weir_value json_value(struct eval_options *options, const char *text)
{
    struct weir_strbuf message;
    weir_strbuf_init(&message, 4096);
    struct weir_value value = weir_reader_parse(&options->heap, weir_slice_of(text), 0, &message);
    weir_strbuf_done(&message);
    return value;
}

/* ── files ── */

static bool read_file(const char *path, struct weir_strbuf *buf)
{
    FILE *file = fopen(path, "rb");
    char piece[65536];
    weir_strbuf_init(buf, FILE_MAX);
    for (size_t size; file != NULL && (size = fread(piece, 1, sizeof piece, file)) > 0;) {
        weir_strbuf_append(buf, piece, size);
    }
    bool done = file != NULL && !ferror(file) && !buf->failed;
    if (file != NULL) {
        fclose(file);
    }
    return done;
}

/* All values of a text in an array; absent and *ret_message on a syntax error. */
static struct weir_value
all_values(struct eval_options *options, struct weir_slice text, const char **ret_message)
{
    struct weir_reader *reader = weir_reader_new(&options->heap, 0, 0);
    struct weir_value values = weir_array_new(&options->heap, 4), value;
    enum weir_reader_result result;
    weir_reader_feed(reader, text, true);
    while ((result = weir_reader_next(reader, &value)) == WEIR_READER_VALUE) {
        values = weir_array_push(&options->heap, values, value);
    }
    if (result == WEIR_READER_ERROR) {
        *ret_message = weir_arena_strdup(&options->arena, weir_reader_message(reader));
        values = (struct weir_value){0};
    }
    weir_reader_free(reader);
    return values;
}

static int add_file(struct eval_options *options, const char *name, const char *path, bool raw)
{
    struct weir_strbuf buf;
    const char *message = "cannot be read";
    struct weir_value value = {0};
    if (read_file(path, &buf)) {
        value = raw ? text_value(options, weir_strbuf_view(&buf))
                    : all_values(options, weir_strbuf_view(&buf), &message);
    }
    weir_strbuf_done(&buf);
    if (weir_value_is_absent(value)) {
        fprintf(stderr, "weir: Bad JSON in --%s %s %s: %s\n", raw ? "rawfile" : "slurpfile", name,
                path, message);
        return USAGE;
    }
    add_named(options, name, value);
    return GO_ON;
}

/* ── options ── */

enum rest { REST_FILES, REST_STRINGS, REST_JSON };

struct parse {
    struct eval_options *options;
    int argc, at; /* at: the argument being looked at */
    char **argv;
    const char *program;
    enum rest rest;
};

/* Options with values. GO_ON: not one of them was meant, when *ret_known is false. */
static int parse_long_value(struct parse *self, const char *name, bool *ret_known)
{
    struct eval_options *options = self->options;
    int left = self->argc - self->at - 1;
    char **values = self->argv + self->at + 1;
    bool pair = strcmp(name, "arg") == 0 || strcmp(name, "argjson") == 0 ||
                strcmp(name, "slurpfile") == 0 || strcmp(name, "rawfile") == 0;
    *ret_known = pair || strcmp(name, "indent") == 0;
    if (!*ret_known) {
        return GO_ON;
    }
    if (left < (pair ? 2 : 1)) {
        return wrong(pair ? "--%s takes two values" : "--%s takes one value", name);
    }
    self->at += pair ? 2 : 1;
    if (strcmp(name, "arg") == 0) {
        add_named(options, values[0], text_value(options, weir_slice_of(values[1])));
    } else if (strcmp(name, "argjson") == 0) {
        struct weir_value value = json_value(options, values[1]);
        if (weir_value_is_absent(value)) {
            return wrong("invalid JSON text passed to --%s", name);
        }
        add_named(options, values[0], value);
    } else if (pair) {
        return add_file(options, values[0], values[1], strcmp(name, "rawfile") == 0);
    } else {
        char *end;
        long indent = strtol(values[0], &end, 10);
        if (end == values[0] || *end != '\0' || indent < -1 || indent > 7) {
            return wrong("--%s takes a number between -1 and 7", name);
        }
        options->indent = (int)indent;
        options->tab = indent < 0;
        options->lines = true;
    }
    return GO_ON;
}

static bool set_flag(struct parse *self, char letter, const char *name)
{
    struct eval_options *options = self->options;
    struct {
        char letter;
        const char *name;
        bool *flag;
    } const flags[] = {
        {'n', "null-input", &options->null_input}, {'R', "raw-input", &options->raw_input},
        {'s', "slurp", &options->slurp},           {'r', "raw-output", &options->raw},
        {'a', "ascii-output", &options->ascii},    {'S', "sort-keys", &options->sort_keys},
        {'f', "from-file", &options->from_file},   {'e', "exit-status", &options->exit_status},
        {0, "unbuffered", &options->unbuffered},   {0, "seq", &options->seq},
        {0, "stream", &options->stream},           {0, "explain", &options->explain},
    };
    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
        if (name == NULL ? flags[i].letter == letter : strcmp(flags[i].name, name) == 0) {
            *flags[i].flag = true;
            return true;
        }
    }
    return false;
}

static bool set_mode(struct parse *self, char letter, const char *name)
{
    struct eval_options *options = self->options;
    const char *is = name == NULL ? "" : name;
    if (letter == 'c' || strcmp(is, "compact-output") == 0) {
        options->indent = 0;
        options->tab = options->lines = false;
    } else if (letter == 'j' || strcmp(is, "join-output") == 0) {
        options->raw = options->join = true;
    } else if (strcmp(is, "raw-output0") == 0) {
        options->raw = options->nul = true;
    } else if (letter == 'C' || strcmp(is, "color-output") == 0) {
        options->color = 1;
    } else if (letter == 'M' || strcmp(is, "monochrome-output") == 0) {
        options->color = -1;
    } else if (strcmp(is, "tab") == 0) {
        options->tab = true;
    } else if (strcmp(is, "stream-errors") == 0) {
        options->stream = options->stream_errors = true;
    } else if (strcmp(is, "args") == 0) {
        self->rest = REST_STRINGS;
    } else if (strcmp(is, "jsonargs") == 0) {
        self->rest = REST_JSON;
    } else {
        return false;
    }
    return true;
}

static int show_help(void)
{
    return weir_help_show(weir_command_find("eval"));
}

static int add_path(struct parse *self, const char *rest)
{
    if (*rest == '\0') {
        if (self->at + 1 >= self->argc) {
            return wrong("%s takes a folder", "-L");
        }
        rest = self->argv[++self->at];
    }
    add_text(self->options, &self->options->paths, &self->options->path_count, rest);
    return GO_ON;
}

static int parse_short(struct parse *self, const char *letters)
{
    for (; *letters != '\0'; letters++) {
        if (*letters == 'L') {
            return add_path(self, letters + 1);
        }
        if (*letters == 'h') {
            return show_help();
        }
        if (*letters == 'V') {
            puts("weir " WEIR_VERSION " (jq 1.8)");
            return 0;
        }
        if (!set_flag(self, *letters, NULL) && !set_mode(self, *letters, NULL)) {
            return wrong("unknown option -%.1s", letters);
        }
    }
    return GO_ON;
}

static int parse_long(struct parse *self, const char *name)
{
    bool known;
    int code = parse_long_value(self, name, &known);
    if (known) {
        return code;
    }
    if (strcmp(name, "help") == 0) {
        return show_help();
    }
    if (strcmp(name, "version") == 0) {
        return parse_short(self, "V");
    }
    if (strcmp(name, "library-path") == 0) {
        return add_path(self, "");
    }
    if (!set_flag(self, 0, name) && !set_mode(self, 0, name)) {
        return wrong("unknown option --%s", name);
    }
    return GO_ON;
}

static int parse_plain(struct parse *self, const char *text)
{
    struct eval_options *options = self->options;
    if (self->program == NULL) {
        self->program = text;
    } else if (self->rest == REST_FILES) {
        add_text(options, &options->files, &options->file_count, text);
    } else {
        struct weir_value value = self->rest == REST_STRINGS
                                      ? text_value(options, weir_slice_of(text))
                                      : json_value(options, text);
        if (weir_value_is_absent(value)) {
            return wrong("invalid JSON text passed to --%s", "jsonargs");
        }
        options->positional = weir_array_push(&options->heap, options->positional, value);
    }
    return GO_ON;
}

/* $ARGS: {positional, named}. */
static void add_args(struct eval_options *options)
{
    struct weir_value named = weir_object_new(&options->heap, options->named_count);
    for (size_t i = 0; i < options->named_count; i++) {
        named = weir_object_set(&options->heap, named,
                                text_value(options, weir_slice_of(options->named[i].name)),
                                weir_retain(options->named[i].value));
    }
    struct weir_value args = weir_object_new(&options->heap, 2);
    args = weir_object_set(&options->heap, args, weir_value_string(WEIR_SLICE("positional")),
                           options->positional);
    args = weir_object_set(&options->heap, args, weir_value_string(WEIR_SLICE("named")), named);
    add_named(options, "ARGS", args);
    add_named(options, "JQ_BUILD_CONFIGURATION", weir_value_string(WEIR_SLICE("weir")));
}

static int take_program(struct parse *self)
{
    struct eval_options *options = self->options;
    if (self->program == NULL && !options->from_file &&
        (isatty(STDIN_FILENO) != 1 || isatty(STDOUT_FILENO) != 1)) {
        self->program = ".";
    }
    if (self->program == NULL) {
        fputs("weir eval: PROGRAM is missing\nTry `weir eval --help`.\n", stderr);
        return USAGE;
    }
    options->program = weir_slice_of(self->program);
    if (!options->from_file) {
        return GO_ON;
    }
    struct weir_strbuf buf;
    bool done = read_file(self->program, &buf);
    bool nul = done && buf.size > 0 && memchr(buf.data, '\0', buf.size) != NULL;
    options->program = weir_arena_copy(&options->arena, weir_strbuf_view(&buf));
    weir_strbuf_done(&buf);
    if (!done || nul) {
        fprintf(stderr, "weir: program file %s %s\n", self->program,
                nul ? "contains NUL bytes" : "cannot be read");
        return USAGE;
    }
    return GO_ON;
}

/* jq's own, in jq's spelling; what -L names is made absolute. */
static void settle_paths(struct eval_options *options)
{
    for (size_t i = 0; i < options->path_count; i++) {
        char *real = realpath(options->paths[i], NULL);
        if (real != NULL) {
            options->paths[i] = weir_arena_strdup(&options->arena, real);
        }
        weir_free(real);
    }
    if (options->path_count == 0) {
        add_text(options, &options->paths, &options->path_count, "~/.jq");
        add_text(options, &options->paths, &options->path_count, "$ORIGIN/../lib/jq");
        add_text(options, &options->paths, &options->path_count, "$ORIGIN/../lib");
    }
    const char *home = getenv("HOME");
    const char *file = home == NULL ? NULL : weir_arena_printf(&options->arena, "%s/.jq", home);
    struct stat status;
    if (file != NULL && stat(file, &status) == 0 && S_ISREG(status.st_mode)) {
        options->prelude = file;
    }
}

int eval_options_parse(struct eval_options *options, int argc, char **argv)
{
    *options = (struct eval_options){.indent = -1};
    weir_arena_init(&options->arena, 0);
    weir_heap_init(&options->heap, 0);
    options->positional = weir_array_new(&options->heap, 0);
    struct parse self = {.options = options, .argc = argc, .argv = argv, .at = 1};
    bool only_plain = false;
    for (; self.at < argc; self.at++) {
        const char *text = argv[self.at];
        bool option =
            !only_plain && text[0] == '-' && (text[1] == '-' || isalpha((unsigned char)text[1]));
        int code = GO_ON;
        if (!option) {
            code = parse_plain(&self, text);
        } else if (strcmp(text, "--") == 0) {
            only_plain = true;
        } else {
            code = text[1] == '-' ? parse_long(&self, text + 2) : parse_short(&self, text + 1);
        }
        if (code != GO_ON) {
            return code;
        }
    }
    add_args(options);
    settle_paths(options);
    return take_program(&self);
}

void eval_options_done(struct eval_options *options)
{
    weir_heap_done(&options->heap);
    weir_arena_done(&options->arena);
}
