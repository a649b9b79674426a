"""Training of grasp policies."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from invdyn_ros.grasp.learning.config import GraspTrainConfig
from invdyn_ros.grasp.learning.dagger import DaggerTraining
from invdyn_ros.grasp.learning.evaluation import EvaluationResult
from invdyn_ros.grasp.learning.rl import RLTraining
from invdyn_ros.grasp.learning.run import GraspTraining, LearningTask

TRAININGS: dict[str, type[GraspTraining]] = {
    "dagger": DaggerTraining,
    "sac": RLTraining,
    "tqc": RLTraining,
    "ppo": RLTraining,
}


def train_grasp(
    config: GraspTrainConfig,
    task: LearningTask,
    out: str | Path,
    resume: bool = False,
    callback: Callable[[int, EvaluationResult | None], None] = lambda timesteps, best: None,
) -> EvaluationResult:
    """Train a grasp policy.

    Args:
        config: settings of the run.
        task: task to learn.
        out: folder for the best policy, the state of the run and TensorBoard files.
        resume: whether to continue the run in that folder.
        callback: called after each step with the number of environment steps and the best result
            so far.

    Returns:
        Evaluation result of the best policy.

    Raises:
        ValueError: there is nothing to resume, or the run in the folder has other settings.
    """
    training = TRAININGS[config.algorithm](config, task, Path(out), callback)
    training.train(resume)
    if training.best is None:
        raise RuntimeError("the training run ended without an evaluation")
    return training.best
