"""What author code may use up."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from abstractruntime._json import JsonObject
from abstractruntime.errors import UsageError


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one code worker; each applies to a single call unless it says otherwise.

    `memory_bytes` is the address space of the whole worker, interpreter included (about
    40 MiB). `cpu_s` is counted in whole seconds by the system, so it acts up to a second
    late; `wall_s` is exact. `result_values` counts the commas, colons and four times
    the opening brackets of the result's JSON. `calls` is how many calls one worker process serves.
    """

    wall_s: float = 10.0
    cpu_s: int = 10
    memory_bytes: int = 512 * 1024 * 1024
    result_bytes: int = 16 * 1024 * 1024
    result_values: int = 500_000
    stdout_chars: int = 64 * 1024
    calls: int = 200

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if value <= 0:
                raise UsageError(
                    f"sandbox limit '{name}' is {value}, expected a positive number", argument=name
                )

    def to_dict(self) -> JsonObject:
        return asdict(self)
