"""Plain arguments, read without the schema library that the parser brings.

The parser builds a schema for every parameter, also for those that nobody gave; that costs more
than most commands. What is plain is therefore read here, and the rest is left to the parser.

Rules:
1. A value is plain where the parser would give the same; a test compares both for every command.
2. The parser decides what is a mistake; what is wrong is said in our words where we have some.
3. A parser that describes its parameters in another way reads everything itself.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any, get_args, get_origin

_NUMBERS = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,18})?")


def reading_plainly(params: list[Any]) -> list[Any]:
    """Give the parameters of a command, which read plain values themselves from now on."""
    for param in params:
        if hasattr(param, "type_descriptor") and "process_value" not in vars(param):
            param.process_value = partial(_process, param, param.process_value)
    return params


def require_once(given: list[Any], command: str) -> None:
    """Refuse an option with one value that is given several times: the parser takes the last.

    Raises:
        UsageError: there is one.
    """
    seen: set[str] = set()
    for param in given:
        is_single = param.param_type_name == "option" and not (param.multiple or param.is_flag)
        if is_single and param.name in seen:
            from abstractruntime.errors import UsageError

            name = "/".join(param.opts)
            raise UsageError(
                f"option {name} is given several times, and takes one value",
                hint=f"give it once; see: {command} --help",
                argument=name,
            )
        seen.add(param.name)


def _process(param: Any, parse: Callable[[Any, Any], Any], ctx: Any, value: Any) -> Any:
    try:
        plain = _plain(param, value)
    except (AttributeError, ValueError):
        return _parsed(param, parse, ctx, value)
    return param.callback(ctx, param, plain) if param.callback else plain


def _parsed(param: Any, parse: Callable[[Any, Any], Any], ctx: Any, value: Any) -> Any:
    try:
        return parse(ctx, value)
    except Exception as cause:
        described = getattr(param, "type_descriptor", None)
        if described is None or not hasattr(cause, "format_message"):
            raise
        from abstractruntime.cli._wrong_values import wrong_value

        kind = described.annotation
        kind = get_args(kind)[0] if get_origin(kind) is list else kind
        fits = partial(_is_plain, kind, described.parameter_info)
        error = wrong_value(param, kind, value, ctx.command_path, fits=fits)
        if error is None:
            raise
        raise error from cause


def _is_plain(kind: Any, info: Any, value: Any) -> bool:
    try:
        _plain_one(kind, info, value)
    except ValueError:
        return False
    return True


def _plain(param: Any, value: Any) -> Any:
    """Give the value of a parameter; the failures that `_process` knows mean: not plain."""
    kind, info = param.type_descriptor.annotation, param.type_descriptor.parameter_info
    plain: Any
    if get_origin(kind) is list:
        (kind,) = get_args(kind)
        plain = [_plain_one(kind, info, item) for item in value or ()]
    else:
        plain = None if value is None else _plain_one(kind, info, value)
    if param.required and plain in (None, []):
        raise ValueError("nothing given")
    return plain


def _plain_one(kind: Any, info: Any, value: Any) -> Any:
    text = str(value)
    text.encode()  # refuses lone surrogates
    if kind is str:
        return text
    if kind is Path and (os.access(path := Path(text), os.R_OK) or not path.exists()):
        return path
    if kind in (int, float) and _NUMBERS.fullmatch(text) and _within(info, number := kind(text)):
        return number
    if kind is bool and isinstance(value, bool):
        return value
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind(value)
    raise ValueError("not plain")


def _within(info: Any, number: float) -> bool:
    return (info.min is None or info.min <= number) and (info.max is None or number <= info.max)
