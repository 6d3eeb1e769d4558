# SPDX-License-Identifier: Apache-2.0
"""What every broker test stands on: a directory per case in which logs stay, one Kafka per program,
processes that end with the test, and a runner.

A test is a program: functions marked @case, then `main()`. Arguments are the names of the cases to
run (default: all). It prints a line per case and ends with 0, 1 (a case failed) or 2 (the surroundings
are missing). WEIR_LONG=1 multiplies the counts; WEIR_SEED repeats a run's random choices.

    WEIR_BIN          the program under test (default build/release/weir)
    WEIR_KAFKA_TOOL   the checker (default: found beside WEIR_BIN)
    WEIR_TEST_DIR     where logs and data go (default build/test-data)
"""
import ctypes
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time
import traceback

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "build" / "deps" / "python"))

LONG = os.environ.get("WEIR_LONG", "") not in ("", "0")
SEED = int(os.environ.get("WEIR_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 31)
_cases = []


class Missing(Exception):
    """Something that the test needs is not there: never a pass."""


def scale(normal, long):
    return long if LONG else normal


def case(function):
    _cases.append(function)
    return function


def long_case(function):
    """A case whose ground the composites of tests/pairs cover: run with WEIR_LONG, or by its name."""
    return case(function) if LONG or function.__name__ in sys.argv[1:] else function


def weir_binary():
    path = pathlib.Path(os.environ.get("WEIR_BIN", ROOT / "build" / "release" / "weir"))
    if not os.access(path, os.X_OK):
        raise Missing(f"no program at {path}: build it, or set WEIR_BIN")
    return path.resolve()


def kafka_tool():
    if "WEIR_KAFKA_TOOL" in os.environ:
        return os.environ["WEIR_KAFKA_TOOL"]
    build = pathlib.Path(os.environ.get("WEIR_BIN", ROOT / "build" / "release" / "weir")).parent
    for path in [build / "tests" / "kafka_tool", build / "kafka_tool"]:
        if os.access(path, os.X_OK):
            return str(path)
    raise Missing("no kafka_tool: build it, or set WEIR_KAFKA_TOOL")


def die_with_parent():
    """A child of a test that is killed is killed too (Linux: PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


class Context:
    """What one case owns; everything registered with `cleanup` is undone in reverse order."""

    def __init__(self, program, name, shared):
        base = pathlib.Path(os.environ.get("WEIR_TEST_DIR", ROOT / "build" / "test-data"))
        self.name = name
        self.dir = base / program / name
        shutil.rmtree(self.dir, ignore_errors=True)
        self.dir.mkdir(parents=True)
        self.random = random.Random(f"{SEED}-{name}")
        self._shared = shared
        self._undo = []

    def cleanup(self, function):
        self._undo.append(function)

    def close(self):
        for function in reversed(self._undo):
            try:
                function()
            except Exception:  # noqa: BLE001 (the rest must still be undone)
                traceback.print_exc()
        self._undo.clear()

    def say(self, text):
        print(f"    {text}", flush=True)

    def kafka(self, **options):
        """A cluster of this case alone, when options are given, else the program's shared one."""
        from kafka_cluster import Cluster
        if options:
            cluster = Cluster(self.dir / "kafka", **options)
            self.cleanup(cluster.stop)
            return cluster
        return self.shared("kafka", Cluster)

    def shared(self, name, make):
        """What all cases of the program share: `make(directory)` once; its stop() at the end."""
        if name not in self._shared:
            directory = self.dir.parent / name
            shutil.rmtree(directory, ignore_errors=True)
            self._shared[name] = make(directory)
        return self._shared[name]

    def weir(self, text, name="weir", **options):
        from weir_process import Weir
        process = Weir(self, text, name, **options)
        self.cleanup(process.end)
        return process

    def tool(self, *arguments, check=True, **options):
        """Runs the checker to its end; returns what it printed, with its exit code as "exit"."""
        process = self.tool_start(*arguments, **options)
        return self.tool_finish(process, check)

    def tool_start(self, command, cluster, **options):
        line = [kafka_tool(), command, "--brokers", cluster.address]
        for key, value in options.items():
            line.append("--" + key.replace("_", "-"))
            if value is not True:
                line.append(str(value))
        process = subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True, preexec_fn=die_with_parent)
        self.cleanup(process.kill)
        return process

    def tool_finish(self, process, check=True):
        output, errors = process.communicate(timeout=600)
        if process.returncode not in (0, 1) or not output.strip():
            raise AssertionError(f"kafka_tool ended with {process.returncode}: {errors.strip()}")
        result = json.loads(output)
        result["exit"] = process.returncode
        if check and process.returncode != 0:
            raise AssertionError(f"the checker says: {output.strip()} {errors.strip()}")
        return result


def _run(program, function, shared):
    context = Context(program, function.__name__, shared)
    started = time.monotonic()
    error = None
    try:
        function(context)
    except Missing:
        context.close()
        raise
    except (Exception, KeyboardInterrupt) as caught:  # noqa: BLE001 (reported as the case's failure)
        error = caught
        traceback.print_exc()
    context.close()
    seconds = time.monotonic() - started
    if error is None:
        print(f"ok      {function.__name__} ({seconds:.1f} s)", flush=True)
        shutil.rmtree(context.dir, ignore_errors=True)
        return True
    print(f"FAILED  {function.__name__} ({seconds:.1f} s): {error}\n        logs: {context.dir}",
          flush=True)
    if isinstance(error, KeyboardInterrupt):
        raise error
    return False


def main():
    path = pathlib.Path(sys.argv[0]).resolve()
    program = f"{path.parent.name}.{path.stem}"
    signal.signal(signal.SIGTERM, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
    chosen = [c for c in _cases if len(sys.argv) < 2 or c.__name__ in sys.argv[1:]]
    if not chosen:
        sys.exit(f"{program}: no such case; there are: {' '.join(c.__name__ for c in _cases)}")
    print(f"{program}: seed {SEED}{', long' if LONG else ''}", flush=True)
    shared, passed = {}, 0
    try:
        weir_binary()
        kafka_tool()
        for function in chosen:
            passed += _run(program, function, shared)
    except Missing as missing:
        print(f"{program}: {missing}", file=sys.stderr)
        sys.exit(2)
    finally:
        for thing in shared.values():
            thing.stop()
            if passed == len(chosen):
                shutil.rmtree(thing.dir, ignore_errors=True)
    print(f"{passed} passed, {len(chosen) - passed} failed", flush=True)
    sys.exit(0 if passed == len(chosen) else 1)
