"""Why a grasp failed: the true course of an episode enters, one of four causes leaves."""

from __future__ import annotations

from typing import NamedTuple

from invdyn_ros.grasp.policies.observation import GRASPED_OPENING
from invdyn_ros.typing import Array, Mask

NOT_DETECTED, MISSED_GRASP, SLIPPED, TIMEOUT = FAILURE_CAUSES = (
    "not_detected",
    "missed_grasp",
    "slipped",
    "timeout",
)
MIN_HOLD_TIME = 0.2  # [s] a block between the pads for less was brushed, not held
ROUNDING = 1e-6  # [s] of stamps
MIN_LIFT_HEIGHT = 0.01  # [m] over where it lay: a block that high and between the pads is held


class EpisodeTrace(NamedTuple):
    """What truly happened in an episode, sample by sample.

    Attributes:
        time: (T,) [s], increasing.
        held: (T,) every finger touches the block.
        height: (T,) of the block over where it lay [m].
        opening: (T,) distance of the finger pads [m].
        seen: the camera ever told where the block is, or nobody asked it to, as with pixels.
    """

    time: Array
    grasped: Mask
    height: Array
    opening: Array
    detected: bool = True


def classify_failure(trace: EpisodeTrace, block_size: float) -> str:
    """Return why an episode that was no success failed, by how far it came at its best.

    - not seen: the camera never told where the block is;
    - slipped: the gripper held the block, and in the end no longer;
    - missed: it closed on nothing, and never held the block;
    - limit: time ran out on the way, or with the block still held.

    Held is a block between the pads for FIRM, or once RAISED; pads that touch it and are closer
    than it is wide have it not between them.

    Args:
        course: of the whole episode.
        block_size: side of the block [m].

    Raises:
        ValueError: the course has no samples, or columns of different lengths.
    """
    lengths = {len(column) for column in trace[:4]}
    if len(lengths) != 1 or lengths == {0}:
        raise ValueError(f"a course needs columns of one length, at least 1; got {lengths}")
    if not trace.detected:
        return NOT_DETECTED
    narrow = trace.opening < GRASPED_OPENING[0] * block_size
    trace = trace._replace(grasped=trace.grasped & ~narrow)
    if trace.grasped[trace.time >= trace.time[-1] - MIN_HOLD_TIME].any():
        return TIMEOUT
    if _ever_held(trace):
        return SLIPPED
    return MISSED_GRASP if narrow.any() else TIMEOUT


def _ever_held(course: EpisodeTrace) -> bool:
    """Whether the block was raised between the pads, or stayed there for a while."""
    if (course.grasped & (course.height >= MIN_LIFT_HEIGHT)).any():
        return True
    since = None
    for time, held in zip(course.time, course.grasped, strict=True):
        since = (time if since is None else since) if held else None
        if since is not None and time - since >= MIN_HOLD_TIME - ROUNDING:
            return True
    return False
