"""Collision geometry of an arm: the shapes of its URDF as a MuJoCo model with its obstacles."""

from __future__ import annotations

import itertools
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import mujoco
import numpy as np

from invdyn_ros.robots.mesh_files import MESH_FORMATS, add_mesh, find_mesh
from invdyn_ros.robots.obstacles import Obstacles
from invdyn_ros.robots.robot import Robot
from invdyn_ros.robots.rotation import (
    matrix_to_quaternion,
    quaternion_to_matrix,
    rpy_to_matrix,
    skew,
)
from invdyn_ros.robots.urdf import UrdfJoint, UrdfTree, load_urdf
from invdyn_ros.typing import Array

WORLD = 0  # id of the body of all that does not move
TABLE = "table"
_BOX = "box "  # start of the name of the geometry of a box
MESH = mujoco.mjtGeom.mjGEOM_MESH
DISTANCE_TOLERANCE = 1e-4  # [m] the error of a distance is a tenth of it
_CORNERS = np.array(list(itertools.product((-1.0, 1.0), repeat=3)))  # (8, 3)


class Shape(NamedTuple):
    """A convex shape of a link.

    Attributes:
        link: name of the link.
        joint: arm joint that moves the link, None for a link that is fixed to the base.
        type: MuJoCo's type of the shape.
        size: MuJoCo's size of the shape [m]; the scale of a mesh.
        T: (4, 4) pose in the frame of the joint, or of the base.
        file: mesh file; the shape is its convex hull.
        finger: whether the link is a finger of the gripper.
    """

    link: str
    joint: str | None
    type: mujoco.mjtGeom
    size: tuple[float, ...]
    T: Array
    file: Path | None = None
    finger: bool = False


def load_shapes(robot: Robot) -> list[Shape]:
    """Return the collision shapes of an arm; a link without any has those that are drawn.

    All joints but those of the arm are fixed. The fingers are present twice, open and closed.

    Raises:
        ValueError: a mesh file does not exist or has an unknown format.
    """
    tree = load_urdf(robot.urdf)
    shapes = []
    for name, element in tree.links.items():
        for T, joint, finger in _placements(tree, name, robot):
            for shape in element.findall("collision") or element.findall("visual"):
                kind, size, file = shape_geometry(shape, name, robot.urdf)
                pose = T @ shape_origin(shape)
                shapes.append(Shape(name, joint, kind, size, pose, file, finger))
    return shapes


def build_spec(robot: Robot, shapes: list[Shape], obstacles: Obstacles) -> mujoco.MjSpec:
    """Return a MuJoCo specification with one body per arm joint, without contact pairs.

    The geometry of shape i has the name "i", that of an obstacle another: `obstacle_name`. The
    bodies have the names of the joints, and are in their order.

    Args:
        robot: the arm.
        shapes: shapes of its links.
        obstacles: table and boxes.
    """
    tree, spec = load_urdf(robot.urdf), mujoco.MjSpec()
    bodies: dict[str | None, mujoco.MjsBody] = {None: spec.worldbody}
    for i, name in enumerate(robot.joint_names):
        joint = tree.joints[name]
        parent, T = tree.moving_ancestor(joint.parent, robot.joint_names)
        pos, quat = _position_quaternion(T @ joint.T)
        body = bodies[parent].add_body(name=name, pos=pos, quat=quat)
        body.mass, body.inertia, body.explicitinertial = 1.0, [1.0, 1.0, 1.0], True
        slides = joint.type == "prismatic"
        kind = mujoco.mjtJoint.mjJNT_SLIDE if slides else mujoco.mjtJoint.mjJNT_HINGE
        limits = [float(robot.lower[i]), float(robot.upper[i])]
        body.add_joint(name=name, type=kind, axis=joint.axis, range=limits)
        bodies[name] = body
    for i, shape in enumerate(shapes):
        pos, quat = _position_quaternion(shape.T)
        geometry = {"name": str(i), "pos": pos, "quat": quat, "contype": 0, "conaffinity": 0}
        if shape.file is not None:
            mesh = add_mesh(spec, str(i), shape.file, tuple(shape.size))
            bodies[shape.joint].add_geom(**geometry, type=MESH, meshname=mesh.name, mass=0.0)
        elif shape.type == mujoco.mjtGeom.mjGEOM_BOX:
            _add_box(spec, bodies[shape.joint], shape.size, geometry)
        else:
            bodies[shape.joint].add_geom(**geometry, type=shape.type, size=shape.size, mass=0.0)
    _add_obstacles(spec, obstacles)
    # several contacts of one pair are of no use here, and their distances are less accurate
    spec.option.disableflags = mujoco.mjtDisableBit.mjDSBL_MULTICCD
    spec.option.ccd_tolerance = DISTANCE_TOLERANCE
    return spec


def compile_spec(spec: mujoco.MjSpec, robot: Robot) -> mujoco.MjModel:
    """Compile a specification of `build_spec`.

    Raises:
        ValueError: a mesh cannot be read, or the joints are not in the order of a tree.
    """
    try:
        model = spec.compile()
    except ValueError as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{robot.urdf}: the collision geometry is invalid: {reason}") from None
    names = tuple(model.joint(i).name for i in range(model.njnt))
    if names != robot.joint_names:
        raise ValueError(f"{robot.urdf} has joints {names}, not {robot.joint_names}")
    return model


def obstacle_name(geometry: str) -> str:
    """Return the name of the obstacle with a geometry of `build_spec`."""
    return geometry.removeprefix(_BOX)


def shape_points(model: mujoco.MjModel, geometry: int) -> Array:
    """Return points (k, 3) in the frame of a body whose convex hull contains a shape of it."""
    kind, size = model.geom_type[geometry], model.geom_size[geometry]
    if kind == MESH:
        mesh = model.geom_dataid[geometry]
        first = model.mesh_vertadr[mesh]
        points = model.mesh_vert[first : first + model.mesh_vertnum[mesh]].astype(float)
    elif kind == mujoco.mjtGeom.mjGEOM_CYLINDER:
        points = revolve(np.array([-size[1], size[1]]), size[:1])
    else:  # the cube around a sphere
        points = _CORNERS * size[0]
    R = quaternion_to_matrix(model.geom_quat[geometry])
    return points @ R.T + model.geom_pos[geometry]


def revolve(heights: Array, radii: Array, sides: int = 24) -> Array:
    """Return points (2 sides, 3) whose convex hull contains circles about the z axis.

    Args:
        heights: (k,) heights of the circles [m].
        radii: (k,) radii of the circles [m].
        sides: sides of the polygon around each circle.
    """
    angles = 2 * np.pi * np.arange(sides) / sides
    radius = radii.max() / np.cos(np.pi / sides)
    circle = radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)  # (sides, 2)
    ends = (heights.min(), heights.max())
    return np.vstack([np.column_stack([circle, np.full(sides, z)]) for z in ends])


def _add_box(
    spec: mujoco.MjSpec, body: mujoco.MjsBody, half: Sequence[float], geometry: dict[str, Any]
) -> None:
    """Add a box as a mesh, as MuJoCo's box-box contacts have no distance beyond contact.

    Args:
        spec: takes the mesh.
        body: takes the geometry.
        half: half of each edge [m].
        geometry: name and pose.
    """
    corners = _CORNERS * np.array(half)
    mesh = spec.add_mesh(name=geometry["name"], uservert=corners.ravel().tolist())
    mesh.inertia = mujoco.mjtMeshInertia.mjMESH_INERTIA_CONVEX
    body.add_geom(**geometry, type=MESH, meshname=mesh.name, mass=0.0)


def _add_obstacles(spec: mujoco.MjSpec, obstacles: Obstacles) -> None:
    inert, world = {"contype": 0, "conaffinity": 0}, spec.worldbody
    if obstacles.table:
        world.add_geom(name=TABLE, type=mujoco.mjtGeom.mjGEOM_PLANE, size=[0, 0, 1], **inert)
    for box in obstacles.boxes:
        T = np.eye(4)
        T[:3, :3] = rpy_to_matrix(box.rpy)
        T[:3, 3] = box.position
        pos, quat = _position_quaternion(T)
        half = [edge / 2 for edge in box.size]
        _add_box(spec, world, half, {"name": _BOX + box.name, "pos": pos, "quat": quat, **inert})


def _placements(tree: UrdfTree, link: str, robot: Robot) -> list[tuple[Array, str | None, bool]]:
    """Return each pose of a link in the frame of its arm joint, the joint, whether it is a finger.

    Args:
        tree: URDF of the arm.
        link: name of the link.
        robot: the arm.
    """
    gripper, moving = robot.gripper, robot.joint_names
    fingers = gripper.joint_names if gripper else ()
    placements = []
    for end in (0, 1):
        joint, T = tree.moving_ancestor(link, (*moving, *fingers))
        is_finger = False
        while joint in fingers and gripper is not None:
            finger, is_finger = tree.joints[joint], True
            motion = _joint_motion(finger, gripper.ends[fingers.index(joint)][end])
            joint, T_parent = tree.moving_ancestor(finger.parent, (*moving, *fingers))
            T = T_parent @ finger.T @ motion @ T
        placements.append((T, joint, is_finger))
    return placements if placements[0][2] else placements[:1]


def _joint_motion(joint: UrdfJoint, position: float) -> Array:
    """Return the pose (4, 4) of the frame of a joint at a position in that at zero."""
    T = np.eye(4)
    if joint.type == "prismatic":
        T[:3, 3] = position * joint.axis
    else:
        K = skew(joint.axis)  # (3, 3)
        T[:3, :3] += np.sin(position) * K + (1 - np.cos(position)) * K @ K
    return T


def shape_geometry(
    element: ET.Element, link: str, urdf: Path
) -> tuple[mujoco.mjtGeom, tuple[float, ...], Path | None]:
    """Return MuJoCo's type and size of a shape, and the mesh file if it is one.

    Args:
        element: <collision> or <visual>.
        link: name of its link.
        urdf: file that it is from.

    Raises:
        ValueError: no shape, an unknown one, or a mesh file that does not exist.
    """
    geometry = element.find("geometry")
    shape = geometry[0] if geometry is not None and len(geometry) else None
    if shape is None:
        raise ValueError(f"{urdf}: link '{link}' has a <{element.tag}> without a shape")
    if shape.tag == "box":
        size = tuple(float(edge) / 2 for edge in shape.get("size", "").split())
        return mujoco.mjtGeom.mjGEOM_BOX, size, None
    if shape.tag == "sphere":
        return mujoco.mjtGeom.mjGEOM_SPHERE, (float(shape.get("radius", "0")), 0, 0), None
    if shape.tag in ("cylinder", "capsule"):
        # the cylinder around a capsule is a little larger than the capsule
        radius, length = float(shape.get("radius", "0")), float(shape.get("length", "0"))
        half = length / 2 + (radius if shape.tag == "capsule" else 0.0)
        return mujoco.mjtGeom.mjGEOM_CYLINDER, (radius, half, 0), None
    if shape.tag == "mesh":
        scale = tuple(float(x) for x in shape.get("scale", "1 1 1").split())
        file = _mesh_file(shape.get("filename", ""), link, urdf)
        return mujoco.mjtGeom.mjGEOM_MESH, scale, file
    raise ValueError(f"{urdf}: link '{link}' has the unknown shape <{shape.tag}>")


def _mesh_file(name: str, link: str, urdf: Path) -> Path:
    """Return the file of a mesh: package://, file:// or relative to the URDF."""
    file = find_mesh(name, urdf)
    if file is None:
        raise ValueError(
            f"{urdf}: there is no file '{name}', the shape of link '{link}'; install and source "
            "its package, or copy it beside the URDF"
        )
    if file.suffix.lower() not in MESH_FORMATS:
        raise ValueError(
            f"{urdf}: the shape of link '{link}' is '{name}'; convert it to binary STL, to OBJ or "
            "to Collada"
        )
    return file


def shape_origin(element: ET.Element) -> Array:
    """Return the <origin> of a shape as a pose (4, 4)."""
    T, origin = np.eye(4), element.find("origin")
    if origin is not None:
        T[:3, 3] = [float(x) for x in origin.get("xyz", "0 0 0").split()]
        rpy = [float(x) for x in origin.get("rpy", "0 0 0").split()]
        T[:3, :3] = rpy_to_matrix(rpy)
    return T


def _position_quaternion(T: Array) -> tuple[list[float], list[float]]:
    """Return position and quaternion (w, x, y, z) of a pose (4, 4)."""
    return T[:3, 3].tolist(), matrix_to_quaternion(T[:3, :3]).tolist()
