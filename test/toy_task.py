"""A task that is learned in seconds, in the place of the grasp."""

from __future__ import annotations

from functools import partial

import gymnasium
import numpy as np
from gymnasium import spaces
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

from invdyn_ros.grasp.envs.transitions import Transitions
from invdyn_ros.grasp.learning.config import GraspTrainConfig
from invdyn_ros.grasp.learning.evaluation import PolicyEvaluationConfig
from invdyn_ros.grasp.learning.run import LearningTask

SMALL = {
    "net_arch": [32, 32],
    "batch_size": 64,
    "learning_starts": 100,
    "learning_rate": 3e-3,
    "gamma": 0.9,
}
CONFIG = GraspTrainConfig(
    algorithm="sac",
    total_timesteps=900,
    learner=SMALL,
    evaluation=PolicyEvaluationConfig(eval_freq=300, n_eval_episodes=10),
)
SIZE, ACTIONS = 4, 2  # of the toy's observations and actions


class Toy(gymnasium.Env):
    """A point moves to a target; the area of the targets can be eased."""

    observation_space = spaces.Box(-10.0, 10.0, (SIZE,), np.float32)
    action_space = spaces.Box(-1.0, 1.0, (ACTIONS,), np.float32)
    area = 1.0

    def set_difficulty(self, area: float, noise: float) -> None:
        self.area = area

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place, self.left = np.zeros(2), 20
        self.target = self.np_random.uniform(-self.area, self.area, 2)
        return self._seen(), {}

    def expert_action(self, expert):
        return np.clip((self.target - self.place) / 0.2, -1, 1)

    def _seen(self):
        return np.concatenate([self.place, self.target - self.place]).astype(np.float32)

    def step(self, action):
        before = np.linalg.norm(self.target - self.place)
        self.place = np.clip(self.place + 0.2 * np.asarray(action), -2, 2)
        distance, self.left = np.linalg.norm(self.target - self.place), self.left - 1
        there = bool(distance < 0.15)
        pay = float(before - distance + there)
        return self._seen(), pay, there, self.left == 0, {"is_success": there}


class SeenToy(Toy):
    """The same, where the target is a bright square in a picture."""

    observation_space = spaces.Dict(
        {
            "pixels": spaces.Box(0, 255, (36, 36, 3), np.uint8),
            "state": spaces.Box(-10.0, 10.0, (2,), np.float32),
        }
    )

    def _seen(self):
        picture = np.zeros((36, 36, 3), np.uint8)
        x, y = (16 + 14 * self.target).round().astype(int)
        picture[y : y + 4, x : x + 4] = 255
        return {"pixels": picture, "state": self.place.astype(np.float32)}


def make(processes: int, seed: int, kind: type[Toy] = Toy) -> VecEnv:
    env = DummyVecEnv([lambda: Monitor(kind()) for _ in range(processes)])
    env.seed(seed)
    return env


def demonstrate(episodes: int) -> Transitions:
    """Straight to the target, recognisable by a reward that the toy never pays."""
    toy, rows = Toy(), []
    for k in range(episodes):
        seen, over = toy.reset(seed=k)[0], False
        while not over:
            action = np.clip(seen[2:] / 0.2, -1, 1).astype(np.float32)
            after, reward, there, late, _ = toy.step(action)
            rows.append((seen, after, action, reward, float(there)))
            seen, over = after, there or late
    return Transitions(*(np.array(c, np.float32) for c in zip(*rows, strict=True)))


TASK = LearningTask(make, demonstrate)
SEEN_TASK = LearningTask(partial(make, kind=SeenToy), demonstrate)
