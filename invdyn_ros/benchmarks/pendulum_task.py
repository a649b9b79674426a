"""Pendulum task: move to an angle and stay there."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from invdyn_ros.models.planner.receding_horizon import VELOCITY_WEIGHT
from invdyn_ros.sources.pendulum import PendulumConfig, pendulum_acceleration
from invdyn_ros.typing import Array

MAX_TORQUE = 30.0  # [N m] of the actuator
EPISODE_SECONDS = 3.0
MAX_ANGLE = 2.0  # [rad] starts and goals are within this distance of the lowest position

Agent = Callable[[Array, Array], tuple[Array, Array]]  # state, goal -> action (1,), plan (T, 2)


class Episode(NamedTuple):
    """An episode of K steps."""

    state: Array  # (K + 1, 2) [rad, rad/s]
    goal: Array  # (2,)
    action: Array  # (K,) [N m]
    plan: list[Array]  # K of (T, 2), the plan that is executed at each step; T is 0 without one
    seconds: Array  # (K,) duration of each call of the agent

    @property
    def score(self) -> float:
        """Mean over the episode of -((q - q*)^2 + 0.1 qd^2) [rad2]."""
        error = np.square(self.state[1:] - self.goal) @ np.array([1.0, VELOCITY_WEIGHT])
        return -float(error.mean())

    @property
    def final_distance(self) -> float:
        """Mean distance to the goal in the last third [rad]."""
        return float(np.abs(self.state[-len(self.action) // 3 :, 0] - self.goal[0]).mean())

    @property
    def action_smoothness(self) -> float:
        """Mean square of the second difference of the actions [N m]^2."""
        return float(np.square(np.diff(self.action, n=2)).mean())


def start_goal_pairs(seed: int, count: int) -> list[tuple[Array, Array]]:
    """Return random starts and goals, both at rest."""
    angles = np.random.default_rng(seed).uniform(-MAX_ANGLE, MAX_ANGLE, (count, 2))
    return [(np.array([a, 0.0]), np.array([b, 0.0])) for a, b in angles]


def rollout(pendulum: PendulumConfig, agent: Agent, start: Array, goal: Array) -> Episode:
    """Simulate an episode.

    Args:
        pendulum: parameters of the pendulum.
        agent: returns action and plan.
        start: (2,) first state [rad, rad/s].
        goal: (2,) desired state [rad, rad/s].
    """
    dt, states = 1 / pendulum.rate, [start]
    actions, plans, durations = [], [], []
    for _ in range(round(EPISODE_SECONDS * pendulum.rate)):
        start_time = time.perf_counter()
        action, plan = agent(states[-1], goal)
        durations.append(time.perf_counter() - start_time)
        torque = float(np.clip(action[0], -MAX_TORQUE, MAX_TORQUE))
        q, qd = states[-1]
        qd = qd + dt * pendulum_acceleration(pendulum, q, qd, torque)
        states.append(np.array([q + dt * qd, qd]))
        actions.append(torque)
        plans.append(plan)
    return Episode(np.array(states), goal, np.array(actions), plans, np.array(durations))
