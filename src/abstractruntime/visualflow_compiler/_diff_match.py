"""Which node of one document became which node of another."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Final

from abstractruntime._json import dump_sorted
from abstractruntime.nodes.base import Element

_ENOUGH: Final = 0.6
# Comparing texts costs their product; of more nodes than this, labels alone are compared.
_MOST_COMPARED: Final = 40
_MOST_PAIRS: Final = 40_000
_COMPARED_CHARS: Final = 2000


def match_elements(before: Mapping[str, Element], after: Mapping[str, Element]) -> dict[str, str]:
    """Give the nodes that have another id now, from old id to new id.

    Nodes whose id is on both sides are never matched with others. Of the rest, the most similar
    pairs of one type come first.
    """
    gone = [element for node_id, element in before.items() if node_id not in after]
    come = [element for node_id, element in after.items() if node_id not in before]
    deep = len(gone) <= _MOST_COMPARED
    scored = [(_similarity(gone[i], come[j], deep=deep), i, j) for i, j in _candidates(gone, come)]
    renamed: dict[str, str] = {}
    taken: set[str] = set()
    for score, i, j in sorted(scored, key=lambda item: (-item[0], item[1], item[2])):
        old_id, new_id = gone[i].id, come[j].id
        if score >= _ENOUGH and old_id not in renamed and new_id not in taken:
            renamed[old_id] = new_id
            taken.add(new_id)
    return renamed


def _candidates(gone: list[Element], come: list[Element]) -> Iterator[tuple[int, int]]:
    """Give the pairs to compare: those of one type, of many nodes those with one label alone."""
    if len(gone) * len(come) <= _MOST_PAIRS:
        yield from (
            (i, j)
            for i, old in enumerate(gone)
            for j, new in enumerate(come)
            if old.type == new.type
        )
        return
    places: dict[tuple[str, str], int] = {}
    for j, new in enumerate(come):
        places.setdefault((new.type, new.label), j)
    for i, old in enumerate(gone):
        if old.label and (old.type, old.label) in places:
            yield i, places.pop((old.type, old.label))


def _similarity(old: Element, new: Element, *, deep: bool) -> float:
    """Give 0 to 1: how alike label and content are; the label counts as much as the rest."""
    labels = old.label[:_COMPARED_CHARS], new.label[:_COMPARED_CHARS]
    label = _ratio(*labels) if any(labels) else None
    content = _content(old) == _content(new)
    if content or not deep:
        body = 1.0 if content else 0.0
    else:
        body = _ratio(_content(old), _content(new))
    return body if label is None else max(label, (label + body) / 2)


def _content(element: Element) -> str:
    data = {name: value for name, value in element.data.items() if name != "label"}
    return dump_sorted(data).decode()[:_COMPARED_CHARS]


def _ratio(one: str, other: str) -> float:
    if one == other:
        return 1.0
    matcher = difflib.SequenceMatcher(None, one, other, autojunk=False)
    return matcher.ratio() if matcher.quick_ratio() >= _ENOUGH else 0.0
