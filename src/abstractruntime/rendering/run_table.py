"""A list of runs for a terminal: short ids, ages, and what each waits for or failed of.

Rules:
1. Every line fits the width. What is cut is cut at its end, and marked.
2. What a ledger holds begins no line, and moves no cursor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from abstractruntime.core.models import moment_or_none
from abstractruntime.rendering.terminal import Palette, cell_width, fit, harmless, pad
from abstractruntime.rendering.words import paint_word

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from abstractruntime._json import JsonObject

_SHORT: Final = 8
_ABOUT: Final = 32
_LEAST: Final[Mapping[str, int]] = {"flow": 10, "run": 14}
_GAP: Final = "  "
_UNITS: Final = ((604_800, "w"), (86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def render_runs(
    rows: Sequence[JsonObject], *, now: datetime, width: int, palette: Palette
) -> Iterator[str]:
    """Give a table of `art-runs/1` entries as lines, the heading first; nothing for no entries."""
    if not rows:
        return
    names = short_ids([row["run_id"] for row in rows])
    columns = {
        "run": [harmless(names[row["run_id"]]) for row in rows],
        "outcome": [row["outcome"] for row in rows],
        "changed": [_age(row["updated_at"], now) for row in rows],
        "flow": [harmless(row["workflow_id"] or "") for row in rows],
    }
    widths = {name: max(map(cell_width, (name, *cells))) for name, cells in columns.items()}
    room = width - sum(widths.values()) - len(_GAP) * len(widths)
    for name, least in _LEAST.items():
        # What a run is about says more than the rest of a long name.
        given = max(0, min(widths[name] - least, _ABOUT - room))
        widths[name], room = widths[name] - given, room + given
    heading = _GAP.join([*(pad(name.upper(), widths[name]) for name in widths), "ABOUT"])
    yield palette.paint(heading, "dim")
    for at, row in enumerate(rows):
        cells = {name: pad(found[at], widths[name]) for name, found in columns.items()}
        cells["outcome"] = paint_word(cells["outcome"], palette, row["outcome"])
        cells["changed"] = palette.paint(cells["changed"], "dim")
        about = fit(harmless(_about(row, now)), max(room, 10))
        yield _GAP.join([*cells.values(), about]).rstrip()


def short_ids(ids: Sequence[str]) -> dict[str, str]:
    """Give for each id the shortest beginning, of 8 characters or more, that is no other's here.

    Ids that somebody chose, which are no UUIDs, stay as they are.
    """
    found = {}
    ordered = sorted(ids)
    for before, run_id, after in zip(["", *ordered], ordered, [*ordered[1:], ""], strict=False):
        shared = max(_shared(run_id, before), _shared(run_id, after))
        is_random = len(run_id) == 36 and run_id.count("-") == 4
        found[run_id] = run_id[: max(_SHORT, shared + 1)] if is_random else run_id
    return found


def _shared(one: str, other: str) -> int:
    pairs = zip(one, other, strict=False)
    return next((at for at, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def _age(moment: str | None, now: datetime) -> str:
    then = moment_or_none(moment)
    if then is None:
        return ""
    return f"{_largest_unit(max(0.0, (now - then).total_seconds()))} ago"


def _largest_unit(seconds: float) -> str:
    size, unit = next((pair for pair in _UNITS if seconds >= pair[0]), _UNITS[-1])
    return f"{int(seconds // size)} {unit}"


def _about(row: JsonObject, now: datetime) -> str:
    labels = " ".join(f"{key}={value}" for key, value in row["labels"].items())
    return "  ".join(part for part in (_reason(row, now), labels and f"[{labels}]") if part)


def _reason(row: JsonObject, now: datetime) -> str:
    if row.get("error"):
        return str(row["error"]).partition("\n")[0]
    if row.get("question"):
        return f"? {row['question'].partition(chr(10))[0]}"
    if row["until"] and row["waiting_on"] == "until":
        then = moment_or_none(row["until"])
        if then is None:
            return ""
        left = (then - now).total_seconds()
        return f"in {_largest_unit(left)}" if left > 0 else "due: art tick --due"
    if row["waiting_on"] in ("event", "job"):
        return f"for {row['waiting_on']} {row['wait_key']}"
    return ""
