"""`make demo` tells its story to the end, twice, and leaves nothing behind."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "bundles" / "demo.sh"
ART = Path(sys.executable).with_name("art")
VARIES = re.compile(r"[0-9a-f]{8,64}|\d+ (?:ms|bytes)|byte \d+")

Done = subprocess.CompletedProcess[str]


def run_demo(art: Path, scratch: Path) -> Done:
    environ = {
        "PATH": os.environ["PATH"],
        "TMPDIR": str(scratch),
        "HOME": str(scratch),
        "ART": str(art),
    }
    command = ["sh", str(DEMO)]
    return subprocess.run(
        command, env=environ, cwd=scratch, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def done(scratch: Path) -> Done:
    return run_demo(ART, scratch)


def test_demo_shows_the_whole_story(done: Done, scratch: Path) -> None:
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    for part in (
        "[exit 4]",
        "api 2.1.0 is released",
        "alice",
        "invalid",
        "[exit 1]",
        "history.json",
    ):
        assert part in done.stdout
    assert list(scratch.iterdir()) == []


def test_picture_in_the_readme_is_what_the_demo_prints(done: Done) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    picture = readme.split("```text\n")[1].split("```")[0]
    printed = VARIES.sub("*", done.stdout)

    # In the picture, "..." stands for the rest of a word or line.
    wanted = [VARIES.sub("*", line).split("...")[0].rstrip() for line in picture.splitlines()]
    assert [line for line in wanted if line not in printed] == []


def test_demo_stops_with_a_message_when_an_exit_code_is_unexpected(tmp_path: Path) -> None:
    broken = tmp_path / "art"
    broken.write_text("#!/bin/sh\nexit 9\n")
    broken.chmod(0o755)

    stopped = run_demo(broken, tmp_path)

    assert stopped.returncode == 1
    assert 'demo: "art key" exited with 9, expected 0' in stopped.stderr
    assert list(tmp_path.iterdir()) == [broken]
