/* SPDX-License-Identifier: Apache-2.0
 *
 * What there is to say about each command. A new command is a row here and a file cmd_NAME.c; its
 * help, manual page, completion and reference follow. Descriptions are Markdown that also reads well
 * on a terminal; their lines are broken by hand at 90 columns.
 */
#include "app/commands.h"

#include <string.h>

// clang-format off
#define LIST(type, ...) ((const type[]){__VA_ARGS__, {0}})
#define WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})

static const struct weir_exit run_exits[] = {
    {"0", "clean end, or drained after a signal"},
    {"1", "failed, fenced, timed out"},
    {"2", "wrong use"},
    {"78", "wrong configuration"},
    {0},
};
static const struct weir_exit config_exits[] = {
    {"0", "sound"},
    {"2", "wrong use"},
    {"78", "wrong configuration"},
    {0},
};
static const struct weir_exit plain_exits[] = {
    {"0", "done"},
    {"2", "wrong use or an unknown name"},
    {0},
};
static const struct weir_exit positions_exits[] = {
    {"0", "done"},
    {"1", "refused, or the system does not answer"},
    {"2", "wrong use"},
    {"78", "wrong configuration"},
    {0},
};

static const struct weir_variable pipeline_variables[] = {
    {"KAFKA_BROKERS", "brokers to read from, host:port; several with commas"},
    {"TOPIC", "the topic to read"},
    {"NATS_URL", "instead of KAFKA_BROKERS: the NATS server to read from"},
    {"REDIS_URL", "instead of KAFKA_BROKERS: the Redis server to read from"},
    {"STREAM_NAME", "with NATS_URL or REDIS_URL: the stream to read"},
    {"CONSUMER_GROUP", "name of the pipeline and its consumer group"},
    {"STEPS", "one jq `map`"},
    {"OUTPUT", "a URL: kafka://HOST:PORT/TOPIC, nats://…, redis://…, file:///PATH, stdout:"},
    {"DLQ_TOPIC", "where records go that can never be processed, in the source's system"},
    {"WORKER_COUNT", "lanes: threads that process records"},
    {"BATCH_SIZE", "records per poll; 100 unless set"},
    {"FLUSH_INTERVAL", "commit_interval"},
    {"WEIR_INSTANCE", "names this process, as `instance:` does"},
    {0},
};

#define FORMAT_OPTION(ABOUT)                                                                       \
    {.name = "format", .argument = "text|json", .words = WORDS("text", "json"), .help = ABOUT}
#define FILE_OPERAND {.name = "FILE", .kind = WEIR_OPERAND_FILE}
#define OPTIONAL_FILE {.name = "FILE", .kind = WEIR_OPERAND_FILE, .is_optional = true}

static const struct weir_command commands[] = {
    {
        .name = "run",
        .summary = "run a pipeline",
        .usage = WORDS("run [--watch] [FILE…]"),
        .description =
            "Runs the pipeline of FILE; without FILE, the one that the environment describes (`weir\n"
            "explain` shows it). Sources that end (file, stdin, generate with a count) end it.\n"
            "SIGTERM and SIGINT finish what was read, commit and leave; a second one leaves at\n"
            "once. The log goes to standard error; when that is a terminal, a run over sources\n"
            "that end shows how far it is.\n"
            "\n"
            "Several files run side by side in one process, each with threads and a budget of its\n"
            "own, behind one admin server, whose metrics then tell the pipeline. When one fails, the\n"
            "others finish and commit, and the process ends.\n"
            "\n"
            "SIGHUP, or with --watch a change of FILE, has FILE, the variables and the secrets in it\n"
            "read again. If something is wrong, that is logged and the pipeline runs on; else what\n"
            "was read is finished and committed, and the pipeline goes on from there as the file\n"
            "says now.\n",
        .options = LIST(struct weir_option,
            {.name = "watch", .help = "reload when FILE changes"}),
        .operands = {{.name = "FILE", .kind = WEIR_OPERAND_FILE, .is_optional = true,
                      .is_repeated = true}},
        .examples = LIST(struct weir_example,
            {"weir run orders.yaml", NULL},
            {"weir run orders.yaml refunds.yaml", "two pipelines, one process"},
            {"weir run --watch orders.yaml", "while you work on it"},
            {"KAFKA_BROKERS=localhost:9092 TOPIC=orders OUTPUT=stdout: weir run", "without a file"}),
        .exits = run_exits,
        .variables = pipeline_variables,
        .run = weir_cmd_run,
    },
    {
        .name = "check",
        .summary = "find every error of configuration files",
        .usage = WORDS("check [--connect] [--format text|json] FILE…", "check --state FILE…"),
        .description =
            "Finds every error of configuration files at once, without connecting to anything:\n"
            "unknown keys, wrong values, jq that does not compile, variables that are not set,\n"
            "guarantees that cannot be had. `-` is standard input.\n"
            "\n"
            "With --connect, files that are sound are tried out: servers answer, the login is good,\n"
            "topics and streams are there, and may be read or written. Nothing is changed.\n"
            "\n"
            "With --state it connects, reads the state that is kept, and says for each step what a\n"
            "start would do with it: go on, begin empty, or refuse. Steps are matched by name.\n",
        .options = LIST(struct weir_option,
            {.name = "connect", .help = "also try the systems, topics and permissions"},
            {.name = "state", .help = "also compare with the state that is kept"},
            FORMAT_OPTION("text: the place, the line and what to do, on standard error (default)\n"
                          "json: {\"errors\":N,\"diagnostics\":[…]} on standard output")),
        .operands = {{.name = "FILE", .kind = WEIR_OPERAND_FILE, .is_repeated = true}},
        .examples = LIST(struct weir_example,
            {"weir check pipeline.yaml", NULL},
            {"weir check --connect pipeline.yaml", "before it is deployed"},
            {"weir check --format json pipelines/*.yaml", "for editors and CI"}),
        .exits = config_exits,
        .run = weir_cmd_check,
    },
    {
        .name = "explain",
        .summary = "show a pipeline, what it guarantees and why",
        .usage = WORDS("explain [FILE]"),
        .description =
            "Shows what the pipeline of FILE is: its graph, what it guarantees and why, and every\n"
            "setting with its origin. Without FILE, the pipeline that the environment describes, and\n"
            "the file it amounts to. Secrets are masked. Connects to nothing.\n",
        .operands = {OPTIONAL_FILE},
        .examples = LIST(struct weir_example,
            {"weir explain orders.yaml", NULL},
            {"KAFKA_BROKERS=localhost:9092 TOPIC=orders OUTPUT=stdout: weir explain",
             "the pipeline of the environment"}),
        .exits = config_exits,
        .variables = pipeline_variables,
        .run = weir_cmd_explain,
    },
    {
        .name = "eval",
        .summary = "evaluate a jq program on the command line",
        .usage = WORDS("eval [OPTIONS] PROGRAM [FILE…]", "eval [OPTIONS] --args PROGRAM [STRING…]",
                       "eval [OPTIONS] --jsonargs PROGRAM [JSON…]"),
        .description =
            "Runs PROGRAM, in the jq of weir's steps, on each JSON value of the files or of standard\n"
            "input. Options and exit codes are jq's. Output is compact unless it goes to a terminal.\n",
        .options = LIST(struct weir_option,
            {.name = "null-input", .letter = 'n',
             .help = "null is the only input; read others with input, inputs"},
            {.name = "raw-input", .letter = 'R', .help = "each line is a string"},
            {.name = "slurp", .letter = 's', .help = "all inputs in one array"},
            {.name = "compact-output", .letter = 'c', .help = "one line per result"},
            {.name = "raw-output", .letter = 'r', .help = "strings without quotes"},
            {.name = "raw-output0", .help = "as -r, with NUL behind each result"},
            {.name = "join-output", .letter = 'j', .help = "as -r, without line ends"},
            {.name = "ascii-output", .letter = 'a', .help = "\\u escapes for everything but ASCII"},
            {.name = "sort-keys", .letter = 'S', .help = "keys of objects in order"},
            {.name = "color-output", .letter = 'C', .help = "colours, also in a file"},
            {.name = "monochrome-output", .letter = 'M', .help = "no colours, also on a terminal"},
            {.name = "tab", .help = "indent with tabs"},
            {.name = "indent", .argument = "N", .help = "indent with N spaces, 0 to 7"},
            {.name = "unbuffered", .help = "write each result at once"},
            {.name = "stream", .help = "read inputs as [path, leaf] events"},
            {.name = "stream-errors", .help = "as --stream, with errors as events"},
            {.name = "seq", .help = "RS before each result, inputs separated by RS"},
            {.name = "from-file", .letter = 'f', .help = "the program stands in the file PROGRAM"},
            {.name = "library-path", .letter = 'L', .argument = "DIR",
             .help = "where import and include look"},
            {.name = "arg", .argument = "NAME TEXT", .help = "$NAME is a string"},
            {.name = "argjson", .argument = "NAME JSON", .help = "$NAME is a value"},
            {.name = "slurpfile", .argument = "NAME FILE",
             .help = "$NAME is an array of the values in the file"},
            {.name = "rawfile", .argument = "NAME FILE", .help = "$NAME is the text of the file"},
            {.name = "args", .help = "what follows is in $ARGS.positional, as strings"},
            {.name = "jsonargs", .help = "what follows is in $ARGS.positional, as values"},
            {.name = "exit-status", .letter = 'e',
             .help = "1 if the last result is false or null, 4 if there is none"},
            {.name = "explain", .help = "print the compiled program instead of running it"}),
        .operands = {{.name = "PROGRAM"},
                     {.name = "FILE", .kind = WEIR_OPERAND_FILE, .is_optional = true,
                      .is_repeated = true}},
        .examples = LIST(struct weir_example,
            {"weir eval -n '[range(3)]'", NULL},
            {"weir eval -r '.name' people.json", "plain text, one a line"}),
        .exits = LIST(struct weir_exit,
            {"0", "done"}, {"1", "the last result is false or null (-e)"},
            {"2", "wrong use, or a file cannot be read"}, {"3", "the program does not compile"},
            {"4", "no result (-e)"}, {"5", "the program failed"}),
        .run = weir_cmd_eval,
    },
    {
        .name = "test",
        .summary = "run the test cases of a pipeline",
        .usage = WORDS("test [OPTIONS] FILE…"),
        .description =
            "Runs the cases of test files: the pipeline with its steps, by the real engine, over\n"
            "sources and sinks in memory and a clock that moves only when a case says so. Nothing is\n"
            "connected to. A case is processed a record at a time, with a commit after each, and its\n"
            "outputs are compared with what it expects.\n"
            "\n"
            "  pipeline: orders.yaml\n"
            "  cases:\n"
            "    - name: only paid orders\n"
            "      input:\n"
            "        - {key: a, json: {id: 1, paid: true}}\n"
            "        - {key: b, json: {id: 2, paid: false}}\n"
            "      expect:\n"
            "        sink:\n"
            "          - {key: a, json: {id: 1, paid: true}}\n",
        .options = LIST(struct weir_option,
            {.name = "case", .argument = "TEXT", .help = "only cases that have TEXT in their name"},
            {.name = "shuffle-batches",
             .help = "also in batches and commits by chance; the outputs must not change"},
            {.name = "seed", .argument = "NUMBER", .help = "where chance begins (default: 1)"},
            {.name = "crash",
             .help = "also with a crash before and after each call to the outside; the outputs must\n"
                     "not change"},
            {.name = "update", .help = "write what came into the files as what is expected"},
            {.name = "junit", .argument = "FILE", .help = "write a report for CI"},
            FORMAT_OPTION("how to print what became of the cases (default: text)")),
        .operands = {{.name = "FILE", .kind = WEIR_OPERAND_FILE, .is_repeated = true}},
        .examples = LIST(struct weir_example,
            {"weir test orders.test.yaml", NULL},
            {"weir test --shuffle-batches --crash orders.test.yaml", "whatever happens"},
            {"weir test --update orders.test.yaml", "take over what came; look at the change"}),
        .exits = LIST(struct weir_exit, {"0", "all cases passed"},
            {"1", "a case failed, or a file is wrong"}, {"2", "wrong use"}),
        .run = weir_cmd_test,
    },
    {
        .name = "pipe",
        .summary = "run a one-liner: from here, through jq, to there",
        .usage = WORDS("pipe [OPTIONS] SOURCE [JQ] SINK"),
        .description =
            "Builds the pipeline that reads SOURCE, maps each record by JQ (none, one or many\n"
            "results) and writes to SINK, and runs it. A source or sink is a URL, the path of a\n"
            "file, or `-` for standard input and output:\n"
            "\n"
            "  kafka://HOST:PORT,HOST:PORT/TOPIC?start=latest&group=billing\n"
            "  file:///var/log/orders.jsonl?empty_lines=keep      orders.jsonl      data/*.jsonl\n"
            "  generate:?count=10      stdin:      stdout:      drop:\n"
            "\n"
            "What stands behind `?` are the options that `weir docs NAME` shows; a dot reaches\n"
            "inside: tls.ca=/etc/ca.pem, properties.client.id=me. In queries % begins two\n"
            "hexadecimal digits (%26 is &). Nothing is remembered between runs, save by\n"
            "consumer groups; only warnings and errors are logged.\n",
        .options = LIST(struct weir_option,
            {.name = "explain", .help = "print the pipeline file it amounts to, and do not run it"},
            {.name = "name", .argument = "NAME",
             .help = "name of the pipeline, and so its consumer group (default: pipe)"}),
        .operands = {{.name = "SOURCE", .kind = WEIR_OPERAND_FILE},
                     {.name = "SINK", .kind = WEIR_OPERAND_FILE},
                     {.name = "SINK", .kind = WEIR_OPERAND_FILE, .is_optional = true}},
        .examples = LIST(struct weir_example,
            {"weir pipe orders.jsonl 'select(.paid) | .id' -", "a file, some of it, to the terminal"},
            {"weir pipe kafka://localhost:9092/orders '{id, total}' kafka:///totals",
             "topic to topic of one cluster, exactly once"},
            {"weir pipe 'generate:?count=10' kafka://localhost:9092/orders", "ten records to try with"},
            {"weir pipe --explain - .a kafka://localhost:9092/a > a.yaml", "a file to go on from"}),
        .exits = run_exits,
        .run = weir_cmd_pipe,
    },
    {
        .name = "lag",
        .summary = "show how far a pipeline is behind its sources",
        .usage = WORDS("lag [--format text|json] [FILE]"),
        .description =
            "Shows, per partition of each source, the committed position, the end, and what lies\n"
            "between: records, or bytes of files. Reads what is stored, so it works whether the\n"
            "pipeline runs or not, and does not disturb it. The same as `weir positions show`.\n",
        .options = LIST(struct weir_option, FORMAT_OPTION("how to print it (default: text)")),
        .operands = {OPTIONAL_FILE},
        .examples = LIST(struct weir_example, {"weir lag orders.yaml", NULL},
            {"weir lag --format json orders.yaml | jq '[.partitions[].lag] | add'", "one number"}),
        .exits = positions_exits,
        .variables = pipeline_variables,
        .run = weir_cmd_lag,
    },
    {
        .name = "positions",
        .summary = "show, move, save or restore where a pipeline stands",
        .usage = WORDS("positions show [--format text|json] [FILE]",
                       "positions set --to WHERE [--topic T [--partition N]] [--reset-state] [--dry-run] [FILE]",
                       "positions export FILE > POSITIONS",
                       "positions import [--reset-state] [--dry-run] FILE < POSITIONS"),
        .description =
            "Where a pipeline goes on reading: the committed positions of its consumer group, or of\n"
            "its state log for files. `set` and `import` are refused while the pipeline runs.\n"
            "\n"
            "WHERE is `earliest`, `latest`, a time (2026-01-31T12:00:00Z: the first record of that\n"
            "time or later) or a position (a Kafka offset, a byte of a file where a line begins).\n"
            "\n"
            "`export` writes a JSON object per partition, a line each; `import` reads such lines.\n"
            "Going back repeats outputs: what a sink wrote before stays written.\n",
        .options = LIST(struct weir_option,
            {.name = "to", .argument = "WHERE", .help = "set: earliest, latest, a time or a position"},
            {.name = "topic", .argument = "TOPIC", .help = "set: only this topic, or this file"},
            {.name = "partition", .argument = "NUMBER", .help = "set: only this partition of the topic"},
            {.name = "reset-state", .help = "set, import: throw away what steps keep, which belongs to\n"
                                            "the positions; without it such a pipeline is not moved"},
            {.name = "dry-run", .help = "set, import: show what would change, and change nothing"},
            FORMAT_OPTION("how to print the table (default: text)")),
        .operands = {{.name = "ACTION", .kind = WEIR_OPERAND_WORD,
                      .words = WORDS("show", "set", "export", "import")},
                     OPTIONAL_FILE},
        .examples = LIST(struct weir_example,
            {"weir positions show orders.yaml", NULL},
            {"weir positions set --to earliest orders.yaml", "everything once more"},
            {"weir positions set --to 2026-01-31T12:00:00Z --dry-run orders.yaml",
             "what would change"},
            {"weir positions set --to 1500 --topic orders --partition 3 orders.yaml",
             "one partition"},
            {"weir positions export orders.yaml > before.jsonl", "keep them, to be able to return"}),
        .exits = positions_exits,
        .variables = pipeline_variables,
        .run = weir_cmd_positions,
    },
    {
        .name = "state",
        .summary = "show, save, restore or move what a pipeline remembers",
        .usage = WORDS("state list [--format text|json] [FILE]", "state size [FILE]",
                       "state get --key KEY [--step NAME] [FILE]",
                       "state list|size|get --url http://HOST:PORT [--pipeline NAME] …",
                       "state export [--step NAME] FILE > STATE",
                       "state import [--dry-run] FILE < STATE"),
        .description =
            "What the steps of a pipeline keep: per step and shard its keys, bytes and clock. Reads\n"
            "the state log as a start would, so it works whether the pipeline runs or not, and does\n"
            "not disturb it; what is not committed yet is not seen.\n"
            "\n"
            "With --url a running process is asked instead (docs/reference/http.md): it answers from\n"
            "its tables, at once, with what is committed. WEIR_HTTP_TOKEN holds its http.token, if any.\n"
            "\n"
            "`get` finds the entries of a key, written as JSON or, if it is a string, as it is.\n"
            "`export` writes JSON lines: a shard's position, a step's layout and clock, an entry's\n"
            "key and value in hexadecimal and, for people, what they say. `import` makes such lines\n"
            "the state of a pipeline that has none yet, and sets its positions to match; it is\n"
            "refused while the pipeline runs. So state moves to another medium, name or cluster:\n"
            "\n"
            "  weir state export old.yaml | weir state import new.yaml\n",
        .options = LIST(struct weir_option,
            {.name = "key", .argument = "KEY", .help = "get: the key, as JSON or text"},
            {.name = "step", .argument = "NAME", .help = "get, export: only of this step"},
            {.name = "url", .argument = "URL", .help = "list, size, get: ask the process that listens there"},
            {.name = "pipeline", .argument = "NAME", .help = "with --url: of this one of its pipelines"},
            {.name = "dry-run", .help = "import: read and compare, and write nothing"},
            FORMAT_OPTION("how to print the list (default: text)")),
        .operands = {{.name = "ACTION", .kind = WEIR_OPERAND_WORD,
                      .words = WORDS("list", "size", "get", "export", "import")},
                     OPTIONAL_FILE},
        .examples = LIST(struct weir_example,
            {"weir state list orders.yaml", NULL},
            {"weir state get --key DE orders.yaml", "what is kept for a key"},
            {"weir state get --key DE --url http://127.0.0.1:9600", "the same of a running process"},
            {"weir state export orders.yaml > orders.jsonl", "keep it, to be able to return"}),
        .exits = positions_exits,
        .variables = pipeline_variables,
        .run = weir_cmd_state,
    },
    {
        .name = "list",
        .summary = "list sources, steps and sinks",
        .usage = WORDS("list [sources|steps|sinks]"),
        .description = "Lists what a pipeline can be made of. `weir docs NAME` tells more.\n",
        .operands = {{.name = "ROLE", .kind = WEIR_OPERAND_WORD, .is_optional = true,
                      .words = WORDS("sources", "steps", "sinks")}},
        .examples = LIST(struct weir_example, {"weir list", NULL}, {"weir list sinks", NULL}),
        .exits = plain_exits,
        .run = weir_cmd_list,
    },
    {
        .name = "docs",
        .summary = "show the reference of a component",
        .usage = WORDS("docs [--markdown] NAME…", "docs --all --out FOLDER"),
        .description =
            "Shows the options of a source, step or sink: their types, defaults, bounds and meaning.\n"
            "NAME is a name of `weir list`, such a name behind its role (sink.kafka), `pipeline` for\n"
            "the keys of a pipeline file, or `jq` for the functions of expressions.\n",
        .options = LIST(struct weir_option,
            {.name = "markdown", .help = "Markdown instead of text"},
            {.name = "all", .help = "all pages as Markdown files, with commands, metrics and HTTP"},
            {.name = "out", .argument = "FOLDER", .help = "where --all puts them"}),
        .operands = {{.name = "NAME", .kind = WEIR_OPERAND_COMPONENT, .is_optional = true,
                      .is_repeated = true}},
        .examples = LIST(struct weir_example,
            {"weir docs pipeline", NULL}, {"weir docs kafka", NULL},
            {"weir docs --markdown sink.file", NULL}),
        .exits = plain_exits,
        .run = weir_cmd_docs,
    },
    {
        .name = "schema",
        .summary = "print the JSON Schema of pipeline files",
        .usage = WORDS("schema"),
        .description =
            "Prints the JSON Schema (draft 7) of pipeline files. Editors complete and check with it:\n"
            "\n"
            "  weir schema > weir.schema.json\n"
            "\n"
            "and as the first line of a pipeline file\n"
            "\n"
            "  # yaml-language-server: $schema=weir.schema.json\n",
        .examples = LIST(struct weir_example, {"weir schema > weir.schema.json", NULL}),
        .exits = plain_exits,
        .run = weir_cmd_schema,
    },
    {
        .name = "completion",
        .summary = "print what a shell needs to complete weir's commands",
        .usage = WORDS("completion bash|zsh|fish"),
        .description =
            "Prints a script that completes commands, options and their values, names of components\n"
            "and files. `cmake --install` puts the scripts where the shells look for them.\n",
        .operands = {{.name = "SHELL", .kind = WEIR_OPERAND_WORD,
                      .words = WORDS("bash", "zsh", "fish")}},
        .examples = LIST(struct weir_example,
            {"source <(weir completion bash)", "in ~/.bashrc"},
            {"weir completion zsh > ~/.zfunc/_weir", "a folder of $fpath"},
            {"weir completion fish > ~/.config/fish/completions/weir.fish", NULL}),
        .exits = plain_exits,
        .run = weir_cmd_completion,
    },
    {
        .name = "man",
        .summary = "print manual pages",
        .usage = WORDS("man [COMMAND]", "man --all --out FOLDER"),
        .description =
            "Prints the manual page of a command, or of weir itself, in the language of man(1).\n"
            "`cmake --install` puts all pages where man finds them.\n",
        .options = LIST(struct weir_option,
            {.name = "all", .help = "all pages, as weir.1, weir-run.1 and so on"},
            {.name = "out", .argument = "FOLDER", .help = "where --all puts them"}),
        .operands = {{.name = "COMMAND", .kind = WEIR_OPERAND_COMMAND, .is_optional = true}},
        .examples = LIST(struct weir_example, {"weir man run | man -l -", NULL},
            {"weir man --all --out /usr/local/share/man/man1", NULL}),
        .exits = plain_exits,
        .run = weir_cmd_man,
    },
    {
        .name = "version",
        .summary = "print the version",
        .usage = WORDS("version", "--version"),
        .description = "Prints the version.\n",
        .examples = LIST(struct weir_example, {"weir version", NULL}),
        .exits = LIST(struct weir_exit, {"0", "done"}),
        .run = weir_cmd_version,
    },
    {
        .name = "help",
        .summary = "show the commands, or the help of one",
        .usage = WORDS("help [COMMAND]"),
        .description = "Lists the commands; with a name, shows what its --help shows.\n",
        .operands = {{.name = "COMMAND", .kind = WEIR_OPERAND_COMMAND, .is_optional = true}},
        .examples = LIST(struct weir_example, {"weir help positions", NULL}),
        .exits = plain_exits,
        .run = weir_cmd_help,
    },
};
// clang-format on

const struct weir_command *weir_command_at(size_t index)
{
    return index < sizeof(commands) / sizeof(commands[0]) ? &commands[index] : NULL;
}

const struct weir_command *weir_command_find(const char *name)
{
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (strcmp(commands[i].name, name) == 0) {
            return &commands[i];
        }
    }
    return NULL;
}
