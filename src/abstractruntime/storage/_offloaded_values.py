"""Replacing large parts of a value by references to artifacts, and putting them back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from abstractruntime._json import JsonObject, dump_line
from abstractruntime.errors import AbstractRuntimeError, IntegrityError, InvalidValue
from abstractruntime.storage._sizes import (
    container_size,
    is_surely_below,
    key_size,
    scalar_size,
    text_size,
)
from abstractruntime.storage.artifacts import (
    Artifact,
    ArtifactStore,
    describe_artifact,
    is_artifact_id,
    is_artifact_ref,
    is_described_ref,
    resolve_artifact,
)

RUN_SOURCE: Final = "run_store_offload"
OUTPUT_SOURCE: Final = "run_output_offload"
EFFECT_SOURCE: Final = "ledger_effect_offload"
RESULT_SOURCE: Final = "ledger_result_offload"
_SOURCES: Final = frozenset({RUN_SOURCE, OUTPUT_SOURCE, EFFECT_SOURCE, RESULT_SOURCE})

_REF_LIMIT_BYTES: Final = 4096

# What an artifact store, a predicate or a value can reasonably fail with.
FAILURES = (AbstractRuntimeError, OSError, ValueError, TypeError, LookupError, RuntimeError)

AllowOffload: TypeAlias = Callable[[str, Any], bool]


def offload_large_values(
    value: Any,
    *,
    artifact_store: ArtifactStore,
    run_id: str,
    max_inline_bytes: int,
    base_tags: Mapping[str, str] | None = None,
    root_path: str = "",
    allow_offload: AllowOffload | None = None,
    allow_root_replace: bool = False,
) -> Any:
    """Give `value` with its large parts replaced by references to artifacts.

    The same object comes back when nothing had to change. Text and containers are large
    above `max_inline_bytes`, measured as UTF-8 and as compact JSON; bytes always are.
    Tuples, sets and other objects are left alone.

    Args:
        value: What to look through.
        artifact_store: Where large parts go.
        run_id: The run that owns them.
        max_inline_bytes: The limit; 0 or less leaves everything as it is.
        base_tags: Tags of every artifact, besides `path` and `kind`.
        root_path: What paths start with.
        allow_offload: Asked with path and value before text or a container is replaced;
            an error counts as no.
        allow_root_replace: Whether `value` itself may become a reference.

    Raises:
        ValueError: `value` contains itself, or is nested too deep.
    """
    if max_inline_bytes <= 0 or is_surely_below(value, max_inline_bytes):
        return value
    tags = base_tags or {}
    walk = _Walk(artifact_store, run_id, max_inline_bytes, tags, [root_path], allow_offload)
    try:
        return walk.visit(value, is_root=not allow_root_replace)[0]
    except RecursionError:
        raise InvalidValue(f"value at {root_path or '/'!r} is nested too deep") from None


@dataclass(slots=True)
class _Walk:
    """One pass over a value; every part is measured once."""

    store: ArtifactStore
    run_id: str
    limit: int
    tags: Mapping[str, str]
    trail: list[str]
    allow: AllowOffload | None
    open: set[int] = field(default_factory=set)

    def visit(self, value: Any, *, is_root: bool = False) -> tuple[Any, int | None]:
        """Give the replacement of a value and its length as JSON; None when it is not JSON."""
        if isinstance(value, bytes | bytearray):
            return self._reference(bytes(value), "application/octet-stream", "bytes")
        if isinstance(value, str):
            if not is_root and text_size(value) > self.limit and self._is_allowed(value):
                return self._text_reference(value)
            return value, scalar_size(value)
        if not isinstance(value, dict | list):
            return value, scalar_size(value)
        if isinstance(value, dict) and _is_small_ref(value):
            return value, _ref_size(value)
        return self._container(value, is_root=is_root)

    def _container(
        self, value: dict[Any, Any] | list[Any], *, is_root: bool
    ) -> tuple[Any, int | None]:
        if id(value) in self.open:
            raise InvalidValue(f"value at {self._path!r} contains itself", path=self._path)
        self.open.add(id(value))
        is_dict = isinstance(value, dict)
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        news, sizes, same = [], [], True
        for key, item in pairs:
            self.trail.append(f".{key}" if is_dict else f"[{key}]")
            new, size = self.visit(item)
            self.trail.pop()
            same = same and new is item
            news.append((key, new))
            sizes.append(_item_size(key, size) if is_dict else size)
        self.open.discard(id(value))
        return self._finished(
            value if same else _rebuilt(news, is_dict=is_dict),
            container_size(sizes),
            is_root=is_root,
        )

    def _finished(self, new: Any, size: int | None, *, is_root: bool) -> tuple[Any, int | None]:
        if is_root or size is None or size <= self.limit or not self._is_allowed(new):
            return new, size
        return self._reference(dump_line(new), "application/json", "json")

    @property
    def _path(self) -> str:
        path = "".join(self.trail)
        return path if self.trail[0] else path.removeprefix(".")

    def _is_allowed(self, value: Any) -> bool:
        if self.allow is None:
            return True
        try:
            return bool(self.allow(self._path, value))
        except FAILURES:
            return False

    def _text_reference(self, text: str) -> tuple[Any, int | None]:
        try:
            data = text.encode()
        except UnicodeEncodeError:
            return text, None
        return self._reference(data, "text/plain", "text")

    def _reference(self, content: bytes, kind: str, name: str) -> tuple[Any, int | None]:
        metadata = self.store.store(
            content,
            content_type=kind,
            run_id=self.run_id,
            tags={**self.tags, "path": self._path, "kind": name},
        )
        ref = describe_artifact(metadata, content)
        return ref, _ref_size(ref)


def _item_size(key: Any, size: int | None) -> int | None:
    own = key_size(key)
    return None if own is None or size is None else own + 1 + size


def _rebuilt(pairs: list[tuple[Any, Any]], *, is_dict: bool) -> Any:
    return {str(key): item for key, item in pairs} if is_dict else [item for _, item in pairs]


def _is_small_ref(value: Any) -> bool:
    """Tell a reference from user data that has a `$artifact` key and hides something large."""
    return is_artifact_ref(value) and is_surely_below(value, _REF_LIMIT_BYTES)


def _ref_size(ref: JsonObject) -> int | None:
    """Give what a reference counts towards its parent: as a bare one, whatever it describes.

    Compat: with small limits 0.4.x then replaces the same parts.
    """
    return scalar_size({"$artifact": ref["$artifact"]} if is_described_ref(ref) else ref)


def restore_offloaded(value: Any, artifact_store: ArtifactStore, *, run_id: str) -> Any:
    """Give `value` with what offloading replaced put back; other references stay.

    Args:
        value: A stored effect, result or output.
        artifact_store: Where the large parts are.
        run_id: The run they must belong to.

    Raises:
        IntegrityError: a part is missing, was changed, or belongs to another run.
    """
    if isinstance(value, list):
        items = [restore_offloaded(item, artifact_store, run_id=run_id) for item in value]
        return value if all(a is b for a, b in zip(items, value, strict=True)) else items
    if not isinstance(value, dict):
        return value
    if is_artifact_ref(value):
        return _restored(value, artifact_store, run_id)
    fields = {
        key: restore_offloaded(item, artifact_store, run_id=run_id) for key, item in value.items()
    }
    return value if all(fields[key] is item for key, item in value.items()) else fields


def _restored(ref: JsonObject, store: ArtifactStore, run_id: str) -> Any:
    if is_described_ref(ref):
        # A reference that names another run came with the data, such as a child's output.
        artifact = _own_artifact(ref, store) if ref["run_id"] == run_id else None
    else:
        artifact = _marked_artifact(ref["$artifact"], store)
    if artifact is None:
        return ref
    if artifact.content_type == "application/octet-stream":
        return artifact.content
    if artifact.content_type != "application/json":
        return artifact.as_text()
    return restore_offloaded(artifact.as_json(), store, run_id=run_id)


def _own_artifact(ref: JsonObject, store: ArtifactStore) -> Artifact:
    artifact = resolve_artifact(ref, store)
    if artifact is None:
        raise IntegrityError(
            f"artifact {ref['$artifact']!r} of run {ref['run_id']!r} is missing",
            hint="restore the artifacts directory from a backup",
            artifact_id=ref["$artifact"],
        )
    return artifact


def _marked_artifact(artifact_id: Any, store: ArtifactStore) -> Artifact | None:
    """Give what a bare reference names, if the tags say that offloading made it.

    Compat: 0.4.x wrote bare references, which look like those of a flow.
    """
    if not isinstance(artifact_id, str) or not is_artifact_id(artifact_id):
        return None
    metadata = store.get_metadata(artifact_id)
    is_offloaded = metadata is not None and metadata.tags.get("source") in _SOURCES
    return store.load(artifact_id) if is_offloaded else None
