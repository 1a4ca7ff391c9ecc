"""The golden description of the public API, parsed, and the same facts taken from code."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
from dataclasses import dataclass, field
from enum import Enum
from importlib import import_module
from pathlib import Path
from typing import Any

GOLDEN = Path(__file__).resolve().parents[1] / "contract" / "public_api.txt"

_LINE = re.compile(r"(@(?P<mark>\w+) )?(?P<name>[\w.]+)(\((?P<params>.*)\))?(?P<rest> .*)?")


@dataclass(frozen=True)
class Params:
    """Parameters by kind: what is positional keeps its order, what is named has none."""

    positional: tuple[str, ...] = ()
    named: frozenset[str] = frozenset()

    def __add__(self, more: Params) -> Params:
        return Params(self.positional + more.positional, self.named | more.named)


@dataclass
class Item:
    """One name of the API: how it is marked, and what is said about it."""

    module: str
    name: str
    mark: str | None = None
    params: Params | None = None
    bases: list[str] = field(default_factory=list)
    rest: str = ""
    is_ours: bool = False

    def __str__(self) -> str:
        return f"{self.module}:{self.name}"

    def find(self) -> Any:
        value: Any = module(self.module)
        for part in self.name.split("."):
            value = getattr(value, part)
        return value


@dataclass
class Section:
    """One module: its names of 0.4.x and ours, and its items by name."""

    names: list[str] = field(default_factory=list)
    own_names: list[str] = field(default_factory=list)
    items: dict[str, Item] = field(default_factory=dict)


def module(name: str) -> Any:
    return import_module(f"abstractruntime.{name}" if name else "abstractruntime")


def read_golden() -> dict[str, Section]:
    sections: dict[str, Section] = {}
    current = ""
    for line in GOLDEN.read_text("utf-8").splitlines():
        if line.startswith("["):
            current = line.strip("[]")
            sections[current] = Section()
        elif line and not line.startswith("#"):
            _add(sections[current], current, line.removeprefix("+ "), ours=line.startswith("+ "))
    return sections


def _add(section: Section, home: str, line: str, *, ours: bool) -> None:
    if line.startswith("names "):
        (section.own_names if ours else section.names).extend(line.split()[1:])
        return
    match = _LINE.fullmatch(line)
    assert match, f"cannot read: {line}"
    known = section.items.get(match["name"])
    item = known or section.items.setdefault(match["name"], Item(home, match["name"], is_ours=ours))
    item.mark = match["mark"] or item.mark
    rest = (match["rest"] or "").strip()
    if rest.startswith("< "):
        item.bases = rest[2:].split()
    elif rest:
        item.rest = rest
    if match["params"] is not None:
        item.params = (item.params or Params()) + written_params(match["params"])


def written_params(text: str) -> Params:
    arguments = ast.parse(f"def f({text}): ...").body[0].args  # type: ignore[attr-defined] # a def
    plain = [*arguments.posonlyargs, *arguments.args]
    none = [None] * (len(plain) - len(arguments.defaults))
    variable = {f"**{arguments.kwarg.arg}"} if arguments.kwarg else set()
    return Params(
        tuple(_written(a, d) for a, d in zip(plain, [*none, *arguments.defaults], strict=True)),
        frozenset(
            _written(a, d) for a, d in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
        )
        | variable,
    )


def _written(argument: ast.arg, default: ast.expr | None) -> str:
    return argument.arg if default is None else f"{argument.arg}={ast.unparse(default)}"


def actual_params(value: Any, *, skip_self: bool) -> Params:
    found = list(inspect.signature(value).parameters.values())[1 if skip_self else 0 :]
    variable = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    positional = [p for p in found if p.kind not in (p.KEYWORD_ONLY, *variable)]
    return Params(
        tuple(_actual(value, p) for p in positional),
        frozenset(
            f"**{p.name}" if p.kind is p.VAR_KEYWORD else _actual(value, p)
            for p in found
            if p.kind in (p.KEYWORD_ONLY, p.VAR_KEYWORD)
        ),
    )


def _actual(owner: Any, parameter: inspect.Parameter) -> str:
    if parameter.default is parameter.empty:
        return parameter.name
    return f"{parameter.name}={_default(owner, parameter)}"


def _default(owner: Any, parameter: inspect.Parameter) -> str:
    value = parameter.default
    if dataclasses.is_dataclass(owner) and repr(value) == "<factory>":
        factory: Any = next(
            f.default_factory for f in dataclasses.fields(owner) if f.name == parameter.name
        )
        made = factory()
        return "now" if isinstance(made, str) else repr(made)
    if isinstance(value, Enum):
        return f"{type(value).__name__}.{value.name}"
    if inspect.isroutine(value):
        return value.__name__
    # A default object without a literal form is called by the name of its constant.
    return "DEFAULT_LIMITS" if type(value).__name__ == "Limits" else repr(value)


def public_members(kind: type) -> set[str]:
    """Give the public methods and properties of a class, not its fields."""
    fields = set(getattr(kind, "__dataclass_fields__", ()))
    return {name for name in dir(kind) if not name.startswith("_")} - fields
