"""Learning a grasp: a task and settings enter, the best policy leaves."""

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
    callback: Callable[[int, EvaluationResult | None], None] = lambda step, best: None,
) -> EvaluationResult:
    """Learn a policy.

    Args:
        config: how.
        task: what.
        out: folder for the best policy, the state of the run and TensorBoard's files.
        resume: go on with the run in that folder.
        show: called after each step with their number and the best result so far.

    Returns:
        How the best policy did in the evaluation that chose it.

    Raises:
        ValueError: nothing to resume, or a run with other settings.
    """
    run = TRAININGS[config.algorithm](config, task, Path(out), callback)
    run.train(resume)
    if run.best is None:
        raise RuntimeError("a run ends with an evaluation")
    return run.best
