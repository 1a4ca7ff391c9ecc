"""How near the runs of a tree are to their limits."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from abstractruntime.core.limits import NEAR_PCT, LimitUse, limit_uses, reached_limit, run_limits
from abstractruntime.core.models import JsonObject
from abstractruntime.core.run_tree import RunTree

__all__ = ["limits_of_tree", "nearest_uses", "tree_uses"]


def tree_uses(
    tree: RunTree, ledger_bytes: Callable[[str], int | None]
) -> Iterator[tuple[str, LimitUse]]:
    """Give what each live run of a tree uses of each of its limits, parents before children.

    The tree is what is below the run that it is seen from, which is the whole when that is the
    root.

    Args:
        tree: Has the runs.
        ledger_bytes: Gives the size of the ledger of a run, if that is known.
    """
    depths: dict[str, int] = {}
    states = tree.states()
    for run in states:
        depths[run.run_id] = depths.get(run.parent_run_id or "", -1) + 1
        if run_limits(run.vars) and not run.status.is_terminal:
            used = {
                "ledger_bytes": ledger_bytes(run.run_id),
                "depth": depths[run.run_id],
                "runs": len(states),
            }
            yield from ((run.run_id, use) for use in limit_uses(run, used))


def nearest_uses(tree: RunTree, ledger_bytes: Callable[[str], int | None]) -> list[JsonObject]:
    """Give each limit of a tree with the run that is nearest to it, `{run_id, limit, used, max, rests}`.

    Every run that rests at a limit is among them; `rests` is true for the limit at which it does.
    """
    resting = {run.run_id: str((reached_limit(run.vars) or {})["limit"]) for run in tree.limited()}
    nearest: dict[str, JsonObject] = {}
    rows: list[JsonObject] = []
    for run_id, use in tree_uses(tree, ledger_bytes):
        row = {"run_id": run_id, **use.to_dict(), "rests": resting.get(run_id) == use.limit}
        best = nearest.get(use.limit)
        if row["rests"]:
            rows.append(row)
        if best is None or best["used"] * use.maximum < use.used * best["max"]:
            nearest[use.limit] = row
    named = {row["limit"] for row in rows}
    return rows + [row for limit, row in nearest.items() if limit not in named]


def limits_of_tree(tree: RunTree, ledger_bytes: Callable[[str], int | None]) -> list[JsonObject]:
    """Give what of the limits of a tree is nearly or all used; see `nearest_uses`."""
    rows = nearest_uses(tree, ledger_bytes)
    return [row for row in rows if row["rests"] or 100 * row["used"] >= NEAR_PCT * row["max"]]
