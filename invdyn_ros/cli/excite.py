"""`invdyn excite`: design a motion that tells the parameters of an arm."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path

import tyro
from tqdm import tqdm

from invdyn_ros.cli.options import parse
from invdyn_ros.data.output_options import OutputOptions
from invdyn_ros.robots.obstacles import Obstacles, load_obstacles
from invdyn_ros.robots.registry import load_arm_obstacles
from invdyn_ros.robots.robot import Robot, load_robot
from invdyn_ros.sources.excitation.design import (
    DesignedExcitation,
    ExcitationDesign,
    design_excitation,
)
from invdyn_ros.sources.source import DEFAULT_ARM, arm_name
from invdyn_ros.workers import JobExecutor, WorkerOptions


@dataclass(frozen=True)
class ExciteOptions(OutputOptions, WorkerOptions):
    """Design an excitation: informative, smooth, and clear of obstacles and of the arm itself."""

    out: Path
    """File to write: .npz."""
    arm: str | None = None
    """Name of the arm, or FILE.yaml of one; default: that of the URDF file, or ur5."""
    urdf: Path | None = None
    """URDF file of an arm that is not known by name, or another one of a known arm."""
    obstacles: Path | None = None
    """YAML file of table and boxes around the arm; default: those known."""
    film: Path | None = None
    """MP4 to write: a preview of the motion."""
    design: ExcitationDesign = field(default_factory=ExcitationDesign)
    """What the motion is designed for."""

    def __post_init__(self) -> None:
        """Check the suffix of the file."""
        if self.out.suffix != ".npz" or self.out.is_dir():
            raise ValueError(f"--out {self.out} is no .npz file")
        if self.film is not None and (self.film.suffix != ".mp4" or self.film.is_dir()):
            raise ValueError(f"--film {self.film} is no .mp4 file")


def main(argv: list[str] | None = None) -> int:
    """Run the verb and return the exit code."""
    options = parse(ExciteOptions, argv, "excite", config=(tyro.conf.OmitArgPrefixes,))
    robot = load_robot(arm_name(options.arm, options.urdf, DEFAULT_ARM), options.urdf)
    around = obstacles_option(options.obstacles, robot)
    with options.executor() as executor:
        designed = design_with_progress(robot, options.design, around, executor)
    designed.motion.save(options.out)
    print(f"{options.out}: {describe(designed)}")
    if options.film is not None:
        from invdyn_ros.evaluation.plots.motion_video import write_motion_video  # slow to import

        print(write_motion_video(options.film, robot, designed.motion, around))
    return 0


def obstacles_option(file: Path | None, robot: Robot) -> Obstacles:
    """Return the obstacles of the option --obstacles, or those known of an arm."""
    return load_arm_obstacles(robot.name) if file is None else load_obstacles(file)


def design_with_progress(
    robot: Robot,
    design: ExcitationDesign,
    obstacles: Obstacles,
    executor: JobExecutor | None = None,
) -> DesignedExcitation:
    """Return an excitation; show a progress bar meanwhile.

    Args:
        robot: the arm.
        design: what it is designed for.
        obstacles: table and boxes.
        executor: runs the jobs; None: this process.
    """
    with tqdm(total=100, desc="design", unit="%", file=sys.stderr) as bar:
        return design_excitation(
            *(robot, design, obstacles),
            lambda fraction: bar.update(round(100 * fraction) - bar.n),
            executor,
        )


def describe(designed: DesignedExcitation) -> str:
    """Return a line about an excitation."""
    motion = designed.motion
    return (
        f"{motion.arm}, {motion.duration:.0f} s in {motion.num_parts} parts from rest to rest; "
        f"intervals {designed.narrower:.1f} times narrower than with a random motion"
    )
