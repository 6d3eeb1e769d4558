#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: what the documentation shows is what happens, and its links lead somewhere.

Method: what docs/guide/troubleshooting.md quotes as a message must stand in the sources. Every console session of every page is typed in and its output compared (tests/support/pages.py
says how); those that need a broker run in tests/broker/test_docs.py. Links to files, and to headings in them, are
looked up.
"""
import os
import pathlib
import re
import sys
import tempfile

from pages import ROOT, blocks, pages, run_page


def broken_links(page):
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.M | re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("http://", "https://")):
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name) if name else page
        if not path.exists():
            yield f"{page.relative_to(ROOT)}: {target} leads nowhere"
        elif anchor and path.suffix == ".md":
            headings = re.findall(r"^#+ (.*)$", path.read_text(), re.M)
            slugs = {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}
            if anchor not in slugs:
                yield f"{page.relative_to(ROOT)}: {target}: no such heading"


def unknown_messages(page):
    """Messages at the head of a paragraph of which no source speaks. What stands for a value (a number,
    X, N, M, …) splits a message into parts."""
    literal = r'"((?:[^"\\\n]|\\.)*)"'
    sources = ""
    for path in sorted((ROOT / "src").rglob("*.c")):
        text = re.sub(r'"\s*"', "", path.read_text())
        sources += "\n".join(re.findall(literal, text)).replace('\\"', '"') + "\n"
    for head in re.findall(r"^\*\*(.*?)\*\*", page.read_text(), re.M):
        for quoted in re.findall(r"``(.+?)``|`([^`]+)`", head):
            message = "".join(quoted)
            for part in re.split(r"\b(?:[XNM]|\d+|orders)\b|…|\(|\)|exactly-once|at-least-once", message):
                if len(part.strip(" ,:;")) > 3 and part.strip(" ,:;") not in sources:
                    yield f"{page.relative_to(ROOT)}: no source says \"{part.strip()}\" ({message})"


def main():
    weir = os.environ["WEIR_BIN"]
    chosen = [pathlib.Path(name).resolve() for name in sys.argv[1:]] or pages()
    count, wrong = 0, []
    for page in chosen:
        wrong.extend(broken_links(page))
        if page.name == "troubleshooting.md":
            wrong.extend(unknown_messages(page))
        if not any(info == "console" for _, info, _ in blocks(page)):
            continue
        with tempfile.TemporaryDirectory() as folder:
            for where, fault in run_page(page, pathlib.Path(folder), weir):
                count += 1
                if fault is not None:
                    wrong.append(f"{where}\n{fault}")
    print("\n".join(wrong))
    print(f"{count} commands of the documentation, {len(wrong)} faults")
    sys.exit(1 if wrong or (count < 20 and not sys.argv[1:]) else 0)


if __name__ == "__main__":
    main()
