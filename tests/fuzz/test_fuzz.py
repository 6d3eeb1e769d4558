#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: no input makes a parser crash, hang or leak.

Method: every fuzz/*_fuzz.c is built with clang's libFuzzer and the address and undefined behaviour
sanitizers, from the folders that its line "Sources:" names and with the client libraries of its
line "Links:", and runs 60 s (with WEIR_LONG 300; or WEIR_FUZZ_SECONDS) on the seeds that its line
"Seeds:" names.
"""
import concurrent.futures
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
FLAGS = ["-g", "-O1", "-std=c17", "-D_GNU_SOURCE", "-fsanitize=fuzzer,address,undefined",
         "-fno-sanitize-recover=undefined", f"-I{ROOT}/include", f"-I{ROOT}/src"]
LONG = os.environ.get("WEIR_LONG", "") not in ("", "0")
SECONDS = os.environ.get("WEIR_FUZZ_SECONDS", "300" if LONG else "60")


def words(text, label):
    match = re.search(rf"^ \* {label}: (.*)$", text, re.M)
    return match.group(1).split() if match else []


def packages(text, what):
    """What pkg-config says about the client libraries; those built here come first."""
    paths = [str(path) for path in sorted((ROOT / "build" / "deps").glob("*/lib/pkgconfig"))]
    environment = dict(os.environ, PKG_CONFIG_PATH=":".join(paths))
    flags = []
    for name in words(text, "Links"):
        name = {"yaml": "yaml-0.1", "onig": "oniguruma"}.get(name, name)
        flags += subprocess.run(["pkg-config", what, name], env=environment, check=True,
                                stdout=subprocess.PIPE).stdout.decode().split()
    return flags


def compile_once(source, target, flags):
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["clang", *FLAGS, *flags, "-c", str(source), "-o", str(target)], check=True)
    return target


def build(target, text, objects, folder):
    """The target with an archive of the sources: what it does not use is not linked."""
    includes = packages(text, "--cflags")
    sources = [path for name in words(text, "Sources") for path in sorted((ROOT / name).glob("*.c"))]
    archive, program = folder / "sources.a", folder / target.stem
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        made = list(pool.map(lambda path: compile_once(
            path, objects / path.parent.name / f"{path.stem}.o", includes), sources))
    subprocess.run(["ar", "rcs", str(archive), *map(str, made)], check=True)
    subprocess.run(["clang", *FLAGS, *includes, str(target), str(archive),
                    *packages(text, "--libs"), "-lm", "-lpthread", "-o", str(program)], check=True)
    return program


def fuzz(target, objects, folder):
    text = target.read_text()
    corpus = folder / "corpus"
    corpus.mkdir()
    for name in words(text, "Seeds"):
        seeds = sorted((ROOT / name).glob("*.yaml")) or sorted((ROOT / name).iterdir())
        for seed in seeds:
            shutil.copy(seed, corpus / f"{seed.parent.name}-{seed.name}")
    program = build(target, text, objects, folder)
    done = subprocess.run([str(program), f"-max_total_time={SECONDS}", "-max_len=4096", "-timeout=20",
                           "-print_final_stats=1", str(corpus)], cwd=folder, check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    output = done.stdout.decode("utf-8", "replace")
    runs = re.search(r"number_of_executed_units: (\d+)", output)
    print(f"{target.name}: {runs.group(1) if runs else 'no'} runs in {SECONDS} s")
    if done.returncode != 0 or not runs or int(runs.group(1)) < 1000:
        print(output[-8000:])
        return False
    return True


def main():
    targets = sorted((ROOT / "fuzz").glob("*_fuzz.c"))
    with tempfile.TemporaryDirectory() as folder:
        results = []
        for target in targets:
            own = pathlib.Path(folder) / target.stem
            own.mkdir()
            results.append(fuzz(target, pathlib.Path(folder) / "objects", own))
    sys.exit(0 if results and all(results) else 1)


if __name__ == "__main__":
    main()
