"""Origin of a report: the command that wrote it, when and on which machine."""

from __future__ import annotations

import os
import platform
import shlex
import sys
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from invdyn_ros import __version__

COMMAND_VARIABLE = "INVDYN_COMMAND"
"""Environment variable that tells a node the command that started its graph."""


def run_info(kind: str, command: str | None, interrupted: bool = False) -> dict[str, Any]:
    """Return the origin of a report; see `report_keys.registry.ORIGIN_KEYS`.

    Args:
        kind: kind of the report, a key of REPORT_KEYS.
        command: command that writes it; None if it is unknown.
        interrupted: the command, or the training of the model, was stopped before its end.
    """
    mark = {"interrupted": True} if interrupted else {}
    return mark | {
        "kind": kind,
        "command": command,
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "cpu": cpu_model(),
        "cores": num_cores(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "version": __version__,
    }


def command_line(verb: str, arguments: Sequence[str] | None) -> str:
    """Return the command of a verb as one can type it.

    Args:
        verb: name of the verb.
        arguments: its arguments; None: those of this process.
    """
    return shlex.join(["invdyn", verb, *(sys.argv[1:] if arguments is None else arguments)])


def cpu_model() -> str:
    """Return the name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def num_cores() -> int:
    """Return the number of processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
