"""Classification of failed grasp episodes by cause."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from invdyn_ros.grasp.policies.observation import GRASPED_OPENING_RATIOS
from invdyn_ros.robots.scene import OPEN_WIDTH_RATIO
from invdyn_ros.typing import Array, Mask

STOPPED, NOT_DETECTED, MISSED_GRASP, SLIPPED, MISPLACED, TIMEOUT = FAILURE_CAUSES = (
    "stopped",
    "not_detected",
    "missed_grasp",
    "slipped",
    "misplaced",
    "timeout",
)
STOP_TIME = 2.0  # [s] at the end of an episode, in most of which a stopped arm does not move
MIN_HOLD_TIME = 0.2  # [s] shorter contacts count as touching, not as grasping
HOLD_TIME_TOLERANCE = 1e-6  # [s] for the rounding of stamps
MIN_LIFT_HEIGHT = 0.01  # [m] a block between the pads that is raised this high is grasped


class EpisodeTrace(NamedTuple):
    """True state of gripper and block over an episode.

    Attributes:
        time: (T,) [s], increasing.
        grasped: (T,) whether every finger touches the block.
        height: (T,) height of the block over its initial position [m].
        opening: (T,) distance between the finger pads [m].
        stopped: (T,) whether a fault or the motion guard stopped the arm.
        detected: whether the camera ever detected the block; always true for pixel policies,
            which use no detections.
    """

    time: Array
    grasped: Mask
    height: Array
    opening: Array
    stopped: Mask
    detected: bool = True

    @classmethod
    def from_rows(cls, rows: Sequence[Sequence[Any]], detected: bool) -> EpisodeTrace:
        """Stack rows of time, grasped, height, opening and stopped."""
        time, grasped, height, opening, stopped = np.array(rows, float).T
        return cls(time, grasped.astype(bool), height, opening, stopped.astype(bool), detected)


def classify_failure(trace: EpisodeTrace, block_size: float) -> str:
    """Return the cause of a failed episode, one of `FAILURE_CAUSES`.

    - stopped: a fault or the motion guard stopped the arm for most of the last `STOP_TIME`;
    - not_detected: the camera never detected the block;
    - misplaced: the gripper raised the block, and opened off its goal;
    - slipped: the gripper grasped the block and lost it before the end;
    - missed_grasp: the gripper closed without ever grasping the block;
    - timeout: the time limit was reached before a grasp, or with the block still grasped.

    The block counts as grasped once the pads have touched it for `MIN_HOLD_TIME` or have raised
    it by `MIN_LIFT_HEIGHT`. Pads that are closer together than the block is wide do not have it
    between them, even if they touch it.

    Args:
        trace: state over the whole episode.
        block_size: side of the block [m].

    Raises:
        ValueError: the trace has no samples, or columns of different lengths.
    """
    lengths = {len(column) for column in trace[:5]}
    if len(lengths) != 1 or lengths == {0}:
        raise ValueError(f"a trace needs columns of equal length, at least 1; got {lengths}")
    if trace.stopped[trace.time >= trace.time[-1] - STOP_TIME].mean() > 0.5:
        return STOPPED
    if not trace.detected:
        return NOT_DETECTED
    too_narrow = trace.opening < GRASPED_OPENING_RATIOS[0] * block_size
    trace = trace._replace(grasped=trace.grasped & ~too_narrow)
    if trace.grasped[trace.time >= trace.time[-1] - MIN_HOLD_TIME].any():
        return TIMEOUT
    if _was_released(trace, block_size):
        return MISPLACED
    if _was_grasped(trace):
        return SLIPPED
    return MISSED_GRASP if too_narrow.any() else TIMEOUT


def _raised(trace: EpisodeTrace) -> Mask:
    return np.asarray(trace.grasped & (trace.height >= MIN_LIFT_HEIGHT))


def _was_released(trace: EpisodeTrace, block_size: float) -> bool:
    """Return whether the gripper opened after it last had a block that it had raised."""
    if not _raised(trace).any():
        return False
    later = trace.opening[np.flatnonzero(trace.grasped)[-1] :] / block_size
    wide, narrow = later > OPEN_WIDTH_RATIO, later < GRASPED_OPENING_RATIOS[0]
    return bool(wide.any()) and not narrow[: int(wide.argmax())].any()


def _was_grasped(trace: EpisodeTrace) -> bool:
    """Return whether the block was raised between the pads, or stayed there for a while."""
    if _raised(trace).any():
        return True
    since = None
    for time, grasped in zip(trace.time, trace.grasped, strict=True):
        since = (time if since is None else since) if grasped else None
        if since is not None and time - since >= MIN_HOLD_TIME - HOLD_TIME_TOLERANCE:
            return True
    return False
