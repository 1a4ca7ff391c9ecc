"""Recall levels: reading them, their bounds, and the account of cuts."""

from __future__ import annotations

from dataclasses import astuple

import pytest

from abstractruntime.memory.recall_levels import (
    RecallBudget,
    RecallLevel,
    parse_recall_level,
    policy_for,
)


@pytest.mark.parametrize(
    ("raw", "level"),
    [
        (None, None),
        ("  ", None),
        (" Deep ", RecallLevel.DEEP),
        ("URGENT", RecallLevel.URGENT),
        (RecallLevel.STANDARD, RecallLevel.STANDARD),
    ],
)
def test_parsing(raw, level):
    assert parse_recall_level(raw) is level


@pytest.mark.parametrize("raw", ["zzz", True, False, 3, ["deep"]], ids=str)
def test_parsing_refuses(raw):
    with pytest.raises(ValueError, match="Unknown recall_level"):
        parse_recall_level(raw)


@pytest.mark.parametrize(
    ("level", "span", "rehydrate", "kg"),
    [
        ("urgent", (2, 3, False, 0, 0, False, 0, 30, 60), (30, 60), (0.55, 0.5, 20, 40, 600, 1000)),
        ("standard", (5, 8, True, 25, 200, True, 1, 80, 150), (80, 200), (0.4, 0.25, 80, 200, 1200, 3000)),
        ("deep", (8, 20, True, 100, 400, True, 2, 200, 600), (200, 800), (0.25, 0.0, 200, 1000, 2400, 6000)),
    ],
)  # fmt: skip
def test_bounds(level, span, rehydrate, kg):
    policy = policy_for(RecallLevel(level))

    assert policy.level == level
    assert (astuple(policy.span), astuple(policy.rehydrate), astuple(policy.kg)) == (
        span,
        rehydrate,
        kg,
    )


@pytest.mark.parametrize(
    ("asked", "given", "warnings"),
    [
        (None, 5, []),
        (0, 0, []),
        (8, 8, []),
        (9, 8, ["recall_level=standard: limit_spans 9 -> 8"]),
        (-1, 8, ["recall_level=standard: limit_spans unlimited -> 8"]),
    ],
)
def test_upper_bounds(asked, given, warnings):
    budget = RecallBudget(RecallLevel.STANDARD)

    assert budget.at_most("limit_spans", asked, default=5, maximum=8) == given
    assert budget.warnings == warnings
    assert budget.effort() == {"recall_level": "standard", "applied": {"limit_spans": given}}


@pytest.mark.parametrize(
    ("asked", "given", "warned"),
    [(None, 0.4, 0), (0.0, 0.25, 1), (0.3, 0.3, 0), (float("nan"), 0.4, 0)],
)
def test_lower_bounds(asked, given, warned):
    budget = RecallBudget(RecallLevel.STANDARD)

    assert budget.at_least("min_score", asked, default=0.4, floor=0.25) == given
    assert len(budget.warnings) == warned


@pytest.mark.parametrize(
    ("asked", "allowed", "warned"), [(True, True, 0), (True, False, 1), (False, False, 0)]
)
def test_permissions(asked, allowed, warned):
    budget = RecallBudget(RecallLevel.URGENT)

    assert budget.allow("deep", asked=asked, allowed=allowed) is (asked and allowed)
    assert len(budget.warnings) == warned
