"""What an effect handler is to the kernel, and what it gets."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from abstractruntime.core.models import Effect, RunState
from abstractruntime.core.ports import Clock, EffectOutcome


@dataclass(frozen=True, slots=True)
class EffectContext:
    """What a built-in handler gets besides the effect.

    `began_at` is when the first attempt of this occurrence started, the same for all attempts.
    `remember` makes a value durable before the handler acts on it, and `remembered` is what
    an earlier attempt of this occurrence made durable: what it decided is then decided once.
    `carried` is what the attempt before this one left for it, see `Retry.carry`. A classic pair
    remembers nothing, and carries nothing over into another process.
    """

    run: RunState
    node_id: str
    next_node: str | None
    occurrence_id: str
    attempt: int
    clock: Clock
    began_at: str = ""
    carried: Any = None
    remembered: Any = None
    remember: Callable[[Any], None] = lambda _value: None


@dataclass(frozen=True, slots=True)
class Handler:
    """An effect handler and what the kernel must know about it.

    `external`: it leaves the process, so STARTED and its outcome are synced in strict mode.
    `state_free`: it never touches `run.vars`, so the state need not be searched for changes.
    """

    call: Callable[[EffectContext, Effect], EffectOutcome]
    external: bool = False
    state_free: bool = False


def adapt_handler(function: Callable[..., EffectOutcome]) -> Handler:
    """Wrap a host's handler, which takes `(run, effect)` or `(run, effect, default_next_node)`.

    Only positional parameters count, so keyword-only options of a handler keep their defaults.
    One whose `takes_context` is true takes `(EffectContext, effect)`, as built-in ones do.
    """
    if getattr(function, "takes_context", False):
        return Handler(function, external=True)
    if _takes_next_node(function):
        return Handler(lambda ctx, effect: function(ctx.run, effect, ctx.next_node), external=True)
    return Handler(lambda ctx, effect: function(ctx.run, effect), external=True)


def _takes_next_node(function: Callable[..., Any]) -> bool:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return True
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return True
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return len(positional) >= 3
