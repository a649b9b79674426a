"""Tasks and limits of differential inverse kinematics (mink)."""

from __future__ import annotations

import sys
from collections.abc import Iterator
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
