"""A value that an option cannot have is named, with what was expected, in words of ours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from flow_builder import end, flow, node

AMOUNT = node("s", "on_flow_start", "", "exec-out amount:number")


@pytest.fixture
def amount(tmp_path: Path) -> str:
    document = flow(AMOUNT, end("a"), edges="s > e; s.amount > e.a")
    (tmp_path / "f.json").write_text(json.dumps(document))
    (tmp_path / "in16.json").write_bytes('{"amount": 1}'.encode("utf-16"))
    return "f.json"


@pytest.mark.parametrize(
    "args,said",
    [
        ("runs --status fialed", "option --status is 'fialed', expected succeeded, failed,"),
        ("runs --status fialed", "did you mean 'failed'? see: art runs --help"),
        ("runs --status failed --status x", "option --status is 'x', expected"),
        ("runs -n x", "option --limit/-n is 'x', expected a whole number from 1"),
        ("runs -n 0", "option --limit/-n is '0', expected a whole number from 1"),
        ("run f.json --until x", "option --until is 'x', expected idle, waiting or done"),
        ("inspect @last --step x", "option --step is 'x', expected a whole number"),
        ("serve --poll x", "option --poll is 'x', expected a number from 0.01"),
        ("emit x --run r --scope y", "option --scope is 'y', expected session,"),
        ("run f.json --durability x", "option --durability is 'x', expected strict, relaxed or off"),
        ("run f.json --durability strcit", "did you mean 'strict'?"),
        ("run f.json --sandbox x", "option --sandbox is 'x', expected"),
        ("compile f.json --unsigned --version x", "option --version is 'x', expected"),
        ("resume r --input", "see: art resume --help"),
        ("run f.json --input amount=1e400", "input 'amount' of 'amount=1e400' cannot be kept: it holds a number"),
        ("run f.json --input amount=" + "9" * 5000, "a number of too many digits"),
        ("run f.json --input @in16.json", "file 'in16.json' is not UTF-8"),
        ("emit x --run r --payload 1e400", "cannot be kept: it holds a number"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_named_with_what_was_expected(
    art: Any, amount: str, args: str, said: str
) -> None:
    assert art("run", amount, "--run-id", "r", "--input", "amount=1").code == 0
    refused = art(*args.split())
    assert (refused.code, said in refused.err) == (2, True), refused.err
    for theirs in ("Value error", "Input should", "not JSON compliant", "in flag"):
        assert theirs not in refused.err
