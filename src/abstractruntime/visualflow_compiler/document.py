"""One flow document: what was written, what is understood of it, and what follows from that.

A document is read and decoded once. Its content, its graph, and whatever else is derived from
it are computed when they are first asked for, and kept: whoever handles the document shares
them. Nobody may change `raw`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from abstractruntime._json import (
    MAX_DEPTH,
    normalise,
    object_of_pairs,
    syntax_problem,
    unescape_pointer,
    why_unread,
)
from abstractruntime._json_size import has_more_values
from abstractruntime._text import shell_word
from abstractruntime.errors import FlowError, InvalidValue
from abstractruntime.visualflow_compiler._fields import (
    document_id,
    document_mapping,
    first_id,
    json_kind,
)
from abstractruntime.visualflow_compiler._positions import (
    Place,
    first_duplicate_key,
    first_scalar,
    locate,
)
from abstractruntime.visualflow_compiler.diagnostics import Diagnostic, Severity

if TYPE_CHECKING:
    from abstractruntime.visualflow_compiler._model import FlowContent
    from abstractruntime.visualflow_compiler.graph import FlowGraph

__all__ = ["MAX_DOCUMENT_BYTES", "FlowDocument", "decode"]

MAX_DOCUMENT_BYTES = 32 * 1024 * 1024
MAX_DOCUMENT_VALUES = 500_000
_REPEATED = "duplicate key"
_ARCHIVE = b"PK\x03\x04"
_T = TypeVar("_T")


@dataclass(frozen=True, eq=False)
class FlowDocument:
    """A flow document that was read.

    Attributes:
        raw: What was written, decoded.
        data: The bytes it was decoded from; None for one that was made in Python.
        file: What it is called in messages.
        flaws: What strict JSON readers refuse in it, in their words; see `decode`.
        is_normal: Whether `raw` went through `normalise`.
    """

    raw: Mapping[str, Any]
    data: bytes | None = field(default=None, repr=False)
    file: str | None = None
    flaws: tuple[str, ...] = ()
    is_normal: bool = False

    @classmethod
    def read(cls, data: bytes, *, file: str | None = None) -> FlowDocument:
        """Read a document as its author wants it read: strictly, with a place for every complaint.

        A repeated key is a finding of the document, not a failure: published documents have
        them, and the last one counts.

        Raises:
            FlowError: the bytes are not UTF-8 JSON, hold a value that cannot be stored, are
                not an object, or are too large; `findings` has one diagnostic with its place.
        """
        _require_size(data, file)
        text = _text_of(data, file)
        value, flaws = _decoded(text, file)
        raw = _normal(value, flaws, text, file)
        if not isinstance(raw, dict):
            raise _unreadable(
                "VF003",
                f"document is {json_kind(raw)}, expected a JSON object",
                file=file,
                place=Place(1, 1),
                hint="a flow document is an object with id, nodes and edges",
            )
        return cls(raw, data, file, flaws, is_normal=True)

    @classmethod
    def of(cls, raw: Any) -> FlowDocument:
        """Take a document given as one, as a dict, or as an object with `model_dump()` or `dict()`.

        Raises:
            TypeError: `raw` is none of these.
        """
        return raw if isinstance(raw, FlowDocument) else cls(document_mapping(raw))

    def as_authored(self) -> FlowDocument:
        """Give the document as `read` gives it, without decoding it again.

        Raises:
            FlowError: as `read` does.
        """
        if self.is_normal or self.data is None:
            return self
        _require_size(self.data, self.file)
        raw = _normal(self.raw, self.flaws, self.text, self.file)
        normal = replace(self, raw=raw, is_normal=True)
        # Nothing in it had to be left out, so it is understood as before.
        vars(normal).update({k: v for k, v in vars(self).items() if k in ("_content", "graph")})
        return normal

    @property
    def text(self) -> str:
        """The text that positions are counted in."""
        return self.data.decode("utf-8-sig") if self.data is not None else ""

    @property
    def id(self) -> str:
        """The id inside; empty when there is none."""
        return first_id(self.raw)

    def require_id(self) -> str:
        """Give the id inside.

        Raises:
            FlowError: there is none.
        """
        return document_id(self.raw)

    def require_loaded(self) -> FlowDocument:
        """Give the document itself, if nothing that matters had to be left out of `flow`.

        Raises:
            FlowError: it has no id, an edge cannot be read or leads nowhere, or a value cannot be stored.
        """
        errors = tuple(item for item in self.findings if item.severity == "error")
        if errors:
            raise FlowError(errors[0].message, findings=errors, hint=errors[0].hint)
        return self

    @property
    def flow(self) -> FlowContent:
        """What can be understood of the document."""
        return self._content[0]

    @property
    def findings(self) -> tuple[Diagnostic, ...]:
        """What had to be left out of `flow`."""
        return self._content[1]

    @cached_property
    def _content(self) -> tuple[FlowContent, tuple[Diagnostic, ...]]:
        # Whoever only opens or verifies an archive of documents needs no node types.
        from abstractruntime.visualflow_compiler._load import read_content  # noqa: PLC0415

        return read_content(self.raw, is_normal=self.is_normal)

    @cached_property
    def graph(self) -> FlowGraph:
        """What follows from the edges of the flow."""
        from abstractruntime.visualflow_compiler.graph import analyse  # noqa: PLC0415 - as above

        return analyse(self.flow)

    @property
    def labels(self) -> dict[str, str]:
        """The names that the author gave to nodes, by node id."""
        from abstractruntime.visualflow_compiler._load import read_nodes  # noqa: PLC0415 - as above

        return {node.id: node.label for node in read_nodes(self.raw)[0] if node.label}

    @cached_property
    def repeated_keys(self) -> tuple[Diagnostic, ...]:
        """The first key that occurs twice in one object, as a finding."""
        is_repeated = any(flaw.startswith(_REPEATED) for flaw in self.flaws)
        found = first_duplicate_key(self.text) if is_repeated else None
        if found is None:
            return ()
        pointer, place = found
        key = unescape_pointer(pointer.rpartition("/")[2])
        message = f"key {key!r} occurs twice in one object, the last one counts"
        hint = "remove one of the two; readers disagree which one counts"
        return (_finding("VF002", "error", message, self.file, pointer, place, hint),)

    @cached_property
    def _derived(self) -> dict[Callable[[FlowDocument], Any], Any]:
        return {}

    def derive(self, compute: Callable[[FlowDocument], _T]) -> _T:
        """Give `compute(document)`, which is computed once."""
        if compute not in self._derived:
            self._derived[compute] = compute(self)
        found: _T = self._derived[compute]
        return found


def decode(text: str) -> tuple[Any, tuple[str, ...]]:
    """Give the value of a JSON text, and what strict readers refuse in it, in their words.

    Of a repeated key the last one counts; NaN and infinities are numbers.

    Raises:
        ValueError, RecursionError: it is not JSON.
    """
    flaws: list[str] = []

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            try:
                object_of_pairs(pairs)
            except ValueError as cause:
                flaws.append(str(cause))
        return found

    def constant(name: str) -> float:
        flaws.append(f"{name} is not JSON")
        return float(name)

    try:
        value = json.loads(text, object_pairs_hook=members, parse_constant=constant)
    except ValueError:
        if reason := _constant_in(flaws):
            # It comes before the place where the text stops being JSON.
            raise ValueError(reason) from None
        raise
    return value, tuple(flaws)


def _constant_in(flaws: Iterable[str]) -> str | None:
    return next((flaw for flaw in flaws if not flaw.startswith(_REPEATED)), None)


# --- reading as the author wants it -----------------------------------------------------


def _require_size(data: bytes, file: str | None) -> None:
    if len(data) > MAX_DOCUMENT_BYTES:
        raise _unreadable(
            "VF004",
            f"document has at least {len(data)} bytes, the limit is {MAX_DOCUMENT_BYTES}",
            file=file,
            hint="split the flow into subflows",
        )
    if has_more_values(data, MAX_DOCUMENT_VALUES):
        raise _unreadable(
            "VF004",
            f"document holds more than {MAX_DOCUMENT_VALUES} values",
            file=file,
            hint="split the flow into subflows",
        )


def _text_of(data: bytes, file: str | None) -> str:
    if data.startswith(_ARCHIVE):
        raise _unreadable(
            "VF001",
            "this is a bundle, expected a flow document",
            file=file,
            hint=f"see what it holds: art bundle show {shell_word(file or 'FILE')}; its flows as documents:"
            f" art bundle unpack {shell_word(file or 'FILE')} -o DIR",
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as cause:
        line = data.count(b"\n", 0, cause.start) + 1
        raise _unreadable(
            "VF001",
            f"document is not UTF-8: {cause.reason} at byte {cause.start}",
            file=file,
            place=Place(line, 1),
            hint="save the file as UTF-8",
        ) from None


def _decoded(text: str, file: str | None) -> tuple[Any, tuple[str, ...]]:
    try:
        return decode(text)
    except json.JSONDecodeError as cause:
        place = Place(cause.lineno, cause.colno)
        raise _unreadable(
            "VF001", f"document is not JSON: {syntax_problem(cause)}", file=file, place=place
        ) from None
    except RecursionError:
        message = f"document is nested deeper than {MAX_DEPTH} levels"
        raise _unreadable("VF004", message, file=file) from None
    except ValueError as cause:
        raise _not_json_value(text, file, why_unread(cause)) from None


def _normal(value: Any, flaws: Iterable[str], text: str, file: str | None) -> Any:
    if reason := _constant_in(flaws):
        raise _not_json_value(text, file, reason)
    try:
        return normalise(value)
    except InvalidValue as cause:
        code = "VF004" if "deeper" in cause.message else "VF005"
        pointer = str(cause.details.get("path", ""))
        raise _unreadable(code, cause.message, file=file, text=text, pointer=pointer) from None


def _not_json_value(text: str, file: str | None, reason: str) -> FlowError:
    pointer, place = first_scalar(text, reason.partition(" ")[0]) or ("", None)
    message = f"document holds a value that is not JSON: {reason}"
    return _unreadable("VF005", message, file=file, pointer=pointer, place=place)


def _unreadable(
    code: str,
    message: str,
    *,
    file: str | None,
    text: str = "",
    pointer: str = "",
    place: Place | None = None,
    hint: str | None = None,
) -> FlowError:
    if place is None and text:
        place = locate(text, [pointer]).get(pointer)
    finding = _finding(code, "error", message, file, pointer, place, hint)
    return FlowError(message, findings=(finding,), hint=hint)


def _finding(
    code: str,
    severity: Severity,
    message: str,
    file: str | None,
    pointer: str,
    place: Place | None,
    hint: str | None,
) -> Diagnostic:
    line, column = place or (None, None)
    return Diagnostic(code, severity, message, pointer, file, line, column, hint=hint)
