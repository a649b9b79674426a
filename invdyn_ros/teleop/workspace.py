"""Workspace: an arm's reach enters; where its hand may go, and where a person's fits in, leave."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

COMFORT = 0.8
"""Share of the reach that is used: near the full reach an arm is straight and hard to steer."""
BACK = 0.3
"""How far behind the shoulder the hand goes, as a share of the person's arm."""


@dataclass(frozen=True, eq=False)
class Workspace:
    """Where the hand may go: above the plane of the base, outside a column above the base."""

    shoulder: np.ndarray  # (3,) [m], on the axis of the column
    radius: float  # [m] of the column
    floor: float  # [m] least height of the hand

    @property
    def column_top(self) -> float:
        """Height up to which the column is kept free [m]: the shoulder and one radius."""
        return float(self.shoulder[2]) + self.radius

    def project(self, point: np.ndarray) -> tuple[np.ndarray, str | None]:
        """Move a point (3,) [m] out of column and plane, and say why, if it moved."""
        kept, reason = point, None
        if point[2] < self.floor:
            kept, reason = np.array([point[0], point[1], self.floor]), "below the base"
        offset = kept[:2] - self.shoulder[:2]
        distance = float(np.linalg.norm(offset))
        if distance < self.radius and kept[2] < self.column_top:
            outward = offset / distance if distance > 1e-6 else np.array([1.0, 0.0])
            around = self.shoulder[:2] + self.radius * outward
            kept, reason = np.array([*around, kept[2]]), "inside the base"
        return kept, reason

    def hand_ball(self, reach: float) -> tuple[np.ndarray, float]:
        """Place the ball of the person's hand, centred on the shoulder, in front of the arm.

        The largest ball that rests on the floor, stays within a comfortable reach, and enters the
        column only for a hand further behind the body than a hand comfortably goes.

        Args:
            reach: farthest distance of the arm's hand from its shoulder [m].

        Returns:
            Centre (3,) [m] in the base frame, where the person's shoulder goes, and radius [m].
        """
        low, high = 0.0, COMFORT * reach
        for _ in range(40):
            radius = (low + high) / 2
            farthest = float(np.linalg.norm(self._centre(radius) - self.shoulder)) + radius
            low, high = (radius, high) if farthest < COMFORT * reach else (low, radius)
        return self._centre(low), low

    def _centre(self, radius: float) -> np.ndarray:
        x, y = self.shoulder[:2]
        return np.array([x + self.radius + BACK * radius, y, self.floor + radius])
