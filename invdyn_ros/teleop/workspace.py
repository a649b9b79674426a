"""Workspace of an arm's hand, and where the positions of a person's hand lie in it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

REACH_FRACTION = 0.8
"""Fraction of the reach that is used, because an arm is nearly singular at its full reach."""
BACKWARD_FRACTION = 0.3
"""Maximum distance of the hand behind the shoulder, as a fraction of the person's arm length."""
NEUTRAL_HAND = np.array([0.6, 0.0, -0.18])
"""Place of the hand where a tool that points down is at home: forward, left and up from the
shoulder, as fractions of the length of the person's arm."""
DOWNWARD_FRACTION = 0.32
"""Way of the hand from there down to the table, as a fraction of the length of the arm."""
CONTACT_HEIGHT, CONTACT_SPEED = 0.06, 0.1
"""Height above the base plane [m] under which a tool that points down may meet something, and its
largest downward speed there [m/s]."""
DESCENT_GAIN = 5.0
"""Downward speed over the height above that [1/s]."""
BISECTION_STEPS = 40  # for the radius of the hand sphere


@dataclass(frozen=True, eq=False)
class Workspace:
    """Allowed positions of the hand: above the base plane and outside a column on the base.

    The column ends in a hemisphere about the shoulder, so that the projection is continuous but on
    its axis.
    """

    shoulder: np.ndarray  # (3,) [m], on the axis of the column
    radius: float  # [m] radius of the column
    min_height: float  # [m] minimum height of the hand

    def project(self, point: np.ndarray) -> tuple[np.ndarray, str | None]:
        """Project a point (3,) [m] into the workspace.

        Returns:
            The nearest allowed point (3,) [m], and why it differs from the given one, or None.
        """
        projected, reason = point, None
        if point[2] < self.min_height:
            projected, reason = np.array([point[0], point[1], self.min_height]), "below the base"
        on_axis = np.minimum(projected, self.shoulder)  # the nearest point of the axis
        on_axis[:2] = self.shoulder[:2]
        offset = projected - on_axis
        distance = float(np.linalg.norm(offset))
        if distance < self.radius:
            outward = offset / distance if distance > 1e-6 else np.array([1.0, 0.0, 0.0])
            projected, reason = on_axis + self.radius * outward, "inside the base"
        return projected, reason

    def limit_descent(self, target: np.ndarray, tool: np.ndarray, dt: float) -> np.ndarray:
        """Return a target (3,) [m] to which a tool comes down slowly where it may meet something.

        Args:
            target: (3,) [m].
            tool: present position of the tool (3,) [m].
            dt: time until the next target [s].
        """
        speed = CONTACT_SPEED + DESCENT_GAIN * max(tool[2] - CONTACT_HEIGHT, 0.0)
        return np.array([*target[:2], max(target[2], tool[2] - speed * dt)])

    def hand_sphere(self, reach: float) -> tuple[np.ndarray, float]:
        """Place the sphere of the positions of the person's hand in front of the arm.

        It is the largest sphere that touches the minimum height, lies within REACH_FRACTION of the
        reach, and overlaps the column only where the hand is farther behind the shoulder than
        BACKWARD_FRACTION.

        Args:
            reach: maximum distance of the arm's hand from its shoulder [m].

        Returns:
            Center (3,) of the sphere in the base frame, where the person's shoulder is placed, and
            its radius [m].
        """
        low, high = 0.0, REACH_FRACTION * reach
        for _ in range(BISECTION_STEPS):
            radius = (low + high) / 2
            farthest = float(np.linalg.norm(self._center(radius) - self.shoulder)) + radius
            low, high = (radius, high) if farthest < REACH_FRACTION * reach else (low, radius)
        return self._center(low), low

    def neutral_radius(self, reach: float, home: np.ndarray, neutral: np.ndarray) -> float:
        """Return the radius of the sphere of the positions of a hand that is at home at rest.

        It is the largest one within REACH_FRACTION of the reach.

        Args:
            reach: maximum distance of the arm's hand from its shoulder [m].
            home: (3,) position of the arm's hand at home [m].
            neutral: (3,) resting hand in the sphere of radius one, along the axes of the base.
        """
        low, high = 0.0, REACH_FRACTION * reach / (1 - float(np.linalg.norm(neutral)))
        for _ in range(BISECTION_STEPS):
            radius = (low + high) / 2
            center = home - radius * neutral
            farthest = float(np.linalg.norm(center - self.shoulder)) + radius
            low, high = (radius, high) if farthest < REACH_FRACTION * reach else (low, radius)
        return low

    def scale_over_table(self, height: float, length: float) -> float:
        """Return the scale with which the hand brings a tool from home down to the minimum height.

        Args:
            height: of the tool at home [m].
            length: of the person's arm [m].
        """
        return (height - self.min_height) / (DOWNWARD_FRACTION * length)

    def _center(self, radius: float) -> np.ndarray:
        x, y = self.shoulder[:2]
        return np.array(
            [x + self.radius + BACKWARD_FRACTION * radius, y, self.min_height + radius]
        )
