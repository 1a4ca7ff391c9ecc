"""The documents of a compiled flow, as a bundle that is kept with its runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from abstractruntime._json import dump_line
from abstractruntime.core.spec import KeptBundle
from abstractruntime.errors import AbstractRuntimeError
from abstractruntime.visualflow_compiler.document import FlowDocument


@dataclass(frozen=True)
class KeptDocuments:
    """A flow, and documents among which those are that it runs; see `core.spec.WorkflowSource`."""

    entry: str
    documents: Mapping[str, FlowDocument]

    def packed(self) -> KeptBundle | None:
        return self._packed

    @cached_property
    def _packed(self) -> KeptBundle | None:
        # Only who starts a run in a store that keeps bundles needs the packer.
        from abstractruntime.workflow_bundle.own_work import pack_own  # noqa: PLC0415 - see above
        from abstractruntime.workflow_bundle.packer import (  # noqa: PLC0415 - see above
            FlowLibrary,
            collect_flows,
        )

        library = FlowLibrary({key: _written(found) for key, found in self.documents.items()})
        try:
            flows = collect_flows(library, [self.entry])
            data, bundle = pack_own(flows, [self.entry])
        except AbstractRuntimeError:
            # A host may know flows that nobody gave here; its runs need that host to go on.
            return None
        manifest = bundle.manifest
        return KeptBundle(
            f"{manifest.bundle_id}@{manifest.bundle_version}", bundle.digest or "", data
        )


def _written(document: FlowDocument) -> FlowDocument:
    """Give a document with the bytes that stand for it."""
    return document if document.data is not None else FlowDocument.read(dump_line(document.raw))
