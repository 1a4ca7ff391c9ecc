"""The built-in effect handlers, one module per family; and what a handler of a host may be.

A host's handler is a function of `(run, effect)`, or `(run, effect, default_next_node)`. One that
needs the identity of the occurrence, to send it outside as an idempotency key, is given as
`Handler(call)`, where `call` takes an `EffectContext` and the effect.
"""

from __future__ import annotations

from abstractruntime.core.handlers import EffectContext, Handler

__all__ = ["EffectContext", "Handler"]
