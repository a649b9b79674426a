"""Training of planners on motions, to plan how to reach a state."""

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
from invdyn_ros.training.data_preparation import SplitConfig, split_train_val_test
from invdyn_ros.training.trainer import TrainableModel, Trainer, TrainerConfig
from invdyn_ros.training.training_state import Progress, RunState

MakeSegments = Callable[[Sequence[Trajectory], int], PlanSegments]


@dataclass(frozen=True)
class PlannerTrainConfig(Validated):
    """Settings of a planner and its training."""

    seed: int = 0
    """Random seed of the split, the initial weights, the noise and the batch order."""
    test_fraction: float = 0.2
    """Fraction of the trajectories for testing, and of the rest for validation."""
    threads: PositiveInt = 1
    """CPU threads of torch."""
    network: FlowMatchingConfig = field(default_factory=FlowMatchingConfig)
    """Size of the network."""
    trainer: TrainerConfig = field(
        default_factory=lambda: TrainerConfig(
            epochs=60, batch_size=256, early_stopping_patience=60
        )
    )
    """Epochs, batch size and optimizer."""


class PlannerData(NamedTuple):
    """Training and validation segments, and the metadata of a planner trained on them."""

    train: PlanSegments
    val: PlanSegments
    meta: PlannerMetadata


def planner_data(config: PlannerTrainConfig, data: str | Path) -> PlannerData:
    """Return the state segments of a dataset.

    Raises:
        ValueError: bad dataset, or trajectories that are too short.
    """
    parts, info = read_dataset(data)
    train, val = split_segments(config, parts, state_segments)
    content = {"name": Path(data).name, "sha256": fingerprint(parts), "samples": train.size}
    size = train.condition.shape[1]
    meta = PlannerMetadata(
        info.robot, info.joint_names, size, info.rate, config.network, {}, content
    )
    return PlannerData(train, val, meta)


def train_planner(
    config: PlannerTrainConfig,
    data: PlannerData,
    out: str | Path,
    resume: bool = False,
    on_epoch: Callable[[Progress], None] = lambda progress: None,
) -> FlowPlanner:
    """Train a planner and write its folder; the same seed gives the same weights.

    Args:
        config: settings of the run.
        data: training and validation segments.
        out: folder of the planner.
        resume: continue from the state that an interrupted run left in `out`.
        on_epoch: called after each epoch.

    Raises:
        ValueError: nothing to resume.
    """
    torch.set_num_threads(config.threads)
    meta = data.meta
    torch.manual_seed(config.seed)
    planner = FlowPlanner(meta)
    settings = {k: v for k, v in to_mapping(config).items() if k != "threads"}
    state = RunState(Path(out), settings | {"data": meta.data["sha256"]}, meta, PLANNER)
    progress = train_sequence_flow(planner, data.train, data.val, config, state, resume, on_epoch)
    planner.meta = replace(meta, data=meta.data | {"epochs": progress.epoch})
    save_planner(planner, out)
    return planner


def split_segments(
    config: PlannerTrainConfig, trajectories: Sequence[Trajectory], make_segments: MakeSegments
) -> tuple[PlanSegments, PlanSegments]:
    """Return training and validation segments, of different trajectories.

    Args:
        config: the split and the horizon.
        trajectories: trajectories to cut into segments.
        make_segments: returns the segments of trajectories for a horizon.

    Raises:
        ValueError: trajectories that are too short.
    """
    _, inner = split_train_val_test(trajectories, SplitConfig(config.test_fraction, config.seed))
    horizon = config.network.horizon
    return make_segments(inner.train, horizon), make_segments(inner.test, horizon)


def train_sequence_flow(
    flow: SequenceFlowMatching,
    train: PlanSegments,
    val: PlanSegments,
    config: PlannerTrainConfig,
    state: RunState,
    resume: bool = False,
    on_epoch: Callable[[Progress], None] = lambda progress: None,
) -> Progress:
    """Train a flow over sequences of states or actions; keep the best weights.

    Args:
        flow: network to train.
        train: training segments.
        val: validation segments.
        config: settings of the run.
        state: files of the run.
        resume: continue from the state on disk.
        on_epoch: called after each epoch.
    """
    flow.standardise(train)
    state.directory.mkdir(parents=True, exist_ok=True)
    model: TrainableModel = flow
    trainer = Trainer(model, train, val, config.trainer, config.seed, state)
    if resume:
        trainer.resume()
    progress = trainer.run(on_epoch)
    flow.eval()
    return progress
