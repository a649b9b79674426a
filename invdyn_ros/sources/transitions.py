"""States and the actions between them enter; a trajectory leaves.

An action is held from its state to the next one, so over that interval

    qdd = (qd' - qd) / dt

is the acceleration it makes: exactly so in a simulator that steps the velocity with it. The last
state repeats the action and the acceleration of the interval that ends there.
"""

from __future__ import annotations

import numpy as np

from invdyn_ros.trajectory import Trajectory


def transitions(
    time: np.ndarray, state: np.ndarray, action: np.ndarray, names: tuple[str, ...], unit: str
) -> Trajectory:
    """Return the trajectory of K transitions (s, a, s'); K = 1 is a triplet.

    Args:
        time: (K + 1,) [s].
        state: (K + 1, 2n) positions and velocities.
        action: (K, n) each held from its state to the next one.
        names: the n joints.
        unit: of the actions.
    """
    n = len(names)
    slope = np.diff(state[:, n:], axis=0) / np.diff(time)[:, None]
    acceleration, held = (np.concatenate([x, x[-1:]]) for x in (slope, action))
    return Trajectory(time, state[:, :n], state[:, n:], acceleration, held, names, unit)
