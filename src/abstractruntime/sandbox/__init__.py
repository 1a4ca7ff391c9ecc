"""Running author code without giving it the host.

`default_runner()` gives the process-wide runner; `WorkerRunner` is one code worker;
`InProcessRunner` is for code that you would also import. Names load on first use: flows without
code need neither process handling nor the worker.
"""

from __future__ import annotations

from abstractruntime._exports import homes, lazy_names

_HOMES = homes(
    {
        "limits": "Limits",
        "runner": "CodeFailed InProcessRunner WorkerRunner default_runner is_confined",
    }
)

__all__ = sorted(_HOMES)  # noqa: PLE0605 - the table above is the single source

__getattr__ = lazy_names(__name__, _HOMES)
