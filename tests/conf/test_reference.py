#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: docs/reference is what the program's tables say.

Method: `weir docs --all` into a fresh folder: the same pages with the same content as the committed
ones. To renew them: weir docs --all --out docs/reference
"""
import filecmp
import os
import pathlib
import subprocess
import sys
import tempfile

COMMITTED = pathlib.Path(__file__).resolve().parents[2] / "docs" / "reference"


def main():
    wrong = []
    with tempfile.TemporaryDirectory() as folder:
        fresh = pathlib.Path(folder, "reference")
        subprocess.run([os.environ["WEIR_BIN"], "docs", "--all", "--out", str(fresh)], check=True)
        pages = {p.relative_to(fresh) for p in fresh.rglob("*.md")}
        for page in sorted(pages):
            committed = COMMITTED / page
            if not committed.exists() or not filecmp.cmp(fresh / page, committed, shallow=False):
                wrong.append(f"{page} is not current")
        for path in COMMITTED.rglob("*.md"):
            if path.relative_to(COMMITTED) not in pages:
                wrong.append(f"{path.relative_to(COMMITTED)} is of nothing that exists")
    print("\n".join(wrong) or f"{len(pages)} pages are current")
    if wrong:
        print("Renew them: weir docs --all --out docs/reference")
    sys.exit(1 if wrong or len(pages) < 10 else 0)


if __name__ == "__main__":
    main()
