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
    what, remedy = "velocities beyond those of the arm", "check that they are in rad/s"
    if evidence := _excess(motion, motion.velocity, robot.velocity, "rad/s"):
        yield Suspicion(what, evidence, remedy)


def effort_suspicions(motion: CollectedMotion) -> Iterator[Suspicion]:
    """Yield torques beyond those of the arm."""
    robot = motion.robot
    if robot is None or not len(motion.action) or not is_torque(motion.unit):
        return
    what = "effort beyond that of the arm"
    if evidence := _excess(motion, motion.action, robot.effort, "N m"):
        yield Suspicion(what, evidence, "check its unit, and the effort limits of the URDF")


def _excess(motion: CollectedMotion, values: Array, limits: Array, unit: str) -> str:
    """Return how far the joint that exceeds its limit most does so; empty if none does.

    Args:
        motion: has the names of the joints.
        values: (N, n).
        limits: (n,) of the absolute values.
        unit: of both.
    """
    largest = np.quantile(np.abs(values), QUANTILE, axis=0)
    worst = int(np.argmax(largest / limits))
    if largest[worst] <= MAX_RATIO * limits[worst]:
        return ""
    return (
        f"'{motion.names[worst]}' reaches {largest[worst]:.4g} {unit}, its limit is "
        f"{limits[worst]:.4g}"
    )


def _beyond(values: Array, lower: Array, upper: Array) -> Array:
    """Return by how much values (N, n) exceed limits (n,), zero if they do not."""
    excess = np.maximum(lower - values.min(0), values.max(0) - upper)
    return np.asarray(np.maximum(excess, 0.0))
