"""From a bundle to workflows that can run, with what their nodes may use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from abstractruntime.agents import stub_agent
from abstractruntime.cli._bundles import entry_of, node_labels
from abstractruntime.cli._sandbox import code_home
from abstractruntime.nodes.registry import facts_of
from abstractruntime.scheduler.registry import WorkflowRegistry
from abstractruntime.visualflow_compiler import Services, compile_visualflow_tree
from abstractruntime.visualflow_compiler.listeners import listener_documents

if TYPE_CHECKING:
    from abstractruntime.core.spec import WorkflowSpec
    from abstractruntime.core.store import Artifacts
    from abstractruntime.workflow_bundle import WorkflowBundle
    from abstractruntime.workspace import Workspace


@dataclass(frozen=True)
class Program:
    """The workflows of one bundle, compiled, and the names of their nodes."""

    entry: str
    registry: WorkflowRegistry
    labels: Mapping[str, str]
    has_code: bool = False
    listeners: tuple[str, ...] = ()

    @property
    def workflow(self) -> WorkflowSpec:
        return self.registry.get_or_raise(self.entry)


def compile_program(bundle: WorkflowBundle, entry: str | None, *, services: Services) -> Program:
    """Compile the flow to start and every flow it runs.

    Raises:
        FlowError: a document does not compile.
        NotFound: the bundle has no such entry.
    """
    chosen = entry_of(bundle, entry)
    documents = bundle.documents
    services = replace(services, bundle=bundle.digest or services.bundle)
    registry = WorkflowRegistry()
    specs = compile_visualflow_tree(
        root_id=chosen, flows_by_id=documents, services=services, agents=stub_agent
    )
    for spec in specs.values():
        registry.register(spec)
    elements = [e for document in documents.values() for e in document.flow.elements]
    has_code = any(facts_of(e.type).runs_code for e in elements)
    listeners = tuple(found.workflow_id for found in listener_documents(documents[chosen]))
    return Program(chosen, registry, node_labels(documents.values()), has_code, listeners)


def code_services(
    *,
    trust_code: bool,
    sandbox: str,
    workspace: Workspace | None = None,
    artifacts: Artifacts | None = None,
) -> Services:
    """Give what nodes may use; code runs in a confined worker unless it is trusted.

    Args:
        trust_code: Run code in this process.
        sandbox: Where code runs otherwise.
        workspace: The files that nodes may touch.
        artifacts: What their values may refer to.

    Raises:
        Refused: this system does not have that home.
    """
    home = "in-process" if trust_code else sandbox
    return Services(workspace=workspace, artifacts=artifacts, code=code_home(home))
