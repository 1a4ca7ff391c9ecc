"""What every command gets: where to write, and how it is configured."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from abstractruntime.cli._output import Mode, Output
from abstractruntime.errors import UsageError

if TYPE_CHECKING:
    from abstractruntime.cli._config import Config


# Every command says what is not obeyed, so a file must not be able to make that long.
_MOST_SAID = 3


@dataclass
class Session:
    """One invocation of the tool.

    `says_ignored` is off where the answer of the command itself says what is not obeyed.
    """

    flags: dict[str, object] = field(default_factory=dict)
    mode_flag: Mode | None = None
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    says_ignored: bool = True
    # What first records say that somebody allowed counts, whoever wrote it.
    accepts_origin: bool = False

    @cached_property
    def config(self) -> Config:
        """Settings by name, each with its origin; read, and what is not obeyed said, on first use."""
        from abstractruntime.cli._config import load_config

        config = load_config(flags=self.flags, environ=self.environ, cwd=Path.cwd())
        if self.says_ignored:
            for item in config.ignored[:_MOST_SAID]:
                self.out.note(f"warning: {item.text}", f"  = hint: {item.hint}")
            if more := len(config.ignored[_MOST_SAID:]):
                self.out.note(f"warning: {more} more settings are not obeyed; see: art doctor")
        return config

    @cached_property
    def out(self) -> Output:
        store = self.flags.get("store")
        mode = self.mode_flag or self._configured_mode()
        return Output(mode, self.environ, store=None if store is None else str(store))

    def _configured_mode(self) -> Mode:
        wanted = self.environ.get("ART_OUTPUT", "")
        try:
            return Mode(wanted) if wanted else Mode.TEXT
        except ValueError:
            raise UsageError(
                f"ART_OUTPUT is {wanted!r}", hint="use text, json, jsonl or none"
            ) from None

    @property
    def config_dir(self) -> Path:
        """The directory of keys, trust and user configuration; never the store."""
        from abstractruntime.cli._config import user_config_dir

        return user_config_dir(self.environ)

    @property
    def passphrase(self) -> bytes | None:
        """The passphrase of private keys, from ART_KEY_PASSPHRASE or the file it names."""
        direct = self.environ.get("ART_KEY_PASSPHRASE")
        if direct:
            return direct.encode()
        file = self.environ.get("ART_KEY_PASSPHRASE_FILE")
        if not file:
            return None
        from abstractruntime._files import read_bounded
        from abstractruntime.cli._files import MAX_PASSPHRASE_BYTES

        return read_bounded(Path(file), MAX_PASSPHRASE_BYTES).rstrip(b"\r\n")


def os_user() -> str:
    """Give the name of the user who runs the tool, or `uid:N` when the system knows none."""
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid:{os.getuid()}"
