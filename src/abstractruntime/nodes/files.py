"""Files of the workspace, and artifacts.

Rules:
1. Every path is relative to the workspace and cannot leave it.
2. The run is committed before and after each of these steps. A crash in between repeats the
   step: a file is then written once more with the same content.
"""

from __future__ import annotations

import json
import mimetypes
from typing import TYPE_CHECKING, Protocol

from abstractruntime._json import JsonObject, JsonValue, why_unread
from abstractruntime.nodes._coerce import filled, text_of, whole_or
from abstractruntime.nodes.base import (
    Element,
    Example,
    FunctionNode,
    NodeError,
    Pin,
    Scope,
    register,
)
from abstractruntime.nodes.interaction import as_flag

if TYPE_CHECKING:
    from abstractruntime.core.store import Artifacts

_READ_BYTES = 16 * 2**20
_IMPORT_BYTES = 256 * 2**20
_LISTED = 1000
_ANY_BYTES = "application/octet-stream"
_HELLO_ID = "17006668178249981c831cfb063b0735"
_HELLO: JsonObject = {"$artifact": _HELLO_ID}


class _Loaded(Protocol):
    @property
    def content(self) -> bytes: ...
    @property
    def content_type(self) -> str: ...


class _FileNode(FunctionNode):
    family = "files"
    touches_files = True

    def takes_bus(self, element: Element) -> bool:
        return False

    def path(self, inputs: JsonObject, pin: str = "file_path") -> str:
        value = inputs.get(pin)
        text = "" if value is None else str(value).strip()
        if not text:
            raise NodeError(f"{self.type} requires a non-empty '{pin}' input.")
        return text


@register
class ReadFile(_FileNode):
    type = "read_file"
    needs = ("file_path",)
    capability = "file:read:*"
    doc = (
        "Reads a UTF-8 file of the workspace; the host must have granted reading. A `*.json` file must be JSON and is given as its value; of "
        "other files those that look like an object or a list are, and the rest is text."
    )
    inputs = (Pin("file_path", "workspace_file", doc="path, relative to the workspace"),)
    outputs = (Pin("content"), Pin("file_path", "string"))
    examples = (
        Example(
            {"file_path": "a.json"},
            output={"content": {"n": 1}, "file_path": "a.json"},
            around={"files": {"a.json": '{"n": 1}'}},
        ),
    )
    compat = (
        "Q38: confined to the workspace, which the host chooses, and reading needs the grant `file:read`; "
        "files above 16 MiB are refused. `file_path` is new."
    )

    def evaluate(self, element: Element, inputs: JsonObject, scope: Scope) -> JsonValue:
        path = self.path(inputs)
        data = scope.files.read(path, limit=_READ_BYTES)
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError as cause:
            raise NodeError(f"Cannot read '{path}' as UTF-8: {cause}") from cause
        return {"content": _content(path, text), "file_path": path}


def _content(path: str, text: str) -> JsonValue:
    is_json = path.lower().endswith(".json")
    # As everywhere JSON is read, a byte order mark is none of it.
    unmarked = text.removeprefix("\ufeff")
    if not is_json and unmarked.lstrip()[:1] not in ("{", "["):
        return text
    try:
        return json.loads(unmarked)
    except (ValueError, RecursionError) as cause:
        if is_json:
            raise NodeError(f"Invalid JSON in '{path}': {why_unread(cause)}") from cause
        return text


@register
class WriteFile(_FileNode):
    type = "write_file"
    needs = ("file_path",)
    capability = "file:write:*"
    doc = (
        "Writes a file of the workspace, with its folders; the file appears whole or not at all. Objects "
        "and lists are written as indented JSON. The content of a `*.json` file must be JSON, also when "
        "it is a text. The host must have granted writing."
    )
    inputs = (
        Pin("file_path", "string", doc="path, relative to the workspace", role="names"),
        Pin("content", doc="text, or a value to write as JSON"),
    )
    outputs = (Pin("bytes", "number"), Pin("file_path", "string", doc="the absolute path"))
    examples = (
        Example(
            {"file_path": "out/a.json", "content": {"n": 1}},
            output={"bytes": 13, "file_path": "/workspace/out/a.json"},
            after={"files": {"out/a.json": '{\n  "n": 1\n}\n'}},
        ),
    )
    compat = "Q38: confined to the workspace, and writing needs the grant `file:write`."

    def evaluate(self, element: Element, inputs: JsonObject, scope: Scope) -> JsonValue:
        path = self.path(inputs)
        data = _written(path, inputs.get("content")).encode("utf-8", "surrogatepass")
        return {"bytes": len(data), "file_path": scope.files.write(path, data)}


def _written(path: str, content: JsonValue) -> str:
    if path.lower().endswith(".json"):
        return _indented(_parsed(content) if isinstance(content, str) else content) + "\n"
    if isinstance(content, dict | list):
        return _indented(content)
    return text_of(content)


def _parsed(text: str) -> JsonValue:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as cause:
        raise NodeError(
            f"write_file JSON content must be valid JSON: {why_unread(cause)}"
        ) from cause


def _indented(value: JsonValue) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2)


@register
class ListFolderFiles(_FileNode):
    type = "list_folder_files"
    capability = "file:read:*"
    doc = (
        "Lists the files of a folder of the workspace whose names match a pattern, sorted by path. Links "
        "are passed over."
    )
    inputs = (
        Pin(
            "folder_path",
            "string",
            default=".",
            doc="folder, relative to the workspace",
            role="names",
        ),
        Pin(
            "pattern",
            "string",
            default="*",
            doc="`*` and `?` stand for any characters",
            role="names",
        ),
        Pin("recursive", "boolean", default=False, doc="also the folders below"),
        Pin("limit", "number", default=_LISTED, doc="how many files at most"),
    )
    outputs = (
        Pin("files", "array", doc="paths, relative to the workspace"),
        Pin("count", "number"),
        Pin("truncated", "boolean", doc="true when there are more"),
    )
    examples = (
        Example(
            {"pattern": "*.md", "limit": 1},
            output={"files": ["a.md"], "count": 1, "truncated": True},
            around={"files": {"a.md": "A", "b.md": "B", "c.txt": "C"}},
        ),
    )
    compat = "Unknown to 0.4.2."

    def evaluate(self, element: Element, inputs: JsonObject, scope: Scope) -> JsonValue:
        listing = scope.files.list_files(
            filled(inputs.get("folder_path")) or ".",
            pattern=filled(inputs.get("pattern")) or "*",
            recursive=as_flag(inputs.get("recursive")),
            limit=max(0, whole_or(inputs.get("limit"), _LISTED) or 0),
        )
        files = list(listing.paths)
        return {"files": files, "count": len(files), "truncated": listing.truncated}


# --- artifacts -------------------------------------------------------------------------


@register
class ImportWorkspaceFile(_FileNode):
    type = "import_workspace_file"
    needs = ("file_path",)
    capability = "file:read:*"
    doc = (
        "Keeps the content of a workspace file as an artifact, which later steps and runs can read even "
        "when the file is changed or gone."
    )
    inputs = (Pin("file_path", "workspace_file", doc="path, relative to the workspace"),)
    outputs = (
        Pin("artifact", "artifact", doc="a reference: `{$artifact: id}`"),
        Pin("artifact_id", "string"),
        Pin("content_type", "string"),
        Pin("bytes", "number"),
    )
    examples = (
        Example(
            {"file_path": "a.txt"},
            output={
                "artifact": _HELLO,
                "artifact_id": _HELLO_ID,
                "content_type": "text/plain",
                "bytes": 5,
            },
            around={"files": {"a.txt": "hello"}},
        ),
    )
    compat = "Unknown to 0.4.2."

    def evaluate(self, element: Element, inputs: JsonObject, scope: Scope) -> JsonValue:
        path = self.path(inputs)
        store = _store(scope, self.type)
        data = scope.files.read(path, limit=_IMPORT_BYTES)
        kind = mimetypes.guess_type(path)[0] or _ANY_BYTES
        kept = store.store(
            data, content_type=kind, run_id=scope.run_id, tags={"kind": "file", "path": path}
        )
        return {
            "artifact": {"$artifact": kept.artifact_id},
            "artifact_id": kept.artifact_id,
            "content_type": kind,
            "bytes": len(data),
        }


@register
class ExportArtifact(_FileNode):
    type = "export_artifact"
    needs = ("artifact", "file_path")
    capability = "file:write:*"
    doc = "Writes the content of an artifact to a file of the workspace. The host must have granted writing."
    inputs = (
        Pin("artifact", "artifact", aliases=("artifact_id",), doc="a reference, or an id"),
        Pin("file_path", "string", doc="path, relative to the workspace", role="names"),
    )
    outputs = (Pin("file_path", "string", doc="the absolute path"), Pin("bytes", "number"))
    examples = (
        Example(
            {"artifact": _HELLO, "file_path": "b.txt"},
            output={"file_path": "/workspace/b.txt", "bytes": 5},
            around={"artifacts": ["hello"]},
            after={"files": {"b.txt": "hello"}},
        ),
    )
    compat = "Unknown to 0.4.2."

    def evaluate(self, element: Element, inputs: JsonObject, scope: Scope) -> JsonValue:
        path = self.path(inputs)
        content = _loaded(scope, self.type, inputs).content
        return {"file_path": scope.files.write(path, content), "bytes": len(content)}


@register
class ReadArtifact(_FileNode):
    type = "read_artifact"
    needs = ("artifact",)
    doc = (
        "Gives the content of an artifact: the value of JSON, or text. One that is neither must be exported "
        "to a file instead."
    )
    inputs = (Pin("artifact", "artifact", aliases=("artifact_id",), doc="a reference, or an id"),)
    outputs = (Pin("content"), Pin("content_type", "string"), Pin("bytes", "number"))
    examples = (
        Example(
            {"artifact": _HELLO},
            output={"content": "hello", "content_type": "text/plain", "bytes": 5},
            around={"artifacts": ["hello"]},
        ),
    )
    compat = "Unknown to 0.4.2."

    def evaluate(self, element: Element, inputs: JsonObject, scope: Scope) -> JsonValue:
        found = _loaded(scope, self.type, inputs)
        if len(found.content) > _READ_BYTES:
            raise NodeError(f"artifact is longer than {_READ_BYTES} bytes; use export_artifact")
        try:
            text = found.content.decode("utf-8")
            value = json.loads(text) if found.content_type == "application/json" else text
        except (ValueError, RecursionError) as cause:
            raise NodeError(
                f"artifact is not {found.content_type or 'text'}: {cause}; use export_artifact"
            ) from cause
        size = len(found.content)
        return {"content": value, "content_type": found.content_type, "bytes": size}


def _store(scope: Scope, node: str) -> Artifacts:
    if scope.artifacts is None:
        raise NodeError(
            f"{node} needs an artifact store; compile with Services(artifacts=store), or use art run"
        )
    return scope.artifacts


def _loaded(scope: Scope, node: str, inputs: JsonObject) -> _Loaded:
    given = inputs.get("artifact")
    name = given.get("$artifact") if isinstance(given, dict) else given
    if not isinstance(name, str) or not name.strip():
        raise NodeError(f"{node} requires an 'artifact' input: a reference, or an id")
    try:
        found = _store(scope, node).load(name.strip())
    except ValueError as cause:
        raise NodeError(str(cause)) from cause
    if found is None:
        raise NodeError(f"Artifact not found: {name}")
    loaded: _Loaded = found
    return loaded
