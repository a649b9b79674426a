"""`invdyn install_models`: make the files of MediaPipe's networks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from invdyn_ros.cli.options import parse
from invdyn_ros.data.mediapipe_models import install_task_files


@dataclass(frozen=True)
class InstallModelsOptions:
    """Make the pose and hand networks that teleop and videos need, from MediaPipe's wheel."""

    wheel: Path | None = None
    """File of the wheel of mediapipe 0.10.21; by default pip downloads it."""


def main(argv: list[str] | None = None) -> int:
    """Run the verb and return the exit code."""
    options = parse(InstallModelsOptions, argv, "install_models")
    for path in install_task_files(options.wheel):
        print(path)
    return 0
