"""Actor ids are hashes of descriptions."""

from __future__ import annotations

import pytest

from abstractruntime.identity import ActorFingerprint


@pytest.mark.parametrize(
    ("description", "actor_id"),
    [
        ({"kind": "agent", "display_name": "test-agent"}, "ar_b4a2bf0b7b6a03bcf15ed837"),
        ({"kind": "human"}, "ar_50e704cfaa2db8d9660c4968"),
        ({"kind": "human", "metadata": {}}, "ar_50e704cfaa2db8d9660c4968"),
        (
            {"kind": "service", "display_name": "é", "metadata": {"b": 1, "a": "x"}},
            "ar_232a54b2ff134c3e0da42c78",
        ),
    ],
    ids=["agent", "human", "empty-metadata", "service"],
)
def test_vectors(description, actor_id):
    assert ActorFingerprint.from_metadata(**description).actor_id == actor_id


def test_json_form():
    actor = ActorFingerprint.from_metadata(kind="human", metadata={"a": 1})

    assert actor.to_dict() == {
        "actor_id": actor.actor_id,
        "kind": "human",
        "display_name": None,
        "metadata": {"a": 1},
    }
