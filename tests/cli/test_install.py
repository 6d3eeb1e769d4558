#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: what `cmake --install` leaves behind is enough to run weir and to build on it, wherever it lies.

Method: the build is installed into a folder, which is moved; the program there runs, every public header
compiles by itself under strict warnings, and a program that knows nothing but pkg-config's answer is
compiled, linked and run."""
import os
import pathlib
import subprocess
import tempfile
import unittest

from commands import CommandTest, environment

BUILD = pathlib.Path(os.environ["WEIR_BIN"]).resolve().parent
STRICT = ["-std=c17", "-D_POSIX_C_SOURCE=200809L", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]

PROGRAM = r"""
#include <stdio.h>
#include <string.h>
#include <weir/jq.h>
#include <weir/json.h>
#include <weir/strbuf.h>

static weir_status print(void *context, struct weir_value value, struct weir_err *err)
{
    struct weir_strbuf text;
    (void)context;
    (void)err;
    weir_strbuf_init(&text, 1000);
    weir_value_write(value, &text, 0);
    puts(text.data);
    weir_strbuf_done(&text);
    return WEIR_OK;
}

int main(void)
{
    struct weir_arena arena;
    struct weir_err err = {0};
    struct weir_jq_fault fault;
    struct weir_value input;
    struct weir_jq *program = weir_jq_compile(weir_slice_of(".a[] | . * 2"), NULL, &fault, &err);
    struct weir_jq_run *run = weir_jq_run_new(NULL);
    weir_arena_init(&arena, 0);
    if (program == NULL ||
        weir_json_parse(&arena, weir_slice_of("{\"a\":[1,20]}"), NULL, &input, &err) != WEIR_OK ||
        weir_jq_each(run, program, input, print, NULL, &err) != WEIR_OK) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    weir_jq_run_free(run);
    weir_jq_free(program);
    weir_arena_done(&arena);
    return 0;
}
"""


class Install(CommandTest):
    @classmethod
    def setUpClass(cls):
        cls.prefix = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory())) / "moved"
        first = cls.prefix.with_name("first")
        subprocess.run(["cmake", "--install", str(BUILD), "--prefix", str(first)], check=True,
                       stdout=subprocess.DEVNULL)
        first.rename(cls.prefix)

    def run_tool(self, *line, **env):
        done = subprocess.run(line, cwd=self.folder, env=environment(**env), capture_output=True,
                              text=True, timeout=300, check=False)
        self.assertEqual(done.returncode, 0, f"{line}\n{done.stdout}{done.stderr}")
        return done.stdout

    def flags(self, *what):
        pc, = self.prefix.glob("lib/**/pkgconfig/weir.pc")
        return self.run_tool("pkg-config", *what, "weir", PKG_CONFIG_PATH=str(pc.parent)).split()

    def sanitizers(self):
        """A library that was built with sanitizers needs them in what links it."""
        cache = (BUILD / "CMakeCache.txt").read_text()
        found = [word for word in cache.split() if word.startswith("-fsanitize=")]
        return found[:1]

    def test_the_program_runs(self):
        version = self.run_tool(str(self.prefix / "bin" / "weir"), "version")
        self.assertIn("weir", version)
        for path in ("share/man/man1/weir.1", "share/bash-completion/completions/weir"):
            self.assertGreater((self.prefix / path).stat().st_size, 100)

    def test_each_header_stands_alone(self):
        headers = sorted((self.prefix / "include" / "weir").glob("*.h"))
        self.assertGreater(len(headers), 10)
        self.write("all.c", "".join(f"#include <weir/{path.name}>\n" for path in reversed(headers)))
        for path in headers:
            self.write(f"{path.stem}.c", f"#include <weir/{path.name}>\n")
        self.run_tool("cc", *STRICT, "-fsyntax-only", *self.flags("--cflags"), "all.c",
                      *(f"{path.stem}.c" for path in headers))

    def test_a_program_is_built_on_the_library(self):
        self.write("program.c", PROGRAM)
        self.run_tool("cc", *STRICT, *self.sanitizers(), *self.flags("--cflags"), "program.c",
                      *self.flags("--libs"), "-o", "program")
        self.assertEqual(self.run_tool(str(self.folder / "program")), "2\n40\n")


if __name__ == "__main__":
    unittest.main()
