"""The timeline of a run as text for people.

Rules:
1. Without colour the text holds printable characters and line ends only, whatever the
   ledger holds. What the ledger holds begins no line: it follows a name of ours, or a mark.
2. Every line fits the width, except where one word is all there is to show (ids, digests).
3. Statuses are words; colour repeats them and carries nothing alone.
"""

from __future__ import annotations

import json
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

from abstractruntime._text import one_line, shell_word
from abstractruntime.core.run_tree import choice_text
from abstractruntime.rendering.failure_text import (
    chain_lines,
    deepest,
    failure_text,
    traceback_lines,
)
from abstractruntime.rendering.terminal import (
    Palette,
    cell_width,
    fit,
    format_bytes,
    format_duration,
    harmless,
    pack,
    pad,
    plural,
    quote,
    wrap,
)
from abstractruntime.rendering.words import WORD_COLOURS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from abstractruntime._json import JsonObject
    from abstractruntime.rendering.timeline import Answer, Attempt, Mark, Step, Timeline, Wait

MIN_WIDTH: Final = 60
MAX_STEPS: Final = 200

_LABEL: Final = 9
_STATUS: Final = 12
_INDENT: Final = 7
_ENDED: Final = ("completed", "failed", "cancelled")
_LEDGER_WORDS: Final = {"succeeded": "completed"}
_WIDEST_EFFECT: Final = len("start_subworkflow")


def render_timeline(
    timeline: Timeline,
    *,
    run_document: Mapping[str, Any],
    width: int = 100,
    colour: bool = False,
    max_steps: int = MAX_STEPS,
    debug: bool = False,
    store: str | None = None,
) -> str:
    """Give the run and its steps as text that ends in a line end.

    Args:
        timeline: What happened.
        run_document: Where the run stands; heads and closes the text.
        width: Cells per line; at least 60 are used.
        colour: Add ANSI colours.
        max_steps: How many steps to show; the earliest are left out, and counted.
        debug: Show the calls in the author's code that led to a failure.
        store: The store that commands to paste have to name.
    """
    view = _View(max(width, MIN_WIDTH), Palette(colour), store)
    lines = [*view.header(run_document), "", *view.steps(timeline, max_steps)]
    closing = list(view.closing(run_document, debug=debug))
    if closing:
        lines += ["", *closing]
    return "\n".join(line.rstrip() for line in lines) + "\n"


class _View:
    """Lines of one rendering; holds the width, the colours and the store only."""

    def __init__(self, width: int, palette: Palette, store: str | None = None) -> None:
        self.width = width
        self._named_store = f" --store {shell_word(store)}" if store is not None else ""
        self.paint = palette.paint
        self._room = width - _LABEL

    def header(self, doc: Mapping[str, Any]) -> Iterator[str]:
        yield self._fact("run", self.paint(harmless(doc["run_id"]), "bold"))
        yield self._fact("flow", harmless(doc["workflow_id"]))
        yield self._fact("outcome", self._outcome(doc))
        if doc["parent_run_id"]:
            yield self._fact("parent", harmless(doc["parent_run_id"]))
        if doc["bundle"]:
            yield from self._fact_lines("bundle", pack(_bundle_words(doc["bundle"]), self._room))
        yield self._fact("started", harmless(doc["created_at"]))
        yield self._fact("updated", harmless(doc["updated_at"]))
        yield self._fact("ledger", _ledger_text(doc["ledger"]))
        if doc["labels"]:
            labels = "  ".join(f"{key}={value}" for key, value in doc["labels"].items())
            yield from self._quoted_fact("labels", one_line(labels))
        if any(doc["usage"].values()):
            yield from self._fact_lines("usage", wrap(_usage_text(doc["usage"]), self._room))

    def steps(self, timeline: Timeline, max_steps: int) -> Iterator[str]:
        label_width, effect_width = self._column_widths(timeline)
        heading = f"{'seq':>5}  {'status':<{_STATUS}}{pad('step', label_width)}  "
        yield self.paint(f"{heading}{pad('effect', effect_width)}  time", "dim")
        hidden = max(0, len(timeline.steps) - max_steps)
        if text := _left_out(timeline, hidden):
            yield self.paint(f"{'…':>5}  {text}", "dim")
        shown = timeline.steps[hidden:]
        blocks = [(s.seq or 0, self._step_block(s, label_width, effect_width)) for s in shown]
        first = blocks[0][0] if hidden and blocks else 0
        marks = [m for m in timeline.marks if (m.seq or 0) >= first]
        blocks += [(m.seq or 0, [self._mark_line(m)]) for m in marks]
        # The sort is stable: steps of 0.4.x have no number and keep their order.
        for _, lines in sorted(blocks, key=itemgetter(0)):
            yield from lines
        if not blocks:
            ended = timeline.status in _ENDED
            text = "no effects: every node was computed in place" if ended else "no steps yet"
            if timeline.first_seq:
                text = "no effects in the records that are shown"
            yield self.paint(f"{'':>{_INDENT}}{text}", "dim")

    def closing(self, doc: Mapping[str, Any], *, debug: bool) -> Iterator[str]:
        if doc["paused"]:
            text = f"rests until: {self._command('unpause', doc)}"
            yield from self._quoted_fact("paused", one_line(text), "yellow")
        for use in doc["limits"]:
            if use["rests"]:
                text = f"{use['limit']}, {use['used']:,} of {use['max']:,} in run {use['run_id']};"
                yield from self._quoted_fact(
                    "limited", f"{text} see: {self._command('limits', doc)}", "yellow"
                )
        if doc["outcome"] == "interrupted":
            yield from self._quoted_fact("next", self._command("tick", doc), "magenta")
        for wait in doc["waits"]:
            where = one_line(_open_wait_text(wait, doc["run_id"]))
            yield from self._quoted_fact("waiting", where, "yellow")
            if question := _question_text(wait["prompt"], wait["choices"]):
                yield from self._quoted_fact("", question, "yellow")
        if doc["error"] and doc["outcome"] == "cancelled":
            yield from self._quoted_fact("reason", doc["error"]["message"], "magenta")
        elif doc["error"]:
            yield from self._quoted_fact("error", failure_text(deepest(doc)), "red")
            for line in chain_lines(doc):
                yield from self._quoted_fact("", line, "red")
            yield from self._calls(deepest(doc), debug=debug)
        for failure in doc["overcome"]:
            text = f"{failure_text(failure)}; the flow went on"
            yield from self._quoted_fact("failed", text, "red")
            yield from self._calls(failure, debug=debug)
        if doc["output"] is not None:
            output = json.dumps(doc["output"], ensure_ascii=False, default=str)
            yield self._fact("output", fit(harmless(output), self._room))

    def _command(self, name: str, doc: Mapping[str, Any]) -> str:
        return f"art {name}{self._named_store} {shell_word(doc['run_id'])}"

    def _calls(self, failure: JsonObject, *, debug: bool) -> Iterator[str]:
        for line in traceback_lines(failure) if debug else ():
            yield from self._quoted_fact("", line, "red")

    def _column_widths(self, timeline: Timeline) -> tuple[int, int]:
        effects = (cell_width(step.effect_type or "") for step in timeline.steps)
        effect_width = min(max(effects, default=0), _WIDEST_EFFECT)
        rest = self.width - _INDENT - _STATUS - effect_width - 13
        labels = (cell_width(harmless(step.label)) for step in timeline.steps)
        return max(8, min(rest, max(labels, default=8))), max(effect_width, 6)

    def _step_block(self, step: Step, label_width: int, effect_width: int) -> list[str]:
        return [self._step_line(step, label_width, effect_width), *self._step_details(step)]

    def _mark_line(self, mark: Mark) -> str:
        text = fit(harmless(f"{mark.kind} {mark.facts}"), self.width - _INDENT)
        seq = "" if mark.seq is None else str(mark.seq)
        return self.paint(f"{seq:>5}  {text}", "dim")

    def _step_line(self, step: Step, label_width: int, effect_width: int) -> str:
        seq = "" if step.seq is None else str(step.seq)
        label = pad(harmless(step.label), label_width)
        effect = pad(harmless(step.effect_type or ""), effect_width)
        status = self._status(step.status) + " " * (_STATUS - len(step.status))
        time = format_duration(step.duration_ms)
        return f"{seq:>5}  {status}{label}  {effect}  {time}"

    def _step_details(self, step: Step) -> Iterator[str]:
        for attempt in step.attempts[:-1]:
            yield from self._detail(_attempt_text(attempt), "red")
        if step.wait:
            yield from self._wait_lines(step.wait, "red" if step.status == "failed" else "green")
        if step.note:
            yield from self._detail(f"{step.note.kind}: {step.note.text}", "blue")
        for child in step.children:
            outcome = step.child_outcomes.get(child, "")
            style = WORD_COLOURS.get(outcome, "dim")
            yield from self._detail(f"child run {child} {outcome}".rstrip(), style)
        if step.attempts[-1].error:
            yield from self._detail(_attempt_text(step.attempts[-1]), "red")
        elif step.error and not step.child_outcomes:
            yield from self._detail(step.error, "red")

    def _wait_lines(self, wait: Wait, style: str) -> Iterator[str]:
        question = _question_text(wait.prompt, wait.choices)
        if question:
            yield from self._detail(question)
        if wait.until and wait.answer is None:
            yield from self._detail(f"until {wait.until}", "yellow")
        if wait.answer:
            yield self._one_line(_answer_text(wait, wait.answer), style)

    def _detail(self, text: str, style: str = "") -> Iterator[str]:
        for line in quote(text, self.width - _INDENT):
            yield " " * _INDENT + self.paint(line, style)

    def _one_line(self, text: str, style: str) -> str:
        return " " * _INDENT + self.paint(fit(harmless(text), self.width - _INDENT), style)

    def _fact(self, name: str, text: str) -> str:
        return f"{self.paint(f'{name:<{_LABEL}}', 'dim')}{text}"

    def _quoted_fact(self, name: str, text: str, style: str = "") -> Iterator[str]:
        yield from self._fact_lines(name, quote(text, self._room), style)

    def _fact_lines(self, name: str, lines: list[str], style: str = "") -> Iterator[str]:
        for line in lines or [""]:
            yield self._fact(name, self.paint(line, style))
            name = ""

    def _outcome(self, doc: Mapping[str, Any]) -> str:
        """Give the outcome, and the word of the ledger where that says something else."""
        outcome = self._status(doc["outcome"])
        is_same = doc["status"] in (doc["outcome"], _LEDGER_WORDS.get(doc["outcome"]))
        return outcome if is_same else f"{outcome} (status {doc['status']})"

    def _status(self, status: str) -> str:
        return self.paint(harmless(status), WORD_COLOURS.get(status, ""))


def _left_out(timeline: Timeline, hidden: int) -> str:
    """Say what of a run is not shown, and how to see all of it; nothing where all is shown."""
    steps = len(timeline.steps)
    if timeline.first_seq:
        # A record is a step at most.
        records = timeline.first_seq + timeline.records
        shown = plural(steps - hidden, "step") + (" are" if steps - hidden != 1 else " is")
        last = f"records 0 to {timeline.first_seq - 1} of {records}"
        return f"{last} are not shown ({shown}); all: --steps {records}"
    are = "is" if hidden == 1 else "are"
    text = f"{plural(hidden, 'earlier step')} of {steps} {are} not shown; all: --steps {steps}"
    return text if hidden else ""


def _bundle_words(bundle: JsonObject) -> list[str]:
    """Give what is never broken, so that a name with spaces in it begins no line in their middle."""
    name = "@".join(part for part in (bundle["id"], bundle["version"]) if part)
    *others, last = bundle["signers"] or [""]
    seal = ["signed", "by", *(f"{one}," for one in others), last] if last else ["unsigned"]
    words = [name, bundle["digest"], *seal]
    return [one_line(word) for word in words if word]


def _ledger_text(ledger: JsonObject) -> str:
    records = plural(ledger["records"], "record")
    size = format_bytes(ledger["bytes"])
    # Earlier documents do not say it.
    beside = f", {format_bytes(kept)} beside it" if (kept := ledger.get("beside_bytes")) else ""
    return f"{records}, {ledger['signed_records']:,} signed, {size}{beside}"


def _usage_text(usage: Mapping[str, int]) -> str:
    calls = f"{plural(usage['llm_calls'], 'LLM call')}, {plural(usage['tool_calls'], 'tool call')}"
    tokens = f"{usage['input_tokens']:,} in, {usage['output_tokens']:,} out"
    return f"{calls}, {plural(usage['total_tokens'], 'token')} ({tokens})"


def _question_text(prompt: str | None, choices: Any) -> str:
    options = f"[{' | '.join(map(choice_text, choices))}]" if choices else ""
    return "  ".join(part for part in (prompt, options) if part)


def _answer_text(wait: Wait, answer: Answer) -> str:
    if answer.timed_out:
        who = "deadline passed"
    elif answer.actor:
        who = f"{answer.actor} answered"
    else:
        who = {"until": "woken", "subworkflow": "child ended"}.get(wait.reason, "answered")
    after = format_duration(wait.duration_ms)
    return f"{who}{f' after {after}' if after else ''}: {answer.payload}"


def _attempt_text(attempt: Attempt) -> str:
    after = format_duration(attempt.duration_ms)
    when = f" after {after}" if after else ""
    reason = f": {attempt.error}" if attempt.error else ""
    return f"attempt {attempt.number} {attempt.status}{when}{reason}"


def _open_wait_text(wait: JsonObject, run_id: str) -> str:
    is_timer = wait["reason"] == "until" and wait["until"]
    parts = [f"until {wait['until']}" if is_timer else f"for {wait['reason']}"]
    if wait["wait_key"]:
        parts.append(f"key {wait['wait_key']}")
    if wait["until"] and not is_timer:
        parts.append(f"until {wait['until']}")
    if wait["run_id"] != run_id:
        parts.append(f"in run {wait['run_id']}")
    return ", ".join(parts)
