"""Synthetic videos with exact actions: a bright patch moves over a static background."""

from __future__ import annotations

import numpy as np

from invdyn_ros.data.trajectory import NO_VERB, Trajectory
from invdyn_ros.models.augmentation import WRIST_JOINTS

SIDE, PATCH = 32, 10  # [px]


def draw_patch(position: np.ndarray, seed: int, side: int = SIDE) -> np.ndarray:
    """Return an image (side, side, 3) with a soft patch at x, y in fractions of its size."""
    background = np.random.default_rng(seed).uniform(0, 80, (side, side, 3))
    x, y = np.meshgrid(*[(np.arange(side) + 0.5) / side] * 2)
    distance = np.hypot(x - position[0], y - position[1]) * side / PATCH
    return (background + 170 * np.exp(-2 * distance[..., None] ** 2)).round().astype(np.uint8)


def patch_video(
    seed: int, frames: int = 60, source: str = "", verb: int = NO_VERB, labelled: bool = True
) -> Trajectory:
    """Return a video of a patch with its displacements as actions.

    Args:
        seed: of background and motion.
        frames: number of images.
        source: name of the video.
        verb: class of the narrated verb.
        labelled: whether the video has actions.
    """
    rng = np.random.default_rng(seed)
    time = np.arange(frames) / 10
    w, phase = rng.uniform(1.0, 4.0, (2, 2)), rng.uniform(0, 6.28, (2, 2))
    position = 0.5 + 0.15 * np.sin(time[:, None, None] * w + phase).sum(1)  # (T, 2)
    displacement = np.concatenate([np.zeros((1, 2)), np.diff(position, axis=0)])
    return Trajectory(
        time=time,
        position=np.empty((0, 2)),
        velocity=np.empty((0, 2)),
        acceleration=np.empty((0, 2)),
        action=displacement if labelled else np.empty((0, 2)),
        joint_names=WRIST_JOINTS,
        action_unit="1",
        frames=np.stack([draw_patch(p, seed) for p in position]),
        recording=source,
        verb=verb,
    )
