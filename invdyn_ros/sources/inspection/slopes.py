"""Check of velocities against the slope of the positions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from invdyn_ros.data.resampling import largest_interval
from invdyn_ros.data.trajectory import Trajectory
from invdyn_ros.sources.inspection.limits import DEGREES_REMEDY
from invdyn_ros.sources.inspection.motion import MOVES, CollectedMotion, Suspicion, listed
from invdyn_ros.typing import Array, Mask

WINDOW = 0.2  # [s] over which positions change by more than their noise
MAX_UNEXPLAINED = 0.3  # of the variance of position changes [-]
MAX_DEVIATION = 0.15  # of the slope from 1 [-]
MIN_ERROR = 2.0  # of the integrals, in terms of their own largest error [-]
OUTLIER = 10.0  # of a difference, in terms of the usual one [-]
COMMON = 0.05  # by which the slopes of joints differ that have one cause [-]
MIN_SWAPPED = 2.0  # [s] of motion; all joints may be alike for a shorter while
SWAPPED = 0.05  # unexplained variance by the velocity of another joint [-]
UNITS = {
    np.pi / 180: ("velocities in degrees per second", "convert them to rad/s"),
    180 / np.pi: ("positions in degrees", DEGREES_REMEDY),
    2 * np.pi / 60: ("velocities in revolutions per minute", "convert them to rad/s"),
    -1.0: ("velocities with the opposite sign", "turn their sign"),
}


class Slopes(NamedTuple):
    """Fit of position changes by integrated velocities.

    Attributes:
        factor: (n,) with which the velocities explain the changes best.
        unexplained: (n, n) variance of the changes of joint i that the velocity of joint j does
            not explain, as a fraction.
        moving: (n,) whether positions and velocities change enough to tell.
        differs: (n,) whether they differ by more than the error of the integral.
    """

    factor: Array
    unexplained: Array
    moving: Mask
    differs: Mask

    @property
    def contradicts(self) -> Mask:
        """Whether the velocity of each joint is not the slope of its position (n,)."""
        wrong = np.abs(self.factor - 1) > MAX_DEVIATION
        wrong |= np.diagonal(self.unexplained) > MAX_UNEXPLAINED
        return np.asarray(wrong & self.moving & self.differs)


def fit_slopes(motion: CollectedMotion) -> Slopes | None:
    """Fit the changes of positions over a short time by the velocities; None if there are none."""
    if not len(motion.velocity):
        return None
    longest = largest_interval(motion.parts)
    parts = [part for whole in motion.parts for part in whole.segments(longest) if len(part) > 1]
    change, integral, error = map(np.concatenate, zip(*map(_changes, parts), strict=True))
    power, variance = _mean_square(integral), _mean_square(change)
    moving = (
        motion.moving & (np.sqrt(variance) > MOVES / 4) & (np.ptp(motion.velocity, axis=0) > 0)
    )
    usual = _usual(change, integral)
    change, integral = (np.where(usual, values, 0.0) for values in (change, integral))
    power, variance = _mean_square(integral), _mean_square(change)
    covariance = change.T @ integral / len(change)  # (n, n)
    explained = covariance**2 / (variance[:, None] * power)
    # between samples that are far apart the velocity may have been anything
    differs = ((change - integral) ** 2).mean(0) > MIN_ERROR**2 * (error**2).mean(0)
    return Slopes(np.diagonal(covariance) / power, 1 - explained, moving, differs)


def _usual(change: Array, integral: Array) -> Mask:
    """Return which changes (K, n) are no outliers; those beside a jump are."""
    large = np.abs(integral) >= np.median(np.abs(integral), axis=0)
    ratio = change / np.where(integral == 0, np.inf, integral)
    factor = np.nanmedian(np.where(large, ratio, np.nan), axis=0)
    error = np.abs(change - factor * integral)
    return np.asarray(error <= OUTLIER * np.median(error, axis=0) + MOVES)


def _mean_square(values: Array) -> Array:
    return np.asarray(np.maximum((values**2).mean(0), 1e-30))


def _changes(part: Trajectory) -> tuple[Array, Array, Array]:
    """Return changes of the positions (K, n), integrals of the velocities, and their errors."""
    interval = np.diff(part.time)[:, None]
    rows = min(max(round(WINDOW / float(np.median(interval))), 2), len(part) - 1)
    areas = interval * (part.velocity[1:] + part.velocity[:-1]) / 2
    errors = interval * np.abs(np.diff(part.velocity, axis=0)) / 2
    sums = [np.vstack([np.zeros(part.n), np.cumsum(x, axis=0)]) for x in (areas, errors)]
    integral, error = (x[rows:] - x[:-rows] for x in sums)
    return part.position[rows:] - part.position[:-rows], integral, error


def slope_suspicions(motion: CollectedMotion) -> Iterator[Suspicion]:
    """Yield velocities that are not the slope of the positions."""
    fit = fit_slopes(motion)
    if fit is None or not fit.contradicts.any():
        return
    joints = np.flatnonzero(fit.contradicts)
    names = [motion.names[j] for j in joints]
    factors, own = fit.factor[joints], np.diagonal(fit.unexplained)[joints]
    factor, worst = float(np.median(factors)), factors[np.argmax(np.abs(factors - 1))]
    evidence = (
        f"positions of {listed(names)} change by {worst:.3g} times the integral of the "
        f"velocities, which explains {100 * (1 - own.max()):.0f}%"
    )
    if (own < MAX_UNEXPLAINED).all() and np.ptp(factors) < COMMON * abs(factor):
        for value, (what, remedy) in UNITS.items():
            if abs(factor / value - 1) < COMMON:
                yield Suspicion(what, evidence, remedy)
                return
        if len(joints) == fit.moving.sum() and factor > 0:
            rate = 1 / (factor * float(np.median(motion.steps)))
            yield Suspicion(
                "time or velocities with another unit",
                f"{evidence}, all alike",
                f"check the rate of the rows, which would be {rate:.4g} Hz, and the unit of the "
                "velocities",
            )
            return
    best = np.argmin(fit.unexplained, axis=1)
    swapped = {
        motion.names[j]: motion.names[best[j]]
        for j in joints
        if fit.unexplained[j, best[j]] < SWAPPED and best[j] != j
    }
    if swapped and motion.steps.sum() > MIN_SWAPPED:
        pairs = [f"that of '{other}' for '{name}'" for name, other in swapped.items()]
        yield Suspicion(
            "velocities of other joints", listed(pairs), "correct the order of columns"
        )
        return
    yield Suspicion(
        "velocities that are not the slope of the positions",
        evidence,
        "check both columns, or leave the velocities out, which are then differentiated",
    )
