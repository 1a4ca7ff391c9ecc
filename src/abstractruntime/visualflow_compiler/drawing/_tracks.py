"""Tracks: the rows of a channel, given out so that lines of different targets never share one.

A net is what may share: all lines of one channel that end in the same port.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Net:
    """Lines of one channel that end in the same port; `sources` and `target` are columns."""

    sources: frozenset[int]
    target: int

    @property
    def is_straight(self) -> bool:
        return self.sources == {self.target}

    @property
    def span(self) -> tuple[int, int]:
        columns = {*self.sources, self.target}
        return min(columns), max(columns)


def give_tracks(nets: Sequence[Net]) -> tuple[dict[int, int], int]:
    """Give the track of each net that needs one, by its place in `nets`, and how many there are.

    Invariant: where a line leaves a column that another one arrives in, the track of the
    leaving one lies higher. Two lines that change places cannot both; they cross openly.
    """
    bent = [i for i, net in enumerate(nets) if not net.is_straight]
    track: dict[int, int] = {}
    for i in _above_first(bent, nets):
        low = [track[j] + 1 for j in bent if j in track and nets[i].target in nets[j].sources]
        at = max(low, default=0)
        while any(track[j] == at and _overlap(nets[i].span, nets[j].span) for j in track):
            at += 1
        track[i] = at
    return track, max(track.values(), default=-1) + 1


def _above_first(bent: Sequence[int], nets: Sequence[Net]) -> list[int]:
    order: dict[int, None] = {}
    leaves = {column: i for i in bent for column in nets[i].sources}

    for start in bent:
        way: list[int] = []
        at: int | None = start
        while at is not None and at not in order and at not in way:
            way.append(at)
            at = leaves.get(nets[at].target)
        order.update(dict.fromkeys(reversed(way)))
    return list(order)


def _overlap(one: tuple[int, int], other: tuple[int, int]) -> bool:
    return one[0] <= other[1] + 1 and other[0] <= one[1] + 1
