"""Suppression of messages that native libraries write to stdout or stderr."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

STDOUT, STDERR = 1, 2


@contextmanager
def suppress_native_output(descriptor: int = STDERR) -> Iterator[None]:
    """Discard what native code writes to a file descriptor; Python exceptions still propagate.

    FFmpeg, V4L2, TFLite and absl log to stderr before their log level can be set, which would bury
    our own error messages; PyBullet prints a greeting on stdout.
    """
    stream = sys.stdout if descriptor == STDOUT else sys.stderr
    stream.flush()
    saved = os.dup(descriptor)
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, descriptor)
        yield
    finally:
        os.dup2(saved, descriptor)
        os.close(saved)
        os.close(null)
