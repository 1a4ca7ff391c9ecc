"""JSON values: the alias, the strict reader, the canonical writer, and normalisation.

Rules:
1. What becomes state is read with the standard library, so integers of any size survive.
2. Bytes that are hashed come from one writer: compact, UTF-8, insertion order
   (`dump_line`), and for hashes the same with keys sorted by code point (`dump_sorted`).
3. A value enters a record only after `normalise`: JSON types, text keys, finite floats.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any, Final, TypeAlias

import orjson

from abstractruntime.errors import InvalidValue

# Recursive aliases of JSON containers make every access a cast; payloads stay Any-valued.
JsonValue: TypeAlias = Any
JsonObject: TypeAlias = dict[str, Any]

MAX_DEPTH = 200
_BOM = "\ufeff"

_LARGE_BYTES = 64 * 1024

_ORJSON_STRICT = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME


def mapping(value: JsonValue) -> JsonObject:
    """Give `value` if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def dump_line(value: JsonValue) -> bytes:
    """Write compact UTF-8 JSON in insertion order, as ledger lines store it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def dump_sorted(value: JsonValue) -> bytes:
    """Write the canonical form that record hashes and payload keys are taken over.

    Keys sort by code point and floats use Python's `repr` (`1e+16`); this is the
    0.4.x definition, not RFC 8785.
    """
    return json.dumps(
        value, ensure_ascii=False, separators=(",", ":"), sort_keys=True, allow_nan=False
    ).encode()


# Of the message that Python gives for a number of too many digits; its advice is for programs.
_DIGITS = "int_max_str_digits"


def load_strict(data: bytes | str) -> JsonValue:
    """Read JSON, refusing duplicate keys, NaN and infinities.

    Raises:
        ValueError: the text is not JSON, or breaks one of these rules.
    """
    if isinstance(data, bytes):
        data = data.decode(json.detect_encoding(data), "surrogatepass")
    if data.startswith(_BOM):
        mark = json.JSONDecodeError("Unexpected UTF-8 BOM (decode using utf-8-sig)", data, 0)
        mark.args = (why_unread(mark),)
        raise mark
    try:
        return _STRICT.decode(data)
    except json.JSONDecodeError as cause:
        cause.args = (why_unread(cause),)
        raise
    except ValueError as cause:
        if _DIGITS in str(cause):
            raise ValueError(why_unread(cause)) from None
        raise


TOO_MANY_DIGITS: Final = "it holds a number of too many digits"


def why_unread(cause: Exception) -> str:
    """Say why `load_strict` refused a text, in words that are ours."""
    if isinstance(cause, json.JSONDecodeError):
        return f"{syntax_problem(cause)} at line {cause.lineno}, column {cause.colno}"
    if isinstance(cause, UnicodeDecodeError):
        return f"it is not UTF-8 at byte {cause.start}"
    text = str(cause)
    if isinstance(cause, RecursionError):
        return f"it is nested deeper than {MAX_DEPTH} levels"
    if _DIGITS in text:
        return TOO_MANY_DIGITS
    return text


# By how the messages of Python's reader begin.
_SYNTAX = {
    "Expecting value": "expected a value",
    "Expecting property name": "expected a name in double quotes",
    "Expecting ':'": "expected ':' after a name",
    "Expecting ','": "expected ',' or an end",
    "Illegal trailing comma": "a comma stands before the end",
    "Extra data": "expected nothing more",
    "Unterminated string": "a text begins and does not end",
    "Invalid control character": "a text holds a line break or control character as it is",
    "Invalid \\escape": "a text holds a backslash that begins nothing",
    "Invalid \\u": "a text holds \\u without four hex digits",
    "Unexpected UTF-8 BOM": "it begins with a byte order mark",
}


def syntax_problem(cause: json.JSONDecodeError) -> str:
    """Say what a reader of JSON did not find, or found, without the place."""
    found = (words for begin, words in _SYNTAX.items() if cause.msg.startswith(begin))
    return next(found, cause.msg)


def object_of_pairs(pairs: list[tuple[str, Any]]) -> JsonObject:
    """Give the object of these members.

    Raises:
        ValueError: a key occurs twice.
    """
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise ValueError(f"duplicate key {key!r}")
            seen.add(key)
    return result


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


_STRICT = json.JSONDecoder(object_pairs_hook=object_of_pairs, parse_constant=_refuse_constant)

# For texts of people and models: the last of equal keys wins.
TOLERANT_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


def normalise(value: JsonValue, path: str = "") -> JsonValue:
    """Give `value` in plain JSON types; the same object when nothing had to change.

    Tuples become lists; int, float, bool and None keys become their JSON text;
    enum and str subclasses become plain text.

    Raises:
        InvalidValue: NaN, infinity, a lone surrogate, another type, or more than
            200 levels; `details["path"]` is the JSON pointer of the culprit.
    """
    return value if _is_plain(value) else _normalise(value, path, 0)


_SIMPLE = frozenset({type(None), bool, int})


def _is_plain(value: JsonValue) -> bool:
    """Tell quickly that nothing has to change; False means: perhaps something has to."""
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        inner: list[Any] = []
        for item in level:
            kind = type(item)
            if kind is str:
                if not (item.isascii() or _encodes(item)):
                    return False
            elif kind is dict:
                if not (set(map(type, item)) <= _TEXT_ONLY and _encodes("".join(item))):
                    return False
                inner += item.values()
            elif kind is list:
                inner += item
            elif not (kind in _SIMPLE or (kind is float and math.isfinite(item))):
                return False
        if not inner:
            return True
        level = inner
    return False


_TEXT_ONLY = frozenset({str})


def _encodes(text: str) -> bool:
    """Tell whether a text holds no lone surrogate."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _normalise(value: JsonValue, path: str, depth: int) -> JsonValue:
    kind = type(value)
    if kind is str:
        return _checked_text(value, path)
    if kind in _SIMPLE:
        return value
    if kind is float:
        if math.isfinite(value):
            return value
        raise InvalidValue(f"{value!r} at {path or '/'!r} is not JSON", path=path or "/")
    if depth >= MAX_DEPTH:
        raise InvalidValue(f"value at {path!r} is nested deeper than {MAX_DEPTH}", path=path)
    if isinstance(value, dict):
        return _normalise_dict(value, path, depth)
    if isinstance(value, list | tuple):
        return _normalise_list(value, path, depth)
    return _normalise_subclass(value, path, depth)


def _normalise_dict(value: JsonObject, path: str, depth: int) -> JsonObject:
    clean: JsonObject = {}
    same = type(value) is dict
    for key, item in value.items():
        kind = type(item)
        # The common case, without a call and without building a path.
        if (
            type(key) is str
            and key.isascii()
            and (kind in _SIMPLE or (kind is str and item.isascii()))
        ):
            clean[key] = item
            continue
        text = key if type(key) is str else _key_text(key, path)
        new = _normalise(item, f"{path}/{escape_pointer(text)}", depth + 1)
        same = same and new is item and text is key
        clean[_checked_text(text, path)] = new
    return value if same else clean


def _normalise_list(value: Any, path: str, depth: int) -> list[Any]:
    clean = [_normalise(item, f"{path}/{i}", depth + 1) for i, item in enumerate(value)]
    if type(value) is list and all(a is b for a, b in zip(clean, value, strict=True)):
        return value
    return clean


def _normalise_subclass(value: Any, path: str, depth: int) -> JsonValue:
    for base in (str, int, float):
        if isinstance(value, base):
            return _normalise(base(getattr(value, "value", value)), path, depth)
    raise InvalidValue(
        f"{type(value).__name__} at {path or '/'!r} is not JSON",
        path=path or "/",
        type=type(value).__name__,
    )


def _key_text(key: Any, path: str) -> str:
    if isinstance(key, str):
        return str(getattr(key, "value", key))
    if key is None or isinstance(key, bool | int | float):
        return json.dumps(key)
    raise InvalidValue(
        f"key of type {type(key).__name__} at {path or '/'!r} is not text", path=path or "/"
    )


def _checked_text(text: str, path: str) -> str:
    if _encodes(text):
        return text
    raise InvalidValue(f"text at {path or '/'!r} holds a lone surrogate", path=path or "/")


def replace_surrogates(text: str) -> str:
    """Give `text` with lone surrogates replaced by U+FFFD, for text from outside."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def isolate(value: JsonValue) -> JsonValue:
    """Copy a JSON value so that nothing that can change is shared with the original.

    Raises:
        InvalidValue: it holds another type, or a key that cannot become text.
    """
    try:
        data = orjson.dumps(value, option=_ORJSON_STRICT)
    except (TypeError, orjson.JSONEncodeError):
        return json.loads(json.dumps(normalise(value)))
    if len(data) <= _LARGE_BYTES:
        return orjson.loads(data)
    # The texts of a large value stay where they are: each copy of a run would double them.
    del data
    return copied(value)


def copied(value: JsonValue) -> JsonValue:
    """Copy a JSON value that orjson can write; the texts of the copy are those of the original."""
    kind = type(value)
    if kind is str or kind in _SIMPLE:
        return value
    if kind is dict:
        return {key: copied(item) for key, item in value.items()}
    if kind is list:
        return [copied(item) for item in value]
    return orjson.loads(orjson.dumps(value, option=_ORJSON_STRICT))


def escape_pointer(key: str) -> str:
    """Escape one reference token of an RFC 6901 pointer."""
    return key.replace("~", "~0").replace("/", "~1") if "~" in key or "/" in key else key


def unescape_pointer(token: str) -> str:
    """Undo `escape_pointer`."""
    return token.replace("~1", "/").replace("~0", "~") if "~" in token else token


def split_pointer(pointer: str) -> list[str]:
    """Split an RFC 6901 pointer into unescaped tokens; the empty pointer gives none."""
    return [unescape_pointer(t) for t in pointer.split("/")[1:]] if pointer else []


def join_pointer(tokens: Iterable[object]) -> str:
    """Give the RFC 6901 pointer of keys and indexes; none give the empty pointer."""
    return "".join(["/" + escape_pointer(str(token)) for token in tokens])
