"""What the source says about itself: modules, what they import, call and put together.

Nothing is imported; all of it is read from the syntax trees.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

PACKAGE = "abstractruntime"
ROOT = Path(__file__).resolve().parents[2] / "src" / PACKAGE


@dataclass(frozen=True)
class Import:
    """A module of ours that another one imports, be it in a function or for type checkers."""

    source: str
    target: str
    line: int = 0

    def __str__(self) -> str:
        return f"{self.source}:{self.line} imports {self.target}"


@dataclass
class Module:
    """What is kept of one module.

    `calls` are dotted as they are written; `texts` are the constant parts of texts that are put
    together, by formatting or adding. Both come with their lines. `libraries` are not ours.
    """

    imports: list[Import] = field(default_factory=list)
    calls: list[tuple[str, int]] = field(default_factory=list)
    texts: list[tuple[str, int]] = field(default_factory=list)
    libraries: set[str] = field(default_factory=set)


@cache
def names() -> Mapping[str, Path]:
    """Give the file of every module by its name below the package; `""` is the package."""
    return {_name(path): path for path in sorted(ROOT.rglob("*.py"))}


def _name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def modules() -> Mapping[str, Module]:
    """Read every module; the trees are dropped."""
    return {name: _read(name, path) for name, path in names().items()}


def imports() -> list[Import]:
    return [edge for module in modules().values() for edge in module.imports]


def room_of(module: str) -> str:
    """Give the package below ours that a module lies in; a module outside of any is its own."""
    return module.partition(".")[0]


def is_in(module: str, *rooms: str) -> bool:
    return any(module == room or module.startswith(f"{room}.") for room in rooms)


def _read(name: str, path: Path) -> Module:
    found = Module()
    is_package = path.stem == "__init__"
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import | ast.ImportFrom):
            for target in dict.fromkeys(_targets(name, node, is_package=is_package)):
                if not _is_ours(target):
                    found.libraries.add(target)
                elif (below := _below(target)) != name:
                    found.imports.append(Import(name, below, node.lineno))
        elif isinstance(node, ast.Call):
            found.calls.append((ast.unparse(node.func), node.lineno))
        elif isinstance(node, ast.JoinedStr | ast.BinOp):
            found.texts += [(text, node.lineno) for text in _texts(node)]
    return found


def _targets(name: str, node: ast.Import | ast.ImportFrom, *, is_package: bool) -> Iterator[str]:
    """Give the full names of the modules that a statement imports."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
        return
    base = node.module or ""
    if node.level:
        parts = [PACKAGE, *(name.split(".") if name else [])]
        base = ".".join([*parts[: len(parts) - node.level + is_package], *base.split()])
    for alias in node.names:
        inner = f"{base}.{alias.name}"
        yield inner if _is_ours(inner) and _below(inner) in names() else base


def _texts(node: ast.JoinedStr | ast.BinOp) -> Iterator[str]:
    parts = node.values if isinstance(node, ast.JoinedStr) else [node.left, node.right]
    for part in parts:
        if isinstance(part, ast.Constant) and isinstance(part.value, str):
            yield part.value


def _is_ours(name: str) -> bool:
    return name == PACKAGE or name.startswith(f"{PACKAGE}.")


def _below(name: str) -> str:
    return name.removeprefix(PACKAGE).removeprefix(".")


def reached_from(*rooms: str, leaving_out: Iterable[str] = ()) -> set[str]:
    """Give every module that these import, directly or over others, and themselves."""
    seen: set[str] = set()
    left = [name for name in names() if is_in(name, *rooms) and name not in leaving_out]
    while left:
        name = left.pop()
        if name not in seen:
            seen.add(name)
            left += [edge.target for edge in modules()[name].imports]
    return seen


def circles(edges: Iterable[Import]) -> list[list[str]]:
    """Give the groups of modules that import each other, directly or over others."""
    reach: dict[str, set[str]] = {}
    for edge in edges:
        reach.setdefault(edge.source, set()).add(edge.target)
    seen: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        seen[name] = low[name] = len(seen)
        stack.append(name)
        for target in sorted(reach.get(name, ())):
            if target not in seen:
                visit(target)
            if target in stack:
                low[name] = min(low[name], low[target])
        if low[name] == seen[name]:
            group = stack[stack.index(name) :]
            del stack[stack.index(name) :]
            if len(group) > 1:
                found.append(sorted(group))

    for name in sorted(reach):
        if name not in seen:
            visit(name)
    return sorted(found)
