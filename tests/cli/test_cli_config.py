"""Settings: precedence, origins, places, refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from abstractruntime.cli._project import find_project


def settings(art: Any, *args: str) -> dict[str, tuple[Any, str]]:
    document = art("config", "show", "--origin", "--json", *args).document
    return {item["name"]: (item["value"], item["origin"]) for item in document["settings"]}


def test_each_layer_wins_over_the_next(
    art: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ART_HOME")
    (tmp_path / "config").mkdir()
    steps = [
        lambda: None,
        lambda: (tmp_path / "config" / "config.yaml").write_text("store: /user\n"),
        lambda: (tmp_path / ".art").mkdir(),
        lambda: (tmp_path / "art.yaml").write_text("store: mine\n"),
        lambda: monkeypatch.setenv("ART_HOME", "/env"),
    ]
    seen = []
    for step in steps:
        step()
        seen.append(settings(art)["store"][1].split()[0])
    seen.append(settings(art, "--store", "/flag")["store"][1])

    assert seen == ["default", "user", "project", "project", "env", "flag"]


def test_paths_of_a_file_are_relative_to_it(
    art: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ART_HOME")
    (tmp_path / "art.yaml").write_text("store: runs\n")
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "config.yaml").write_text("llm: {script: answers.json}\n")
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "sub")

    found = settings(art)

    assert found["store"][0] == str(tmp_path / "runs")
    assert found["llm.script"][0] == str(tmp_path / "config" / "answers.json")


@pytest.mark.parametrize(
    "text, names",
    [
        ("storre: x\n", "did you mean 'store'"),
        ("durability: sometimes\n", "strict, relaxed or off"),
        ("lock_timeout: soon\n", "number from 0"),
        ("lock_timeout: true\n", "number from 0"),
        ("- a\n", "not a mapping"),
        ("store: [\n", "not YAML"),
        ("llm: {handler: magic}\n", "expected stub"),
        ("store: 2001-99-99\n", "not YAML"),
        ("a: " + "[" * 5000, "not YAML"),
        ("store: &a [x, x]\n", "expected text"),
        ("#" * 70_000, "longer than 65536"),
    ],
    ids=["name", "choice", "number", "flag", "list", "syntax", "section", "moment", "deep", "list value", "long"],
)  # fmt: skip
def test_wrong_files_are_refused(art: Any, tmp_path: Path, text: str, names: str) -> None:
    (tmp_path / "art.yaml").write_text(text)

    result = art("runs")

    assert result.code == 2
    assert names in result.err
    assert "art.yaml" in result.err


def test_bare_off_is_a_durability(art: Any, tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "config.yaml").write_text("durability: off\n")

    assert settings(art)["durability"][0] == "off"


def test_search_for_the_project_stops_at_a_foreign_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "art.yaml").write_text("")
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    real = Path.stat

    class Foreign:
        st_uid = -1

    def stat(path: Path, **options: bool) -> Any:
        return Foreign() if path == tmp_path / "a" else real(path, **options)

    assert find_project(inner).directory == tmp_path
    monkeypatch.setattr(Path, "stat", stat)
    assert find_project(inner).directory is None
