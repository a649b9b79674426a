"""Extras of the installation, by the modules that they bring."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from importlib.util import find_spec

EXTRAS = {
    "benchmark": "selenium torchdiffeq",
    "cluster": "distributed",
    "dofbot": "smbus2",
    "ros": "ament_index_python builtin_interfaces diagnostic_msgs geometry_msgs "
    "lifecycle_msgs rcl_interfaces rclpy rosgraph_msgs sensor_msgs std_msgs std_srvs "
    "trajectory_msgs visualization_msgs",
    "sim": "gymnasium imageio pybullet pybullet_data pybullet_utils sb3_contrib stable_baselines3",
    "view": "aiohttp",
}
"""Extra -> modules that are imported from it; its packages are in `requirements/EXTRA.txt`."""

MODULE_OF_ALL_NODES = "rclpy"
NODE_MODULES = {
    "dofbot": ("smbus2",),
    "scene_camera": ("pybullet",),
    "simulator": ("pybullet",),
    "view": ("aiohttp",),
}
"""Executable of a node -> modules of extras that it needs, too."""


def missing_module(error: ImportError) -> str | None:
    """Return the line for a module that is not installed, with its remedy.

    None means that the error is another one: the module is ours or Python's, or is broken.
    """
    name = (error.name or "").partition(".")[0]
    if not isinstance(error, ModuleNotFoundError) or not _is_foreign(name) or find_spec(name):
        return None
    extra = next((extra for extra, modules in EXTRAS.items() if name in modules.split()), None)
    if extra is None:
        remedy = "pip install -c constraints.txt -r requirements/base.txt in the source folder"
        return f"the Python module {name} is not installed: {remedy}"
    ros = "source the setup.bash of ROS, or " if extra == "ros" else ""
    return (
        f"the Python module {name} of the extra '{extra}' is not installed: {ros}"
        f"pip install 'invdyn_ros[{extra}]', or -r requirements/{extra}.txt in the source folder"
    )


def check_modules(executables: Iterable[str]) -> None:
    """Check that the extras which nodes need are installed.

    Raises:
        ModuleNotFoundError: a module of an extra is not installed.
    """
    for executable in executables:
        for name in (MODULE_OF_ALL_NODES, *NODE_MODULES.get(executable, ())):
            if find_spec(name) is None:
                raise ModuleNotFoundError(f"No module named '{name}'", name=name)


def _is_foreign(module: str) -> bool:
    return module not in ("", "invdyn_ros") and module not in sys.stdlib_module_names
