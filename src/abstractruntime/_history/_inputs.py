"""Moving large input values out of a bundle, into an artifact store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from abstractruntime._json import dump_line

if TYPE_CHECKING:
    from abstractruntime._json import JsonObject, JsonValue

MAX_INLINE_BYTES: Final = 262_144


def move_large_values(data: JsonObject, *, artifact_store: Any, run_id: str) -> JsonObject:
    """Give `data` with every value above 262144 bytes replaced by `{"$artifact": id}`.

    Parts go before the whole, so a container moves only if it is still too large
    without them; `data` itself stays. References that are already there are kept.
    """
    mover = _Mover(artifact_store, run_id)
    return {key: mover.move(value, key) for key, value in data.items()}


class _Mover:
    def __init__(self, artifact_store: Any, run_id: str) -> None:
        self._store = artifact_store
        self._run_id = run_id

    def move(self, value: JsonValue, path: str) -> JsonValue:
        if isinstance(value, str):
            return self._text(value, path)
        if isinstance(value, dict) and "$artifact" not in value:
            value = {key: self.move(item, f"{path}.{key}") for key, item in value.items()}
        elif isinstance(value, list):
            value = [self.move(item, f"{path}[{i}]") for i, item in enumerate(value)]
        else:
            return value
        if len(dump_line(value)) <= MAX_INLINE_BYTES:
            return value
        tags = self._tags(path, "json")
        return _reference(self._store.store_json(value, run_id=self._run_id, tags=tags))

    def _text(self, text: str, path: str) -> JsonValue:
        if len(text.encode()) <= MAX_INLINE_BYTES:
            return text
        tags = self._tags(path, "text")
        return _reference(self._store.store_text(text, run_id=self._run_id, tags=tags))

    def _tags(self, path: str, kind: str) -> dict[str, str]:
        return {"source": "history_bundle", "path": path, "kind": kind}


def _reference(stored: Any) -> JsonObject:
    return {"$artifact": stored.artifact_id}
