"""Recording of a run as plain arrays, from which reports and plots are made."""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from invdyn_ros.typing import Array, Image


class JointSamples(NamedTuple):
    """Joint samples in time order.

    Attributes:
        time: (T,) stamp [s].
        q: (T, n) position [rad].
        qd: (T, n) velocity [rad/s], (T, 0) where not measured.
        effort: (T, n) torque [N m] or command, (T, 0) where not measured.
        opening: (T,) distance between the finger pads [m].
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
            empty = np.empty((0, 0))
            return cls(np.empty(0), empty, empty, empty, np.empty(0))
        time, q, qd, effort, opening = zip(*rows, strict=True)
        arrays = np.array(time), np.stack(q), np.stack(qd), np.stack(effort), np.array(opening)
        return cls(*arrays)

    def velocity(self, i: int) -> Array:
        """Return the velocity (n,) [rad/s] of sample i, differentiated if it is not measured."""
        if self.qd.shape[1]:
            return self.qd[i]
        first, last = max(i - 2, 0), min(i + 2, len(self.time) - 1)
        return (self.q[last] - self.q[first]) / max(self.time[last] - self.time[first], 1e-9)

    def since(self, start: float) -> "JointSamples":
        """Return the samples from a start time [s] on."""
        mask = self.time >= start
        return JointSamples(*(part[mask] for part in self))


class StampedImage(NamedTuple):
    """An image (H, W, 3) and its stamp [s]."""

    time: float
    image: Image


@dataclass
class Recording:
    """One run or one episode.

    Attributes:
        joints: measured joint states.
        desired: desired joint states, with the action in `effort`; opening is NaN.
        targets: stamp [s] -> target joint positions (n,) [rad] of each joint_target.
        landmarks: (stamp [s], landmarks (33, 4) or None) of each frame.
        block_poses: stamp [s] -> true centre (3,) and quaternion (4,) xyzw of the block.
        camera_detections: stamp [s] -> detected pose (4, 4) of the block in the camera frame.
        base_detections: stamp [s] -> detected pose (4, 4) of the block in the base frame.
        stages: (processing stage, stamp of the image [s], time when the stage was reached [s]).
        images: overlay images.
        hold_counts: how often the arm was held, by reason.
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
    """Return the measured and desired samples with equal stamps."""
    keys = {round(t * 1e6): i for i, t in enumerate(measured.time)}
    pairs = [(keys[k], j) for j, t in enumerate(desired.time) if (k := round(t * 1e6)) in keys]
    if not pairs:  # an arm that was never engaged has no desired states
        empty = JointSamples(*(part[:0] for part in measured))
        return empty, empty
    measured_rows, desired_rows = np.array(pairs, int).T
    return (
        JointSamples(*(part[measured_rows] for part in measured)),
        JointSamples(*(part[desired_rows] for part in desired)),
    )
