"""Effects that park a run: events, deadlines, questions; and the answer to a person."""

from __future__ import annotations

from typing import Any

from abstractruntime.core._kernel.effects import EffectContext
from abstractruntime.core.event_keys import build_event_wait_key
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


def wait_event(ctx: EffectContext, effect: Effect) -> EffectOutcome:
    """Park until an event with this key arrives."""
    payload = effect.payload
    key = payload.get("wait_key")
    if not (key or payload.get("name") or payload.get("event_name")):
        return EffectOutcome.failed("wait_event requires payload.wait_key or payload.name")
    if not key:
        key = build_event_wait_key(
            scope=payload.get("scope") or "session",
            name=payload.get("name") or payload.get("event_name") or "",
            session_id=payload.get("session_id") or ctx.run.session_id or ctx.run.run_id,
            workflow_id=payload.get("workflow_id") or ctx.run.workflow_id,
            run_id=payload.get("run_id") or ctx.run.run_id,
        )
    prompt = payload.get("prompt")
    details = payload.get("details")
    return EffectOutcome.waiting(
        WaitState(
            reason=WaitReason.EVENT,
            wait_key=str(key),
            prompt=prompt if isinstance(prompt, str) and prompt.strip() else None,
            choices=_stripped_texts(payload.get("choices")),
            allow_free_text=_allows_free_text(payload),
            details=details if isinstance(details, dict) else None,
            **_continuation(ctx, effect),
        )
    )


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
    wait = WaitState(reason=WaitReason.UNTIL, until=canonical, **_continuation(ctx, effect))
    return EffectOutcome.waiting(wait)


def ask_user(ctx: EffectContext, effect: Effect) -> EffectOutcome:
    """Park until a person answers."""
    payload = effect.payload
    prompt = payload.get("prompt")
    if not prompt:
        return EffectOutcome.failed("ask_user requires payload.prompt")
    choices = payload.get("choices")
    return EffectOutcome.waiting(
        WaitState(
            reason=WaitReason.USER,
            wait_key=str(payload.get("wait_key") or f"user:{ctx.run.run_id}:{ctx.node_id}"),
            prompt=str(prompt),
            choices=choices if isinstance(choices, list) else None,
            allow_free_text=_allows_free_text(payload),
            **_continuation(ctx, effect),
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


def _allows_free_text(payload: JsonObject) -> bool:
    value = payload.get("allow_free_text", payload.get("allowFreeText", True))
    return truthy(value)


def _stripped_texts(value: Any) -> list[str] | None:
    if not isinstance(value, list):
        return None
    return [text.strip() for text in value if isinstance(text, str) and text.strip()]


def _continuation(ctx: EffectContext, effect: Effect) -> dict[str, Any]:
    resume_to = effect.payload.get("resume_to_node") or ctx.next_node
    return {"resume_to_node": resume_to, "result_key": effect.result_key}
