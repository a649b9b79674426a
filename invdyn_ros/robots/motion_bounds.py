"""Bounds of the distance that motions of the joints move points and shapes of an arm."""

from __future__ import annotations

import mujoco
import numpy as np

from invdyn_ros.robots.collision_geometry import WORLD, revolve, shape_points
from invdyn_ros.robots.rotation import quaternion_to_matrix, z_to_axis
from invdyn_ros.typing import Array, Mask

SYMMETRY_TOLERANCE = 1e-6  # [m, -]


def motion_radii(model: mujoco.MjModel, body: int, points: Array) -> Array:
    """Return how far a motion of each joint by one radian moves a point at most, (n,) [m/rad].

    The bound holds in every configuration: from the last joint to the first, the points are
    replaced by the cylinder about the joint that they can reach.

    Args:
        model: has at most one joint per body, at the origin of the body.
        body: id of the body that the points are fixed to.
        points: (k, 3) in the frame of the body [m].
    """
    radii = np.zeros(model.njnt)
    while body != WORLD:
        joint = model.body_jntadr[body]
        axis = model.jnt_axis[joint]  # of another joint, if the body has none
        heights = points @ axis
        if joint >= 0 and model.jnt_type[joint] == mujoco.mjtJoint.mjJNT_SLIDE:
            radii[joint] = 1.0
            points = np.vstack([points + end * axis for end in model.jnt_range[joint]])
        elif joint >= 0:
            reach = np.linalg.norm(points - heights[:, None] * axis, axis=1)
            radii[joint] = reach.max()
            turn = z_to_axis(axis)
            points = revolve(heights, reach) @ turn.T
        points = points @ quaternion_to_matrix(model.body_quat[body]).T + model.body_pos[body]
        body = model.body_parentid[body]
    return radii


def pair_radii(model: mujoco.MjModel) -> Array:
    """Return by how much each joint changes the distance of two shapes at most, (G, G, n) [m/rad].

    A joint that moves both shapes does not change their distance. Neither does a joint between
    both about whose axis one of them is symmetric, such as a round base under a vertical axis.

    Args:
        model: has one joint per body, at the origin of the body.
    """
    radii = np.zeros((model.ngeom, model.njnt))
    moves = np.zeros((model.ngeom, model.njnt), bool)
    for shape in range(model.ngeom):
        body = int(model.geom_bodyid[shape])
        if body != WORLD:
            radii[shape] = motion_radii(model, body, shape_points(model, shape))
        while body != WORLD:
            moves[shape, model.body_jntadr[body]] = True
            body = model.body_parentid[body]
    pairs = radii[:, None] + radii[None]
    pairs[moves[:, None] & moves[None]] = 0.0
    for shape in range(model.ngeom):
        for joint in range(model.njnt):
            if _is_symmetric(model, shape, joint):
                others = moves[:, joint] != moves[shape, joint]
                pairs[shape, others, joint] = pairs[others, shape, joint] = 0.0
    return pairs


def largest_rows(rows: Array) -> Array:
    """Return the rows (F, n) of (K, n) that no other row exceeds in all columns."""
    rows = np.unique(rows, axis=0)
    exceeded: Mask = (rows[:, None] <= rows[None]).all(axis=2).sum(axis=1) > 1
    return rows[~exceeded]


def _is_symmetric(model: mujoco.MjModel, shape: int, joint: int) -> bool:
    """Return whether a shape is symmetric about a joint that moves it, or one next to it.

    Args:
        model: has one joint per body, at the origin of the body.
        shape: id of the geometry.
        joint: id of the joint.
    """
    body, moved = model.geom_bodyid[shape], model.jnt_bodyid[joint]
    axis, origin = model.jnt_axis[joint], np.zeros(3)
    if moved != body:  # a joint on this body that moves the next one
        if model.body_parentid[moved] != body:
            return False
        axis, origin = quaternion_to_matrix(model.body_quat[moved]) @ axis, model.body_pos[moved]
    if model.jnt_type[joint] == mujoco.mjtJoint.mjJNT_SLIDE:
        return False
    kind = model.geom_type[shape]
    direction = quaternion_to_matrix(model.geom_quat[shape])[:, 2]
    parallel = np.linalg.norm(np.cross(direction, axis)) < SYMMETRY_TOLERANCE
    offset = np.cross(model.geom_pos[shape] - origin, axis)
    centred = np.linalg.norm(offset) < SYMMETRY_TOLERANCE
    return bool(
        (kind == mujoco.mjtGeom.mjGEOM_PLANE and parallel)
        or (kind == mujoco.mjtGeom.mjGEOM_CYLINDER and parallel and centred)
        or (kind == mujoco.mjtGeom.mjGEOM_SPHERE and centred)
    )
