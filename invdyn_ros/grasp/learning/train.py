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
    """Train a policy.

    Args:
        config: of the run.
        task: to learn.
        out: folder for the best policy, the state of the run and TensorBoard's files.
        resume: continue the run in that folder.
        callback: called after each step with their number and the best result so far.

    Returns:
        The evaluation of the best policy.

    Raises:
        ValueError: nothing to resume, or a run with other settings.
    """
    training = TRAININGS[config.algorithm](config, task, Path(out), callback)
    training.train(resume)
    if training.best is None:
        raise RuntimeError("a run ends with an evaluation")
    return training.best
