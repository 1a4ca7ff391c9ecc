"""The checkpoint of a run: its state as one file, and up to where the ledger leads to it.

The keys of `RunState` in their order, as 0.4.x wrote them, and `_meta` with the rest of the
image. A checkpoint is a shortcut; whoever reads one holds it against the ledger.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from abstractruntime._json import JsonObject
from abstractruntime.storage._store.header import FIELDS
from abstractruntime.storage._store.image import Attempt, RunImage
from abstractruntime.storage._store.plain import dump_any

if TYPE_CHECKING:
    from collections.abc import Callable

CHECKPOINT_FORMAT = 1
_META = "_meta"
_BEFORE_VARS, _AFTER_VARS = FIELDS[:4], FIELDS[4:]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint that was read.

    The first `size` bytes of the ledger lead to it, and the last of their records has the
    hash `head`. `length` is how long the file is.
    """

    size: int
    head: Any
    length: int
    content: JsonObject

    @property
    def last_seq(self) -> Any:
        """The number of the last record that it covers."""
        return self.content[_META]["seq"]

    def is_of(self, run_id: str) -> bool:
        """Tell whether it is a checkpoint of this run in the format that this version writes."""
        meta, seq = self.content[_META], self.content[_META].get("seq")
        is_known = meta.get("format") == CHECKPOINT_FORMAT and isinstance(seq, int) and seq >= 0
        is_of_run = self.content.get("run_id") == run_id
        return is_known and is_of_run and isinstance(self.content.get("vars"), dict)

    def image(self, step_at: Callable[[int, int], str]) -> RunImage:
        """Give the image that it holds; `step_at` reads the step of a record by offset and size.

        Raises:
            KeyError, ValueError, TypeError: something is missing in it.
        """
        meta = self.content[_META]
        header = {k: v for k, v in self.content.items() if k not in ("vars", _META)}
        image = RunImage(
            header["run_id"],
            header,
            seq=meta["seq"] + 1,
            head=self.head,
            size=self.size,
            epoch=meta["epoch"],
            occurrence=meta["occ"],
        )
        # A run is closed before it is checkpointed.
        image.has_status_record = image.is_terminal
        image.commands.extend(meta.get("cmd", ()))
        if meta["pending"] is not None:
            at = meta["pending"]["offset"], meta["pending"]["size"]
            image.pending = Attempt(step_at(*at), *at)
        return image


def parse_checkpoint(data: bytes) -> Checkpoint | None:
    """Read a checkpoint; None when it does not say what it covers of a ledger."""
    try:
        content = json.loads(data)
        size, head = content[_META]["size"], content[_META]["head"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    is_readable = type(size) is int and size > 0
    return Checkpoint(size, head, len(data), content) if is_readable else None


def render_checkpoint(image: RunImage, variables: bytes) -> bytes:
    """Write the checkpoint of an image and the JSON of its variables."""
    header, pending = image.header, image.pending
    meta = {
        "format": CHECKPOINT_FORMAT,
        "seq": image.seq - 1,
        "size": image.size,
        "head": image.head,
        "epoch": image.epoch,
        "occ": image.occurrence,
        "pending": pending and {"offset": pending.offset, "size": pending.size},
        "cmd": list(image.commands),
    }
    before = dump_any({name: header[name] for name in _BEFORE_VARS})
    after = {name: header[name] for name in _AFTER_VARS if name in header}
    rest = dump_any({**after, _META: meta})
    return before[:-1] + b',"vars":' + variables + b"," + rest[1:] + b"\n"
