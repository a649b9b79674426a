"""Quiet: native code that chatters enters, nothing it writes to stderr leaves."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def native_stderr_silenced() -> Iterator[None]:
    """Drop what C++ code writes to file descriptor 2; Python exceptions still come through.

    FFmpeg, V4L2, TFLite and absl log there before their log level can be set, so that one clear
    error would drown in theirs.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(null)
