# SPDX-License-Identifier: Apache-2.0
"""The examples of the documentation, run as they stand.

A ```console block is a session: lines that begin with "$ " (and those that continue them, "> ") are
typed into bash, the lines below are what must come out, errors included and the program's JSON log
lines left out. A line "..." stands for any lines, "…" in a line for any text. A ```yaml block whose first
line is "# NAME.yaml" is a file of that name. All blocks of a page share one folder, which is empty in
the beginning but for a link to examples/. "```console kafka" blocks need a broker at localhost:9092, which
is replaced by the one at hand.
"""
import os
import pathlib
import re
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
SECONDS = 120
LOG_LINE = re.compile(r'^\{"time":".*"level":"[a-z]+"')


def pages():
    top = ["README.md", "CONTRIBUTING.md", "SECURITY.md", "ARCHITECTURE.md"]
    return [ROOT / name for name in top] + sorted((ROOT / "docs").rglob("*.md"))


def blocks(page):
    """(line, info, text) of each fenced block."""
    text = page.read_text()
    for match in re.finditer(r"^```([a-z][^\n]*)\n(.*?)^```$", text, re.M | re.S):
        yield text.count("\n", 0, match.start()) + 1, match.group(1).strip(), match.group(2)


def commands(session):
    """(command, expected lines) of each command of a console block."""
    found = []
    for line in session.splitlines():
        if line.startswith("$ "):
            found.append([line[2:], []])
        elif line.startswith("> ") and found and not found[-1][1]:
            found[-1][0] += "\n" + line[2:]
        else:
            assert found, f"output before a command: {line}"
            found[-1][1].append(line)
    return found


def line_matches(expected, actual):
    pattern = ".*".join(re.escape(part) for part in expected.split("…"))
    return re.fullmatch(pattern, actual) is not None


def matches(expected, actual):
    if not expected:
        return not actual
    if expected[0] == "...":
        return any(matches(expected[1:], actual[i:]) for i in range(len(actual) + 1))
    return bool(actual) and line_matches(expected[0], actual[0]) and matches(expected[1:], actual[1:])


def environment(weir):
    env = {key: value for key, value in os.environ.items()
           if key in ("HOME", "TMPDIR") or "SAN_OPTIONS" in key}
    return env | {"PATH": f"{pathlib.Path(weir).resolve().parent}:{os.environ['PATH']}", "LANG": "C.UTF-8"}


def run_page(page, folder, weir, kafka=None):
    """Runs a page's blocks; yields (where, None or what is wrong) for each command."""
    (folder / "examples").symlink_to(ROOT / "examples")
    (folder / "scripts").symlink_to(ROOT / "scripts")

    def local(text):
        return text if kafka is None else text.replace("localhost:9092", kafka)

    for number, info, text in blocks(page):
        name = re.match(r"# ([a-z0-9-]+\.yaml)\n", text)
        if info == "yaml" and name:
            (folder / name.group(1)).write_text(local(text))
            (folder / name.group(1)).chmod(0o600)
        if info != "console" and not (info == "console kafka" and kafka):
            continue
        for command, expected in commands(text):
            where = f"{page.relative_to(ROOT)}:{number}: $ {command}"
            try:
                done = subprocess.run(["bash", "-c", local(command)], cwd=folder, env=environment(weir),
                                      stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                      stderr=subprocess.STDOUT, timeout=SECONDS, check=False)
            except subprocess.TimeoutExpired:
                yield where, f"no end within {SECONDS} s"
                continue
            output = done.stdout.decode("utf-8", "replace")
            actual = [line for line in output.splitlines() if not LOG_LINE.match(line)]
            wanted = [local(line) for line in expected]
            yield where, None if matches(wanted, actual) else "\n".join(
                ["expected:", *wanted, "came:", *actual, output[-800:] if actual == [] else ""])
