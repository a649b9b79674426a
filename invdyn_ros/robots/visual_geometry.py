"""Visual geometry of an arm: the triangles of its URDF's shapes, and the frames that move them."""

from __future__ import annotations

import warnings
import xml.etree.ElementTree as ET
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import mujoco
import numpy as np

from invdyn_ros.robots.collision_geometry import shape_geometry, shape_origin
from invdyn_ros.robots.mesh_files import add_mesh
from invdyn_ros.robots.robot import Robot
from invdyn_ros.robots.rotation import quaternion_to_matrix
from invdyn_ros.robots.urdf import UrdfTree, load_urdf
from invdyn_ros.typing import Array

GREY = (0.7, 0.71, 0.73)  # of a shape without a colour
SIDES = 32  # of the polygon of a cylinder or sphere
BASE = -1  # index of the frame that does not move


class JointFrame(NamedTuple):
    """A frame that a joint moves.

    Attributes:
        joint: name of the joint.
        parent: index of the frame that it is attached to; BASE for the base.
        T: (4, 4) pose in the parent frame at zero.
        axis: (3,) unit vector in the frame.
        slides: whether the joint moves along its axis; else it turns about it.
    """

    joint: str
    parent: int
    T: Array
    axis: Array
    slides: bool


class Surface(NamedTuple):
    """Triangles of one colour that move with one frame.

    Attributes:
        frame: index of the frame, BASE for what does not move.
        color: red, green and blue, 0 to 1.
        points: (k, 3, 3) corners of the triangles, counterclockwise from outside [m].
        normals: (k, 3, 3) unit normals at the corners.
    """

    frame: int
    color: tuple[float, float, float]
    points: Array
    normals: Array


def joint_frames(robot: Robot) -> list[JointFrame]:
    """Return the frames of an arm's joints, then those of its fingers."""
    tree, names = load_urdf(robot.urdf), _moving(robot)
    frames = []
    for name in names:
        joint = tree.joints[name]
        parent, T = tree.moving_ancestor(joint.parent, names)
        index = BASE if parent is None else names.index(parent)
        slides = joint.type == "prismatic"
        frames.append(JointFrame(name, index, T @ joint.T, joint.axis, slides))
    return frames


def load_surfaces(robot: Robot) -> list[Surface]:
    """Return the surfaces of an arm: its drawn shapes, or else its collision shapes.

    Raises:
        ValueError: a mesh file does not exist or cannot be read.
    """
    tree, names = load_urdf(robot.urdf), _moving(robot)
    parts: dict[tuple[int, tuple[float, float, float]], list[tuple[Array, Array]]]
    parts = defaultdict(list)
    for link, element in tree.links.items():
        joint, T = tree.moving_ancestor(link, names)
        frame = BASE if joint is None else names.index(joint)
        for shape, triangles in _link_triangles(element, link, robot.urdf):
            pose = T @ shape_origin(shape)
            points = triangles[0] @ pose[:3, :3].T + pose[:3, 3]
            parts[frame, _color(shape, tree)].append((points, triangles[1] @ pose[:3, :3].T))
    return [
        Surface(frame, color, *(np.concatenate(arrays) for arrays in zip(*part, strict=True)))
        for (frame, color), part in parts.items()
    ]


def link_corners(robot: Robot) -> dict[str, Array]:
    """Return corners (8 m, 3) [m] of boxes around the surfaces that move with a link, by link.

    Fingers are left out.
    """
    tree, corners = load_urdf(robot.urdf), defaultdict(list)
    for surface in load_surfaces(robot):
        if surface.frame < robot.n:
            joint = robot.joint_names[surface.frame]
            link = tree.root if surface.frame == BASE else tree.joints[joint].child
            points = surface.points.reshape(-1, 3)
            ends = np.array([points.min(axis=0), points.max(axis=0)])
            corners[link].append(np.stack(np.meshgrid(*ends.T), axis=-1).reshape(-1, 3))
    return {link: np.concatenate(boxes) for link, boxes in corners.items()}


def _moving(robot: Robot) -> tuple[str, ...]:
    return (*robot.joint_names, *(robot.gripper.joint_names if robot.gripper else ()))


def _link_triangles(
    element: ET.Element, link: str, urdf: Path
) -> list[tuple[ET.Element, tuple[Array, Array]]]:
    """Return the shapes of a link with their triangles, (k, 3, 3) points and normals each."""
    drawn, solid = element.findall("visual"), element.findall("collision")
    try:
        return [(shape, _triangles(shape, link, urdf)) for shape in drawn or solid]
    except ValueError:  # a mesh that is absent, or of another format
        if not (drawn and solid):
            raise
        return [(shape, _triangles(shape, link, urdf)) for shape in solid]


def _triangles(shape: ET.Element, link: str, urdf: Path) -> tuple[Array, Array]:
    """Return points and normals (k, 3, 3) of a <visual> or <collision> in its own frame."""
    kind, size, file = shape_geometry(shape, link, urdf)
    if file is not None:
        return _mesh(file, size)
    if kind == mujoco.mjtGeom.mjGEOM_BOX:
        return _box(np.array(size))
    if kind == mujoco.mjtGeom.mjGEOM_SPHERE:
        angles = np.linspace(-np.pi / 2, np.pi / 2, SIDES // 2 + 1)
        profile = np.stack([np.cos(angles), np.sin(angles)], axis=1)
        return _revolve(size[0] * profile, profile)
    radius, half = size[0], size[1]
    profile = np.array([[0, -1], [1, -1], [1, -1], [1, 1], [1, 1], [0, 1.0]]) * (radius, half)
    normals = np.array([[0, -1], [0, -1], [1, 0], [1, 0], [0, 1], [0, 1.0]])
    return _revolve(profile, normals)


def _mesh(file: Path, scale: tuple[float, ...]) -> tuple[Array, Array]:
    spec = mujoco.MjSpec()
    add_mesh(spec, "mesh", file, scale)
    spec.worldbody.add_geom(type=mujoco.mjtGeom.mjGEOM_MESH, meshname="mesh")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of textures, which are not drawn
            model = spec.compile()
    except ValueError as error:
        raise ValueError(f"{file} is not a mesh: {' '.join(str(error).split())}") from None
    # MuJoCo moves a mesh to its centre of mass and its principal axes
    R = quaternion_to_matrix(model.geom_quat[0])
    points = model.mesh_vert[model.mesh_face].astype(float) @ R.T + model.geom_pos[0]
    return points, model.mesh_normal[model.mesh_facenormal].astype(float) @ R.T


def _box(half: Array) -> tuple[Array, Array]:
    points, normals = [], []
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, -1], [1, 1], [-1, 1.0]])
    for axis in range(3):
        for sign in (-1.0, 1.0):
            face = np.full((6, 3), sign)
            face[:, [(axis + 1) % 3, (axis + 2) % 3]] = corners[:: int(sign)]
            points.append(face.reshape(2, 3, 3))
            normals.append(np.broadcast_to(sign * np.eye(3)[axis], (2, 3, 3)))
    return np.concatenate(points) * half, np.concatenate(normals)


def _revolve(profile: Array, normals: Array) -> tuple[Array, Array]:
    """Return the triangles of a surface of revolution about the z axis.

    Args:
        profile: (m, 2) radius and height of its points, from below [m].
        normals: (m, 2) outer normal in the plane of the profile at each point.
    """
    angles = np.linspace(0, 2 * np.pi, SIDES + 1)
    around = np.stack([np.cos(angles), np.sin(angles)], axis=1)  # (sides + 1, 2)
    results = []
    for rows in (profile, normals):
        radial = rows[:, None, :1] * around  # (m, sides + 1, 2)
        height = np.broadcast_to(rows[:, None, 1:], (*radial.shape[:2], 1))
        grid = np.concatenate([radial, height], axis=2)
        a, b, c, d = grid[:-1, :-1], grid[:-1, 1:], grid[1:, 1:], grid[1:, :-1]
        triangles = np.stack([np.stack([a, b, c], axis=2), np.stack([a, c, d], axis=2)])
        results.append(triangles.reshape(-1, 3, 3))
    points, directions = results
    area = np.linalg.norm(
        np.cross(points[:, 1] - points[:, 0], points[:, 2] - points[:, 0]), axis=1
    )
    return points[area > 0], directions[area > 0]


def _color(shape: ET.Element, tree: UrdfTree) -> tuple[float, float, float]:
    material = shape.find("material")
    if material is None:
        return GREY
    color = material.find("color")
    if color is None:  # a reference to a material of the arm
        named = (
            m for m in tree.element.findall("material") if m.get("name") == material.get("name")
        )
        color = next((m.find("color") for m in named), None)
    words = (color.get("rgba", "") if color is not None else "").split()
    try:
        red, green, blue = (min(max(float(word), 0.0), 1.0) for word in words[:3])
    except ValueError:
        return GREY
    return red, green, blue
