"""Log of the messages of a run, kept in a file so that memory does not grow with the run."""

from __future__ import annotations

import struct
import tempfile
from collections import Counter
from collections.abc import Iterator
from typing import Any, BinaryIO

CHUNK_SIZE = 1 << 20  # [bytes] after which messages are moved to the file
HEADER = struct.Struct("<HI")  # number of the topic, length of the message


class MessageLog:
    """Serialized messages in the order of their arrival.

    The file is deleted by the system when the process ends in any way. On a full disk, later
    messages stay in memory.

    Attributes:
        types: message type of each topic.
        counts: number of messages of each topic.
    """

    def __init__(self) -> None:
        self.types: dict[str, Any] = {}
        self.counts: Counter[str] = Counter()
        self._numbers: dict[str, int] = {}
        self._chunk = bytearray()
        self._file: BinaryIO | None = None
        self._file_size = 0  # [bytes] of complete chunks
        self._disk_is_full = False

    def add_topic(self, topic: str, message_type: Any) -> None:
        """Add a topic."""
        self._numbers[topic] = len(self.types)
        self.types[topic] = message_type

    def append(self, topic: str, raw: bytes) -> None:
        """Append a serialized message of a topic."""
        self.counts[topic] += 1
        self._chunk += HEADER.pack(self._numbers[topic], len(raw))
        self._chunk += raw
        if len(self._chunk) > CHUNK_SIZE and not self._disk_is_full:
            self._write_chunk()

    def __iter__(self) -> Iterator[tuple[str, bytes]]:
        """Iterate over (topic, serialized message)."""
        topics = list(self.types)
        for chunk in self._chunks():
            position = 0
            while position < len(chunk):
                number, length = HEADER.unpack_from(chunk, position)
                position += HEADER.size
                yield topics[number], bytes(chunk[position : position + length])
                position += length

    def close(self) -> None:
        """Delete the file."""
        if self._file is not None:
            self._file.close()

    def _write_chunk(self) -> None:
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115  open as long as self
            self._file.seek(self._file_size)
            written = self._file.write(HEADER.pack(0, len(self._chunk)) + self._chunk)
            if written != HEADER.size + len(self._chunk):
                raise OSError("the chunk was not written as a whole")
        except OSError:
            self._disk_is_full = True
            return
        self._file_size += written
        self._chunk.clear()

    def _chunks(self) -> Iterator[bytes | bytearray]:
        position = 0
        while self._file is not None and position < self._file_size:
            self._file.seek(position)
            _, length = HEADER.unpack(self._file.read(HEADER.size))
            yield self._file.read(length)
            position += HEADER.size + length
        yield self._chunk
