"""A command that a hint prints can be pasted, whatever foreign text is in it."""

from __future__ import annotations

import re
import shlex
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from abstractruntime._text import shell_word
from abstractruntime.cli._hints import for_store
from abstractruntime.cli._outcome import wait_lines
from abstractruntime.cli._table import COMMANDS, Group
from abstractruntime.cli.resume import event_key
from abstractruntime.core.models import WaitReason
from abstractruntime.core.run_tree import OpenWait
from abstractruntime.errors import WaitMismatch
from abstractruntime.signing.keys import load_signing_key

APPROVAL = Path(__file__).resolve().parents[2] / "bundles" / "release-approval" / "flow.json"
INPUT = '{"service": "api", "version": "2.1.0"}'
SRC = Path(__file__).resolve().parents[2] / "src" / "abstractruntime"
EVIL = "q'; touch pwned; '"


def hinted(text: str) -> list[str]:
    return shlex.split(text.rpartition("hint: ")[2])


def commands(entries: Any, path: tuple[str, ...] = ()) -> Any:
    for name, entry in entries.items():
        if isinstance(entry, Group):
            yield from commands(entry.entries, (*path, name))
        else:
            module, function = entry.target.split(":")
            found = getattr(import_module(f"abstractruntime.cli.{module}"), function)
            yield (*path, name), getattr(found, "uses_store", False)


@pytest.mark.parametrize("mode", [(), ("--json",)], ids=["text", "json"])
def test_where_a_store_was_named_hints_name_it(art: Any, mode: tuple[str, ...]) -> None:
    store = ("--store", "my store")
    started = art("run", str(APPROVAL), "--run-id", "r", "--input", INPUT, *store)
    wrong = art("inspect", "nope", f"--store={store[1]}", *mode)

    assert "art resume --store 'my store' r --input ANSWER" in started.err
    assert "art runs --store 'my store'" in wrong.err + wrong.out
    pasted = shlex.split(started.err.rpartition("hint: ")[2].partition("ANSWER")[0])
    assert art(*pasted[1:], "approve").code == 0


def test_hints_name_it_where_the_command_has_one() -> None:
    for words, uses_store in commands(COMMANDS.entries):
        hint = f"see: art {' '.join(words)} X; or not"
        assert (" --store s X" in for_store(hint, "s")) is uses_store, words
    assert for_store("see: art runs", None) == "see: art runs"


@pytest.mark.parametrize(
    "text,word",
    [
        ("user:3f2a:ask", "user:3f2a:ask"),
        ("a/b-c_d.json", "a/b-c_d.json"),
        ("host+1a2b+AbC/d=", "host+1a2b+AbC/d="),
        ("my flow.json", "'my flow.json'"),
        (EVIL, shlex.quote(EVIL)),
        ("$(id)", "'$(id)'"),
        ("", "''"),
    ],
)
def test_a_word_is_quoted_where_a_shell_would_read_more_than_a_word(text: str, word: str) -> None:
    assert shell_word(text) == word


def test_a_wait_key_stays_one_word() -> None:
    wait = {
        "reason": "user", "wait_key": EVIL, "prompt": "?", "choices": [], "details": None,
    }  # fmt: skip
    *_, last = wait_lines("r", wait, several=True)
    assert hinted(last) == ["art", "resume", "r", "--input", "ANSWER", "--wait-key", EVIL]


@pytest.mark.parametrize(
    "args",
    [
        ("run", EVIL),
        ("bundle", "verify", f"{EVIL}.json"),
        ("diff", f"{EVIL}.txt", f"{EVIL}.txt"),
        ("compile", "flow.json", "--unsigned", "-o", f"{EVIL}/x/out.flowbundle"),
    ],
)
def test_a_path_or_name_stays_one_word(art: Any, args: tuple[str, ...]) -> None:
    Path(EVIL).mkdir()
    flow = (SRC.parents[1] / "bundles" / "release-approval" / "flow.json").read_text()
    for name in ("flow.json", f"{EVIL}.json"):
        Path(name).write_text(flow)
    Path(f"{EVIL}.txt").write_text("junk")

    refused = art(*args)

    words = {word.rstrip(";:") for word in hinted(refused.err)}
    assert any(word.startswith(EVIL) for word in words), refused.err
    assert not words & {"touch", "pwned"}


def test_the_file_of_a_key_stays_one_word(tmp_path: Path) -> None:
    path = tmp_path / f"{EVIL}.pem"
    path.write_text("PRIVATE KEY")
    path.chmod(0o644)
    with pytest.raises(Exception, match="can be read by others") as refused:
        load_signing_key(path)
    assert hinted(f"hint: {refused.value.hint}") == ["chmod", "600", str(path)]  # type: ignore[attr-defined]


def test_no_command_is_printed_with_foreign_text_as_it_is() -> None:
    raw = re.compile(
        r"\b(?:art [a-z]+(?: [a-z]+)?|rm|mkdir -p|chmod 600) '?\{(?!shell_word\(|run\} goes)"
    )
    places = [*SRC.glob("cli/*.py"), *SRC.glob("signing/*.py"), *SRC.glob("storage/**/*.py")]
    texts = {path: path.read_text() for path in places if path.name != "_reference.py"}
    assert not {str(p): found for p, text in texts.items() if (found := raw.findall(text))}


def test_the_keys_to_choose_from_stay_words() -> None:
    wait = OpenWait("r", WaitReason.EVENT, EVIL, None, (), True, None, False)
    with pytest.raises(WaitMismatch) as refused:
        event_key([wait, wait], EVIL, "r")
    assert hinted(f"hint: {refused.value.hint}")[-2:] == [f"{EVIL},", EVIL]
    with pytest.raises(WaitMismatch, match="does not wait for") as refused:
        event_key([], "x", "r")
    assert str(refused.value.hint).endswith("art inspect r")
