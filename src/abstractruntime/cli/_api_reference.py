"""The parts of the reference that describe Python: public names, and errors with their next steps."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Iterator
from enum import Enum
from importlib import import_module
from typing import Any

from abstractruntime import errors
from abstractruntime.errors import AbstractRuntimeError

_MODULES = {
    "": "What `from abstractruntime import ...` gives.",
    "core": "The data model and the limits.",
    "core.runtime": "What hosts of the runtime give and get.",
    "storage": "Stores. The contracts that a store of your own implements are `RunStore` and `LedgerStore`.",
    "scheduler": "What advances runs when nobody calls `tick`.",
    "workflow_bundle": "Bundles: packing, opening, installing, signing.",
    "evidence": "What tools brought in, kept apart.",
    "rendering": "Values and traces as text.",
    "effects": "The handler that knows its occurrence.",
    "llm": "Language models.",
    "tools": "Tools that flows and agents call.",
    "agents": "The workflows behind agent nodes.",
    "testing": "Helpers for tests of flows, handlers and stores.",
}

_NEXT_STEP: dict[type[AbstractRuntimeError], str] = {
    AbstractRuntimeError: "read `hint`; catch this class to catch every expected failure",
    errors.UsageError: "correct the argument that `details` or the message names",
    errors.InvalidValue: "make the value at `details['path']` JSON: text keys, finite numbers",
    errors.FlowError: "correct every finding; `art explain CODE` tells how",
    errors.RunFailed: "`art inspect RUN` shows the failed step; correct the cause and start again",
    errors.RunCancelled: "nothing, or start again",
    errors.WaitMismatch: "read the run again; answer the wait it has now",
    errors.NotFound: "compare the name with `details`; list what there is with `art runs`",
    errors.Refused: "read which rule refused; change the policy or the thing",
    errors.Untrusted: "have it signed by a trusted key, or trust the key: `art key trust`",
    errors.ConsentNeeded: "grant the capabilities that `details` lists, or do not run it",
    errors.UnsupportedFormat: "update this program, or use the version that wrote it",
    errors.Quarantined: "find out what the processes died of, then: art repair RUN --apply",
    errors.IntegrityError: "change nothing; `art ledger verify RUN` says what contradicts what",
    errors.ChainBroken: "keep the file as evidence; restore the ledger from a copy",
    errors.HeadMismatch: "look for the missing records in a copy; someone signed that they existed",
    errors.ArchiveInvalid: "get the archive again from its publisher",
    errors.StoreError: "repair what the operating system complains about, then repeat",
    errors.StoreFull: "free space, then repeat; nothing was lost or half written",
    errors.StoreIOError: "check permissions and the disk, then repeat",
    errors.WriterPoisoned: "open the run again; what the disk holds decides",
    errors.LedgerForked: "stop the other program; open the run again",
    errors.Busy: "repeat later, or ask the process that `details` names",
}

_LINE = 88
_STARS: dict[Any, str] = {
    inspect.Parameter.VAR_POSITIONAL: "*",
    inspect.Parameter.VAR_KEYWORD: "**",
}

_MISTAKES = (
    ("a value in the variables, in a payload or in an output that is not JSON, NaN included",
     "the run fails and names node and path; nothing of that step is written"),
    ("keys that are numbers, tuples", "they become text and lists, before anyone reads them"),
    ("a handler that raises", "the attempt fails; the policy decides about another one"),
    ("a handler that gives no `EffectOutcome`", "the attempt fails and names the type"),
    ("an effect without a handler", "the run fails and names the effect type"),
    ("a node that raises, an unknown node, a plan without effect and next node",
     "the run fails and names the node"),
    ("an answer that is not JSON", "`InvalidValue`; the run waits on"),
    ("an answer under another wait key, or to a run that does not wait",
     "`WaitMismatch`; the run is unchanged"),
    ("an unknown run", "`NotFound`; `get_ledger` gives an empty list"),
    ("a run that someone else drives", "`Busy`; requests such as `cancel_run` go to its inbox"),
    ("a damaged checkpoint", "it is not used; the state is rebuilt from the ledger"),
    ("a damaged line at the end of a ledger",
     "the rest of a record that was being written: kept in `quarantine`, cut off"),
    ("a damaged line before the end", "`IntegrityError` for this run only; nothing is repaired"),
    ("a full disk", "`StoreFull`; the ledger ends where it did, repeat when there is space"),
)  # fmt: skip


def error_parts() -> Iterator[str]:
    """Give what can be raised, what to do then, and what a mistake comes to."""
    yield (
        "Every expected failure is an `AbstractRuntimeError` with a `hint`, `details` and an exit code."
        " Where 0.4.x documented another class, the error is one of those too."
    )
    kinds = sorted(error_kinds(), key=lambda kind: (kind.exit_code, kind.__name__))
    yield _table(
        ["Class", "When", "Exit", "Also a", "Next step"],
        [
            [
                f"`{kind.__name__}`",
                _first_line(kind),
                str(int(kind.exit_code)),
                ", ".join(f"`{base}`" for base in builtin_bases(kind)),
                _NEXT_STEP[kind],
            ]
            for kind in kinds
        ],
    )
    yield "## What a mistake comes to"
    yield _table(["Given", "Then"], [list(row) for row in _MISTAKES])


def error_kinds() -> list[type[AbstractRuntimeError]]:
    """Give every class of the tree in `errors`."""
    return [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, AbstractRuntimeError)
    ]


def builtin_bases(kind: type) -> list[str]:
    """Give the exceptions of Python that also catch `kind`, the most special ones only."""
    found = [base for base in kind.__mro__ if base.__module__ == "builtins"]
    found = [base for base in found if base not in (Exception, BaseException, object)]
    return [b.__name__ for b in found if not any(o is not b and issubclass(o, b) for o in found)]


def python_parts() -> Iterator[str]:
    """Give every public name once, with its signature and the first line about it."""
    yield (
        "Names are imported from the module under which they stand here; each stands here once."
        " Other modules, and names that begin with `_`, may change without notice."
    )
    seen: set[int] = set()
    for name, about in _MODULES.items():
        module = import_module(f"abstractruntime.{name}" if name else "abstractruntime")
        yield f"## {module.__name__}"
        yield about
        for public in sorted(module.__all__):
            value = getattr(module, public)
            if id(value) not in seen:
                yield from filter(None, _name_parts(public, value))
            if isinstance(value, type) or inspect.isroutine(value):
                seen.add(id(value))


def _name_parts(name: str, value: Any) -> Iterator[str]:
    yield f"### {name}"
    if isinstance(value, type):
        yield _first_line(value)
        yield from _class_parts(name, value)
    elif inspect.isroutine(value):
        yield _first_line(value)
        yield _fence(name, value)
    else:
        yield _table(["Value"], [[f"`{value!r}`"]])


def _class_parts(name: str, kind: type) -> Iterator[str]:
    if issubclass(kind, Enum):
        yield ", ".join(f"`{member.value}`" for member in kind)
        return
    if not inspect.isabstract(kind) and not getattr(kind, "_is_protocol", False):
        yield _fence(name, kind)
    rows = [row for member in sorted(_members(kind)) for row in [_member_row(kind, member)]]
    if rows:
        yield _table(["Member", "Meaning"], rows)


def _members(kind: type) -> set[str]:
    if issubclass(kind, BaseException):
        return set()
    fields = set(getattr(kind, "__dataclass_fields__", ()))
    return {name for name in dir(kind) if not name.startswith("_")} - fields


def _member_row(kind: type, name: str) -> list[str]:
    static = inspect.getattr_static(kind, name)
    if isinstance(static, property):
        kind_of = (
            _annotation(inspect.signature(static.fget).return_annotation, ": ")
            if static.fget
            else ""
        )
        return [f"`{name}{kind_of}`", _first_line(static)]
    if not callable(getattr(kind, name)):
        return [f"`{name} = {getattr(kind, name)!r}`", ""]
    bound = isinstance(static, staticmethod | classmethod)
    signature = _signature(getattr(kind, name), skip=0 if bound else 1)
    return [f"`{name}{signature}`", _first_line(getattr(kind, name))]


def _fence(name: str, value: Callable[..., Any]) -> str:
    line = name + _signature(value)
    if len(line) > _LINE:
        inside = "".join(f"    {part},\n" for part in _parts(value))
        line = f"{name}(\n{inside}){_result(value)}"
    return f"```text\n{line}\n```"


def _signature(value: Callable[..., Any], *, skip: int = 0) -> str:
    return f"({', '.join(_parts(value)[skip:])}){_result(value)}"


def _parts(value: Callable[..., Any]) -> list[str]:
    parts: list[str] = []
    before: Any = None
    for parameter in inspect.signature(value).parameters.values():
        kind = parameter.kind
        if before is parameter.POSITIONAL_ONLY and kind is not before:
            parts.append("/")
        if kind is parameter.KEYWORD_ONLY and before not in (kind, parameter.VAR_POSITIONAL):
            parts.append("*")
        parts.append(_parameter(value, parameter))
        before = kind
    return parts


def _result(value: Callable[..., Any]) -> str:
    if isinstance(value, type):
        return ""
    return _annotation(inspect.signature(value).return_annotation, " -> ")


def _parameter(owner: Any, parameter: inspect.Parameter) -> str:
    stars = _STARS.get(parameter.kind, "")
    text = f"{stars}{parameter.name}{_annotation(parameter.annotation, ': ')}"
    if parameter.default is parameter.empty:
        return text
    return f"{text} = {_default(owner, parameter)}"


def _annotation(annotation: Any, before: str) -> str:
    if annotation is inspect.Signature.empty:
        return ""
    return before + (
        annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "None")
    )


def _default(owner: Any, parameter: inspect.Parameter) -> str:
    value = parameter.default
    if isinstance(value, Enum):
        return f"{type(value).__name__}.{value.name}"
    if dataclasses.is_dataclass(owner) and repr(value) == "<factory>":
        factory: Any = next(
            f.default_factory for f in dataclasses.fields(owner) if f.name == parameter.name
        )
        return "{}" if factory is dict else "[]" if factory is list else "..."
    if inspect.isroutine(value):
        return value.__name__
    # Objects whose text holds an address, or a whole table, are not worth their space.
    return repr(value) if isinstance(value, str | int | float | tuple | None) else "..."


def _first_line(value: Any) -> str:
    doc = vars(value).get("__doc__") if isinstance(value, type) else inspect.getdoc(value)
    text = (doc or "").strip()
    # A data class without a docstring is given its signature as one.
    is_generated = isinstance(value, type) and text.startswith(f"{value.__name__}(")
    return "" if is_generated or not text else text.splitlines()[0].strip()


def _table(titles: list[str], rows: list[list[str]]) -> str:
    lines = [
        titles,
        ["---"] * len(titles),
        *([cell.replace("|", "\\|") for cell in row] for row in rows),
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
