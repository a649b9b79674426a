"""Detection of two blocks with the same id.

Each marker alone determines the position of its block, although imprecisely. Two blocks cannot
overlap: perpendicular to the line of sight, their centers are at least 0.4 of a side apart. The
centers that are computed from the markers of one block agree within a fifteenth of a side.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np

from invdyn_ros.perception.pose_from_edges import single_marker_poses

MIN_SEPARATION = 0.25  # [block sides] of two blocks, perpendicular to the line of sight


def are_separate_blocks(
    faces: np.ndarray, quads: np.ndarray, block_size: float, camera_matrix: np.ndarray
) -> bool:
    """Return whether markers are too far apart to belong to one block.

    Args:
        faces: (m,) indices of the faces of the markers; an index may occur twice.
        quads: (m, 4, 2) corners of the markers [px], without lens distortion.
        block_size: side of the block [m].
        camera_matrix: (3, 3) pinhole matrix [px].
    """
    centers = [
        np.array([T[:3, 3] for T in single_marker_poses(face, quad, block_size, camera_matrix)])
        for face, quad in zip(faces, quads, strict=True)
    ]
    return any(
        _min_lateral_distance(a, b) > MIN_SEPARATION * block_size
        for a, b in combinations(centers, 2)
    )


def _min_lateral_distance(points_a: np.ndarray, points_b: np.ndarray) -> float:
    """Return the smallest distance perpendicular to the line of sight between points [m].

    Args:
        points_a: (n, 3) points in the optical frame [m].
        points_b: (m, 3) points in the optical frame [m].
    """
    a, b = points_a[:, None], points_b[None]
    depth = (a[..., 2] + b[..., 2]) / 2
    offset = a[..., :2] / a[..., 2:] - b[..., :2] / b[..., 2:]
    return float((np.linalg.norm(offset, axis=-1) * depth).min())
