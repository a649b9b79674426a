"""Poses of the joints of a rigid-body model."""

from __future__ import annotations

import numpy as np
import torch

from invdyn_ros.models.rigid_body import RigidBody
from invdyn_ros.typing import Array


def joint_poses(model: RigidBody) -> list[Array]:
    """Return the pose (4, 4) of each joint at zero in the frame of its parent, or of the base."""
    tree = model.tree
    poses = tree.poses(torch.zeros(model.n, dtype=tree.inertial.dtype)).double().numpy()
    return [
        poses[k] if parent < 0 else np.linalg.inv(poses[parent]) @ poses[k]
        for k, parent in enumerate(tree.parents)
    ]
