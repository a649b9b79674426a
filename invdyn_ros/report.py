"""The reports of a run: a Recording enters, plain numbers leave."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from invdyn_ros.recording import Recording, Samples, align
from invdyn_ros.robot import Robot

Array = NDArray[np.float64]
QUANTILES = (50, 95, 99)
SLACK = 1.02  # noise of a measured velocity is no violation


def quantiles(values: Array, which: tuple[int, ...] = QUANTILES) -> dict[str, float | None]:
    """Return percentiles as {"p50": ...}; None where there is no value."""
    if not len(values):
        return {f"p{q}": None for q in which}
    return {f"p{q}": round(float(np.percentile(values, q)), 4) for q in which}


def limit_violations(robot: Robot, joints: Samples, wanted: Samples, unit: str) -> int:
    """Count samples in which the arm or what was wanted of it was outside a rated limit."""
    count = 0
    for samples in (joints, wanted):
        if not len(samples.time):
            continue
        bad = (samples.q < robot.lower).any(1) | (samples.q > robot.upper).any(1)
        if samples.qd.shape[1]:
            bad |= (np.abs(samples.qd) > SLACK * robot.velocity).any(1)
        if unit == "N m" and samples.effort.shape[1]:
            bad |= (np.abs(samples.effort) > robot.effort * (1 + 1e-9)).any(1)
        count += int(bad.sum())
    return count


def tracking_rms(joints: Samples, wanted: Samples) -> float | None:
    """Return the RMS distance between measured and wanted joints [rad]."""
    measured, planned = align(joints, wanted)
    if not len(measured.time):
        return None
    return float(np.sqrt(np.mean((measured.q - planned.q) ** 2)))


class Latencies(NamedTuple):
    """Time from an image's stamp to the first command that acts on it [ms], (F,) each.

    Attributes:
        whole: image to command.
        core: the same without the pose network.
        stages: its parts, by name: to the pose network, in it, and from it to the command.
    """

    whole: Array
    core: Array
    stages: dict[str, Array]


def latencies(recording: Recording) -> Latencies:
    """Return where the time of each image that led to a command went."""
    reached: dict[float, dict[str, float]] = {}
    for stage, stamp, time in recording.stages:
        reached.setdefault(stamp, {}).setdefault(stage, time - stamp)
    order = ("pose begin", "pose end", "command")
    rows = [[times[k] for k in order] for times in reached.values() if times.keys() >= set(order)]
    begin, end, command = 1e3 * np.array(rows).reshape(-1, 3).T
    stages = {"image_to_pose": begin, "pose": end - begin, "pose_to_command": command - end}
    return Latencies(command, command - stages["pose"], stages)


def success_interval(successes: int, episodes: int) -> list[float]:
    """Return the 95% Wilson interval of a success rate."""
    return [round(end, 4) for end in _wilson(successes, episodes)]


def _wilson(successes: int, episodes: int) -> tuple[float, float]:
    interval = binomtest(successes, episodes).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


class Difference(NamedTuple):
    """A difference of two success rates with its 95% interval, -1 to 1 each."""

    value: float
    low: float
    high: float


def paired_difference(ours: Sequence[bool], theirs: Sequence[bool]) -> Difference:
    """Return by how much our success rate is above theirs in the same episodes.

    Method 10 of Newcombe, Improved confidence intervals for the difference between binomial
    proportions based on paired data, Statistics in Medicine 17 (1998): the Wilson intervals of
    both rates, and how much the two have in common.

    Args:
        ours: (N,) which episodes were successes of ours.
        theirs: (N,) which of the same were theirs.

    Raises:
        ValueError: no episodes, or not as many of the one as of the other.
    """
    if len(ours) != len(theirs) or not len(ours):
        raise ValueError(f"{len(ours)} and {len(theirs)} episodes are no pairs")
    a, b, n = np.asarray(ours, bool), np.asarray(theirs, bool), len(ours)
    p, q = float(a.mean()), float(b.mean())
    (p_low, p_high), (q_low, q_high) = _wilson(int(a.sum()), n), _wilson(int(b.sum()), n)
    common = _correlation(a, b)

    def reach(p_side: float, q_side: float) -> float:
        square = p_side**2 - 2 * common * p_side * q_side + q_side**2
        return float(np.sqrt(max(square, 0.0)))

    low, high = reach(p - p_low, q_high - q), reach(p_high - p, q - q_low)
    return Difference(p - q, p - q - low, p - q + high)


def _correlation(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """Return the correlation of two outcomes (N,), a positive one corrected for continuity."""
    both, none = int((a & b).sum()), int((~a & ~b).sum())
    product = float(both * none - int((a & ~b).sum()) * int((~a & b).sum()))
    if product > 0:
        product = max(product - len(a) / 2, 0.0)
    margins = float(a.sum()) * float((~a).sum()) * float(b.sum()) * float((~b).sum())
    return product / np.sqrt(margins) if margins else 0.0
