"""Tasks and limits of differential inverse kinematics (mink)."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import mujoco
import numpy as np

from invdyn_ros.robots.collision import CollisionModel


@contextmanager
def _without_jax() -> Iterator[None]:
    """Hide JAX, which takes over a second to import; qpsolvers tries it for an unused solver."""
    modules: dict[str, Any] = sys.modules
    hidden = "jax" not in modules
    if hidden:
        modules["jax"] = None
    try:
        yield
    finally:
        if hidden:
            del modules["jax"]


with _without_jax():
    import mink


class PositionTask(mink.Task):
    """Move the origin of a link to a point: error p(q) - target [m], its Jacobian (3, n)."""

    def __init__(self, model: mujoco.MjModel, link: str) -> None:
        """Create a task for a link of the model; set `target` (3,) [m] before solving."""
        super().__init__(cost=np.ones(3))
        self.body_id = model.body(link).id
        self.target = np.zeros(3)
        self._jacobian = np.zeros((3, model.nv))

    def compute_error(self, configuration: mink.Configuration) -> np.ndarray:
        """Return the vector from the target to the point (3,) [m]."""
        return configuration.data.xpos[self.body_id] - self.target

    def compute_jacobian(self, configuration: mink.Configuration) -> np.ndarray:
        """Return the derivative of the error (3, n) [m/rad]."""
        data = configuration.data
        mujoco.mj_jac(
            configuration.model, data, self._jacobian, None, data.xpos[self.body_id], self.body_id
        )
        return self._jacobian


class DirectionTask(mink.Task):
    """Turn the z axis of a link to a direction: error z(q) - direction, its Jacobian (3, n)."""

    def __init__(
        self, model: mujoco.MjModel, link: str, direction: np.ndarray, cost: float
    ) -> None:
        """Create a task.

        Args:
            model: the arm.
            link: link of the model.
            direction: (3,) unit vector in the base frame.
            cost: cost of an error of one radian [m].
        """
        super().__init__(cost=np.full(3, cost))
        self.body_id, self.direction = model.body(link).id, direction
        self._jacobian = np.zeros((3, model.nv))

    def compute_error(self, configuration: mink.Configuration) -> np.ndarray:
        """Return the vector from the direction to the axis (3,)."""
        return self._axis(configuration) - self.direction

    def compute_jacobian(self, configuration: mink.Configuration) -> np.ndarray:
        """Return the derivative of the error (3, n) [1/rad]."""
        mujoco.mj_jacBody(
            configuration.model, configuration.data, None, self._jacobian, self.body_id
        )
        return np.cross(self._jacobian, self._axis(configuration), axis=0)

    def _axis(self, configuration: mink.Configuration) -> np.ndarray:
        return np.asarray(configuration.data.xmat[self.body_id].reshape(3, 3)[:, 2])


class SwivelTask(mink.Task):
    """Turn the elbow of an arm about the line from its shoulder to its hand.

    The error is the length of the arc r * phi [m] from a direction, seen along the line, to that
    of the elbow, which is r off the line. It vanishes with a straight arm, whose elbow has no
    direction. Its Jacobian (1, n) is that of the elbow relative to a line that keeps its heading,
    as the task of the hand keeps it.
    """

    MAX_ANGLE = 0.4
    """Largest angle that counts, so that an elbow that is stopped hardly moves the hand [rad]."""

    def __init__(self, model: mujoco.MjModel, shoulder: str, elbow: str, hand: str) -> None:
        """Create a task of no cost for links of the model.

        Set `cost` (1,) and `direction` (3,), a unit vector in the base frame, before solving.
        """
        super().__init__(cost=np.zeros(1))
        self._bodies = [model.body(link).id for link in (shoulder, elbow, hand)]
        self.direction = np.array([0.0, 0.0, 1.0])
        self._jacobians = np.zeros((3, 3, model.nv))

    def compute_error(self, configuration: mink.Configuration) -> np.ndarray:
        """Return the length of the arc from the direction to the elbow (1,) [m]."""
        radius, angle = self.swivel(configuration)
        return np.array([radius * np.clip(angle, -self.MAX_ANGLE, self.MAX_ANGLE)])

    def compute_jacobian(self, configuration: mink.Configuration) -> np.ndarray:
        """Return the derivative of the error while it counts (1, n) [m/rad]."""
        for body, jacobian in zip(self._bodies, self._jacobians, strict=True):
            point = configuration.data.xpos[body]
            mujoco.mj_jac(configuration.model, configuration.data, jacobian, None, point, body)
        line, offset, fraction = self._elbow(configuration)
        radius = float(np.linalg.norm(offset))
        if radius < 1e-6:
            return np.zeros((1, self._jacobians.shape[2]))
        tangent = np.cross(line, offset) / radius
        shoulder, elbow, hand = self._jacobians
        return (tangent @ (elbow - (1 - fraction) * shoulder - fraction * hand))[None]

    def swivel(self, configuration: mink.Configuration) -> tuple[float, float]:
        """Return the distance of the elbow from the line [m], and its angle [rad]."""
        line, offset, _ = self._elbow(configuration)
        sine = float(line @ np.cross(self.direction, offset))
        # the direction has a part along the line, which the offset has not
        return float(np.linalg.norm(offset)), float(np.arctan2(sine, self.direction @ offset))

    def _elbow(self, configuration: mink.Configuration) -> tuple[np.ndarray, np.ndarray, float]:
        """Return the unit vector (3,) of the line, the elbow off it (3,) [m], and where on it."""
        shoulder, elbow, hand = configuration.data.xpos[self._bodies]
        length = max(float(np.linalg.norm(hand - shoulder)), 1e-6)
        line = (hand - shoulder) / length
        along = float(line @ (elbow - shoulder))
        return line, elbow - shoulder - along * line, along / length


class JointBoxLimit(mink.Limit):
    """Keep joints between two bounds (n,) [rad] and limit the length of a step."""

    MAX_STEP = 0.5
    """Largest step of a joint for which the linear model of the arm holds [rad]."""

    def __init__(self, lower: np.ndarray, upper: np.ndarray) -> None:
        """Create the limit lower <= q <= upper."""
        self.lower, self.upper = lower, upper
        self._normals = np.vstack([np.eye(lower.size), -np.eye(lower.size)])  # (2n, n)

    def compute_qp_inequalities(
        self, configuration: mink.Configuration, dt: float
    ) -> mink.Constraint:
        """Return the bounds on the next step."""
        q = configuration.q
        distance = np.concatenate([self.upper - q, q - self.lower])  # (2n,)
        return mink.Constraint(self._normals, np.minimum(distance, self.MAX_STEP))


class StandstillLimit(mink.Limit):
    """Let points stand still, so that a step uses only the joints that they leave free."""

    SLACK = 1e-5
    """Way of a point along each axis in the linear model [m], for rounding."""

    def __init__(self, points: Sequence[PositionTask]) -> None:
        """Create the limit of points."""
        self.points = points

    def compute_qp_inequalities(
        self, configuration: mink.Configuration, dt: float
    ) -> mink.Constraint:
        """Return the bounds on the next step."""
        jacobian = np.vstack([p.compute_jacobian(configuration) for p in self.points])  # (3k, n)
        normals = np.vstack([jacobian, -jacobian])
        return mink.Constraint(normals, np.full(len(normals), self.SLACK))


class ClearanceLimit(mink.Limit):
    """Keep an arm clear of obstacles and of itself, so that it slides along them.

    The change J dq of a clearance d is at least -approach * (d - BUFFER). A clearance below
    BUFFER may not decrease; the limit never demands a motion, so it does not contradict the joint
    limits.
    """

    BUFFER = 0.001
    """Clearance kept for the error of the linear model [m]."""
    LINEAR_RANGE = 0.05
    """Motion of a joint for which clearances are taken as linear [rad]."""
    CORNER_RANGE = 0.02
    """Clearance below which all corners count, as a turn brings another one nearer [m]."""

    def __init__(self, collision: CollisionModel, approach: float = 0.4) -> None:
        """Create a limit.

        Args:
            collision: clearances of the arm.
            approach: fraction of a clearance that a step may use up.
        """
        self.collision, self.approach = collision, approach
        self._q = np.full(collision.robot.n, np.nan)

    def compute_qp_inequalities(
        self, configuration: mink.Configuration, dt: float
    ) -> mink.Constraint:
        """Return the bounds on the next step."""
        q = configuration.q
        if not np.abs(q - self._q).max() < self.LINEAR_RANGE:
            self._q = q.copy()
            gradients = self.collision.gradients(q, self.CORNER_RANGE)
            _, self._clearances, self._gradients = gradients
        clearances = self._clearances + self._gradients @ (q - self._q)  # (k,)
        free = np.maximum(clearances - self.BUFFER, 0.0)
        return mink.Constraint(-self._gradients, self.approach * free)
