"""Getting a summary of messages: from the host's summarizer, or from a child run that asks a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Protocol

from abstractruntime._json import isolate
from abstractruntime.core.derived_ids import child_run_id
from abstractruntime.core.handlers import EffectContext
from abstractruntime.core.models import (
    JsonObject,
    RunState,
    RunStatus,
    WaitReason,
    WaitState,
)
from abstractruntime.core.outcome import child_failure
from abstractruntime.effects.memory._owners import MemoryHost
from abstractruntime.effects.memory._payload import text_of, whole_number
from abstractruntime.effects.memory.compact_workflow import (
    COMPACT_WORKFLOW_ID,
    MAX_KEY_POINTS,
    SummaryError,
    compact_child_vars,
    parse_summary,
)
from abstractruntime.effects.subworkflow import ChildHost

_PRESERVE_RECENT: Final = 6
_MODES: Final = frozenset({"light", "standard", "heavy"})


class CompactHost(MemoryHost, ChildHost, Protocol):
    """What compaction needs of the runtime.

    `ensure_child` and `drive_child` must know the internal workflow of `compact_workflow`.
    """

    @property
    def chat_summarizer(self) -> Any:
        """Give an object with `summarize_chat_history`, or None: then a child asks the model."""
        ...


@dataclass(frozen=True, slots=True)
class Wish:
    """What a compaction is asked for."""

    preserve_recent: int
    mode: str
    focus: str | None

    @classmethod
    def of(cls, payload: JsonObject) -> Wish:
        mode = text_of(payload, "compression_mode").lower()
        return cls(
            preserve_recent=max(0, whole_number(payload, "preserve_recent", _PRESERVE_RECENT)),
            mode=mode if mode in _MODES else "standard",
            focus=text_of(payload, "focus") or None,
        )


@dataclass(frozen=True, slots=True)
class Summary:
    """What older messages came to."""

    text: str
    key_points: list[str]
    confidence: Any
    llm_run_id: str | None = None

    @classmethod
    def of(cls, answer: Any, *, llm_run_id: str | None = None) -> Summary:
        """Read what a summarizer gave: an object, or something with such attributes.

        Raises:
            SummaryError: it holds no text.
        """
        points = _field(answer, "key_points")
        points = points if isinstance(points, list | tuple) else []
        text = str(_field(answer, "summary") or "").strip()
        if not text:
            hint = "nothing was archived; repeat the step"
            raise SummaryError("the summarizer gave no summary", hint=hint)
        return cls(
            text=text,
            key_points=[str(p) for p in points][:MAX_KEY_POINTS],
            confidence=_field(answer, "confidence"),
            llm_run_id=llm_run_id,
        )


def _field(answer: Any, name: str) -> Any:
    return answer.get(name) if isinstance(answer, dict) else getattr(answer, name, None)


def summarise(
    host: CompactHost, ctx: EffectContext, base: RunState, older: list[JsonObject], wish: Wish
) -> Summary | WaitState:
    """Give the summary, or the wait for a child that someone else is just driving.

    Raises:
        SummaryError: there is none.
    """
    if host.chat_summarizer is None:
        return _ask_in_child(host, ctx, base, older, wish)
    answer = host.chat_summarizer.summarize_chat_history(
        messages=isolate(older),
        preserve_recent=0,
        focus=wish.focus,
        compression_mode=wish.mode,
    )
    return Summary.of(answer)


def _ask_in_child(
    host: CompactHost, ctx: EffectContext, base: RunState, older: list[JsonObject], wish: Wish
) -> Summary | WaitState:
    child = host.ensure_child(
        run_id=child_run_id(ctx.run.run_id, ctx.occurrence_id, ctx.attempt),
        workflow_id=COMPACT_WORKFLOW_ID,
        vars=compact_child_vars(base, older, mode=wish.mode, focus=wish.focus),
        parent=ctx.run,
        session_id=None,
    )
    child = host.drive_child(child.run_id)
    if child.status is RunStatus.COMPLETED:
        return Summary.of(parse_summary(child.output), llm_run_id=child.run_id)
    if child.status is RunStatus.RUNNING:
        return _until_child_ends(ctx, child)
    if child.status is RunStatus.WAITING:
        raise SummaryError(f"the llm_call of run {child.run_id!r} waits, expected a summary")
    raise SummaryError(child_failure(child))


def _until_child_ends(ctx: EffectContext, child: RunState) -> WaitState:
    """Park until the child has ended, then visit the node again, which asks anew."""
    return WaitState(
        reason=WaitReason.SUBWORKFLOW,
        wait_key=f"subworkflow:{child.run_id}",
        resume_to_node=ctx.node_id,
        details={"sub_run_id": child.run_id, "sub_workflow_id": child.workflow_id},
    )
