"""What can be said about author code without running it: pure, and the same every time."""

from __future__ import annotations

import ast
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, TypeVar, cast

__all__ = [
    "MAX_CODE",
    "REFUSED_CALLS",
    "CodeProblem",
    "call_problem",
    "check_expression",
    "check_source",
    "defined_names",
    "foreign_names",
    "free_names",
    "too_long",
]

MAX_CODE: Final = 50_000
"""Characters of a text that is parsed; its tree takes up to 900 bytes for each of them."""
SYNTAX, IMPORT, CALL, DUNDER, SHAPE = "VF401", "VF402", "VF403", "VF404", "VF405"

T = TypeVar("T")

REFUSED_CALLS = frozenset({"exec", "eval", "compile", "__import__"})
_LOOKED_AT = (ast.Import, ast.ImportFrom, ast.Call, ast.Attribute, ast.MatchClass)
_F_STRINGS_SINCE = (3, 12)


@dataclass(frozen=True, slots=True)
class CodeProblem:
    """One thing that is refused, with its line in the author's text and a next step."""

    code: str
    message: str
    line: int
    hint: str


def check_source(source: str) -> list[CodeProblem]:
    """Find what is refused in a module text, in the order of its lines."""
    return _check(source, "exec")


def defined_names(source: str) -> list[str]:
    """Give the names that a module text defines, sorted; those inside functions and classes are not its own.

    None are given for a text that does not parse.
    """
    try:
        todo: list[ast.AST] = [_parsed(source, "exec")]
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    names: set[str] = set()
    while todo:
        node = todo.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif not isinstance(node, ast.Lambda):
            todo += ast.iter_child_nodes(node)
    return sorted(names)


def check_expression(expression: str) -> list[CodeProblem]:
    """Find what is refused in a single expression."""
    return _check(expression.strip(), "eval")


def free_names(expression: str) -> list[str]:
    """Give the names an expression reads, sorted; the expression has passed its check."""
    tree = _parsed(expression.strip(), "eval")
    return sorted({node.id for node in ast.walk(tree) if isinstance(node, ast.Name)})


def foreign_names(source: str, mode: str = "exec") -> dict[str, int]:
    """Give the names that a text reads and binds nowhere, builtins too, each with its first line.

    None are given for a text that does not parse.
    """
    try:
        nodes = list(ast.walk(_parsed(source.strip() if mode == "eval" else source, mode)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return {}
    bound = {name for node in nodes for name in _bound(node)}
    read = [n for n in nodes if isinstance(n, ast.Name) and n.id not in bound]
    return {n.id: n.lineno for n in sorted(read, key=lambda n: n.lineno, reverse=True)}


def _bound(node: ast.AST) -> Iterator[str]:
    """Give the names that a part of a text binds, wherever they count."""
    if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
        yield node.id
    elif isinstance(node, ast.arg):
        yield node.arg
    elif isinstance(node, ast.Global | ast.Nonlocal):
        yield from node.names
    elif isinstance(name := getattr(node, "name", None) or getattr(node, "rest", None), str):
        yield name


def call_problem(source: str, function: str) -> tuple[str, int] | None:
    """Say why a function of a module text cannot be called with one value, and in which line it begins."""
    tree = cast("ast.Module", _parsed(source, "exec"))
    found = [n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == function]
    if not found or found[-1].decorator_list or _is_bound_otherwise(tree, function):
        return None
    args = found[-1].args
    places = [*args.posonlyargs, *args.args]
    needed = [arg.arg for arg in places[: len(places) - len(args.defaults)][1:]]
    needed += [a.arg for a, d in zip(args.kwonlyargs, args.kw_defaults, strict=True) if d is None]
    if needed:
        return f"needs {', '.join(map(repr, needed))}", found[-1].lineno
    return None if places or args.vararg else ("has no parameter for them", found[-1].lineno)


def _is_bound_otherwise(tree: ast.Module, name: str) -> bool:
    """Tell whether something else than a `def` may give a name another value."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id == name and not isinstance(node.ctx, ast.Load):
            return True
        if isinstance(node, ast.alias | ast.ClassDef) and name in (
            node.name,
            getattr(node, "asname", None),
        ):
            return True
    return False


def names_surely_read(expression: str) -> frozenset[str]:
    """Give the names without which an expression fails, whatever its other names are.

    None are given for a text that does not parse, or is nested too deeply to tell.
    """
    try:
        return frozenset(_surely_read(_parsed(expression.strip(), "eval")))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return frozenset()


def _surely_read(node: ast.AST) -> Iterator[str]:
    """Walk what is evaluated in any case: no second operand, no branch, nothing that is called later."""
    if isinstance(node, ast.Name):
        yield node.id
    parts: Iterable[ast.AST] = ast.iter_child_nodes(node)
    if isinstance(node, ast.IfExp):
        parts = [node.test]
    elif isinstance(node, ast.BoolOp):
        parts = node.values[:1]
    elif isinstance(node, ast.Compare):
        parts = [node.left, node.comparators[0]]
    elif isinstance(node, ast.Lambda):
        parts = []
    elif isinstance(node, ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
        parts = [node.generators[0].iter]
    for part in parts:
        yield from _surely_read(part)


def too_long(source: str) -> CodeProblem | None:
    """Say that a text is not parsed, if it is too long for that."""
    if len(source) <= MAX_CODE:
        return None
    message = f"the code has {len(source):,} characters, the limit is {MAX_CODE:,}"
    return CodeProblem(SHAPE, message, 1, "divide it among several nodes; data belongs into inputs")


def _check(source: str, mode: str) -> list[CodeProblem]:
    if problem := too_long(source):
        return [problem]
    try:
        # The tree is gone before the text is compiled, so that only one of the two takes memory.
        findings = _refused(source, mode)
        # Some errors, such as `return` outside a function, show only when compiled.
        _quietly(lambda: compile(source, "<unknown>", mode, dont_inherit=True))
    except SyntaxError as error:
        return [_syntax(str(error), error.lineno)]
    except (ValueError, RecursionError, MemoryError) as error:
        return [_syntax(str(error) or "the code is nested too deeply", None)]
    return findings


def _refused(source: str, mode: str) -> list[CodeProblem]:
    nodes = (node for node in ast.walk(_parsed(source, mode)) if isinstance(node, _LOOKED_AT))
    return sorted((f for node in nodes for f in _rules(node)), key=lambda f: f.line)


def _parsed(source: str, mode: str) -> ast.AST:
    if problem := too_long(source):
        raise ValueError(problem.message)
    return _quietly(lambda: ast.parse(source, mode=mode))


def _quietly(action: Callable[[], T]) -> T:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return action()


def _syntax(text: str, line: int | None) -> CodeProblem:
    hint = "correct the code; code nodes use the grammar of the Python that runs them"
    if "f-string" in text and sys.version_info < _F_STRINGS_SINCE:
        running = ".".join(map(str, sys.version_info[:2]))
        hint = f"this may be valid from Python 3.12 on; this is {running}: use it, or rewrite the f-string"
    return CodeProblem(SYNTAX, f"Syntax error: {text}", line or 1, hint)


def _rules(node: ast.AST) -> Iterator[CodeProblem]:
    line = getattr(node, "lineno", 1)
    if isinstance(node, ast.Import | ast.ImportFrom):
        yield CodeProblem(
            IMPORT, "Imports are not allowed", line, "use builtins, or do this work in a tool"
        )
    called = node.func if isinstance(node, ast.Call) else None
    if isinstance(called, ast.Name) and called.id in REFUSED_CALLS:
        hint = "write the code out; it cannot be built at run time"
        yield CodeProblem(CALL, f"'{called.id}' is not allowed", line, hint)
    for name in _attributes(node):
        if name.startswith("__") and name.endswith("__"):
            message = f"Access to dunder attributes ('{name}') is not allowed"
            yield CodeProblem(
                DUNDER, message, line, "use the public operation, such as len(x) or type(x)"
            )


def _attributes(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Attribute):
        return [] if _is_super(node.value) else [node.attr]
    return node.kwd_attrs if isinstance(node, ast.MatchClass) else []


def _is_super(node: ast.AST) -> bool:
    """Tell whether this is `super()`, on which a method such as `__init__` is called."""
    called = node.func if isinstance(node, ast.Call) and not node.args else None
    return isinstance(called, ast.Name) and called.id == "super"
