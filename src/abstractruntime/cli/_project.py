"""The project that a directory belongs to, and what of its file is obeyed.

Rules:
1. The project is the nearest directory upwards with `art.yaml` or `.art`. The search never
   leaves directories of one owner, who is the user or the superuser.
2. A project is obeyed where nobody else could have written it: file and directory belong to the
   user or the superuser and cannot be written by others, and no link leads anywhere. Else the
   search ends there, and what was found is not obeyed.
3. Its file may tighten, never loosen; `_settings` says what that means for each setting.
4. What is not obeyed is said, with what counts instead.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from abstractruntime._files import Doubt, doubt_about
from abstractruntime._text import shell_word
from abstractruntime.cli._settings import BY_NAME, Setting

PROJECT_FILE = "art.yaml"
PROJECT_STORE = ".art"


@dataclass(frozen=True, slots=True)
class Value:
    """A setting in force; `origin` is `default`, `flag`, `env NAME`, `project FILE` or `user FILE`."""

    value: Any
    origin: str

    @property
    def is_projects(self) -> bool:
        return self.origin.startswith("project ")


@dataclass(frozen=True, slots=True)
class Ignored:
    """What a project says and nobody obeys; `setting` is None for all of it."""

    file: str
    why: str
    hint: str
    setting: str | None = None
    value: Any = None
    instead: Any = None

    def to_dict(self) -> dict[str, Any]:
        return {
            "file": self.file,
            "setting": self.setting,
            "value": self.value,
            "instead": self.instead,
            "why": self.why,
            "hint": self.hint,
        }

    @property
    def text(self) -> str:
        if self.setting is None:
            return f"'{self.file}' is not obeyed: {self.why}"
        instead = "nothing" if self.instead is None else repr(self.instead)
        return (
            f"'{self.file}' sets {self.setting} to {self.value!r}, which is not obeyed:"
            f" {self.why}; what counts is {instead}"
        )


@dataclass(frozen=True, slots=True)
class Project:
    """Where the project lies, and what in it may be looked at."""

    directory: Path | None = None
    has_file: bool = False
    has_store: bool = False
    ignored: tuple[Ignored, ...] = ()


def find_project(cwd: Path) -> Project:
    """Give the project that `cwd` belongs to, if any, and what of it is not obeyed."""
    owner = cwd.stat().st_uid
    for directory in (cwd, *cwd.parents):
        if directory.stat().st_uid != owner:
            return Project()
        file, store = directory / PROJECT_FILE, directory / PROJECT_STORE
        found = [path for path in (file, store) if os.path.lexists(path)]
        if found:
            doubts = {path: doubt for path in found if (doubt := _doubt(path))}
            good = [path for path in found if path not in doubts]
            ignored = tuple(Ignored(str(p), d.reason, d.fix) for p, d in doubts.items())
            return Project(directory if good else None, file in good, store in good, ignored)
    return Project()


def _doubt(path: Path) -> Doubt | None:
    if path.is_symlink():
        return Doubt(path, "it is a link", "put there what it leads to")
    is_right = path.is_file() if path.name == PROJECT_FILE else path.is_dir()
    if not is_right:
        wanted = "a file" if path.name == PROJECT_FILE else "a directory"
        return Doubt(path, f"it is not {wanted}", "remove it, or give it another name")
    return doubt_about(path)


def judge(
    project: Path,
    given: Mapping[str, Value],
    other: Callable[[str], Value],
    user_file: Path,
) -> tuple[dict[str, Value], list[Ignored]]:
    """Give what of a project's settings is obeyed, and what is not.

    Args:
        project: The directory of the project.
        given: What its file says.
        other: Gives what the user's file or the default says.
        user_file: Where the user may say it.
    """
    obeyed: dict[str, Value] = {}
    ignored = []
    for name, value in given.items():
        setting, instead = BY_NAME[name], other(name)
        is_same = value.value == instead.value
        why = None if is_same else _why_not(setting, value, instead, project)
        if why is None:
            obeyed[name] = value
            continue
        env = f", or {setting.env}={shell_word(value.value)}" if setting.env else ""
        hint = f"if you want it, say so yourself: {name} in '{user_file}'{env}, or a flag"
        file = value.origin.removeprefix("project ")
        ignored.append(Ignored(file, why, hint, name, value.value, instead.value))
    return obeyed, ignored


def _why_not(setting: Setting, value: Value, other: Value, project: Path) -> str | None:
    """Say why a value of a project is not obeyed."""
    rule = setting.project
    if rule.leeway == "never":
        return f"a project cannot set it, as {rule.why}"
    if rule.leeway == "tighten" and rule.loosens(value.value, other.value):
        return f"a project can only tighten it, as {rule.why}"
    if rule.leeway == "inside":
        return _why_outside(Path(value.value), project)
    return None


def _why_outside(path: Path, project: Path) -> str | None:
    plain = Path(os.path.normpath(path))
    if not plain.is_relative_to(project):
        return "it lies outside the project"
    if Path(os.path.realpath(plain)) != Path(os.path.realpath(project), plain.relative_to(project)):
        return "a link leads elsewhere from there"
    doubt = doubt_about(plain)
    return doubt.reason if doubt else None
