#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: weir and jq 1.8.2 agree on programs that nobody thought of: results, errors and their words.

Method: a seed makes random programs and JSON inputs; a driver for each of the two libraries reads lines
`P` program and `I` input and answers each input with one line: the results, tabs between them, then
`error` and its value, or `compile`. The lines must be the same; of a program that is refused, only that
it is. What differs for a reason stands in KNOWN. WEIR_SEED repeats a run; --replay FILE runs such lines.
"""
import argparse
import os
import pathlib
import random
import re
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
INPUTS = 4
ROUND = 400  # programs per start of the drivers

# (pattern of the program, pattern of "jq's answer / weir's"): a difference that stands, with its reason.
KNOWN = [
    # jq takes patterns (of `as`, and of the definitions of +=, -= …) apart in path mode, which refuses most
    # of them and puts the rest into the path; weir binds them.
    (r"\bas [\[{]|=", r"Invalid path expression near attempt to access element (-?\d|\\\"\w\\\") of.* / "),
    (r"path.* as [\[{]", r"^\[.* / \["),
    # Both refuse what is no path; jq inside the definition of a builtin, weir behind it.
    (r"", r"error \"Invalid path expression.* / .*error \"Invalid path expression"),
    # In jq a failure or break anywhere behind ?// tries the next alternative, even outside its body.
    (r" \?// ", r""),
    # Both refuse what is no path; what weir does first there fails first.
    (r"path.*\bwalk\(", r"^error \"Invalid path expression.* / "),
    (r"(with|to)_entries", r"^error \"Invalid path expression.* / error "),
    # jq defines these by a slice or an index, which is a path.
    (r"trimstr\b|\b(r?index|indices)\b", r" / .*error \"Invalid path expression"),
    # jq drops a function that nobody calls before it looks up the names in it.
    (r"\bdef ", r"^compile / "),
    (r"\bdef ", r" / compile$"),
    # jq computes constants before it checks that keys are strings.
    (r"\{.*\(.*\):", r"^compile / "),
]

NAMES = ["a", "b", "c", "d", "é", "a b"]
NUMBERS = ["0", "1", "2", "-1", "3", "10", "1.5", "-0", "0.1", "100", "1e2", "1.0", "1e17",
           "100000000000000000001", "-2.75", "12345678.9", "1e-5"]
STRINGS = ["", "a", "b", "ab", "abc", "a,b", " x ", "é", "日本", "\\n", "12", "1.5", "-3", "nan", "A-b",
           "2015-03-05T23:51:47Z", "\\u0000", "😀", "[1]", "a,b, c", "&<>'\\\"", "aXbxc", "YWJj"]
BINARY = ["+", "-", "*", "/", "%", "==", "!=", "<", "<=", ">", ">=", "and", "or", "//", ",", "|"]
UPDATE = ["=", "|=", "+=", "-=", "*=", "/=", "%=", "//="]
FORMATS = ["text", "json", "csv", "tsv", "html", "uri", "urid", "sh", "base64", "base64d", "base32"]
PLAIN = """length utf8bytelength not keys keys_unsorted values nulls booleans numbers strings arrays
objects iterables scalars to_entries from_entries add add/0 any all flatten floor sqrt ceil round trunc
fabs abs tostring tonumber toboolean type sort unique reverse min max group_by(.) tojson fromjson
ascii_downcase ascii_upcase implode explode trim ltrim rtrim first last transpose tostream
fromstream(tostream) paths leaf_paths infinite nan isinfinite isnan isnormal isvalid(.) error empty
null true false recurse env|type input_line_number getpath([]) todate fromdate mktime gmtime
todateiso8601 dateadd("seconds";1) halt_error|empty splits(",") combinations walk(.) have_literal_numbers
have_decnum significand logb gamma frexp modf trunc nearbyint rint drem(.;2) ldexp(.;2)
scalb(.;1) scalbln(.;1) nearbyint toarray ltrimstr("a") rtrimstr("c") trimstr("a") min_by(.) max_by(.)
unique_by(.) sort_by(.) map_values(.) with_entries(.) del(.) to_number objects @json @text
getpath(["a","b"]) ascii(65) get_search_list splits("a";null) tojson|fromjson error(null) $__loc__
$ENV|type input_filename pick(.a) pick(.[0]) debug(.) modulemeta limit(3;.[]) skip(1;.[]) first(.[])
last(.[]) nth(1) nth(1;.[]) until(true;.) any(.[];.) all(.[];.) isempty(.[]) add(.[]) range(3)
halt strptime("%Y-%m-%dT%H:%M:%SZ") strftime("%Y-%m-%dT%H:%M:%SZ") strflocaltime("%H:%M") localtime
ltrimstr(1) startswith(1) endswith("c") bsearch(1) input_line_number splits(1) getpath(1) tojson@text
""".split()
LEFT_OUT = {"add/0", "input_line_number", "input_filename", "halt_error|empty", "halt", "debug(.)",
            "modulemeta", "get_search_list", "to_number", "env|type", "$ENV|type", "gamma", "localtime"}
PLAIN = [name for name in PLAIN if name not in LEFT_OUT]
ONE = """map select has in inside contains path del to_entries|map index rindex indices startswith
endswith ltrimstr rtrimstr trimstr split join test match capture scan flatten sort_by group_by unique_by
min_by max_by any all first last isempty add map_values with_entries walk paths pick delpaths getpath
tojson|test error recurse repeat|first bsearch splits ascii_downcase|test nth range has combinations
strftime strptime todate|test error truncate_stream fromstream limit(2; skip(1; ltrimstr""".split()
ONE = [name for name in ONE if "(" not in name and name not in ("recurse", "repeat|first",
                                                                 "combinations")]
TWO = """sub gsub setpath index|test limit skip nth range test match capture
scan split splits pow atan2 fmin fmax fmod ldexp any all ltrimstr|sub getpath|setpath log2|pow
INDEX IN GROUP_BY ascii|sub limit first|skip""".split()
TWO = [name for name in TWO if "|" not in name and name != "GROUP_BY"]
REGEXES = ['"a"', '"[a-c]+"', '"(?<x>a)(?<y>b)?"', '"^"', '""', '"b*"', '"(a|x)(b)?"', '"\\\\d+"', '", *"']
FLAGS = ['"g"', '"i"', '"x"', '"gi"', '"n"', '"gn"', 'null', '"q"', '"l"', '"s"']


class Maker:
    """Programs whose results stay small: no endless recursion, numbers of at most some digits."""

    def __init__(self, seed):
        self.r = random.Random(seed)
        self.variables = []
        self.functions = []
        self.labels = []

    def pick(self, *choices):
        return self.r.choice(choices)

    def json(self, depth=3):
        kind = self.r.randrange(10 if depth > 0 else 6)
        if kind < 2:
            return self.r.choice(NUMBERS)
        if kind < 4:
            return '"' + self.r.choice(STRINGS) + '"'
        if kind < 6:
            return self.pick("null", "true", "false")
        items = range(self.r.randrange(4))
        if kind < 8:
            return "[" + ",".join(self.json(depth - 1) for _ in items) + "]"
        return "{" + ",".join(f'"{self.r.choice(NAMES)}":{self.json(depth - 1)}' for _ in items) + "}"

    def path(self, depth):
        return self.pick(
            lambda: ".", lambda: f".{self.pick('a', 'b', 'c', 'd')}", lambda: ".[]", lambda: "..",
            lambda: f'."{self.r.choice(NAMES)}"', lambda: f".[{self.pick('0', '1', '-1', '-2', '5', '1.7')}]",
            lambda: f".[{self.pick('1', '-1', '', '0')}:{self.pick('2', '-1', '9', '1.2')}]",
            lambda: f".{self.pick('a', 'b')}[{self.term(depth - 1)}]",
            lambda: f".{self.pick('a', 'b')}?", lambda: ".[]?", lambda: f".{self.pick('a', 'b')}.{self.pick('c', 'd')}",
            lambda: f".[{self.any(depth - 1)}]", lambda: f"first({self.path(depth - 1)})" if depth > 0 else ".a",
            lambda: f"getpath({self.keys()})",
            lambda: f"({self.path(depth - 1)}|{self.path(depth - 1)})" if depth > 0 else ".",
            lambda: f"({self.path(depth - 1)},{self.path(depth - 1)})" if depth > 0 else ".b",
            lambda: f"({self.path(depth - 1)}|select({self.any(depth - 1)}))" if depth > 0 else ".c",
            lambda: f"({self.path(depth - 1)} // {self.path(depth - 1)})" if depth > 0 else ".d",
        )()

    def keys(self):
        return "[" + ",".join(self.pick('"a"', '"b"', "0", "1", "-1", '{"start":1,"end":2}', "null", '"c"')
                              for _ in range(self.r.randrange(3))) + "]"

    def string(self, depth):
        text = self.r.choice(STRINGS)
        prefix = "@" + self.r.choice(FORMATS) + " " if self.r.random() < 0.2 else ""
        if depth > 0 and self.r.random() < 0.4:
            text += f"\\({self.any(depth - 1)})"
        return f'{prefix}"{text}"'

    def object(self, depth):
        def member():
            return self.pick(
                lambda: self.pick("a", "b", "c"), lambda: f"{self.pick('a', 'b', 'if')}:{self.term(depth - 1)}",
                lambda: f"({self.any(depth - 1)}):{self.term(depth - 1)}", lambda: f'"{self.r.choice(NAMES)}"',
                lambda: f"{self.string(depth - 1)}:{self.term(depth - 1)}", lambda: "$__loc__",
                lambda: self.r.choice(self.variables) if self.variables else "d")()
        return "{" + ",".join(member() for _ in range(self.r.randrange(4))) + "}"

    def pattern(self, depth, names):
        def variable():
            names.append(self.pick("$x", "$y", "$z"))
            return names[-1]
        kind = self.r.randrange(4 if depth > 0 else 1)
        if kind < 2:
            return variable()
        if kind == 2:
            return "[" + ",".join(self.pattern(depth - 1, names) for _ in range(self.r.randint(1, 2))) + "]"
        return "{" + ",".join(self.pick(
            lambda: f"a:{self.pattern(depth - 1, names)}", variable,
            lambda: f"{variable()}:{self.pattern(depth - 1, names)}",
            lambda: f'"b":{self.pattern(depth - 1, names)}')() for _ in range(self.r.randint(1, 2))) + "}"

    def bound(self, names, depth):
        kept = self.variables
        self.variables = kept + names
        body = self.any(depth)
        self.variables = kept
        return body

    def binding(self, depth):
        names = []
        pattern = self.pattern(2, names)
        source = self.term(depth - 1)
        kind = self.r.randrange(4)
        if kind == 0:
            return f"reduce {source} as {pattern} ({self.any(depth - 1)};{self.bound(names, depth - 1)})"
        if kind == 1:
            tail = f";{self.bound(names, depth - 1)}" if self.r.random() < 0.5 else ""
            return (f"foreach {source} as {pattern} ({self.any(depth - 1)};"
                    f"{self.bound(names, depth - 1)}{tail})")
        if self.r.random() < 0.2:
            pattern += " ?// " + self.pattern(2, names)
        return f"({source} as {pattern} | {self.bound(names, depth - 1)})"

    def function(self, depth):
        name = self.pick("f", "g")
        parameter = self.pick("", "(h)", "($x)")
        kept, functions = self.variables, self.functions
        if parameter == "($x)":
            self.variables = kept + ["$x"]
        if parameter == "(h)":
            self.functions = functions + ["h"]
        body = self.any(depth - 1)
        self.variables = kept
        self.functions = functions + [name if not parameter else f"{name}({{}})"]
        rest = self.any(depth - 1)
        self.functions = functions
        return f"(def {name}{parameter}: {body}; {rest})"

    def call(self, depth):
        kind = self.r.randrange(4)
        if kind == 0:
            return self.r.choice(PLAIN)
        if kind == 1:
            name = self.r.choice(ONE)
            small = name in ("range", "combinations")
            argument = self.pick("3", ".[]?|numbers|.%9") if small else self.any(depth - 1)
            if name in ("test", "match", "capture", "scan", "split", "splits") and self.r.random() < 0.7:
                argument = self.r.choice(REGEXES)
            return f"{name}({argument})"
        if kind == 2:
            name = self.r.choice(TWO)
            if name in ("test", "match", "capture", "scan", "split", "splits"):
                return f"{name}({self.r.choice(REGEXES)};{self.r.choice(FLAGS)})"
            if name in ("sub", "gsub"):
                return f"{name}({self.r.choice(REGEXES)};{self.string(depth - 1)})"
            if name == "range":
                return f"range({self.pick('0', '1', '-1')};{self.pick('3', '0', '2.5')})"
            return f"{name}({self.any(depth - 1)};{self.any(depth - 1)})"
        if self.functions:
            return self.r.choice(self.functions).format(self.any(depth - 1))
        return f"limit(3;{self.pick('repeat', 'recurse')}({self.any(depth - 1)}))"

    def control(self, depth):
        kind = self.r.randrange(7)
        a, b = (lambda: self.any(depth - 1)), (lambda: self.term(depth - 1))
        if kind == 0:
            tail = self.pick("", f" else {a()}", f" elif {a()} then {a()} else {a()}")
            return f"if {a()} then {a()}{tail} end"
        if kind == 1:
            return f"(try {b()} catch {b()})"
        if kind == 2:
            return f"try error({a()}) catch ."
        if kind == 3:
            self.labels.append("out")
            body = self.any(depth - 1)
            self.labels.pop()
            return f"(label $out | {body})"
        if kind == 4:
            return "break $out" if self.labels else f"-({a()})"
        if kind == 5:
            return f"[{self.path(depth)} {self.pick('as $x', 'as [$x]')} | $x]"
        return f"{b()}?"

    def term(self, depth):
        if depth <= 0:
            leaves = [".", ".a", ".[0]", ".[]", self.r.choice(NUMBERS), '"' + self.r.choice(STRINGS) + '"',
                      "null", "[]", "{}", self.r.choice(PLAIN)] + self.variables
            return "(" + self.r.choice(leaves) + ")"
        return "(" + self.any(depth) + ")"

    def any(self, depth):
        if depth <= 0:
            return self.term(0)
        kind = self.r.random()
        if kind < 0.2:
            return self.path(depth)
        if kind < 0.4:
            return self.call(depth)
        if kind < 0.58:
            return f"{self.term(depth - 1)} {self.r.choice(BINARY)} {self.term(depth - 1)}"
        if kind < 0.68:
            return f"{self.path(depth - 1)} {self.r.choice(UPDATE)} {self.term(depth - 1)}"
        if kind < 0.73:
            return f"[{self.any(depth - 1)}]"
        if kind < 0.78:
            return self.object(depth)
        if kind < 0.82:
            return self.string(depth)
        if kind < 0.87:
            return self.pick(f"path({self.any(depth - 1)})", f"[paths({self.any(depth - 1)})]",
                             f"del({self.any(depth - 1)})", f"pick({self.path(depth - 1)})",
                             f"delpaths([{self.keys()},{self.keys()}])", f"setpath({self.keys()};{self.term(0)})",
                             f"to_entries|map({self.any(depth - 1)})", f"[limit(2;{self.any(depth - 1)})]",
                             f"@{self.r.choice(FORMATS)}", f"ltrimstr({self.any(depth - 1)})",
                             f"flatten({self.any(depth - 1)})", f"tojson|fromjson|{self.any(depth - 1)}",
                             f"getpath({self.any(depth - 1)})", f"({self.any(depth - 1)})|tojson")
        if kind < 0.93:
            return self.binding(depth)
        if kind < 0.95:
            return self.function(depth)
        return self.control(depth)

    def case(self):
        self.variables, self.functions, self.labels = [], [], []
        program = self.any(self.r.randint(1, 4))
        if self.r.random() < 0.3: # what is built and owned by nobody else is changed in place
            program = f"walk(.) | ({program})"
        return ["P" + program] + ["I" + self.json() for _ in range(INPUTS)]


def build_peer(folder):
    source = subprocess.run([str(ROOT / "tests/support/jq_suite"), "--build"], check=True,
                            stdout=subprocess.PIPE).stdout.decode().strip()
    program = folder / "libjq"
    subprocess.run(["cc", "-O1", "-D_GNU_SOURCE", f"-I{source}/src", str(HERE / "jq" / "libjq.c"),
                    f"{source}/.libs/libjq.a", "-lonig", "-lm", "-lpthread", "-o", str(program)],
                   check=True)
    return program, source


def answers(program, cases):
    """The answers of each case; None for one on which the driver died."""
    found, left = [], cases
    environment = {"PATH": os.environ["PATH"], "TZ": "UTC", "LC_ALL": "C.UTF-8"}
    while left:
        text = "".join(line + "\n" for case in left for line in case)
        done = subprocess.run(["bash", "-c", 'ulimit -v 4000000; exec "$0"', str(program)]
                              if "libjq" in program.name else [str(program)], check=False,
                              input=text.encode(), env=environment, stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL)
        lines = done.stdout.decode("utf-8", "surrogateescape").split("\n")[:-1]
        at = 0
        for case in left:
            if at + len(case) - 1 > len(lines):
                break
            found.append(lines[at:at + len(case) - 1])
            at += len(case) - 1
        left = cases[len(found):]
        if left and done.returncode == 0:
            sys.exit(f"{program}: answers are missing")
        if left:
            found.append(None)
            left = left[1:]
    return found


def is_known(program, ours, theirs):
    return any(re.search(about, program) and re.search(answers, f"{theirs} / {ours}")
               for about, answers in KNOWN)


def compare(cases, ours, theirs):
    """Prints the first differing input of each case; the number of cases that differ, and compared."""
    wrong = compared = 0
    for case, own, peer in zip(cases, ours, theirs):
        compared += 1
        if own is None:
            own = ["dies, or takes too long"] * len(peer)
        for line, mine, other in zip(case[1:], own, peer):
            if mine != other and not is_known(case[0], mine, other):
                wrong += 1
                print(f"{case[0]}\n{line}\n  jq   {other}\n  weir {mine}")
                break
    return wrong, compared


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float,
                        default=600 if os.environ.get("WEIR_LONG") == "1" else 15)
    parser.add_argument("--replay", type=pathlib.Path)
    options = parser.parse_args()
    tool = pathlib.Path(os.environ["WEIR_TOOLS"]) / "differential_tool"
    seed = int(os.environ.get("WEIR_SEED", "1"))
    wrong = compared = refused = 0
    with tempfile.TemporaryDirectory() as folder:
        peer, source = build_peer(pathlib.Path(folder))
        if not source.endswith("jq-1.8.2"):
            print(f"{source} is not what weir follows: nothing to compare with")
            sys.exit(0)
        deadline = time.monotonic() + options.seconds
        while time.monotonic() < deadline:
            maker = Maker(seed)
            if options.replay:
                lines = options.replay.read_text().splitlines()
                starts = [i for i, line in enumerate(lines) if line.startswith("P")] + [len(lines)]
                cases = [lines[a:b] for a, b in zip(starts, starts[1:])]
                deadline = 0
            else:
                cases = [maker.case() for _ in range(ROUND)]
            theirs = answers(peer, cases)
            cases = [case for case, answer in zip(cases, theirs) if answer is not None]
            theirs = [answer for answer in theirs if answer is not None]
            more, of = compare(cases, answers(tool, cases), theirs)
            refused += sum(answer[0] == "compile" for answer in theirs)
            wrong, compared, seed = wrong + more, compared + of, seed + 1
    print(f"{compared} programs, {wrong} differ, {refused} compile in neither; next seed {seed}")
    sys.exit(1 if wrong or not compared else 0)


if __name__ == "__main__":
    main()
