"""Interface of a source of trajectories, and shared functions of sources."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from invdyn_ros.data.trajectory import Trajectory
from invdyn_ros.robots.robot import ROBOTS, Robot, load_robot
from invdyn_ros.robots.urdf_text import urdf_name
from invdyn_ros.sources.import_result import ImportResult
from invdyn_ros.training.dataset_arm import ARM_KEY, arm_of

DEFAULT_ARM = "ur5"
SIMULATED = "sim"  # name of the recording of all simulated motion


class Collection(NamedTuple):
    """Trajectories of one robot, ready to be written as a dataset."""

    result: ImportResult
    robot: str
    rate: float | None = None
    """[Hz] None: that of the first trajectory."""
    metadata: Mapping[str, Any] = {}
    """Further keys of the dataset's info.json."""
    notes: tuple[str, ...] = ()
    """Lines for the user."""
    urdf: Path | None = None
    """URDF file that the user gave."""

    def arm(self) -> Robot | None:
        """Return the arm, None if nobody knows it."""
        kept = self.metadata.get(ARM_KEY)
        return arm_of(self.robot, kept, self.robot if self.urdf else None, self.urdf)


class Source(ABC):
    """A source of trajectories.

    A subclass is a frozen dataclass. Its docstring is the help of `invdyn collect NAME` and its
    fields are the options; fields named `path` or `paths` are positional arguments.
    """

    @abstractmethod
    def collect(self) -> Collection:
        """Return the trajectories.

        Raises:
            ValueError: nothing to read, or a wrong option.
        """


def collect_episodes(episodes: Iterable[Trajectory], count: int, robot: str) -> Collection:
    """Collect simulated episodes, with a progress bar.

    Args:
        episodes: one trajectory each, all at the same rate.
        count: number of episodes.
        robot: name of the robot.
    """
    bar = tqdm(episodes, total=count, unit="episode", desc="simulating", file=sys.stderr)
    trajectories = list(bar)
    result = ImportResult(trajectories, sum(map(len, trajectories)), {}).named(SIMULATED)
    return Collection(result, robot, trajectories[0].rate)


def arm_name(arm: str | None, urdf: Path | None, default: str) -> str:
    """Return the name of an arm.

    Args:
        arm: name given by the user.
        urdf: URDF file given by the user, whose stem names the arm if `arm` does not.
        default: name if neither is given.
    """
    return arm or (urdf_name(urdf) if urdf else default)


def resolve_joint_names(
    robot: str, urdf: Path | None, joint_names: tuple[str, ...]
) -> tuple[str, ...]:
    """Return the joint names of an arm, or the given ones of a robot without a URDF.

    Args:
        robot: name of the robot.
        urdf: URDF file of an arm that is not known by name.
        joint_names: names given by the user; empty: none.

    Raises:
        ValueError: the arm has other joints than the given ones.
    """
    if urdf is None and robot not in ROBOTS:
        return joint_names
    known = load_robot(robot, urdf).joint_names
    if joint_names and joint_names != known:
        raise ValueError(f"joints are {', '.join(joint_names)}; '{robot}' has {', '.join(known)}")
    return known
