from __future__ import annotations

import pytest

from abstractruntime.errors import UsageError
from abstractruntime.storage._files.layout import Layout, check_id, run_id_of_ledger, run_ids

NAMES = {
    "ledger": "/s/ledger_r-1.jsonl",
    "checkpoint": "/s/run_r-1.json",
    "heads": "/s/heads_r-1.jsonl",
    "run_lock": "/s/locks/run_r-1.lock",
    "inbox": "/s/inbox/r-1",
}


@pytest.mark.parametrize("method, expected", NAMES.items(), ids=NAMES)
def test_names(method, expected):
    assert getattr(Layout("/s"), method)("r-1") == expected


@pytest.mark.parametrize("bad", ["", "a/b", "../b", "a" * 201, "a\x00"])
def test_an_id_that_is_no_file_name_is_refused(bad):
    for method in NAMES:
        with pytest.raises(UsageError):
            getattr(Layout("/s"), method)(bad)


@pytest.mark.parametrize("old", ["..", "a.b", "a b", "é", "a" * 129, "a\n"])
def test_an_id_that_only_04x_allowed_names_files_to_read(old):
    layout = Layout("/s")
    assert layout.ledger(old) == f"/s/ledger_{old}.jsonl"
    for method in (check_id, layout.inbox, layout.original):
        with pytest.raises(UsageError):
            method(old)


def test_runs_are_recognised_by_ledger_or_checkpoint():
    names = ["ledger_a.jsonl", "run_a.json", "run_b.c.json", "run_d.json.1.tmp", "heads_e.jsonl"]
    assert run_ids(names) == {"a", "b.c"}


@pytest.mark.parametrize(
    "name, run_id",
    [
        ("ledger_r1.jsonl", "r1"),
        ("ledger_.jsonl", None),
        ("ledger_r1.jsonl.tmp", None),
        ("heads_r1.jsonl", None),
    ],
)
def test_ledgers_are_recognised(name, run_id):
    assert run_id_of_ledger(name) == run_id
