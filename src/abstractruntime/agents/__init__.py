"""Agents: the workflows behind agent nodes, and how a host brings its own."""

from __future__ import annotations

from abstractruntime.agents.port import AgentWorkflows
from abstractruntime.agents.react import react_agent
from abstractruntime.agents.stub import stub_agent

__all__ = ["AgentWorkflows", "react_agent", "stub_agent"]
