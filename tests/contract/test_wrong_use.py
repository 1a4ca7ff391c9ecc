"""Wrong use of the Python API: a typed error or a failed run that names the thing, and nothing lost.

`docs/reference/errors.md` tells readers the same. Wrong input of commands is in
`test_cli_wrong_input`, and a fault at every call of a store in `test_fault_every_index`.
"""

from __future__ import annotations

import contextlib
import errno
import re
from pathlib import Path

import pytest
from awkward_hosts import LLM, TOOL, asks, done, go, ok, spec

from abstractruntime import (
    Effect,
    EffectOutcome,
    EffectType,
    InMemoryLedgerStore,
    InMemoryRunStore,
    JsonFileRunStore,
    JsonlLedgerStore,
    Runtime,
    StepPlan,
    open_store,
)
from abstractruntime.cli._api_reference import builtin_bases, error_kinds, error_parts
from abstractruntime.errors import (
    AbstractRuntimeError,
    Busy,
    IntegrityError,
    InvalidValue,
    NotFound,
    StoreFull,
    UsageError,
    WaitMismatch,
)
from abstractruntime.storage._files.fs import RealFileSystem
from abstractruntime.storage._files.layout import Layout
from abstractruntime.storage._files.simfs import SimFileSystem
from abstractruntime.testing import FakeClock

ASK = spec("ask", a=asks(EffectType.ASK_USER, {"prompt": "?"}, then="z"), z=done)
CALL = spec("call", a=asks(LLM, {"p": 1}, then="z"), z=done)


@pytest.fixture(params=["memory", "files", "directory"])
def rt(request, tmp_path):
    """Give a runtime over each kind of store."""
    handlers = {"effect_handlers": {LLM: ok}}
    if request.param == "memory":
        yield Runtime(run_store=InMemoryRunStore(), ledger_store=InMemoryLedgerStore(), **handlers)
    elif request.param == "files":
        base = tmp_path / "files"
        yield Runtime(
            run_store=JsonFileRunStore(base), ledger_store=JsonlLedgerStore(base), **handlers
        )
    else:
        with open_store(tmp_path / "store") as store:
            yield Runtime.on_engine(store, **handlers)


# -- what a run, its nodes and handlers give ---------------------------------------


def leaves(value):
    def node(run, ctx):
        run.vars["x"] = value
        return StepPlan("a", Effect(LLM, {}, "out"), "z")

    return spec("leaves", a=node, z=done)


def sends(payload, kind=LLM):
    return spec("sends", a=asks(kind, payload, then="z"), z=done)


def plans(plan):
    return spec("plans", a=lambda run, ctx: plan)


def raises(run, ctx):
    raise LookupError("gone")


@pytest.mark.parametrize(
    ("workflow", "names"),
    [
        (leaves(object()), ["node 'a'", "object at", "/x'"]),
        (leaves(float("nan")), ["node 'a'", "nan at", "/x'"]),
        (leaves({"y": [float("inf")]}), ["node 'a'", "inf at", "/x/y/0'"]),
        (sends({"x": object()}), ["node 'a'", "object at '/x'"]),
        (sends({"x": float("nan")}), ["node 'a'", "nan at '/x'"]),
        (sends({"x": 1}, TOOL), ["tool_calls"]),
        (sends({"until": "tomorrow"}, EffectType.WAIT_UNTIL), ["'tomorrow'"]),
        (plans(StepPlan("a", complete_output={"x": object()})), ["node 'a'", "/x'"]),
        (plans(StepPlan("a", next_node="nowhere")), ["nowhere"]),
        (plans(StepPlan("a")), ["node 'a'", "neither an effect nor a next node"]),
        (plans(None), ["node 'a'", "StepPlan"]),
        (spec("raises", a=raises), ["node 'a'", "LookupError", "gone"]),
    ],
    ids=[
        "object in vars", "nan in vars", "deep infinity", "object in payload", "nan in payload",
        "no handler", "no moment", "object in output", "unknown node", "empty plan", "no plan",
        "raising node",
    ],
)  # fmt: skip
def test_a_run_fails_and_says_where(rt, workflow, names):
    run = go(rt, workflow)

    assert run.status == "failed"
    assert [name for name in names if name not in run.error] == []
    assert rt.get_state(run.run_id).error == run.error
    assert rt.get_ledger(run.run_id)[-1]["effect"]["payload"]["name"] == "abstract.status"


@pytest.mark.parametrize(
    ("given", "error"),
    [
        (RuntimeError("broken"), "broken"),
        (object(), "EffectOutcome, got object"),
        (None, "EffectOutcome, got NoneType"),
        (EffectOutcome("odd"), "unknown status 'odd'"),
        (EffectOutcome.completed(object()), "object at '/'"),
        (EffectOutcome.completed({"x": float("nan")}), "nan at '/x'"),
    ],
    ids=["raises", "object", "nothing", "status", "object inside", "nan inside"],
)
def test_a_handler_that_does_not_keep_its_word_fails_its_run(given, error):
    def handler(run, effect):
        if isinstance(given, Exception):
            raise given
        return given

    stores = InMemoryRunStore(), InMemoryLedgerStore()
    rt = Runtime(run_store=stores[0], ledger_store=stores[1], effect_handlers={LLM: handler})
    run = go(rt, CALL)

    assert run.status == "failed"
    assert error in run.error
    assert [r["status"] for r in rt.get_ledger(run.run_id)][:2] == ["started", "failed"]


def test_number_keys_and_tuples_become_json(rt):
    run_id = rt.start(workflow=CALL, vars={"x": {1: (2, 3)}})

    assert rt.get_state(run_id).vars["x"] == {"1": [2, 3]}
    assert go(rt, leaves({1: (2,)})).vars["x"] == {"1": [2]}


# -- what a caller gets wrong ----------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"x": {"y": object()}}, "object at '/x/y'"),
        ({"x": {(1, 2): 3}}, "key of type tuple at '/x'"),
        ({"x": float("nan")}, "nan at '/x'"),
        ([1], "list"),
    ],
    ids=["object", "tuple as key", "nan", "no object"],
)
def test_a_run_does_not_start_with_variables_that_are_not_json(rt, given, message):
    with pytest.raises(InvalidValue, match=re.escape(message)):
        rt.start(workflow=CALL, vars=given, run_id="r")
    with pytest.raises(NotFound):
        rt.get_state("r")


@pytest.mark.parametrize(
    ("call", "kind", "also", "names"),
    [
        (lambda rt, run: rt.get_state("nope"), NotFound, KeyError, "nope"),
        (lambda rt, run: rt.tick(workflow=ASK, run_id="nope"), NotFound, KeyError, "nope"),
        (lambda rt, run: rt.cancel_run("nope"), NotFound, KeyError, "nope"),
        (lambda rt, run: rt.start(workflow=ASK, run_id=run), UsageError, ValueError, "exists"),
        (
            lambda rt, run: rt.resume(workflow=ASK, run_id=run, wait_key="other", payload=1),
            WaitMismatch, ValueError, "wait_key mismatch",
        ),
        (
            lambda rt, run: rt.resume(workflow=ASK, run_id=run, wait_key=None, payload=object()),
            InvalidValue, ValueError, "object at",
        ),
        (
            lambda rt, run: rt.resume(
                workflow=ASK, run_id=run, wait_key=None, payload={"x": float("nan")}
            ),
            InvalidValue, ValueError, "nan at",
        ),
    ],
    ids=["read unknown", "tick unknown", "cancel unknown", "second start", "wrong key",
         "object as answer", "nan as answer"],
)  # fmt: skip
def test_a_wrong_call_changes_nothing(rt, call, kind, also, names):
    run_id = go(rt, ASK).run_id
    before = rt.get_state(run_id), rt.get_ledger(run_id)

    with pytest.raises(kind, match=names) as caught:
        call(rt, run_id)
    assert isinstance(caught.value, also)
    assert (rt.get_state(run_id), rt.get_ledger(run_id)) == before


def test_an_ended_or_paused_run_takes_no_answer(rt):
    ended, paused = go(rt, CALL).run_id, go(rt, ASK).run_id
    with pytest.raises(WaitMismatch, match="not waiting"):
        rt.resume(workflow=CALL, run_id=ended, wait_key=None, payload=1)

    sleeper = go(rt, sends({"until": "2999-01-01T00:00:00Z"}, EffectType.WAIT_UNTIL)).run_id
    rt.pause_run(sleeper)
    with pytest.raises(WaitMismatch, match="paused"):
        rt.resume(workflow=ASK, run_id=sleeper, wait_key=None, payload=1)
    assert rt.get_state(paused).status == "waiting"


def test_an_unknown_run_has_no_records(rt):
    assert rt.get_ledger("nope") == []


def test_an_unknown_name_of_a_limit_is_left_out(rt):
    run_id = go(rt, ASK).run_id
    rt.update_limits(run_id, {"max_iterations": 3, "max_fun": 1})

    limits = rt.get_state(run_id).vars["_limits"]
    assert (limits["max_iterations"], "max_fun" in limits) == (3, False)


# -- what happens to a store ------------------------------------------------------------


@pytest.fixture
def parked(tmp_path):
    """Give the directory of a store in which one run waits and one has ended, and their ids."""
    with open_store(tmp_path / "store") as store:
        rt = Runtime.on_engine(store, effect_handlers={LLM: ok})
        return Layout(str(tmp_path / "store")), go(rt, ASK).run_id, go(rt, CALL).run_id


def answer(layout, run_id):
    with open_store(layout.root) as store:
        rt = Runtime.on_engine(store, effect_handlers={LLM: ok})
        return rt.resume(workflow=ASK, run_id=run_id, wait_key=None, payload="yes")


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"status": "odd"}', None],
    ids=["empty", "cut off", "no object", "odd status", "gone"],
)  # fmt: skip
def test_a_damaged_checkpoint_costs_nothing(parked, content):
    layout, waiting, _ = parked
    path = Path(layout.checkpoint(waiting))
    path.unlink(missing_ok=True)
    if content is not None:
        path.write_bytes(content)

    assert answer(layout, waiting).output == {"out": "yes"}


def test_a_damaged_line_stops_its_run_only(parked):
    layout, waiting, ended = parked
    path = Path(layout.ledger(waiting))
    lines = path.read_bytes().splitlines(keepends=True)
    damaged = b"".join([lines[0][:-20] + b"\n", *lines[1:]])
    path.write_bytes(damaged)

    with pytest.raises(IntegrityError) as caught:
        answer(layout, waiting)
    assert waiting in str(caught.value) or waiting in str(caught.value.details)
    assert path.read_bytes() == damaged
    with open_store(layout.root) as store:
        assert store.peek(ended).status == "completed"


def test_a_torn_last_line_is_kept_aside_and_cut_off(parked):
    layout, waiting, _ = parked
    path = Path(layout.ledger(waiting))
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"run_id": "')

    assert answer(layout, waiting).output == {"out": "yes"}
    assert path.read_bytes().startswith(whole)
    kept = [p.read_bytes() for p in Path(layout.quarantine).iterdir()]
    assert b'{"run_id": "' in kept


def test_a_run_of_another_process_is_busy(parked):
    layout, waiting, _ = parked
    # A second open file description stands for the other process.
    other = RealFileSystem().lock(layout.run_lock(waiting), b"{}")
    with contextlib.closing(other), pytest.raises(Busy, match=waiting) as caught:
        answer(layout, waiting)
    assert caught.value.hint
    assert answer(layout, waiting).output == {"out": "yes"}


def test_a_full_disk_is_said_and_survived():
    fs, workflow = SimFileSystem(), spec("two", a=asks(LLM, {"p": 1}, then="z"), z=done)
    store = open_store("/s", origin="t/0", fs=fs, clock=FakeClock())
    rt = Runtime.on_engine(store, effect_handlers={LLM: ok}, clock=FakeClock())
    run_id = rt.start(workflow=workflow)
    before = rt.get_ledger(run_id)
    for later in range(len(fs.calls), len(fs.calls) + 50):
        fs.fail_at[later] = errno.ENOSPC

    with pytest.raises(StoreFull) as caught:
        rt.tick(workflow=workflow, run_id=run_id)
    assert isinstance(caught.value, OSError)
    fs.fail_at.clear()
    assert rt.get_ledger(run_id)[: len(before)] == before
    assert rt.tick(workflow=workflow, run_id=run_id).output == {"out": {"ok": True}}


# -- the errors themselves --------------------------------------------------------------

# What 0.4.x raised where ours are raised now.
OLDER = {
    "NotFound": {"KeyError", "FileNotFoundError"},
    "WaitMismatch": {"ValueError"},
    "UsageError": {"ValueError"},
    "FlowError": {"ValueError"},
    "ArchiveInvalid": {"ValueError"},
    "StoreError": {"OSError"},
}


@pytest.mark.parametrize("kind", error_kinds(), ids=lambda kind: kind.__name__)
def test_an_error_is_what_its_page_says(kind: type[AbstractRuntimeError]) -> None:
    bases = set(builtin_bases(kind))

    assert OLDER.get(kind.__name__, bases) == bases
    assert any(f"| `{kind.__name__}` |" in part for part in error_parts())
    made = kind("'x' is odd", hint="do this", run_id="x")
    assert str(made) == "'x' is odd"
    assert made.to_dict()["exit_code"] == int(kind.exit_code) > 0
