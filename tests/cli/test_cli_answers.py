"""What answers a question, and what does not."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from flow_builder import START, end, flow, node

from abstractruntime._json import MAX_DEPTH

ASKED = {"prompt": "Deploy?", "choices": ["yes", "no"]}


def ask(choices: list[Any], *, free: bool = True) -> dict[str, Any]:
    question = node(
        "q", "ask_user", "exec-in prompt choices", "exec-out response",
        pinDefaults={"prompt": "Deploy?", "choices": choices},
        effectConfig={"allowFreeText": free},
    )  # fmt: skip
    return flow(START, question, end("a"), edges="s > q; q > e; q.response > e.a")


@pytest.fixture
def asked(art: Any, tmp_path: Path) -> Any:
    def start(*choices: Any, free: bool = True) -> Any:
        (tmp_path / "f.json").write_text(json.dumps(ask(list(choices), free=free)))
        assert art("run", "f.json", "--run-id", "r").code == 4
        return art

    return start


@pytest.mark.parametrize(
    "answer,hint",
    [
        ('{"respones": "no"}', "did you mean 'response' instead of 'respones'?"),
        ("{}", "found an empty one"),
        ('{"answer": 1}', "found 'answer'"),
        ('{"approved": true}', "found 'approved'"),
        ('{"response": null}', "found one that is null"),
    ],
)
def test_an_object_without_a_response_answers_nothing(asked: Any, answer: str, hint: str) -> None:
    art = asked("yes", "no")
    refused = art("resume", "r", "--input", answer)
    assert (refused.code, hint in refused.err) == (2, True), refused.err
    assert art("inspect", "r", "--json").document["status"] == "waiting"
    assert art("resume", "r", "--input", answer, "--force").code == 0


@pytest.mark.parametrize(
    "choices,flag,said",
    [
        ((), "--deny", "deny"),
        ((), "--approve", "approve"),
        (("approve", "deny"), "--deny", "deny"),
        (("yes", "no"), "--deny", "no"),
        (("Yes", "No"), "--approve", "Yes"),
        (("Reject", "later", "OK"), "--deny", "Reject"),
        (("ship", "stop"), "--deny", None),
        (("no", "refuse"), "--deny", None),
    ],
)
@pytest.mark.parametrize("free", [True, False])
def test_a_decision_is_one_of_the_choices(
    asked: Any, choices: tuple[str, ...], flag: str, said: str | None, free: bool
) -> None:
    done = asked(*choices, free=free)("resume", "r", flag)
    if said is None:
        assert (done.code, f"choose one of: {', '.join(choices)}" in done.err) == (2, True)
    else:
        assert json.loads(done.out)["a"] == said


@pytest.mark.parametrize(
    "choices,typed,answer",
    [
        ([1, 2], "1", 1),
        (["1", 1], "1", "1"),
        ([1.5, None], "null", None),
        ([True, False], "false", False),
        ([{"id": "yes"}, {"id": "no"}], '{"id": "yes"}', {"id": "yes"}),
        ([{"b": 1, "a": "ä"}], '{"a":"ä","b":1}', {"b": 1, "a": "ä"}),
        ([["a", 1], "b"], '["a", 1]', ["a", 1]),
        ([1, 2], '{"response": 2}', 2),
        ([{"response": 1}], '{"response": {"response": 1}}', {"response": 1}),
    ],
)
@pytest.mark.parametrize("free", [True, False])
def test_a_choice_is_answered_as_it_is_shown(
    asked: Any, choices: list[Any], typed: str, answer: Any, free: bool
) -> None:
    art = asked(*choices, free=free)
    done = art("resume", "r", "--input", typed)
    assert done.code == 0, done.err
    assert json.loads(done.out)["a"] == answer


def test_choices_are_shown_as_they_can_be_typed(asked: Any) -> None:
    art = asked({"id": "yes"}, True, "no", free=False)
    shown = '{"id": "yes"}, true, no'
    assert f"choices: {shown}" in art("tick", "r").err
    for typed in ("7", '{"response": {"id": "y"}}'):
        refused = art("resume", "r", "--input", typed)
        assert (refused.code, f"choose one of: {shown}" in refused.err) == (2, True), refused.err


@pytest.mark.parametrize(
    "typed,answer",
    [
        ("42", "42"),
        ("false", "false"),
        ("[1,2]", "[1,2]"),
        ('"q"', "q"),
        ('"@alice ok"', "@alice ok"),
        ('"{hello"', "{hello"),
        ('{"response": 42}', 42),
    ],
)
def test_what_is_typed_is_text_but_for_objects_and_quoted_texts(
    asked: Any, typed: str, answer: Any
) -> None:
    assert json.loads(asked()("resume", "r", "--input", typed).out)["a"] == answer


@pytest.mark.parametrize(
    "typed,code,hint",
    [
        ("@alice ok", 66, """--input '"@alice ok"'"""),
        ("{hello", 2, """--input '"{hello"'"""),
        ("@", 2, "use @FILE"),
    ],
)
def test_how_to_answer_with_what_looks_like_something_else(
    asked: Any, typed: str, code: int, hint: str
) -> None:
    refused = asked()("resume", "r", "--input", typed)
    assert (refused.code, hint in refused.err) == (code, True), refused.err


@pytest.mark.parametrize(
    ("answer", "code"), [("{}", 2), ('{"foo": 1}', 2), ('{"response": null}', 0)]
)
def test_null_answers_where_it_is_a_choice_and_only_when_it_is_said(
    asked: Any, answer: str, code: int
) -> None:
    assert asked("yes", None)("resume", "r", "--input", answer).code == code


def test_a_byte_order_mark_is_no_part_of_an_answer(asked: Any, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b'\xef\xbb\xbf{"response": "x"}')
    assert json.loads(asked()("resume", "r", "--input", "@a.json").out)["a"] == "x"


def test_nor_is_one_that_comes_from_stdin(asked: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    art = asked()
    monkeypatch.setattr(sys, "stdin", io.StringIO('\ufeff{"response": "x"}'))
    assert json.loads(art("resume", "r", "--input", "-").out)["a"] == "x"


@pytest.mark.parametrize(
    "text,words",
    [
        ('{"k":' + "[" * 50_000 + "]" * 50_000 + "}", f"nested deeper than {MAX_DEPTH} levels"),
        ('{"k":' + "[" * 5_000 + "]" * 5_000 + "}", f"nested deeper than {MAX_DEPTH} levels"),
        ('{"k":' + "9" * 5_000 + "}", "a number of too many digits"),
        ('{"k":' + "[" * 300 + "]" * 300 + "}", f"nested deeper than {MAX_DEPTH} levels"),
    ],
)
def test_limits_are_named_in_our_words(art: Any, tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "f.json").write_text(json.dumps(flow(START, end("a"), edges="s > e")))
    (tmp_path / "in.json").write_text(text)
    refused = art("run", "f.json", "--input", "@in.json")
    assert (refused.code, words in refused.err) == (2, True), refused.err


def fails() -> dict[str, Any]:
    raises = node("c", "code", "exec-in", "exec-out output", code="def transform(i): return 1 / 0")
    return flow(START, raises, end("a"), edges="s > c; c > e; c.output > e.a")


def test_a_run_that_failed_is_called_so_and_nobody_answered_it(art: Any, tmp_path: Path) -> None:
    parent = flow(
        START, node("sub", "subflow", "exec-in", "exec-out", subflowId="f"), end(),
        edges="s > sub; sub > e",
    )  # fmt: skip
    (tmp_path / "f.json").write_text(json.dumps(fails()))
    (tmp_path / "p.json").write_text(json.dumps({**parent, "id": "p"}))
    for name in ("f", "p"):
        assert art("run", f"{name}.json", "--run-id", name).code == 1
        refused = art("resume", name, "--input", "yes")
        assert (refused.code, f"run '{name}' is failed, not" in refused.err) == (2, True)
        assert "completed" not in refused.err
        assert "answered" not in refused.err
        for command in ("cancel", "pause"):
            told = art(command, name)
            assert f"run {name} is failed already" in told.err
            assert "completed" not in told.out
