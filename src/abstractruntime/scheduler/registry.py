"""The workflows that a runtime can start, by id."""

from __future__ import annotations

from abstractruntime.core.spec import WorkflowSpec


class WorkflowRegistry:
    def __init__(self) -> None:
        self._specs: dict[str, WorkflowSpec] = {}

    def register(self, workflow: WorkflowSpec) -> None:
        """Add a workflow.

        Raises:
            ValueError: its id is taken.
        """
        if workflow.workflow_id in self._specs:
            raise ValueError(f"Workflow {workflow.workflow_id!r} is already registered")
        self._specs[workflow.workflow_id] = workflow

    def unregister(self, workflow_id: str) -> None:
        if self._specs.pop(workflow_id, None) is None:
            raise KeyError(f"Workflow {workflow_id!r} is not registered")

    def get(self, workflow_id: str) -> WorkflowSpec | None:
        return self._specs.get(workflow_id)

    def get_or_raise(self, workflow_id: str) -> WorkflowSpec:
        spec = self._specs.get(workflow_id)
        if spec is None:
            raise KeyError(f"Workflow {workflow_id!r} is not registered")
        return spec

    def list_ids(self) -> list[str]:
        return list(self._specs)

    def __len__(self) -> int:
        return len(self._specs)

    def __contains__(self, workflow_id: object) -> bool:
        return workflow_id in self._specs
