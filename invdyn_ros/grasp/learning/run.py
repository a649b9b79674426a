"""A run in which a policy is learned: what all ways of learning share."""

from __future__ import annotations

import json
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
from invdyn_ros.models.checkpoint import write_atomically

EVALUATION_SEED_OFFSET = 2_000_000  # seeds of evaluations start this far from those of training
CURVE_FILE = "curve.json"  # the evaluations of a run
LOG_FOLDER = "logs"  # folder of TensorBoard's files in that of the run
CHANGEABLE_FIELDS = (
    "total_timesteps",
    "num_envs",
    "evaluation",
)  # settings that a resumed run may change


class LearningTask(NamedTuple):
    """What is learned.

    Attributes:
        make: returns as many environments as told, with seeds from the one told on.
        demonstrate: returns as many episodes of a script as told, after those that were recorded.
    """

    make_env: Callable[[int, int], VecEnv]
    record_demonstrations: Callable[[int], Transitions]


def grasp_task(config: GraspTrainConfig) -> LearningTask:
    """Return the grasp of an arm as a task."""
    changes: dict[str, Any] = {
        "obs_mode": config.obs_mode,
        "control_mode": config.control_mode,
        "noise": config.noise,
        "action_space": config.action_space,
        "max_episode_seconds": config.max_episode_seconds,
    }
    name = next(name for name, arm in ARMS.items() if arm == config.arm)

    def make(processes: int, seed: int) -> VecEnv:
        return make_vec_env(f"{NAMESPACE}/Grasp{name}-v0", processes, seed, **changes)

    def demonstrate(episodes: int) -> Transitions:
        shown, data = [], config.demonstrations.data
        if data:
            of = SpaceSpec(config.arm, config.control_mode, config.action_space)
            shown.append(read_demonstrations(data, of))
        if episodes:
            with closing(GraspEnv(arm=config.arm, **changes)) as environment:
                shown.append(record_demonstrations(environment, episodes, config.seed))
        return Transitions.concatenate(shown)

    return LearningTask(make, demonstrate)


class PixelPolicy(NamedTuple):
    """A learner that acts on pixels; it is judged, but no policy is kept of it.

    Attributes:
        act: returns the actions (P, a) for observations of P environments.
    """

    act: Callable[[Any], NDArray[np.float32]]


class GraspTraining(ABC):
    """One run: curriculum, evaluations and the best policy so far; see `learning.learn`.

    Attributes:
        curve: the evaluations, one after the other.
    """

    def __init__(
        self,
        config: GraspTrainConfig,
        task: LearningTask,
        out: Path,
        callback: Callable[[int, EvaluationResult | None], None],
    ) -> None:
        """Prepare a run."""
        self.config, self.task, self.out, self.callback = config, task, out, callback
        self.learner_config = config.learner_config()
        self.curriculum = Curriculum(config.curriculum)
        self.curve: list[EvaluationResult] = []
        self._began = time.monotonic()

    @property
    def best(self) -> EvaluationResult | None:
        """How the best policy did in the evaluation that chose it."""
        return max(self.curve, key=lambda result: result.score, default=None)

    @abstractmethod
    def train(self, resume: bool) -> None:
        """Learn until the steps are done."""

    @abstractmethod
    def save_checkpoint(self) -> None:
        """Write the state of the run, to go on from."""

    @abstractmethod
    def policy(self, step: int) -> MLPPolicy | PixelPolicy:
        """Return what the learner would do now, by itself."""

    @property
    def fixed_config(self) -> dict[str, Any]:
        """The settings that a resumed run must share with the first one."""
        return {k: v for k, v in to_mapping(self.config).items() if k not in CHANGEABLE_FIELDS}

    @property
    def progress(self) -> dict[str, Any]:
        """What to keep of a run besides the learner."""
        return {"settings": self.fixed_config, "level": self.curriculum.level, "curve": self.curve}

    def restore(self, progress: dict[str, Any]) -> None:
        """Go on from what was kept."""
        self.curriculum.level = progress["level"]
        self.curve = [EvaluationResult(*result) for result in progress["curve"]]
        self._began -= self.curve[-1].seconds if self.curve else 0.0

    def update_curriculum(self, infos: Iterable[dict[str, Any]], env: VecEnv) -> None:
        """Let the task grow with the successes among what environments told after a step."""
        for info in infos:
            if "episode" in info and self.curriculum.update(bool(info["is_success"])):
                self.apply_curriculum(env)

    def apply_curriculum(self, env: VecEnv) -> None:
        """Show as much of the task as the curriculum says."""
        env.env_method("set_difficulty", *self.curriculum.fractions)

    def evaluate(self, step: int, logger: Logger) -> None:
        """Evaluate on the whole task; keep the policy if it is the best."""
        config, policy = self.config, self.policy(step)
        seed, episodes = config.seed + EVALUATION_SEED_OFFSET, config.evaluation.n_eval_episodes
        with closing(self.task.make_env(config.num_envs, seed)) as env:
            result = evaluate_policy(policy.act, env, episodes)
        seconds = round(time.monotonic() - self._began, 1)
        self.curve.append(result._replace(timesteps=step, seconds=seconds))
        rows = [result._asdict() for result in self.curve]
        write_atomically(self.out / CURVE_FILE, (json.dumps(rows, indent=1) + "\n").encode())
        logger.record("evaluation/success_rate", result.successes / episodes)
        logger.record("evaluation/reward", result.mean_reward)
        logger.record("curriculum/level", self.curriculum.level)
        logger.dump(step)
        if self.best is self.curve[-1] and isinstance(policy, MLPPolicy):
            policy.meta.data.update(successes=result.successes, episodes=episodes)
            save_policy(policy, self.out)

    def finish(self, step: int, logger: Logger) -> None:
        """Judge the last step, if that is still to do, and write the state."""
        if not self.curve or self.curve[-1].timesteps < step:
            self.evaluate(step, logger)
        self.save_checkpoint()

    def policy_metadata(self, env: VecEnv, bound: str, step: int) -> PolicyMetadata:
        """Return what a policy of this run is of."""
        config, size, actions = self.config, *space_sizes(env)
        about = {"steps": step, "noise": config.noise, "seed": config.seed}
        return PolicyMetadata(
            config.arm,
            size,
            actions,
            self.learner_config.net_arch,
            bound,  # type: ignore[arg-type]
            config.algorithm,
            config.control_mode,
            config.action_space,
            about,
        )


def space_sizes(env: VecEnv) -> tuple[int, int]:
    """Return how many numbers an observation and an action have.

    Raises:
        ValueError: observations that are not one vector.
    """
    seen, done = env.observation_space.shape, env.action_space.shape
    if seen is None or done is None or len(seen) != 1:
        raise ValueError("a policy is learned from observations that are one vector")
    return seen[0], done[0]
