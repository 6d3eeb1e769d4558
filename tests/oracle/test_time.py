#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: results by the wall clock, clocks that jump, steps whose state is full, and windows behind other steps
that keep state are as written in the *.test.yaml files beside this one.

Method: `weir test` runs them; those that may not depend on batches, epochs and crashes are also run with
other ones and with a crash at every call."""
import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
FILES = {"time": [], **{name: ["--shuffle-batches", "--crash"] for name in ("jump", "full", "behind")}}

weir = os.path.abspath(os.environ["WEIR_BIN"])
codes = [subprocess.run([weir, "test", *more, HERE / f"{name}.test.yaml"], timeout=300, check=False).returncode
         for name, more in FILES.items()]
sys.exit(1 if any(codes) or {p.name.split(".")[0] for p in HERE.glob("*.test.yaml")} != set(FILES) else 0)
