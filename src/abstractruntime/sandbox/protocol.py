"""Frames between runner and worker: four bytes of length, big-endian, then that many bytes of JSON.

The worker loads this file by path, so it imports the standard library only.
"""

from __future__ import annotations

import os
import select
import struct
import time
from dataclasses import dataclass

_HEADER = struct.Struct(">I")
_CHUNK = 1 << 16


class ChannelClosed(Exception):  # noqa: N818 - a state of the peer, not a defect
    """The other side closed its end."""


class DeadlinePassed(Exception):  # noqa: N818 - a state of the call, not a defect
    """The other side did not answer in time."""


class FrameTooLarge(Exception):  # noqa: N818 - names the broken rule
    """The other side announced a frame above the limit."""


def pack_frame(payload: bytes) -> bytes:
    """Give the bytes of one frame.

    Raises:
        FrameTooLarge: four bytes cannot hold the length.
    """
    if len(payload) > 0xFFFFFFFF:
        raise FrameTooLarge
    return _HEADER.pack(len(payload)) + payload


def read_frame(fd: int) -> bytes | None:
    """Read one frame from a blocking descriptor; None when the other side has closed it."""
    header = _read_exactly(fd, _HEADER.size)
    return None if header is None else _read_exactly(fd, _HEADER.unpack(header)[0])


def write_frame(fd: int, payload: bytes) -> None:
    """Write one frame to a blocking descriptor."""
    view = memoryview(pack_frame(payload))
    while view:
        view = view[os.write(fd, view) :]


def _read_exactly(fd: int, size: int) -> bytes | None:
    data = bytearray()
    while len(data) < size:
        chunk = os.read(fd, min(size - len(data), _CHUNK))
        if not chunk:
            return None
        data += chunk
    return bytes(data)


@dataclass(frozen=True, slots=True)
class Channel:
    """The runner's end: two non-blocking descriptors, every wait bounded by a deadline.

    Invariant: nothing here trusts the peer; a frame is read up to `limit` bytes, and a peer
    that neither reads nor writes costs no more than the deadline.
    """

    reader: int
    writer: int

    def send(self, payload: bytes, deadline: float) -> None:
        """Write one frame before `deadline` (monotonic seconds).

        Raises:
            ChannelClosed, DeadlinePassed, FrameTooLarge
        """
        view = memoryview(pack_frame(payload))
        while view:
            try:
                view = view[os.write(self.writer, view) :]
            except BlockingIOError:
                _wait(self.writer, select.POLLOUT, deadline)
            except OSError as cause:
                raise ChannelClosed from cause

    def receive(self, limit: int, deadline: float) -> bytes:
        """Read one frame of at most `limit` bytes before `deadline` (monotonic seconds).

        Raises:
            ChannelClosed, DeadlinePassed, FrameTooLarge
        """
        size = _HEADER.unpack(self._read(_HEADER.size, deadline))[0]
        if size > limit:
            raise FrameTooLarge
        return self._read(size, deadline)

    def is_quiet(self) -> bool:
        """Tell whether nothing waits to be read, end of file included."""
        poller = select.poll()
        poller.register(self.reader, select.POLLIN)
        return not poller.poll(0)

    def _read(self, size: int, deadline: float) -> bytes:
        data = bytearray()
        while len(data) < size:
            _wait(self.reader, select.POLLIN, deadline)
            chunk = os.read(self.reader, min(size - len(data), _CHUNK))
            if not chunk:
                raise ChannelClosed
            data += chunk
        return bytes(data)


def _wait(fd: int, event: int, deadline: float) -> None:
    poller = select.poll()
    poller.register(fd, event)
    remaining_s = deadline - time.monotonic()
    if remaining_s <= 0 or not poller.poll(remaining_s * 1000):
        raise DeadlinePassed
