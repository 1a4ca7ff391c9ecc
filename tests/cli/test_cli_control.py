"""Cancelling, pausing and letting go on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cli_flows import family, listener

from abstractruntime.storage.directory import open_store


def status(art: Any, run: str) -> str:
    return str(art("inspect", run, "--json").document["status"])


def control_records(art: Any, run: str) -> list[dict[str, Any]]:
    records = art("ledger", "show", run, "--json").document["records"]
    results = [record["result"] for record in records if isinstance(record["result"], dict)]
    return [result for result in results if result.get("internal") == "control"]


def test_cancel_gives_the_cancelled_run(parked: Any) -> None:
    result = parked("cancel", "demo", "--reason", "too late", "--json")

    assert (result.code, result.document["status"]) == (0, "cancelled")
    assert result.document["error"]["message"] == "too late"
    assert control_records(parked, "demo")[-1]["reason"] == "too late"
    assert parked("tick", "demo").code == 5


def test_a_reason_to_cancel_is_no_error(parked: Any) -> None:
    parked("cancel", "demo", "--reason", "too late")

    shown = (parked("inspect", "demo").out, parked("tick", "demo").err)
    assert all("too late" in text for text in shown)
    assert not any("error" in text for text in shown)
    assert "reason   too late" in shown[0]
    assert "reason: too late\n" in shown[1]
    assert parked("inspect", "demo", "--json").document["error"]["message"] == "too late"


@pytest.mark.parametrize("end", [("cancel", "demo"), ("resume", "demo", "--input", "approve")])
def test_cancelling_what_has_ended_is_no_error(parked: Any, end: tuple[str, ...]) -> None:
    parked(*end)
    before = parked("ledger", "show", "demo", "--jsonl").out

    result = parked("cancel", "demo")

    assert result.code == 0
    assert "already; nothing to cancel" in result.err
    assert parked("ledger", "show", "demo", "--jsonl").out == before


def test_a_paused_run_says_so(art: Any) -> None:
    listener(art, "l1")
    art("pause", "l1")

    shown, ticked = art("inspect", "l1"), art("tick", "l1")
    assert art("inspect", "l1", "--json").document["paused"] is True
    assert "art unpause l1" in shown.out
    assert (ticked.code, "art unpause l1" in ticked.err) == (4, True)
    assert "art resume" not in ticked.err
    art("unpause", "l1")
    assert art("inspect", "l1", "--json").document["paused"] is False


def test_cancel_reaches_the_children(art: Any) -> None:
    child = family(art)
    result = art("cancel", "top")

    assert result.out.splitlines() == ["top\tcancelled", f"{child}\tcancelled"]
    assert status(art, child) == "cancelled"


def test_cancel_only_leaves_the_children_alone(art: Any) -> None:
    child = family(art)
    art("cancel", "top", "--only")

    assert (status(art, "top"), status(art, child)) == ("cancelled", "waiting")


def test_what_lives_below_a_cancelled_run_can_still_be_cancelled(art: Any) -> None:
    child = family(art)
    art("cancel", "top", "--only")
    result = art("cancel", "top")

    assert "nothing to cancel" not in result.err
    assert status(art, child) == "cancelled"


@pytest.mark.parametrize("command, end", [("cancel", 5), ("pause", 4)])
def test_a_run_that_others_drive_is_asked(art: Any, tmp_path: Path, command: str, end: int) -> None:
    listener(art, "l1")
    with open_store(tmp_path / "store") as owner:
        log = owner.open("l1")
        result = art(command, "l1", "--json")
        assert (result.code, result.document["status"]) == (0, "waiting")
        assert f"asked to {command}: run l1" in result.err
        log.close()

    assert art("tick", "l1").code == end
    assert control_records(art, "l1")[-1]["action"] == command


def test_a_paused_run_takes_no_answer_until_it_goes_on(art: Any) -> None:
    listener(art, "l1")
    assert art("pause", "l1", "--reason", "freeze").out == "l1\tpaused\n"
    art("emit", "go", "--run", "l1")
    assert art("tick", "l1").code == 4
    assert control_records(art, "l1")[0]["reason"] == "freeze"

    going = art("unpause", "l1")
    assert (going.code, going.out) == (0, "l1\twaiting\n")
    assert art("tick", "l1").code == 0


def test_pause_covers_the_tree_and_leaves_questions_alone(art: Any) -> None:
    child = family(art)
    result = art("pause", "top")

    assert result.out.splitlines() == ["top\tpaused", f"{child}\twaiting"]
    assert f"run {child} asks a person" in result.err
    art("resume", child, "--input", "yes")
    assert status(art, "top") == "waiting"
    art("unpause", "top")
    assert art("tick", "top").document["said"] == "yes"


@pytest.mark.parametrize(
    "command, note", [("pause", "nothing to pause"), ("unpause", "is not paused")]
)
def test_nothing_to_do_is_no_error(parked: Any, command: str, note: str) -> None:
    parked("cancel", "demo")
    result = parked(command, "demo")

    assert result.code == 0
    assert note in result.err


@pytest.mark.parametrize("command", ["cancel", "pause", "unpause"])
def test_an_unknown_run_is_not_found(parked: Any, command: str) -> None:
    result = parked(command, "nope", "--json")

    assert (result.code, result.document["error"]["code"]) == (66, "not_found")


def test_control_needs_no_bundle(art: Any, tmp_path: Path) -> None:
    listener(art, "l1")
    for bundle in tmp_path.glob("store/bundles/*"):
        bundle.unlink()

    assert art("pause", "l1").code == art("unpause", "l1").code == art("cancel", "l1").code == 0
