"""Dataset aggregation (DAgger; Ross, Gordon and Bagnell 2011, arXiv:1011.0686).

The learner acts on its delayed and noisy observations. The expert labels every visited state with
its own action, also with other blocks and goals, and the learner is trained on all labels so far.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import closing

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.logger import configure
from stable_baselines3.common.vec_env import VecEnv
from torch import nn

from invdyn_ros.grasp.learning.config import DaggerConfig
from invdyn_ros.grasp.learning.learner_state import (
    damaged_state_error,
    load_learner_state,
    save_learner_state,
)
from invdyn_ros.grasp.learning.run import LOG_FOLDER, GraspTraining, space_sizes
from invdyn_ros.grasp.learning.sb3_algorithms import MIN_OBSERVATION_STD
from invdyn_ros.grasp.policies.network import MLPPolicy
from invdyn_ros.training.optimizer import Optimizer, OptimizerConfig
from invdyn_ros.training.training_state import add_prefix, strip_prefix
from invdyn_ros.typing import Mask

FINAL_LR_FRACTION = 0.05  # final over initial learning rate
NOISE_CORRELATION = 0.92  # of the action noise of successive steps: half a second at 25 Hz
NOISY_FRACTION = 0.5  # fraction of the episodes with action noise
RESUME_SEED_STRIDE = 7919  # per step: a resumed run draws other numbers than the first one


class ExpertMixing:
    """Choose for each episode whether expert or learner acts, and whether actions are noisy."""

    def __init__(self, config: DaggerConfig, num_envs: int, action_size: int, seed: int) -> None:
        """Create a mixture; in the first episodes the expert acts without noise.

        Args:
            config: fraction of episodes of the expert, and standard deviation of the noise.
            num_envs: number of parallel environments.
            action_size: size of an action.
            seed: seed of choices and noise.
        """
        self.config, self.rng = config, np.random.default_rng(seed)
        self.expert_acts = np.ones(num_envs, bool)
        self.is_noisy = np.zeros(num_envs, bool)
        self.noise = np.zeros((num_envs, action_size))

    def mix(
        self, learner_action: NDArray[np.float32], expert_action: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Return the actions (P, a) to apply, given those of learner and expert (P, a)."""
        scale = np.sqrt(1 - NOISE_CORRELATION**2) * self.config.action_noise_std
        self.noise = NOISE_CORRELATION * self.noise + scale * self.rng.standard_normal(
            self.noise.shape
        )
        self.noise[:, -1] = 0.0  # a gripper that noise opens would drop the block
        action = np.where(self.expert_acts[:, None], expert_action, learner_action)
        action = action + self.noise * self.is_noisy[:, None]
        return action.clip(-1, 1).astype(np.float32)

    def start_episodes(self, dones: Mask, learner_started: bool) -> None:
        """Choose again for the environments in which an episode ended.

        Args:
            dones: (P,) whether an episode ended in each environment.
            learner_started: whether the learner may act; if not, the expert acts.
        """
        expert_acts = self.rng.random(dones.shape) < self.config.beta
        is_noisy = self.rng.random(dones.shape) < NOISY_FRACTION
        self.expert_acts = np.where(dones, expert_acts | (not learner_started), self.expert_acts)
        self.is_noisy = np.where(dones, is_noisy, self.is_noisy)
        self.noise[dones] = 0.0


class DaggerTraining(GraspTraining):
    """A training run with DAgger."""

    learner_config: DaggerConfig

    def train(self, resume: bool) -> None:
        """Train for all remaining environment steps."""
        config = self.config
        with closing(self.task.make_env(config.num_envs, config.seed)) as env:
            self._prepare(env)
            if resume:
                self._resume()
            self.logger = configure(str(self.out / LOG_FOLDER), ["tensorboard"])
            self.apply_curriculum(env)
            self._rollout(env)
            self.finish(self.num_timesteps, self.logger)

    def _prepare(self, env: VecEnv) -> None:
        config, learner_config = self.config, self.learner_config
        if config.total_timesteps <= learner_config.learning_starts:
            raise ValueError(
                f"total_timesteps is {config.total_timesteps}; it must be above "
                f"learner.learning_starts, {learner_config.learning_starts}, until which only the "
                "expert acts"
            )
        observation_size, action_size = space_sizes(env)
        torch.manual_seed(config.seed)
        self.learner = MLPPolicy(self.policy_metadata(env, "tanh", 0))
        optimizer_config = OptimizerConfig(
            learning_rate=learner_config.learning_rate, max_grad_norm=0.0
        )
        self.optimizer = Optimizer(self.learner.parameters(), optimizer_config, fused=False)
        shape = config.total_timesteps, 1 + learner_config.relabeled
        self.observations = np.zeros((*shape, observation_size), np.float32)
        self.expert_actions = np.zeros((*shape, action_size), np.float32)
        self.num_timesteps = self.num_updates = 0

    def _rollout(self, env: VecEnv) -> None:
        """Step the environments, label the states by the expert and train on all labels so far."""
        config, eval_freq = self.config, self.config.evaluation.eval_freq
        mixing = ExpertMixing(
            self.learner_config,
            env.num_envs,
            self.expert_actions.shape[-1],
            config.seed + self.num_timesteps,
        )
        observation = np.asarray(env.reset())
        while self.num_timesteps < config.total_timesteps:
            labels = env.env_method("expert_action", self.learner_config.expert)
            expert_action = np.array(labels, np.float32)
            start = self.num_timesteps
            rows = slice(start, min(start + env.num_envs, config.total_timesteps))
            count = rows.stop - rows.start
            self.observations[rows, 0] = observation[:count]
            self.expert_actions[rows, 0] = expert_action[:count]
            if self.learner_config.relabeled:
                relabeled = env.env_method("relabel", self.learner_config.relabeled)
                for row, (other_observations, other_actions) in enumerate(
                    relabeled[:count], start
                ):
                    self.observations[row, 1:] = other_observations
                    self.expert_actions[row, 1:] = other_actions
            learner_started = rows.stop >= self.learner_config.learning_starts
            action = mixing.mix(self.learner.act(observation), expert_action)
            next_observation, _, dones, infos = env.step(action)
            observation = np.asarray(next_observation)
            mixing.start_episodes(dones, learner_started)
            self.update_curriculum(infos, env)
            self._update(rows.stop)
            self.callback(self.num_timesteps, self.best)
            if self.num_timesteps // eval_freq > rows.start // eval_freq:
                self.evaluate(self.num_timesteps, self.logger)
                self.save_checkpoint()

    def _update(self, num_timesteps: int) -> None:
        """Take the gradient steps that are due after a number of environment steps."""
        self.num_timesteps, learner_config = num_timesteps, self.learner_config
        if num_timesteps < learner_config.learning_starts:
            return
        if not self.num_updates:
            first = torch.from_numpy(self.observations[:num_timesteps]).flatten(0, 1)
            self.learner.mean.copy_(first.mean(0))
            self.learner.scale.copy_(first.std(0).clamp(min=MIN_OBSERVATION_STD))
        lr_fraction = 1 - (1 - FINAL_LR_FRACTION) * num_timesteps / self.config.total_timesteps
        self.optimizer.set_learning_rate(lr_fraction * learner_config.learning_rate)
        self.optimizer.minimize(self._loss, self._batches(), on_step=self._on_update)

    def _batches(self) -> Iterator[tuple[NDArray[np.int64]]]:
        """Yield the steps and columns of a random batch for each gradient step that is due."""
        config, shape = (
            self.learner_config,
            (self.num_timesteps, 1 + self.learner_config.relabeled),
        )
        while self.num_updates < config.gradient_steps * self.num_timesteps:
            index = torch.randint(shape[0] * shape[1], (config.batch_size,)).numpy()
            yield (np.stack(np.unravel_index(index, shape)),)

    def _loss(self, index: NDArray[np.int64]) -> torch.Tensor:
        """Return the mean squared error of the learner's actions in a batch of samples (2, B)."""
        rows = tuple(index)
        output = self.learner(torch.from_numpy(self.observations[rows]))
        return nn.functional.mse_loss(output, torch.from_numpy(self.expert_actions[rows]))

    def _on_update(self, loss: float) -> None:
        self.num_updates += 1
        self.logger.record("dagger/loss", loss)

    def save_checkpoint(self) -> None:
        """Write the state from which the run can be resumed."""
        tensors = add_prefix("policy", self.learner.state_dict())
        tensors |= add_prefix("optimizer", self.optimizer.state_dict())
        tensors["observations"] = torch.from_numpy(self.observations[: self.num_timesteps])
        tensors["expert_actions"] = torch.from_numpy(self.expert_actions[: self.num_timesteps])
        counts = {"num_timesteps": self.num_timesteps, "num_updates": self.num_updates}
        save_learner_state(tensors, counts, self.progress, self.out)

    def _resume(self) -> None:
        tensors, counts, progress = load_learner_state(self.fixed_config, self.out)
        self.restore(progress)
        try:
            self.num_timesteps, self.num_updates = counts["num_timesteps"], counts["num_updates"]
            rows = len(tensors["observations"])
            if rows > len(self.observations):
                raise ValueError(
                    f"{self.out} holds {rows} steps; give --total-timesteps above {rows}"
                )
            self.observations[:rows] = tensors["observations"].numpy()
            self.expert_actions[:rows] = tensors["expert_actions"].numpy()
            self.learner.load_state_dict(strip_prefix("policy", tensors))
            self.optimizer.load_state_dict(strip_prefix("optimizer", tensors))
        except (KeyError, RuntimeError) as error:
            raise damaged_state_error(self.out, error) from error
        torch.manual_seed(self.config.seed + RESUME_SEED_STRIDE * self.num_timesteps)

    def policy(self, timesteps: int) -> MLPPolicy:
        """Return a copy of the learner with the number of its training steps."""
        policy = copy.deepcopy(self.learner).eval()
        policy.meta.data["timesteps"] = timesteps
        return policy
