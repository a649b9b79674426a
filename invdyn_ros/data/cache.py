"""Files that this package makes for itself and keeps for later runs."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from invdyn_ros.data.atomic_file import write_atomically


def cache_folder(content: str) -> Path:
    """Return a folder of the cache for what follows from some content; it may not exist."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "invdyn_ros" / hashlib.sha256(content.encode()).hexdigest()[:16]


def cached_file(name: str, text: str) -> Path:
    """Write a file for the nodes of this run and of later ones, and return it.

    Args:
        name: of the file.
        text: its content.
    """
    file = cache_folder(text) / name
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, text.encode())
    return file
