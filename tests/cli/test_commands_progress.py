#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: a run that knows its end shows on a terminal how far it is, in one line that never tears a log
line or a record, and is silent everywhere else.

Method: weir with a pseudo-terminal as standard error, over a generator that takes its time; the bytes
that reach the terminal are looked at. The runs of a test go on side by side."""
import os
import pty
import re
import subprocess
import sys
import unittest

from commands import CommandTest, environment

LINE = re.compile(r"\r([\d,]+) records, ([\d,]+)/s, (\d+) %(?:, (\d+) s left)?\x1b\[K")


class Progress(CommandTest):
    def start(self, name, steps="", sink="drop", generate="count: 4000, rate: 1000", stdout_too=False,
              **env):
        self.write(f"{name}.yaml", f"name: {name}\nsource: {{generate: {{{generate}}}}}\n{steps}sink: {sink}\n"
                                   f"commit_interval: 200ms\nhttp: off\nlog: {{format: text}}\n")
        ours, theirs = pty.openpty()
        process = subprocess.Popen([os.environ["WEIR_BIN"], "run", f"{name}.yaml"], cwd=self.folder,
                                   env=environment(TERM="xterm", NO_COLOR="1") | env, stdin=subprocess.DEVNULL,
                                   stdout=theirs if stdout_too else subprocess.DEVNULL, stderr=theirs)
        os.close(theirs)
        self.addCleanup(process.kill)
        return process, ours

    def finish(self, started):
        """What the terminal got, until the program closed it."""
        process, terminal = started
        text = b""
        while True:
            try:
                piece = os.read(terminal, 65536)
            except OSError:  # the other side is closed
                piece = b""
            if not piece:
                break
            text += piece
        os.close(terminal)
        self.assertEqual(process.wait(30), 0, text)
        return text.decode()

    def test_on_a_terminal_and_elsewhere(self):
        logging = self.start("a", steps="steps: [filter: '.n % 500 == 0', log: .n]\n")
        quiet = [self.start("b", TERM="dumb"), self.start("c", sink="stdout", stdout_too=True),
                 self.start("d", generate="count: 300, rate: 1000")]
        text = self.finish(logging)
        shown = LINE.findall(text)
        self.assertGreaterEqual(len(shown), 2, text)
        percents = [int(percent) for _, _, percent, _ in shown]
        self.assertEqual(percents, sorted(percents))
        self.assertTrue(all(0 < percent <= 100 for percent in percents), percents)
        self.assertTrue(all(500 <= int(rate.replace(",", "")) <= 1500 for _, rate, _, _ in shown), shown)
        self.assertTrue(any(left != "" and int(left) <= 3 for _, _, _, left in shown), shown)
        # What follows the line begins by going back over it.
        self.assertEqual({text[match.end()] for match in LINE.finditer(text)}, {"\r"}, text)
        # Every log line begins at the left margin, and nothing of the progress is left behind.
        rest = LINE.sub("\r", text).replace("\r\x1b[K", "\r")
        for line in rest.split("\n"):
            line = line.strip("\r")
            self.assertTrue(line == "" or re.match(r"\d\d:\d\d:\d\d\.\d{3} ", line), line)
        self.assertNotIn(" records,", text.split("\x1b[K")[-1])
        for started in quiet:
            self.assertNotIn("records,", self.finish(started))


if __name__ == "__main__":
    sys.exit(unittest.main(verbosity=0))
