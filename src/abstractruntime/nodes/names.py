"""Ids of workflows that belong to a node."""

from __future__ import annotations

import re

AGENT_PREFIX = "visual_react_agent"
_UNFIT = re.compile(r"[^A-Za-z0-9_-]+")


def node_workflow_id(prefix: str, flow_id: str, node_id: str) -> str:
    """Give `<prefix>_<flow>_<node>`; runs of unfit characters become one underscore.

    Ids that differ only in such characters collide, as they always have.
    """
    return f"{prefix}_{_fit(flow_id)}_{_fit(node_id)}"


def _fit(text: str) -> str:
    return _UNFIT.sub("_", text.strip()) or "unknown"
