"""Mesh files of a URDF: where they are, which may be read, and how."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from invdyn_ros.robots.collada import read_collada, stl_content
from invdyn_ros.typing import Array

if TYPE_CHECKING:
    import mujoco

COLLADA = ".dae"
MESH_FORMATS = (".stl", ".obj", COLLADA)


def find_mesh(name: str, urdf: Path) -> Path | None:
    """Return the file of a mesh, None if there is none.

    Args:
        name: of the file: package://, file:// or relative to the URDF.
        urdf: file that names it.
    """
    path = name.removeprefix("file://")
    folders = [urdf.resolve().parent]  # also of packages, as in the files of pybullet_data
    if path.startswith("package://"):
        path = path.removeprefix("package://")
        package = path.partition("/")[0]
        prefixes = [p for p in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if p]
        packages = [f.parent for f in urdf.resolve().parents if f.name == package]
        folders = [*(Path(prefix) / "share" for prefix in prefixes), *packages, *folders]
    return next((folder / path for folder in folders if (folder / path).is_file()), None)


def check_mesh_path(name: str, urdf: Path) -> None:
    """Check that a mesh lies in the folder of the URDF or in a ROS package.

    Raises:
        ValueError: it does not.
    """
    scheme, _, rest = name.rpartition("://")
    if scheme == "package" and ".." not in Path(rest).parts:
        return
    if scheme in ("", "file"):
        folder = Path(os.path.realpath(urdf)).parent
        path = Path(os.path.realpath(folder / rest))
        if folder in path.parents or any((p / "package.xml").is_file() for p in path.parents):
            return
    raise ValueError(
        f"{urdf}: mesh '{name[:80]}' is outside the folder of the URDF and in no ROS package; "
        "copy it beside the URDF"
    )


def add_mesh(
    spec: mujoco.MjSpec, name: str, file: Path, scale: tuple[float, ...]
) -> mujoco.MjsMesh:
    """Add the mesh of a file to a MuJoCo specification.

    Args:
        spec: takes the mesh.
        name: of the mesh.
        file: STL, OBJ or Collada file.
        scale: (3,) factors of the axes.

    Raises:
        ValueError: a Collada file that cannot be read.
    """
    import mujoco  # slow to import

    if file.suffix.lower() == COLLADA:
        points = _collada(file).reshape(-1, 3) * scale
        vertices, faces = np.unique(points, axis=0, return_inverse=True)
        mesh = spec.add_mesh(
            name=name, uservert=vertices.ravel().tolist(), userface=faces.ravel().tolist()
        )
    else:
        mesh = spec.add_mesh(name=name, file=str(file), scale=scale)
    mesh.inertia = mujoco.mjtMeshInertia.mjMESH_INERTIA_CONVEX
    return mesh


def bullet_mesh(file: Path, folder: Path) -> Path:
    """Return a mesh file for PyBullet, which would turn a Collada file by its up axis.

    Args:
        file: STL, OBJ or Collada file.
        folder: gets a file that is converted.
    """
    if file.suffix.lower() != COLLADA:
        return file
    converted = folder / f"{len(list(folder.iterdir()))}_{file.stem}.stl"
    converted.write_bytes(stl_content(_collada(file)))
    return converted


@lru_cache(maxsize=64)
def _collada(file: Path) -> Array:
    return read_collada(file)
