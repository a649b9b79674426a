"""Toy task for reinforcement learning tests, which takes seconds to train."""

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

LEARNER = {
    "net_arch": [32, 32],
    "batch_size": 64,
    "learning_starts": 100,
    "learning_rate": 3e-3,
    "gamma": 0.9,
}
CONFIG = GraspTrainConfig(
    algorithm="sac",
    total_timesteps=900,
    learner=LEARNER,
    evaluation=PolicyEvaluationConfig(eval_freq=300, n_eval_episodes=10),
)
OBSERVATION_SIZE, ACTION_SIZE = 4, 2


class ReachEnv(gymnasium.Env):
    """A point moves to a target; the area of the targets depends on the difficulty."""

    observation_space = spaces.Box(-10.0, 10.0, (OBSERVATION_SIZE,), np.float32)
    action_space = spaces.Box(-1.0, 1.0, (ACTION_SIZE,), np.float32)
    area = 1.0

    def set_difficulty(self, area: float, noise: float) -> None:
        self.area = area

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.position, self.steps_left = np.zeros(2), 20
        self.target = self.np_random.uniform(-self.area, self.area, 2)
        return self._observation(), {}

    def expert_action(self, expert):
        return np.clip((self.target - self.position) / 0.2, -1, 1)

    def relabel(self, count):
        target = self.np_random.uniform(-self.area, self.area, (count, 2))
        position = np.tile(self.position, (count, 1))
        observations = np.hstack([position, target - position]).astype(np.float32)
        return observations, np.clip((target - position) / 0.2, -1, 1)

    def _observation(self):
        return np.concatenate([self.position, self.target - self.position]).astype(np.float32)

    def step(self, action):
        previous = np.linalg.norm(self.target - self.position)
        self.position = np.clip(self.position + 0.2 * np.asarray(action), -2, 2)
        distance = np.linalg.norm(self.target - self.position)
        self.steps_left -= 1
        reached, truncated = bool(distance < 0.15), self.steps_left == 0
        reward = float(previous - distance + reached)
        return self._observation(), reward, reached, truncated, {"is_success": reached}


class PixelReachEnv(ReachEnv):
    """ReachEnv with the target as a bright square in an image."""

    observation_space = spaces.Dict(
        {
            "pixels": spaces.Box(0, 255, (36, 36, 3), np.uint8),
            "state": spaces.Box(-10.0, 10.0, (2,), np.float32),
        }
    )

    def _observation(self):
        image = np.zeros((36, 36, 3), np.uint8)
        x, y = (16 + 14 * self.target).round().astype(int)
        image[y : y + 4, x : x + 4] = 255
        return {"pixels": image, "state": self.position.astype(np.float32)}


def make_env(num_envs: int, seed: int, env_type: type[ReachEnv] = ReachEnv) -> VecEnv:
    env = DummyVecEnv([lambda: Monitor(env_type()) for _ in range(num_envs)])
    env.seed(seed)
    return env


def demonstrations(episodes: int) -> Transitions:
    """Return episodes of an expert that moves straight to the target."""
    env, rows = ReachEnv(), []
    for k in range(episodes):
        observation, done = env.reset(seed=k)[0], False
        while not done:
            action = np.clip(observation[2:] / 0.2, -1, 1).astype(np.float32)
            next_observation, reward, terminated, truncated, _ = env.step(action)
            rows.append((observation, next_observation, action, reward, float(terminated)))
            observation, done = next_observation, terminated or truncated
    return Transitions.from_rows(rows)


TASK = LearningTask(make_env, demonstrations)
PIXEL_TASK = LearningTask(partial(make_env, env_type=PixelReachEnv), demonstrations)
