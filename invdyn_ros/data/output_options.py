"""Files and folders that a command writes, which never replace what an earlier run made."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
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

    def check_outputs(self) -> None:
        """Check that nothing exists yet where this run writes, unless it may be replaced.

        Raises:
            ValueError: a file, or a folder that is not empty.
        """
        if self.overwrite:
            return
        resume = "--resume to go on with its run, " if hasattr(self, "resume") else ""
        for option, path in self.outputs():
            if is_used(path):
                raise ValueError(
                    f"{option}: {path} exists; give another one, "
                    f"{resume if option == '--out' else ''}or --overwrite to replace it"
                )


def is_used(path: Path) -> bool:
    """Return whether a path is a file, or a folder that is not empty."""
    return path.exists() and (not path.is_dir() or any(path.iterdir()))
