"""Plays a recorded case, and gives what differs from the recording.

The host of a recording answers from a script: whatever came from outside, in the order in which it
was asked for. How a case is written, what is masked and what counts: `tests/conformance/README.md`.
"""

from __future__ import annotations

import copy
import hashlib
import json
import math
import re
from collections.abc import Iterable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from abstractruntime import EffectType, Runtime, StepPlan, WorkflowSpec
from abstractruntime.core.ports import EffectOutcome
from abstractruntime.sandbox import default_runner
from abstractruntime.storage.artifacts import FileArtifactStore, InMemoryArtifactStore
from abstractruntime.storage.in_memory import InMemoryLedgerStore, InMemoryRunStore
from abstractruntime.storage.json_files import JsonFileRunStore, JsonlLedgerStore
from abstractruntime.testing import FakeClock
from abstractruntime.visualflow_compiler import (
    Services,
    compile_visualflow,
    compile_visualflow_tree,
)

Case = dict[str, Any]

SECTIONS = ("status", "stop", "error", "output", "steps", "waits", "requests", "files")
LISTS = ("steps", "waits", "requests")
HANDLED = ("llm_call", "tool_calls", "memory_kg_assert", "memory_kg_query", "memory_kg_resolve")
AGENT = "visual_react_agent_"
MOST_TICKS = 1000
FAR_S = 10_000_000

UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
HEX = r"(?<![0-9A-Za-z])(?:[0-9a-f]{64}|[0-9a-f]{32})(?![0-9A-Za-z])"
MOMENT = (
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d)?"
    r"|(?<!\d)(?:\d{4}|\d{2})[-/]\d\d[-/]\d\d \d\d:\d\d(?::\d\d)?(?: UTC)?"
)
STAMP = re.compile(r"^\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [A-Za-z]{2}\](?: |$)")
ADDRESS = re.compile(r" at 0x[0-9a-fA-F]{6,}")
VOLATILE = re.compile(f"(?P<moment>{MOMENT})|(?P<id>{UUID}|{HEX})")


def load_cases(*paths: Path) -> Iterator[Case]:
    for path in paths:
        with path.open(encoding="utf-8") as lines:
            yield from map(json.loads, lines)


def differences(case: Case, home: Path, *, restart: bool = False) -> list[str]:
    """Play a case in an empty directory, and give what counts as different.

    With `restart` the stores are files, and everything is built anew before each tick and answer.
    """
    want, got = _recorded(case), Playback(case, home, restart=restart).play()
    if want["status"] == "not_compiled":
        return list(_compare(want["status"], got["status"], "status"))
    if "raises" in case["tags"] and _tells(got, want["error"].split(": ", 1)[-1]):
        return []
    for side in (want, got):
        _leave_out(side, case["tags"])
    if "truncated" in case["tags"]:
        for name in LISTS:
            shorter = min(len(want[name]), len(got[name]))
            want[name], got[name] = want[name][:shorter], got[name][:shorter]
    return [line for name in SECTIONS for line in _compare(want[name], got[name], name)]


def _recorded(case: Case) -> Case:
    asked = [{k: entry[k] for k in entry if k != "result"} for entry in case["script"]]
    expected = copy.deepcopy(case["expected"])
    return {**_nothing(), "requests": asked, **expected}


def _nothing() -> Case:
    return {**dict.fromkeys(SECTIONS), **{name: [] for name in LISTS}, "files": {}}


def _tells(got: Case, message: str) -> bool:
    """Tell whether the run, or its error envelope, gives the message of an exception that escaped."""
    output = got["output"] if isinstance(got["output"], dict) else {}
    told = got["error"] if got["status"] == "failed" else output.get("error")
    return bool(message) and message in str(told)


def _leave_out(side: Case, tags: list[str]) -> None:
    """Reduce one side to what hosts rely on."""
    side["waits"] = [{k: w[k] for k in w if k != "resume_to_node"} for w in side["waits"]]
    side["requests"] = [{**r, "request": _essence(r)} for r in side["requests"]]
    if "payload-reuse" in tags:
        # 0.4.2 took an earlier result when a node asked for the same again; asking twice is as right.
        for name in LISTS:
            texts = dict.fromkeys(json.dumps(item, sort_keys=True) for item in side[name])
            side[name] = [json.loads(text) for text in texts]


def _essence(entry: Case) -> Any:
    request = entry["request"]
    if not isinstance(request, dict):
        return request
    if entry["effect"] == "agent":
        given = request["vars"]
        chosen = ("provider", "model", "allowed_tools", "system_prompt_extra")
        return {
            "workflow_id": request["workflow_id"],
            **{k: given.get("context", {}).get(k) for k in ("task", "messages")},
            **{k: given.get("_runtime", {}).get(k) for k in chosen},
        }
    dropped = {"type"}
    if entry["effect"] == "llm_call":
        dropped |= {"tools", "trace_metadata", "media"}
        if isinstance(params := request.get("params"), dict):
            kept = {k: v for k, v in params.items() if k != "trace_metadata"}
            request = {**request, "params": kept}
    return {k: v for k, v in request.items() if k not in dropped}


def _compare(want: Any, got: Any, at: str) -> Iterator[str]:
    """Compare deeply; 1, 1.0 and true are three values."""
    if isinstance(want, dict) and isinstance(got, dict):
        for key in [*want, *(k for k in got if k not in want)]:
            yield from _compare(want.get(key, "(absent)"), got.get(key, "(absent)"), f"{at}.{key}")
    elif isinstance(want, list) and isinstance(got, list) and len(want) == len(got):
        for index, pair in enumerate(zip(want, got, strict=True)):
            yield from _compare(*pair, f"{at}[{index}]")
    elif type(want) is not type(got) or want != got:
        yield f"{at}: want {want!r}, got {got!r}"


class Stopped(BaseException):
    """Leaves the runtime from inside a handler, without being taken for its failure."""


class Script:
    """Gives recorded answers: an equal request of the same node first, and the last one again."""

    def __init__(self, case: Case) -> None:
        self._free = list(case["script"])
        self._used: list[Case] = []
        self._is_cut = "truncated" in case["tags"]

    def answer(self, effect: str, node_id: str | None, request: Any) -> Any:
        if self._is_cut and not self._free:
            raise Stopped("script_limit")

        def of_node(entries: list[Case]) -> list[Case]:
            return [e for e in entries if (e["effect"], e["node_id"]) == (effect, node_id)]

        free, used = of_node(self._free), of_node(self._used)[::-1]
        equal = [entry for entry in free or used if entry["request"] == request]
        if not (found := (equal or free or used)[:1]):
            raise Stopped("unscripted_request")
        if free:
            self._free.remove(found[0])
            self._used.append(found[0])
        return copy.deepcopy(found[0]["result"])


class Playback:
    """One case being played."""

    def __init__(self, case: Case, home: Path, *, restart: bool) -> None:
        self.case, self.home, self.restart = case, home, restart
        self.clock = FakeClock()
        self.script = Script(case)
        self.requests: list[Case] = []
        self.steps: list[list[Any]] = []
        self.waits: list[Case] = []
        self.runs: dict[str, str] = {}
        self.listeners: set[str] = set()
        self.main = ""

    def play(self) -> Case:
        raw = _nothing()
        try:
            self._compile()
        except Exception:
            return {**raw, "status": "not_compiled"}
        for name, text in self.case.get("environment", {}).get("files", {}).items():
            (self.home / name).write_text(text, encoding="utf-8")
        try:
            self._boot()
            for start in self.case["starts"]:
                self._start(start)
            raw["stop"] = self._drive()
            raw["status"] = self._peek(self.main).status.value
        except Stopped as stop:
            raw.update(status="truncated", stop=str(stop))
        except Exception as error:
            raw.update(status="raised", error=f"{type(error).__name__}: {error}")
        return self._normalised(raw)

    def _normalised(self, raw: Case) -> Case:
        main = self._peek(self.main)
        raw.update(output=main.output, error=raw["error"] or main.error, files=self._written())
        raw.update(steps=self.steps, waits=self.waits, requests=self.requests)
        mask = Mask(self.runs, self.case, self.home)
        return {name: mask.value(raw[name], digest=name != "error") for name in raw}

    # -- the machine ------------------------------------------------------------------------

    def _compile(self) -> None:
        flows = self.case["flows"]
        # What is run here is our own, so one worker will do.
        services = Services(code=default_runner())
        if len(flows) == 1:
            specs = [
                compile_visualflow(copy.deepcopy(flow), services=services)
                for flow in flows.values()
            ]
        else:
            trees = [
                compile_visualflow_tree(
                    root_id=start["flow"], flows_by_id=copy.deepcopy(flows), services=services
                )
                for start in self.case["starts"]
            ]
            specs = [spec for tree in trees for spec in tree.values()]
        self.specs = {spec.workflow_id: spec for spec in reversed(specs)}

    def _boot(self) -> None:
        if self.restart:
            self._compile()
        if self.restart or not self.runs:
            self.run_store, self.ledger_store, self.artifacts = self._stores()
        self.runtime = Runtime(
            run_store=self.run_store,
            ledger_store=self.ledger_store,
            artifact_store=self.artifacts,
            workflow_registry=self,
            effect_handlers={EffectType(kind): self._handler(kind) for kind in HANDLED},
            chat_summarizer=self,
            clock=self.clock,
        )

    def _stores(self) -> Any:
        playback = self
        run_store: Any = JsonFileRunStore if self.restart else InMemoryRunStore
        ledger_store: Any = JsonlLedgerStore if self.restart else InMemoryLedgerStore

        class Runs(run_store):  # type: ignore[misc]
            def save(self, run: Any) -> None:
                playback.runs.setdefault(run.run_id, run.workflow_id)
                super().save(run)

        class Ledgers(ledger_store):  # type: ignore[misc]
            def append(self, record: Any) -> None:
                super().append(record)
                playback._saw(record)

        if not self.restart:
            return Runs(), Ledgers(), InMemoryArtifactStore()
        store = self.home.with_name(self.home.name + "-store")
        files = FileArtifactStore(store / "artifacts")
        return Runs(store / "runs", sync=False), Ledgers(store / "ledgers", sync=False), files

    def get(self, workflow_id: str) -> WorkflowSpec | None:
        if workflow_id in self.specs or not str(workflow_id).startswith(AGENT):
            return self.specs.get(workflow_id)

        def act(run: Any, _ctx: Any) -> StepPlan:
            request = {"workflow_id": workflow_id, "vars": dict(run.vars)}
            node_id = self._peek(run.parent_run_id).current_node
            answer = self._ask("agent", node_id, run.parent_run_id, request)
            return StepPlan("agent", complete_output=answer)

        return WorkflowSpec(workflow_id, "agent", {"agent": act})

    get_or_raise = get

    def _handler(self, kind: str) -> Any:
        def handle(run: Any, effect: Any, _next: Any = None) -> EffectOutcome:
            answer = self._ask(kind, run.current_node, run.run_id, _shown(kind, effect.payload))
            if isinstance(answer, dict) and "$fail" in answer:
                return EffectOutcome.failed(str(answer["$fail"]))
            return EffectOutcome.completed(answer)

        return handle

    def summarize_chat_history(
        self, messages: Any, *, focus: Any = None, compression_mode: Any = "standard", **_: Any
    ) -> Any:
        shown = [{k: message.get(k) for k in ("role", "content")} for message in messages]
        mode = str(getattr(compression_mode, "value", compression_mode))
        request = {"messages": shown, "focus": focus, "compression_mode": mode}
        return self._ask("summarize", None, None, request)

    def _ask(self, effect: str, node_id: str | None, run: str | None, request: Any) -> Any:
        request = json.loads(json.dumps(request))
        entry = {"effect": effect, "node_id": node_id, "run": run, "request": request}
        answer = self.script.answer(effect, node_id, request)
        self.requests.append(entry)
        return answer

    # -- what is seen -----------------------------------------------------------------------

    def _saw(self, record: Any) -> None:
        key = record.idempotency_key or ""
        is_told = record.status != "started" and not key.startswith("system:terminal_status")
        if not is_told or self.runs[record.run_id].startswith(AGENT):
            return
        kind = record.effect["type"] if record.effect else None
        self.steps.append([record.node_id, kind, record.status.value, record.run_id])
        if record.status == "waiting":
            self.waits.append(self._wait(record, kind, record.result["wait"]))

    def _wait(self, record: Any, kind: str | None, wait: Case) -> Case:
        told = ("reason", "wait_key", "prompt", "choices", "allow_free_text", "resume_to_node")
        view = {"run": record.run_id, "node_id": record.node_id, "effect": kind}
        view.update({name: wait.get(name) for name in told})
        if wait.get("until"):
            view.update(until=wait["until"], until_in_s=self._seconds_to(wait["until"]))
        return view

    def _seconds_to(self, text: str) -> Any:
        if text in json.dumps([self.case["flows"], self.case["starts"]], ensure_ascii=False):
            return "literal"
        left = math.ceil((_moment(text) - self.clock.now()).total_seconds())
        return "far" if left > FAR_S else left

    def _written(self) -> Case:
        given = self.case.get("environment", {}).get("files", {})
        files = {
            path.relative_to(self.home).as_posix(): path.read_bytes().decode()
            for path in sorted(self.home.rglob("*"))
            if path.is_file()
        }
        return {name: text for name, text in files.items() if given.get(name) != text}

    # -- the host ---------------------------------------------------------------------------

    def _peek(self, run_id: str) -> Any:
        return self.runtime.get_state(run_id)

    def _start(self, start: Case) -> None:
        inputs = copy.deepcopy(start.get("inputs", {}))
        flow = self.specs[start["flow"]]
        run_id = self.runtime.start(workflow=flow, vars=inputs, session_id="sess-1")
        if start.get("role") == "listener":
            self.listeners.add(run_id)
            self._tick(run_id)
        else:
            self.main = run_id

    def _drive(self) -> str | None:
        """Go on with the newest run that can, then hand results of children over, then answer."""
        for _ in range(MOST_TICKS):
            runs = [self._peek(run_id) for run_id in reversed(self.runs)]
            running = [run.run_id for run in runs if run.status == "running"]
            if running:
                self._tick(running[0])
            elif handed := list(self._ended_children(runs)):
                self._resume(*handed[0])
            elif self._peek(self.main).status.is_terminal:
                return None
            elif not self._answer(runs):
                broken = any(run.status in ("failed", "cancelled") for run in runs)
                return "child_failed" if broken else "unsatisfied_wait"
        raise Stopped("step_limit")

    def _ended_children(self, runs: list[Any]) -> Iterator[tuple[Any, Case]]:
        for run in runs:
            if run.status == "waiting" and run.waiting.reason == "subworkflow":
                child = self._peek(run.waiting.details["sub_run_id"])
                traces = {"node_traces": {}} if run.waiting.details.get("include_traces") else {}
                if child.status == "completed":
                    yield run, {"sub_run_id": child.run_id, "output": child.output, **traces}

    def _answer(self, runs: list[Any]) -> bool:
        """Answer the newest wait that the world can answer."""
        for run in runs:
            wait = run.waiting if run.status == "waiting" else None
            is_ours = wait and not (run.run_id in self.listeners and wait.reason == "event")
            if not is_ours or wait.reason == "subworkflow":
                continue
            effect, shown = f"resume:{wait.reason.value}", {}
            if wait.reason == "until":
                self._ask(effect, run.current_node, run.run_id, shown)
                self.clock.set(max(self.clock.now(), _moment(wait.until)))
                self._tick(run.run_id)
                return True
            shown = {name: getattr(wait, name) for name in ("wait_key", "prompt", "choices")}
            self._resume(run, self._ask(effect, run.current_node, run.run_id, shown))
            return True
        return False

    def _tick(self, run_id: str) -> None:
        if self.restart:
            self._boot()
        flow = self.get(self.runs[run_id])
        self.runtime.tick(workflow=flow, run_id=run_id, max_steps=100)

    def _resume(self, run: Any, payload: Any) -> None:
        if self.restart:
            self._boot()
        self.runtime.resume(
            workflow=self.get(run.workflow_id),
            run_id=run.run_id,
            wait_key=run.waiting.wait_key,
            payload=payload,
            max_steps=0,
        )


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


def _shown(kind: str, payload: Case) -> Case:
    shown = {k: v for k, v in payload.items() if k != "resume_to_node"}
    if isinstance(tools := shown.get("tools"), list):
        shown["tools"] = [tool["name"] if isinstance(tool, dict) else tool for tool in tools]
    if kind == "tool_calls":
        shown["tool_calls"] = [dict(call) for call in shown["tool_calls"]]
        for call in shown["tool_calls"]:
            call.pop("runtime_call_id", None)
            if str(call.get("call_id", "")).startswith("rtcall_"):
                del call["call_id"]
    return shown


class Mask:
    """Replaces what differs from run to run; one instance numbers the ids of a whole case."""

    def __init__(self, runs: Iterable[str], case: Case, home: Path) -> None:
        # What the case spells out stays.
        spelt = [json.dumps(flow, ensure_ascii=False) for flow in case["flows"].values()]
        spelt += [json.dumps(case.get(k), ensure_ascii=False) for k in ("starts", "environment")]
        self._keep = {found[0] for text in spelt for found in VOLATILE.finditer(text)}
        self._runs = {run: f"<run:{number}>" for number, run in enumerate(runs)}
        self._home = str(home)
        self._ids: dict[str, str] = {}
        self._digest_over = case.get("digest_over", 600)

    def value(self, value: Any, *, digest: bool) -> Any:
        if isinstance(value, str):
            return self._text(value, digest=digest)
        if isinstance(value, list | tuple):
            return [self.value(item, digest=digest) for item in value]
        if isinstance(value, dict):
            found = {key: self._member(key, value[key], digest) for key in sorted(value)}
            return {self._text(key, digest=digest): found[key] for key in value}
        return getattr(value, "value", value)

    def _member(self, key: str, value: Any, digest: bool) -> Any:
        return "<dur>" if key == "duration_ms" else self.value(value, digest=digest)

    def _text(self, text: str, *, digest: bool) -> str:
        text = text.replace(self._home, "<cwd>")
        for run, mark in self._runs.items():
            text = text.replace(run, mark)
        text = ADDRESS.sub(" at <addr>", STAMP.sub("", text))
        text = VOLATILE.sub(self._masked, text)
        if digest and len(text) > self._digest_over:
            start = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
            return f"<text sha256={start} len={len(text)}>"
        return text

    def _masked(self, found: re.Match[str]) -> str:
        if found[0] in self._keep:
            return found[0]
        return self._ids.setdefault(found[0], f"<id:{len(self._ids)}>") if found["id"] else "<ts>"
