#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: every pipeline that weir shows to people is a valid one.

Method: `weir check` reads each pipeline of examples/, `weir test` runs their cases (also with
crashes and other batches; each pipeline has some), and `weir check` reads each ```yaml block of the documentation that
is a pipeline or a part of one (a part is completed by what it lacks). A block whose first line is a
comment that begins with "wrong" or "impossible" must be refused. Variables without a default are set, and
files named by ${file:…} are there. What a page runs, cli.docs and broker.docs check.
"""
import os
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
KEYS = r"(?:name|source|sources|steps|sink|sinks|branches):"
MISSING = (
    (r"^name:", "name: example\n"),
    (r"^sources?:", "source: {kafka: {brokers: localhost:9092, topic: example}}\n"),
    (r"^(?:sinks?|branches):", "sink: drop\n"),
)


def blocks(text):
    for match in re.finditer(r"^( *)```yaml\n(.*?)^ *```$", text, re.M | re.S):
        body = re.sub(rf"^{match.group(1)}", "", match.group(2), flags=re.M)
        if re.search(rf"^{KEYS}", body, re.M):
            yield text.count("\n", 0, match.start()) + 1, body


def complete(body):
    for pattern, line in MISSING:
        if not re.search(pattern, body, re.M):
            body += line
    return body


def cases():
    for path in sorted((ROOT / "examples").rglob("*.yaml")):
        if path.name.endswith(".test.yaml"):
            continue
        yield str(path.relative_to(ROOT)), path.read_text()
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    for path in pages:
        if path.exists():
            text = path.read_text()
            for line, body in blocks(text):
                name = re.match(r"# (\S+\.yaml)\n", body)
                if name and f"$ weir run {name.group(1)}\n" in text:
                    continue  # the page runs it, with the files that it needs: cli.docs, broker.docs
                yield f"{path.relative_to(ROOT)}:{line}", complete(body)


def run_cases(path):
    """What is wrong with the cases of a pipeline; "" if they pass."""
    tests = path.with_suffix(".test.yaml")
    if not tests.exists():
        return f"{path.name} has no cases: write {tests.name}\n"
    done = subprocess.run([os.environ["WEIR_BIN"], "test", "--crash", "--shuffle-batches", tests],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    return "" if done.returncode == 0 else done.stdout.decode()


def main():
    count = failed = 0
    for path in sorted((ROOT / "examples").rglob("*.yaml")):
        if not path.name.endswith(".test.yaml"):
            wrong = run_cases(path)
            failed += wrong != ""
            print(wrong, end="")
    with tempfile.TemporaryDirectory() as folder:
        for name, text in cases():
            path = pathlib.Path(folder, "pipeline.yaml")
            secret = pathlib.Path(folder, "secret")
            for file, content in ((path, re.sub(r"\$\{file:[^}]*\}", f"${{file:{secret}}}", text)),
                                  (secret, "value\n")):
                file.write_text(content)
                file.chmod(0o600)
            env = {**os.environ, **{variable: "value" for variable in re.findall(r"\$\{(\w+)\}", text)}}
            done = subprocess.run([os.environ["WEIR_BIN"], "check", str(path)], cwd=folder, env=env,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
            count += 1
            wanted = 78 if re.match(r"# (?:wrong|impossible)", text) else 0
            if done.returncode != wanted:
                failed += 1
                print(f"--- {name}\n{text}---\n{done.stdout.decode()}")
    print(f"{count} pipelines, {failed} failed")
    sys.exit(1 if failed or count < 4 else 0)


if __name__ == "__main__":
    main()
