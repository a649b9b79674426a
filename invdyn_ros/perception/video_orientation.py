"""Orientation in which an MP4 or MOV file is to be shown: turned by right angles, or mirrored.

OpenCV 4.6 turns some of these videos the wrong way, and no version mirrors one.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import cv2
import numpy as np

HEADER, LARGE_SIZE, MATRIX = struct.Struct(">I4s"), struct.Struct(">Q"), struct.Struct(">9i")
MATRIX_OFFSETS = {0: 40, 1: 52}  # in a track header, by its version
HANDLER_OFFSET = 8  # of the kind of a track, in its handler box
UP_DOWN, LEFT_RIGHT = 0, 1  # of cv2.flip


class FileBox(NamedTuple):
    """Part of a file (ISO/IEC 14496-12).

    Attributes:
        kind: four letters.
        start: position of its content.
        end: position after its content.
    """

    kind: bytes
    start: int
    end: int


class Orientation(NamedTuple):
    """How to turn the stored images of a video.

    Attributes:
        is_transposed: whether rows become columns, before the flips.
        flips: of cv2.flip, in order.
    """

    is_transposed: bool = False
    flips: tuple[int, ...] = ()

    def upright(self, image: np.ndarray) -> np.ndarray:
        """Return a stored image (H, W, 3) as it is to be shown."""
        image = np.asarray(cv2.transpose(image)) if self.is_transposed else image
        for flip in self.flips:
            image = np.asarray(cv2.flip(image, flip))
        return image


def read_orientation(video: str | Path) -> Orientation | None:
    """Return the orientation of a video, None if the file is neither MP4 nor MOV."""
    with Path(video).open("rb") as stream:
        for movie in _boxes(stream, FileBox(b"", 0, stream.seek(0, 2)), b"moov"):
            for track in _boxes(stream, movie, b"trak"):
                if _is_video(stream, track):
                    return _orientation(stream, track)
    return None


def _orientation(stream: BinaryIO, track: FileBox) -> Orientation:
    """Return the orientation of a track: x becomes a x + c y, and y becomes b x + d y.

    Args:
        stream: the file.
        track: its track.
    """
    for header in _boxes(stream, track, b"tkhd"):
        version = _read(stream, header.start, 1)
        offset = MATRIX_OFFSETS.get(version[0] if version else -1)
        content = b"" if offset is None else _read(stream, header.start + offset, MATRIX.size)
        if len(content) == MATRIX.size:
            a, b, _, c, d, *_ = MATRIX.unpack(content)
            is_transposed = abs(b) > abs(a)
            x, y = (c, b) if is_transposed else (a, d)
            return Orientation(is_transposed, (LEFT_RIGHT,) * (x < 0) + (UP_DOWN,) * (y < 0))
    return Orientation()


def _is_video(stream: BinaryIO, track: FileBox) -> bool:
    return any(
        _read(stream, handler.start + HANDLER_OFFSET, 4) == b"vide"
        for media in _boxes(stream, track, b"mdia")
        for handler in _boxes(stream, media, b"hdlr")
    )


def _boxes(stream: BinaryIO, parent: FileBox, kind: bytes) -> Iterator[FileBox]:
    """Yield the boxes of a kind in a box, as far as their sizes make sense."""
    position = parent.start
    while position + HEADER.size <= parent.end:
        header = _read(stream, position, HEADER.size + LARGE_SIZE.size)
        if len(header) < HEADER.size:
            return
        size, name = HEADER.unpack_from(header)
        start = position + HEADER.size
        if size == 1 and len(header) == HEADER.size + LARGE_SIZE.size:
            size, start = LARGE_SIZE.unpack_from(header, HEADER.size)[0], start + LARGE_SIZE.size
        end = position + size if size else parent.end
        if not start <= end <= parent.end:
            return
        if name == kind:
            yield FileBox(name, start, end)
        position = end


def _read(stream: BinaryIO, position: int, count: int) -> bytes:
    stream.seek(position)
    return stream.read(count)
