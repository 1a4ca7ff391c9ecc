"""Wrong input: the documented exit code, a message with a next step, no traceback, nothing lost."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from abstractruntime.storage._files.fs import RealFileSystem
from abstractruntime.storage._files.layout import Layout

APPROVAL = Path(__file__).resolve().parents[2] / "bundles" / "release-approval" / "flow.json"


def write_flow(path: Path, change: Callable[[Any], None]) -> str:
    flow = json.loads(APPROVAL.read_text("utf-8"))
    change(flow)
    path.write_text(json.dumps(flow), "utf-8")
    return str(path)


def missing_file(art: Any, tmp: Path) -> tuple[str, ...]:
    return ("run", "nope.json")


def not_json(art: Any, tmp: Path) -> tuple[str, ...]:
    (tmp / "bad.json").write_text('{"id": ', "utf-8")
    return ("run", "bad.json")


def unknown_node_type(art: Any, tmp: Path) -> tuple[str, ...]:
    def change(flow: Any) -> None:
        node = next(n for n in flow["nodes"] if n["type"] == "ask_user")
        node["type"] = node["data"]["nodeType"] = "ask_usr"

    return ("run", write_flow(tmp / "f.json", change))


def dangling_edge(art: Any, tmp: Path) -> tuple[str, ...]:
    return ("run", write_flow(tmp / "f.json", lambda f: f["edges"][0].update(target="nowhere")))


def unknown_run(art: Any, tmp: Path) -> tuple[str, ...]:
    return ("inspect", "nope")


def wrong_wait_key(art: Any, tmp: Path) -> tuple[str, ...]:
    return ("resume", "demo", "--input", "approve", "--wait-key", "other")


def wrong_choice(art: Any, tmp: Path) -> tuple[str, ...]:
    return ("resume", "demo", "--input", "maybe")


def second_answer(art: Any, tmp: Path) -> tuple[str, ...]:
    art("resume", "demo", "--input", "approve")
    return ("resume", "demo", "--input", "approve")


def no_answer(art: Any, tmp: Path) -> tuple[str, ...]:
    return ("resume", "demo")


def wrong_input_type(art: Any, tmp: Path) -> tuple[str, ...]:
    return ("run", str(APPROVAL), "--input", "changes=yes")


def misspelt_command(art: Any, tmp: Path) -> tuple[str, ...]:
    return ("ledger", "verfiy")


def wrong_durability(art: Any, tmp: Path) -> tuple[str, ...]:
    return ("run", str(APPROVAL), "--durability", "sometimes")


def denied_since(art: Any, tmp: Path) -> tuple[str, ...]:
    digest = next(tmp.glob("store/bundles/*")).stem
    (tmp / "config").mkdir(exist_ok=True)
    denied = {"version": 1, "denied_digests": [digest]}
    (tmp / "config" / "trust.json").write_text(json.dumps(denied))
    return ("resume", "demo", "--input", "approve")


def bundle_is_gone(art: Any, tmp: Path) -> tuple[str, ...]:
    next(tmp.glob("store/bundles/*")).unlink()
    return ("resume", "demo", "--input", "approve")


def wrong_option(art: Any, tmp: Path) -> tuple[str, ...]:
    return ("runs", "--frobnicate")


def tampered_bundle(art: Any, tmp: Path) -> tuple[str, ...]:
    art("compile", str(APPROVAL), "-o", "x.flowbundle", "--unsigned")
    data = (tmp / "x.flowbundle").read_bytes()
    (tmp / "x.flowbundle").write_bytes(data.replace(b"approve", b"decline"))
    return ("run", "x.flowbundle")


def untrusted_key(art: Any, tmp: Path) -> tuple[str, ...]:
    art("key", "new", "mine")
    art("key", "new", "theirs")
    art("compile", str(APPROVAL), "-o", "x.flowbundle", "--key", "theirs")
    art("key", "revoke", "theirs")
    return ("run", "x.flowbundle")


def owned_by_another(art: Any, tmp: Path) -> tuple[str, ...]:
    # A second open file description stands for the other process; it is closed with the case.
    lock = RealFileSystem().lock(Layout(str(tmp / "store")).run_lock("demo"), b'{"pid": 7}')
    assert lock is not None
    art.stack.callback(lock.close)
    return ("resume", "demo", "--input", "approve")


def unwritable_store(art: Any, tmp: Path) -> tuple[str, ...]:
    return ("run", str(APPROVAL), "--store", "/proc/art-store")


def store_is_something_else(art: Any, tmp: Path) -> tuple[str, ...]:
    (tmp / "pictures").mkdir()
    (tmp / "pictures" / "cat.jpg").write_bytes(b"")
    return ("run", str(APPROVAL), "--store", "pictures")


def other_input_under_one_key(art: Any, tmp: Path) -> tuple[str, ...]:
    art("run", str(APPROVAL), "--once", "k", "--input", "service=api")
    return ("run", str(APPROVAL), "--once", "k", "--input", "service=web")


CASES = [
    (missing_file, 66, "nope.json"),
    (not_json, 1, "VF"),
    (unknown_node_type, 1, "ask_usr"),
    (dangling_edge, 1, "nowhere"),
    (unknown_run, 66, "nope"),
    (wrong_wait_key, 2, "other"),
    (wrong_choice, 2, "maybe"),
    (second_answer, 2, "not waiting"),
    (no_answer, 2, "no answer"),
    (wrong_input_type, 2, "changes"),
    (wrong_option, 2, "frobnicate"),
    (misspelt_command, 2, "did you mean 'verify'"),
    (wrong_durability, 2, "strict, relaxed or off"),
    (denied_since, 3, "denied list"),
    (bundle_is_gone, 66, ".flowbundle"),
    (tampered_bundle, 1, "x.flowbundle"),
    (untrusted_key, 3, "revoked"),
    (owned_by_another, 75, "demo"),
    (unwritable_store, 74, "/proc/art-store"),
    (store_is_something_else, 2, "pictures"),
    (other_input_under_one_key, 3, "other inputs: 'service'"),
]


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


@pytest.mark.parametrize("case, code, names", CASES, ids=lambda v: getattr(v, "__name__", ""))
def test_wrong_input(
    parked: Any, tmp_path: Path, stack: ExitStack, case: Any, code: int, names: str
) -> None:
    parked.stack = stack
    args = case(parked, tmp_path)
    before = {p: p.read_bytes() for p in tmp_path.glob("store/ledger_*")}

    text = parked(*args)
    machine = parked(*args, "--json")

    assert text.code == machine.code == code, text.err
    assert "= hint: " in text.err
    assert names in text.err
    assert "Traceback" not in text.err
    assert text.out == ""
    assert machine.document["error"]["exit_code"] == code
    assert {p: p.read_bytes() for p in tmp_path.glob("store/ledger_*")} == before
