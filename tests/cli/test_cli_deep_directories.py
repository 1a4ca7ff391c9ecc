"""Directories that lie far below one another are walked like any others."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flow_builder import START, end, flow


@pytest.fixture
def deep(tmp_path: Path) -> Iterator[None]:
    """Fifteen hundred directories in one another, with a flow in the first and the last."""
    document = json.dumps(flow(START, end(), edges="s > e"))
    (tmp_path / "deep").mkdir()
    place = os.open(tmp_path / "deep", os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d", dir_fd=place)
        below = os.open("d", os.O_RDONLY, dir_fd=place)
        os.close(place)
        place = below
    file = os.open("low.json", os.O_CREAT | os.O_WRONLY, dir_fd=place)
    os.write(file, document.encode())
    os.close(file)
    os.close(place)
    (tmp_path / "deep" / "top.json").write_text(document)
    yield
    # Whoever removes old temporary directories would recurse.
    subprocess.run(["rm", "-rf", tmp_path / "deep"], check=True)


@pytest.mark.usefixtures("deep")
def test_a_tree_of_a_thousand_directories_is_walked(art: Any) -> None:
    for command in (("check",), ("fmt", "--check")):
        done = art(*command, "deep")
        assert done.code in (0, 1), done.err[:300]
        assert "internal" not in done.err
    assert art("test", "deep").code == 66
    assert "2 documents" in art("check", "deep").err
