"""Checks for channels that are constant, clipped or not updated."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from invdyn_ros.sources.inspection.motion import CollectedMotion, Suspicion, listed
from invdyn_ros.typing import Array

COLUMNS = {"position": "positions", "velocity": "velocities", "action": "actions"}
MIN_SPEED = 0.05  # [rad/s] of a joint whose position has to change
CLIPPED_ROWS = 3  # equal samples in a row at the largest or smallest value
CLIPPED_RUNS = 3  # of them, at both limits together
STEEPNESS = 0.1  # of the step into such a run, as a fraction of the usual one
MIN_QUANTA = 5  # of the sensor in such a step; at a turning point there is one
HELD = 0.3  # of the rows while moving that repeat the one before


def constant_suspicions(motion: CollectedMotion) -> Iterator[Suspicion]:
    """Yield channels that never change although the joint moves."""
    speed = np.abs(motion.velocity).max(0) if len(motion.velocity) else None
    still = np.ptp(motion.position, axis=0) == 0
    if speed is not None and (still & (speed > MIN_SPEED)).any():
        yield _constant(motion, "positions", still & (speed > MIN_SPEED))
    for name in ("velocity", "action"):
        values = getattr(motion, name)
        if not len(values):
            continue
        constant = (np.ptp(values, axis=0) == 0) & motion.moving
        if name == "action" and not np.ptp(values, axis=0).any():
            if motion.robot is not None:
                yield Suspicion(
                    "actions without information",
                    f"those of all joints are {listed([f'{v:.4g}' for v in values[0]])} always",
                    "record what the driver measures or commands, in --effort-topic or --action",
                )
            continue
        if constant.any():
            yield _constant(motion, COLUMNS[name], constant)


def _constant(motion: CollectedMotion, what: str, joints: Array) -> Suspicion:
    names = [f"'{motion.names[j]}'" for j in np.flatnonzero(joints)]
    return Suspicion(
        f"constant {what}",
        f"those of {listed(names)} never change, although the joint moves",
        "check the column, or the driver",
    )


def clipped_suspicions(motion: CollectedMotion) -> Iterator[Suspicion]:
    """Yield channels that stop steeply at their largest or smallest value."""
    for name, what in COLUMNS.items():
        if not len(getattr(motion, name)):
            continue
        for j, joint in enumerate(motion.names):
            signals = [getattr(part, name)[:, j] for part in motion.parts]
            low, high = min(s.min() for s in signals), max(s.max() for s in signals)
            runs = sum(_steep_runs(s, limit) for s in signals for limit in (low, high))
            if runs >= CLIPPED_RUNS:
                yield Suspicion(
                    f"clipped {what}",
                    f"'{joint}' stays at {low:.4g} or {high:.4g} {runs} times, with a step before",
                    "record with a wider range, or smaller motions",
                )
                break


def _steep_runs(values: Array, limit: float) -> int:
    """Return how often values (T,) come to a limit with a step and stay there."""
    steps = np.abs(np.diff(values))
    quantum = steps[steps > 0].min(initial=np.inf)
    steep = max(STEEPNESS * np.sqrt((steps**2).mean()), MIN_QUANTA * quantum)
    at = np.concatenate([[False], values == limit, [False]]).astype(int)
    starts, ends = np.flatnonzero(np.diff(at) == 1), np.flatnonzero(np.diff(at) == -1)
    long = (ends - starts >= CLIPPED_ROWS) & (starts > 0) & (ends < len(values))
    # the last step before is cut at the limit
    before = np.maximum(steps[starts[long] - 1], steps[np.maximum(starts[long] - 2, 0)])
    return int((before > steep).sum())


def held_suspicions(motion: CollectedMotion) -> Iterator[Suspicion]:
    """Yield rows that repeat the one before although the arm moves."""
    if not len(motion.velocity):
        return
    repeats, moving = 0, 0
    for part in motion.parts:
        fast = (np.abs(part.velocity[1:]) > MIN_SPEED).any(1)
        same = (np.diff(part.position, axis=0) == 0).all(1)
        repeats, moving = repeats + int((fast & same).sum()), moving + int(fast.sum())
    if repeats > HELD * max(moving, 1):
        yield Suspicion(
            "positions that are repeated",
            f"they equal those before in {repeats} of {moving} samples of a moving arm",
            "record at the rate of the sensor, or give that rate with --resample HZ",
        )
