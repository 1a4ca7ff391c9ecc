"""Leaving alone what failed, for a while that doubles."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from abstractruntime.core.ports import Clock

_FIRST_S, _LONGEST_S = 1.0, 300.0


class Backoff:
    """What failed, by key: 1 second after its first failure, then twice as long, up to 300."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        # By key: how often it failed, and until when it is left alone.
        self._troubles: dict[str, tuple[int, float]] = {}

    def __contains__(self, key: str) -> bool:
        return key in self._troubles

    def failed(self, key: str) -> float:
        """Note a failure, and give for how many seconds the key is left alone."""
        failures, _ = self._troubles.get(key, (0, 0.0))
        pause_s = min(_FIRST_S * 2.0 ** min(failures, 30), _LONGEST_S)
        self._troubles[key] = (failures + 1, self._clock.monotonic() + pause_s)
        return pause_s

    def is_waiting(self, key: str) -> bool:
        return key in self._troubles and self._clock.monotonic() < self._troubles[key][1]

    def solved(self, key: str) -> None:
        self._troubles.pop(key, None)

    def keep(self, keys: Collection[str]) -> None:
        """Forget the keys that are none of these and wait no longer."""
        for key in [k for k in self._troubles if k not in keys and not self.is_waiting(k)]:
            self.solved(key)

    def left_s(self) -> Iterator[float]:
        """Give for how many seconds each key is still left alone; not above 0 when it is not."""
        now_s = self._clock.monotonic()
        return (until_s - now_s for _, until_s in self._troubles.values())
