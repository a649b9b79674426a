"""Motion of an arm, sampled at its control rate, and its file."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from invdyn_ros.config import describe_error
from invdyn_ros.control.motion_profile import State
from invdyn_ros.data.atomic_file import write_atomically
from invdyn_ros.robots.robot import Robot
from invdyn_ros.typing import Array

COLUMNS = ("q", "qd", "qdd")
SETTLING = 1.2  # [s] at rest before a motion, for the slow start of the controller


class SampledMotion(NamedTuple):
    """Motion, at rest at both ends: q [rad], qd [rad/s], qdd [rad/s2], (T, n) each."""

    q: Array
    qd: Array
    qdd: Array


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
        """Return the desired state at a time [s]; beyond the motion, that at its ends."""
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
        q, qd, qdd = self.q[rows], self.qd[rows], self.qdd[rows]
        return replace(self, q=q, qd=qd, qdd=qdd, rests=(0, last - first))

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


def join(
    robot: Robot, parts: Sequence[SampledMotion], tool_speed: float, payload: float
) -> JointMotion:
    """Return the motion of several parts; successive ones share the sample between them.

    Args:
        robot: the arm.
        parts: at its control rate.
        tool_speed: largest speed of tool and joints [m/s].
        payload: mass at the tool that the URDF lacks [kg].
    """
    q, qd, qdd = (
        np.concatenate([columns[0][:1], *(x[1:] for x in columns)])
        for columns in zip(*parts, strict=True)
    )
    rests = np.cumsum([0, *(len(part.q) - 1 for part in parts)]).tolist()
    return JointMotion(
        robot.name, robot.joint_names, robot.rate, q, qd, qdd, tuple(rests), tool_speed, payload
    )


def load_motion(file: Path, robot: Robot) -> JointMotion:
    """Read a motion of an arm.

    Raises:
        ValueError: no such file, not a motion, or the motion of another arm.
    """
    remedy = "make one with 'invdyn excite'"
    try:
        with np.load(file, allow_pickle=False) as values:
            header = json.loads(str(values["header"]))
            samples = SampledMotion(*(np.asarray(values[name], float) for name in COLUMNS))
        motion = JointMotion(
            str(header["arm"]),
            tuple(map(str, header["joint_names"])),
            float(header["rate"]),
            samples.q,
            samples.qd,
            samples.qdd,
            tuple(map(int, header["rests"])),
            float(header["tool_speed"]),
            float(header["payload"]),
        )
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{file} is no motion: {describe_error(error)}; {remedy}") from None
    # arms of one maker have joints of the same names
    if (motion.arm, motion.joint_names) != (robot.name, robot.joint_names):
        raise ValueError(
            f"{file} is a motion of '{motion.arm}', not of '{robot.name}'; give that arm, or "
            f"{remedy} --arm {robot.name}"
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
