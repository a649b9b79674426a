"""A pendulum is brought to an angle and held there: who acts enters, what came of it leaves."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from invdyn_ros.models.planner.receding_horizon import VELOCITY_WEIGHT
from invdyn_ros.sources.pendulum import PendulumConfig, pendulum_acceleration
from invdyn_ros.typing import Array

MAX_TORQUE = 30.0  # [N m] of the actuator
EPISODE_SECONDS = 3.0  # of an episode
MAX_ANGLE = 2.0  # [rad] starts and goals lie this far to either side of hanging down

Agent = Callable[[Array, Array], tuple[Array, Array]]  # state, goal -> action (1,), plan (T, 2)


class Episode(NamedTuple):
    """An episode as it went, of K ticks."""

    state: Array  # (K + 1, 2) [rad, rad/s]
    goal: Array  # (2,)
    action: Array  # (K,) [N m]
    plan: list[Array]  # K of (T, 2), each the plan that is followed; T is 0 without one
    seconds: Array  # (K,) that it took to decide

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
    """Return states at rest and goals at rest."""
    angles = np.random.default_rng(seed).uniform(-MAX_ANGLE, MAX_ANGLE, (count, 2))
    return [(np.array([a, 0.0]), np.array([b, 0.0])) for a, b in angles]


def rollout(pendulum: PendulumConfig, act: Agent, start: Array, goal: Array) -> Episode:
    """Let somebody act in an episode."""
    dt, state = 1 / pendulum.rate, [start]
    actions, plans, taken = [], [], []
    for _ in range(round(EPISODE_SECONDS * pendulum.rate)):
        begun = time.perf_counter()
        action, plan = act(state[-1], goal)
        taken.append(time.perf_counter() - begun)
        torque = float(np.clip(action[0], -MAX_TORQUE, MAX_TORQUE))
        q, qd = state[-1]
        qd = qd + dt * pendulum_acceleration(pendulum, q, qd, torque)
        state.append(np.array([q + dt * qd, qd]))
        actions.append(torque)
        plans.append(plan)
    return Episode(np.array(state), goal, np.array(actions), plans, np.array(taken))
