"""A dataset enters; a planner that continues its motions, to wherever they led, leaves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import torch
from pydantic import PositiveInt

from invdyn_ros.config import Validated, to_mapping
from invdyn_ros.data.dataset import read_dataset
from invdyn_ros.data.leakage import fingerprint
from invdyn_ros.data.trajectory import Trajectory
from invdyn_ros.models.planner.flow_matching import FlowMatchingConfig, SequenceFlowMatching
from invdyn_ros.models.planner.planner import PLANNER, FlowPlanner, PlannerMetadata, save_planner
from invdyn_ros.models.planner.segments import PlanSegments, state_segments
from invdyn_ros.training.optimizer import Learner, OptimizerConfig
from invdyn_ros.training.train import splits
from invdyn_ros.training.trainer import Trainer
from invdyn_ros.training.training_state import Progress, RunState

Ahead = Callable[[Sequence[Trajectory], int], PlanSegments]


@dataclass(frozen=True)
class PlannerConfig(Validated):
    """How a planner is trained."""

    seed: int = 0
    """Of the split, the first weights, the noise and the batch order."""
    test_fraction: float = 0.2
    """Share set aside for tests; the same share of the rest decides which weights to keep."""
    threads: PositiveInt = 1
    """CPU threads of torch."""
    network: FlowMatchingConfig = field(default_factory=FlowMatchingConfig)
    """Its shape."""
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(epochs=60, batch_size=256, patience=60)
    )
    """Gradient trainer."""


class PlannerData(NamedTuple):
    """What a planner learns: moments to learn from and to judge by, and what they are of."""

    learn: PlanSegments
    judge: PlanSegments
    meta: PlannerMetadata


def motions(config: PlannerConfig, data: str | Path) -> PlannerData:
    """Return the motions of a dataset as what a planner learns.

    Raises:
        ValueError: bad dataset, or trajectories that are too short.
    """
    parts, info = read_dataset(data)
    learn, judge = parted(config, parts, state_segments)
    content = {"name": Path(data).name, "sha256": fingerprint(parts), "samples": learn.size}
    size = learn.condition.shape[1]
    meta = PlannerMetadata(
        info.robot, info.joint_names, size, info.rate, config.network, {}, content
    )
    return PlannerData(learn, judge, meta)


def train_planner(
    config: PlannerConfig,
    lore: PlannerData,
    out: str | Path,
    resume: bool = False,
    on_epoch: Callable[[Progress], None] = lambda progress: None,
) -> FlowPlanner:
    """Train a planner and write its folder; the same seed gives the same weights.

    Args:
        config: the run.
        lore: what is learned.
        out: folder of the planner.
        resume: go on from the state that an interrupted run left in `out`.
        on_epoch: called after each epoch.

    Raises:
        ValueError: nothing to resume.
    """
    torch.set_num_threads(config.threads)
    meta = lore.meta
    torch.manual_seed(config.seed)
    planner = FlowPlanner(meta)
    settings = {k: v for k, v in to_mapping(config).items() if k != "threads"}
    state = RunState(Path(out), settings | {"data": meta.data["sha256"]}, meta, PLANNER)
    progress = fit(planner, lore.learn, lore.judge, config, state, resume, on_epoch)
    planner.meta = replace(meta, data=meta.data | {"epochs": progress.epoch})
    save_planner(planner, out)
    return planner


def parted(
    config: PlannerConfig, trajectories: Sequence[Trajectory], ahead: Ahead
) -> tuple[PlanSegments, PlanSegments]:
    """Return moments to learn from and to judge by, from different trajectories.

    Raises:
        ValueError: trajectories that are too short.
    """
    _, inner = splits(trajectories, config.test_fraction, config.seed)
    return ahead(inner.train, config.network.horizon), ahead(inner.test, config.network.horizon)


def fit(
    flow: SequenceFlowMatching,
    learn: PlanSegments,
    judge: PlanSegments,
    config: PlannerConfig,
    state: RunState,
    resume: bool = False,
    on_epoch: Callable[[Progress], None] = lambda progress: None,
) -> Progress:
    """Fit a flow over sequences, of states or of actions, and leave it at its best."""
    flow.standardise(learn)
    state.directory.mkdir(parents=True, exist_ok=True)
    learner: Learner = flow
    trainer = Trainer(learner, learn, judge, config.optimizer, config.seed, state)
    if resume:
        trainer.resume()
    progress = trainer.run(on_epoch)
    flow.eval()
    return progress
