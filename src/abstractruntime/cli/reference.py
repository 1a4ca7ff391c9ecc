"""`art schema` and `art explain`: the reference, offline."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Annotated

import typer

from abstractruntime.cli._options import NoPagerOption
from abstractruntime.cli._session import Session
from abstractruntime.errors import ExitCode, UsageError
from abstractruntime.schemas import load_schema, schema_names


def schema(
    session: Session,
    name: Annotated[
        str, typer.Argument(metavar="NAME", help=f"One of {', '.join(schema_names())}.")
    ],
) -> int:
    """Print a published JSON Schema."""
    session.out.raw(json.dumps(load_schema(name), indent=2, ensure_ascii=False))
    return 0


def explain(
    session: Session,
    topic: Annotated[
        list[str],
        typer.Argument(metavar="CODE | [node] TYPE | exit-codes", help="What to explain."),
    ],
    no_pager: NoPagerOption = False,
) -> int:
    """Explain a diagnostic, a node type or the exit codes."""
    title, body = explanation(topic)
    document = {"format": "art-explain/1", "topic": " ".join(topic), "title": title, "text": body}
    lines = [title, "", *body.split("\n")]
    session.out.emit(document, text=lambda: lines, paged=not no_pager)
    return 0


def explanation(topic: list[str]) -> tuple[str, str]:
    """Give title and Markdown text of a topic.

    Raises:
        NotFound: there is no such code or node type.
        UsageError: the words name no topic.
    """
    if topic == ["exit-codes"]:
        return "exit codes", exit_code_table()
    if topic in (["node"], ["nodes"]):
        from abstractruntime.nodes.registry import node_types

        raise UsageError("no node type is named", hint=f"there are: {', '.join(node_types())}")
    if len(topic) == 2 and topic[0] in _TOPICS:
        return _TOPICS[topic[0]](topic[1])
    if len(topic) == 1:
        # Codes are upper case with a number; every other word can only be a node type.
        return (_code if _CODE.match(topic[0]) else _node)(topic[0])
    raise UsageError(
        f"nothing to explain under {' '.join(topic)!r}",
        hint="use a code such as VF301, a node type, or exit-codes",
    )


def _code(code: str) -> tuple[str, str]:
    from abstractruntime.visualflow_compiler.explain import explain as explain_code

    found = explain_code(code)
    return f"{found.name}: {found.title}", found.text


def _node(name: str) -> tuple[str, str]:
    from abstractruntime.visualflow_compiler.explain import explain_node

    found = explain_node(name)
    return f"{found.name} ({found.title})", found.text


_CODE = re.compile(r"[A-Za-z]{1,3}[0-9]|[Vv][Ff]$")
_TOPICS: dict[str, Callable[[str], tuple[str, str]]] = {"node": _node, "code": _code}


def exit_code_table() -> str:
    """Give the exit codes as a Markdown table."""
    rows = [f"| {int(code)} | {code.name.lower()} | {code.meaning} |" for code in ExitCode]
    return "\n".join(["| Code | Name | Meaning |", "|---|---|---|", *rows])
