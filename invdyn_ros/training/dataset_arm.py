"""The arm of a dataset: its URDF is kept beside the data, so that no command needs it again."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from invdyn_ros.data.cache import cached_file
from invdyn_ros.data.dataset import read_info
from invdyn_ros.data.lerobot_format import INFO
from invdyn_ros.robots.registry import SHIPPED
from invdyn_ros.robots.robot import ROBOTS, Robot, load_robot
from invdyn_ros.robots.urdf_text import read_urdf_text, urdf_name

ARM_KEY = "arm"  # in info.json
KEYS = ("file", "sha256", "urdf")


def arm_metadata(robot: str, urdf: Path | None) -> dict[str, Any]:
    """Return what a dataset keeps of an arm that is not one of this package, for info.json.

    Args:
        robot: name of the arm.
        urdf: URDF file that the user gave, if any.

    Raises:
        ValueError: the URDF is invalid.
    """
    if robot in ROBOTS and urdf is not None and urdf.samefile(load_robot(robot).urdf):
        urdf = None
    if urdf is None and (robot not in ROBOTS or ROBOTS[robot] == SHIPPED.get(robot)):
        return {}
    arm = load_robot(robot, urdf)
    file, text = str(arm.urdf.absolute()), read_urdf_text(arm.urdf)
    values = (file, _sha256(text), arm.rigid_body_urdf())
    return {ARM_KEY: dict(zip(KEYS, values, strict=True))}


def kept_arm(directory: str | Path) -> dict[str, str] | None:
    """Return what a dataset keeps of its arm: file, sha256 and URDF; None if nothing.

    Raises:
        ValueError: not a dataset, or these values are damaged.
    """
    values = read_info(Path(directory) / INFO).get(ARM_KEY)
    if values is None:
        return None
    if not (isinstance(values, dict) and all(isinstance(values.get(k), str) for k in KEYS)):
        raise ValueError(
            f"{Path(directory) / INFO}: '{ARM_KEY}' lacks one of {', '.join(KEYS)}; collect the "
            "dataset again, or give --urdf FILE"
        )
    return values


def common_arm(directories: Sequence[Path], name: str) -> dict[str, str] | None:
    """Return what several datasets of one arm keep of it; None if nothing.

    Args:
        directories: dataset folders.
        name: of the arm in all of them.

    Raises:
        ValueError: their URDFs differ.
    """
    arms = {directory: kept_arm(directory) for directory in directories}
    kept = {directory: arm for directory, arm in arms.items() if arm is not None}
    if not kept:
        return None
    (first, arm), *others = kept.items()
    different = [directory for directory, other in others if other["urdf"] != arm["urdf"]]
    if name in SHIPPED:  # of which those that keep nothing have the URDF of this package
        different += [directory for directory, other in arms.items() if other is None]
    if different:
        raise ValueError(
            f"{first} and {different[0]} were collected with different URDFs of '{name}'; collect "
            "them separately, or give the --urdf that is right for both"
        )
    return arm


def arm_of(
    name: str, kept: Mapping[str, str] | None, arm: str | None = None, urdf: Path | None = None
) -> Robot | None:
    """Return what the user gives, else the arm that was kept, else that of the name.

    Args:
        name: of the arm in the dataset.
        kept: what the dataset keeps of it.
        arm: name or FILE.yaml of the arm that the user gives.
        urdf: URDF file that the user gives.

    Returns:
        The arm; None if nobody knows it.

    Raises:
        ValueError: the arm that the user gives is unknown, or a URDF is invalid.
    """
    if arm or urdf:
        return load_robot(arm or (urdf_name(urdf) if urdf else ""), urdf)
    if kept is not None:
        return load_robot(name, cached_file(f"{name}.urdf", kept["urdf"]))
    return load_robot(name) if name in ROBOTS else None


def dataset_robot(
    directory: str | Path, name: str, arm: str | None = None, urdf: Path | None = None
) -> Robot | None:
    """Return the arm of a dataset folder as `arm_of`.

    Args:
        directory: dataset folder.
        name: of the arm in the dataset.
        arm: name or FILE.yaml of the arm that the user gives.
        urdf: URDF file that the user gives.
    """
    return arm_of(name, None if arm or urdf else kept_arm(directory), arm, urdf)


def known_robot(
    directory: str | Path, name: str, arm: str | None = None, urdf: Path | None = None
) -> Robot:
    """Return the arm of a dataset folder as `arm_of`.

    Args:
        directory: dataset folder.
        name: of the arm in the dataset.
        arm: name or FILE.yaml of the arm that the user gives.
        urdf: URDF file that the user gives.

    Raises:
        ValueError: also where nobody knows it.
    """
    robot = dataset_robot(directory, name, arm, urdf)
    return load_robot(name) if robot is None else robot  # raises


def urdf_warning(directory: str | Path, urdf: Path | None = None) -> str:
    """Return in what the URDF in use differs from that which the data were collected with.

    Args:
        directory: dataset folder.
        urdf: URDF file that the user gives; None: what the dataset keeps is used.

    Returns:
        One line; empty if there is no difference.
    """
    kept = kept_arm(directory)
    if kept is None:
        return ""
    file = Path(kept["file"])
    present = urdf or file
    if not present.is_file():
        return f"{file} is no longer there; its copy in {directory} is used"
    if _sha256(read_urdf_text(present)) == kept["sha256"]:
        return ""
    if urdf is None:
        return (
            f"{file} has changed since {directory} was collected; its copy there is used; "
            f"--urdf {file} takes the new one"
        )
    return f"{urdf} is not as the URDF that {directory} was collected with; that was {file}"


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
