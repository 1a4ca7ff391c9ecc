"""Ids that derive from what they name: whoever repeats a step finds what the first try made.

Compat: stores hold ids of this making; another one would start children, and tell events, twice.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from typing import Final

_CHILDREN: Final = uuid.UUID("6f1d0a54-6a1e-5a57-9a5e-0c6b7e3d9f21")
_LISTENERS: Final = uuid.UUID("7f0c8a64-1a1b-5d0e-9a3c-5b7be6b0a1d2")
# A UUID of version 5; what is random has version 4.
_DELIVERY: Final = re.compile(
    r"event:[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}"
)
_EVENTS: Final = uuid.UUID("3a9a2c0e-6f7b-5a53-8a1e-2f5d0b8c7e44")


def child_run_id(parent_run_id: str, occurrence_id: str, attempt: int = 1) -> str:
    """Give the id of the child that an attempt of an effect starts."""
    name = f"{parent_run_id}:{occurrence_id}"
    return str(uuid.uuid5(_CHILDREN, name if attempt == 1 else f"{name}:{attempt}"))


def listener_run_id(root_run_id: str, workflow_id: str) -> str:
    """Give the id of a root's listener."""
    return str(uuid.uuid5(_LISTENERS, f"{root_run_id}:{workflow_id}"))


def delivery_id(run_id: str, occurrence_id: str) -> str:
    """Give the id under which an effect hands its event to each run that waits for it."""
    return f"event:{uuid.uuid5(_EVENTS, f'{run_id}:{occurrence_id}')}"


def is_delivery_id(text: str) -> bool:
    """Tell whether an id has the form of those that `delivery_id` gives; no other events' ids have it."""
    return _DELIVERY.fullmatch(text) is not None


def item_id(occurrence_id: str, name: object) -> str:
    """Give the id of one thing, such as a note or a message, that an effect makes."""
    return hashlib.sha256(f"{occurrence_id}:{name}".encode()).hexdigest()[:32]
