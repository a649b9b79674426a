"""Why a grasp failed: the true course of an episode enters, one of four causes leaves."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

NOT_SEEN, MISSED, SLIPPED, LIMIT = CAUSES = ("not seen", "missed", "slipped", "limit")
FIRM = 0.2  # [s] a block between the pads for less was brushed, not held
RAISED = 0.01  # [m] over where it lay: a block that high and between the pads is held


class Course(NamedTuple):
    """What truly happened in an episode, sample by sample.

    Attributes:
        time: (T,) [s], increasing.
        held: (T,) every finger touches the block.
        height: (T,) of the block over where it lay [m].
        opening: (T,) distance of the finger pads [m].
        seen: the camera ever told where the block is, or nobody asked it to, as with pixels.
    """

    time: NDArray[np.float64]
    held: NDArray[np.bool_]
    height: NDArray[np.float64]
    opening: NDArray[np.float64]
    seen: bool = True


def cause_of_failure(course: Course, released: float) -> str:
    """Return why an episode that was no success failed, by how far it came at its best.

    - not seen: the camera never told where the block is;
    - limit: time ran out on the way, or with the block still held: the gripper never closed, or
      has not lost what it closed on;
    - missed: the gripper closed, and never held the block;
    - slipped: it held the block, and in the end no longer.

    Held is a block between the pads for FIRM, or once RAISED.

    Args:
        course: of the whole episode.
        released: a wider opening of the pads holds no block [m], as `Judge.released`.

    Raises:
        ValueError: the course has no samples, or columns of different lengths.
    """
    lengths = {len(column) for column in course[:4]}
    if len(lengths) != 1 or lengths == {0}:
        raise ValueError(f"a course needs columns of one length, at least 1; got {lengths}")
    if not course.seen:
        return NOT_SEEN
    if course.held[-1] or not (course.opening <= released).any():
        return LIMIT
    return SLIPPED if _ever_held(course) else MISSED


def _ever_held(course: Course) -> bool:
    """Whether the block was raised between the pads, or stayed there for a while."""
    if (course.held & (course.height >= RAISED)).any():
        return True
    since = None
    for time, held in zip(course.time, course.held, strict=True):
        since = (time if since is None else since) if held else None
        if since is not None and time - since >= FIRM - 1e-9:  # stamps are rounded
            return True
    return False
