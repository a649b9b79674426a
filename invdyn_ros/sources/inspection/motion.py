"""Collected motion as the checks need it, and what they report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np

from invdyn_ros.data.trajectory import Trajectory
from invdyn_ros.robots.robot import Robot
from invdyn_ros.typing import Array, Mask

MOVES = 0.02  # [rad] that a joint travels at least if it counts as moving


class Suspicion(NamedTuple):
    """Contradiction in a dataset.

    Attributes:
        what: what is suspected.
        evidence: values that contradict each other.
        remedy: what to do if the suspicion is right.
    """

    what: str
    evidence: str
    remedy: str

    def __str__(self) -> str:
        """Return one line for the user."""
        return f"suspicion: {self.what}: {self.evidence}; {self.remedy}"


class CollectedMotion:
    """Motion and actions of all episodes, with the stamps of their source.

    Attributes:
        parts: the episodes, each of at least two samples.
        robot: the arm; None: a robot without a URDF.
        changes: reason -> number of rows that were added or left out.
    """

    def __init__(
        self, parts: Iterable[Trajectory], robot: Robot | None, changes: Mapping[str, int]
    ) -> None:
        """Take the episodes that have motion.

        Args:
            parts: all episodes.
            robot: the arm, if it is known.
            changes: reason -> number of rows that were added or left out.
        """
        self.parts: Sequence[Trajectory] = [p for p in parts if len(p.position) > 1]
        self.changes = changes
        is_known = robot is not None and self.parts and self.names == robot.joint_names
        self.robot = robot if is_known else None

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the joints."""
        return self.parts[0].joint_names

    @property
    def unit(self) -> str:
        """Unit of the actions."""
        return self.parts[0].action_unit

    def column(self, name: str) -> Array:
        """Return a column (N, n) of all episodes; (0, n) where it is not known."""
        columns = [getattr(part, name) for part in self.parts]
        # without a copy of a single long recording
        return np.concatenate(columns) if len(columns) > 1 else np.asarray(columns[0])

    @cached_property
    def position(self) -> Array:
        """Positions (N, n) [rad]."""
        return self.column("position")

    @cached_property
    def velocity(self) -> Array:
        """Velocities (N, n) or (0, n) [rad/s]."""
        return self.column("velocity")

    @cached_property
    def action(self) -> Array:
        """Actions (N, n) or (0, n)."""
        return self.column("action")

    @cached_property
    def steps(self) -> Array:
        """Intervals between samples of one episode [s]."""
        return np.concatenate([np.diff(part.time) for part in self.parts])

    @cached_property
    def moving(self) -> Mask:
        """Whether each joint moves (n,)."""
        return np.asarray(np.ptp(self.position, axis=0) > MOVES)


def listed(names: Sequence[str], limit: int = 3) -> str:
    """Return names in words, the first few of many."""
    first = ", ".join(names[:limit])
    return first if len(names) <= limit else f"{first} and {len(names) - limit} more"
