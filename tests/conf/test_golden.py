#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: what weir says about a configuration file is exactly what stands in the golden file.

Method: every types/*.yaml goes through golden_tool (a table with a field of every type), every
pipelines/*.yaml through `weir check`, alone in a fresh folder with mode 0600 and an environment of
its own. Output and exit code must equal the file's .expect; `--update` writes them, NAME… picks
cases. Comments in a case direct it:

    # env: NAME=value          set a variable
    # file: NAME MODE TEXT     put a file beside it (\\n in TEXT is a line end)
    # mode: 0644               of the case itself

The character ⇥ stands for a tab.
"""
import os
import pathlib
import re
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
CASES_MIN = {"types": 50, "pipelines": 50}


def command(suite):
    if suite == "types":
        return [os.path.join(os.environ["WEIR_TOOLS"], "golden_tool")]
    return [os.environ["WEIR_BIN"], "check"]


def run(case):
    text = case.read_text(encoding="utf-8", errors="surrogateescape")
    env = {name: os.environ[name] for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS") if name in os.environ}
    env["PATH"] = os.environ["PATH"]
    with tempfile.TemporaryDirectory() as folder:
        mode = 0o600
        for kind, rest in re.findall(r"^# (env|file|mode): (.*)$", text, re.M):
            if kind == "env":
                name, _, value = rest.partition("=")
                env[name] = value
            elif kind == "mode":
                mode = int(rest, 8)
            else:
                name, bits, content = rest.split(" ", 2)
                path = pathlib.Path(folder, name)
                path.write_text(content.replace("\\n", "\n"))
                path.chmod(int(bits, 8))
        copy = pathlib.Path(folder, case.name)
        copy.write_bytes(case.read_bytes().replace("⇥".encode(), b"\t"))
        copy.chmod(mode)
        done = subprocess.run(command(case.parent.name) + [case.name], cwd=folder, env=env,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=60, check=False)
    output = done.stdout.decode("utf-8", "backslashreplace")
    return f"{output}exit {done.returncode}\n"


def main():
    update = "--update" in sys.argv
    names = [a for a in sys.argv[1:] if not a.startswith("--")]
    failed = count = 0
    for suite, least in CASES_MIN.items():
        cases = sorted((HERE / suite).glob("*.yaml"))
        if len(cases) < least:
            print(f"{suite}: {len(cases)} cases, expected at least {least}")
            failed += 1
        for case in cases:
            if names and case.stem not in names:
                continue
            count += 1
            golden = case.with_suffix(".expect")
            output = run(case)
            if update:
                golden.write_text(output)
            elif not golden.exists() or golden.read_text() != output:
                failed += 1
                wanted = golden.read_text() if golden.exists() else "(no .expect file)\n"
                print(f"--- {suite}/{case.stem}: expected\n{wanted}--- but got\n{output}")
    print(f"{count} cases, {failed} failed")
    sys.exit(1 if failed or not count else 0)


if __name__ == "__main__":
    main()
