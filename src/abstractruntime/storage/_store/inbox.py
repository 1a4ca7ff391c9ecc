"""Inboxes: durable requests to runs that someone else may own.

Rules:
1. A command is one file, `<ulid>.json`; names sort by time of posting. The random half of the
   name is derived from the command id, so posting an id again changes nothing.
2. The file ends with the digest of its run, its name and its content, so that one that was
   changed, renamed or moved to another run is seen to be `Altered`, as is one without a digest.
   It proves no more than that: who may write here may post commands, too.
3. A host with a seal marks what it posts. Where only its own commands count, others are `Altered`.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import TYPE_CHECKING

from abstractruntime._json import dump_line, normalise
from abstractruntime.core.commands import Altered, Command
from abstractruntime.errors import UsageError
from abstractruntime.storage._files.quarantine import quarantine_tail
from abstractruntime.storage._store.seals import command_seal, is_equal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from abstractruntime._json import JsonObject
    from abstractruntime.core.ports import Clock
    from abstractruntime.storage._files.fs import StoreFiles
    from abstractruntime.storage._files.layout import Layout
    from abstractruntime.storage._store.seals import Seal

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_TIME_CHARS, _TAG_CHARS = 10, 16
_SUFFIX = ".json"
_DIGEST, _SEAL = "sha256", "seal"


class Inboxes:
    """The inboxes of one store."""

    def __init__(
        self,
        files: StoreFiles,
        layout: Layout,
        clock: Clock,
        *,
        seal: Seal | None = None,
        only_sealed: bool = False,
    ) -> None:
        self._files = files
        self._layout = layout
        self._clock = clock
        self._seal = seal
        self._only_sealed = only_sealed

    def post(self, run_id: str, command: Command) -> int:
        """Store a command durably, and give how many bytes that added.

        An id that already waits there is left as it is.

        Raises:
            InvalidValue: its payload is not JSON.
        """
        if not command.id:
            raise UsageError("a command needs an id", argument="id")
        directory = self._layout.inbox(run_id)
        tag = _tag(command.id)
        names = self._files.names(directory)
        known = next((name for name in names if name[_TIME_CHARS:] == tag + _SUFFIX), None)
        if known is not None and self._is_altered(run_id, known):
            self.set_aside(run_id, [known])
        elif known is not None:
            # The post that left it there may have failed at its last step.
            self._files.sync_name(f"{directory}/{known}")
            return 0
        dated = replace(command, created_at=command.created_at or self._clock.now_iso())
        body = normalise(dated.to_dict())
        self._files.ensure_dir(directory)
        name = self._time_part(names) + tag
        if self._seal is not None:
            body[_SEAL] = command_seal(self._seal, _digest(run_id, name + _SUFFIX, body))
        content = {**body, _DIGEST: _digest(run_id, name + _SUFFIX, body)}
        line = dump_line(content)
        self._files.write_atomic(self._layout.command(run_id, name), line)
        return len(line)

    def read(self, run_id: str, known: Mapping[str, Command] | None = None) -> dict[str, Command]:
        """Give the waiting commands by file name, oldest first; `Altered` ones have the name as id.

        Those that are `known` from an earlier reading are not read again: a file never changes.
        """
        directory = self._layout.inbox(run_id)
        found: dict[str, Command] = {}
        names = self._files.names(directory)
        for name in sorted(names) if names else names:
            if not name.endswith(_SUFFIX):
                continue
            command = (known or {}).get(name)
            if command is None:
                data = self._files.read(f"{directory}/{name}")
                command = None if data is None else self._parse(run_id, name, data)
            if command is not None:
                found[name] = command
        return found

    def _is_altered(self, run_id: str, name: str) -> bool:
        data = self._files.read(f"{self._layout.inbox(run_id)}/{name}")
        return data is not None and isinstance(self._parse(run_id, name, data).request, Altered)

    def _parse(self, run_id: str, name: str, data: bytes) -> Command:
        """Read the file of a command; one that is not as it was posted is `Altered`."""
        try:
            content = json.loads(data)
            command = Command.from_dict(content)
        except (ValueError, RecursionError):
            return Command(name, Altered("it cannot be read"))
        body = {key: value for key, value in content.items() if key != _DIGEST}
        if _tag(command.id) + _SUFFIX != name[_TIME_CHARS:]:
            return Command(name, Altered("its name is not that of its id"))
        if _DIGEST not in content:
            return Command(name, Altered("it has no digest"))
        if content[_DIGEST] != _digest(run_id, name, body) or dump_line(content) != data:
            return Command(name, Altered("its digest is that of another content"))
        if self._only_sealed and not self._is_own(run_id, name, body):
            return Command(name, Altered("it was not posted with this configuration"))
        return command

    def _is_own(self, run_id: str, name: str, body: JsonObject) -> bool:
        posted = {key: value for key, value in body.items() if key != _SEAL}
        found, digest = body.get(_SEAL), _digest(run_id, name, posted)
        return self._seal is not None and is_equal(found, command_seal(self._seal, digest))

    @staticmethod
    def altered(found: Mapping[str, Command]) -> list[tuple[str, str]]:
        """Give name and reason of those that are not what was posted."""
        commands = found.values()
        return [(c.id, c.request.why) for c in commands if isinstance(c.request, Altered)]

    def set_aside(self, run_id: str, names: list[str]) -> None:
        """Move files to the quarantine, durably."""
        for name in names:
            path = f"{self._layout.inbox(run_id)}/{name}"
            aside = self._layout.set_aside(run_id, name)
            quarantine_tail(self._files, self._layout, self._clock, path, 0, name=aside)
        self.remove(run_id, names)

    def remove(self, run_id: str, names: list[str]) -> None:
        """Forget applied commands, durably."""
        directory = self._layout.inbox(run_id)
        for name in names:
            self._files.remove(f"{directory}/{name}")
        if names:
            self._files.sync_dir(directory)

    def runs_with_commands(self) -> list[str]:
        """Give the ids of the runs whose inbox is not empty."""
        return [
            run_id
            for run_id in self._files.names(self._layout.inboxes)
            if any(
                name.endswith(_SUFFIX)
                for name in self._files.names(f"{self._layout.inboxes}/{run_id}")
            )
        ]

    def _time_part(self, names: list[str]) -> str:
        now_ms = int(self._clock.now().timestamp() * 1000)
        # Invariant: a later post sorts later, even when the clock went back in between.
        latest = max((n[:_TIME_CHARS] for n in names if n.endswith(_SUFFIX)), default="")
        part = _base32(now_ms, _TIME_CHARS)
        return part if part > latest else _base32(_number(latest) + 1, _TIME_CHARS)


def _tag(command_id: str) -> str:
    digest = hashlib.sha256(command_id.encode("utf-8", "surrogatepass")).digest()
    return _base32(int.from_bytes(digest[:10], "big"), _TAG_CHARS)


def _base32(number: int, length: int) -> str:
    text = ""
    for _ in range(length):
        number, digit = divmod(number, 32)
        text = _ALPHABET[digit] + text
    return text


def _number(text: str) -> int:
    value = 0
    for char in text:
        value = value * 32 + max(0, _ALPHABET.find(char))
    return value


def _digest(run_id: str, name: str, body: JsonObject) -> str:
    return hashlib.sha256(f"{run_id}/{name}\n".encode() + dump_line(body)).hexdigest()
