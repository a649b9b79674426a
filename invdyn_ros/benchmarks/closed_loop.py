"""What a learned model is worth on an arm whose URDF is wrong: models enter, tracking leaves.

The simulated arm has friction, rotors, delay and a payload that no URDF knows; the wrong model has
the inertias of a public URDF as well. Every model drives the same motions with the same feedback
gains, in two forms: feed-forward (the model sees the plan alone, feedback goes through a constant
inertia) and computed torque (feedback goes through the model, as in the live node).
"""

from __future__ import annotations

import json
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
from pydantic import Field, PositiveInt
from tqdm import tqdm

from invdyn_ros.benchmarks.report import Row, benchmark_report, machine_info, ratios
from invdyn_ros.config import Validated
from invdyn_ros.control.computed_torque import (
    FEEDBACK,
    ComputedTorqueController,
    ConstantInertiaModel,
    FeedbackConfig,
    InverseDynamicsModel,
    MeasuredState,
)
from invdyn_ros.control.fallback import fallback_from_metadata
from invdyn_ros.control.motion_profile import Plan
from invdyn_ros.data.dataset import write_dataset
from invdyn_ros.evaluation.closed_loop import ClosedLoopRun, excitation_motion, replay
from invdyn_ros.evaluation.compare import (
    ComparisonJob,
    family_configs,
    load_trajectories,
    train_seeds,
)
from invdyn_ros.evaluation.plots.closed_loop import plot_closed_loop
from invdyn_ros.models import InverseDynamics, build
from invdyn_ros.models.checkpoint import write_atomically
from invdyn_ros.models.rigid_body import urdf_model
from invdyn_ros.robots.plant import PlantConfig
from invdyn_ros.robots.registry import load_plant
from invdyn_ros.robots.robot import Robot, load_robot
from invdyn_ros.sources.excitation import ExcitationConfig
from invdyn_ros.sources.simulation import simulate
from invdyn_ros.typing import Array

# How many times too large: the UR5 that the package example-robot-data publishes.
WRONG_INERTIA = {"wrist_1_link": 100.0, "wrist_2_link": 100.0, "wrist_3_link": 256.0}
HELD_OUT = 31_415  # of the motions' seeds; a dataset's seed is one small number
RESAMPLES = 1000
FORMS = ("feed-forward", "computed torque")
NONE, WRONG, RIGHT = "no model", "wrong URDF", "right URDF"


@dataclass(frozen=True)
class ClosedLoopBenchmarkConfig(Validated):
    """Joint tracking of every family on an arm whose URDF is wrong, beside that URDF."""

    out: Path = Path("out/closed_loop")
    """Folder for dataset, checkpoints FAMILY_0 (shared with 'invdyn compare --out') and pictures;
    what is there already and matches is used."""
    data: Path | None = None
    """Dataset of this arm with this payload; default: collected into OUT/data."""
    families: tuple[str, ...] = ()
    """Families to drive with; default: all."""
    configs: Path | None = None
    """Folder with a FAMILY.yaml of each; default: those that come with the package."""
    arm: str = "ur5"
    """Name of the arm: a UR."""
    payload: float = 1.0
    """Mass at the tool that no URDF knows [kg]."""
    minutes: float = 10.0
    """Data to collect [min]."""
    motions: PositiveInt = 6
    """Motions to drive, none of which is in the data."""
    seconds: Annotated[float, Field(ge=1)] = 15.0
    """Length of each [s]."""
    report: Path | None = None
    """JSON file to write."""


class Controller(NamedTuple):
    """A model and how it drives."""

    name: str
    model: InverseDynamicsModel
    action_delay: float  # [s] of the model itself
    form: str  # of FORMS

    @property
    def row(self) -> str:
        """What a table calls it."""
        return self.name if self.name == NONE else f"{self.name}, {self.form}"


class FeedForward(ComputedTorqueController):
    """A model that sees the plan alone, and feedback through a constant inertia.

    So the feedback has the same gains [N m/rad] whatever the model.
    """

    def __init__(self, model: InverseDynamicsModel, action_delay: float, robot: Robot) -> None:
        silent = FeedbackConfig(stiffness=0.0, damping=0.0, integral=0.0, error_feedthrough=0.0)
        plain = ConstantInertiaModel(robot, "N m")
        self.back = ComputedTorqueController(plain, "N m", action_delay)
        self.plain = ComputedTorqueController(plain, "N m", action_delay, silent)
        super().__init__(model, "N m", action_delay, silent)

    def reset(self) -> None:
        """Forget the integrated error and the motion so far."""
        super().reset()
        self.back.reset()
        self.plain.reset()

    def __call__(self, plan: Plan, measured: MeasuredState) -> Array:
        """Return the torque (n,) [N m] to send now."""
        feedback = self.back(plan, measured) - self.plain(plan, measured)
        return super().__call__(plan, measured) + feedback


def measure_closed_loop(config: ClosedLoopBenchmarkConfig) -> dict[str, Any]:
    """Return the report, and write a picture of each form.

    Raises:
        ValueError: an arm without the wrong model's links, or one not driven by torque.
    """
    robot, about = load_robot(config.arm), machine_info(1)
    if robot.action_unit != "N m":
        raise ValueError(f"'{config.arm}' is driven by setpoints; this compares torques [N m]")
    wrong = wrong_urdf(robot.xml())
    plant = load_plant(robot.name, payload=config.payload)
    data = config.data or collected(config, robot, plant)
    controllers = _controllers(config, robot, data, wrong)
    driven = _drive_all(controllers, robot, plant, config)
    rows = {
        one.row: _row(driven[one.row, True], driven[one.row, False], robot) for one in controllers
    }
    ratio = {
        one.row: ratios(rows[one.row], rows[f"{WRONG}, {one.form}"], ("rms", "jerk"))
        for one in controllers
        if one.name not in (WRONG, NONE)
    }
    _draw(controllers, driven, robot, config.out)
    return benchmark_report(
        "closed_loop",
        unit="mrad; jerk in effort limits per s; fallback in % of commands",
        machine=about,
        settings=_settings(config, plant, data, controllers),
        rows=rows,
        ratio=ratio,
    )


def _settings(
    config: ClosedLoopBenchmarkConfig,
    plant: PlantConfig,
    data: Path,
    controllers: Sequence[Controller],
) -> dict[str, Any]:
    """Return what the figures depend on."""
    return {
        "arm": config.arm,
        "data": str(data),
        "payload_kg": config.payload,
        "plant": vars(plant),
        "feedback": vars(FEEDBACK["N m"]),
        "wrong_inertia": WRONG_INERTIA,
        "lead_ms": {c.row: 1e3 * c.action_delay for c in controllers},
        "motions": config.motions,
        "seconds": config.seconds,
    }


def _drive_all(
    controllers: Sequence[Controller],
    robot: Robot,
    plant: PlantConfig,
    config: ClosedLoopBenchmarkConfig,
) -> dict[tuple[str, bool], list[ClosedLoopRun]]:
    """Return the runs of each controller, with its action delay (True) and without."""
    driven = {}
    total = len(controllers) * 2 * config.motions
    with tqdm(total=total, unit="run", desc="driving", file=sys.stderr) as bar:
        for one in controllers:
            for ahead in (True, False):
                driven[one.row, ahead] = drive(one, ahead, robot, plant, config, bar.update)
    return driven


def _draw(
    controllers: Sequence[Controller],
    driven: Mapping[tuple[str, bool], Sequence[ClosedLoopRun]],
    robot: Robot,
    out: Path,
) -> None:
    """Write a picture of the first motion for each form."""
    out.mkdir(parents=True, exist_ok=True)
    for form in FORMS:
        shown = {NONE: driven[NONE, True][0]}
        shown |= {c.name: driven[c.row, True][0] for c in controllers if c.form == form}
        name = form.replace(" ", "_").replace("-", "_")
        plot_closed_loop(shown, robot, form, out / f"{name}.png")


def wrong_urdf(xml: str) -> str:
    """Return a URDF with the inertias of its wrist too large.

    Raises:
        ValueError: it lacks a link of the wrist.
    """
    root = ET.fromstring(xml)
    for link, factor in WRONG_INERTIA.items():
        inertia = root.find(f"link[@name='{link}']/inertial/inertia")
        if inertia is None:
            raise ValueError(f"the URDF has no link '{link}' with inertia; give a UR arm")
        for key, value in inertia.attrib.items():
            inertia.set(key, repr(factor * float(value)))
    return ET.tostring(root, encoding="unicode")


def collected(config: ClosedLoopBenchmarkConfig, robot: Robot, plant: PlantConfig) -> Path:
    """Collect data of the arm as it is, unless they are there, and return their folder."""
    folder, note = config.out / "data", config.out / "data.json"
    excitation = ExcitationConfig(minutes=config.minutes)
    text = json.dumps({"arm": robot.name, "plant": vars(plant), "motion": vars(excitation)})
    if folder.is_dir() and note.is_file() and note.read_text(encoding="utf-8") == text:
        return folder
    config.out.mkdir(parents=True, exist_ok=True)
    count = max(1, round(60 * excitation.minutes / excitation.episode_seconds))
    episodes = simulate(robot, excitation, plant)
    parts = list(tqdm(episodes, total=count, unit="episode", desc="collecting", file=sys.stderr))
    write_dataset(folder, parts, robot.name, parts[0].rate)
    write_atomically(note, text.encode())
    return folder


def drive(
    one: Controller,
    ahead: bool,
    robot: Robot,
    plant: PlantConfig,
    config: ClosedLoopBenchmarkConfig,
    on_run: Callable[[], object] = lambda: None,
) -> list[ClosedLoopRun]:
    """Drive every motion, with the model's action delay or, unless `ahead`, without it."""
    action_delay, found = one.action_delay if ahead else 0.0, []
    fallback = (
        fallback_from_metadata(one.model.meta) if isinstance(one.model, InverseDynamics) else None
    )
    for seed in range(config.motions):
        wanted = excitation_motion(robot, (HELD_OUT, seed), config.seconds)
        follower = FeedForward(one.model, action_delay, robot) if one.form == FORMS[0] else None
        run = replay(
            robot, one.model, "N m", action_delay, wanted, plant, seed, follower, fallback
        )
        found.append(run)
        on_run()
    return found


def jerk(run: ClosedLoopRun, robot: Robot) -> Array:
    """Return the rate of the command (T - 1, n) in effort limits per second [1/s].

    Torque makes acceleration, so this is the jerk that is commanded.
    """
    rates: Array = np.diff(run.action, axis=0) * robot.rate / robot.effort
    return rates


def interval(squares: Sequence[float]) -> tuple[float, float]:
    """Return the 95% bootstrap interval of a root mean square, from the mean square of each."""
    values = np.asarray(squares)
    picks = np.random.default_rng(0).integers(len(values), size=(RESAMPLES, len(values)))
    low, high = np.percentile(np.sqrt(values[picks].mean(1)), [2.5, 97.5])
    return float(low), float(high)


def _controllers(
    config: ClosedLoopBenchmarkConfig, robot: Robot, data: Path, wrong: str
) -> list[Controller]:
    """Return all that drive; what is not learned gets the action delay that was learned."""
    job, models = ComparisonJob(data, config.out, robot, None), {}
    for family, settings in family_configs(config.families, config.configs).items():
        models[family] = train_seeds(job, settings, 1, load_trajectories(data))[0].model
    action_delay = next(iter(models.values())).meta.action_delay
    right = urdf_model(robot, "N m")
    urdfs = {WRONG: build(replace(right.meta, urdf=wrong)), RIGHT: right}
    found = [Controller(NONE, ConstantInertiaModel(robot, "N m"), action_delay, FORMS[1])]
    for form in FORMS:
        found += [Controller(name, model, action_delay, form) for name, model in urdfs.items()]
        found += [Controller(name, m, m.meta.action_delay, form) for name, m in models.items()]
    return found


def _row(ahead: Sequence[ClosedLoopRun], late: Sequence[ClosedLoopRun], robot: Robot) -> Row:
    """Return RMS with its interval, and without action delay [mrad]; jerk [1/s]; use of fallback [%]."""
    squares, without = ([run.rms**2 for run in part] for part in (ahead, late))
    low, high = interval(squares)
    rates = np.concatenate([jerk(run, robot) for run in ahead])
    values: Mapping[str, float] = {
        "rms": 1e3 * np.sqrt(np.mean(squares)),
        "low": 1e3 * low,
        "high": 1e3 * high,
        "no action delay": 1e3 * np.sqrt(np.mean(without)),
        "jerk": np.sqrt(np.mean(np.square(rates))),
        "fallback": 100 * np.mean([run.used_fallback.mean() for run in ahead]),
    }
    return {name: round(float(value), 4) for name, value in values.items()}
