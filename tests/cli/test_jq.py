# SPDX-License-Identifier: Apache-2.0
"""Expressions of a pipeline use what its file allows and no more: modules beside it and in the folders
it names, the environment if it says so; a hostile expression ends at a limit, and the others go on."""
import os
import subprocess

from harness import case, main
from local_pipeline import expect_equal, expect_in, run, start, text


def results(context, steps, records, **more):
    config = text("jq", {"stdin": {}}, {"stdout": {}}, steps=steps, **more)
    process = start(context, config, env={"WEIR_TEST_COLOUR": "blue"}, stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE)
    have, _ = process.communicate(records, timeout=120)
    assert process.returncode == 0, process.returncode
    return have


@case
def modules_are_found_beside_the_file_and_on_its_path(context):
    (context.dir / "lib").mkdir()
    (context.dir / "near.jq").write_text('import "far" as far; def near: far::twice + 1;\n')
    (context.dir / "lib" / "far.jq").write_text("def twice: . * 2;\n")
    (context.dir / "lib" / "names.json").write_text('{"1": "one"}\n')
    (context.dir / "other").mkdir()
    (context.dir / "other" / "far.jq").write_text('def twice: "other";\n')
    steps = [{"map": 'import "near" as n; {n, near: (.n | n::near)}'},
             {"map": 'include "far" {search: "./other"}; . + {other: twice}'},
             {"map": 'import "names" as $names; . + {name: $names[0][.n | tostring]}'}]
    expect_equal(results(context, steps, b'{"n":1}\n', jq={"path": "lib"}),
                 b'{"n":1,"near":3,"other":"other","name":"one"}\n')


@case
def the_path_is_that_of_the_file_not_of_the_process(context):
    (context.dir / "lib").mkdir()
    (context.dir / "lib" / "m.jq").write_text('def f: "found";\n')
    (context.dir / "weir.yaml").write_text(text(
        "jq", {"stdin": {}}, {"stdout": {}}, steps=[{"map": 'import "m" as m; m::f'}],
        jq={"path": ["lib"]}))
    done = subprocess.run([os.path.abspath(os.environ["WEIR_BIN"]), "check", str(context.dir / "weir.yaml")],
                          cwd="/", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    assert done.returncode == 0, done.stdout


@case
def the_environment_is_open_when_the_file_says_so(context):
    steps = [{"map": "[env.WEIR_TEST_COLOUR, $ENV.WEIR_TEST_COLOUR]"}]
    expect_equal(results(context, steps, b"1\n", jq={"environment": True}), b'["blue","blue"]\n')
    log = run(context, text("jq", {"stdin": {}}, {"stdout": {}}, steps=steps), expect=78)
    expect_in(log, "the environment is closed to programs")


# An expression that never ends, or takes too much, when .bad says so; its limit; what the log says.
HOSTILE = [
    ("if .bad then last(repeat(1)) else .n end", {"max_steps": 5000}, "more than 5000 steps"),
    ("def f: 1 + f; if .bad then f else .n end", {"max_depth": 500}, "more than 500 levels deep"),
    ("if .bad then range(200) | 0 else .n end", {"max_results": 100}, "more than 100 results"),
    ("if .bad then reduce range(100000) as $i (\"\"; . + \"0123456789\") else .n end",
     {"max_memory": "256KiB"}, "more than 262144 bytes"),
    ("if .bad then (\"a\" * 40 + \"b\" | test(\"^(a|a)*$\")) else .n end", {"max_backtracking": 2000},
     "regular expression"),
]


@case
def a_hostile_expression_ends_at_its_limit(context):
    for program, limit, says in HOSTILE:
        for form in program, f"try ({program}) catch .n", f"({program})?":
            have = results(context, [{"map": form}, {"filter": ". != 0"}],
                           b'{"n":1}\n{"bad":true,"n":2}\n{"n":3}\n', jq=limit, on_error="skip")
            expect_equal(have, b"1\n3\n", form)
            log = (context.dir / "weir.log").read_text()
            expect_in(log, says)
            (context.dir / "weir.log").unlink()


@case
def large_documents_keep_their_order(context):
    """Many more bytes than a batch takes, read at once: none is lost, doubled or moved."""
    pad = "x" * 20000
    (context.dir / "in.jsonl").write_text(
        "".join(f'{{"n":{n},"pad":"{pad[n % 300:]}","more":[{n}, "\\u00e9"]}}\n' for n in range(600)))
    run(context, text("jq", {"file": {"path": "in.jsonl"}}, {"file": {"path": "out.jsonl"}},
                      steps=[{"filter": ".n % 3 != 0"}, {"map": "{n, size: (.pad | length), more}"}]))
    expect_equal((context.dir / "out.jsonl").read_bytes(),
                 "".join(f'{{"n":{n},"size":{20000 - n % 300},"more":[{n},"\u00e9"]}}\n'
                         for n in range(600) if n % 3).encode())


if __name__ == "__main__":
    main()
