"""Checks of positions, velocities and setpoints against the limits of the arm."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from invdyn_ros.data.action_units import SETPOINT, is_torque
from invdyn_ros.sources.inspection.motion import CollectedMotion, Suspicion, listed
from invdyn_ros.typing import Array

POSITION_TOLERANCE = 0.1  # [rad] by which a real arm may exceed the limits of its URDF
DEGREES_RATIO = 3.0  # of positions to limits, from which degrees are likelier than a wrong limit
MAX_RATIO = 1.5  # of a velocity or torque to its limit, as quantile; URDFs are conservative
DEGREES_REMEDY = "give --position-unit deg to 'collect sequence' or 'collect dataset'"
QUANTILE = 0.999  # leaves single outliers to another check


def position_suspicions(motion: CollectedMotion) -> Iterator[Suspicion]:
    """Yield positions, or setpoints, outside the limits of the arm."""
    columns = {"positions": motion.position}
    if motion.unit == SETPOINT:
        columns["setpoints"] = motion.action
    for name, values in columns.items():
        if motion.robot is None or not len(values):
            continue
        lower, upper = motion.robot.lower, motion.robot.upper
        beyond = _beyond(values, lower, upper)
        joints = np.flatnonzero(beyond > POSITION_TOLERANCE)
        if not len(joints):
            continue
        worst = joints[np.argmax(beyond[joints])]
        low, high = values[:, worst].min(), values[:, worst].max()
        evidence = (
            f"'{motion.names[worst]}' is between {low:.4g} and {high:.4g} rad, its limits are "
            f"{lower[worst]:.4g} and {upper[worst]:.4g}"
        )
        ratio = np.abs(values).max(0) / np.maximum(np.abs(lower), np.abs(upper))
        fits = (_beyond(np.radians(values), lower, upper) <= POSITION_TOLERANCE).all()
        if fits and ratio.max() > DEGREES_RATIO:
            yield Suspicion(f"{name} in degrees", evidence, DEGREES_REMEDY)
        else:
            yield Suspicion(
                f"{name} outside the limits",
                f"{evidence} ({listed([motion.names[j] for j in joints])})",
                "check their unit, the order of the joints, and --arm or --urdf",
            )


def is_within_limits(motion: CollectedMotion) -> bool:
    """Return whether no position contradicts the limits of the arm."""
    return not any(s.what.startswith("positions") for s in position_suspicions(motion))


def velocity_suspicions(motion: CollectedMotion) -> Iterator[Suspicion]:
    """Yield velocities beyond those of the arm."""
    robot = motion.robot
    if robot is None or not len(motion.velocity) or not is_within_limits(motion):
        return
    fastest = np.quantile(np.abs(motion.velocity), QUANTILE, axis=0)
    worst = _worst(fastest / robot.velocity)
    if worst is not None:
        yield Suspicion(
            "velocities beyond those of the arm",
            f"'{motion.names[worst]}' reaches {fastest[worst]:.4g} rad/s, its limit is "
            f"{robot.velocity[worst]:.4g}",
            "check that they are in rad/s",
        )


def effort_suspicions(motion: CollectedMotion) -> Iterator[Suspicion]:
    """Yield torques beyond those of the arm."""
    robot = motion.robot
    if robot is None or not len(motion.action) or not is_torque(motion.unit):
        return
    largest = np.quantile(np.abs(motion.action), QUANTILE, axis=0)
    worst = _worst(largest / robot.effort)
    if worst is not None:
        yield Suspicion(
            "effort beyond that of the arm",
            f"'{motion.names[worst]}' reaches {largest[worst]:.4g} N m, its limit is "
            f"{robot.effort[worst]:.4g}",
            "check its unit, and the effort limits of the URDF",
        )


def _beyond(values: Array, lower: Array, upper: Array) -> Array:
    """Return by how much values (N, n) exceed limits (n,), zero if they do not."""
    excess = np.maximum(lower - values.min(0), values.max(0) - upper)
    return np.asarray(np.maximum(excess, 0.0))


def _worst(ratio: Array) -> int | None:
    """Return the joint that exceeds its limit most, by a ratio (n,); None if none does."""
    worst = int(np.argmax(ratio))
    return worst if ratio[worst] > MAX_RATIO else None
