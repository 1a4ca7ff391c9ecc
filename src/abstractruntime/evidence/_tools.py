"""What is taken from the result of each tool: a table of small functions.

A function looks at arguments and output and gives a `Captured`; it changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from abstractruntime._json import JsonObject, load_strict, mapping

_TAG_CHARS: Final = 200
_PREVIEW_CHARS: Final = 160
_TEXT: Final = "text/plain"


@dataclass(frozen=True, slots=True)
class Part:
    """One artifact to store.

    Attributes:
        name: Its `part` tag.
        content: Text, stored as it is; or a JSON value.
        content_type: The media type of text; None for a JSON value.
        key: Its name below `artifacts` in the evidence.
        moves_to: Where the result gets the reference, when the part leaves the result.
    """

    name: str
    content: Any
    content_type: str | None
    key: str
    moves_to: str | None = None


@dataclass(frozen=True, slots=True)
class Captured:
    """What one tool result holds of interest."""

    parts: tuple[Part, ...] = ()
    removed: tuple[str, ...] = ()
    facts: JsonObject = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    span: JsonObject = field(default_factory=dict)


Examine: TypeAlias = Callable[[JsonObject, Any], Captured]


def examine(tool: str, arguments: JsonObject, output: Any) -> Captured:
    """Give what is worth keeping of a result; unknown tools keep a copy of their output."""
    return _TOOLS.get(tool, _examine_other)(arguments, output)


def _examine_fetch(arguments: JsonObject, output: Any) -> Captured:
    page = mapping(output)
    url = _text(page.get("url")) or _text(arguments.get("url"))
    kind = _text(page.get("content_type")) or _TEXT
    return Captured(
        parts=(
            *_moved(page, "raw_text", Part("raw", None, kind, "raw", "raw_artifact")),
            *_moved(
                page,
                "normalized_text",
                Part("normalized", None, _TEXT, "normalized_text", "normalized_artifact"),
            ),
        ),
        removed=_texts(page, "raw_text", "normalized_text"),
        facts=_facts(page, ("final_url", "content_type", "size_bytes"), url=url),
        tags={"url": url[:_TAG_CHARS]} if url else {},
        span={"url": url} if url else {},
    )


def _examine_command(arguments: JsonObject, output: Any) -> Captured:
    done = mapping(output)
    command = _text(done.get("command")) or _text(arguments.get("command"))
    streams = tuple(
        part
        for name in ("stdout", "stderr")
        for part in _moved(done, name, Part(name, None, _TEXT, name, f"{name}_artifact"))
    )
    copies = (Part("output", output, _TEXT, "output"),) if isinstance(output, str) else ()
    names = ("return_code", "duration_s", "working_directory", "platform")
    return Captured(
        parts=streams + tuple(part for part in copies if part.content),
        removed=_texts(done, "stdout", "stderr"),
        facts=_facts(done, names, command=command),
        tags={"command": _shortened(command)} if command else {},
        span={"command_preview": command[:_PREVIEW_CHARS]} if command else {},
    )


def _examine_search(arguments: JsonObject, output: Any) -> Captured:
    query = _text(arguments.get("query"))
    return Captured(
        parts=_copied(output, "results"),
        facts={"query": query} if query else {},
        tags={"query": _shortened(query)} if query else {},
        span={"query": query} if query else {},
    )


def _examine_other(_: JsonObject, output: Any) -> Captured:
    return Captured(parts=_copied(output, "output"))


_TOOLS: Mapping[str, Examine] = {
    "fetch_url": _examine_fetch,
    "execute_command": _examine_command,
    "web_search": _examine_search,
}


def _moved(output: JsonObject, name: str, part: Part) -> tuple[Part, ...]:
    content = output.get(name)
    if not isinstance(content, str) or not content:
        return ()
    return (Part(part.name, content, part.content_type, part.key, part.moves_to),)


def _texts(output: JsonObject, *names: str) -> tuple[str, ...]:
    return tuple(name for name in names if isinstance(output.get(name), str))


def _copied(output: Any, name: str) -> tuple[Part, ...]:
    if output is None or output == "":
        return ()
    if not isinstance(output, str):
        return (Part(name, output, None, name),)
    try:
        return (Part(name, load_strict(output), None, name),)
    except (ValueError, RecursionError):
        return (Part(name, output, _TEXT, name),)


def _facts(output: JsonObject, names: tuple[str, ...], **first: str) -> JsonObject:
    facts: JsonObject = {name: value for name, value in first.items() if value}
    facts.update({name: output[name] for name in names if output.get(name) is not None})
    return facts


def _text(value: Any) -> str:
    return value.strip() if isinstance(value, str) else ""


def _shortened(text: str) -> str:
    return text if len(text) <= _TAG_CHARS else f"{text[: _TAG_CHARS - 1]}…"
