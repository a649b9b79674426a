"""Arm of a live graph, simulated or real, that follows motions one after the other."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from invdyn_ros.control.joint_motion import JointMotion
from invdyn_ros.data.dataset import read_dataset
from invdyn_ros.data.trajectory import Trajectory
from invdyn_ros.sources.guarded_run import MotionRun
from invdyn_ros.typing import Array

MAX_LAG = 0.2  # [s] of the arm behind the motion


class LaunchedArm:
    """An arm that follows each motion in a graph `play_motion` of its own.

    Whether a graph starts engaged, and waits for somebody to engage it otherwise, is its own
    matter.
    """

    def __init__(self, arguments: Sequence[str], folder: Path) -> None:
        """Prepare the runs.

        Args:
            arguments: launch arguments of the graph, such as arm:=ur5 and target:=real.
            folder: gets a file and a dataset for each motion.
        """
        self.arguments, self.folder, self._count = [*arguments], folder, 0

    def run(self, motion: JointMotion, checkpoint: Path | None) -> MotionRun:
        """Move to the start of a motion, follow it, and return the recording of the motion.

        Args:
            motion: the motion.
            checkpoint: folder of the model that drives the arm; None: what the arguments give, or
                the shipped one.

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
        words += [f"checkpoint:={checkpoint}"] if checkpoint else []
        command = [sys.executable, "-m", "invdyn_ros", "launch", "play_motion", *words]
        if (code := subprocess.run(command, check=False).returncode) != 0:
            raise ValueError(
                f"'invdyn launch play_motion' ended with code {code} during motion "
                f"{self._count}; its last lines say why"
            )
        (trajectory,) = read_dataset(out).trajectories
        return MotionRun(trajectory, _reference(motion, trajectory), trajectory.position)


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
