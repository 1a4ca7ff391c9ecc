"""What changed in the variables of a run since its last commit.

`StateShadow` remembers the bytes of every top-level value and, of a dict of more than 256
bytes, those of every child once it has changed. Equal bytes mean unchanged. A comparison gives
a `Delta` and becomes the new memory only by `accept`, so a commit that fails changes nothing.

The memory is a small multiple of the bytes of the variables, whatever their shape: a dict is
taken apart only where it changed, its whole bytes are kept beside those of its children
near the root only, and long texts are shared with the live variables.

Operations of a delta, in the order in which `fold.fold` applies them; pointers are RFC 6901
below vars:
1. `del [pointers]`, 2. `set {pointer: value}`, 3. `app {pointer: [items]}`,
4. `put pointer` (the result of the record), 5. `ord {pointer: [keys]}`.

Invariant: after `fold`, the rebuilt variables are text-equal to the live ones, key order
included, because prompts are rendered from that text.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from abstractruntime._json import JsonObject, escape_pointer, normalise, split_pointer
from abstractruntime.storage._store.plain import dump, dump_any, is_plain
from abstractruntime.storage._store.shared_texts import (
    LARGE_BYTES,
    Kept,
    bytes_of,
    kept,
    pieces_of,
    value_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from abstractruntime.storage._store.shared_texts import SharedTexts

_BRANCH_BYTES = 256
_CHUNK_ITEMS = 256
# Below so many keys a branch keeps no bytes of its own: a deep value would be kept once per level.
_WHOLE_LEVELS = 3

# Grown while a run is driven, rebuilt from records on demand; see `get_node_traces`.
_PROJECTION = ("_runtime", "node_traces")


@dataclass(slots=True)
class _Branch:
    """A dict of more than 256 bytes; `data` is None where only its children are remembered."""

    data: Kept | None
    children: dict[str, _Seen]


@dataclass(slots=True)
class _Items:
    """A list and its length."""

    data: Kept
    count: int


_Seen: TypeAlias = "bytes | SharedTexts | _Branch | _Items"
_Children: TypeAlias = "dict[str, _Seen]"


@dataclass(slots=True)
class Delta:
    """The operations of one commit, and the memory that accepting them leads to."""

    wrote: str | None
    source: Any
    put: str | None = None
    sets: JsonObject = field(default_factory=dict)
    app: dict[str, list[Any]] = field(default_factory=dict)
    deleted: list[str] = field(default_factory=list)
    order: dict[str, list[str]] = field(default_factory=dict)
    children: _Children = field(default_factory=dict)
    is_plain: bool = True
    # How long at least a line is that carries it.
    size: int = 0

    def state_json(self) -> bytes:
        """Write the variables that accepting it leads to."""
        return _join(self.children)

    def state_size(self) -> int:
        """Give how many bytes the values take that accepting it leads to."""
        return _size_of(self.children)

    def write_into(self, commit: JsonObject) -> None:
        """Add the operations that are not empty to a commit."""
        if self.deleted:
            commit["del"] = self.deleted
        if self.sets:
            commit["set"] = self.sets
        if self.app:
            commit["app"] = self.app
        if self.put is not None:
            commit["put"] = self.put
        if self.order:
            commit["ord"] = self.order


class StateShadow:
    """The variables of a run as of its last commit, as bytes; shares nothing with them."""

    __slots__ = ("_at_most", "_children")

    def __init__(self) -> None:
        self._children: _Children = {}
        self._at_most = 0

    def compare(
        self,
        state: JsonObject,
        *,
        wrote: str | None = None,
        source: Any = None,
        scan: bool = True,
    ) -> Delta:
        """Give what changed; values that were not plain JSON are normalised in `state` itself.

        Args:
            state: The live variables.
            wrote: Pointer at which they hold `source`, the result of the record.
            source: That result; when the two agree it is not repeated in the delta.
            scan: False when nothing but `wrote` can have changed.

        Raises:
            InvalidValue: something is not JSON; the shadow is as before.
        """
        delta = Delta(wrote, source)
        if not scan and wrote is None:
            delta.children = self._children
        elif not scan and wrote is not None and _holds(state, wrote):
            delta.children = _compare_path(self._children, state, split_pointer(wrote), "", delta)
        else:
            delta.children = _compare_root(self._children, state, delta)
        return delta

    def accept(self, delta: Delta) -> None:
        """Remember the state that `delta` leads to."""
        self._children = delta.children
        self._at_most += delta.size

    def size_after(self, delta: Delta, *, above: int) -> int:
        """Give how many bytes the values take once `delta` is accepted, at least where more than `above`.

        Below, it is what was ever written, which costs no look at the values.
        """
        if self._at_most + delta.size <= above:
            return self._at_most + delta.size
        size = delta.state_size()
        self._at_most = size - delta.size
        return size

    def size(self) -> int:
        """Give how many bytes the remembered values take."""
        return _size_of(self._children)

    def state(self) -> JsonObject:
        """Give the remembered variables as a fresh copy."""
        return _values_of(self._children)


def shadow_of(state: JsonObject) -> StateShadow:
    """Give the shadow of variables that came from disk."""
    shadow = StateShadow()
    shadow.accept(shadow.compare(state))
    return shadow


# -- comparing ----------------------------------------------------------------


def _compare_root(old: _Children, state: JsonObject, delta: Delta) -> _Children:
    if not all(type(key) is str for key in state):
        clean = normalise(dict(state))
        state.clear()
        state.update(clean)
    namespace, name = _PROJECTION
    runtime = state.get(namespace)
    if type(runtime) is not dict or name not in runtime:
        return _compare_dict(old, state, "", delta)
    visible = {key: value for key, value in runtime.items() if key != name}
    substitute = {**state, namespace: visible}
    try:
        return _compare_dict(old, substitute, "", delta)
    finally:
        # Normalised values were written back into the copies; the live dicts need them too.
        runtime.update(substitute[namespace])
        state.update({k: v for k, v in substitute.items() if k != namespace})


def _compare_dict(old: _Children, live: JsonObject, pointer: str, delta: Delta) -> _Children:
    new = None
    for key, value in live.items():
        seen = old.get(key)
        try:
            data = dump(value)
        except TypeError:
            data = _dump_odd(live, key, f"{pointer}/{escape_pointer(key)}", delta)
        if seen is not None and data == (seen if type(seen) is bytes else _data_of(seen)):
            continue
        if new is None:
            new = old.copy()
        new[key] = _changed(seen, live, key, data, f"{pointer}/{escape_pointer(key)}", delta)
    if new is None:
        new = old
    if len(new) != len(live):
        new = {key: seen for key, seen in new.items() if key in live}
        delta.deleted += [f"{pointer}/{escape_pointer(k)}" for k in old if k not in live]
    return _ordered(old, new, live, pointer, delta)


def _ordered(
    old: _Children, new: _Children, live: JsonObject, pointer: str, delta: Delta
) -> _Children:
    """Record the key order where folding would not arrive at it by itself."""
    if new is old:
        keys = list(old)
    else:
        keys = list(new)
        if delta.put is not None and delta.put.startswith(f"{pointer}/"):
            # `put` is folded after `set`, so a key that it creates comes last.
            put_key = split_pointer(delta.put[len(pointer) :])[0]
            if put_key not in old:
                keys.remove(put_key)
                keys.append(put_key)
    wanted = list(live)
    if keys == wanted:
        return new
    delta.order[pointer] = wanted
    return {key: new[key] for key in wanted}


def _compare_path(
    old: _Children, live: JsonObject, keys: list[str], pointer: str, delta: Delta
) -> _Children:
    """Compare only the value that `keys` lead to."""
    key, rest = keys[0], keys[1:]
    here = f"{pointer}/{escape_pointer(key)}"
    seen, value = old.get(key), live[key]
    new = old.copy()
    if rest and type(seen) is _Branch and type(value) is dict:
        children = _compare_path(seen.children, value, rest, here, delta)
        new[key] = _Branch(None, children)
        return new
    try:
        data = dump(value)
    except TypeError:
        data = _dump_odd(live, key, here, delta)
    if seen is not None and data == (seen if type(seen) is bytes else _data_of(seen)):
        return old
    new[key] = _changed(seen, live, key, data, here, delta)
    return _ordered(old, new, live, pointer, delta)


def _holds(state: JsonObject, pointer: str) -> bool:
    value: Any = state
    for token in split_pointer(pointer):
        if type(value) is not dict or token not in value:
            return False
        value = value[token]
    return True


def _changed(
    seen: _Seen | None, live: JsonObject, key: str, data: bytes, pointer: str, delta: Delta
) -> _Seen:
    """Add what turns `seen` into the live value to `delta`; gives the new memory of it."""
    value = live[key]
    if seen is None and not key.isascii():
        normalise(key, pointer)
    if (
        delta.wrote is not None
        and delta.wrote.startswith(pointer)
        and _is_put(seen, value, pointer, delta)
    ):
        delta.put = delta.wrote
        delta.size += len(data)
        return _remember(value, data)
    if type(value) is dict and seen is not None and len(data) > _BRANCH_BYTES:
        known = _children_of(seen)
        if known is not None:
            children = _compare_dict(known, value, pointer, delta)
            # Below, values may have been normalised, which shows in their bytes.
            is_whole = delta.is_plain and pointer.count("/") <= _WHOLE_LEVELS
            return _Branch(kept(value, data) if is_whole else None, children)
    if type(value) is list and type(seen) is _Items:
        items = _changed_items(seen, value, data, pointer, delta)
        if items is not None:
            return items
    clean = _clean(value, pointer, delta)
    if clean is not value:
        live[key] = value = clean
        data = dump_any(value)
    delta.sets[pointer] = value
    delta.size += len(data)
    return _remember(value, data)


def _is_put(seen: _Seen | None, value: Any, pointer: str, delta: Delta) -> bool:
    """Tell whether `value` is, or is a new chain of single-key dicts around, the record's result."""
    wrote = delta.wrote or ""
    if wrote != pointer:
        if seen is not None or not wrote.startswith(f"{pointer}/"):
            return False
        for token in split_pointer(wrote[len(pointer) :]):
            if type(value) is not dict or len(value) != 1 or token not in value:
                return False
            value = value[token]
    if value is delta.source:
        return True
    try:
        return is_plain(value) and dump(value) == dump(delta.source)
    except TypeError:
        return False


def _children_of(seen: _Seen) -> _Children | None:
    if isinstance(seen, _Branch):
        return seen.children
    if isinstance(seen, _Items) or next(pieces_of(seen))[:1] != b"{":
        return None
    return {key: _remember(value, dump_any(value)) for key, value in value_of(seen).items()}


def _changed_items(
    seen: _Items, live: list[Any], data: bytes, pointer: str, delta: Delta
) -> _Items | None:
    """Record a longer list as `app`, a large one of equal length item by item; else None."""
    old = bytes_of(seen.data)
    if len(live) > seen.count > 0 and data.startswith(old[:-1]) and data[len(old) - 1] == 0x2C:
        delta.app[pointer] = [
            _clean_item(live, i, pointer, delta) for i in range(seen.count, len(live))
        ]
    elif len(live) > seen.count == 0:
        delta.app[pointer] = [_clean_item(live, i, pointer, delta) for i in range(len(live))]
    elif len(live) == seen.count and len(old) > _BRANCH_BYTES:
        _set_items(old, live, pointer, delta)
    else:
        return None
    delta.size += max(0, len(data) - len(old))
    return _Items(kept(live, data if delta.is_plain else dump_any(live)), len(live))


def _set_items(old: bytes, live: list[Any], pointer: str, delta: Delta) -> None:
    """Record the items that differ, looking at them one by one only where a chunk differs."""
    before = json.loads(old)
    for start in range(0, len(live), _CHUNK_ITEMS):
        stop = start + _CHUNK_ITEMS
        if dump_any(before[start:stop]) == _try_dump(live[start:stop]):
            continue
        for i in range(start, min(stop, len(live))):
            if dump_any(before[i]) != _try_dump(live[i]):
                delta.sets[f"{pointer}/{i}"] = _clean_item(live, i, pointer, delta)


def _clean_item(live: list[Any], index: int, pointer: str, delta: Delta) -> Any:
    value = live[index]
    clean = _clean(value, f"{pointer}/{index}", delta)
    if clean is not value:
        live[index] = clean
    return clean


def _clean(value: Any, pointer: str, delta: Delta) -> Any:
    if is_plain(value):
        return value
    delta.is_plain = False
    return normalise(value, pointer)


def _dump_odd(live: JsonObject, key: str, pointer: str, delta: Delta) -> bytes:
    """Normalise a value that orjson refuses, in place, and write it."""
    delta.is_plain = False
    value = live[key] = normalise(live[key], pointer)
    return dump_any(value)


def _try_dump(value: Any) -> bytes | None:
    try:
        return dump(value)
    except TypeError:
        return None


def _remember(value: Any, data: bytes) -> _Seen:
    seen = kept(value, data)
    return _Items(seen, len(value)) if type(value) is list else seen


def _join(children: _Children) -> bytes:
    # One buffer: a list of what many small values take would be many times as large.
    joined = bytearray(b"{")
    for key, seen in children.items():
        joined += dump(key)
        joined += b":"
        if type(seen) is bytes:
            joined += seen
        else:
            for piece in _pieces_of(seen):
                joined += piece
        joined += b","
    if children:
        joined.pop()
    joined += b"}"
    return bytes(joined)


def _pieces_of(seen: _Seen) -> Iterator[bytes]:
    data = _data_of(seen)
    return pieces_of(data) if data is not None else iter((_join(seen.children),))  # type: ignore[union-attr] # only branches have none


def _size_of(children: _Children) -> int:
    size = 0
    for seen in children.values():
        size += _length_of(seen)
    return size


def _length_of(seen: _Seen) -> int:
    data = _data_of(seen)
    return len(data) if data is not None else _size_of(seen.children)  # type: ignore[union-attr] # only branches have none


def _data_of(seen: _Seen) -> Kept | None:
    """Give the bytes of a value; None for a branch that keeps only those of its children."""
    return seen.data if isinstance(seen, _Branch | _Items) else seen


def _values_of(children: _Children) -> JsonObject:
    """Give fresh values; large ones one by one, or the bytes of all would be held beside them."""
    large = {
        key: _value_of(seen) for key, seen in children.items() if _length_of(seen) > LARGE_BYTES
    }
    if not large:
        values: JsonObject = json.loads(_join(children))
        return values
    small = json.loads(_join({key: seen for key, seen in children.items() if key not in large}))
    return {key: large[key] if key in large else small[key] for key in children}


def _value_of(seen: _Seen) -> Any:
    data = _data_of(seen)
    return value_of(data) if data is not None else _values_of(seen.children)  # type: ignore[union-attr] # only branches have none


__all__ = ["Delta", "StateShadow", "shadow_of"]
