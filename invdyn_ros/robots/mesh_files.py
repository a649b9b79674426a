"""Mesh files of a URDF: where they are, and which may be read."""

from __future__ import annotations

import os
from pathlib import Path

MESH_FORMATS = (".stl", ".obj")


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
