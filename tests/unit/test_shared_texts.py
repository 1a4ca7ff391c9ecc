"""Bytes that share long texts with their value are equal to the bytes, and give the value back."""

from __future__ import annotations

from typing import Any

import pytest

from abstractruntime.storage._store.plain import dump
from abstractruntime.storage._store.shared_texts import (
    LARGE_BYTES,
    SharedTexts,
    bytes_of,
    kept,
    value_of,
)

LONG = "x" * LARGE_BYTES
ODD = 'quote " and \\ and \n' * (LARGE_BYTES // 16)
VALUES: dict[str, Any] = {
    "a text": LONG,
    "escapes": ODD,
    "deep": {"a": [{"b": [1, LONG, None]}]},
    "twice": {"a": LONG, "b": [LONG, "short"], "c": LONG},
    "one within another": ["<" + LONG + ">", LONG, '"' + LONG + '"', LONG],
    "a key that is one of them": {LONG: 1, "a": LONG},
    "the same as key and value": {LONG: LONG, "b": LONG},
    "beyond ASCII": {"a": "é" * LARGE_BYTES, "b": "\U0001f600" * LARGE_BYTES},
}


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_a_large_value_is_kept_beside_its_texts(value: Any) -> None:
    data = dump(value)
    shared = kept(value, data)

    assert isinstance(shared, SharedTexts)
    assert len(shared) == len(data)
    assert shared == data
    assert bytes_of(shared) == data
    assert shared != data[:-1] + b" "
    assert shared != data + b" "
    assert value_of(shared) == value


def test_its_texts_are_those_of_the_value_and_nothing_else_is() -> None:
    value = {"a": LONG, "b": [1]}
    back = value_of(kept(value, dump(value)))
    assert back["a"] is LONG
    assert back["b"] is not value["b"]


@pytest.mark.parametrize("value", ["short", {"a": "x" * 5000}, list(range(100_000))])
def test_other_values_are_kept_as_bytes(value: Any) -> None:
    data = dump(value)
    assert type(kept(value, data)) is bytes
    assert kept(value, data) == data
