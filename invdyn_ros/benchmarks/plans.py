"""From plans to actions after a shift of the dynamics: nothing enters, tables and pictures leave.

A planner of states learns from a light pendulum. When the pendulum gets heavier the plans stay
and the inverse model is exchanged; a planner that predicts actions has nothing to exchange.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from invdyn_ros.benchmarks.pendulum_task import LIMIT, Act, Array, Try, play, starts
from invdyn_ros.benchmarks.report import Row, machine, quantiles, ratios
from invdyn_ros.config import Checked, Count, NotNegative, Positive, at_least, to_mapping
from invdyn_ros.dataset import write_dataset
from invdyn_ros.models import MODELS, InverseDynamics
from invdyn_ros.optimiser import DescentConfig
from invdyn_ros.planning.moments import actions_ahead
from invdyn_ros.planning.planner import FlowPlanner, PlannerMeta
from invdyn_ros.planning.replanning import (
    Candidates,
    PlannedActions,
    Propose,
    ReplanConfig,
    Replanner,
    nearest,
    smoothest,
)
from invdyn_ros.planning.sequence_flow import SequenceConfig, SequenceFlow
from invdyn_ros.planning.training import PlannerConfig, fit, parted, train_planner
from invdyn_ros.plot.plans import Shown, draw_plans, draw_smoothness
from invdyn_ros.run_state import RunState
from invdyn_ros.sources.pendulum import PendulumConfig, swing
from invdyn_ros.training import TrainConfig, train
from invdyn_ros.trajectory import Trajectory

FAMILIES: dict[str, dict[str, Any]] = {  # small ones: the pendulum has one joint
    "mlp": {"width": 64},
    "gru": {"width": 32, "history": 2},
    "enhanced": {"width": 64, "depth": 2, "dropout": 0.0, "spread": "independent"},
    "flow": {"width": 64},
}
DRIVER = "mlp"  # the family of the table; the others show their smoothness only
RESAMPLES = 1000
TICKS = 200  # to time
WARM = 10  # ticks before that
RANDOM, PLANNED, DIRECT = "random", "plan + inverse model", "direct action planner"
SMOOTH = f"{DIRECT}, smoothest of all"


@dataclass(frozen=True)
class PlansConfig(Checked):
    """Planner and inverse model on a pendulum whose mass changes, beside one planner alone."""

    mass: Positive = 2.0
    """Of the shifted pendulum [kg]; the other has 1."""
    torque: Positive = 20.0
    """Largest torque in the data of either [N m]; in the episodes it is 30."""
    recordings: Annotated[int, at_least(10)] = 60
    """Of 5 s, in the data of either."""
    seeds: Count = 3
    """Of data, weights and draws."""
    episodes: Count = 20
    """For each seed."""
    smooth: NotNegative = 0.1
    """[rad2/(N m)2] what a bend of the actions costs beside the way to the goal."""
    replan: ReplanConfig = field(default_factory=ReplanConfig)
    """How plans become actions."""
    network: SequenceConfig = field(default_factory=SequenceConfig)
    """Shape of both planners."""
    planner_epochs: Count = 60
    """Passes of a planner over its data."""
    epochs: Count = 60
    """Passes of an inverse model over its data."""
    threads: Count = 2
    """CPU threads of torch while one tick of replanning is timed."""
    report: Path | None = None
    """JSON file to write; the pictures lie beside it."""

    @property
    def pendulum(self) -> PendulumConfig:
        """The unshifted pendulum, and how it is recorded."""
        return PendulumConfig(torque=self.torque, episodes=self.recordings)

    @property
    def planner(self) -> PlannerConfig:
        """How both planners are trained."""
        descent = DescentConfig(
            epochs=self.planner_epochs, batch=256, patience=self.planner_epochs
        )
        return PlannerConfig(network=self.network, descent=descent)


class Made(NamedTuple):
    """All that is trained of one seed."""

    planner: FlowPlanner
    direct: SequenceFlow
    light: dict[str, InverseDynamics]  # by family
    heavy: InverseDynamics


class DirectActions:
    """Proposes actions without knowing where they lead."""

    def __init__(self, flow: SequenceFlow, count: int) -> None:
        """Draw so many."""
        self.flow, self.count = flow, count

    def __call__(
        self, state: Tensor, condition: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Return no plans (N, 0, S) and actions (N, T, n)."""
        actions = self.flow.sample(state, condition, self.count, 1.0, generator)
        return actions.new_empty(self.count, 0, len(state)), actions


def measure_plans(config: PlansConfig) -> dict[str, Any]:
    """Return the report, and draw the pictures where a report is wanted."""
    torch.set_num_threads(1)
    about, light = machine(1), config.pendulum
    heavy = replace(light, mass=config.mass)
    tries: dict[str, list[list[Try]]] = {}
    for seed in tqdm(range(config.seeds), unit="seed", desc="planning", file=sys.stderr):
        made = make(config, seed)
        for name, (pendulum, propose) in _actors(config, made, light, heavy).items():
            tries.setdefault(name, []).append(_play_all(config, pendulum, propose, name, seed))
    rows = {name: _row(played, tries) for name, played in tries.items()}
    tick = PlannedActions(made.planner, made.heavy, config.replan)
    timed = {f"a tick on {config.threads} threads": _timed(config, heavy, tick)}
    if config.report is not None:
        _draw(config.report, tries)
    plain, swapped = f"{PLANNED}", f"shifted, {PLANNED}, exchanged"
    return {
        "benchmark": "plans",
        "unit": "return in % of random to unshifted; rad; N m; ms",
        "machine": about,
        "settings": {k: v for k, v in to_mapping(config).items() if k != "report"},
        "rows": rows | timed,
        "ratio": {
            "exchanged to unshifted": ratios(rows[swapped], rows[plain], ("return",)),
            f"{PLANNED} to {DIRECT}": ratios(rows[plain], rows[DIRECT], ("bend",)),
            f"{PLANNED} to {SMOOTH}": ratios(rows[plain], rows[SMOOTH], ("bend",)),
        },
    }


def make(config: PlansConfig, seed: int) -> Made:
    """Collect the data of both pendulums and train all that learns from them."""
    settings = replace(config.planner, seed=seed)
    with tempfile.TemporaryDirectory(prefix="invdyn_") as name:
        folder, mass = Path(name), config.mass
        light = _collected(replace(config.pendulum, seed=seed), folder / "light")
        _collected(replace(config.pendulum, seed=seed, mass=mass), folder / "heavy")
        planner = train_planner(settings, folder / "light", folder / "planner")
        learn, judge = parted(settings, light, actions_ahead)
        torch.manual_seed(seed)
        direct = SequenceFlow(settings.network, 1, learn.condition.shape[1], 1)
        meta: PlannerMeta = planner.meta
        fit(direct, learn, judge, settings, RunState(folder / "direct", {}, meta))
        models = {
            family: train(_inverse(config, family, seed), folder / "light", folder / family)
            for family in FAMILIES
        }
        other = train(_inverse(config, DRIVER, seed), folder / "heavy", folder / "other")
    return Made(planner, direct, models, other.eval())


def _collected(pendulum: PendulumConfig, folder: Path) -> list[Trajectory]:
    parts = list(swing(pendulum))
    write_dataset(folder, parts, "pendulum", pendulum.rate)
    return parts


def _inverse(config: PlansConfig, family: str, seed: int) -> TrainConfig:
    descent = DescentConfig(epochs=config.epochs, patience=config.epochs)
    fields = to_mapping(MODELS[family].Config(**FAMILIES[family]))
    return TrainConfig(family, seed, lead=0.0, descent=descent, model=fields)


def _actors(
    config: PlansConfig, made: Made, light: PendulumConfig, heavy: PendulumConfig
) -> dict[str, tuple[PendulumConfig, Propose | None]]:
    """Return who acts on which pendulum, by name; None acts at random."""
    with_model = partial(PlannedActions, made.planner, config=config.replan)
    drawn, chosen = (DirectActions(made.direct, n) for n in (1, config.replan.plans))
    sampled = replace(config.replan, temperature=1.0)
    actors: dict[str, tuple[PendulumConfig, Propose | None]] = {
        RANDOM: (light, None),
        PLANNED: (light, with_model(made.light[DRIVER])),
        DIRECT: (light, drawn),
        SMOOTH: (light, chosen),
        f"shifted, {RANDOM}": (heavy, None),
        f"shifted, {PLANNED}, the old one": (heavy, with_model(made.light[DRIVER])),
        f"shifted, {PLANNED}, exchanged": (heavy, with_model(made.heavy)),
        f"shifted, {DIRECT}": (heavy, drawn),
        f"shifted, {SMOOTH}": (heavy, chosen),
    }
    for family in FAMILIES:
        if family != DRIVER:
            actors[f"{PLANNED}, {family}"] = light, with_model(made.light[family])
    for family in ("enhanced", "flow"):
        propose = PlannedActions(made.planner, made.light[family], sampled)
        actors[f"{PLANNED}, {family}, sampled"] = light, propose
    return actors


def _play_all(
    config: PlansConfig, pendulum: PendulumConfig, propose: Propose | None, name: str, seed: int
) -> list[Try]:
    """Play the episodes of a seed, the same ones for everybody."""
    played = []
    for number, (start, goal) in enumerate(starts(seed, config.episodes)):
        if propose is None:
            act = _random(number)
        else:
            weight = config.smooth if "direct" not in name else None
            act = _replanning(propose, config.replan, weight, number)
        played.append(play(pendulum, act, start, goal))
    return played


def _replanning(propose: Propose, config: ReplanConfig, weight: float | None, seed: int) -> Act:
    """Return who acts by a replanner; without a weight by the smoothest actions alone."""
    replanner = Replanner(propose, config, seed)

    def act(state: Array, goal: Array) -> tuple[Array, Array]:
        near = nearest(goal)

        def score(candidates: Candidates) -> Tensor:
            if weight is None:
                return smoothest(candidates)
            return near(candidates) + weight * smoothest(candidates)

        return replanner(state, goal - state, score), replanner.plan

    return act


def _random(seed: int) -> Act:
    random, nothing = np.random.default_rng(seed), np.empty((0, 2))
    return lambda state, goal: (random.uniform(-1, 1, 1) * LIMIT, nothing)


def _row(played: Sequence[Sequence[Try]], tries: Mapping[str, list[list[Try]]]) -> Row:
    """Return the figures of one actor; the interval is over seeds and their episodes."""
    scores = np.array([[one.score for one in part] for part in played])
    zero, full = (_mean_score(tries[name]) for name in (RANDOM, PLANNED))
    random = np.random.default_rng(0)
    seeds, count = scores.shape
    who = random.integers(seeds, size=(RESAMPLES, seeds, 1))
    which = random.integers(count, size=(RESAMPLES, seeds, count))
    means = scores[who, which].mean((1, 2))
    low, high = np.percentile(means, [2.5, 97.5])
    share = [100 * (x - zero) / (full - zero) for x in (scores.mean(), low, high)]
    flat = [one for part in played for one in part]
    row = dict(zip(("return", "low", "high"), share, strict=True))
    row |= {
        "score": scores.mean(),
        "miss": np.mean([one.miss for one in flat]),
        "bend": np.sqrt(np.mean([one.bend for one in flat])),
    }
    return {name: round(float(value), 4) for name, value in row.items()}


def _mean_score(played: Sequence[Sequence[Try]]) -> float:
    return float(np.mean([one.score for part in played for one in part]))


def _timed(config: PlansConfig, pendulum: PendulumConfig, propose: Propose) -> Row:
    """Return how long one tick takes in which a plan is made [ms]."""
    torch.set_num_threads(config.threads)
    every_tick = replace(config.replan, every=1)
    taken: list[float] = []
    for number, (start, goal) in enumerate(starts(0, 1 + TICKS // 100)):
        act = _replanning(propose, every_tick, config.smooth, number)
        taken += (1e3 * play(pendulum, act, start, goal).seconds).tolist()
    torch.set_num_threads(1)
    return quantiles(taken[WARM:], (50, 99))


def _draw(report: Path, tries: Mapping[str, list[list[Try]]]) -> None:
    """Draw plans against what was done, and the smoothness of everybody, beside the report."""
    report.parent.mkdir(parents=True, exist_ok=True)
    names = [name for name in tries if RANDOM not in name]
    shown = {
        name: Shown(one.state, one.goal, one.action, one.plan)
        for name in names
        if DIRECT not in name and (name == PLANNED or "shifted" in name)
        for one in [max(tries[name][0], key=lambda one: abs(one.goal[0] - one.state[0, 0]))]
    }
    draw_plans(shown, report.with_name(f"{report.stem}_states.png"))
    bends = {
        name: [float(np.sqrt(np.mean([one.bend for one in part]))) for part in tries[name]]
        for name in names
        if "shifted" not in name
    }
    first = {name: tries[name][0][0].action for name in bends}
    draw_smoothness(bends, first, report.with_name(f"{report.stem}_smoothness.png"))
