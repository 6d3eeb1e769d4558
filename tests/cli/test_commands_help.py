#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: everything that the table of commands says reaches --help, the manual pages and the shells, and
a mistyped name is answered with the nearest one.

Method: ask the program for its commands and look at each of them through every reader of the table;
bash completes, groff reads the pages."""
import re
import shutil
import subprocess
import sys
import unittest

from commands import CommandTest, environment


class Help(CommandTest):
    def commands(self):
        names = re.findall(r"^  ([a-z]+) +\S", self.weir("help").stdout, re.MULTILINE)
        self.assertGreater(len(names), 12)
        return names

    def test_every_command_has_help_with_an_example(self):
        for name in self.commands():
            done = self.weir(name, "--help")
            self.assertEqual(done.stderr, "")
            for part in (f"Usage: weir {name}", "-h, --help", "Example", f"weir {name}", "\nExit:\n  0   "):
                self.assertIn(part, done.stdout)
            self.assertEqual(self.weir("help", name).stdout, done.stdout)
            self.assertEqual(self.weir(name, "-h").stdout, done.stdout)
            self.assertTrue(all(len(line) <= 120 for line in done.stdout.splitlines()), name)

    def test_overview(self):
        self.assertEqual(self.weir("--help").stdout, self.weir("help").stdout)
        self.assertEqual(self.weir(code=2).stdout, self.weir("help").stdout)
        self.assertRegex(self.weir("--version").stdout, r"^weir \d+\.\d+\.\d+\n$")
        self.assertEqual(self.weir("version").stdout, self.weir("--version").stdout)

    def test_nearest_names(self):
        for arguments, answer in (
                (["chekc"], 'there is no command "chekc"; did you mean "check"?'),
                (["--versoin"], 'there is no option "--versoin"'),
                (["help", "expalin"], 'did you mean "explain"?'),
                (["check", "--formt", "json", "a"], "there is no option --formt; did you mean --format?"),
                (["check", "--format", "jsn", "a"], '--format is text or json, not "jsn"; did you mean "json"?'),
                (["check", "--format"], "--format needs a value: text|json"),
                (["check", "-z"], "there is no option -z"),
                (["check"], "FILE is missing"),
                (["pipe", "--explain=1", "a", "b"], "--explain takes no value"),
                (["lag", "a", "b"], '"b" is one argument too many'),
                (["schema", "x"], "takes no arguments"),
                (["list", "sinkss"], 'did you mean "sinks"?'),
                (["completion", "zhs"], 'did you mean "zsh"?'),
                (["positions", "exprot"], 'did you mean "export"?'),
                (["man", "rnu"], 'there is no command "rnu"')):
            done = self.weir(*arguments, code=2)
            self.assertIn(answer, done.stderr)
            self.assertEqual(done.stdout, "", arguments)

    def test_operands_and_options_mix(self):
        self.write("a.yaml", "name: a\nsource: stdin\nsink: drop\n")
        self.assertIn('"errors":0', self.weir("check", "a.yaml", "--format", "json").stdout)
        self.assertIn('"errors":0', self.weir("check", "--format=json", "--", "a.yaml").stdout)
        self.weir("check", "--", "--format", code=78)

    def test_manual_pages(self):
        self.weir("man", "--all", "--out", "man1")
        names = self.commands()
        pages = {path.name for path in (self.folder / "man1").iterdir()}
        self.assertEqual(pages, {"weir.1", *(f"weir-{name}.1" for name in names)})
        for name in names:
            page = self.read(f"man1/weir-{name}.1")
            self.assertTrue(page.startswith(f'.TH WEIR-{name.upper()} 1 '), name)
            for part in ("SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS", "EXAMPLES"):
                self.assertIn(f".SH {part}\n", page)
            self.assertTrue(page.isascii(), name)
            self.assertEqual(self.weir("man", name).stdout, page)
            if shutil.which("groff"):
                made = subprocess.run(["groff", "-man", "-Tutf8", "-ww"], input=page, text=True,
                                      capture_output=True, check=True, env=environment())
                self.assertEqual(made.stderr, "", name)
        self.assertEqual(self.weir("man").stdout, self.read("man1/weir.1"))
        self.weir("man", "--all", code=2)
        self.assertIn("No such file", self.weir("man", "--all", "--out", "none/man1", code=1).stderr)

    def complete(self, *words):
        script = ('source ./script; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); compopt() { echo FILES; }; '
                  '_weir; printf "%s\\n" "${COMPREPLY[@]}"')
        done = subprocess.run(["bash", "--norc", "-c", script, "-", "weir", *words], cwd=self.folder,
                              env=environment(), capture_output=True, text=True, check=True)
        self.assertEqual(done.stderr, "")
        return done.stdout.split()

    def test_bash_completes(self):
        self.write("script", self.weir("completion", "bash").stdout)
        self.assertEqual(self.complete("ch"), ["check"])
        self.assertEqual(set(self.complete("")), {*self.commands(), "--help", "--version"})
        self.assertEqual(self.complete("check", "--f"), ["--format"])
        self.assertEqual(self.complete("check", "--format", "j"), ["json"])
        self.assertEqual(self.complete("check", ""), ["FILES"])
        self.assertEqual(self.complete("docs", "sink"), [])
        self.assertIn("kafka", self.complete("docs", "ka"))
        self.assertEqual(self.complete("positions", "ex"), ["export"])
        self.assertEqual(self.complete("positions", "set", ""), ["FILES"])
        self.assertEqual(self.complete("completion", ""), ["bash", "zsh", "fish"])

    def test_every_option_is_in_every_script(self):
        scripts = {shell: self.weir("completion", shell).stdout for shell in ("bash", "zsh", "fish")}
        for name in self.commands():
            options = set(re.findall(r"^  (?:-\w, )?--([a-z0-9-]+)", self.weir(name, "--help").stdout,
                                     re.MULTILINE))
            self.assertIn("help", options)
            for option in options:
                self.assertIn(f"--{option}", scripts["bash"])
                self.assertIn(f"'--{option}", scripts["zsh"])
                self.assertIn(f"from {name}' -l {option} ", scripts["fish"])
        for shell, script in scripts.items():
            if shutil.which(shell):
                subprocess.run([shell, "-n"], input=script, text=True, check=True, env=environment())


if __name__ == "__main__":
    sys.exit(unittest.main(verbosity=0))
