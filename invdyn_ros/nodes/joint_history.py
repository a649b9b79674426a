"""Recent joint positions, to know where a camera on the hand was when it took an image."""

from __future__ import annotations

from collections import deque

import numpy as np

from invdyn_ros.typing import Array

DURATION = 2 * 10**9  # [ns] for which positions are kept
MAX_AGE = 10**8  # [ns] between an image and the nearest joint state


class JointHistory:
    """Joint positions of the last seconds by their stamp."""

    def __init__(self) -> None:
        self._samples: deque[tuple[int, Array]] = deque()

    def add(self, stamp: int, q: Array) -> None:
        """Add the positions (n,) [rad] of a stamp [ns], later than the last one."""
        self._samples.append((stamp, q))
        while stamp - self._samples[0][0] > DURATION:
            self._samples.popleft()

    def at(self, stamp: int) -> Array | None:
        """Return the interpolated positions (n,) [rad] at a stamp [ns]; None if unknown."""
        if not self._samples:
            return None
        stamps = np.array([time for time, _ in self._samples])
        if np.abs(stamps - stamp).min() > MAX_AGE:
            return None
        joints = np.array([q for _, q in self._samples])
        times = (stamps - stamp).astype(float)
        return np.array([np.interp(0.0, times, joint) for joint in joints.T])
