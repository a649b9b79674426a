"""Joint states of one arm: joints in any order, beside those of other devices, or in parts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from invdyn_ros.typing import Array

MAX_SPREAD = 2 * 10**7  # [ns] between messages that together are one state of an arm
MAX_ABSENCE = 10**8  # [ns] of a joint, after which it is missing
UNMEASURED = np.empty(0)
KINDS = ("positions", "velocities", "efforts")


class JointValues(NamedTuple):
    """Values of the joints of an arm.

    Attributes:
        stamp: time of the measurement [ns]; of values from several messages, that of the oldest.
        position: (n,) [rad], possibly NaN.
        velocity: (n,) [rad/s], empty if it is not measured.
        effort: (n,), empty if it is not measured.
    """

    stamp: int
    position: Array
    velocity: Array
    effort: Array


class MissingJoints(ValueError):
    """Joints of the arm that no message has.

    Attributes:
        missing: their names.
    """

    def __init__(self, missing: Sequence[str], available: Sequence[str]) -> None:
        self.missing = list(missing)
        super().__init__(f"joint_states lacks {self.missing}; it has {list(available)}")


class OtherJoints(ValueError):
    """A message of another device, such as a gripper."""


class JointStateParts:
    """Joins the joint states of one arm.

    Drivers name the joints in any order and with others between, and publish NaN, or nothing, for
    what they do not measure. Two controllers of one arm publish its joints in two messages; then
    there is one state for each pair.
    """

    def __init__(self, names: Sequence[str]) -> None:
        """Create a reader of the joints of an arm."""
        self.names = tuple(names)
        self._known = frozenset(names)
        self._parts: dict[str, tuple[int, list[Array]]] = {}  # stamp, values of a joint
        self._last_seen: dict[str, int] = {}  # [ns]

    def add(
        self, stamp: int, names: Sequence[str], columns: tuple[Sequence[float], ...]
    ) -> JointValues | None:
        """Return the values that a message completes, None if it has only a part of the joints.

        Args:
            stamp: stamp of the message [ns].
            names: names of its joints.
            columns: its positions, velocities and efforts.

        Raises:
            OtherJoints: it has none of the joints.
            MissingJoints: it has some, and no message of its time has the others.
            ValueError: a joint is named twice, or arrays have different lengths.
        """
        available = list(names)
        index = {name: k for k, name in enumerate(available) if name in self._known}
        if not index:
            raise OtherJoints(f"it is of other joints: {available}")
        if doubled := [name for name in self.names if available.count(name) > 1]:
            raise ValueError(f"joint_states names {doubled} more than once")
        arrays = [_column(kind, c, len(available)) for kind, c in zip(KINDS, columns, strict=True)]
        if len(index) == len(self.names):
            self._parts.clear()
            order = [index[name] for name in self.names]
            return _values(stamp, [array[order] if array.size else array for array in arrays])
        return self._join(stamp, index, arrays, available)

    def _join(
        self, stamp: int, index: dict[str, int], arrays: list[Array], available: list[str]
    ) -> JointValues | None:
        """Add a part of the joints; return the values once all of them are there.

        Args:
            stamp: stamp of the message [ns].
            index: position of each of its joints of the arm.
            arrays: its positions, velocities and efforts.
            available: names of all of its joints.
        """
        for name, k in index.items():
            self._last_seen[name] = stamp
            self._parts[name] = stamp, [a[k : k + 1] if a.size else a for a in arrays]
        missing = [name for name in self.names if name not in self._parts]
        if missing:
            oldest = stamp - MAX_ABSENCE
            lost = [name for name in missing if self._last_seen.setdefault(name, stamp) < oldest]
            if lost:
                raise MissingJoints(lost, available)
            return None
        parts = [self._parts[name] for name in self.names]
        self._parts = {}
        stamps = [time for time, _ in parts]
        if max(stamps) - min(stamps) > MAX_SPREAD:
            difference = 1e-9 * (max(stamps) - min(stamps))
            raise ValueError(f"the joints of the arm come in messages {difference:.3g} s apart")
        columns = []
        for k in range(len(KINDS)):
            values = [value[k] for _, value in parts]
            is_known = all(value.size for value in values)
            columns.append(np.concatenate(values) if is_known else UNMEASURED)
        return _values(min(stamps), columns)


def _column(kind: str, values: Sequence[float], num_joints: int) -> Array:
    """Return a column of a message; empty if the message has none.

    Args:
        kind: what the values are, in plural.
        values: the values.
        num_joints: joints that the message names.

    Raises:
        ValueError: the column has another length.
    """
    column = np.array(values, float)
    if column.size != num_joints and (column.size or kind == "positions"):
        raise ValueError(f"joint_states names {num_joints} joints but has {column.size} {kind}")
    return column


def _values(stamp: int, columns: Sequence[Array]) -> JointValues:
    """Return the values with velocity and effort empty where a joint does not measure them."""
    position, *others = columns
    velocity, effort = (UNMEASURED if np.isnan(other).any() else other for other in others)
    return JointValues(stamp, position, velocity, effort)
