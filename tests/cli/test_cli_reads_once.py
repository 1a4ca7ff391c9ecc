"""How often a command looks at its runs, and how often it rebuilds one from its files."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cli_flows import ASKS, family

from abstractruntime.storage._store.engine import DirectoryEngine
from abstractruntime.storage._store.recovery import Recovery


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Peeks, and recoveries: loads that found nothing kept of an earlier look."""
    counts: Counter[str] = Counter()

    def counting(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(self: Any, run_id: str, *args: Any, **options: Any) -> Any:
            found = function(self, run_id, *args, **options)
            counts[name] += found is not None
            return found

        return call

    for owner, method, name in (
        (DirectoryEngine, "peek", "peeks"),
        (Recovery, "load", "loads"),
        (Recovery, "_take_kept", "kept"),
    ):
        monkeypatch.setattr(owner, method, counting(name, getattr(owner, method)))
    return counts


@pytest.mark.parametrize(
    ("command", "peeks", "recoveries"),
    [
        # A look before something is done, one after it, and one for what is said in the end.
        pytest.param("run asks.json --run-id new", 3, 0, id="run"),
        pytest.param("resume one --input yes", 5, 1, id="resume"),
        pytest.param("tick one", 3, 1, id="tick"),
        pytest.param("inspect one", 1, 1, id="inspect"),
        pytest.param("show one", 1, 1, id="show"),
        pytest.param("graph one", 1, 1, id="graph"),
        pytest.param("ledger verify one", 0, 0, id="ledger verify"),
        # Each listed run is read, as it may be damaged, and the child that one of them waits for.
        pytest.param("runs", 3, 3, id="runs"),
        # A child is read beside its parent, and each of them once.
        pytest.param("inspect top", 2, 2, id="inspect a family"),
        # What the child came to is read again when the parent takes it: a command is not believed.
        pytest.param("resume top --input yes", 13, 2, id="resume a family"),
    ],
)
def test_a_command_looks_no_oftener_than_it_must(
    art: Any, counts: Counter[str], command: str, peeks: int, recoveries: int
) -> None:
    Path("asks.json").write_text(json.dumps(ASKS))
    assert art("run", "asks.json", "--run-id", "one").code == 4
    family(art)
    counts.clear()

    assert art(*command.split()).code in {0, 4}

    assert (counts["peeks"], counts["loads"] - counts["kept"]) == (peeks, recoveries)
