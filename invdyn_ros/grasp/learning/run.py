"""Base class of the training runs of grasp policies."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import VecEnv

from invdyn_ros.config import to_mapping
from invdyn_ros.data.atomic_file import write_json
from invdyn_ros.grasp.envs.grasp_env import GraspEnv
from invdyn_ros.grasp.envs.registration import ARMS, NAMESPACE
from invdyn_ros.grasp.envs.transitions import Transitions
from invdyn_ros.grasp.envs.vector_env import make_vec_env
from invdyn_ros.grasp.learning.config import GraspTrainConfig
from invdyn_ros.grasp.learning.curriculum import Curriculum
from invdyn_ros.grasp.learning.demonstration_dataset import read_demonstrations
from invdyn_ros.grasp.learning.evaluation import EvaluationResult, evaluate_policy
from invdyn_ros.grasp.learning.replay_buffer import record_demonstrations
from invdyn_ros.grasp.policies.network import MLPPolicy, PolicyMetadata, save_policy
from invdyn_ros.grasp.policies.spaces import SpaceSpec

EVALUATION_SEED_OFFSET = 2_000_000  # from the seed of training
CURVE_FILE = "curve.json"  # results of all evaluations of a run
LOG_FOLDER = "logs"  # TensorBoard files
CHANGEABLE_FIELDS = ("total_timesteps", "num_envs", "evaluation")  # a resumed run may change


class LearningTask(NamedTuple):
    """A task to learn.

    Attributes:
        make_env: returns vectorized environments, given their number and the first seed.
        record_demonstrations: returns the recorded demonstrations and those of the scripted
            policy, given the number of the latter.
    """

    make_env: Callable[[int, int], VecEnv]
    record_demonstrations: Callable[[int], Transitions]


def grasp_task(config: GraspTrainConfig) -> LearningTask:
    """Return the task of grasping with an arm."""
    env_kwargs: dict[str, Any] = {
        "obs_mode": config.obs_mode,
        "control_mode": config.control_mode,
        "noise": config.noise,
        "random_goal": config.random_goal,
        "action_space": config.action_space,
        "max_episode_seconds": config.max_episode_seconds,
    }
    name = next(name for name, arm in ARMS.items() if arm == config.arm)

    def make_env(num_envs: int, seed: int) -> VecEnv:
        return make_vec_env(f"{NAMESPACE}/Grasp{name}-v0", num_envs, seed, **env_kwargs)

    def demonstrations(episodes: int) -> Transitions:
        parts, data = [], config.demonstrations.data
        if data:
            spec = SpaceSpec(config.arm, config.control_mode, config.action_space)
            parts.append(read_demonstrations(data, spec))
        if episodes:
            with closing(GraspEnv(arm=config.arm, **env_kwargs)) as env:
                parts.append(record_demonstrations(env, episodes, config.seed))
        return Transitions.concatenate(parts)

    return LearningTask(make_env, demonstrations)


class PixelPolicy(NamedTuple):
    """Policy with pixel observations, which is evaluated but not exported.

    Attributes:
        act: returns the actions (P, a) for the observations of P environments.
    """

    act: Callable[[Any], NDArray[np.float32]]


class GraspTraining(ABC):
    """Training run with curriculum, evaluations and best policy; see `train_grasp`.

    Attributes:
        curve: results of the evaluations so far, in order.
    """

    def __init__(
        self,
        config: GraspTrainConfig,
        task: LearningTask,
        out: Path,
        callback: Callable[[int, EvaluationResult | None], None],
    ) -> None:
        """Prepare a run.

        Args:
            config: settings of the run.
            task: task to learn.
            out: folder of the run.
            callback: called after each step with the number of environment steps and the best
                result so far.
        """
        self.config, self.task, self.out, self.callback = config, task, out, callback
        self.learner_config = config.learner_config()
        self.curriculum = Curriculum(config.curriculum)
        self.curve: list[EvaluationResult] = []
        self._start_time = time.monotonic()

    @property
    def best(self) -> EvaluationResult | None:
        """Best evaluation result so far; None before the first evaluation."""
        return max(self.curve, key=lambda result: result.score, default=None)

    @abstractmethod
    def train(self, resume: bool) -> None:
        """Train for all remaining environment steps.

        Args:
            resume: whether to continue the run in the folder.
        """

    @abstractmethod
    def save_checkpoint(self) -> None:
        """Write the state from which the run can be resumed."""

    @abstractmethod
    def policy(self, timesteps: int) -> MLPPolicy | PixelPolicy:
        """Return the learner's deterministic policy after a number of environment steps."""

    @property
    def fixed_config(self) -> dict[str, Any]:
        """Settings that must stay the same when the run is resumed."""
        settings = to_mapping(self.config)
        return {k: v for k, v in settings.items() if k not in CHANGEABLE_FIELDS}

    @property
    def progress(self) -> dict[str, Any]:
        """State of the run besides the learner."""
        return {"settings": self.fixed_config, "level": self.curriculum.level, "curve": self.curve}

    def restore(self, progress: dict[str, Any]) -> None:
        """Restore the run from its saved `progress`."""
        self.curriculum.level = progress["level"]
        self.curve = [EvaluationResult(*result) for result in progress["curve"]]
        self._start_time -= self.curve[-1].seconds if self.curve else 0.0

    def update_curriculum(self, infos: Iterable[dict[str, Any]], env: VecEnv) -> None:
        """Update the curriculum with the outcomes of the episodes that ended in a step."""
        for info in infos:
            if "episode" in info and self.curriculum.update(bool(info["is_success"])):
                self.apply_curriculum(env)

    def apply_curriculum(self, env: VecEnv) -> None:
        """Set the difficulty of the environments to the curriculum's level."""
        env.env_method("set_difficulty", *self.curriculum.fractions)

    def evaluate(self, timesteps: int, logger: Logger) -> None:
        """Evaluate the policy at full difficulty, and save it if it is the best so far."""
        config, policy = self.config, self.policy(timesteps)
        seed, episodes = config.seed + EVALUATION_SEED_OFFSET, config.evaluation.n_eval_episodes
        with closing(self.task.make_env(config.num_envs, seed)) as env:
            result = evaluate_policy(policy.act, env, episodes)
        seconds = round(time.monotonic() - self._start_time, 1)
        self.curve.append(result._replace(timesteps=timesteps, seconds=seconds))
        rows = [result._asdict() for result in self.curve]
        write_json(self.out / CURVE_FILE, rows)
        logger.record("eval/success_rate", result.successes / episodes)
        logger.record("eval/mean_reward", result.mean_reward)
        logger.record("curriculum/level", self.curriculum.level)
        logger.dump(timesteps)
        if self.best is self.curve[-1] and isinstance(policy, MLPPolicy):
            policy.meta.data.update(successes=result.successes, episodes=episodes)
            save_policy(policy, self.out)

    def finish(self, timesteps: int, logger: Logger) -> None:
        """Evaluate the final policy, unless it has been evaluated, and save the run's state."""
        if not self.curve or self.curve[-1].timesteps < timesteps:
            self.evaluate(timesteps, logger)
        self.save_checkpoint()

    def policy_metadata(self, env: VecEnv, squash: str, timesteps: int) -> PolicyMetadata:
        """Return the metadata of a policy of this run.

        Args:
            env: environments that the policy acts in.
            squash: function that maps the output to [-1, 1]: tanh or clip.
            timesteps: number of environment steps of its training.
        """
        config, (observation_size, action_size) = self.config, space_sizes(env)
        return PolicyMetadata(
            config.arm,
            observation_size,
            action_size,
            self.learner_config.net_arch,
            squash,  # type: ignore[arg-type]
            config.algorithm,
            config.control_mode,
            config.action_space,
            {"timesteps": timesteps, "noise": config.noise, "seed": config.seed},
        )


def space_sizes(env: VecEnv) -> tuple[int, int]:
    """Return the sizes of an observation and an action.

    Raises:
        ValueError: the observations are not vectors.
    """
    observation, action = env.observation_space.shape, env.action_space.shape
    if observation is None or action is None or len(observation) != 1:
        raise ValueError(f"observations have shape {observation}; a policy needs vectors")
    return observation[0], action[0]
