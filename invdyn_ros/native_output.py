"""Quiet: native code that chatters enters, nothing it writes leaves."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

STDOUT, STDERR = 1, 2


@contextmanager
def suppress_native_output(descriptor: int = STDERR) -> Iterator[None]:
    """Drop what C++ code writes to a file descriptor; Python exceptions still come through.

    FFmpeg, V4L2, TFLite and absl log to stderr before their log level can be set, so that one
    clear error would drown in theirs; PyBullet greets on stdout.
    """
    stream = sys.stdout if descriptor == STDOUT else sys.stderr
    stream.flush()
    kept = os.dup(descriptor)
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, descriptor)
        yield
    finally:
        os.dup2(kept, descriptor)
        os.close(kept)
        os.close(null)
