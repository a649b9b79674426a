"""`invdyn identify arm`: from nothing to an identified, validated and exported model."""

from __future__ import annotations

import sys
import time
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import tyro
from tqdm import tqdm

from invdyn_ros.cli import evaluate, export
from invdyn_ros.cli.excite import describe, design_with_progress, obstacles_option
from invdyn_ros.cli.options import parse
from invdyn_ros.config import Fraction, Validated
from invdyn_ros.control.joint_motion import JointMotion, load_motion
from invdyn_ros.data.action_units import is_torque
from invdyn_ros.data.output_options import OutputOptions
from invdyn_ros.evaluation.arm_identification import (
    CHECKPOINT,
    VALIDATION,
    IdentifiedArm,
    MotionArm,
    identify_arm,
    validation_motion,
)
from invdyn_ros.evaluation.launched_arm import LaunchedArm
from invdyn_ros.models.drive_check import refusal
from invdyn_ros.robots.obstacles import Obstacles
from invdyn_ros.robots.robot import Robot, load_robot
from invdyn_ros.sources.excitation.design import ExcitationDesign
from invdyn_ros.sources.guarded_run import GuardedArm, GuardedRun, MotionRun
from invdyn_ros.sources.source import DEFAULT_ARM, arm_name

MOTION_FILE = "excitation.npz"


@dataclass(frozen=True)
class IdentifyArmOptions(OutputOptions, Validated):
    """Excite an arm, identify it, validate on another kind of motion, and export."""

    out: Path
    """Folder to write: excitation, recordings, checkpoint, report, URDF, MJCF and C."""
    arm: str | None = None
    """Name of the arm, or FILE.yaml of one; default: that of the URDF file, or ur5."""
    urdf: Path | None = None
    """URDF file of an arm that is not known by name, or another one of a known arm."""
    obstacles: Path | None = None
    """YAML file of table and boxes around the arm; default: those known."""
    motion: Path | None = None
    """Excitation of 'invdyn excite', for the same obstacles, payload and tool speed; default: a
    new one."""
    launch: tuple[str, ...] = ()
    """Launch arguments of the graph 'play_motion' that drives the arm, such as target:=real;
    default: a simulated arm without nodes."""
    width: Fraction = 0.1
    """Relative width of the 95% intervals at which the excitation ends: half the width of each
    by the base parameter, or by what takes 1% of the effort limit if that is more."""
    design: ExcitationDesign = field(default_factory=ExcitationDesign)
    """What the motion is designed for."""


def main(argv: list[str] | None = None) -> int:
    """Run the command and return the exit code."""
    options = parse(IdentifyArmOptions, argv, "identify arm", config=(tyro.conf.OmitArgPrefixes,))
    start = time.monotonic()
    robot = load_robot(arm_name(options.arm, options.urdf, DEFAULT_ARM), options.urdf)
    around = obstacles_option(options.obstacles, robot)
    options.out.mkdir(parents=True, exist_ok=True)
    motion = _motion(options, robot, around)
    validation = validation_motion(robot, options.design, around)
    with ExitStack() as stack:
        arm = stack.enter_context(_arm(options, robot, around))
        bar = stack.enter_context(
            tqdm(total=round(motion.duration), desc="excitation", unit="s", file=sys.stderr)
        )

        def show(seconds: float, width: float | None) -> None:
            bar.update(seconds)
            if width is not None:
                bar.set_postfix(width=f"{width:.3g}", until=options.width)

        result = identify_arm(robot, arm, motion, validation, options.out, options.width, show)
    print(*result.lines, _summary(result, options), sep="\n")
    _report_and_export(options, robot)
    print(f"{options.out}: done in {time.monotonic() - start:.0f} s")
    return 0


def _arm(
    options: IdentifyArmOptions, robot: Robot, obstacles: Obstacles
) -> AbstractContextManager[MotionArm[MotionRun]]:
    """Return the arm that follows the motions."""
    design = options.design
    if not options.launch:
        return GuardedArm(robot, design.payload, obstacles, design.tool_speed, design.seed)
    words = [*options.launch]
    words += [f"arm:={options.arm}"] if options.arm else []
    words += [f"urdf:={options.urdf}"] if options.urdf else []
    words += [f"obstacles:={options.obstacles}"] if options.obstacles else []
    return nullcontext(LaunchedArm(robot, words, options.out))


def _motion(options: IdentifyArmOptions, robot: Robot, obstacles: Obstacles) -> JointMotion:
    """Return the excitation; write it if it is new."""
    design = options.design
    if options.motion is not None:
        motion = load_motion(options.motion, robot)
        if (motion.payload, motion.tool_speed) != (design.payload, design.tool_speed):
            raise ValueError(
                f"--motion {options.motion} is made for --payload {motion.payload:g} "
                f"--tool-speed {motion.tool_speed:g}; give these, or make another motion"
            )
        return motion
    designed = design_with_progress(robot, design, obstacles)
    designed.motion.save(options.out / MOTION_FILE)
    print(f"{options.out / MOTION_FILE}: {describe(designed)}")
    return designed.motion


def _summary(result: IdentifiedArm[MotionRun], options: IdentifyArmOptions) -> str:
    """Return what happened in a few lines."""
    seconds = sum(run.trajectory.time[-1] - run.trajectory.time[0] for run in result.runs)
    lines = [f"excitation of {seconds:.0f} s"]
    if result.width is not None:
        is_narrow = result.width <= options.width
        lines[0] += f"; widest interval {100 * result.width:.2g}% of its parameter"
        lines[0] += "" if is_narrow else f", not yet {100 * options.width:.2g}%"
    simulated = [run for run in result.all_runs if isinstance(run, GuardedRun)]
    if simulated:
        lines.append(f"contacts: {sum(run.contacts for run in simulated)} control steps")
    rms = 1e3 * result.validation.rms
    how = "" if result.validation.is_driven_by_model else "not "
    lines.append(f"from point to point, {how}driven with the model: {rms:.2f} mrad RMS")
    if reason := refusal(result.model.meta.data):
        lines.append(f"a live graph refuses the model as a driver: {reason}")
    return "\n".join(lines)


def _report_and_export(options: IdentifyArmOptions, robot: Robot) -> None:
    """Write report, page and exports of the checkpoint."""
    out = options.out
    words = ["--overwrite"]  # the folder is this run's
    words += ["--checkpoint", str(out / CHECKPOINT), "--data", str(out / VALIDATION)]
    words += ["--report", str(out / "report.json"), "--plots", str(out / "plots")]
    words += ["--urdf", str(options.urdf)] if options.urdf else []
    evaluate.main(words)
    suffixes = (".c", ".urdf", ".xml") if is_torque(robot.action_unit) else (".c",)
    for suffix in suffixes:
        file = out / f"{robot.name}{suffix}"
        words = ["--overwrite", "--checkpoint", str(out / CHECKPOINT), "--out", str(file)]
        try:
            export.main(words)
        except ValueError as error:  # a format that cannot hold this model
            print(f"{file} was not written: {error}")
