"""Ids that derive from names: stores hold them, so they stay what they are."""

from __future__ import annotations

import pytest

from abstractruntime.core.derived_ids import child_run_id, delivery_id, item_id, listener_run_id


@pytest.mark.parametrize(
    "made, expected",
    [
        (child_run_id("r", "o"), "49d562fa-e3bd-5606-bda5-e6832420a37c"),
        (child_run_id("r", "o", 2), "d22e85be-d65b-5d68-84e2-e9db539f48ef"),
        (listener_run_id("r", "w"), "b080ca54-dff8-5643-8e85-a70de9667eac"),
        (delivery_id("r", "o"), "event:bebd3bd4-9fcc-5370-938d-5e6e630f99a5"),
        (item_id("o", 7), "85198aae91a6595bd91ae978851f6d61"),
    ],
)
def test_an_id_is_the_one_that_stores_hold(made, expected):
    assert made == expected
