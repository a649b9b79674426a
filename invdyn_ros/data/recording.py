"""What happened in a run, as plain arrays: the report and the pictures are made from this."""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from invdyn_ros.typing import Array


class JointSamples(NamedTuple):
    """Joint samples in time order.

    Attributes:
        time: (T,) stamp [s].
        q: (T, n) position [rad].
        qd: (T, n) velocity [rad/s], (T, 0) where not measured.
        effort: (T, n) torque [N m] or command, (T, 0) where not measured.
        opening: (T,) distance of the finger pads [m].
    """

    time: Array
    q: Array
    qd: Array
    effort: Array
    opening: Array

    @classmethod
    def from_rows(cls, rows: list[tuple[float, Array, Array, Array, float]]) -> "JointSamples":
        """Stack rows of (time, q, qd, effort, opening)."""
        if not rows:
            none = np.empty((0, 0))
            return cls(np.empty(0), none, none, none, np.empty(0))
        time, q, qd, effort, opening = zip(*rows, strict=True)
        arrays = np.array(time), np.stack(q), np.stack(qd), np.stack(effort), np.array(opening)
        return cls(*arrays)

    def velocity(self, i: int) -> Array:
        """Return the velocity (n,) [rad/s] at a sample; from positions where none is measured."""
        if self.qd.shape[1]:
            return self.qd[i]
        first, last = max(i - 2, 0), min(i + 2, len(self.time) - 1)
        return (self.q[last] - self.q[first]) / max(self.time[last] - self.time[first], 1e-9)

    def since(self, start: float) -> "JointSamples":
        """Return the samples from a time on [s]."""
        keep = self.time >= start
        return JointSamples(*(part[keep] for part in self))


class StampedImage(NamedTuple):
    """An overlay image (H, W, 3) uint8 RGB and its stamp [s]."""

    time: float
    image: NDArray[np.uint8]


@dataclass
class Recording:
    """One run or one episode.

    Attributes:
        joints: what the arm measured.
        wanted: where the guard wanted it, with the action in `effort`; opening is NaN.
        targets: stamp [s] -> wanted joints (n,) [rad] of each joint_target.
        landmarks: (stamp [s], (33, 4) or None) of each frame.
        blocks: stamp [s] -> true centre (3,) and quaternion (4,) xyzw of the block.
        sightings: stamp [s] -> measured pose (4, 4) of the block in the camera's frame.
        places: stamp [s] -> the same in the base frame, from who tells it there.
        stages: (stage, stamp [s], when it was reached [s]).
        pictures: overlay images.
        holds: how often the nodes held, by reason.
    """

    joints: JointSamples
    desired: JointSamples
    targets: dict[float, Array] = field(default_factory=dict)
    landmarks: list[tuple[float, Array | None]] = field(default_factory=list)
    block_poses: dict[float, tuple[Array, Array]] = field(default_factory=dict)
    camera_detections: dict[float, Array] = field(default_factory=dict)
    base_detections: dict[float, Array] = field(default_factory=dict)
    stages: list[tuple[str, float, float]] = field(default_factory=list)
    images: list[StampedImage] = field(default_factory=list)
    hold_counts: dict[str, int] = field(default_factory=dict)


def align_stamps(
    measured: JointSamples, desired: JointSamples
) -> tuple[JointSamples, JointSamples]:
    """Return the samples of both that carry the same stamp."""
    keys = {round(t * 1e6): i for i, t in enumerate(measured.time)}
    pairs = [(keys[k], j) for j, t in enumerate(desired.time) if (k := round(t * 1e6)) in keys]
    if not pairs:  # an arm that was never engaged has no wanted joints, be it of six columns
        none = JointSamples(*(part[:0] for part in measured))
        return none, none
    left, right = np.array([i for i, _ in pairs], int), np.array([j for _, j in pairs], int)
    return JointSamples(*(part[left] for part in measured)), JointSamples(
        *(part[right] for part in desired)
    )
