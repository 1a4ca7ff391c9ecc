"""Deciding whether orjson may write a value.

orjson is an order of magnitude faster than the standard library, and both write the
same bytes for plain values. They differ for floats that need an exponent (`1e16` against
`1e+16`) and for integers beyond 64 bits; NaN and foreign types must not pass at all.
"""

from __future__ import annotations

from typing import Any

import orjson

from abstractruntime._json import MAX_DEPTH, dump_line

_LEAST_INT = -(1 << 63)
_MOST_INT = (1 << 64) - 1

_STRICT = (
    orjson.OPT_PASSTHROUGH_SUBCLASS
    | orjson.OPT_PASSTHROUGH_DATACLASS
    | orjson.OPT_PASSTHROUGH_DATETIME
)
_SORTED = _STRICT | orjson.OPT_SORT_KEYS


def is_plain(value: Any, depth: int = 0) -> bool:
    """Tell whether a value is JSON that orjson and the standard library write alike.

    Text is taken as it is: orjson itself refuses lone surrogates.
    """
    kind = type(value)
    if kind is str or value is None or kind is bool:
        return True
    if kind is int:
        return bool(_LEAST_INT <= value <= _MOST_INT)
    if kind is float:
        return bool(1e-4 <= abs(value) < 1e16 or value == 0.0)
    if depth >= MAX_DEPTH:
        return False
    if kind is dict:
        return _is_plain_dict(value, depth + 1)
    if kind is list:
        return _is_plain_list(value, depth + 1)
    return False


def _is_plain_dict(value: dict[Any, Any], depth: int) -> bool:
    for key, item in value.items():
        if type(key) is not str:
            return False
        kind = type(item)
        if kind is str or item is None or kind is bool:
            continue
        if not is_plain(item, depth):
            return False
    return True


def _is_plain_list(value: list[Any], depth: int) -> bool:
    for item in value:  # noqa: SIM110 - a generator doubles the cost of the hottest loop
        if type(item) is not str and not is_plain(item, depth):
            return False
    return True


def dump(value: Any) -> bytes:
    """Write a value quickly, for comparing and remembering; not for hashing.

    Raises:
        TypeError: the value needs `normalise` first, or holds an integer beyond 64 bits.
    """
    return orjson.dumps(value, option=_STRICT)


def dump_plain_sorted(value: Any) -> bytes:
    """Write a plain value exactly as `_json.dump_sorted` does.

    Raises:
        TypeError: text in it holds a lone surrogate.
    """
    return orjson.dumps(value, option=_SORTED)


def dump_any(value: Any) -> bytes:
    """Write any JSON value, for comparing and remembering; big integers take the slow way."""
    try:
        return dump(value)
    except TypeError:
        return dump_line(value)
