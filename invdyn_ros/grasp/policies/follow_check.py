"""Check whether an arm follows a motion, so that the motion can wait for it."""

from __future__ import annotations

from collections import deque

import numpy as np

from invdyn_ros.typing import Array

NOT_FOLLOWED = "the arm does not follow"
MAX_LAG = 0.3  # [s] by which an arm may be late
MAX_DISTANCE = 0.1  # [rad] of a joint from where it was commanded to be in that time
PERIOD = 0.03  # [s] between the commands that are remembered


class FollowCheck:
    """Compares the measured joints of an arm with its last commands.

    An arm does not follow while it is not engaged, held, paused, or slower than its commands.
    """

    def __init__(self) -> None:
        self._recent: deque[tuple[float, Array]] = deque()
        self._newest: Array | None = None

    def add(self, time: float, q: Array) -> None:
        """Add a command.

        Args:
            time: present time [s].
            q: (n,) commanded position [rad].
        """
        self._newest = q
        if not self._recent or time - self._recent[-1][0] >= PERIOD:
            self._recent.append((time, q))
        while time - self._recent[0][0] > MAX_LAG:
            self._recent.popleft()

    def is_followed(self, q: Array) -> bool:
        """Return whether measured joints (n,) [rad] are where they were commanded to be."""
        commands = [command for _, command in self._recent]
        if self._newest is not None:
            commands.append(self._newest)
        return not commands or any(np.abs(q - c).max() < MAX_DISTANCE for c in commands)
