"""Ids of workflows that belong to a node."""

from __future__ import annotations

import re

from abstractruntime._json import JsonObject

AGENT_PREFIX = "visual_react_agent"
_UNFIT = re.compile(r"[^A-Za-z0-9_-]+")


def node_workflow_id(prefix: str, flow_id: str, node_id: str) -> str:
    """Give `<prefix>_<flow>_<node>`; runs of unfit characters become one underscore.

    Ids that differ only in such characters collide, as they always have.
    """
    return f"{prefix}_{_fit(flow_id)}_{_fit(node_id)}"


def _fit(text: str) -> str:
    return _UNFIT.sub("_", text.strip()) or "unknown"


def agent_workflow_id(flow_id: str, node_id: str, config: JsonObject) -> str:
    """Give the id of the workflow that does the work of an agent node."""
    named = config.get("_react_workflow_id")
    if isinstance(named, str) and named.strip():
        return named.strip()
    return node_workflow_id(AGENT_PREFIX, flow_id, node_id)
