"""Trajectories of arms with known dynamics, for tests of training and identification."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from invdyn_ros.data.trajectory import Trajectory
from invdyn_ros.robots.robot import Robot, load_robot
from invdyn_ros.typing import Array

VISCOUS, COULOMB, OFFSET, ROTOR, SLOW = 4.0, 3.0, 0.5, 0.3, 0.02
STIFFNESS = 30.0  # [N m/rad] of a servo

robot = cache(load_robot)


def torque(arm: Robot, motion: Array) -> Array:
    """Return the torque (T, n) [N m] of a motion (T, 3n), friction included."""
    q, qd, qdd = np.split(motion, 3, axis=1)
    rigid = np.stack([arm.inverse_dynamics(*row) for row in zip(q, qd, qdd, strict=True)])
    return rigid + VISCOUS * qd + COULOMB * np.tanh(qd / SLOW) + OFFSET + ROTOR * qdd


def stiction_torque(arm: Robot, motion: Array) -> Array:
    """Return `torque` with stiction: a joint near rest has the friction of its next motion."""
    qd = np.split(motion, 3, axis=1)[1]
    early = np.tanh(np.roll(qd, -6, axis=0) / SLOW) - np.tanh(qd / SLOW)
    return torque(arm, motion) + 3 * COULOMB * np.where(np.abs(qd) < 0.04, early, 0.0)


def setpoint(arm: Robot, motion: Array) -> Array:
    """Return the setpoints (T, n) [rad] of compliant servos that produce a motion (T, 3n)."""
    q, qd, qdd = np.split(motion, 3, axis=1)
    rigid = np.stack([arm.inverse_dynamics(*row) for row in zip(q, qd, qdd, strict=True)])
    return q + rigid / STIFFNESS + 0.02 * qd + 0.002 * np.tanh(qd / SLOW)


def excitation(
    arm: Robot,
    seed: int,
    action_delay: float = 0.0,
    seconds: float = 4.0,
    unit: str = "N m",
    action: Callable[[Robot, Array], Array] = torque,
) -> Trajectory:
    """Return a trajectory of random sines.

    Args:
        arm: robot.
        seed: seed of the sines.
        action_delay: time from an action to its motion [s].
        seconds: duration [s].
        unit: unit of the actions.
        action: function from robot and motion (T, 3n) to actions (T, n).
    """
    rng = np.random.default_rng(seed)
    w = rng.uniform(0.5, 5.0, (4, arm.n))  # [rad/s]
    size, phase = rng.uniform(0.05, 0.35, (4, arm.n)), rng.uniform(0, 6.28, (4, arm.n))
    middle = rng.uniform(-0.8, 0.8, arm.n)

    def motion(t: Array) -> Array:
        angle = t[:, None, None] * w + phase
        q = middle + (size * np.sin(angle)).sum(1)
        qd, qdd = (size * w * np.cos(angle)).sum(1), (-size * w**2 * np.sin(angle)).sum(1)
        return np.concatenate([q, qd, qdd], axis=1)

    time = np.arange(round(seconds * arm.rate)) / arm.rate
    columns = np.split(motion(time), 3, axis=1)
    return Trajectory(
        time, *columns, action(arm, motion(time + action_delay)), arm.joint_names, unit
    )
