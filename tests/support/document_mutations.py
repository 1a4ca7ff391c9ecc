"""Small changes of a flow document, one at a time: a value that is gone, doubled, or another one."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

OTHERS: tuple[Any, ...] = (None, True, 0, -5, "", "nope", [], ["x"], {}, {"x": 1})


def mutations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Give what was changed, with the changed document."""
    for path in _paths(document):
        yield from _changes(document, path)


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    keys = value if isinstance(value, dict) else range(len(value))
    for key in keys:
        yield (*path, key)
        if isinstance(value[key], dict | list):
            yield from _paths(value[key], (*path, key))


def _changes(document: dict[str, Any], path: tuple[Any, ...]) -> Iterator[tuple[str, Any]]:
    name = "/".join(map(str, path))
    for label, change in (("gone", _delete), ("doubled", _double)):
        changed = deepcopy(document)
        if change(_holder(changed, path), path[-1]):
            yield f"{name} {label}", changed
    for other in OTHERS:
        changed = deepcopy(document)
        holder = _holder(changed, path)
        if holder[path[-1]] != other:
            holder[path[-1]] = deepcopy(other)
            yield f"{name} = {other!r}", changed


def _holder(document: Any, path: tuple[Any, ...]) -> Any:
    for key in path[:-1]:
        document = document[key]
    return document


def _delete(holder: Any, key: Any) -> bool:
    del holder[key]
    return True


def _double(holder: Any, key: Any) -> bool:
    if isinstance(holder, list):
        holder.append(deepcopy(holder[key]))
    return isinstance(holder, list)
