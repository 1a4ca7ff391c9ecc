"""What a record used: every reader of one record gives the same numbers, however odd it is."""

from __future__ import annotations

import math
from typing import Any

import pytest

from abstractruntime.core.models import RunState, RunStatus, StepRecord
from abstractruntime.core.usage import Usage, ledger_metrics, prompt_tokens, total_usage
from abstractruntime.storage._files.simfs import SimFileSystem
from abstractruntime.storage.directory import open_store
from abstractruntime.storage.sqlite import SqliteDatabase, SqliteLedgerStore
from abstractruntime.testing.clocks import FakeClock

# (result of the model call, (input, output, total), prompt)
RESULTS: list[tuple[Any, tuple[int, int, int], int | None]] = [
    ({"usage": {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15}}, (10, 5, 15), 10),
    ({"usage": {"input_tokens": 10, "output_tokens": 5}}, (10, 5, 15), 10),
    ({"usage": {"prompt_tokens": 10, "completion_tokens": 5}}, (10, 5, 15), 10),
    ({"usage": {"total_tokens": 7}}, (0, 0, 7), 7),
    ({"usage": {"total_tokens": 5.0}}, (0, 0, 5), 5),
    ({"usage": {"total_tokens": True, "input_tokens": 3}}, (3, 0, 3), 3),
    ({"usage": {"input_tokens": -1, "prompt_tokens": 4}}, (4, 0, 4), 4),
    ({"usage": {"input_tokens": "10", "total_tokens": 2}}, (0, 0, 2), 2),
    ({"usage": {}, "token_usage": {"prompt": 3, "completion": 4}}, (3, 4, 7), None),
    ({"output": {"usage": {"total": 9}}}, (0, 0, 9), None),
    ({"usage": [1, 2]}, (0, 0, 0), None),
    ({"usage": None}, (0, 0, 0), None),
    ("text", (0, 0, 0), None),
    (None, (0, 0, 0), None),
]


def a_record(result: Any) -> StepRecord:
    run = RunState("r", "w", RunStatus.RUNNING, "n", {})
    record = StepRecord.start(run=run, node_id="n", effect=None)
    record.effect = {"type": "llm_call", "payload": {}}
    return record.finish_success(result)


@pytest.mark.parametrize("result, counts, prompt", RESULTS)
def test_every_reader_gives_the_same_numbers(tmp_path, result, counts, prompt):
    record = a_record(result)
    expected = {"steps": 1, "llm_calls": 1, "tool_calls": 0, "tokens_total": counts[2]}
    database = SqliteLedgerStore(SqliteDatabase(tmp_path / "runs.sqlite"))
    database.append(record)
    store = open_store("/s", origin="t/0", fs=SimFileSystem(), clock=FakeClock())
    store.runs.save(RunState("r", "w", RunStatus.RUNNING, "n", {}))
    store.ledgers.append(record)

    assert Usage.of(record.to_dict()) == Usage(1, 0, *counts)
    assert database.metrics_many(["r"])["r"] == expected
    assert store.ledgers.metrics_many(["r"])["r"] == expected
    assert prompt_tokens(result) == prompt


@pytest.mark.parametrize("count", [math.nan, math.inf, -math.inf, 1e400, [], {}])
def test_what_is_no_count_is_not_counted(count):
    assert Usage.of(a_record({"usage": {"total_tokens": count}}).to_dict()) == Usage(llm_calls=1)
    assert prompt_tokens({"usage": {"input_tokens": count}}) is None


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"status": "completed"},
        {"status": "completed", "effect": 3, "result": 4},
        {"status": "completed", "effect": {"type": "tool_calls", "payload": {"tool_calls": 3}}},
        {"status": ["completed"], "effect": {"type": "llm_call"}},
    ],
)
def test_odd_records_use_nothing(record):
    assert total_usage([record]) == Usage()


def test_records_of_the_store_are_no_steps():
    own = [{"internal": "transition"}, {"via": "effect"}]
    done = [{"status": "completed", "effect": None, "result": result} for result in [*own, {}]]
    assert ledger_metrics(done)["steps"] == 1
