"""Configuration: named settings, each with a value and the place it came from.

Rules:
1. Precedence: flag, environment, project file, user file, default.
2. The project is the nearest directory upwards with `art.yaml` or `.art/`. The search never
   leaves directories of the same owner, so nobody else's file above decides anything.
3. Relative paths of a file are relative to that file.
4. Unknown names and wrong values are refused; a misspelt policy must not be silently off.
"""

from __future__ import annotations

import difflib
from collections import ChainMap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from abstractruntime.cli._inputs import home_path
from abstractruntime.errors import UsageError

PROJECT_FILE = "art.yaml"
PROJECT_STORE = ".art"

Kind = Literal["text", "path", "number", "choice", "flag"]


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting; `name` is its dotted path in a file."""

    name: str
    doc: str
    env: str | None = None
    kind: Kind = "text"
    choices: tuple[str, ...] = ()
    default: Any = None


SETTINGS: tuple[Setting, ...] = (
    Setting("store", "directory of runs, ledgers and artifacts", "ART_HOME", "path"),
    Setting(
        "durability", "what a commit survives", "ART_DURABILITY", "choice",
        ("strict", "relaxed", "off"), "strict",
    ),
    Setting("lock_timeout", "seconds to wait for a run that is owned", "ART_LOCK_TIMEOUT", "number", default=0),
    Setting("workspace", "directory whose files flows may touch; default: the current one", "ART_WORKSPACE", "path"),
    Setting("signing_key", "key that signs bundles: name or path", "ART_SIGNING_KEY"),
    Setting("host_key", "key that signs heads of ledgers: name or path", "ART_HOST_KEY"),
    Setting("trust_store", "file of trust decisions", "ART_TRUST_STORE", "path"),
    Setting(
        "sandbox", "where code nodes run", "ART_SANDBOX", "choice",
        ("bwrap", "worker", "in-process"), "worker",
    ),
    Setting(
        "sandbox_minimum", "layers without which no code runs", "ART_SANDBOX_MINIMUM", "choice",
        ("fs+net+syscalls", "fs+net", "none"), "none",
    ),
    Setting(
        "on_unknown", "what becomes of an effect whose outcome a crash hid", "ART_ON_UNKNOWN",
        "choice", ("retry", "ask", "fail"), "retry",
    ),
    Setting("llm.attempts", "how often a failing model call is tried", "ART_LLM_ATTEMPTS", "number", default=1),
    Setting("llm.handler", "who answers model calls", "ART_LLM_HANDLER", "choice", ("stub",)),
    Setting("llm.script", "file of answers for the handler 'stub'", "ART_LLM_SCRIPT", "path"),
)  # fmt: skip
_BY_NAME = {setting.name: setting for setting in SETTINGS}
_SECTIONS = {name.partition(".")[0] for name in _BY_NAME if "." in name}


@dataclass(frozen=True, slots=True)
class Value:
    """A setting in force; `origin` is `default`, `flag`, `env NAME`, `project FILE` or `user FILE`."""

    value: Any
    origin: str


@dataclass(frozen=True)
class Config:
    values: Mapping[str, Value]
    project: Path | None = None

    def get(self, name: str) -> Any:
        return self.values[name].value

    def path(self, name: str) -> Path | None:
        value = self.get(name)
        return Path(value) if value is not None else None

    @property
    def store(self) -> Path:
        return Path(self.get("store"))

    def to_dict(self) -> dict[str, Any]:
        """Give the `art-config/1` document."""
        return {
            "format": "art-config/1",
            "project": str(self.project) if self.project else None,
            "settings": [
                {"name": name, "value": value.value, "origin": value.origin}
                for name, value in self.values.items()
            ],
        }


def load_config(*, flags: Mapping[str, Any], environ: Mapping[str, str], cwd: Path) -> Config:
    """Read the files and give what is in force.

    Raises:
        UsageError: a file is not YAML, or a name or value is wrong.
    """
    project = find_project(cwd)
    user_dir = user_config_dir(environ)
    layers = [
        {
            name: Value(_parse(_BY_NAME[name], raw, "flag", cwd), "flag")
            for name, raw in flags.items()
        },
        environment_layer(environ, cwd),
        _project_layer(project),
        _file_layer(user_dir / "config.yaml", "user"),
    ]
    known = ChainMap(*layers)
    values = {s.name: known.get(s.name) or _default(s, user_dir) for s in SETTINGS}
    return Config(values, project)


def _default(setting: Setting, user_dir: Path) -> Value:
    """Give a setting that nobody made."""
    if setting.name == "store":
        return Value(str(_user_store()), "default")
    if setting.name == "trust_store":
        return Value(str(user_dir / "trust.json"), "default")
    return Value(setting.default, "default")


def user_config_dir(environ: Mapping[str, str]) -> Path:
    """Give the directory of keys, trust and user configuration."""
    chosen = environ.get("ART_CONFIG_DIR")
    if chosen:
        return Path(chosen)
    from platformdirs import user_config_path

    return user_config_path("abstractruntime", appauthor=False)


def _user_store() -> Path:
    from platformdirs import user_data_path

    return user_data_path("abstractruntime", appauthor=False) / "store"


def find_project(cwd: Path) -> Path | None:
    """Give the project directory that `cwd` belongs to, if any."""
    owner = cwd.stat().st_uid
    for directory in (cwd, *cwd.parents):
        if directory.stat().st_uid != owner:
            return None
        if (directory / PROJECT_FILE).is_file() or (directory / PROJECT_STORE).is_dir():
            return directory
    return None


def _project_layer(project: Path | None) -> dict[str, Value]:
    if project is None:
        return {}
    layer = _file_layer(project / PROJECT_FILE, "project")
    store = project / PROJECT_STORE
    if store.is_dir():
        layer.setdefault("store", Value(str(store), f"project {store}"))
    return layer


def environment_layer(environ: Mapping[str, str], cwd: Path) -> dict[str, Value]:
    """Give the settings that the environment names; empty variables do not count."""
    layer = {}
    for setting in SETTINGS:
        text = environ.get(setting.env or "")
        if text:
            origin = f"env {setting.env}"
            layer[setting.name] = Value(_parse(setting, text, origin, cwd), origin)
    return layer


def _file_layer(path: Path, kind: str) -> dict[str, Value]:
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return {}
    origin = f"{kind} {path}"
    return {
        setting.name: Value(_parse(setting, raw, origin, path.parent), origin)
        for setting, raw in _named(_load_yaml(text, path), origin)
    }


def _load_yaml(text: str, path: Path) -> Mapping[str, Any]:
    import yaml

    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as cause:
        reason = " ".join(str(cause).split())
        raise UsageError(f"'{path}' is not YAML: {reason}", path=str(path)) from cause
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise UsageError(f"'{path}' is not a mapping of settings", path=str(path))
    return data


def _named(data: Mapping[str, Any], origin: str) -> Iterator[tuple[Setting, Any]]:
    for name, value in _flatten(data):
        setting = _BY_NAME.get(name)
        if setting is None:
            near = difflib.get_close_matches(name, _BY_NAME, n=1)
            hint = f"did you mean {near[0]!r}?" if near else "known: " + ", ".join(_BY_NAME)
            raise UsageError(f"unknown setting {name!r} in {origin}", hint=hint, argument=name)
        yield setting, value


def _flatten(data: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in data.items():
        if key in _SECTIONS and isinstance(value, dict):
            yield from ((f"{key}.{inner}", item) for inner, item in value.items())
        else:
            yield str(key), value


def _parse(setting: Setting, raw: Any, origin: str, base: Path) -> Any:
    """Give the value of a setting in its type; paths become absolute."""
    if setting.kind == "number":
        return _number(setting, raw, origin)
    if setting.kind == "choice" and raw is False:
        raw = "off"  # YAML reads a bare `off` as false
    if not isinstance(raw, str) or (setting.choices and raw not in setting.choices):
        wanted = " or ".join(setting.choices) or "text"
        raise UsageError(
            f"setting {setting.name!r} in {origin} is {raw!r}, expected {wanted}",
            hint="see: art config show --origin",
            argument=setting.name,
        )
    return str(base / home_path(raw)) if setting.kind == "path" else raw


def _number(setting: Setting, raw: Any, origin: str) -> float:
    try:
        number = float("nan") if isinstance(raw, bool) else float(raw)
    except (TypeError, ValueError):
        number = float("nan")
    if 0 <= number < float("inf"):
        return int(number) if number == int(number) else number
    raise UsageError(
        f"setting {setting.name!r} in {origin} is {raw!r}, expected a number from 0",
        hint="see: art config show --origin",
        argument=setting.name,
    )
