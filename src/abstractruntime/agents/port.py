"""Where the workflows of agent nodes come from."""

from __future__ import annotations

from typing import Protocol

from abstractruntime._json import JsonObject
from abstractruntime.core.spec import WorkflowSpec


class AgentWorkflows(Protocol):
    """Makes the workflow that does the work of one agent node.

    Its run starts with `context {task, messages, attachments?}`, `scratchpad {iteration,
    max_iterations}`, `_runtime {inbox, provider, model, allowed_tools, system_prompt_extra?,
    temperature?, seed?}` and `_limits`, and ends with `{answer, report, iterations, messages,
    scratchpad}`; `success: false` with `error` says that there is no answer.
    """

    def __call__(self, flow_id: str, node_id: str, config: JsonObject) -> WorkflowSpec:
        """Give the workflow; it is registered under the id that the node runs.

        Args:
            config: The node's `agentConfig`.
        """
        ...
