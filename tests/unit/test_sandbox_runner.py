from __future__ import annotations

import enum
import gc
import os
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor

import pytest

from abstractruntime.errors import UsageError
from abstractruntime.sandbox import (
    CodeFailed,
    InProcessRunner,
    Limits,
    WorkerRunner,
    default_runner,
    is_confined,
)
from abstractruntime.sandbox.runner import lacks

RUNNERS = {"worker": WorkerRunner, "in_process": InProcessRunner}


@pytest.fixture(scope="module", params=RUNNERS.values(), ids=list(RUNNERS))
def runner(request):
    runner = request.param()
    yield runner
    runner.close()


def body(*lines):
    return "def transform(_input):\n" + "".join(f"    {line}\n" for line in lines)


CLASSES = """
    class Order:
        rate: float = 1.5
        def __init__(self, n): self.n = n
        def __eq__(self, other): return self.n == other.n
        @property
        def cost(self): return self.n * self.rate
        @classmethod
        def of(cls, n): return cls(n)
        @staticmethod
        def unit(): return "EUR"
    class Rush(Order):
        rate = 2
        def __init__(self, n):
            super().__init__(n + 1)
    class Late(Exception): pass
    try: raise Late("x")
    except Late as late: text = str(late)
    known = [isinstance(Rush(1), Order), Order(1) == Order(1), type(Rush(1)) is Rush]
    return [Order.of(2).cost, Rush(2).cost, Order.unit(), text, known]"""

RESULTS = {
    "identity": ("return _input", {"x": [1, None, True, "é😀", 2**100, 1.5]}),
    "tuple_becomes_list": ("return (1, (2,))", [1, [2]]),
    "int_keys_become_text": ("return {1: 'a', 2.5: 'b', True: 'c', None: 'd'}", None),
    "surrogate_is_replaced": ("return ['a' + chr(0xD800) + 'b']", ["a\ufffdb"]),
    "exceptions_are_defined": (
        "\n    try: raise ValueError('no')\n    except (KeyError, Exception) as e: return [repr(e), any([1]), all([])]",
        ["ValueError('no')", True, True],
    ),
    "type_asks": ("return [type(1) is int, isinstance(int, type), type(type) is type]", [True] * 3),
    "class_pattern": ("match _input:\n        case dict(): return 'dict'", "dict"),
    "print_is_silent": ("return print('x', sep=None, flush=True)", None),
    "codecs": ("return 'é'.encode('utf-16-le').decode('utf-16-le')", "é"),
    "key_order_is_kept": ("return list({'b': 1, 'a': 2, **_input})", ["b", "a", "x"]),
    "class_with_methods": (
        CLASSES,
        [3.0, 6, "EUR", "x", [True, True, True]],
    ),
    "named_character": (r"return '\N{BULLET}'", "•"),
}


@pytest.mark.parametrize(("line", "expected"), RESULTS.values(), ids=RESULTS)
def test_result(runner, line, expected):
    value = {"x": [1, None, True, "é😀", 2**100, 1.5]}
    if line.startswith("return {1:"):
        # The boolean key equals 1 in Python, before it is text.
        expected = {"1": "c", "2.5": "b", "null": "d"}

    assert runner.call(body(line), "transform", value) == expected


FAILURES = {
    "runtime": (body("x = 1", "return _input['nope']"), "Runtime error: 'nope'", 3),
    "zero": (
        body("return 1 // 0"),
        "Runtime error: integer division or modulo by zero",
        2,
    ),
    "undefined": (body("return open('x')"), "Runtime error: name 'open' is not defined", 2),
    "attribute_of_type": (
        body("type.kept = 1"),
        "Runtime error: cannot set 'kept' attribute of immutable type 'type'",
        2,
    ),
    "int_and_text_key": (
        body("return {'a/b': [{1: 'a', '1': 'b'}]}"),
        "Result of 'transform' cannot be stored: keys 1 and '1' at '/a~1b/0' are the same in JSON",
        None,
    ),
    "true_and_text_key": (
        body("return {True: 'a', 'true': 'b'}"),
        "Result of 'transform' cannot be stored: keys True and 'true' at '/' are the same in JSON",
        None,
    ),
    "none_and_text_key": (
        body("return {'null': 'a', None: 'b'}"),
        "Result of 'transform' cannot be stored: keys 'null' and None at '/' are the same in JSON",
        None,
    ),
    "float_and_text_key": (
        body("return ({2.5: 'a', '2.5': 'b'},)"),
        "Result of 'transform' cannot be stored: keys 2.5 and '2.5' at '/0' are the same in JSON",
        None,
    ),
    "replaced_keys": (
        body("return {chr(0xD800): 'a', chr(0xD801): 'b'}"),
        "Result of 'transform' cannot be stored: keys '\\ud800' and '\\ud801' at '/' are the same in JSON",
        None,
    ),
    "no_type_building": (
        body("return type(type(1))('A', (), {})"),
        "Runtime error: type() takes 1 argument (3 given)",
        2,
    ),
    "module": ("x = 1 / 0\n", "Execution error: division by zero", 1),
    "missing": ("", "Function 'transform' not defined in code", None),
    "not_callable": ("transform = 5\n", "'transform' is not a callable function", None),
    "no_parameters": (
        "def transform():\n    return 1\n",
        "Runtime error: transform() takes 0 positional arguments but 1 was given",
        None,
    ),
    "set": (
        body("return {'a/b': [1, {2}]}"),
        "Result of 'transform' cannot be stored: set at '/a~1b/1' is not JSON",
        None,
    ),
    "generator": (
        body("return (i for i in [1])"),
        "Result of 'transform' cannot be stored: generator at '/' is not JSON",
        None,
    ),
    "nan": (
        body("return [float('nan')]"),
        "Result of 'transform' cannot be stored: nan at '/0' is not JSON",
        None,
    ),
    "tuple_key": (
        body("return {'a': {(1, 2): 3}}"),
        "Result of 'transform' cannot be stored: key of type tuple at '/a' is not text",
        None,
    ),
    "cycle": (
        body("a = []", "a.append(a)", "return a"),
        "Result of 'transform' cannot be stored: it is nested deeper than 200 levels",
        None,
    ),
    "surrogate_in_error": (
        body("raise ValueError('a' + chr(0xD800))"),
        "Runtime error: a\ufffd",
        2,
    ),
    "exit": (body("raise StopIteration(3)"), "Runtime error: 3", 2),
}


@pytest.mark.parametrize(("source", "text", "line"), FAILURES.values(), ids=FAILURES)
def test_failure_text_and_line(runner, source, text, line):
    with pytest.raises(CodeFailed) as caught:
        runner.call(source, "transform", {})

    assert (str(caught.value), caught.value.line) == (text, line)


def test_failure_carries_what_was_printed(runner):
    with pytest.raises(CodeFailed) as caught:
        runner.call(body("print('before', 1)", "return 1 / 0"), "transform", {})

    assert caught.value.stdout == "before 1\n"


def test_module_is_executed_afresh_for_every_call(runner):
    source = "seen = []\ndef transform(x):\n    seen.append(x)\n    return seen\n"

    assert [runner.call(source, "transform", n) for n in (1, 2)] == [[1], [2]]


def test_input_is_a_copy(runner):
    value = {"list": [1]}
    runner.call(body("_input['list'].append(2)", "return None"), "transform", value)

    assert value == {"list": [1]}


@pytest.mark.parametrize(
    ("value", "text"),
    [({"a": {1, 2}}, "set at '/a'"), ([float("inf")], "inf at '/0'"), ("\ud800", "lone surrogate")],
    ids=["set", "inf", "surrogate"],
)
def test_input_that_is_not_json_is_refused(runner, value, text):
    with pytest.raises(CodeFailed, match=text):
        runner.call(body("return 1"), "transform", value)


class Colour(str, enum.Enum):
    RED = "red"


def test_input_of_text_subclass_arrives_as_text(runner):
    assert runner.call(body("return _input + '!'"), "transform", Colour.RED) == "red!"


def test_threads_take_turns():
    with WorkerRunner() as runner, ThreadPoolExecutor(4) as pool:
        results = list(
            pool.map(lambda n: runner.call(body("return _input"), "transform", n), range(40))
        )

    assert results == list(range(40))


def worker_pid(runner):
    escape = (
        "def transform(x):\n    g = (g.gi_frame.f_back for _ in [0])\n    f = next(g)\n"
        "    while 'sys' not in f.f_globals: f = f.f_back\n"
        "    return f.f_globals['sys'].modules['os'].getpid()\n"
    )
    return runner.call(escape, "transform", None)


def test_worker_is_kept_warm_and_replaced_after_its_calls():
    with WorkerRunner(Limits(calls=2)) as runner:
        pids = [worker_pid(runner) for _ in range(5)]

    assert pids[0] == pids[1] != pids[2] == pids[3] != pids[4]


def test_close_ends_the_worker_and_a_later_call_starts_another():
    runner = WorkerRunner()
    first = worker_pid(runner)
    runner.close()
    runner.close()

    assert worker_pid(runner) != first
    runner.close()


def test_worker_of_a_forgotten_runner_ends():
    runner = WorkerRunner()
    pid = worker_pid(runner)
    del runner
    gc.collect()

    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_set_order_is_the_same_in_every_worker():
    source = body("return list({w for w in 'the quick brown fox jumps'.split()})")
    orders = set()
    for _ in range(3):
        with WorkerRunner() as runner:
            orders.add(tuple(runner.call(source, "transform", None)))

    assert len(orders) == 1


def test_unstartable_worker_is_a_failure_with_a_reason():
    runner = WorkerRunner(python="/nonexistent/python")

    with pytest.raises(CodeFailed, match=r"code worker did not start: .*No such file"):
        runner.call(body("return 1"), "transform", None)


def test_program_that_is_no_worker_is_a_failure():
    with pytest.raises(CodeFailed, match="code worker ended with status"):
        WorkerRunner(python="/bin/true").layers()


def test_default_runner_is_shared():
    assert default_runner() is default_runner()


def test_in_process_runner_is_not_confined():
    assert not is_confined(InProcessRunner().layers())


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        (["rlimits"], False),
        (["landlock-fs"], False),
        (["landlock-fs", "landlock-net"], True),
        (["landlock-fs", "no-descriptors"], True),
        (["seccomp"], True),
    ],
)
def test_confined_means_neither_files_nor_network(layers, expected):
    assert is_confined({"layers": layers}) is expected


@pytest.mark.parametrize(
    ("layers", "minimum", "missing"),
    [
        ([], "none", ""),
        (["landlock-fs"], "fs+net", "no-descriptors or landlock-net or seccomp"),
        (["landlock-fs", "landlock-net"], "fs+net+syscalls", "seccomp"),
        (["seccomp"], "fs+net+syscalls", "landlock-fs, no-descriptors or landlock-net"),
        (["landlock-fs", "no-descriptors", "seccomp"], "fs+net+syscalls", ""),
    ],
)
def test_what_layers_lack_of_a_minimum_is_named(layers, minimum, missing):
    assert lacks({"layers": layers}, minimum) == missing


@pytest.mark.parametrize("field", ["wall_s", "cpu_s", "memory_bytes", "calls"])
def test_limits_must_be_positive(field):
    with pytest.raises(UsageError, match=f"'{field}' is 0"):
        Limits(**{field: 0})


FORK = """
import os
from abstractruntime.sandbox import WorkerRunner
source = "def transform(x):\\n    return x\\n"
runner = WorkerRunner()
runner.call(source, "transform", 1)
worker = runner._worker._process.pid
runner._lock.acquire()
child = os.fork()
if child == 0:
    same = runner.call(source, "transform", 2)
    runner.close()
    os._exit(0 if same == 2 else 1)
runner._lock.release()
assert os.waitpid(child, 0)[1] == 0
assert runner.call(source, "transform", 3) == 3
assert runner._worker._process.pid == worker
print(worker)
"""


def test_worker_stays_with_the_process_that_started_it():
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(FORK)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
