"""Handing events to runs from the command line."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from cli_flows import family, listener

from abstractruntime.storage.directory import open_store


def status(art: Any, run: str) -> str:
    return str(art("inspect", run, "--json").document["status"])


def test_an_event_is_delivered_and_nothing_is_executed(art: Any) -> None:
    listener(art, "l1")
    result = art("emit", "go", "--run", "l1", "--json")

    assert result.code == 0
    document = result.document
    assert (document["delivered"], document["scope"]) == (1, "session")
    assert document["listeners"] == [{"run_id": "l1", "reached": True, "error": None}]
    assert document["runs"] == []
    assert status(art, "l1") == "interrupted"
    assert art("tick", "--due").out.startswith("l1\tsucceeded")


@pytest.mark.parametrize("how", [("--drive",), ("--until", "done")], ids=["drive", "until"])
def test_listeners_are_driven_when_asked(art: Any, how: tuple[str, ...]) -> None:
    listener(art, "l1")
    result = art("emit", "go", "--run", "l1", "--payload", '{"by": "me"}', *how)

    assert (result.code, result.out) == (0, "l1\tgot it\tsucceeded\n")
    assert art("inspect", "l1", "--json").document["output"]["got"]["payload"] == {"by": "me"}


@pytest.mark.parametrize(
    "key, address",
    [
        ("evt:session:l1:go", ("--session", "l1")),
        ("evt:session:l1:go", ("--run", "@last")),
        ("evt:session:l1:*", ("--run", "l1")),
        ("evt:run:l1:go", ("--run", "l1", "--scope", "run")),
        ("evt:workflow:listens:go", ("--run", "l1", "--scope", "workflow")),
        ("evt:global:global:go", ("--global",)),
        ("evt:global:global:go", ("--global", "--scope", "global")),
    ],
)
def test_addresses(art: Any, key: str, address: tuple[str, ...]) -> None:
    listener(art, "l1", key)

    assert art("emit", "go", *address, "--json").document["delivered"] == 1


def test_a_run_that_has_ended_hears_nothing_more(art: Any) -> None:
    listener(art, "l1")
    art("cancel", "l1")
    told = art("emit", "go", "--run", "l1")

    assert (told.code, told.out) == (0, "")
    assert "note: run l1 has ended (cancelled) and hears nothing more" in told.err
    assert "has ended" not in art("emit", "go", "--global").err


def test_the_session_of_a_child_is_that_of_its_tree(art: Any) -> None:
    child = family(art)

    key = art("emit", "go", "--run", child, "--json").document["wait_key"]
    assert key == "evt:session:top:go"


@pytest.mark.parametrize(
    "given, payload",
    [
        ('{"a": 1}', {"a": 1}),
        ("3", {"value": 3}),
        ("@p.json", {"b": 2}),
        ("-", {"c": 3}),
        (None, {}),
    ],
)
def test_payloads(
    art: Any, monkeypatch: pytest.MonkeyPatch, given: str | None, payload: dict[str, Any]
) -> None:
    Path("p.json").write_text('{"b": 2}')
    monkeypatch.setattr("sys.stdin", io.StringIO('{"c": 3}'))
    listener(art, "l1")
    art("emit", "go", "--run", "l1", "--drive", *(("--payload", given) if given else ()))

    assert art("inspect", "l1", "--json").document["output"]["got"]["payload"] == payload


def test_nobody_listening_is_said_with_the_names_that_are_waited_for(art: Any) -> None:
    listener(art, "l1")
    result = art("emit", "gone", "--run", "l1", "--json")

    assert (result.code, result.document["delivered"]) == (0, 0)
    assert result.document["waited_for"] == ["go"]
    assert "nobody waits for evt:session:l1:gone; waited for in this scope: go" in result.err


def test_an_event_reaches_listeners_of_every_bundle(art: Any) -> None:
    listener(art, "l1", "evt:global:global:go")
    flow = json.loads(Path("listens.json").read_text())
    Path("listens.json").write_text(json.dumps({**flow, "name": "another"}))
    Path("other.json").write_text(json.dumps({**flow, "id": "other"}))
    given = ("--input", "key=evt:global:global:go")
    art("run", "other.json", "--run-id", "l2", *given)

    result = art("emit", "go", "--global", "--drive", "--json")
    assert {row["run_id"]: row["status"] for row in result.document["runs"]} == {
        "l1": "completed",
        "l2": "completed",
    }


def test_an_event_id_counts_once(art: Any) -> None:
    listener(art, "l1")
    for _ in range(2):
        assert art("emit", "go", "--run", "l1", "--event-id", "e1").code == 0
    records = art("ledger", "show", "l1", "--json").document["records"]

    assert len([r for r in records if (r["effect"] or {}).get("type") == "resume"]) == 1


def test_a_listener_that_others_drive_still_gets_it(art: Any, tmp_path: Path) -> None:
    listener(art, "l1")
    with open_store(tmp_path / "store") as owner:
        log = owner.open("l1")
        result = art("emit", "go", "--run", "l1", "--drive", "--json")
        log.close()

    assert (result.code, result.document["delivered"]) == (0, 1)
    assert art("tick", "l1").code == 0


def test_a_listener_without_its_bundle_gets_it_and_is_reported(art: Any, tmp_path: Path) -> None:
    listener(art, "l1")
    for bundle in tmp_path.glob("store/bundles/*"):
        bundle.unlink()
    result = art("emit", "go", "--run", "l1", "--drive", "--json")

    assert (result.code, result.document["delivered"]) == (66, 1)
    assert [error["code"] for error in result.document["errors"]] == ["not_found"]


@pytest.mark.parametrize(
    "args, hint",
    [
        ((), "--run RUN, --session ID or --global"),
        (("--run", "l1", "--global"), "--run RUN, --session ID or --global"),
        (("--session", "l1", "--scope", "run"), "add --run RUN"),
        (("--run", "l1", "--scope", "global"), "--global"),
        (("--run", "l1", "--payload", "yes"), "a text needs quotes"),
        (("--run", "l1", "--payload", "NaN"), "use JSON"),
        (("--run", "l1", "--payload", '{"a":"\\ud800"}'), "whole characters"),
        (("--session", " "), "art runs --json"),
    ],
)
def test_wrong_use_says_what_to_do(art: Any, args: tuple[str, ...], hint: str) -> None:
    listener(art, "l1")
    result = art("emit", "go", *args)

    assert result.code == 2
    assert hint in result.err


@pytest.mark.parametrize("name", ["", "  "])
def test_an_event_needs_a_name(parked: Any, name: str) -> None:
    assert parked("emit", name, "--run", "demo").code == 2


@pytest.mark.parametrize(
    "args", [("--run", "nope"), ("--run", "l1", "--payload", "@none.json")], ids=["run", "file"]
)
def test_what_is_missing_is_not_found(art: Any, args: tuple[str, ...]) -> None:
    listener(art, "l1")

    assert art("emit", "go", *args).code == 66
