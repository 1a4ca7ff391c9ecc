"""Author code: what it sees, how it is called, what may come back.

Rules:
1. Every call executes the module text afresh in a new namespace, then calls the function.
2. Names visible are the builtins below. What protects the host is the process around this
   module, not the choice of names: `str.format` may walk attributes, and harms nobody.
3. A result is JSON or a failure that names the place of the culprit.

The worker loads this file by path, so it imports the standard library only.
"""

from __future__ import annotations

import builtins
import json
import math
from collections.abc import Callable, Iterator
from types import CodeType
from typing import Any

FILENAME = "<code>"
_MODULE = "code"
MAX_DEPTH = 200
_TEXT_LIMIT = 4000
_NAME_LIMIT = 200
_CALLS, _CAUSES = 10, 3
_CLASS_NAME: Any = type.__dict__["__name__"]
_CACHE_LIMIT = 256
_REPLACED = "\ufffd".encode()

_NAMES = (
    "True", "False", "None", "isinstance", "callable", "repr",
    "str", "int", "float", "bool", "list", "dict", "tuple", "set", "frozenset", "bytes", "bytearray",
    "len", "range", "enumerate", "zip", "map", "filter", "sorted", "reversed", "slice", "iter", "next",
    "min", "max", "sum", "abs", "round", "divmod", "pow", "any", "all",
    "chr", "ord", "bin", "hex", "oct",
    "object", "super", "property", "classmethod", "staticmethod", "__build_class__",
)  # fmt: skip


class Failure(Exception):  # noqa: N818 - an outcome that crosses the process boundary
    """Author code failed; `line` counts from 1 in the author's text, None when unknown.

    `raised` has the `class`, `message` and `traceback` of what the code raised, None when it
    raised nothing.
    """

    def __init__(
        self,
        text: str,
        line: int | None = None,
        *,
        spent: bool = False,
        raised: dict[str, str] | None = None,
    ) -> None:
        super().__init__(text)
        self.text = text
        self.line = line
        self.spent = spent
        self.raised = raised


class _OneArgumentType(type):
    def __call__(cls, *args: Any) -> Any:
        if len(args) != 1:
            raise TypeError(f"type() takes 1 argument ({len(args)} given)")
        kind = type(args[0])
        # Hazard: the type of a class is the real `type`, which builds classes.
        return cls if kind is type or kind is _OneArgumentType else kind

    def __instancecheck__(cls, value: Any) -> bool:
        return isinstance(value, type)

    def __setattr__(cls, name: str, value: Any) -> None:
        raise TypeError(f"cannot set {name!r} attribute of immutable type 'type'")


class _Type(metaclass=_OneArgumentType):
    """Stands for `type`: asks, never builds; like `type` it keeps nothing for the next call."""


def _visible() -> dict[str, Any]:
    errors = {
        name: value
        for name, value in vars(builtins).items()
        if isinstance(value, type) and issubclass(value, Exception)
    }
    return {**{name: getattr(builtins, name) for name in _NAMES}, **errors, "type": _Type}


_BUILTINS = _visible()
VISIBLE = frozenset({*_BUILTINS, "print"})
"""The names that code sees besides its own."""
_compiled: dict[str, CodeType] = {}


class Output:
    """Text that author code printed, cut off at a limit."""

    def __init__(self, limit: int) -> None:
        self._left = limit
        self._parts: list[str] = []

    def print(self, *values: Any, sep: str | None = " ", end: str | None = "\n", **_: Any) -> None:
        text = (" " if sep is None else sep).join(map(str, values)) + ("\n" if end is None else end)
        self._parts.append(text[: self._left])
        self._left -= len(self._parts[-1])

    def text(self) -> str:
        return "".join(self._parts)


def call_function(source: str, function: str, value: Any, output: Output) -> Any:
    """Execute `source`, call its `function` with `value` and give what it returns, unchecked.

    Raises:
        Failure: with the text that the author reads.
    """
    # Class statements name the module that they are in.
    names: dict[str, Any] = {
        "__builtins__": {**_BUILTINS, "print": output.print},
        "__name__": _MODULE,
    }
    _guarded("Execution error", lambda: exec(_compile(source), names), source)  # noqa: S102 - the purpose of this module
    if function not in names:
        raise Failure(f"Function {function!r} not defined in code")
    target = names[function]
    if not callable(target):
        raise Failure(f"{function!r} is not a callable function")
    return _guarded("Runtime error", lambda: target(value), source)


def encode_result(value: Any, function: str) -> bytes:
    """Write a result as JSON; lone surrogates become U+FFFD.

    Raises:
        Failure: something in it is not JSON, or two keys of an object are the same in JSON; the
            text names its JSON pointer.
    """
    try:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        reason = _culprit(value, "", 0) or f"it is not JSON: {error}"
        raise Failure(f"Result of {function!r} cannot be stored: {reason}") from None
    except MemoryError:
        raise Failure(
            f"Result of {function!r} cannot be stored: out of memory", spent=True
        ) from None
    encoded = encode_text(text)
    # What was replaced makes the text of keys that differ the same.
    if clash := _clash(value, is_replaced=_REPLACED in encoded):
        raise Failure(f"Result of {function!r} cannot be stored: {clash}")
    return encoded


def encode_text(text: str) -> bytes:
    """Encode as UTF-8 with U+FFFD for lone surrogates."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").encode()


def _compile(source: str) -> CodeType:
    code = _compiled.get(source)
    if code is None:
        if len(_compiled) >= _CACHE_LIMIT:
            _compiled.clear()
        code = _compiled[source] = compile(source, FILENAME, "exec", dont_inherit=True)
    return code


def _guarded(label: str, action: Callable[[], Any], source: str) -> Any:
    try:
        return action()
    except BaseException as error:  # noqa: BLE001 - author code may raise anything; all of it is recorded
        message = _describe(error)[:_TEXT_LIMIT]
        raise Failure(
            f"{label}: {message}"[:_TEXT_LIMIT],
            _line_of(error),
            spent=isinstance(error, MemoryError),
            raised={
                "class": _class_of(error),
                "message": message,
                "traceback": _traceback(error, source),
            },
        ) from None


def _describe(error: BaseException) -> str:
    try:
        text = str(error)
    except BaseException as broken:  # noqa: BLE001 - the text of an author's error is author code too
        text = f"{_class_of(error)} whose text raised {_class_of(broken)}"
    return text or ("out of memory" if isinstance(error, MemoryError) else "")


def _class_of(error: BaseException) -> str:
    # Hazard: a metaclass of the author's may give any `__name__`, or none.
    name: str = _CLASS_NAME.__get__(type(error))
    return name[:_NAME_LIMIT]


def _line_of(error: BaseException) -> int | None:
    found = error.lineno if isinstance(error, SyntaxError) else None
    for line, _ in _frames(error):
        found = line
    return found


def _traceback(error: BaseException, source: str) -> str:
    """Give the calls in the author's code that led to an error, and those of the errors before it."""
    lines, seen = source.splitlines(), {id(error)}
    parts = [_calls(error, lines)]
    while (cause := error.__cause__ or error.__context__) is not None and id(cause) not in seen:
        if len(parts) > _CAUSES:
            break
        seen.add(id(cause))
        parts.append(
            f"{_class_of(cause)}: {_describe(cause)[:_TEXT_LIMIT]}\n{_calls(cause, lines)}"
        )
        error = cause
    return "\nwhile handling\n".join(parts)[:_TEXT_LIMIT]


def _calls(error: BaseException, lines: list[str]) -> str:
    frames = [
        f"line {line}, in {name}"
        + (f"\n    {lines[line - 1].strip()}" if line <= len(lines) else "")
        for line, name in _frames(error)
    ]
    if len(frames) > 2 * _CALLS:
        left = f"... {len(frames) - 2 * _CALLS} more ..."
        frames = [*frames[:_CALLS], left, *frames[-_CALLS:]]
    return "\n".join(frames)


def _frames(error: BaseException) -> Iterator[tuple[int, str]]:
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        if code.co_filename == FILENAME:
            yield trace.tb_lineno, code.co_name[:_NAME_LIMIT]
        trace = trace.tb_next


def _culprit(value: Any, path: str, depth: int) -> str | None:
    if depth > MAX_DEPTH:
        return f"it is nested deeper than {MAX_DEPTH} levels"
    if isinstance(value, dict):
        return _dict_culprit(value, path, depth)
    if isinstance(value, (list, tuple)):
        found = (_culprit(item, f"{path}/{i}", depth + 1) for i, item in enumerate(value))
        return next(filter(None, found), None)
    if isinstance(value, float) and not math.isfinite(value):
        return f"{value!r} at {path or '/'!r} is not JSON"
    if value is None or isinstance(value, (str, int, float)):
        return None
    return f"{type(value).__name__} at {path or '/'!r} is not JSON"


def _dict_culprit(value: dict[Any, Any], path: str, depth: int) -> str | None:
    for key, item in value.items():
        if not (key is None or isinstance(key, (str, int, float))):
            return f"key of type {type(key).__name__} at {path or '/'!r} is not text"
        token = str(key).replace("~", "~0").replace("/", "~1")
        found = _culprit(item, f"{path}/{token}", depth + 1)
        if found:
            return found
    return None


def _clash(value: Any, *, is_replaced: bool) -> str | None:
    """Name two keys of one object that are the same in JSON, of which one would be lost."""
    waiting = [value]
    for item in waiting:
        if isinstance(item, dict):
            may_clash = is_replaced or not {str}.issuperset(map(type, item))
            if may_clash and (pair := _same_keys(item)):
                where = _pointer_to(value, item) or "/"
                return f"keys {pair[0]!r} and {pair[1]!r} at {where!r} are the same in JSON"
        inner = item.values() if isinstance(item, dict) else item
        if isinstance(item, (dict, list, tuple)):
            waiting.extend(child for child in inner if isinstance(child, (dict, list, tuple)))
    return None


def _same_keys(item: dict[Any, Any]) -> tuple[Any, Any] | None:
    seen: dict[str, Any] = {}
    for key in item:
        text = _key_text(key)
        if text in seen:
            return seen[text], key
        seen[text] = key
    return None


def _key_text(key: Any) -> str:
    if isinstance(key, str):
        return encode_text(key).decode()
    if key is None or isinstance(key, bool):
        return json.dumps(key)
    return int.__repr__(key) if isinstance(key, int) else float.__repr__(key)


def _pointer_to(value: Any, wanted: Any) -> str | None:
    """Give the JSON pointer of an object inside a value."""
    waiting = [(value, "")]
    for item, path in waiting:
        if item is wanted:
            return path
        pairs = item.items() if isinstance(item, dict) else enumerate(item)
        for key, child in pairs:
            if isinstance(child, (dict, list, tuple)):
                token = str(key).replace("~", "~0").replace("/", "~1")
                waiting.append((child, f"{path}/{token}"))
    return None
