"""Data files of this package and of pybullet_data."""

from __future__ import annotations

import os
from pathlib import Path


def package_file(path: str) -> Path:
    """Return the path of a data file or folder of this package, in the source or install tree.

    The install tree is the one that this module is in, whatever pip's or colcon's prefix is.

    Raises:
        FileNotFoundError: it is in neither.
    """
    _, source, *above = Path(__file__).resolve().parents
    prefixes = [p for p in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if p]
    installed = [folder / "share" / "invdyn_ros" for folder in (*above, *map(Path, prefixes))]
    candidates = [source.parent, *(folder for folder in installed if folder.is_dir())]
    for folder in candidates:
        if (folder / path).exists():
            return folder / path
    raise FileNotFoundError(
        f"no '{path}' in {', '.join(map(str, candidates))}; install invdyn_ros again"
    )


def urdf_path(urdf: str) -> Path:
    """Return the path of a URDF of the table of arms."""
    package, _, rest = urdf.partition("/")
    if package != "pybullet_data":
        return package_file(urdf)
    import pybullet_data

    return Path(pybullet_data.getDataPath()) / rest
