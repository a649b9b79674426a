"""Checks for jumps of positions, two publishers on one topic, and gaps."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from invdyn_ros.data.resampling import largest_interval
from invdyn_ros.data.trajectory import Trajectory
from invdyn_ros.sources.inspection.limits import is_within_limits
from invdyn_ros.sources.inspection.motion import CollectedMotion, Suspicion
from invdyn_ros.sources.inspection.slopes import fit_slopes
from invdyn_ros.sources.rosbag import REPEATED
from invdyn_ros.typing import Array, Mask

SPEED_RATIO = 2.0  # of a jump to what the velocity limit allows
MIN_JUMP = 0.05  # [rad] beyond that
NOISE_RATIO = 20.0  # of a jump to the usual difference between positions and velocities
HELD_SAMPLES = 4  # intervals that a position may be repeated without counting as a jump
WRAP_TOLERANCE = 0.3  # [rad] by which a wrapped angle jumps by another value than a turn
ALTERNATING = 0.1  # of the rows, from which on jumps back and forth are two publishers
SPIKE_ROWS = 3  # after which an outlier is over
UNEVEN, PAIRED = 0.2, 0.25  # of intervals, and of pairs of them, as fractions of their deviation
MIN_ROWS = 50  # that tell whether intervals alternate
REPEATED_FRACTION = 0.02  # of the rows


class Jump(NamedTuple):
    """Jump of the positions.

    Attributes:
        part: index of the episode.
        row: row after it.
        joint: index of the joint that jumps farthest.
        size: (n,) changes of the positions [rad].
    """

    part: int
    row: int
    joint: int
    size: Array


def jump_suspicions(motion: CollectedMotion) -> Iterator[Suspicion]:
    """Yield jumps that no arm can make, by their likeliest cause."""
    if not is_within_limits(motion):
        return
    jumps = find_jumps(motion)
    if not jumps:
        return
    first, count = jumps[0], len(jumps)
    evidence = (
        f"{count} of {len(motion.steps)} steps, the first one in row {first.row} of episode "
        f"{first.part}, where '{motion.names[first.joint]}' jumps by "
        f"{first.size[first.joint]:.3g} rad"
    )
    turns = [abs(abs(jump.size[jump.joint]) - 2 * np.pi) < WRAP_TOLERANCE for jump in jumps]
    returns = _returning(jumps)
    if all(turns):
        what, remedy = "angles that wrap around", "unwrap them (numpy.unwrap)"
    elif returns and count > ALTERNATING * len(motion.steps):
        what = "two publishers on one topic"
        remedy = "stop one of them, or record them on two topics"
    elif returns:
        what, remedy = "outliers of the positions", "repair or leave out these rows"
    else:
        what = "episodes glued together"
        remedy = "name the column of the episodes with --episode, or cut the recording there"
    yield Suspicion(what, evidence, remedy)


def find_jumps(motion: CollectedMotion) -> list[Jump]:
    """Return the steps in which a joint moves farther than its velocity allows."""
    fit = fit_slopes(motion)
    trusted = None if fit is None else ~fit.contradicts
    return [
        Jump(number, int(row) + 1, int(np.argmax(np.abs(step[row]))), step[row])
        for number, part in enumerate(motion.parts)
        for step in [np.diff(part.position, axis=0)]
        for row in np.flatnonzero(_is_jump(part, step, motion, trusted))
    ]


def _is_jump(part: Trajectory, step: Array, motion: CollectedMotion, trusted: Mask | None) -> Mask:
    """Return which steps are jumps (T - 1,).

    Args:
        part: the episode.
        step: (T - 1, n) changes of the positions [rad].
        motion: all episodes.
        trusted: (n,) whether the velocity of each joint is the slope of its position; None: there
            are no velocities.
    """
    interval = np.diff(part.time)[:, None]
    jumps = np.zeros(len(step), bool)
    if motion.robot is not None:
        reach = SPEED_RATIO * motion.robot.velocity * interval + MIN_JUMP
        jumps |= (np.abs(step) > reach).any(1)
    if trusted is not None and len(part.velocity):
        speed = np.maximum(np.abs(part.velocity[1:]), np.abs(part.velocity[:-1]))
        off = np.abs(step - interval * (part.velocity[1:] + part.velocity[:-1]) / 2)
        usual = NOISE_RATIO * np.median(off, axis=0) + MIN_JUMP + HELD_SAMPLES * speed * interval
        jumps |= (off > usual)[:, trusted].any(1)
    elif motion.robot is None:
        usual = NOISE_RATIO * np.quantile(np.abs(step), 0.9, axis=0) + MIN_JUMP
        jumps |= (np.abs(step) > usual).any(1)
    return jumps


def _returning(jumps: list[Jump]) -> bool:
    """Return whether most jumps are followed by one back."""
    back = 0
    for jump, later in pairwise(jumps):
        is_near = jump.part == later.part and later.row - jump.row <= SPIKE_ROWS
        rest = np.linalg.norm(jump.size + later.size)
        back += is_near and rest < 0.5 * np.linalg.norm(jump.size)
    return back >= (len(jumps) - 1) / 2 and len(jumps) > 1


def stamp_suspicions(motion: CollectedMotion) -> Iterator[Suspicion]:
    """Yield stamps of two publishers, and gaps within an episode."""
    repeated, rows = -motion.changes.get(REPEATED, 0), len(motion.position)
    if repeated > REPEATED_FRACTION * rows:
        yield Suspicion(
            "two publishers on one topic",
            f"{repeated} messages have the stamp of another one, but other values",
            "stop one of them, or record them on two topics",
        )
    elif part := next((p for p in motion.parts if _alternates(np.diff(p.time))), None):
        short, long = np.quantile(np.diff(part.time), [0.25, 0.75])
        yield Suspicion(
            "two publishers on one topic",
            f"the intervals between samples alternate between {short:.4g} and {long:.4g} s",
            "stop one of them, or record them on two topics",
        )
    longest = motion.steps.max()
    if longest > largest_interval(motion.parts):
        yield Suspicion(
            "a gap within an episode",
            f"two samples are {longest:.3g} s apart",
            f"end episodes at gaps with --max-gap {largest_interval(motion.parts):.3g}",
        )


def _alternates(steps: Array) -> bool:
    """Return whether intervals (T,) alternate, as those of two sources of one rate do."""
    if len(steps) < MIN_ROWS:
        return False
    deviation = steps.std()
    pairs = steps[1:] + steps[:-1]
    return bool(deviation > UNEVEN * np.median(steps) and pairs.std() < PAIRED * deviation)
