"""Listeners of a root run: children that hear events until the root has ended.

Rules:
1. The id of a listener derives from its root and its workflow: starting them again, after
   a death or by another process, starts none twice.
2. A listener is closed only while it waits for an event and its inbox holds none: whoever
   was told that an event arrived is right.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Final

from abstractruntime._runtime.runtime import Runtime
from abstractruntime.core.commands import Cancel, Command
from abstractruntime.core.derived_ids import listener_run_id
from abstractruntime.core.models import JsonObject, RunState, RunStatus, WaitReason
from abstractruntime.core.origin import RunOrigin
from abstractruntime.core.ports import RunQuery
from abstractruntime.core.spec import WorkflowSpec
from abstractruntime.errors import Busy, NotFound, UsageError

__all__ = ["Listeners", "start_with_listeners"]

_MOST_STEPS: Final = 1000
_REASON: Final = "its root run has ended"


def start_with_listeners(
    runtime: Runtime,
    workflow: WorkflowSpec,
    *,
    listeners: Iterable[str],
    vars: JsonObject | None = None,  # noqa: A002 - the 0.4.x name
    actor_id: str | None = None,
    session_id: str | None = None,
    run_id: str | None = None,
    provenance: RunOrigin | JsonObject | None = None,
) -> str:
    """Start a root run and its listeners, and give the id of the root.

    Every listener waits for its event when this returns; of the root nothing is executed yet.
    Give the same listeners to the `Driver`, which closes them when the root has ended.

    Args:
        listeners: Ids of registered workflows, such as `listener_documents` derives.

    Raises:
        NotFound: the registry does not know a listener; nothing was started.
    """
    family = Listeners(runtime, listeners)
    family.require_known()
    root = runtime.start(
        workflow=workflow,
        vars=vars,
        actor_id=actor_id,
        session_id=session_id,
        run_id=run_id,
        provenance=provenance,
    )
    family.start(root)
    return root


class Listeners:
    """The listeners that root runs of one flow have.

    Args:
        runtime: Its registry knows their workflows.
        workflow_ids: In the order in which they are started.
        keep: Whether they live on when the root has ended.
    """

    def __init__(
        self, runtime: Runtime, workflow_ids: Iterable[str], *, keep: bool = False
    ) -> None:
        self._runtime = runtime
        self._workflow_ids = tuple(workflow_ids)
        self._keep = keep

    def require_known(self) -> None:
        """Refuse to begin with a listener that nobody could run.

        Raises:
            NotFound: the registry does not know its workflow.
        """
        for workflow_id in self._workflow_ids:
            self._workflow(workflow_id)

    def start(self, root_id: str) -> None:
        """Start the listeners that a live root does not have yet, and drive them to their wait."""
        if not self._workflow_ids:
            return
        root = self._runtime.engine.peek(root_id)
        if root.status.is_terminal or root.parent_run_id is not None:
            return
        for workflow_id in self._workflow_ids:
            self._start(root, workflow_id)

    def _start(self, root: RunState, workflow_id: str) -> None:
        run_id = listener_run_id(root.run_id, workflow_id)
        workflow = self._workflow(workflow_id)
        with contextlib.suppress(Busy):  # whoever owns it brings it to its wait
            if self._exists(run_id) or not self._create(root, run_id, workflow):
                return
            self._runtime.advance(workflow=workflow, run_id=run_id, max_steps=_MOST_STEPS)

    def _create(self, root: RunState, run_id: str, workflow: WorkflowSpec) -> bool:
        """Create one listener; False when somebody else just did."""
        try:
            self._runtime.start(
                workflow=workflow,
                actor_id=root.actor_id,
                session_id=root.session_id,
                parent_run_id=root.run_id,
                run_id=run_id,
            )
        except UsageError:
            if not self._exists(run_id):
                raise
            return False
        return True

    def _exists(self, run_id: str) -> bool:
        try:
            self._runtime.engine.peek(run_id)
        except NotFound:
            return False
        return True

    def close(self, root_id: str) -> bool:
        """Cancel the listeners of an ended root that have nothing to do; True when one goes on."""
        if self._keep:
            return False
        going_on = [self._close(run_id) for run_id in self._waiting(root_id)]
        return any(going_on)

    def _waiting(self, root_id: str) -> list[str]:
        if not self._workflow_ids:
            return []
        query = RunQuery(
            status=RunStatus.WAITING,
            wait_reason=WaitReason.EVENT,
            parent_run_id=root_id,
            limit=0,
        )
        found = self._runtime.engine.find(query)
        known = [run.run_id for run in found if run.workflow_id in self._workflow_ids]
        # A listing is only a cache; what is closed must be a listener of this root by its own word.
        runs = [self._runtime.engine.peek(run_id) for run_id in known]
        return [run.run_id for run in runs if run.parent_run_id == root_id]

    def _close(self, run_id: str) -> bool:
        # By command: events that were posted before are heard first, and then it is refused.
        request = Cancel(_REASON, if_listening=True)
        state = self._runtime.post(run_id, Command(self._runtime.ids.command_id(), request))
        return state.status is RunStatus.RUNNING

    def _workflow(self, workflow_id: str) -> WorkflowSpec:
        spec = self._runtime.find_workflow(workflow_id)
        if spec is None:
            raise NotFound(
                f"listener {workflow_id!r} is not registered",
                hint="register the workflows that compile_visualflow_tree gives",
                kind="workflow",
                id=workflow_id,
            )
        return spec
