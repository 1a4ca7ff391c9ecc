"""The settings, as data: their names, where they may be made, and what a project may do to them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["text", "path", "number", "count", "choice", "flag", "mapping"]
Leeway = Literal["free", "inside", "tighten", "never"]


@dataclass(frozen=True, slots=True)
class ProjectRule:
    """What the file of a project may do to a setting, and why.

    A project comes with whatever was cloned or unpacked, so its file is no authority: what it
    gives counts only where it takes nothing from whoever runs the tool.

    Attributes:
        leeway: `free` any value; `inside` a path in the project; `tighten` a value at least as
            strict as what counts without it; `never` none.
        why: The reason, for the reference.
        loosest_first: The values of a setting that may be tightened; none of a limit, which less
            tightens and 0, no limit, loosens most.
    """

    leeway: Leeway
    why: str
    loosest_first: tuple[str, ...] = ()

    def loosens(self, value: Any, than: Any) -> bool:
        """Say whether a value is less strict than another one."""
        order = self.loosest_first
        if not order:
            return (value or math.inf) > (than or math.inf)
        return order.index(value) < order.index(than)


def _tighten(why: str, *loosest_first: str) -> ProjectRule:
    return ProjectRule("tighten", why, loosest_first)


def _never(why: str) -> ProjectRule:
    return ProjectRule("never", why)


def _inside(why: str) -> ProjectRule:
    return ProjectRule("inside", why)


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting; `name` is its dotted path in a file.

    The first record of a run states it, unless what it says permits and refuses nothing.
    """

    name: str
    doc: str
    project: ProjectRule
    env: str | None = None
    # A variable of other tools, too; it counts where nobody said anything to this one.
    common_env: str | None = None
    kind: Kind = "text"
    choices: tuple[str, ...] = ()
    default: Any = None
    is_stated: bool = True


LIMITS_SECTION = "limits"
_NO_ENDPOINT = _never("whoever names the endpoint reads what you send there")
_NO_KEY = _never("whoever names the key has something signed in your name")
_NO_STUB = _never("a stub answers only where a person asked for it")


def _limit(name: str, default: int, doc: str) -> Setting:
    return Setting(
        f"{LIMITS_SECTION}.{name}", f"{doc} after which a run rests; 0: no limit",
        _tighten("a project must not use more of your machine than you let it"),
        f"ART_LIMITS_{name.upper()}", kind="count", default=default, is_stated=False,
    )  # fmt: skip


SETTINGS: tuple[Setting, ...] = (
    Setting(
        "store", "directory of runs, ledgers and artifacts",
        _inside("where a project keeps its own runs is its business"),
        "ART_HOME", kind="path",
    ),
    Setting(
        "durability", "what a commit survives",
        _tighten("less would lose finished work", "off", "relaxed", "strict"),
        "ART_DURABILITY", kind="choice", choices=("strict", "relaxed", "off"), default="strict",
    ),
    Setting(
        "lock_timeout", "seconds to wait for a run that is owned",
        ProjectRule("free", "waiting longer permits nothing"),
        "ART_LOCK_TIMEOUT", kind="number", default=0, is_stated=False,
    ),
    Setting(
        "workspace",
        "directory whose files flows may touch; default: the current one for a flow document, one of"
        " its own for a bundle",
        _inside("other files are not the project's to give"),
        "ART_WORKSPACE", kind="path",
    ),
    Setting("signing_key", "key that signs bundles: name or path", _NO_KEY, "ART_SIGNING_KEY"),
    Setting("host_key", "key that signs heads of ledgers: name or path", _NO_KEY, "ART_HOST_KEY"),
    Setting(
        "trust_store", "file of trust decisions",
        _never("whose signatures count is for you to say"),
        "ART_TRUST_STORE", kind="path",
    ),
    Setting(
        "sandbox", "where code nodes run",
        _tighten("code out of the sandbox has all that you have", "in-process", "worker", "bwrap"),
        "ART_SANDBOX", kind="choice", choices=("bwrap", "worker", "in-process"), default="worker",
    ),
    Setting(
        "sandbox_minimum", "layers without which no code runs",
        _tighten("fewer layers keep less from code", "none", "fs+net", "fs+net+syscalls"),
        "ART_SANDBOX_MINIMUM", kind="choice", choices=("fs+net+syscalls", "fs+net", "none"), default="none",
    ),
    Setting(
        "on_unknown", "what becomes of an effect whose outcome a crash hid",
        _tighten("what may have happened must not happen twice unasked", "retry", "ask", "fail"),
        "ART_ON_UNKNOWN", kind="choice", choices=("retry", "ask", "fail"), default="retry",
    ),
    Setting(
        "on_revoked", "what becomes of a run when the keys that vouched for its bundle are revoked",
        _tighten("what a revoked key signed is not to be run", "finish", "refuse"),
        "ART_ON_REVOKED", kind="choice", choices=("refuse", "finish"), default="refuse",
    ),
    Setting(
        "llm.base_url", "endpoint of models in the format of OpenAI, such as http://127.0.0.1:1234/v1",
        _NO_ENDPOINT, "ART_LLM_BASE_URL", "OPENAI_BASE_URL",
    ),
    Setting(
        "llm.api_key_env", "environment variable that holds the key of llm.base_url, ART_LLM_API_KEY by default",
        _never("other variables hold other secrets"),
    ),
    Setting(
        "llm.model", "model that answers where a node names none",
        ProjectRule("free", "a flow names any model it likes"), "ART_LLM_MODEL",
    ),
    Setting(
        "llm.force_model", "whether llm.model answers whatever a node names",
        ProjectRule("free", "a flow names any model it likes"), "ART_LLM_FORCE_MODEL",
        kind="flag",
    ),
    Setting(
        "llm.providers",
        "endpoints by name of a provider: {NAME: {base_url, api_key_env, model, timeout, tools, prices}}",
        _NO_ENDPOINT, "ART_LLM_PROVIDERS", kind="mapping",
    ),
    Setting(
        "llm.timeout", "seconds that a request to a model may take",
        ProjectRule("free", "waiting longer permits nothing"),
        "ART_LLM_TIMEOUT_S", kind="number", default=600, is_stated=False,
    ),
    Setting(
        "llm.attempts", "how often a model call is tried that fails for a reason which may pass",
        ProjectRule("free", "a flow can call a model as often as it likes"),
        "ART_LLM_ATTEMPTS", kind="number", default=3, is_stated=False,
    ),
    Setting("llm.handler", "who answers model calls", _NO_STUB, "ART_LLM_HANDLER", kind="choice", choices=("stub",)),
    Setting(
        "llm.script", "file of answers for the handler 'stub'", _NO_STUB, "ART_LLM_SCRIPT", kind="path",
        is_stated=False,
    ),
    _limit("steps", 100_000, "calls of nodes, of one run,"),
    _limit("ledger_bytes", 128 * 1024 * 1024, "bytes of its ledger and of what it puts beside it"),
    _limit("seconds", 24 * 60 * 60, "seconds for which it was driven, waits not counted,"),
    _limit("depth", 64, "levels of runs that start runs"),
    _limit("runs", 1000, "runs of one tree"),
    _limit("failures", 100, "failures of one node in a row"),
)  # fmt: skip
BY_NAME = {setting.name: setting for setting in SETTINGS}
