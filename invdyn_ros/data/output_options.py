"""Files and folders that a command writes, which never replace what an earlier run made."""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

NAMES = (
    "out",
    "report",
    "plots",
    "plot",
    "watch",
    "film",
)  # options with files or folders to write
PARTS = (  # files of a checkpoint or a dataset, which no report or export replaces
    *("meta.json", "model.safetensors", "last.safetensors", "training.json", "run.json"),
    *("info.json", "stats.json", "job.json"),
)
RUN_MEDIA = ("teleop.mp4", "grasp.mp4", "summary.png")  # beside the report of a live run


@dataclass(frozen=True, kw_only=True)
class OutputOptions:
    """Base class of options of a command that writes files or folders."""

    overwrite: bool = False
    """Replace what an earlier run wrote there."""

    def outputs(self) -> Iterator[tuple[str, Path]]:
        """Yield each option with a file or folder that this run creates."""
        for name in NAMES:
            value: Any = getattr(self, name, None)
            if name == "out" and getattr(self, "resume", False):
                continue
            for path in value if isinstance(value, tuple) else () if value is None else (value,):
                yield f"--{name}", path
                if name == "report":
                    yield f"--{name}", path.with_suffix(".html")

    def inputs(self) -> Iterator[Path]:
        """Yield each file or folder that this run reads."""
        for field in fields(self):
            value: Any = getattr(self, field.name)
            if field.name not in NAMES:
                values = value if isinstance(value, tuple) else (value,)
                yield from (path for path in values if isinstance(path, Path))

    def check_outputs(self) -> None:
        """Check that nothing exists yet where this run writes, unless it may be replaced.

        Data that the run reads are never replaced, nor is anything that another run writes now.

        Raises:
            ValueError: a file, a folder that is not empty, an input, or a running command.
        """
        inputs = {path.resolve() for path in self.inputs()}
        for option, path in self.outputs():
            if path.resolve() in inputs:
                raise ValueError(f"{option}: {path} is what this command reads; give another one")
            if path.name in PARTS and path.is_file():
                raise ValueError(
                    f"{option}: {path} is part of a checkpoint or dataset; give another one"
                )
        out: Any = getattr(self, "out", None)
        for path in out if isinstance(out, tuple) else (out,):
            if path is not None:
                claim(path.resolve())
        if self.overwrite:
            return
        resume = "--resume to go on with its run, " if hasattr(self, "resume") else ""
        for option, path in self.outputs():
            if is_used(path):
                raise ValueError(
                    f"{option}: {path} exists; give another one, "
                    f"{resume if option == '--out' else ''}or --overwrite to replace it"
                )


_CLAIMS: dict[Path, socket.socket] = {}


def claim(path: Path) -> None:
    """Reserve an output of this process until its end, however it ends.

    The lock is the name of a socket of Linux, which leaves no file. Of the processes of `torchrun`
    only the first one writes.

    Raises:
        ValueError: another process has reserved it.
    """
    if path in _CLAIMS or os.environ.get("RANK", "0") != "0" or not hasattr(socket, "AF_UNIX"):
        return
    lock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        lock.bind(b"\0invdyn-" + hashlib.sha256(os.fsencode(path)).hexdigest().encode())
    except OSError as error:
        lock.close()
        raise ValueError(
            f"another command writes {path} now; wait for its end, or give another --out"
        ) from error
    _CLAIMS[path] = lock


def is_used(path: Path) -> bool:
    """Return whether a path is a file, or a folder that is not empty."""
    return path.exists() and (not path.is_dir() or any(path.iterdir()))
