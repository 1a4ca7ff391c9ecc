"""Finding the cases of flows, and the flows of cases."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from abstractruntime.cli._bundles import entry_of
from abstractruntime.cli._files import entries_below
from abstractruntime.cli._packing import Request, compile_bundle
from abstractruntime.errors import NotFound, UsageError
from abstractruntime.testing.cases import Case, load_case
from abstractruntime.visualflow_compiler.document import FlowDocument

CASES = "cases"
_SUFFIXES = (".json", ".yaml", ".yml")
_MARK = ".case"


@dataclass(frozen=True, slots=True)
class Found:
    """A case, its file, and the document or directory that it is about."""

    file: Path
    case: Case
    flow: Path

    @property
    def name(self) -> str:
        return f"{self.file}::{self.case.name}"


@dataclass
class Flows:
    """Flow documents with everything that they run, compiled and kept by path."""

    _known: dict[tuple[Path, str | None], tuple[str, Mapping[str, FlowDocument]]] = field(
        default_factory=dict
    )

    def load(self, path: Path, entry: str | None) -> tuple[str, Mapping[str, FlowDocument]]:
        """Give the id of the flow to start, and all documents by id.

        Raises:
            NotFound: there is no such file.
            FlowError: a document has errors.
        """
        key = path, entry
        if key not in self._known:
            loaded, _ = compile_bundle(Request(path, (entry,) if entry else ()))
            self._known[key] = entry_of(loaded.bundle, entry), loaded.bundle.documents
        return self._known[key]


def find_cases(path: Path, pattern: str | None = None) -> list[Found]:
    """Give the cases of a flow, of a directory and all below it, or the one in a case file.

    Cases lie in a directory `cases` beside the flow, or are called `*.case.json`. A case
    without `flow` is about the flow documents beside it.

    Raises:
        NotFound: there is none, or none that fits `pattern`.
        UsageError, UnsupportedFormat: a case is wrong.
    """
    if not path.exists():
        raise NotFound(f"no file or directory '{path}'", path=str(path))
    files = [path] if is_case_file(path) else list(_case_files(path))
    found = [_found(file) for file in files]
    if path.is_file() and not is_case_file(path):
        found = [item for item in found if item.flow in (path.resolve(), path.resolve().parent)]
        found = [Found(item.file, item.case, path.resolve()) for item in found]
    if not found:
        raise NotFound(
            f"'{path}' has no cases",
            hint=f"write one: mkdir {CASES}; see: art schema case; or take a run: --save-from RUN",
            path=str(path),
        )
    kept = [item for item in found if _fits(item, pattern)]
    if not kept:
        raise NotFound(
            f"none of {len(found)} cases fits {pattern!r}",
            hint="their files and names are shown by art test without --filter",
        )
    return kept


def is_case_file(path: Path) -> bool:
    """Tell whether a path names a case and not a flow."""
    is_marked = path.parent.name == CASES or Path(path.stem).suffix == _MARK
    return path.suffix in _SUFFIXES and is_marked and not path.is_dir()


def _case_files(path: Path) -> Iterator[Path]:
    """Give case files in order; for a flow those beside it."""
    if path.is_dir():
        files = (Path(entry.path) for entry in entries_below(path))
        yield from sorted(file for file in files if is_case_file(file))
        return
    beside = [*path.parent.glob("*"), *(path.parent / CASES).glob("*")]
    yield from sorted(file for file in beside if is_case_file(file))


def _found(file: Path) -> Found:
    case = load_case(file)
    home = file.resolve().parent
    if case.flow is not None:
        flow = (home / case.flow).resolve()
        if not flow.exists():
            raise NotFound(
                f"case '{file}' is about '{case.flow}', which is not there",
                hint="flow is a path relative to the case",
                path=str(flow),
            )
        return Found(file, case, flow)
    return Found(file, case, home.parent if home.name == CASES else home)


def _fits(item: Found, pattern: str | None) -> bool:
    if pattern is None:
        return True
    name = item.name.lower()
    return pattern.lower() in name or fnmatchcase(name, pattern.lower())


def only_flow(path: Path) -> Path:
    """Give the flow that a saved case is about.

    Raises:
        UsageError: a case file was named.
    """
    if is_case_file(path):
        raise UsageError(
            f"'{path}' is a case, expected a flow or a directory of one",
            hint="name the flow that the run was started from",
        )
    return path
