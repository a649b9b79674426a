"""`invdyn collect`: a simulation or a recording enters, a dataset folder leaves."""

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro
from tqdm import tqdm

from invdyn_ros.arms.plant import PlantConfig, load_plant
from invdyn_ros.cli.options import parse
from invdyn_ros.dataset import check_writable, write_dataset
from invdyn_ros.robot import Robot, load_robot
from invdyn_ros.sources.rosbag import BagConfig, read_bag
from invdyn_ros.sources.simulation import ExcitationConfig, simulate
from invdyn_ros.trajectory import Trajectory


@dataclass(frozen=True)
class Sim:
    """Move the simulated arm so that its dynamics show, and record it."""

    out: Path
    """Dataset folder to write."""
    arm: str = "ur5"
    """Name of the arm."""
    urdf: Path | None = None
    """URDF file of an arm that is not known by name."""
    unit: Literal["N m", "rad"] | None = None
    """What the action is: torque or servo setpoint; the arm's own by default."""
    payload: float | None = None
    """Mass at the tool that the URDF does not know [kg]; the plant's own by default."""
    excitation: ExcitationConfig = field(default_factory=ExcitationConfig)
    """How it moves."""


@dataclass(frozen=True)
class Bag:
    """Read joint states from a rosbag2 recording (.db3 or .mcap, with or without metadata)."""

    path: tyro.conf.Positional[Path]
    """The recording."""
    out: Path
    """Dataset folder to write."""
    bag: BagConfig
    """What to read."""
    arm: str = "ur5"
    """Name of the arm."""
    urdf: Path | None = None
    """URDF file of an arm that is not known by name."""


def main(argv: list[str] | None = None) -> int:
    """Run the verb and return the exit code."""
    sources = Annotated[
        Annotated[Sim, tyro.conf.subcommand("sim")] | Annotated[Bag, tyro.conf.subcommand("bag")],
        tyro.conf.OmitArgPrefixes,
    ]
    options: Sim | Bag = parse(sources, argv, "collect")
    check_writable(options.out)
    robot = load_robot(options.arm, options.urdf)
    trajectories = READERS[type(options)](options, robot)
    write_dataset(options.out, trajectories, robot.name, trajectories[0].rate)
    seconds = sum(t.time[-1] - t.time[0] for t in trajectories)
    print(
        f"{options.out}: {len(trajectories)} trajectories of {robot.name}, {seconds:.0f} s, "
        f"actions in {trajectories[0].action_unit}"
    )
    return 0


def _simulated(options: Sim, robot: Robot) -> list[Trajectory]:
    plant: PlantConfig = load_plant(robot.name)
    if options.payload is not None:
        plant = load_plant(robot.name, payload=options.payload)
    excitation = options.excitation
    count = max(1, round(60 * excitation.minutes / excitation.episode))
    episodes = simulate(robot, excitation, plant, options.unit)
    return list(tqdm(episodes, total=count, unit="episode", desc="simulating", file=sys.stderr))


def _recorded(options: Bag, robot: Robot) -> list[Trajectory]:
    return read_bag(options.path, robot.joint_names, options.bag)


READERS: dict[type, Callable[..., list[Trajectory]]] = {Sim: _simulated, Bag: _recorded}
