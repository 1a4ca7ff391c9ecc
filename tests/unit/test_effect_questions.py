"""What a question says about the answers that it takes."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from abstractruntime.core.models import Effect, EffectType
from abstractruntime.effects.waits import ask_user


@pytest.mark.parametrize(
    ("choices", "allowed", "is_free"),
    [
        ([], False, True),
        (None, False, True),
        (["a"], False, False),
        (["a"], None, True),
        (["a"], True, True),
    ],
)
def test_it_says_what_counts(choices, allowed, is_free):
    ctx = SimpleNamespace(run=SimpleNamespace(run_id="r"), node_id="n", next_node="m")
    payload = {"prompt": "Well?", "choices": choices, "allow_free_text": allowed}
    outcome = ask_user(ctx, Effect(EffectType.ASK_USER, payload))

    assert outcome.wait.allow_free_text is is_free
