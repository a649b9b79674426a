"""Agents of the planning benchmark: planners and inverse models trained on pendulums."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor

from invdyn_ros.benchmarks.benchmark_options import BenchmarkOptions
from invdyn_ros.benchmarks.pendulum_task import Agent
from invdyn_ros.config import to_mapping
from invdyn_ros.data.dataset import write_dataset
from invdyn_ros.data.trajectory import Trajectory
from invdyn_ros.models.inverse_dynamics import InverseDynamics
from invdyn_ros.models.planner.flow_matching import FlowMatchingConfig, SequenceFlowMatching
from invdyn_ros.models.planner.planner import FlowPlanner
from invdyn_ros.models.planner.receding_horizon import (
    Candidates,
    PlannedActions,
    ProposeFn,
    RecedingHorizonConfig,
    RecedingHorizonPlanner,
    action_smoothness,
    goal_distance,
)
from invdyn_ros.models.planner.segments import action_segments
from invdyn_ros.models.registry import MODELS
from invdyn_ros.sources.pendulum import PendulumConfig, simulate_pendulum
from invdyn_ros.training.run_config import TrainConfig
from invdyn_ros.training.train import train
from invdyn_ros.training.train_planner import (
    PlannerTrainConfig,
    planner_data,
    split_segments,
    train_planner,
    train_sequence_flow,
)
from invdyn_ros.training.trainer import TrainerConfig
from invdyn_ros.training.training_state import RunState
from invdyn_ros.typing import Array

FAMILIES: dict[str, dict[str, Any]] = {  # small models: the pendulum has one joint
    "mlp": {"width": 64},
    "gru": {"width": 32, "n_obs_steps": 2},
    "enhanced": {"width": 64, "depth": 2, "dropout": 0.0, "std_type": "independent"},
    "flow": {"width": 32, "down_dims": (16, 32), "num_inference_steps": 2},
}
MAIN_FAMILY = "mlp"  # the family of the table; the others are compared by smoothness only
RANDOM, PLANNED, DIRECT = "random", "plan + inverse model", "direct action planner"
SMOOTHEST = f"{DIRECT}, smoothest of many"


@dataclass(frozen=True)
class PlanningBenchmarkConfig(BenchmarkOptions):
    """Planner and inverse model on a pendulum of changed mass, beside a planner of actions."""

    shifted_mass: PositiveFloat = 2.0
    """Mass of the shifted pendulum [kg]; the other has 1."""
    torque: PositiveFloat = 20.0
    """Largest torque in the training data [N m]; in the episodes it is 30."""
    num_recordings: Annotated[int, Field(ge=10)] = 60
    """Recordings of 5 s in each dataset."""
    seed: NonNegativeInt = 100
    """First random seed; the defaults here were chosen on seed 0."""
    num_seeds: PositiveInt = 3
    """Number of random seeds of data, weights and samples."""
    episodes: PositiveInt = 10
    """Episodes per seed."""
    smoothness_weight: NonNegativeFloat = 2.0
    """Weight of the action smoothness relative to the distance to the goal [rad2/(N m)2]."""
    receding_horizon: RecedingHorizonConfig = field(default_factory=RecedingHorizonConfig)
    """Settings of planning and execution."""
    network: FlowMatchingConfig = field(default_factory=FlowMatchingConfig)
    """Shape of both planners."""
    planner_epochs: PositiveInt = 40
    """Training epochs of a planner."""
    epochs: PositiveInt = 60
    """Training epochs of an inverse model."""
    threads: tuple[PositiveInt, ...] = (1, 2)
    """Numbers of CPU threads of torch at which a control step is timed."""

    @property
    def pendulum(self) -> PendulumConfig:
        """The unshifted pendulum, and settings of its recordings."""
        return PendulumConfig(max_torque=self.torque, episodes=self.num_recordings)

    @property
    def planner(self) -> PlannerTrainConfig:
        """Training settings of both planners."""
        trainer = TrainerConfig(
            epochs=self.planner_epochs, batch_size=256, early_stopping_patience=self.planner_epochs
        )
        return PlannerTrainConfig(network=self.network, trainer=trainer)


class TrainedModels(NamedTuple):
    """All models of one seed."""

    planner: FlowPlanner
    action_planner: SequenceFlowMatching
    light: dict[str, InverseDynamics]  # by family
    heavy: InverseDynamics


class DirectActions:
    """Actions of a planner that predicts no states."""

    def __init__(self, flow: SequenceFlowMatching, count: int) -> None:
        """Set the network and the number of samples."""
        self.flow, self.count = flow, count

    def __call__(
        self, state: Tensor, condition: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Return empty plans (N, 0, S) and actions (N, T, n).

        Args:
            state: (S,) current state.
            condition: (C,) what the actions are to achieve.
            generator: random number generator.
        """
        actions = self.flow.sample(state, condition, self.count, 1.0, generator)
        return actions.new_empty(self.count, 0, len(state)), actions


def train_models(config: PlanningBenchmarkConfig, seed: int) -> TrainedModels:
    """Collect the data of both pendulums and train all models."""
    settings = replace(config.planner, seed=seed)
    with tempfile.TemporaryDirectory(prefix="invdyn_") as name:
        folder, mass = Path(name), config.shifted_mass
        trajectories = _collect(replace(config.pendulum, seed=seed), folder / "light")
        _collect(replace(config.pendulum, seed=seed, mass=mass), folder / "heavy")
        planner = train_planner(
            settings, planner_data(settings, folder / "light"), folder / "planner"
        )
        train_set, val_set = split_segments(settings, trajectories, action_segments)
        torch.manual_seed(seed)
        action_planner = SequenceFlowMatching(settings.network, 1, train_set.condition.shape[1], 1)
        train_sequence_flow(
            action_planner,
            train_set,
            val_set,
            settings,
            RunState(folder / "direct", {}, planner.meta),
        )
        light = {
            family: train(_inverse_config(config, family, seed), folder / "light", folder / family)
            for family in FAMILIES
        }
        heavy = train(
            _inverse_config(config, MAIN_FAMILY, seed), folder / "heavy", folder / "other"
        )
    return TrainedModels(planner, action_planner, light, heavy.eval())


def _collect(pendulum: PendulumConfig, folder: Path) -> list[Trajectory]:
    trajectories = list(simulate_pendulum(pendulum))
    write_dataset(folder, trajectories, "pendulum", pendulum.rate)
    return trajectories


def _inverse_config(config: PlanningBenchmarkConfig, family: str, seed: int) -> TrainConfig:
    trainer = TrainerConfig(epochs=config.epochs, early_stopping_patience=config.epochs)
    fields = to_mapping(MODELS[family].Config(**FAMILIES[family]))
    return TrainConfig(family, seed, action_delay=0.0, trainer=trainer, model=fields)


def agents(
    config: PlanningBenchmarkConfig,
    models: TrainedModels,
    light: PendulumConfig,
    heavy: PendulumConfig,
) -> dict[str, tuple[PendulumConfig, ProposeFn | None]]:
    """Return the pendulum and the proposals of each agent by name; None acts at random.

    Args:
        config: settings of planning.
        models: trained models.
        light: unshifted pendulum.
        heavy: shifted pendulum.
    """
    planned = partial(PlannedActions, models.planner, config=config.receding_horizon)
    single, smoothest = (
        DirectActions(models.action_planner, n) for n in (1, config.receding_horizon.num_plans)
    )
    sampled = replace(config.receding_horizon, temperature=1.0)
    result: dict[str, tuple[PendulumConfig, ProposeFn | None]] = {
        RANDOM: (light, None),
        PLANNED: (light, planned(models.light[MAIN_FAMILY])),
        DIRECT: (light, single),
        SMOOTHEST: (light, smoothest),
        f"shifted, {RANDOM}": (heavy, None),
        f"shifted, {PLANNED}, unchanged": (heavy, planned(models.light[MAIN_FAMILY])),
        f"shifted, {PLANNED}, exchanged": (heavy, planned(models.heavy)),
        f"shifted, {DIRECT}": (heavy, single),
        f"shifted, {SMOOTHEST}": (heavy, smoothest),
    }
    for family in FAMILIES:
        if family not in (MAIN_FAMILY, "flow"):  # the mean of a flow takes many samples
            result[f"{PLANNED}, {family}"] = light, planned(models.light[family])
    for family in ("enhanced", "flow"):
        propose = PlannedActions(models.planner, models.light[family], sampled)
        result[f"{PLANNED}, {family}, sampled"] = light, propose
    return result


def receding_horizon_agent(
    propose: ProposeFn, config: RecedingHorizonConfig, weight: float | None, seed: int
) -> Agent:
    """Return an agent that executes the best plan and plans again.

    Args:
        propose: returns plans and actions.
        config: settings of planning and execution.
        weight: of the smoothness relative to the goal distance; None: smoothness alone counts.
        seed: of the random number generator.
    """
    planner = RecedingHorizonPlanner(propose, config, seed)

    def act(state: Array, goal: Array) -> tuple[Array, Array]:
        distance = goal_distance(goal)

        def score(candidates: Candidates) -> Tensor:
            if weight is None:
                return action_smoothness(candidates)
            return distance(candidates) + weight * action_smoothness(candidates)

        return planner(state, goal - state, score), planner.plan

    return act


def random_agent(max_torque: float, seed: int) -> Agent:
    """Return an agent with uniformly distributed torque up to a largest one [N m]."""
    random, no_plan = np.random.default_rng(seed), np.empty((0, 2))
    return lambda state, goal: (random.uniform(-max_torque, max_torque, 1), no_plan)
