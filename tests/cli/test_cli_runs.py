"""Lists of runs: what is chosen, in which order, and how it looks on a terminal."""

from __future__ import annotations

import contextlib
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from abstractruntime._runtime.runtime import Runtime
from abstractruntime.cli._moments import moment_of
from abstractruntime.core.models import StepPlan, format_time
from abstractruntime.core.spec import WorkflowSpec
from abstractruntime.errors import UsageError
from abstractruntime.rendering.run_table import render_runs, short_ids
from abstractruntime.rendering.terminal import Palette
from abstractruntime.storage.directory import open_store

APPROVAL = Path(__file__).resolve().parents[2] / "bundles" / "release-approval" / "flow.json"
INPUT = '{"service": "api", "version": "2.1.0", "changes": []}'
NOW = datetime(2026, 3, 4, 12, 30, tzinfo=timezone.utc)


EMPTY = {
    "runs": (("runs",), "no runs in the store", "art run FLOW"),
    "filtered": (("runs", "--status", "failed"), "no run of the store", "art runs --all"),
    "children": (("runs", "--children", "--label", "a=b"), "no run of the store", "art runs --all"),
    "keys": (("key", "list"), "no keys", "art key new NAME"),
    "snapshots": (("snapshot", "list"), "no snapshots in the store", "art snapshot create RUN"),
    "snapshots of a run": (("snapshot", "list", "r"), "no snapshots of run r", "art snapshot create r"),
    "tags": (("snapshot", "list", "--tag", "a", "--tag", "b"), "no snapshots with tag a or b", "art snapshot list"),
    "records": (("ledger", "show", "r", "--after", "99"), "no record of run r is after 99", "art ledger show r"),
    "all ledgers": (("ledger", "verify", "--all"), "no runs in the store", "art run FLOW"),
}  # fmt: skip


@pytest.mark.parametrize("name", EMPTY)
def test_an_empty_list_says_so_on_stderr(art: Any, name: str) -> None:
    command, words, step = EMPTY[name]
    assert art("run", str(APPROVAL), "--run-id", "r", "--input", INPUT).code == 4
    if name in {"runs", "all ledgers"}:
        art("cancel", "r")
        assert art("gc", "--purge", "r", "--apply", "--yes").code == 0

    text, found, lines = art(*command), art(*command, "--json"), art(*command, "--jsonl")

    assert (text.code, found.code, lines.out) == (0, 0, "")
    assert (words in text.err, step in text.err) == (True, True), text.err
    assert text.out == "" or name == "all ledgers"
    lists = [value for value in found.document.values() if isinstance(value, list)]
    assert lists
    assert not any(lists)
    assert art(*command, "-q").err == ""


@pytest.fixture
def store(art: Any) -> Any:
    """A store with two runs that wait, one that was cancelled, and one that ended."""
    for run_id, label in (
        ("asks", "team=core"),
        ("rests", "team=web"),
        ("gone", "a=b"),
        ("done", "a=b"),
    ):
        start = ("run", str(APPROVAL), "--run-id", run_id, "--input", INPUT, "--label", label)
        assert art(*start).code == 4
    assert art("cancel", "gone").code == 0
    assert art("resume", "done", "--input", "approve").code == 0
    return art


@pytest.mark.parametrize(
    ("args", "ids"),
    [
        ((), ["done", "gone", "rests", "asks"]),
        (("--sort", "run"), ["asks", "done", "gone", "rests"]),
        (("--sort", "created"), ["done", "gone", "rests", "asks"]),
        (("--status", "waiting"), ["rests", "asks"]),
        (("--status", "paused"), []),
        (("--status", "cancelled"), ["gone"]),
        (("--status", "succeeded"), ["done"]),
        (("--status", "interrupted"), []),
        (("--label", "team=web"), ["rests"]),
        (("--status", "cancelled", "--status", "succeeded"), ["done", "gone"]),
        (("--status", "waiting", "--status", "cancelled"), ["gone", "rests", "asks"]),
        (("--status", "damaged", "--status", "cancelled"), ["gone"]),
        (("--status", "cancelled", "--status", "waiting", "-n", "1"), ["gone"]),
        (("--waiting-on", "user", "--waiting-on", "until"), ["rests", "asks"]),
        (
            ("--workflow", "nope", "--workflow", "release-approval"),
            ["done", "gone", "rests", "asks"],
        ),
        (("--workflow", "nope", "--workflow", "other"), []),
        (("--label", "team=web", "--label", "team=core"), ["rests", "asks"]),
        (("--label", "team=web", "--label", "a=b"), []),
        (("--search", "team=core", "--search", "TEAM=WEB"), ["rests", "asks"]),
        (("--search", "TEAM=CORE"), ["asks"]),
        (("--search", "release"), ["done", "gone", "rests", "asks"]),
        (("--limit", "2"), ["done", "gone"]),
        (("--since", "2h"), ["done", "gone", "rests", "asks"]),
        (("--until", "yesterday"), []),
    ],
)
def test_which_runs_are_listed(store: Any, args: tuple[str, ...], ids: list[str]) -> None:
    assert store("runs", "-q", *args).out.split() == ids


def test_what_is_left_out_is_counted(store: Any) -> None:
    listed = store("runs", "--limit", "3")

    assert "3 of 4 runs; all of them: --all" in listed.err
    assert store("runs", "--limit", "3", "--json").document["total"] == 4
    assert store("runs", "--limit", "3", "--all").code == 2


def test_a_row_tells_the_question(store: Any) -> None:
    rows = {row["run_id"]: row for row in store("runs", "--json").document["runs"]}

    assert rows["asks"]["question"].startswith("Release")
    assert rows["done"]["question"] is None


def test_nobody_drives_an_interrupted_run(store: Any, tmp_path: Path) -> None:
    with contextlib.closing(open_store(tmp_path / "store")) as engine:
        ends = WorkflowSpec("w", "a", {"a": lambda *_: StepPlan("a", complete_output={})})
        Runtime.on_engine(engine).start(workflow=ends, run_id="left")

    assert store("runs", "-q", "--status", "interrupted").out == "left\n"
    assert store("runs", "-q", "--status", "running").out == "left\n"
    assert store("inspect", "left", "--json").document["outcome"] == "interrupted"

    store("pause", "left")
    (row,) = store("runs", "--status", "paused", "--json").document["runs"]
    assert (row["waiting_on"], row["question"]) == (None, None)
    assert store("runs", "-q", "--waiting-on", "user", "--search", "left").out == ""


def row(run_id: str, **changes: Any) -> dict[str, Any]:
    fields = dict.fromkeys(("waiting_on", "wait_key", "until", "question", "error"))
    moment = format_time(NOW - timedelta(hours=3))
    known = {"run_id": run_id, "outcome": "waiting", "updated_at": moment, "workflow_id": "flow"}
    return {**fields, **known, "labels": {}, **changes}


ROWS = [
    row("0f8fad5b-d9cb-469f-a165-70867728950e", question="Release 2.1.0?\nReally?", waiting_on="user"),
    row("0f8fad5c-d9cb-469f-a165-70867728950e", outcome="failed", error="no \x1b[31mmodel"),
    row("nightly", waiting_on="until", until=format_time(NOW + timedelta(minutes=5))),
    row("due", waiting_on="until", until=format_time(NOW)),
    row("hears", waiting_on="event", wait_key="evt:x", labels={"team": "core"}),
    row("asks", question="Release " * 40, waiting_on="user"),
    row("x" * 60, outcome="succeeded", workflow_id="a-flow-with-a-very-long-name-" * 3, updated_at=None),
]  # fmt: skip


@pytest.mark.parametrize("width", [80, 140])
def test_a_table_fits_the_terminal(width: int) -> None:
    lines = list(render_runs(ROWS, now=NOW, width=width, palette=Palette(False)))

    assert max(map(len, lines)) <= width
    assert all(line.isprintable() for line in lines)
    text = "\n".join(lines)
    for part in ("0f8fad5b  ", "0f8fad5c  ", "3 h ago", "? Release 2.1.0?", "in 5 min", "due: art tick --due",
                 "for event evt:x  [team=core]"):  # fmt: skip
        assert part in text


def test_colours_repeat_words() -> None:
    plain = list(render_runs(ROWS, now=NOW, width=80, palette=Palette(False)))
    painted = list(render_runs(ROWS, now=NOW, width=80, palette=Palette(True)))

    assert "\x1b[31;1mfailed" in painted[2]
    assert [line.replace("\x1b[", "").count("failed") for line in painted] == [
        line.count("failed") for line in plain
    ]


def test_short_ids_stay_apart() -> None:
    ids = [f"0f8fad5b-d9cb-469f-a165-7086772895{n:02}" for n in range(3)]

    assert len(set(short_ids(ids).values())) == 3
    assert short_ids(["release-2026-11-29-nightly"]) == {
        "release-2026-11-29-nightly": "release-2026-11-29-nightly"
    }


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2h", "2026-03-04T10:30"),
        ("90 min ago", "2026-03-04T11:00"),
        ("3d", "2026-03-01T12:30"),
        ("1w", "2026-02-25T12:30"),
        ("today", "2026-03-04T00:00"),
        ("Yesterday", "2026-03-03T00:00"),
        ("2026-01-31", "2026-01-31T00:00"),
        ("2026-01-31T08:00:00+01:00", "2026-01-31T07:00"),
    ],
)
def test_moments(text: str, moment: str) -> None:
    assert moment_of(text, now=NOW, option="--since").startswith(moment)


@pytest.mark.parametrize("text", ["", "soon", "2x", "-2h", "999999w", "2026-13-01"])
def test_what_is_no_moment(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        moment_of(text, now=NOW, option="--since")
    assert "2h" in (caught.value.hint or "")
