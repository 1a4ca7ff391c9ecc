"""What people type, as JSON values."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

from abstractruntime.cli._contract import check_input
from abstractruntime.cli._inputs import parse_answer, parse_inputs, parse_labels
from abstractruntime.errors import UsageError


@pytest.mark.parametrize(
    "values, expected",
    [
        ([], {}),
        (['{"a": 1}'], {"a": 1}),
        (["a=1", "b=x y", "c=[1]", "d=", "e=007"], {"a": 1, "b": "x y", "c": [1], "d": "", "e": "007"}),
        (["text=12"], {"text": "12"}),
        (["a=1", '{"a": 2}', "a=3"], {"a": 3}),
        (["q=a=b"], {"q": "a=b"}),
    ],
    ids=["none", "object", "pairs", "text", "order", "equals"],
)  # fmt: skip
def test_inputs(values: list[str], expected: Any) -> None:
    assert parse_inputs(values, text_names={"text"}) == expected


def test_inputs_from_file_and_stdin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "in.json"
    file.write_text('{"a": 1}')
    monkeypatch.setattr("sys.stdin", io.StringIO('{"b": 2}'))

    assert parse_inputs([f"@{file}", "-"]) == {"a": 1, "b": 2}


@pytest.mark.parametrize("value", ["[1]", "{", "=x", "plain", '{"a": 1, "a": 2}', '{"a": NaN}'])
def test_inputs_refused(value: str) -> None:
    with pytest.raises(UsageError, match="input"):
        parse_inputs([value])


@pytest.mark.parametrize(
    "text, expected",
    [
        ("ship it", {"response": "ship it"}),
        ('"yes"', {"response": "yes"}),
        ("42", {"response": "42"}),
        ("true", {"response": "true"}),
        ('{"ok": true}', {"ok": True}),
        ("", {"response": ""}),
    ],
    ids=["text", "json-text", "number", "word", "object", "empty"],
)
def test_answers(text: str, expected: Any) -> None:
    assert parse_answer(text) == expected


def test_answer_that_looks_like_an_object_must_be_one() -> None:
    with pytest.raises(UsageError, match="not JSON"):
        parse_answer("{oops")


def test_labels() -> None:
    assert parse_labels(["a=b", "c=d=e"]) == {"a": "b", "c": "d=e"}
    with pytest.raises(UsageError, match="pair"):
        parse_labels(["alone"])


@pytest.mark.parametrize(
    "kind, good, bad",
    [
        ("string", "x", 1),
        ("number", 1.5, True),
        ("boolean", False, 0),
        ("object", {}, []),
        ("array", [], {}),
    ],
)
def test_contract(kind: str, good: Any, bad: Any) -> None:
    schema = {"properties": {"p": {"type": kind}}}

    for fine in (good, None):
        check_input(schema, {"p": fine, "extra": 1})
    check_input(schema, {})
    with pytest.raises(UsageError, match="'p'"):
        check_input(schema, {"p": bad})
