# SPDX-License-Identifier: Apache-2.0
"""What the tests of commands share: a folder of their own, and the program run in it."""
import os
import pathlib
import subprocess
import tempfile
import unittest


def environment(**more):
    keep = {name: value for name, value in os.environ.items()
            if name in ("PATH", "HOME", "TMPDIR") or "SAN_OPTIONS" in name}
    return keep | more


class CommandTest(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = pathlib.Path(temporary.name)

    def write(self, name, text):
        (self.folder / name).write_text(text)

    def read(self, name):
        return (self.folder / name).read_text()

    def weir(self, *arguments, code=0, stdin="", **env):
        done = subprocess.run([os.environ["WEIR_BIN"], *arguments], input=stdin, cwd=self.folder,
                              env=environment(**env), capture_output=True, text=True, timeout=120,
                              check=False)
        self.assertEqual(done.returncode, code, f"{arguments}\n{done.stdout}{done.stderr}")
        return done
