"""Errors of files that others wrote."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from invdyn_ros.config import describe_error

COPY_AGAIN = "copy or download it again"
MAX_COMPRESSION = 1100  # largest ratio of deflate; other codecs exceed it for constant data only
SMALL_CONTENT = 64 * 2**20  # [bytes] that a file of any size may claim to hold


@contextmanager
def reading(
    path: str | Path, kind: str, remedy: str = "copy or download it again"
) -> Iterator[None]:
    """Turn every error of a library that reads a file into a ValueError of one line.

    Errors that name the file already are raised as they are.

    Args:
        path: the file.
        kind: expected kind of file, for the message.
        remedy: end of the message.

    Raises:
        ValueError: the file cannot be read.
    """
    try:
        yield
    except Exception as error:  # libraries raise any class for damaged content
        text = str(error)
        if isinstance(error, ValueError) and str(path) in text and "\n" not in text:
            raise
        raise ValueError(
            f"{path}: not a readable {kind} ({describe_error(error)}); {remedy}"
        ) from error


def check_size(path: Path, content_bytes: int, stored_bytes: int) -> None:
    """Check that a file can hold as much as its header says, before memory is allocated.

    Args:
        path: the file, or the folder of a store.
        content_bytes: size of the decoded arrays, from the header.
        stored_bytes: size of the file.

    Raises:
        ValueError: it cannot.
    """
    if not 0 <= content_bytes <= max(SMALL_CONTENT, MAX_COMPRESSION * stored_bytes):
        raise ValueError(
            f"{path}: its header claims {content_bytes:.3g} bytes in a file of {stored_bytes}; "
            f"{COPY_AGAIN}"
        )
