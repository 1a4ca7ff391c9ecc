"""How the delta of a commit is applied to the variables before it; `shadow` says what it holds."""

from __future__ import annotations

from typing import Any

from abstractruntime._json import JsonObject, split_pointer


def fold(state: JsonObject, commit: JsonObject, result: Any = None) -> None:
    """Apply the operations of a commit to variables.

    Args:
        state: The variables before the commit; changed in place.
        commit: The commit, with offloaded values back in place.
        result: What `put` refers to.

    Raises:
        KeyError, IndexError, ValueError, TypeError: an operation does not fit the state.
    """
    for pointer in commit.get("del", ()):
        parent, token = _parent(state, pointer)
        del parent[token]
    for pointer, value in commit.get("set", {}).items():
        parent, token = _parent(state, pointer)
        parent[token] = value
    for pointer, items in commit.get("app", {}).items():
        parent, token = _parent(state, pointer)
        parent[token].extend(items)
    if "put" in commit:
        parent, token = _parent(state, commit["put"], create=True)
        parent[token] = result
    for pointer, keys in commit.get("ord", {}).items():
        _reorder(_at(state, pointer), keys)


def _parent(state: Any, pointer: str, *, create: bool = False) -> tuple[Any, Any]:
    tokens = split_pointer(pointer)
    value = state
    for token in tokens[:-1]:
        if create and type(value) is dict and token not in value:
            value[token] = {}
        value = value[int(token) if type(value) is list else token]
    return value, int(tokens[-1]) if type(value) is list else tokens[-1]


def _at(state: Any, pointer: str) -> Any:
    for token in split_pointer(pointer):
        state = state[int(token) if type(state) is list else token]
    return state


def _reorder(value: JsonObject, keys: list[str]) -> None:
    items = {key: value[key] for key in keys}
    value.clear()
    value.update(items)


__all__ = ["fold"]
