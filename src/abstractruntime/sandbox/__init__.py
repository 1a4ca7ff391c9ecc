"""Running author code without giving it the host.

`WorkerPool` keeps a code worker for each tree of runs of one bundle, `default_pool()` is the one
that compiled flows use; `WorkerRunner` is one code worker for whoever holds it, `default_runner()`
such a one for the whole process; `InProcessRunner` is for code that you would also import. Names
load on first use: flows without code need neither process handling nor the worker.
"""

from __future__ import annotations

from abstractruntime._exports import homes, lazy_names

_HOMES = homes(
    {
        "limits": "Limits",
        "pool": "WorkerPool default_pool",
        "runner": "CodeFailed InProcessRunner WorkerRunner default_runner is_confined",
    }
)

__all__ = sorted(_HOMES)  # noqa: PLE0605 - the table above is the single source

__getattr__ = lazy_names(__name__, _HOMES)
