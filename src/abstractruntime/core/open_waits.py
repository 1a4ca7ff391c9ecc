"""What somebody or something outside must end, and which answers do."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from abstractruntime._near import close_names
from abstractruntime.core.models import WaitReason, WaitState
from abstractruntime.errors import WaitMismatch

if TYPE_CHECKING:
    from abstractruntime._json import JsonObject


@dataclass(frozen=True, slots=True)
class OpenWait:
    """A wait that someone or something outside must end.

    Attributes:
        choices: What a person is offered.
        is_free: Whether any other answer will do as well.
        occurrence: Which wait it is, where the same key may wait again; see `WaitState`.
        listens: Whether the run waits for this key again and again.
    """

    run_id: str
    reason: WaitReason
    wait_key: str | None
    until: str | None
    choices: tuple[Any, ...]
    is_free: bool
    occurrence: int | None
    listens: bool

    @classmethod
    def of(cls, run_id: str, wait: WaitState) -> OpenWait:
        return cls(
            run_id=run_id,
            reason=wait.reason,
            wait_key=wait.wait_key,
            until=wait.until,
            choices=tuple(wait.choices or ()) if wait.reason is WaitReason.USER else (),
            is_free=wait.reason is not WaitReason.USER or wait.allow_free_text,
            occurrence=wait.occurrence,
            listens=wait.listens,
        )

    def meant(self, payload: Any) -> Any:
        """Give the answer that was meant: a choice that is no text can be given as it is shown.

        Whatever else was given comes back as it is.
        """
        if isinstance(payload, dict) and payload in self.choices:
            return {"response": payload}
        is_typed = isinstance(payload, dict) and isinstance(payload.get("response"), str)
        typed = payload["response"] if is_typed else payload
        if not isinstance(typed, str) or typed in self.choices:
            return payload
        shown = [choice for choice in self.choices if _as_json(choice) == _as_json_text(typed)]
        if not shown:
            return payload
        return {**payload, "response": shown[0]} if is_typed else {"response": shown[0]}

    def check_answer(self, payload: Any) -> None:
        """Refuse an answer that answers nothing, or is none of the choices.

        Raises:
            WaitMismatch: it is so.
        """
        if self.reason is not WaitReason.USER:
            return
        if isinstance(payload, dict) and not self._is_answer(payload):
            near = [name for name in close_names("response", payload, n=1) if name != "response"]
            found = "one that is null" if "response" in payload else ", ".join(map(repr, payload))
            raise WaitMismatch(
                f"an answer to a question is an object with 'response', found {found or 'an empty one'}",
                hint=f"did you mean 'response' instead of {near[0]!r}?"
                if near
                else """give {"response": ...}, or the answer as a text""",
                run_id=self.run_id,
                given=payload,
                choices=list(self.choices),
            )
        answer = payload.get("response") if isinstance(payload, dict) else payload
        if self.choices and not self.is_free and answer not in self.choices:
            raise WaitMismatch(
                f"answer {answer!r} is none of the choices of {self.wait_key!r}",
                hint=self._choose(),
                run_id=self.run_id,
                given=answer,
                choices=list(self.choices),
            )

    def _is_answer(self, payload: JsonObject) -> bool:
        """Tell whether an object answers; null does only where it is a choice."""
        if "response" not in payload:
            return False
        return payload["response"] is not None or None in self.choices

    def decided(self, decision: Decision) -> JsonObject:
        """Give the answer that a yes or no is, as the choices word it.

        Raises:
            WaitMismatch: none of the choices says it, or several do.
        """
        response = decision.word
        if self.choices:
            said = [choice for choice in self.choices if decision.is_said_by(choice)]
            if len(said) != 1:
                raise WaitMismatch(
                    f"none of the choices of {self.wait_key!r} means {response!r} alone",
                    hint=f"{self._choose()}, with --input",
                    run_id=self.run_id,
                    given=response,
                    choices=list(self.choices),
                )
            response = said[0]
        return {"response": response, "approved": decision.approved}

    def _choose(self) -> str:
        return "choose one of: " + ", ".join(map(choice_text, self.choices))


def choice_text(choice: Any) -> str:
    """Give a choice as people see it, and can type it: a text as it is, anything else as JSON."""
    return choice if isinstance(choice, str) else _as_json(choice)


def _as_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def _as_json_text(text: str) -> str | None:
    """Give a text that is JSON in the form of `_as_json`."""
    try:
        return _as_json(json.loads(text))
    except (ValueError, RecursionError):
        return None


_YES = frozenset({"approve", "approved", "accept", "allow", "confirm", "ok", "true", "y", "yes"})
_NO = frozenset({"deny", "denied", "decline", "refuse", "reject", "rejected", "false", "n", "no"})


@dataclass(frozen=True, slots=True)
class Decision:
    """A yes or no, whatever words the question has for it."""

    approved: bool

    @property
    def word(self) -> str:
        return "approve" if self.approved else "deny"

    def is_said_by(self, choice: Any) -> bool:
        """Tell whether a choice means this decision."""
        return str(choice).strip().casefold() in (_YES if self.approved else _NO)
