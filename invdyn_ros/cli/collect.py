"""`invdyn collect`: a simulation, a recording or any file enters; a dataset folder leaves."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import tyro
from tqdm import tqdm

from invdyn_ros.cli.collect_grasp import (
    CollectExpertOptions,
    CollectGraspOptions,
    collect_expert,
    collect_grasps,
)
from invdyn_ros.cli.options import parse
from invdyn_ros.data.dataset import check_writable, write_dataset
from invdyn_ros.data.trajectory import Trajectory
from invdyn_ros.robots.registry import load_plant
from invdyn_ros.robots.robot import ROBOTS, load_robot
from invdyn_ros.sources.excitation import ExcitationConfig
from invdyn_ros.sources.gymnasium import has_rollouts, simulate_rollouts
from invdyn_ros.sources.import_result import ImportResult
from invdyn_ros.sources.lerobot_dataset import LeRobotConfig, read_folders
from invdyn_ros.sources.passive_rollouts import PassiveRolloutConfig
from invdyn_ros.sources.pendulum import PendulumConfig, simulate_pendulum
from invdyn_ros.sources.rendered_video import RenderedVideoConfig, render_videos
from invdyn_ros.sources.rosbag import BagConfig, import_bag
from invdyn_ros.sources.sampling_dropout import SamplingDropoutConfig, drop_and_jitter
from invdyn_ros.sources.sequence_files import SequenceConfig, read_sequence
from invdyn_ros.sources.simulation import simulate
from invdyn_ros.sources.video import LabelQuality, VideoConfig, read_videos

ARM = "ur5"
MILLIHERTZ = 3  # digits of a rate [Hz] that stamps are good for


@dataclass(frozen=True)
class Sim:
    """Move the simulated arm so that its dynamics show, and record it.

    Bodies, hopper and walker, are thrown and left alone; environments, as Hopper-v5, start nearby.
    """

    out: Path
    """Dataset folder to write."""
    arm: str | None = None
    """Name of the arm, body or environment; that of the URDF file, or ur5, by default."""
    urdf: Path | None = None
    """URDF file of an arm that is not known by name."""
    unit: Literal["N m", "rad"] | None = None
    """What the action is: torque or servo setpoint; the arm's own by default."""
    payload: float | None = None
    """Mass at the tool that the URDF does not know [kg]; the plant's own by default."""
    workers: int | None = None
    """Processes that simulate; all cores by default. The data do not depend on it."""
    excitation: ExcitationConfig = field(default_factory=ExcitationConfig)
    """How it moves."""
    rollout: PassiveRolloutConfig = field(default_factory=PassiveRolloutConfig)
    """How a body without motors, or an environment, is recorded."""
    dropout: SamplingDropoutConfig = field(default_factory=SamplingDropoutConfig)
    """What of it arrives."""


@dataclass(frozen=True)
class Bag:
    """Read joint states from rosbag2 recordings (.db3 or .mcap, with or without metadata)."""

    path: tyro.conf.Positional[Path]
    """The recording, or a folder of several."""
    out: Path
    """Dataset folder to write."""
    bag: BagConfig
    """What to read."""
    arm: str | None = None
    """Name of the arm; that of the URDF file, or ur5, by default."""
    urdf: Path | None = None
    """URDF file of an arm that is not known by name."""


@dataclass(frozen=True)
class Sequence:
    """Read episodes or (s, a, s') triplets from npz, HDF5, zarr or parquet files.

    D4RL, OGBench and Minari layouts are understood as they are.
    """

    path: tyro.conf.Positional[Path]
    """The file, or a folder of such files."""
    out: Path
    """Dataset folder to write."""
    sequence: SequenceConfig
    """What to read."""
    arm: str | None = None
    """Name of the arm, or of any machine without a URDF; the name of the file by default."""
    urdf: Path | None = None
    """URDF file of an arm that is not known by name."""
    joints: tuple[str, ...] = ()
    """Names of the joints; those of the arm, or numbered ones, by default."""


@dataclass(frozen=True)
class Folder:
    """Read LeRobot v3.0 folders, by this package or by the lerobot library, as one dataset."""

    paths: tyro.conf.Positional[tuple[Path, ...]]
    """The folders."""
    out: Path
    """Dataset folder to write."""
    folder: LeRobotConfig = field(default_factory=LeRobotConfig)
    """What the folders leave open."""
    arm: str | None = None
    """Name of the arm; the one the folders name by default."""
    urdf: Path | None = None
    """URDF file of an arm that is not known by name."""
    joints: tuple[str, ...] = ()
    """Names of the joints; those of the arm, or of the folders, by default."""


@dataclass(frozen=True)
class Pendulum:
    """Swing a pendulum of known closed form; other figures than the defaults shift its dynamics.

    With --steps 1 the episodes are (s, a, s') triplets.
    """

    out: Path
    """Dataset folder to write."""
    pendulum: PendulumConfig = field(default_factory=PendulumConfig)
    """The pendulum and its motion."""


@dataclass(frozen=True)
class FilmedArm:
    """Film the simulated arm from places of all kinds; actions are commanded joint velocities."""

    out: Path
    """Dataset folder to write."""
    arm: str = ARM
    """Name of the arm."""
    workers: int | None = None
    """Processes that simulate; all cores by default. The data do not depend on it."""
    film: RenderedVideoConfig = field(default_factory=RenderedVideoConfig)
    """How it moves and is filmed."""


@dataclass(frozen=True)
class Video:
    """Read videos, or frame folders of EPIC-KITCHENS with --annotations.

    An action is how far a wrist moved since the picture before, in shares of the picture, right
    and down.
    """

    path: tyro.conf.Positional[Path]
    """A video file, a folder of them, or the folder with PXX/PXX_YY/frame_0000000001.jpg."""
    out: Path
    """Dataset folder to write."""
    video: VideoConfig = field(default_factory=VideoConfig)
    """What is taken from a video."""


class Collected(NamedTuple):
    """What is written."""

    intake: ImportResult
    robot: str
    quality: LabelQuality | None = None
    rate: float | None = None  # [Hz] at which it was measured; none: that of the first trajectory


def main(argv: list[str] | None = None) -> int:
    """Run the verb and return the exit code."""
    kinds: Any = (
        Annotated[Sim, tyro.conf.subcommand("sim")]
        | Annotated[Bag, tyro.conf.subcommand("bag")]
        | Annotated[Sequence, tyro.conf.subcommand("sequence")]
        | Annotated[Folder, tyro.conf.subcommand("dataset")]
        | Annotated[Pendulum, tyro.conf.subcommand("pendulum")]
        | Annotated[Video, tyro.conf.subcommand("video")]
        | Annotated[FilmedArm, tyro.conf.subcommand("rendered-video")]
        | Annotated[CollectGraspOptions, tyro.conf.subcommand("grasp")]
        | Annotated[CollectExpertOptions, tyro.conf.subcommand("expert")]
    )
    options = parse(Annotated[kinds, tyro.conf.OmitArgPrefixes], argv, "collect")
    check_writable(options.out)
    if isinstance(options, CollectGraspOptions):  # steps of a task, no motion
        collect_grasps(options)
        return 0
    if isinstance(options, CollectExpertOptions):
        collect_expert(options, _workers(options.workers))
        return 0
    intake, robot, quality, rate = READERS[type(options)](options)
    account, trajectories = intake.summary(), intake.trajectories
    if not trajectories:
        raise ValueError(f"nothing to write: {account}")
    rate = round(rate or trajectories[0].rate, MILLIHERTZ)
    about = {"label_quality": quality._asdict()} if quality else {}
    write_dataset(options.out, trajectories, robot, rate, metadata=about)
    seconds = sum(t.time[-1] - t.time[0] for t in trajectories)
    print(account, *([quality.text()] if quality else []), sep="\n")
    first = trajectories[0]
    acted = f"actions in {first.action_unit}" if len(first.action) else "without actions"
    print(f"{options.out}: {len(trajectories)} trajectories of {robot}, {seconds:.0f} s, {acted}")
    return 0


def _simulated(options: Sim) -> Collected:
    seed, name = options.excitation.seed, str(options.arm)
    if has_rollouts(name) and options.urdf is None:
        count, episodes = options.rollout.episodes, simulate_rollouts(name, options.rollout, seed)
    else:
        robot = load_robot(_name(options.arm, options.urdf, ARM), options.urdf)
        changes = {} if options.payload is None else {"payload": options.payload}
        plant, workers = load_plant(robot.name, **changes), _workers(options.workers)
        episodes = simulate(robot, options.excitation, plant, options.unit, workers)
        count, name = options.excitation.num_episodes, robot.name
    made = _made(episodes, count, name)
    return made._replace(intake=drop_and_jitter(made.intake, options.dropout, seed))


def _recorded(options: Bag) -> Collected:
    robot = load_robot(_name(options.arm, options.urdf, ARM), options.urdf)
    taken = import_bag(options.path, robot.joint_names, options.bag)
    return Collected(taken, robot.name, rate=options.bag.rate)


def _sequence(options: Sequence) -> Collected:
    name = _name(options.arm, options.urdf, options.path.stem)
    joints = _joints(name, options.urdf, options.joints)
    return Collected(read_sequence(options.path, joints, options.sequence), name)


def _folder(options: Folder) -> Collected:
    if not options.paths:
        raise ValueError("no folder to read; give one or more LeRobot folders")
    asked = _name(options.arm, options.urdf, "")
    joints = _joints(asked, options.urdf, options.joints)
    intake, robot = read_folders(list(options.paths), joints, options.folder)
    name = asked or robot
    if not name:
        raise ValueError(f"{options.paths[0]} does not name its robot; state it with --arm")
    _joints(name, options.urdf, intake.trajectories[0].joint_names)
    return Collected(intake, name)


def _swung(options: Pendulum) -> Collected:
    return _made(simulate_pendulum(options.pendulum), options.pendulum.episodes, "pendulum")


def _filmed(options: FilmedArm) -> Collected:
    config, workers = options.film, _workers(options.workers)
    episodes = render_videos(load_robot(options.arm), config, workers)
    return _made(episodes, config.motions * config.views, options.arm)


def _workers(given: int | None) -> int:
    return len(os.sched_getaffinity(0)) if given is None else given


def _made(episodes: Iterator[Trajectory], count: int, robot: str) -> Collected:
    """Make episodes, with a bar."""
    made = list(tqdm(episodes, total=count, unit="episode", desc="simulating", file=sys.stderr))
    return Collected(ImportResult(made, sum(map(len, made)), {}), robot, rate=made[0].rate)


def _watched(options: Video) -> Collected:
    intake, quality = read_videos(options.path, options.video)
    return Collected(intake, "wrist" if quality else "video", quality)


READERS: dict[type, Callable[..., Collected]] = {
    Sim: _simulated,
    Bag: _recorded,
    Sequence: _sequence,
    Folder: _folder,
    Pendulum: _swung,
    FilmedArm: _filmed,
    Video: _watched,
}


def _name(arm: str | None, urdf: Path | None, default: str) -> str:
    return arm or (urdf.stem if urdf else default)


def _joints(name: str, urdf: Path | None, given: tuple[str, ...]) -> tuple[str, ...]:
    """Return the joint names of an arm, or those given of a machine whose URDF nobody has.

    Raises:
        ValueError: the arm has other joints than those given.
    """
    if urdf is None and name not in ROBOTS:
        return given
    robot = load_robot(name, urdf)
    if given and given != robot.joint_names:
        raise ValueError(
            f"joints are {', '.join(given)}; '{name}' has {', '.join(robot.joint_names)}"
        )
    return robot.joint_names
