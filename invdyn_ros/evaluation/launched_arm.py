"""Arm of a live graph, simulated or real, that follows motions one after the other."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from invdyn_ros.control.joint_motion import JointMotion
from invdyn_ros.data.action_units import is_torque
from invdyn_ros.data.dataset import read_dataset
from invdyn_ros.data.trajectory import Trajectory
from invdyn_ros.graph.checkpoints import find_checkpoint, read_command_unit
from invdyn_ros.robots.robot import Robot
from invdyn_ros.sources.guarded_run import MotionRun
from invdyn_ros.typing import Array

MAX_LAG = 0.2  # [s] of the arm behind the motion


class LaunchedArm:
    """An arm that follows each motion in a graph `play_motion` of its own.

    Whether a graph starts engaged, and waits for somebody to engage it otherwise, is its own
    matter. Identified torques drive an arm that takes torques, unless the arguments name another
    checkpoint.
    """

    def __init__(self, robot: Robot, arguments: Sequence[str], folder: Path) -> None:
        """Prepare the runs.

        Args:
            robot: the arm.
            arguments: launch arguments of the graph, such as arm:=ur5 and target:=real.
            folder: gets a file and a dataset for each motion.

        Raises:
            ValueError: no checkpoint is given, and none is shipped.
        """
        self.arguments, self.folder, self._count = [*arguments], folder, 0
        self._takes_identified = False
        if not any(word.startswith("checkpoint:=") for word in arguments):
            shipped = find_checkpoint("", robot.name, "target:=real" in arguments)
            self._takes_identified = is_torque(read_command_unit(shipped, robot.name))

    def run(self, motion: JointMotion, checkpoint: Path | None) -> MotionRun:
        """Move to the start of a motion, follow it, and return the recording of the motion.

        Args:
            motion: the motion.
            checkpoint: folder of the identified model; None: there is none yet.

        Raises:
            ValueError: the graph ended before the motion did.
        """
        self._count += 1
        name = f"motion_{self._count}"
        file, out = self.folder / f"{name}.npz", self.folder / name
        motion.save(file)
        words = [
            *self.arguments,
            f"motion:={file}",
            f"out:={out}",
            f"tool_speed:={motion.tool_speed:g}",
        ]
        is_driven_by_model = self._takes_identified and checkpoint is not None
        words += [f"checkpoint:={checkpoint}"] if is_driven_by_model else []
        command = [sys.executable, "-m", "invdyn_ros", "launch", "play_motion", *words]
        if (code := subprocess.run(command, check=False).returncode) != 0:
            raise ValueError(
                f"'invdyn launch play_motion' ended with code {code} during motion "
                f"{self._count}; its last lines say why"
            )
        (trajectory,) = read_dataset(out).trajectories
        reference = _reference(motion, trajectory)
        return MotionRun(trajectory, reference, trajectory.position, is_driven_by_model)


def _reference(motion: JointMotion, trajectory: Trajectory) -> Array:
    """Return the motion (T, 3 n) at the samples of its recording, as late as the arm is.

    The recording does not say when the motion started: of all lags up to `MAX_LAG` it is the one
    with the least error.
    """
    time = trajectory.time - trajectory.time[0]

    def positions(lag: float) -> Array:
        return np.stack([motion.state_at(t - lag).q for t in time])

    lags = np.arange(0.0, MAX_LAG, 0.25 / motion.rate)
    errors = [np.square(positions(lag) - trajectory.position).sum() for lag in lags]
    lag = lags[int(np.argmin(errors))]
    return np.stack([np.concatenate(motion.state_at(t - lag)) for t in time])
