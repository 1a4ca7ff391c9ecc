"""Names that a misspelt one may have meant, found in bounded time among however many there are."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable
from heapq import nlargest, nsmallest
from itertools import islice
from typing import Final

_LONGEST: Final = 64
_LOOKED_AT: Final = 2_000
_OF_SIMILAR_LENGTH: Final = 100
_COMPARED: Final = 8


def close_names(name: str, names: Iterable[str], n: int = 1, cutoff: float = 0.6) -> list[str]:
    """Give at most `n` of `names` that resemble `name`, best first.

    Names of more than 64 characters resemble nothing. Of the first 2,000 names, the 100 of the most
    similar length are looked at, as documents of strangers may hold any number.
    """
    if len(name) > _LONGEST:
        return []
    candidates = (other for other in islice(names, _LOOKED_AT) if len(other) <= _LONGEST)
    similar = nsmallest(
        _OF_SIMILAR_LENGTH, candidates, key=lambda other: (abs(len(other) - len(name)), other)
    )
    letters = Counter(name)

    def shared(other: str) -> float:
        common = sum(min(letters[char], count) for char, count in Counter(other).items())
        return common / (len(name) + len(other) or 1)

    # The full comparison is quadratic in the length; letters in common bound what it can give.
    best = nlargest(_COMPARED, similar, key=shared) if len(similar) > _COMPARED else similar
    swapped = [other for other in best if _is_swapped(name, other)]
    return list(dict.fromkeys([*swapped, *difflib.get_close_matches(name, best, n, cutoff)]))[:n]


def _is_swapped(name: str, other: str) -> bool:
    """Tell whether two neighbours changed places, which says more in a short name than the ratio."""
    places = [at for at, (a, b) in enumerate(zip(name, other, strict=False)) if a != b]
    if len(name) != len(other) or len(places) != 2:
        return False
    first, second = places
    return second == first + 1 and name[first] + name[second] == other[second] + other[first]
