"""What spans point at, read from the artifact store at most once each."""

from __future__ import annotations

from typing import Any, Protocol

from abstractruntime._json import JsonObject, mapping


class ArtifactReader(Protocol):
    """The part of an artifact store that memory reads; `get_metadata(id)` is used when present."""

    def load_json(self, artifact_id: str) -> Any: ...


class Archive:
    """Contents, tags and types of artifacts; whatever is absent or no JSON object reads as empty.

    One archive serves one request: it remembers what it read. Damaged content still raises
    the store's `IntegrityError`.
    """

    def __init__(self, store: ArtifactReader | None) -> None:
        self._store = store
        self._documents: dict[str, JsonObject] = {}
        self._metadata: dict[str, Any] = {}

    def document(self, artifact_id: str) -> JsonObject:
        """Give the content; the caller must not change it."""
        if artifact_id not in self._documents:
            self._documents[artifact_id] = self._read(artifact_id)
        return self._documents[artifact_id]

    def messages(self, artifact_id: str) -> list[JsonObject] | None:
        """Give the archived messages, or None when the artifact is no conversation."""
        messages = self.document(artifact_id).get("messages")
        if not isinstance(messages, list):
            return None
        return [m for m in messages if isinstance(m, dict)]

    def note(self, artifact_id: str) -> str:
        note = self.document(artifact_id).get("note")
        return note.strip() if isinstance(note, str) else ""

    def note_sources(self, artifact_id: str) -> list[str]:
        """Give the ids of the spans that a note was made from."""
        ids = mapping(self.document(artifact_id).get("sources")).get("span_ids")
        return [i for i in ids if isinstance(i, str)] if isinstance(ids, list) else []

    def tags(self, artifact_id: str) -> JsonObject:
        return mapping(getattr(self._facts(artifact_id), "tags", None))

    def content_type(self, artifact_id: str) -> str:
        return str(getattr(self._facts(artifact_id), "content_type", None) or "")

    def _read(self, artifact_id: str) -> JsonObject:
        if self._store is None or not artifact_id:
            return {}
        try:
            return mapping(self._store.load_json(artifact_id))
        except (ValueError, LookupError):
            # An id of another form, an unknown one, or content that is not JSON.
            return {}

    def _facts(self, artifact_id: str) -> Any:
        if artifact_id not in self._metadata:
            self._metadata[artifact_id] = self._read_facts(artifact_id)
        return self._metadata[artifact_id]

    def _read_facts(self, artifact_id: str) -> Any:
        read = getattr(self._store, "get_metadata", None)
        if read is None or not artifact_id:
            return None
        try:
            return read(artifact_id)
        except (ValueError, LookupError):
            return None
