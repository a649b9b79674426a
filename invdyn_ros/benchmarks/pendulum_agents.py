"""Who brings a pendulum to an angle: settings enter, trained planners and actors leave."""

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

from invdyn_ros.benchmarks.pendulum_task import Agent
from invdyn_ros.config import Validated, to_mapping
from invdyn_ros.data.dataset import write_dataset
from invdyn_ros.data.trajectory import Trajectory
from invdyn_ros.models import MODELS, InverseDynamics
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
from invdyn_ros.sources.pendulum import PendulumConfig, simulate_pendulum
from invdyn_ros.training.optimizer import OptimizerConfig
from invdyn_ros.training.train import TrainConfig, train
from invdyn_ros.training.train_planner import (
    PlannerTrainConfig,
    fit_sequence_flow,
    planner_data,
    split_segments,
    train_planner,
)
from invdyn_ros.training.training_state import RunState
from invdyn_ros.typing import Array

FAMILIES: dict[str, dict[str, Any]] = {  # small ones: the pendulum has one joint
    "mlp": {"width": 64},
    "gru": {"width": 32, "n_obs_steps": 2},
    "enhanced": {"width": 64, "depth": 2, "dropout": 0.0, "std_type": "independent"},
    "flow": {"width": 32, "down_dims": (16, 32), "num_inference_steps": 2},
}
MAIN_FAMILY = "mlp"  # the family of the table; the others show their smoothness only
RANDOM, PLANNED, DIRECT = "random", "plan + inverse model", "direct action planner"
SMOOTHEST = f"{DIRECT}, smoothest of many"


@dataclass(frozen=True)
class PlanningBenchmarkConfig(Validated):
    """Planner and inverse model on a pendulum whose mass changes, beside one planner alone."""

    shifted_mass: PositiveFloat = 2.0
    """Of the shifted pendulum [kg]; the other has 1."""
    torque: PositiveFloat = 20.0
    """Largest torque in the data of either [N m]; in the episodes it is 30."""
    num_recordings: Annotated[int, Field(ge=10)] = 60
    """Of 5 s, in the data of either."""
    seed: NonNegativeInt = 100
    """The first of them; the defaults here were chosen on seed 0."""
    num_seeds: PositiveInt = 3
    """Of data, weights and draws."""
    episodes: PositiveInt = 10
    """For each seed."""
    smoothness_weight: NonNegativeFloat = 2.0
    """[rad2/(N m)2] what a bend of the actions costs beside the way to the goal."""
    receding_horizon: RecedingHorizonConfig = field(default_factory=RecedingHorizonConfig)
    """How plans become actions."""
    network: FlowMatchingConfig = field(default_factory=FlowMatchingConfig)
    """Shape of both planners."""
    planner_epochs: PositiveInt = 40
    """Passes of a planner over its data."""
    epochs: PositiveInt = 60
    """Passes of an inverse model over its data."""
    threads: tuple[PositiveInt, ...] = (1, 2)
    """CPU threads of torch while one tick of replanning is timed, in turn."""
    report: Path | None = None
    """JSON file to write; the pictures lie beside it."""

    @property
    def pendulum(self) -> PendulumConfig:
        """The unshifted pendulum, and how it is recorded."""
        return PendulumConfig(max_torque=self.torque, episodes=self.num_recordings)

    @property
    def planner(self) -> PlannerTrainConfig:
        """How both planners are trained."""
        descent = OptimizerConfig(
            epochs=self.planner_epochs, batch_size=256, early_stopping_patience=self.planner_epochs
        )
        return PlannerTrainConfig(network=self.network, optimizer=descent)


class TrainedModels(NamedTuple):
    """All that is trained of one seed."""

    planner: FlowPlanner
    action_planner: SequenceFlowMatching
    light: dict[str, InverseDynamics]  # by family
    heavy: InverseDynamics


class DirectActions:
    """Proposes actions without knowing where they lead."""

    def __init__(self, flow: SequenceFlowMatching, count: int) -> None:
        """Draw so many."""
        self.flow, self.count = flow, count

    def __call__(
        self, state: Tensor, condition: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Return no plans (N, 0, S) and actions (N, T, n)."""
        actions = self.flow.sample(state, condition, self.count, 1.0, generator)
        return actions.new_empty(self.count, 0, len(state)), actions


def train_models(config: PlanningBenchmarkConfig, seed: int) -> TrainedModels:
    """Collect the data of both pendulums and train all that learns from them."""
    settings = replace(config.planner, seed=seed)
    with tempfile.TemporaryDirectory(prefix="invdyn_") as name:
        folder, mass = Path(name), config.shifted_mass
        light = _collect(replace(config.pendulum, seed=seed), folder / "light")
        _collect(replace(config.pendulum, seed=seed, mass=mass), folder / "heavy")
        planner = train_planner(
            settings, planner_data(settings, folder / "light"), folder / "planner"
        )
        learn, judge = split_segments(settings, light, action_segments)
        torch.manual_seed(seed)
        direct = SequenceFlowMatching(settings.network, 1, learn.condition.shape[1], 1)
        fit_sequence_flow(
            direct, learn, judge, settings, RunState(folder / "direct", {}, planner.meta)
        )
        models = {
            family: train(_inverse_config(config, family, seed), folder / "light", folder / family)
            for family in FAMILIES
        }
        other = train(
            _inverse_config(config, MAIN_FAMILY, seed), folder / "heavy", folder / "other"
        )
    return TrainedModels(planner, direct, models, other.eval())


def _collect(pendulum: PendulumConfig, folder: Path) -> list[Trajectory]:
    parts = list(simulate_pendulum(pendulum))
    write_dataset(folder, parts, "pendulum", pendulum.rate)
    return parts


def _inverse_config(config: PlanningBenchmarkConfig, family: str, seed: int) -> TrainConfig:
    descent = OptimizerConfig(epochs=config.epochs, early_stopping_patience=config.epochs)
    fields = to_mapping(MODELS[family].Config(**FAMILIES[family]))
    return TrainConfig(family, seed, action_delay=0.0, optimizer=descent, model=fields)


def agents(
    config: PlanningBenchmarkConfig,
    made: TrainedModels,
    light: PendulumConfig,
    heavy: PendulumConfig,
) -> dict[str, tuple[PendulumConfig, ProposeFn | None]]:
    """Return who acts on which pendulum, by name; None acts at random."""
    with_model = partial(PlannedActions, made.planner, config=config.receding_horizon)
    drawn, chosen = (
        DirectActions(made.action_planner, n) for n in (1, config.receding_horizon.num_plans)
    )
    sampled = replace(config.receding_horizon, temperature=1.0)
    made_of: dict[str, tuple[PendulumConfig, ProposeFn | None]] = {
        RANDOM: (light, None),
        PLANNED: (light, with_model(made.light[MAIN_FAMILY])),
        DIRECT: (light, drawn),
        SMOOTHEST: (light, chosen),
        f"shifted, {RANDOM}": (heavy, None),
        f"shifted, {PLANNED}, the old one": (heavy, with_model(made.light[MAIN_FAMILY])),
        f"shifted, {PLANNED}, exchanged": (heavy, with_model(made.heavy)),
        f"shifted, {DIRECT}": (heavy, drawn),
        f"shifted, {SMOOTHEST}": (heavy, chosen),
    }
    for family in FAMILIES:
        if family not in (MAIN_FAMILY, "flow"):  # the mean and spread of a flow take many draws
            made_of[f"{PLANNED}, {family}"] = light, with_model(made.light[family])
    for family in ("enhanced", "flow"):
        propose = PlannedActions(made.planner, made.light[family], sampled)
        made_of[f"{PLANNED}, {family}, sampled"] = light, propose
    return made_of


def receding_horizon_agent(
    propose: ProposeFn, config: RecedingHorizonConfig, weight: float | None, seed: int
) -> Agent:
    """Return who acts by a replanner.

    Args:
        propose: returns plans and actions.
        config: how plans become actions.
        weight: of the smoothness beside the way to the goal; None: smoothness alone counts.
        seed: of all that is drawn.
    """
    replanner = RecedingHorizonPlanner(propose, config, seed)

    def act(state: Array, goal: Array) -> tuple[Array, Array]:
        near = goal_distance(goal)

        def score(candidates: Candidates) -> Tensor:
            if weight is None:
                return action_smoothness(candidates)
            return near(candidates) + weight * action_smoothness(candidates)

        return replanner(state, goal - state, score), replanner.plan

    return act


def random_agent(torque: float, seed: int) -> Agent:
    """Return who sends any torque up to a largest one [N m] at any time."""
    random, nothing = np.random.default_rng(seed), np.empty((0, 2))
    return lambda state, goal: (random.uniform(-torque, torque, 1), nothing)
