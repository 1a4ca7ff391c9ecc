"""Effects that park a run until a deadline or an answer; and the message to a person."""

from __future__ import annotations

from typing import Any

from abstractruntime.core.handlers import EffectContext
from abstractruntime.core.models import (
    Effect,
    JsonObject,
    WaitReason,
    WaitState,
    format_time,
    parse_moment,
)
from abstractruntime.core.ports import EffectOutcome

_TRUE_TEXTS = frozenset({"true", "1", "yes", "on"})
_LEVELS = {"warning": "warning", "warn": "warning", "error": "error"}


def wait_until(ctx: EffectContext, effect: Effect) -> EffectOutcome:
    """Park until a moment; a moment that has passed completes at once."""
    text = effect.payload.get("until")
    if not text:
        return EffectOutcome.failed("wait_until requires payload.until (ISO timestamp)")
    try:
        until = parse_moment(str(text))
    except ValueError:
        return EffectOutcome.failed(f"wait_until: {text!r} is not an ISO-8601 moment")
    canonical = format_time(until)
    now = ctx.clock.now()
    if now >= until:
        facts = {"until": canonical, "ready": True, "scheduled_for": canonical}
        return EffectOutcome.completed({**facts, "timestamp": format_time(now)})
    wait = WaitState(reason=WaitReason.UNTIL, until=canonical, **continuation(ctx, effect))
    return EffectOutcome.waiting(wait)


def ask_user(ctx: EffectContext, effect: Effect) -> EffectOutcome:
    """Park until a person answers."""
    payload = effect.payload
    prompt = payload.get("prompt")
    if not prompt:
        return EffectOutcome.failed("ask_user requires payload.prompt")
    given = payload.get("choices")
    choices = given if isinstance(given, list) else None
    return EffectOutcome.waiting(
        WaitState(
            reason=WaitReason.USER,
            wait_key=str(payload.get("wait_key") or f"user:{ctx.run.run_id}:{ctx.node_id}"),
            prompt=str(prompt),
            choices=choices,
            # Without choices any answer is taken.
            allow_free_text=not choices or allows_free_text(payload),
            **continuation(ctx, effect),
        )
    )


def answer_user(_ctx: EffectContext, effect: Effect) -> EffectOutcome:
    """Tell the person something; completes at once."""
    payload = effect.payload
    message = payload.get("message")
    if message is None:
        message = payload.get("text") or payload.get("content")
    if message is None:
        return EffectOutcome.failed("answer_user requires payload.message")
    level = str(payload.get("level") or "").strip().lower()
    return EffectOutcome.completed(
        {"message": str(message), "level": _LEVELS.get(level, "message")}
    )


def truthy(value: Any) -> bool:
    """Read a bool-like value: texts true, 1, yes and on are true, other texts false."""
    if isinstance(value, str):
        return value.strip().lower() in _TRUE_TEXTS
    return bool(value)


def allows_free_text(payload: JsonObject) -> bool:
    """Read `allow_free_text`, which is true unless it is said otherwise; null says nothing."""
    said = (payload.get(name) for name in ("allow_free_text", "allowFreeText"))
    return truthy(next((value for value in said if value is not None), True))


def stripped_texts(value: Any) -> list[str] | None:
    """Give the texts of a list that are not blank; None for anything else."""
    if not isinstance(value, list):
        return None
    return [text.strip() for text in value if isinstance(text, str) and text.strip()]


def continuation(ctx: EffectContext, effect: Effect) -> dict[str, Any]:
    """Give the fields of a wait that say where the run goes on, and where the answer belongs."""
    resume_to = effect.payload.get("resume_to_node") or ctx.next_node
    return {"resume_to_node": resume_to, "result_key": effect.result_key}
