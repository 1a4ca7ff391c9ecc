"""The kernel: how a run advances, as pure decisions over the ports.

`loop` drives one run; `control` and `waits` do what is asked of it from outside.
`effects` performs one effect with its attempts, `outcomes` commits what that came to, `doubt`
settles one whose outcome is unknown. `transitions` decides what a status and an event make
of a run, `changes` commits that. Nothing here opens a file, reads a clock or starts a thread.
"""

from __future__ import annotations

from abstractruntime.core._kernel.brakes import Watch
from abstractruntime.core._kernel.effects import EffectRunner
from abstractruntime.core._kernel.loop import Kernel

__all__ = ["EffectRunner", "Kernel", "Watch"]
