"""Imitation of a teacher, wherever the learner itself goes.

DAgger (Ross, Gordon and Bagnell 2011): the learner acts on what it sees, late and noisy, and in
every state so reached the teacher says what it would have done. The memory keeps all of it.
"""

from __future__ import annotations

import copy
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
from invdyn_ros.typing import Mask

END_RATE = 0.05  # of the first learning rate, at the end
NOISE_CORRELATION = (
    0.92  # share of a disturbance that is left after a step: half a second at 25 Hz
)
LATER = 7919  # a resumed run draws other numbers than the first one


class ExpertMixing:
    """Who drives each environment's present episode, and how disturbed."""

    def __init__(self, settings: DaggerConfig, processes: int, actions: int, seed: int) -> None:
        """Let the teacher drive."""
        self.settings, self.random = settings, np.random.default_rng(seed)
        self.taught = np.ones(processes, bool)
        self.rough = np.zeros(processes, bool)
        self.drift = np.zeros((processes, actions))

    def act(self, own: NDArray[np.float32], taught: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return what is done (P, a), given what learner and teacher would do."""
        kick = np.sqrt(1 - NOISE_CORRELATION**2) * self.settings.action_noise_std
        self.drift = NOISE_CORRELATION * self.drift + kick * self.random.standard_normal(
            self.drift.shape
        )
        self.drift[:, -1] = 0.0  # a gripper that opens by chance drops the block
        action = np.where(self.taught[:, None], taught, own) + self.drift * self.rough[:, None]
        return action.clip(-1, 1).astype(np.float32)

    def change(self, over: Mask, started: bool) -> None:
        """Draw drivers for the episodes after those that are over (P,)."""
        guided = self.random.random(over.shape) < self.settings.beta
        rough = self.random.random(over.shape) < 0.5  # every other one
        self.taught = np.where(over, guided | (not started), self.taught)
        self.rough = np.where(over, rough, self.rough)
        self.drift[over] = 0.0


class DaggerTraining(GraspTraining):
    """A run of DAgger."""

    learner_config: DaggerConfig

    def train(self, resume: bool) -> None:
        """Learn until the steps are done."""
        config = self.config
        with closing(self.task.make_env(config.num_envs, config.seed)) as env:
            self._prepare(env)
            if resume:
                self._resume()
            self.logger = configure(str(self.out / LOG_FOLDER), ["tensorboard"])
            self.apply_curriculum(env)
            self._imitate(env)
            self.finish(self.num_timesteps, self.logger)

    def _prepare(self, env: VecEnv) -> None:
        config = self.config
        if config.total_timesteps <= self.learner_config.learning_starts:
            raise ValueError(
                f"total_timesteps is {config.total_timesteps}, all of them driven by the teacher; give more than "
                f"learner.learning_starts, {self.learner_config.learning_starts}"
            )
        size, actions = space_sizes(env)
        torch.manual_seed(config.seed)
        self.learner = MLPPolicy(self.policy_metadata(env, "tanh", 0))
        self.optimizer = torch.optim.Adam(
            self.learner.parameters(), self.learner_config.learning_rate
        )
        self.observations = np.zeros((config.total_timesteps, size), np.float32)
        self.expert_actions = np.zeros((config.total_timesteps, actions), np.float32)
        self.num_timesteps = self.num_updates = 0

    def _imitate(self, env: VecEnv) -> None:
        """Act, ask the teacher, and learn from all that it ever said."""
        config, due = self.config, self.config.evaluation.eval_freq
        drivers = ExpertMixing(
            self.learner_config,
            env.num_envs,
            self.expert_actions.shape[1],
            config.seed + self.num_timesteps,
        )
        observation = np.asarray(env.reset())
        while self.num_timesteps < config.total_timesteps:
            taught = np.array(
                env.env_method("expert_action", self.learner_config.expert), np.float32
            )
            rows = slice(
                self.num_timesteps, min(self.num_timesteps + env.num_envs, config.total_timesteps)
            )
            count = rows.stop - rows.start
            self.observations[rows], self.expert_actions[rows] = (
                observation[:count],
                taught[:count],
            )
            started = rows.stop >= self.learner_config.learning_starts
            action = drivers.act(self.learner.act(observation), taught)
            after, _, over, infos = env.step(action)
            observation = np.asarray(after)
            drivers.change(over, started)
            self.update_curriculum(infos, env)
            self._learn(rows.stop)
            self.callback(self.num_timesteps, self.best)
            if self.num_timesteps // due > rows.start // due:
                self.evaluate(self.num_timesteps, self.logger)
                self.save_checkpoint()

    def _learn(self, num_timesteps: int) -> None:
        """Do the updates that are due after so many steps; none before the teacher has begun."""
        self.num_timesteps = num_timesteps
        if num_timesteps < self.learner_config.learning_starts:
            return
        if not self.num_updates:
            first = torch.from_numpy(self.observations[:num_timesteps])
            self.learner.mean.copy_(first.mean(0))
            self.learner.scale.copy_(first.std(0).clamp(min=MIN_OBSERVATION_STD))
        left = 1 - (1 - END_RATE) * num_timesteps / self.config.total_timesteps
        for group in self.optimizer.param_groups:
            group["lr"] = left * self.learner_config.learning_rate
        while self.num_updates < self.learner_config.gradient_steps * num_timesteps:
            at = torch.randint(num_timesteps, (self.learner_config.batch_size,)).numpy()
            answer = self.learner(torch.from_numpy(self.observations[at]))
            loss = nn.functional.mse_loss(answer, torch.from_numpy(self.expert_actions[at]))
            self.optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
            self.num_updates += 1
            self.logger.record("imitation/loss", float(loss.detach()))

    def save_checkpoint(self) -> None:
        """Write the state of the run, to go on from."""
        tensors = {f"policy.{k}": v for k, v in self.learner.state_dict().items()}
        for number, entries in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{number}.{k}": torch.as_tensor(v) for k, v in entries.items()}
        tensors["observations"] = torch.from_numpy(self.observations[: self.num_timesteps])
        tensors["expert_actions"] = torch.from_numpy(self.expert_actions[: self.num_timesteps])
        save_learner_state(
            tensors,
            {"num_timesteps": self.num_timesteps, "num_updates": self.num_updates},
            self.progress,
            self.out,
        )

    def _resume(self) -> None:
        tensors, counts, progress = load_learner_state(self.fixed_config, self.out)
        self.restore(progress)
        try:
            self.num_timesteps, self.num_updates = counts["num_timesteps"], counts["num_updates"]
            kept = len(tensors["observations"])
            if kept > len(self.observations):
                raise ValueError(
                    f"{self.out} holds {kept} steps; give --total-timesteps of more than that"
                )
            self.observations[:kept], self.expert_actions[:kept] = (
                tensors["observations"].numpy(),
                tensors["expert_actions"].numpy(),
            )
            own = {k[7:]: v for k, v in tensors.items() if k.startswith("policy.")}
            self.learner.load_state_dict(own)
            state: dict[int, dict[str, torch.Tensor]] = {}
            for name, value in tensors.items():
                if name.startswith("optimizer."):
                    _, number, key = name.split(".")
                    state.setdefault(int(number), {})[key] = value
            groups = self.optimizer.state_dict()["param_groups"]
            self.optimizer.load_state_dict({"state": state, "param_groups": groups})
        except (KeyError, RuntimeError) as error:
            raise damaged_state_error(self.out, error) from error
        torch.manual_seed(self.config.seed + LATER * self.num_timesteps)

    def policy(self, step: int) -> MLPPolicy:
        """Return a copy of the learner."""
        policy = copy.deepcopy(self.learner).eval()
        policy.meta.data["steps"] = step
        return policy
