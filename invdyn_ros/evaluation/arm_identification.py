"""Identification of an arm from nothing: excite, record, identify, validate.

The first part of the excitation is slow. After each part the parameters are identified from all
parts so far, and the arm is driven with them in the next part. It ends as soon as the intervals of
all base parameters are narrow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from invdyn_ros.control.joint_motion import JointMotion
from invdyn_ros.models.base_parameters import find_base_parameters
from invdyn_ros.models.drive_check import refusal
from invdyn_ros.models.identification_report import Z95
from invdyn_ros.models.inverse_dynamics import InverseDynamics
from invdyn_ros.robots.obstacles import Obstacles
from invdyn_ros.robots.robot import Robot
from invdyn_ros.sources.excitation.design import ExcitationDesign
from invdyn_ros.sources.excitation.motion_check import MotionCheck
from invdyn_ros.sources.excitation.optimal import FisherInformation
from invdyn_ros.sources.excitation.point_to_point import point_to_point
from invdyn_ros.sources.guarded_run import MotionRun
from invdyn_ros.sources.import_result import ImportResult
from invdyn_ros.sources.inspection.collected_dataset import write_collection
from invdyn_ros.sources.source import Collection
from invdyn_ros.training.run_config import parse_train_config
from invdyn_ros.training.train import train
from invdyn_ros.typing import Array

TEST_FRACTION = 0.1  # of each part, at its end
VALIDATION_SECONDS = 20.0  # [s] of the motion from point to point
TORQUE_SHARE = 0.01  # of the effort limit: a base parameter with less torque counts as this large
NUM_STATES = 500  # random states that tell the torque of a base parameter
RECORDING, VALIDATION, CHECKPOINT = "recording", "validation", "checkpoint"  # folders


RunT = TypeVar("RunT", bound=MotionRun)
RunT_co = TypeVar("RunT_co", bound=MotionRun, covariant=True)


class MotionArm(Protocol[RunT_co]):
    """An arm that follows motions, simulated or in a live graph."""

    def run(self, motion: JointMotion, checkpoint: Path | None) -> RunT_co:
        """Move to the start of a motion, follow it, and return the recording of the motion.

        Args:
            motion: the motion.
            checkpoint: folder of the model that drives the arm; None: none is identified yet.

        Raises:
            ValueError: the arm stopped.
        """
        ...


@dataclass(frozen=True, eq=False)
class IdentifiedArm(Generic[RunT]):
    """Result of an identification.

    Attributes:
        model: the identified model.
        runs: one for each part of the excitation that was driven.
        validation: run of a motion from point to point, driven with the model.
        width: largest relative width of the intervals; None: the actions are no torques.
        lines: what the recording holds, and what contradicts itself in it.
    """

    model: InverseDynamics
    runs: list[RunT]
    validation: RunT
    width: float | None
    lines: list[str]

    @property
    def all_runs(self) -> list[RunT]:
        """All runs, that of the validation last."""
        return [*self.runs, self.validation]


def identify_arm(
    robot: Robot,
    arm: MotionArm[RunT],
    motion: JointMotion,
    validation: JointMotion,
    folder: Path,
    largest_width: float,
    on_part: Callable[[float, float | None], None] = lambda seconds, width: None,
) -> IdentifiedArm[RunT]:
    """Drive an arm, identify it and validate the model; write data and checkpoint.

    Args:
        robot: the arm.
        arm: follows the motions.
        motion: excitation.
        validation: motion of another kind.
        folder: gets the folders RECORDING, VALIDATION and CHECKPOINT.
        largest_width: relative width of the intervals at which the excitation ends.
        on_part: called after each part with its duration [s] and the width.

    Raises:
        ValueError: the safety limits stopped the arm.
    """
    widths = IntervalWidths(robot)
    runs: list[RunT] = []
    checkpoint, width = None, None
    lines: list[str] = []
    for number in range(motion.num_parts):
        part = motion.part(number)
        runs.append(arm.run(part, checkpoint))
        lines = write_collection(folder / RECORDING, _collection(robot, runs))
        model = _identify(robot, folder)
        if not refusal(model.meta.data):
            checkpoint = folder / CHECKPOINT
        if model.identification is not None:
            width = widths.largest(model.identification)
        on_part(part.duration, width)
        if width is not None and width <= largest_width:
            break
    validated = arm.run(validation, checkpoint)
    write_collection(folder / VALIDATION, _collection(robot, [validated]))
    return IdentifiedArm(model, runs, validated, width, lines)


def validation_motion(robot: Robot, design: ExcitationDesign, obstacles: Obstacles) -> JointMotion:
    """Return a motion from point to point within the limits of an excitation.

    Args:
        robot: the arm.
        design: what the excitation was designed for.
        obstacles: table and boxes.

    Raises:
        ValueError: there is no such motion.
    """
    check = MotionCheck(robot, obstacles, design.clearance, design.tool_speed, design.payload)
    return point_to_point(check, VALIDATION_SECONDS, design.seed)


class IntervalWidths:
    """Relative widths of the 95% intervals of the base parameters of an arm.

    A width is relative to the parameter, or, if that is larger, to a value that takes 1% of the
    effort limit of a joint: half the width of the interval divided by it.
    """

    def __init__(self, robot: Robot) -> None:
        """Compute the torque of each base parameter in random states within the limits."""
        information, random = FisherInformation(robot), np.random.default_rng(0)
        q = random.uniform(robot.lower, robot.upper, (NUM_STATES, robot.n))
        qd, qdd = (
            random.uniform(-1, 1, q.shape) * limit
            for limit in (robot.velocity, robot.acceleration)
        )
        torques = information.regressor(q, qd, qdd).reshape(NUM_STATES, robot.n, -1)
        largest = np.sqrt((torques**2).mean(0)).max(0)  # (14 n,) of the effort limit per unit
        base = find_base_parameters(information.tree, robot.joint_names)
        self._smallest: Array = TORQUE_SHARE / largest[base.leading]  # (base,)

    def largest(self, identification: Mapping[str, Any]) -> float:
        """Return the largest relative width of the base parameters of an identification."""
        rows = identification["base_parameters"]
        std = np.array([np.inf if row["std"] is None else row["std"] for row in rows])
        values = np.abs([row["value"] for row in rows])
        return float((Z95 * std / np.maximum(values, self._smallest)).max())


def _collection(robot: Robot, runs: Sequence[MotionRun]) -> Collection:
    """Return the trajectories of runs as those of a source."""
    trajectories = [run.trajectory for run in runs]
    result = ImportResult(trajectories, sum(map(len, trajectories)), {})
    return Collection(result, robot.name, robot.rate, urdf=robot.urdf)


def _identify(robot: Robot, folder: Path) -> InverseDynamics:
    """Return the model of the recording so far, and write its checkpoint."""
    settings = {"family": "rigid_body", "test_fraction": TEST_FRACTION}
    config = parse_train_config(settings, "rigid_body")
    return train(config, folder / RECORDING, folder / CHECKPOINT, robot=robot)
