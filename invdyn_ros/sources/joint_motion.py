"""Motion of an arm, sampled at its control rate, and its file."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from invdyn_ros.config import describe_error
from invdyn_ros.control.motion_profile import State
from invdyn_ros.data.atomic_file import write_atomically
from invdyn_ros.robots.robot import Robot
from invdyn_ros.typing import Array

COLUMNS = ("q", "qd", "qdd")


@dataclass(frozen=True, eq=False)
class JointMotion:
    """Motion that starts and ends at rest.

    Attributes:
        arm: name of the arm.
        joint_names: names of the n joints.
        rate: samples per second [Hz].
        q: (T, n) positions [rad].
        qd: (T, n) velocities [rad/s].
        qdd: (T, n) accelerations [rad/s2].
        rests: (K,) indices of samples at rest, the first and the last one among them; between two
            of them lies one part of the motion.
        tool_speed: largest speed of tool and joints [m/s].
        payload: mass at the tool that the URDF lacks [kg].
    """

    arm: str
    joint_names: tuple[str, ...]
    rate: float
    q: Array
    qd: Array
    qdd: Array
    rests: tuple[int, ...]
    tool_speed: float
    payload: float

    @property
    def duration(self) -> float:
        """Time from the first to the last sample [s]."""
        return (len(self.q) - 1) / self.rate

    @property
    def num_parts(self) -> int:
        """Number of parts between rests."""
        return len(self.rests) - 1

    def state_at(self, time: float) -> State:
        """Return the desired state at a time [s]; before and after the motion, that at its ends."""
        last = len(self.q) - 1
        position = min(max(time * self.rate, 0.0), float(last))
        low = min(int(position), max(last - 1, 0))
        weight, high = position - low, min(low + 1, last)
        parts = (getattr(self, name) for name in COLUMNS)
        return State(*((1 - weight) * x[low] + weight * x[high] for x in parts))

    def part(self, index: int) -> JointMotion:
        """Return one part of the motion."""
        first, last = self.rests[index : index + 2]
        rows = slice(first, last + 1)
        columns = (getattr(self, name)[rows] for name in COLUMNS)
        ends = (0, last - first)
        return JointMotion(
            self.arm, self.joint_names, self.rate, *columns, ends, self.tool_speed, self.payload
        )

    def save(self, file: Path) -> None:
        """Write the motion as an .npz file."""
        header = {
            "arm": self.arm,
            "joint_names": list(self.joint_names),
            "rate": self.rate,
            "rests": list(self.rests),
            "tool_speed": self.tool_speed,
            "payload": self.payload,
        }
        buffer = io.BytesIO()
        columns: dict[str, Any] = {name: getattr(self, name) for name in COLUMNS}
        np.savez_compressed(buffer, header=np.array(json.dumps(header)), **columns)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, buffer.getvalue())


def load_motion(file: Path, robot: Robot) -> JointMotion:
    """Read a motion of an arm.

    Raises:
        ValueError: no such file, not a motion, or the motion of another arm.
    """
    remedy = "make one with 'invdyn excite'"
    try:
        with np.load(file, allow_pickle=False) as values:
            header = json.loads(str(values["header"]))
            columns = [np.asarray(values[name], float) for name in COLUMNS]
        motion = JointMotion(
            str(header["arm"]),
            tuple(map(str, header["joint_names"])),
            float(header["rate"]),
            *columns,
            tuple(map(int, header["rests"])),
            float(header["tool_speed"]),
            float(header["payload"]),
        )
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{file} is no motion: {describe_error(error)}; {remedy}") from None
    if motion.joint_names != robot.joint_names:
        raise ValueError(
            f"{file} is a motion of '{motion.arm}', not of '{robot.name}'; {remedy} "
            f"--arm {robot.name}"
        )
    _check(motion, file)
    return motion


def _check(motion: JointMotion, file: Path) -> None:
    """Raise a ValueError if arrays, rate or rests make no motion."""
    shape = (len(motion.q), len(motion.joint_names))
    columns = [getattr(motion, name) for name in COLUMNS]
    rests = motion.rests
    is_whole = len(rests) > 1 and rests[0] == 0 and rests[-1] == shape[0] - 1
    if any(x.shape != shape or not np.isfinite(x).all() for x in columns):
        raise ValueError(f"{file}: q, qd and qdd must be finite and of the shape {shape}")
    if not is_whole or list(rests) != sorted(set(rests)) or not 0 < motion.rate < np.inf:
        raise ValueError(f"{file}: its rate or its rests are wrong; make it again")
