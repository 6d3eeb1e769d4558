#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: `weir eval` is jq on the command line: its options, its output, its exit codes.

Method: calls recorded from jq 1.8.2 (jq/cli.jsonl) are made with weir in a folder with the same
files, home and all; standard output and exit code must be the same byte for byte.
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
FILES = {"f1.json": '{"a":1}\n[1,2]\n"x"', "f2.json": ' 3 {"b":[]}\n', "p.jq": ".a # c\n",
         "lib/m.jq": 'def f: "lib f"; def g(x): x + 1;\n', "lib/data.json": "[1,2] 3\n",
         "lib/sub/sub.jq": 'module {"v": 1}; import "m" as m {"search": "../"}; def h: m::f;\n',
         "home/.jq": 'def homely: "from home";\n',
         "q.jq": 'import "m" as m {search: "./lib"}; m::f'}


def main():
    weir = os.path.abspath(os.environ["WEIR_BIN"])
    wrong = calls = 0
    with tempfile.TemporaryDirectory() as folder:
        for name, text in FILES.items():
            pathlib.Path(folder, name).parent.mkdir(parents=True, exist_ok=True)
            pathlib.Path(folder, name).write_text(text)
        for line in (HERE / "jq" / "cli.jsonl").read_text().splitlines():
            case = json.loads(line)
            calls += 1
            env = os.environ | {"HOME": f"{folder}/home"} | case.get("environment", {})
            done = subprocess.run([weir, "eval", *case["arguments"]], cwd=folder, timeout=60,
                                  input=case["stdin"].encode(), check=False, env=env,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            if (done.stdout, done.returncode) != (case["stdout"].encode(), case["exit"]):
                wrong += 1
                print(f"{case['arguments']} on {case['stdin']!r}\n"
                      f"  expected {case['exit']} {case['stdout']!r}\n"
                      f"  got      {done.returncode} {done.stdout!r} {done.stderr!r}")
    print(f"{calls} calls, {wrong} wrong")
    sys.exit(1 if wrong or calls < 60 else 0)


if __name__ == "__main__":
    main()
