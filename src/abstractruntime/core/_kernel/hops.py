"""Counting the pure hops that no commit holds yet."""

from __future__ import annotations

from abstractruntime.core.ports import Clock

_HOPS_PER_COMMIT = 64
_SECONDS_PER_COMMIT = 1.0


class Hops:
    """The pure hops since the last commit; they ride along with the next record."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._since = 0.0
        self._retraced = 0
        self.pending = 0

    def count(self) -> None:
        if not self.pending:
            self._since = self._clock.monotonic()
        self.pending += 1

    def reset(self) -> None:
        self._retraced = max(0, self._retraced - self.pending)
        self.pending = 0

    def retrace(self) -> int:
        """Forget the pending hops, which were rolled back; each is due at once when walked again."""
        lost = self._retraced = self.pending
        self.pending = 0
        return lost

    @property
    def due(self) -> bool:
        return self.pending > 0 and (
            self._retraced > 0
            or self.pending >= _HOPS_PER_COMMIT
            or self._clock.monotonic() - self._since >= _SECONDS_PER_COMMIT
        )
