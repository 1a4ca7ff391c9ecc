"""Ctrl-C while modules load ends the process; once a command runs, it is interrupted."""

from __future__ import annotations

import importlib
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from abstractruntime.cli import _lazy, config


@pytest.fixture
def _not_in_the_background() -> Iterator[None]:
    """A shell starts programs in the background with interrupts ignored, and they stay so."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_not_in_the_background")
def test_interrupts_are_raised_in_commands_only(art: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    load = importlib.import_module

    def loading(name: str) -> Any:
        seen.append(signal.getsignal(signal.SIGINT))
        return load(name)

    def interrupted(session: Any, *, origin: bool = False) -> int:
        seen.append(signal.getsignal(signal.SIGINT))
        raise KeyboardInterrupt

    monkeypatch.setattr(_lazy, "import_module", loading)
    monkeypatch.setattr(config, "show", interrupted)
    result = art("config", "show")

    assert (result.code, result.err) == (130, "interrupted\n")
    assert seen == [signal.SIG_DFL, signal.default_int_handler]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
