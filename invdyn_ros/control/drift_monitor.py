"""Monitor of a driven arm against its model: another load on the tool, and joints that wear."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from invdyn_ros.control.computed_torque import MeasuredState
from invdyn_ros.models.predictor import Runtime
from invdyn_ros.models.residual_metadata import ResidualStatistics
from invdyn_ros.robots.robot import Robot
from invdyn_ros.typing import Array

WINDOW = 0.2  # [s] over which torques and motion are averaged
MEMORY = 3.0  # [s] of motion that the estimates remember
MOVING = 0.05  # [rad/s] of a joint whose friction has its full size
LEAST_STD = 0.005  # of a residual, per effort limit [-]: windows average noise, not model error
LOAD_LIMIT = 0.015  # torque of an unknown load, per effort limit [-]
FRICTION_LIMIT = 0.01  # change of friction, per effort limit [-]
NUM_STD = 4.0  # standard deviations by which an estimate exceeds its limit
PERSISTENCE = 0.5  # [s] of motion for which it does, before it is named
PRIOR_LOAD, PRIOR_FRICTION = 10.0, 0.1  # standard deviations [kg], and per effort limit [-]
GRAVITY = 9.81  # [m/s2]
LOAD = "load on the tool"


class Drift(NamedTuple):
    """A difference between an arm and its model.

    Attributes:
        name: what differs: the load, or the friction of a joint.
        value: how much [kg, N m].
        limit: largest value that is none [kg, N m].
        unit: of both.
        joint: where it shows most.
    """

    name: str
    value: float
    limit: float
    unit: str
    joint: str

    def __str__(self) -> str:
        where = f" (most in {self.joint})" if self.name == LOAD else ""
        return f"{self.name} {self.value:+.2g} {self.unit}{where}, limit {self.limit:.2g}"


class DriftMonitor:
    """Estimates what load and what friction of each joint explain the residuals of a model.

    A residual is the torque sent minus what the model predicts for the motion that it caused, both
    averaged over a window. Recursive least squares with forgetting explain the residuals by a
    point mass at the tip and by dry friction of each joint; the standard deviations and
    autocorrelation times of the residuals on validation data weigh them. A joint that stands is
    not looked at: its friction may have any size.

    Attributes:
        drifts: the differences that are certain and large.
        estimate: (1 + n,) load [kg] and friction of each joint [N m] that the model lacks.
    """

    def __init__(self, robot: Robot, model: Runtime, statistics: ResidualStatistics) -> None:
        """Create a monitor without data.

        Args:
            robot: the arm.
            model: predicts the torques that are sent.
            statistics: residuals of the model on validation data.
        """
        self.robot, self._model = robot, model
        std = np.maximum(statistics.std, LEAST_STD * robot.effort)
        # windows within an autocorrelation time tell as much as one
        repetition = np.maximum(2 * statistics.correlation_time / WINDOW, 1.0)
        self._weight = 1 / (std**2 * repetition)
        self._prior = np.diag(np.append(PRIOR_LOAD, PRIOR_FRICTION * robot.effort) ** -2.0)
        self._forgetting = math.exp(-WINDOW / MEMORY)
        # a model of single frames without a standard deviation has `act`, which is faster
        self._act: Callable[[Array], Array] | None = getattr(model, "act", None)
        self._delay = model.meta.action_delay
        self._columns = np.zeros((robot.n, robot.n + 1))
        self._diagonal = np.arange(robot.n), np.arange(1, robot.n + 1)
        self._count = max(round(WINDOW * robot.rate), 2)
        self.reset()

    def reset(self) -> None:
        """Forget all data."""
        size = self.robot.n + 1
        self._information, self._vector = np.zeros((size, size)), np.zeros(size)
        self._square = self._num_rows = 0.0  # of the residuals, by their weight
        self._lever = np.zeros(self.robot.n)  # torque of a load of 1 kg [N m/kg]
        self._persistence = np.zeros(size)  # [s]
        self.estimate = np.zeros(size)
        self.drifts: list[Drift] = []
        self.restart()

    def restart(self) -> None:
        """Begin a new window, after a gap."""
        self._samples: list[tuple[MeasuredState, Array]] = []

    def add(self, state: MeasuredState, torque: Array) -> None:
        """Add a joint state and the torque (n,) [N m] that answers it."""
        self._samples.append((state, torque))
        if len(self._samples) >= self._count:
            samples, self._samples = self._samples, []
            self._add_window(samples)

    def _add_window(self, samples: list[tuple[MeasuredState, Array]]) -> None:
        """Update the estimates with the mean residual of some samples."""
        states, torques = zip(*samples, strict=True)
        time, count = np.array([state.time for state in states]), len(states)
        if not states[0].qd.size or time[-1] - time[0] > 1.5 * WINDOW:
            return
        qd = np.array([state.qd for state in states])  # (T, n)
        sign = np.sign(qd[0])
        moves = (qd * sign > MOVING).all(axis=0)
        if not moves.any():
            return
        q = np.add.reduce([state.q for state in states]) / count
        centred = time - time.mean()
        qdd = centred @ qd / (centred @ centred)
        mean = np.add.reduce(qd) / count
        # torques act later: the motion that they caused is that much further
        ahead = self._delay
        frame = np.concatenate([q + ahead * mean, mean + ahead * qdd, qdd])
        residual = np.add.reduce(torques) / count - self._predict(frame)
        self._lever = self._load_torque(q, qdd)
        columns = self._columns  # (n, 1 + n)
        columns[:, 0] = self._lever
        columns[self._diagonal] = sign
        weighted = columns * (self._weight * moves)[:, None]
        self._information = self._forgetting * self._information + weighted.T @ columns
        self._vector = self._forgetting * self._vector + weighted.T @ residual
        square = float((residual**2 * self._weight)[moves].sum())
        self._square = self._forgetting * self._square + square
        self._num_rows = self._forgetting * self._num_rows + np.count_nonzero(moves)
        self._judge()

    def _predict(self, frame: Array) -> Array:
        """Return the torque (n,) of a frame of motion (3n,)."""
        if self._act is not None:
            return self._act(frame)
        steps = self._model.n_obs_steps
        ages = np.arange(1 - steps, 1) / self.robot.rate  # (steps,) [s]
        q, qd, qdd = frame.reshape(3, -1)
        age = ages[:, None]
        motion = np.concatenate(
            [q + age * qd + age**2 / 2 * qdd, qd + age * qdd, np.tile(qdd, (steps, 1))], axis=1
        )
        return self._model.predict(motion[None], ages[None]).mean[0, -1]

    def _load_torque(self, q: Array, qdd: Array) -> Array:
        """Return the torque (n,) of a mass of 1 kg at the tip [N m/kg]."""
        jacobian = self.robot.jacobian(q)[:3]
        acceleration = jacobian @ qdd
        acceleration[2] += GRAVITY
        return np.asarray(acceleration @ jacobian)

    def _judge(self) -> None:
        """Set the estimates, and the differences that are certain and large."""
        covariance = np.linalg.inv(self._information + self._prior)
        self.estimate = covariance @ self._vector
        # what neither explains, as just after a change, makes both less certain
        unexplained = self._square - float(self.estimate @ self._vector)
        covariance *= max(unexplained / max(self._num_rows, 1.0), 1.0)
        effort = self.robot.effort
        largest = float(np.max(np.abs(self._lever) / effort))
        limit = np.append(LOAD_LIMIT / max(largest, 1e-9), FRICTION_LIMIT * effort)
        certain = np.abs(self.estimate) > limit + NUM_STD * np.sqrt(np.diag(covariance))
        lasts = self._persistence + WINDOW
        self._persistence = np.where(certain, lasts, np.maximum(self._persistence - WINDOW, 0.0))
        self._persistence = np.minimum(self._persistence, 2 * PERSISTENCE)
        self.drifts = [
            self._drift(k, float(limit[k]))
            for k in (self._persistence > PERSISTENCE).nonzero()[0].tolist()
        ]

    def _drift(self, k: int, limit: float) -> Drift:
        names, value = self.robot.joint_names, float(self.estimate[k])
        if k == 0:
            j = int(np.argmax(np.abs(self._lever) / self.robot.effort))
            return Drift(LOAD, value, limit, "kg", names[j])
        return Drift(f"friction of {names[k - 1]}", value, limit, "N m", names[k - 1])
