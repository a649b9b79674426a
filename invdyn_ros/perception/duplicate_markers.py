"""Two blocks with one id: corners of all markers of that id enter; whether they are of one leaves.

Where a block is can be told from each of its markers alone, if badly. Two blocks cannot be where
one is: seen from the camera, their centres are at least 0.4 of a side apart, whereas those
of one block's markers agree within a fifteenth.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np

from invdyn_ros.perception.pose_from_edges import single_marker_poses

MIN_SEPARATION = 0.25  # of a side, across the line of sight: further apart are two blocks


def are_separate_blocks(
    faces: np.ndarray, quads: np.ndarray, block_size: float, camera_matrix: np.ndarray
) -> bool:
    """Say whether markers are too far apart to be of one block.

    Args:
        faces: (m,) that they are on; one may occur twice.
        quads: (m, 4, 2) their corners [px], lens distortion taken out.
        block_size: side of the block [m].
        k: (3, 3) pinhole matrix [px].
    """
    centres = [
        np.array([T[:3, 3] for T in single_marker_poses(face, quad, block_size, camera_matrix)])
        for face, quad in zip(faces, quads, strict=True)
    ]
    return any(
        _min_lateral_distance(a, b) > MIN_SEPARATION * block_size
        for a, b in combinations(centres, 2)
    )


def _min_lateral_distance(some: np.ndarray, others: np.ndarray) -> float:
    """Least distance [m] across the line of sight between points (n, 3) and (m, 3) [m]."""
    a, b = some[:, None], others[None]
    depth = (a[..., 2] + b[..., 2]) / 2
    away = a[..., :2] / a[..., 2:] - b[..., :2] / b[..., 2:]
    return float((np.linalg.norm(away, axis=-1) * depth).min())
