"""Motions of undamped springs, simulated by semi-implicit Euler."""

from __future__ import annotations

import numpy as np

from invdyn_ros.data.trajectory import Trajectory

RATE, STIFFNESS = 50.0, (60.0, 25.0, 40.0)  # [Hz], [1/s2]: periods of 41 to 63 samples
JOINTS = ("one", "two", "three")


def spring_motion(seed: int, samples: int = 60) -> Trajectory:
    """Return a motion of three independent springs."""
    random, h = np.random.default_rng(seed), 1 / RATE
    q, v = random.uniform(-1, 1, 3), random.uniform(-5, 5, 3)
    rows = []
    for _ in range(samples):
        rows.append(np.concatenate([q, v]))
        v = v - h * np.array(STIFFNESS) * q
        q = q + h * v
    state, none = np.stack(rows), np.empty((0, 3))
    time = h * np.arange(samples)
    return Trajectory(time, state[:, :3], state[:, 3:], none, none, JOINTS, "N m")
