"""References of a record are read back as what they stand for, in no more memory than a record takes."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest
from awkward_hosts import done, spec

from abstractruntime import Runtime, open_store
from abstractruntime._json import JsonObject, load_strict
from abstractruntime.errors import IntegrityError
from abstractruntime.storage import large_values
from abstractruntime.storage._store import record_lines, recovery, run_log
from abstractruntime.storage.large_values import LIMIT_BYTES, LargeValues, reference, weight_of

TEXT = "x" * LIMIT_BYTES


class Kept(LargeValues):
    """Keeps values in memory; counts how often each is read."""

    def __init__(self) -> None:
        self.data: dict[str, bytes] = {}
        self.loads = 0

    def _store(self, data: bytes) -> JsonObject:
        digest = f"d{len(self.data)}"
        self.data[digest] = data
        return reference(digest, len(data))

    def _load(self, digest: Any) -> Any:
        self.loads += 1
        return load_strict(self.data[digest])


def test_what_holds_nothing_large_is_packed_as_it_is() -> None:
    value = {"a": [1, {"b": "c"}]}
    assert Kept().pack(value) is value
    assert Kept().pack({"$blob": 1, "a": 2}) == {"$$blob": 1, "a": 2}


def test_a_value_that_is_referred_to_twice_is_read_once_and_its_texts_are_shared() -> None:
    kept = Kept()
    packed = kept._store(b'[{"a":"%s"}]' % TEXT.encode())
    first, second = kept.unpack([packed, packed])
    assert first == second == [{"a": TEXT}]
    assert first[0] is not second[0]
    assert first[0]["a"] is second[0]["a"]
    assert kept.loads == 1


def multiplied(kept: Kept) -> JsonObject:
    return {f"k{i}": kept._store(b"[%s0]" % (b"0," * 99)) for i in range(10)}


def repeated(kept: Kept) -> list[JsonObject]:
    return [kept._store(b"[%s0]" % (b"0," * 99))] * 10


def nested(kept: Kept) -> JsonObject:
    made = kept._store(b'"%s"' % TEXT.encode())
    for _ in range(9):
        made = kept._store(str([made] * 10).replace("'", '"').encode())
    return made


def texts(kept: Kept) -> list[JsonObject]:
    return [kept._store(b'["%s"]' % (b"x" * 3200))] * 10


@pytest.mark.parametrize("hostile", [multiplied, repeated, nested, texts])
def test_references_stand_for_no_more_than_a_record_holds(
    hostile: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Kept()
    value = hostile(kept)
    monkeypatch.setattr(large_values, "MAX_RECORD_WEIGHT", 900)
    with pytest.raises(IntegrityError, match="more than 900 values"):
        kept.unpack(value)
    assert kept.loads <= 10


@pytest.mark.parametrize(
    "value,weight",
    [(1, 0), ("x" * 64, 2), ([1, 2], 6), ({"a": 1}, 6), ([{"a": "x" * 32}, []], 4 + 2 + 7 + 4)],
)
def test_weights(value: Any, weight: int) -> None:
    assert weight_of(value) == weight


LIMITS = [
    pytest.param(run_log, "MAX_STATE_WEIGHT", "variables of the run would be", id="state"),
    pytest.param(record_lines, "MAX_RECORD_WEIGHT", "a record would hold", id="record"),
]


@pytest.mark.parametrize("module,name,problem", LIMITS)
def test_nothing_is_written_that_could_not_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: Any, name: str, problem: str
) -> None:
    monkeypatch.setattr(module, name, 1000)
    with contextlib.closing(open_store(tmp_path)) as engine:
        runtime = Runtime.on_engine(engine)
        with pytest.raises(ValueError, match=f"{problem} more than 1000 values"):
            runtime.start(workflow=spec("w", a=done), vars={"x": [[TEXT[:1000]]] * 300})


def test_references_of_many_records_make_no_larger_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with contextlib.closing(open_store(tmp_path)) as engine:
        run_id = Runtime.on_engine(engine).start(
            workflow=spec("w", a=done), vars={"x": [TEXT, [1] * 2000]}
        )
    monkeypatch.setattr(recovery, "MAX_STATE_WEIGHT", 2000)
    with (
        contextlib.closing(open_store(tmp_path)) as engine,
        pytest.raises(IntegrityError, match="more than 2000 values"),
    ):
        engine.peek(run_id)
