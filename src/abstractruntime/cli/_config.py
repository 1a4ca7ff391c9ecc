"""Configuration: named settings, each with a value and the place it came from.

Rules:
1. Precedence: flag, environment, project file, user file, default. Of a project file only
   counts what loosens nothing; see `_project`.
2. The user's file is refused where somebody else could have written it.
3. Relative paths of a file are relative to that file.
4. Unknown names and wrong values are refused; a misspelt policy must not be silently off.
"""

from __future__ import annotations

import reprlib
from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from abstractruntime._files import read_bounded, read_unshared
from abstractruntime._near import close_names
from abstractruntime.cli._inputs import home_path
from abstractruntime.cli._project import (
    PROJECT_FILE,
    PROJECT_STORE,
    Ignored,
    Project,
    Value,
    find_project,
    judge,
)
from abstractruntime.cli._settings import BY_NAME, SETTINGS, Setting
from abstractruntime.cli._wrong_values import nearest, one_of
from abstractruntime.errors import NotFound, UsageError

USER_FILE = "config.yaml"
_SECTIONS = {name.partition(".")[0] for name in BY_NAME if "." in name}
_MAX_BYTES = 64 * 1024


@dataclass(frozen=True)
class Config:
    """What is in force, and what a project says in vain."""

    values: Mapping[str, Value]
    project: Path | None = None
    ignored: tuple[Ignored, ...] = ()

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
            "ignored": [item.to_dict() for item in self.ignored],
        }


def load_config(*, flags: Mapping[str, Any], environ: Mapping[str, str], cwd: Path) -> Config:
    """Read the files and give what is in force.

    Raises:
        UsageError: a file is not YAML, or a name or value is wrong.
        Refused: somebody else could have written the user's file.
    """
    project = find_project(cwd)
    user_dir = user_config_dir(environ)
    user_file = user_dir / USER_FILE
    asked = ChainMap(
        {
            name: Value(_parse(BY_NAME[name], raw, "flag", cwd), "flag")
            for name, raw in flags.items()
        },
        environment_layer(environ, cwd),
    )
    users = _user_layer(user_file)

    def other(name: str) -> Value:
        return users.get(name) or _default(BY_NAME[name], user_dir, environ)

    given = _project_layer(project)
    # What a flag or the environment decides needs no other opinion.
    open_to_it = {name: value for name, value in given.items() if name not in asked}
    obeyed, ignored = judge(project.directory or cwd, open_to_it, other, user_file)
    known = ChainMap(*asked.maps, obeyed)
    values = {s.name: known.get(s.name) or other(s.name) for s in SETTINGS}
    return Config(values, project.directory, (*project.ignored, *ignored))


def _default(setting: Setting, user_dir: Path, environ: Mapping[str, str]) -> Value:
    """Give a setting that nobody made."""
    if setting.common_env and (text := environ.get(setting.common_env)):
        return Value(text, f"env {setting.common_env}")
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


def _project_layer(project: Project) -> dict[str, Value]:
    if project.directory is None:
        return {}
    file, store = project.directory / PROJECT_FILE, project.directory / PROJECT_STORE
    layer = {}
    if project.has_file:
        layer = _parsed(read_bounded(file, _MAX_BYTES), file, f"project {file}")
    if project.has_store:
        layer.setdefault("store", Value(str(store), f"project {store}"))
    return layer


def _user_layer(path: Path) -> dict[str, Value]:
    try:
        data = read_unshared(path, _MAX_BYTES, what="your configuration")
    except NotFound:
        return {}
    return _parsed(data, path, f"user {path}")


def environment_layer(environ: Mapping[str, str], cwd: Path) -> dict[str, Value]:
    """Give the settings that the environment names; empty variables do not count."""
    layer = {}
    for setting in SETTINGS:
        text = environ.get(setting.env or "")
        if text:
            origin = f"env {setting.env}"
            layer[setting.name] = Value(_parse(setting, text, origin, cwd), origin)
    return layer


def _parsed(data: bytes, path: Path, origin: str) -> dict[str, Value]:
    return {
        setting.name: Value(_parse(setting, raw, origin, path.parent), origin)
        for setting, raw in _named(_load_yaml(data, path), origin)
    }


def _load_yaml(text: bytes, path: Path) -> Mapping[str, Any]:
    from abstractruntime._yaml import load_yaml

    try:
        data = load_yaml(text)
    except (ValueError, RecursionError) as cause:
        raise UsageError(f"'{path}' is not YAML: {cause}", path=str(path)) from cause
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise UsageError(f"'{path}' is not a mapping of settings", path=str(path))
    return data


def _named(data: Mapping[str, Any], origin: str) -> Iterator[tuple[Setting, Any]]:
    for name, value in _flatten(data):
        setting = BY_NAME.get(name)
        if setting is None:
            near = close_names(name, BY_NAME, n=1)
            hint = f"did you mean {near[0]!r}?" if near else "known: " + ", ".join(BY_NAME)
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
    parse: Callable[[Setting, Any, str], Any] = _PARSERS.get(setting.kind, _text)
    value = parse(setting, raw, origin)
    return str(base / home_path(value)) if setting.kind == "path" else value


def _text(setting: Setting, raw: Any, origin: str) -> str:
    if setting.kind == "choice" and raw is False:
        raw = "off"  # YAML reads a bare `off` as false
    if not isinstance(raw, str) or (setting.choices and raw not in setting.choices):
        raise _wrong(setting, raw, origin, one_of(setting.choices) if setting.choices else "text")
    return raw


def _flag(setting: Setting, raw: Any, origin: str) -> bool:
    found = _FLAGS.get(raw.strip().lower()) if isinstance(raw, str) else raw
    if not isinstance(found, bool):
        raise _wrong(setting, raw, origin, "true or false")
    return found


def _mapping(setting: Setting, raw: Any, origin: str) -> dict[str, Any]:
    """Read a mapping; the environment has it as JSON."""
    from abstractruntime._json import load_strict

    value = raw
    if isinstance(raw, str):
        try:
            value = load_strict(raw)
        except (ValueError, RecursionError):
            value = None
    if not isinstance(value, dict):
        raise _wrong(setting, raw, origin, "a mapping" if raw is value else "a JSON object")
    return value


def _number(setting: Setting, raw: Any, origin: str) -> float:
    try:
        number = float("nan") if isinstance(raw, bool) else float(raw)
    except (TypeError, ValueError):
        number = float("nan")
    if 0 <= number < float("inf") and (setting.kind == "number" or number == int(number)):
        return int(number) if number == int(number) else number
    wanted = "a whole number" if setting.kind == "count" else "a number"
    raise _wrong(setting, raw, origin, f"{wanted} from 0")


_FLAGS = {"true": True, "1": True, "yes": True, "on": True,
          "false": False, "0": False, "no": False, "off": False}  # fmt: skip
_PARSERS: Mapping[str, Callable[[Setting, Any, str], Any]] = {
    "number": _number,
    "count": _number,
    "flag": _flag,
    "mapping": _mapping,
}


def _wrong(setting: Setting, raw: Any, origin: str, wanted: str) -> UsageError:
    option = f"--{setting.name}"
    place = f"option {option}" if origin == "flag" else f"setting {setting.name!r} in {origin}"
    near = "".join(f"did you mean {word!r}? " for word in nearest(str(raw), setting.choices))
    return UsageError(
        f"{place} is {reprlib.repr(raw)}, expected {wanted}",
        hint=near + ("correct the option" if origin == "flag" else f"correct it in {origin}"),
        argument=option if origin == "flag" else setting.name,
    )
