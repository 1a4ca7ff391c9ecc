"""The checkpoint of a run: its state as one file, and the record of its ledger that fixes it.

1. The body comes first: the keys of `RunState` in their order, as 0.4.x wrote them, and `_meta`
   with the rest of the image. Behind it, `_at` names the place of the fixing record.
2. The commit of that record holds the digest of the body. So a checkpoint is a shortcut that
   proves itself: any other byte in it does not match the ledger, and then it is not used.
3. There is none while an attempt is pending, so nothing before the fixing record matters to
   whoever goes on from it.
4. Checkpoints of format 1 were not fixed by anything. They are never used; what they say they
   cover still tells that a ledger lost its end.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final, NamedTuple

from abstractruntime._json import JsonObject, mapping
from abstractruntime.storage._store.header import FIELDS
from abstractruntime.storage._store.image import RunImage
from abstractruntime.storage._store.plain import dump_any

CHECKPOINT_FORMAT: Final = 2
# The key of a commit that holds the digest of the state behind it.
STATE: Final = "state"
_UNFIXED_FORMAT: Final = 1
_META, _AT = "_meta", "_at"
_NO_BODY: Final = ""  # no record fixes it
_BEFORE_VARS, _AFTER_VARS = FIELDS[:4], FIELDS[4:]


class Place(NamedTuple):
    """The end of a record in its ledger: its number, the size of the ledger there, its hash."""

    seq: int
    size: int
    head: Any

    def to_json(self) -> bytes:
        return dump_any(self._asdict())


@dataclass(frozen=True, slots=True)
class DueCheckpoint:
    """The body of a checkpoint whose fixing record was appended."""

    body: bytes
    place: Place

    def to_bytes(self) -> bytes:
        """Give the content of the file."""
        return self.body + _ending(self.place)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint that was read; it says nothing until its ledger agrees.

    `digest` is that of its body, None in a format that has none. `length` is how long the file is.
    """

    place: Place
    digest: str | None
    length: int
    content: JsonObject

    def is_of(self, run_id: str) -> bool:
        """Tell whether it is a checkpoint of this run in a format that this version knows."""
        is_known = self.content[_META].get("format") in (CHECKPOINT_FORMAT, _UNFIXED_FORMAT)
        is_placed = type(self.place.seq) is int and self.place.seq >= 0
        is_of_run = self.content.get("run_id") == run_id
        return is_known and is_placed and is_of_run and isinstance(self.content.get("vars"), dict)

    def is_fixed_by(self, record: JsonObject) -> bool:
        """Tell whether a record, which was checked and stands at `place`, fixes this very content."""
        is_there = record.get("record_hash") == self.place.head
        return is_there and self.digest is not None and state_of(record) == self.digest

    def image(self) -> RunImage:
        """Give the image that it holds.

        Raises:
            KeyError, ValueError, TypeError: something is missing in it.
        """
        meta = self.content[_META]
        header = {k: v for k, v in self.content.items() if k not in ("vars", _META, _AT)}
        image = RunImage(
            header["run_id"],
            header,
            seq=self.place.seq + 1,
            head=self.place.head,
            size=self.place.size,
            epoch=meta["epoch"],
            occurrence=meta["occ"],
            has_status_record=meta["closed"],
        )
        image.commands.extend(meta["cmd"])
        return image


def parse_checkpoint(data: bytes) -> Checkpoint | None:
    """Read a checkpoint; None when it does not say what it covers of a ledger."""
    try:
        content = json.loads(data)
        at = content[_AT] if _AT in content else content[_META]
        place = Place(at.get("seq"), at["size"], at["head"])
        is_readable = type(place.size) is int and place.size > 0 and type(content[_META]) is dict
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    digest = _digest_in(data, place) if _AT in content else None
    return Checkpoint(place, digest, len(data), content) if is_readable else None


def _digest_in(data: bytes, place: Place) -> str:
    """Give the digest of the body of a file; one that does not end as ours do has no body."""
    ending = _ending(place)
    return digest_of(data[: -len(ending)]) if data.endswith(ending) else _NO_BODY


def _ending(place: Place) -> bytes:
    return b',"' + _AT.encode() + b'":' + place.to_json() + b"}\n"


def digest_of(body: bytes) -> str:
    """Give the digest of a body, as a commit holds it."""
    return f"sha256:{sha256(body).hexdigest()}"


def state_of(record: JsonObject) -> Any:
    """Give the digest that a parsed record fixes; None when it fixes none."""
    return mapping(record.get("commit")).get(STATE)


def render_body(image: RunImage, variables: bytes) -> bytes:
    """Write the body of the checkpoint of an image and the JSON of its variables."""
    header = image.header
    meta = {
        "format": CHECKPOINT_FORMAT,
        "epoch": image.epoch,
        "occ": image.occurrence,
        "closed": image.has_status_record,
        "cmd": list(image.commands),
    }
    before = dump_any({name: header[name] for name in _BEFORE_VARS})
    after = {name: header[name] for name in _AFTER_VARS if name in header}
    rest = dump_any({**after, _META: meta})
    return before[:-1] + b',"vars":' + variables + b"," + rest[1:-1]
