import re
import sys
from pathlib import Path

from setuptools import find_packages, setup

NAME = "invdyn_ros"
HERE = Path(__file__).parent
NODES = (
    "block_pose",
    "blocks",
    "camera",
    "composed",
    "dofbot",
    "grasp",
    "gripper",
    "inverse_dynamics",
    "inverse_dynamics_solver",
    "motion_player",
    "pose",
    "push",
    "report",
    "retarget",
    "robot_state",
    "scene_camera",
    "simulator",
    "view",
)
VERBS = (
    *("benchmark", "calibrate", "collect", "compare", "convert", "evaluate", "export"),
    *("label", "launch", "train", "train_grasp", "train_planner", "train_block_pose", "visualize"),
    *("engage", "stop", "install_models", "print_board", "print_block", "excite", "identify"),
    *("check_urdf", "ping", "jog"),
)


def version() -> str:
    """Read the version without importing the package, whose dependencies may not be there yet."""
    text = (HERE / NAME / "__init__.py").read_text(encoding="utf-8")
    return re.findall(r'^__version__ = "(.+)"$', text, re.MULTILINE)[0]


def shared(folder: str) -> list[tuple[str, list[str]]]:
    """Install the files of a folder and of its subfolders in the package's share directory."""
    files = [f.relative_to(HERE) for f in sorted((HERE / folder).rglob("*")) if f.is_file()]
    files = [f for f in files if "__pycache__" not in f.parts]
    return [
        (f"share/{NAME}/{parent}", [str(f) for f in files if f.parent == parent])
        for parent in sorted({f.parent for f in files})
    ]


def requirements(part: str) -> list[str]:
    """Read the requirements of an extra, or of every installation ("base")."""
    text = (HERE / "requirements" / f"{part}.txt").read_text(encoding="utf-8")
    lines = (line.split("#")[0].strip() for line in text.splitlines())
    return [line for line in lines if line]


def executables() -> list[str]:
    """Return the entry points: all for `ros2 run`; with pip one, since others shadow programs.

    Among them are `view`, `convert` and `stop`. Only colcon runs `install` or `develop`.
    """
    entries = [f"invdyn = {NAME}.cli:main"]
    if {"install", "develop"} & set(sys.argv):
        entries += [f"{verb} = {NAME}.cli:verb_main" for verb in VERBS]
        entries += [f"{node} = {NAME}.cli:node_main" for node in NODES]
    return entries


setup(
    name=NAME,
    version=version(),
    description="Learned inverse dynamics for robot arms: teleoperation and grasping",
    license="Apache-2.0",
    maintainer="invdyn_ros maintainers",
    maintainer_email="invdyn-ros@users.noreply.github.com",
    packages=find_packages(include=[NAME, f"{NAME}.*"]),
    package_data={
        f"{NAME}.evaluation.pages": ["assets/*"],
        f"{NAME}.models.exports": ["*.in"],
    },
    python_requires=">=3.10",
    install_requires=requirements("base"),
    extras_require={
        file.stem: requirements(file.stem)
        for file in sorted((HERE / "requirements").glob("*.txt"))
        if file.stem != "base"
    },
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml"]),
        *shared("launch"),
        *shared("config"),
        *shared("urdf"),
    ],
    zip_safe=False,
    entry_points={"console_scripts": executables()},
)
