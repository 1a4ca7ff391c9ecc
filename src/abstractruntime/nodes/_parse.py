"""Reading JSON out of texts that models and people write.

Only what JSON can hold comes out: NaN, infinities and lone surrogates are refused.
"""

from __future__ import annotations

import ast
import re
import warnings
from itertools import islice
from typing import Any, Final

from abstractruntime._json import JsonValue, normalise
from abstractruntime.errors import InvalidValue
from abstractruntime.nodes.base import NodeError
from abstractruntime.rendering.json_text import decode, decode_at, strip_fence

_MAX_STARTS: Final = 64
_MAX_LITERAL_CHARS: Final = 50_000
_BRACKET = re.compile(r"[{\[]")


def parse_loose_json(text: str) -> JsonValue:
    """Give the first value found in `text`: strict JSON, embedded JSON, a Python literal.

    Raises:
        NodeError: the text is empty, or holds none of them.
    """
    candidate = strip_fence(text)
    if not candidate:
        raise NodeError("parse_json requires a non-empty 'text' input.")
    try:
        return decode(candidate)
    except ValueError:
        pass
    for match in islice(_BRACKET.finditer(candidate), _MAX_STARTS):
        try:
            return decode_at(candidate, match.start())
        except ValueError:
            continue
    return _python_literal(candidate)


def _python_literal(text: str) -> JsonValue:
    if len(text) > _MAX_LITERAL_CHARS:
        # Hazard: what the compiler makes of a text is a thousand times as large.
        raise NodeError(
            f"Invalid JSON: {len(text):,} characters are neither JSON nor hold any, and more than"
            f" {_MAX_LITERAL_CHARS:,} are not read as Python"
        )
    try:
        # Hazard: the compiler warns about odd escapes in foreign text; that is no news for anyone.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            value = ast.literal_eval(text)
        return normalise(_plain(value))
    except InvalidValue as error:
        raise NodeError(f"Invalid JSON: {error.message}") from error
    except (RecursionError, MemoryError):
        raise NodeError("Invalid JSON: nested too deeply") from None
    except SyntaxError as error:
        raise NodeError(f"Invalid JSON: {error}") from error
    except (ValueError, TypeError) as error:
        # Compat: 0.4.2 went on with a memory address, which differs in every process (quirk 18).
        reason = str(error).partition(": <")[0]
        raise NodeError(f"Invalid JSON: {reason}") from error


def _plain(value: Any) -> JsonValue:
    """Give a Python literal in JSON types: tuples are lists, other objects are text."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, set):
        # Invariant: the text must not depend on the order in which this process hashes.
        return "{" + ", ".join(sorted(map(repr, value))) + "}"
    if value is None or isinstance(value, str | bool | int | float):
        return value
    return str(value)
