"""Videos whose actions are known exactly: a bright patch that wanders over a still background."""

from __future__ import annotations

import numpy as np

from invdyn_ros.data.trajectory import NO_VERB, Trajectory
from invdyn_ros.models.augmentation import WRIST_JOINTS

SIDE, PATCH = 32, 10  # [px]


def patch(place: np.ndarray, seed: int, side: int = SIDE) -> np.ndarray:
    """Return a picture (side, side, 3) with a soft patch at x, y, shares of its size."""
    background = np.random.default_rng(seed).uniform(0, 80, (side, side, 3))
    x, y = np.meshgrid(*[(np.arange(side) + 0.5) / side] * 2)
    away = np.hypot(x - place[0], y - place[1]) * side / PATCH
    return (background + 170 * np.exp(-2 * away[..., None] ** 2)).round().astype(np.uint8)


def film(
    seed: int, frames: int = 60, source: str = "", verb: int = NO_VERB, labelled: bool = True
) -> Trajectory:
    """Return a video of a patch, with the displacements of the patch as actions."""
    rng = np.random.default_rng(seed)
    time = np.arange(frames) / 10
    w, phase = rng.uniform(1.0, 4.0, (2, 2)), rng.uniform(0, 6.28, (2, 2))
    place = 0.5 + 0.15 * np.sin(time[:, None, None] * w + phase).sum(1)  # (T, 2)
    moved = np.concatenate([np.zeros((1, 2)), np.diff(place, axis=0)])
    return Trajectory(
        time=time,
        position=np.empty((0, 2)),
        velocity=np.empty((0, 2)),
        acceleration=np.empty((0, 2)),
        action=moved if labelled else np.empty((0, 2)),
        joint_names=WRIST_JOINTS,
        action_unit="1",
        frames=np.stack([patch(p, seed) for p in place]),
        source=source,
        verb=verb,
    )
