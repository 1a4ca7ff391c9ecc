"""What the source says about itself: modules, what they import and what they call.

Nothing is imported; all of it is read from the syntax trees.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

PACKAGE = "abstractruntime"
ROOT = Path(__file__).resolve().parents[2] / "src" / PACKAGE


@dataclass(frozen=True)
class Import:
    """One imported module of ours; `lazy` means inside a function."""

    source: str
    target: str
    line: int
    lazy: bool

    def __str__(self) -> str:
        return f"{self.source}:{self.line} imports {self.target}"


@cache
def modules() -> Mapping[str, ast.Module]:
    """Give the syntax tree of every module by its name below the package; `""` is the package."""
    return {_name(path): ast.parse(path.read_bytes()) for path in sorted(ROOT.rglob("*.py"))}


def _name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(module: str) -> str:
    """Give the package below ours that a module lies in; a module outside of any is its own."""
    return module.partition(".")[0]


def is_in(module: str, *rooms: str) -> bool:
    return any(module == room or module.startswith(f"{room}.") for room in rooms)


@cache
def imports() -> tuple[Import, ...]:
    """Give every import of ours, those for type checkers and those in functions included."""
    return tuple(found for name, tree in modules().items() for found in _imports(name, tree))


def _imports(name: str, tree: ast.Module) -> Iterator[Import]:
    lazy = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            for target in dict.fromkeys(_targets(name, node)):
                if target != name:
                    yield Import(name, target, node.lineno, id(node) in lazy)


def _targets(name: str, node: ast.Import | ast.ImportFrom) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (_below(alias.name) for alias in node.names if _is_ours(alias.name))
        return
    base = node.module or ""
    if node.level:
        is_package = not name or any(other.startswith(f"{name}.") for other in modules())
        parts = name.split(".") if name else []
        base = ".".join([PACKAGE, *parts[: len(parts) - node.level + is_package], *base.split()])
    if _is_ours(base):
        for alias in node.names:
            inner = _below(f"{base}.{alias.name}")
            yield inner if inner in modules() else _below(base)


def _is_ours(name: str) -> bool:
    return name == PACKAGE or name.startswith(f"{PACKAGE}.")


def _below(name: str) -> str:
    return name.removeprefix(PACKAGE).removeprefix(".")


def reached_from(*rooms: str, leaving_out: Iterable[str] = ()) -> set[str]:
    """Give every module that these import, directly or over others, and themselves."""
    out: dict[str, set[str]] = {}
    for edge in imports():
        out.setdefault(edge.source, set()).add(edge.target)
    seen: set[str] = set()
    left = [name for name in modules() if is_in(name, *rooms) and name not in leaving_out]
    while left:
        name = left.pop()
        if name not in seen:
            seen.add(name)
            left += out.get(name, ())
    return seen


def libraries(module: str) -> set[str]:
    """Give the modules of others that a module imports."""
    found = set()
    for node in ast.walk(modules()[module]):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(node.module or "")
    return {name for name in found if not _is_ours(name)}


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


def calls(module: str) -> Iterator[tuple[str, int]]:
    """Give what a module calls, dotted as it is written, with the line."""
    for node in ast.walk(modules()[module]):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node.lineno
