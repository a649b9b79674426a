"""Soft stops: torques that keep an arm which a hand moves within its limits."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from invdyn_ros.control.command import SOFT_STOP
from invdyn_ros.control.safety_limits import Limits, SafetyLimitsConfig
from invdyn_ros.control.tool_speed import ToolSpeed
from invdyn_ros.robots.collision import CollisionModel
from invdyn_ros.robots.feedback import nominal_rotor_inertia
from invdyn_ros.robots.robot import Robot
from invdyn_ros.typing import Array, Indices

LIMITS = ("lower limit", "upper limit", "speed")  # of each joint
JOINT_RANGE = 0.1  # [rad] before a position limit, less its margin, from which a joint is held
MAX_SHARE = 0.25  # of the range of a joint that its stop at each end takes [-]
DISTANCE = 0.02  # [m] at which two bodies are kept apart, or at their margin if that is larger
SPEED_SHARE = 0.65  # of the speed limits [-] from which an arm is braked; a push overshoots
MAX_ITERATIONS = 20  # over the stops that act at once
SINGULAR = 0.01  # [1/kg] of a stop in a direction in which the arm cannot move
TOLERANCE = 1e-3  # [1/s2] of the accelerations of stops
LEAST = 0.1  # [rad/s2, m/s2] that a stop has to require: noise of velocities requires less
# Three equal poles give way least to a hand that leans on a stop, by 0.0015 s2 of its
# acceleration; with the delays of the shipped arms the phase margin is 40 degrees.
POLE = 13.3  # [1/s]
STIFFNESS, DAMPING, INTEGRAL = 3 * POLE**2, 3 * POLE, POLE**3
INTEGRAL_LIMIT = 0.05  # [m s, rad s], more than the torques of an arm
SPEED_INTEGRAL = DAMPING**2 / 4  # [1/s2] of a speed limit, critically damped


class SoftStop(NamedTuple):
    """Torque of the soft stops.

    Attributes:
        torque: (n,) to be added to that of gravity [N m].
        reason: what limits the arm, None if nothing does.
    """

    torque: Array
    reason: str | None


class _Rows(NamedTuple):
    """Stops of one kind.

    Attributes:
        rows: (k,) which stops.
        required: (k,) acceleration that each requires, away from its limit.
        gradient: (k, n) of their distances or speeds by the joints.
    """

    rows: Indices
    required: Array
    gradient: Array


class SoftStops:
    """Stops at position limits, at bodies that come close, and at the speed limits of an arm.

    Each distance s to a limit is kept positive by a control barrier function of second order
    (Nguyen, Sreenath 2016): its acceleration is at least -stiffness s - damping ds/dt, plus the
    integral of what was missing, so that a hand that leans on a stop does not get through. Speeds
    have one of first order. All stops that act at once are met by the torque that changes the
    motion least (Gauss 1829: least by the metric M^-1), so an arm slides along a table.

    An arm that starts beyond a stop is not moved out by itself: the stop is where the arm is, and
    goes along when the arm is moved out.
    """

    def __init__(
        self,
        robot: Robot,
        limits: Limits,
        collision: CollisionModel | None,
        safety: SafetyLimitsConfig,
    ) -> None:
        """Create the stops of an arm.

        Args:
            robot: the arm.
            limits: limits of its joints.
            collision: distances to obstacles and of the arm to itself; None: nothing is near.
            safety: its speeds are used.
        """
        self.robot, self.collision, self.safety = robot, collision, safety
        self._velocity = limits.velocity
        reach = np.minimum(JOINT_RANGE, MAX_SHARE * (limits.upper - limits.lower))
        self._lower, self._upper = limits.lower + reach, limits.upper - reach
        self._rotor = np.diag(nominal_rotor_inertia(robot.effort))
        self._tool_speed = ToolSpeed(robot, limits.jerk)
        pairs, joints = [] if collision is None else collision.pairs, robot.joint_names
        self._names = [
            *(f"{kind} of {name}" for kind in LIMITS for name in joints),
            "tool speed",
            *(f"{first} near {second}" for first, second in pairs),
        ]
        self._first_pair = 3 * robot.n + 1
        self._start = np.zeros(len(pairs))  # (P,) clearance at which a stop begins [m]
        if collision is not None:
            at_home = np.maximum(collision.clearances(robot.home), 0.0)
            self._start = np.clip(DISTANCE - collision.margins, 0.0, at_home / 2)
        self.reset()

    def reset(self) -> None:
        """Forget the motion; the arm may stand beyond a stop."""
        self._floor = np.full(len(self._names), np.inf)  # largest distance beyond each stop
        self._integral = np.zeros(len(self._names))
        self._last_time: float | None = None

    def __call__(self, q: Array, qd: Array, time: float, gain_scale: float = 1.0) -> SoftStop:
        """Return the torque of the stops in a measured state.

        Args:
            q: (n,) position [rad].
            qd: (n,) velocity [rad/s].
            time: stamp of the state [s].
            gain_scale: factor of the bandwidth, for a loop with a long delay [-].
        """
        dt = 0.0 if self._last_time is None else min(max(time - self._last_time, 0.0), 0.1)
        self._last_time = time
        kinds = self._positions(q, qd, dt, gain_scale), self._speeds(q, qd, dt, gain_scale)
        rows, required, gradients = (np.concatenate(part) for part in zip(*kinds, strict=True))
        acting = (required > LEAST).nonzero()[0]
        if not acting.size:
            return SoftStop(np.zeros(self.robot.n), None)
        gradients = gradients[acting]
        inertia = self.robot.mass_matrix(q) + self._rotor
        response = gradients @ np.linalg.solve(inertia, gradients.T)  # (k, k)
        response += SINGULAR * np.eye(acting.size)
        torque = gradients.T @ _least_forces(response, required[acting])
        return SoftStop(torque, f"{SOFT_STOP}: {self._names[rows[required.argmax()]]}")

    def _positions(self, q: Array, qd: Array, dt: float, scale: float) -> _Rows:
        """Return the stops at positions.

        Args:
            q: (n,) position [rad].
            qd: (n,) velocity [rad/s].
            dt: time since the last state [s].
            scale: factor of the bandwidth [-].
        """
        unit = np.eye(self.robot.n)
        distance, gradients = np.concatenate([q - self._lower, self._upper - q]), [unit, -unit]
        rows = np.arange(distance.size)
        if self.collision is not None:
            pairs, clearance, of_pairs = self.collision.gradients(q)
            distance = np.append(distance, clearance - self._start[pairs])
            rows = np.append(rows, self._first_pair + pairs)
            gradients.append(of_pairs)
        gradient = np.concatenate(gradients)
        # a stop goes along with an arm that comes from beyond it, and never back
        self._floor[rows] = np.minimum(self._floor[rows], np.maximum(-distance, 0.0))
        distance = distance + self._floor[rows]
        integral = np.clip(self._integral[rows] - dt * distance, 0.0, INTEGRAL_LIMIT)
        self._integral[: 2 * self.robot.n] = self._integral[self._first_pair :] = 0.0
        self._integral[rows] = integral
        required = (
            -(scale**2) * STIFFNESS * distance
            - scale * DAMPING * (gradient @ qd)
            + scale**3 * INTEGRAL * integral
        )
        return _Rows(rows, required, gradient)

    def _speeds(self, q: Array, qd: Array, dt: float, scale: float) -> _Rows:
        """Return the stops at speeds.

        Args:
            q: (n,) position [rad].
            qd: (n,) velocity [rad/s].
            dt: time since the last state [s].
            scale: factor of the bandwidth [-].
        """
        rows = np.arange(2 * self.robot.n, self._first_pair)
        speed, gradient = self._tool_speed.fastest(q, qd)
        limits = np.append(self.safety.speed * self._velocity, self.safety.tool_speed)
        excess = np.append(np.abs(qd), speed) - SPEED_SHARE * limits
        self._integral[rows] = integral = np.maximum(self._integral[rows] + dt * excess, 0.0)
        required = scale * DAMPING * excess + scale**2 * SPEED_INTEGRAL * integral
        gradients = -np.concatenate([np.diag(np.sign(qd)), gradient[None]])
        return _Rows(rows, required, gradients)


def _least_forces(response: Array, required: Array) -> Array:
    """Return the least forces f >= 0 (k,) with response @ f >= required, by Gauss-Seidel.

    Args:
        response: (k, k) acceleration of each stop by the force of each.
        required: (k,) accelerations required.
    """
    forces = np.zeros(required.size)
    for _ in range(MAX_ITERATIONS):
        largest = 0.0
        for i in range(required.size):
            change = max((required[i] - response[i] @ forces) / response[i, i], -forces[i])
            forces[i] += change
            largest = max(largest, abs(change) * response[i, i])
        if largest < TOLERANCE:
            break
    return forces
