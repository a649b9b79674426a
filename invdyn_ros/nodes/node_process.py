"""What the process of a node does before anything else: it ends without words, and with others."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from invdyn_ros.graph.processes import LAUNCHER_VARIABLE, end_with_parent

if TYPE_CHECKING:
    from invdyn_ros.nodes.node_loop import NodeLoop


def reset_signals() -> None:
    """Let SIGINT and SIGTERM end the process at once, as those that handle no signals.

    Nothing moves before the main loop, and an exception of a signal handler in the middle of an
    import or a constructor would be printed, or lost.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


def handle_signals(loop: NodeLoop) -> None:
    """Let SIGINT and SIGTERM end a main loop, unless its node handles them itself."""

    def on_signal(*_: object) -> None:
        loop.is_terminated = True

    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, on_signal)


def follow_launcher() -> None:
    """Get SIGTERM when the launcher that started this process is killed; end if it was already."""
    launcher = os.environ.get(LAUNCHER_VARIABLE, "")
    if not launcher.isdecimal() or not sys.platform.startswith("linux"):
        return
    if os.getppid() == int(launcher):
        end_with_parent(int(launcher))
    elif not Path("/proc", launcher).exists():
        sys.exit(0)
