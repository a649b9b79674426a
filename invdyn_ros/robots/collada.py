"""Triangles of Collada files (.dae), in which many packages of arms keep their meshes.

Lengths are in metres, as the unit of a file says. Its up axis is ignored, as RViz and MoveIt do:
meshes of a URDF are in the frame of their link.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np

from invdyn_ros.config import describe_error
from invdyn_ros.robots.urdf_text import decode, parse_xml
from invdyn_ros.typing import Array

FANS = ("triangles", "polylist", "polygons")  # elements whose polygons are read
OTHERS = ("tristrips", "trifans")
MAX_DEPTH = 30  # of nodes, which may contain each other


def read_collada(file: Path) -> Array:
    """Return the triangles (k, 3, 3) [m] of all meshes in the scene of a Collada file.

    Raises:
        ValueError: it is none, is damaged, or has no triangles.
    """
    try:
        triangles = _triangles(file)
    except (ValueError, IndexError, KeyError) as error:  # of damaged content
        raise ValueError(
            f"{file}: not a readable Collada file ({describe_error(error)}); export it again, or "
            "convert it to STL or OBJ"
        ) from None
    return triangles


def stl_content(triangles: Array) -> bytes:
    """Return triangles (k, 3, 3) [m] as the content of a binary STL file."""
    edges = triangles[:, 1:] - triangles[:, :1]
    normals = np.cross(edges[:, 0], edges[:, 1])
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    rows = np.zeros(len(triangles), [("values", "<f4", 12), ("attribute", "<u2")])
    rows["values"][:, :3] = normals / np.where(length > 0, length, 1.0)
    rows["values"][:, 3:] = triangles.reshape(-1, 9)
    return bytes(80) + np.uint32(len(rows)).tobytes() + rows.tobytes()


def _triangles(file: Path) -> Array:
    root = parse_xml(decode(file.read_bytes(), file.name), file.name)
    for element in root.iter():  # all of them are in the namespace of Collada
        element.tag = element.tag.rpartition("}")[2]
    if root.tag != "COLLADA":
        raise ValueError(f"it starts <{root.tag[:40]}>, not <COLLADA>")
    scenes = root.findall("library_visual_scenes/visual_scene")
    if not scenes:
        raise ValueError("it has no <visual_scene>")
    by_id = {element.get("id", ""): element for element in root.iter() if element.get("id")}
    parts = [part for node in scenes[0].findall("node") for part in _node(node, by_id, 0)]
    triangles = np.concatenate([*parts, np.empty((0, 3, 3))])
    if not len(triangles) or not np.isfinite(triangles).all():
        raise ValueError("it has no triangles, or some without a finite position")
    unit = root.find("asset/unit")
    return triangles * float(unit.get("meter", "1") if unit is not None else "1")


def _node(node: ET.Element, by_id: dict[str, ET.Element], depth: int) -> list[Array]:
    """Return the triangles (k, 3, 3) of a node and those in it, in the frame of its parent."""
    if depth > MAX_DEPTH:
        raise ValueError(f"nodes are nested more than {MAX_DEPTH} deep")
    parts: list[Array] = []
    for child in node:
        if child.tag == "node":
            parts += _node(child, by_id, depth + 1)
        elif child.tag == "instance_node":
            parts += _node(_target(child, "url", by_id), by_id, depth + 1)
        elif child.tag == "instance_geometry":
            mesh = _target(child, "url", by_id).find("mesh")
            parts += [] if mesh is None else _mesh(mesh, by_id)
    T = _transform(node)
    return [part @ T[:3, :3].T + T[:3, 3] for part in parts]


def _transform(node: ET.Element) -> Array:
    """Return the pose (4, 4) of a node, with scale, in the frame of its parent."""
    T = np.eye(4)
    for child in node:
        if child.tag == "matrix":
            T = T @ _floats(child).reshape(4, 4)
        elif child.tag in ("translate", "rotate", "scale"):
            step, values = np.eye(4), _floats(child)
            if child.tag == "translate":
                step[:3, 3] = values
            elif child.tag == "scale":
                step[:3, :3] = np.diag(values)
            else:
                step[:3, :3] = _rotation(values[:3], np.radians(values[3]))
            T = T @ step
        elif child.tag in ("lookat", "skew"):
            raise ValueError(f"a node has a <{child.tag}>, which is not read")
    return T


def _rotation(axis: Array, angle: float) -> Array:
    """Return the rotation (3, 3) by an angle [rad] about an axis (3,)."""
    x, y, z = axis / (np.linalg.norm(axis) or 1.0)
    K = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * K + (1 - np.cos(angle)) * K @ K


def _mesh(mesh: ET.Element, by_id: dict[str, ET.Element]) -> list[Array]:
    """Return the triangles (k, 3, 3) of each part of a <mesh>."""
    parts = []
    for element in mesh:
        if element.tag in OTHERS:
            raise ValueError(f"a mesh has <{element.tag}>, which are not read")
        if element.tag in FANS:
            inputs = element.findall("input")
            offsets = [int(entry.get("offset", "0")) for entry in inputs]
            vertex = [entry.get("semantic") for entry in inputs].index("VERTEX")
            stride, offset = max(offsets) + 1, offsets[vertex]
            points = _positions(_target(inputs[vertex], "source", by_id), by_id)
            corners = [_integers(p).reshape(-1, stride)[:, offset] for p in element.findall("p")]
            parts.append(points[_fans(element, corners)])
    return parts


def _fans(element: ET.Element, corners: list[Array]) -> Array:
    """Return the indices (k, 3) of the triangles of polygons, each a fan about its first corner.

    Args:
        element: <triangles>, <polylist> or <polygons>.
        corners: indices of the points in each of its <p>.
    """
    indices = np.concatenate([*corners, np.empty(0, int)])
    if element.tag == "triangles":
        return indices.reshape(-1, 3)
    counts = np.array([len(part) for part in corners])
    if element.tag == "polylist":
        counts = _integers(element.find("vcount"))
    if counts.sum() != len(indices):
        raise ValueError(f"a <polylist> has {len(indices)} corners, its polygons {counts.sum()}")
    starts = np.cumsum(counts) - counts
    rows = [
        (start, start + k, start + k + 1)
        for start, count in zip(starts, counts, strict=True)
        for k in range(1, count - 1)
    ]
    return indices[np.array(rows, int).reshape(-1, 3)]


def _positions(vertices: ET.Element, by_id: dict[str, ET.Element]) -> Array:
    """Return the points (n, 3) of <vertices>."""
    for element in vertices.findall("input"):
        if element.get("semantic") == "POSITION":
            source = _target(element, "source", by_id)
            accessor = source.find("technique_common/accessor")
            stride = int(accessor.get("stride", "3")) if accessor is not None else 3
            values = source.find("float_array")
            return _floats(values).reshape(-1, stride)[:, :3]
    raise ValueError("a mesh has no positions")


def _target(element: ET.Element, key: str, by_id: dict[str, ET.Element]) -> ET.Element:
    """Return the element that another one refers to."""
    name = element.get(key, "").removeprefix("#")
    if name not in by_id:
        raise ValueError(f"<{element.tag}> refers to '{name[:40]}', which is not in the file")
    return by_id[name]


def _floats(element: ET.Element | None) -> Array:
    return np.array((element.text or "" if element is not None else "").split(), float)


def _integers(element: ET.Element | None) -> Array:
    return np.array((element.text or "" if element is not None else "").split(), int)
