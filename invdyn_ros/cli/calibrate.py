"""`invdyn calibrate`: lens of a camera, or its pose from a recording or from a running arm.

The marker is a block in the gripper of an arm with a camera beside it, or a static block in front
of a camera on the hand.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from pydantic import NonNegativeInt

from invdyn_ros.cli.calibrate_camera import CalibrateCameraOptions, run_calibration
from invdyn_ros.cli.options import parse
from invdyn_ros.config import Validated
from invdyn_ros.data.atomic_file import write_atomically
from invdyn_ros.data.output_options import OutputOptions
from invdyn_ros.graph.launcher import launch
from invdyn_ros.graph.names import FrameName, Namespace, in_namespace
from invdyn_ros.graph.node_spec import NodeSpec
from invdyn_ros.graph.topics import JOINT_STATES, block_topic
from invdyn_ros.perception.hand_eye.camera_pose import to_yaml
from invdyn_ros.perception.hand_eye.hand_eye_calibration import (
    HandEyeCalibration,
    calibrate,
    residual_norms,
    rms_residual,
    to_camera_pose,
)
from invdyn_ros.perception.hand_eye.pose_pairs import Mounting
from invdyn_ros.perception.hand_eye.static_poses import (
    StaticPoseConfig,
    StaticPoses,
    find_static_poses,
)
from invdyn_ros.robots.registry import ROBOTS
from invdyn_ros.robots.robot import Robot, load_robot
from invdyn_ros.sources.hand_eye_bag import read_hand_eye_bag

INTERRUPTED = 130  # exit code of a recording that the user has ended with Ctrl-C


@dataclass(frozen=True)
class CalibrateOptions(OutputOptions):
    """Options of the calibration of a camera's pose."""

    out: Path
    """YAML file to write."""
    mounting: Mounting
    """eye_to_hand: fixed camera, and the marker on the hand; eye_in_hand: camera on the hand."""
    arm: str = "ur5"
    """Name of the arm, or FILE.yaml of an arm of a user."""
    block: int = 0
    """Number of the marked block: its topic is blocks/block_<number>."""
    marker_topic: str | None = None
    """Another topic with the PoseWithCovarianceStamped of the marker in the camera frame."""
    joint_states_topic: str = JOINT_STATES
    """Topic of the joint states."""
    namespace: Namespace = ""
    """Namespace of these topics; default: none."""
    tf_prefix: FrameName = ""
    """Prefix of the joints of the arm, that of its driver."""
    static_poses: StaticPoseConfig = field(default_factory=StaticPoseConfig)
    """Detection of static poses of the arm; images of a moving arm are not used."""
    plot: Path | None = None
    """PNG file to write, with the residual of each pose."""

    @property
    def topics(self) -> tuple[str, str]:
        """Topics of the joint states and of the marker's poses."""
        marker = self.marker_topic or block_topic(self.block)
        states = in_namespace(self.namespace, self.joint_states_topic)
        return states, in_namespace(self.namespace, marker)


@dataclass(frozen=True)
class CalibrateBagOptions(CalibrateOptions):
    """Calibrate from a rosbag2 recording (.db3 or .mcap), such as one of `record:=`."""

    path: tyro.conf.Positional[Path] = field(kw_only=True)
    """The recording."""


@dataclass(frozen=True)
class CalibrateLiveOptions(Validated, CalibrateOptions):
    """Record while you move the arm from pose to pose, and calibrate after Ctrl-C."""

    record: Path | None = None
    """New directory for the recording; without it, the recording is temporary."""
    poses: NonNegativeInt = 0
    """Number of poses after which the recording ends; 0 to end with Ctrl-C."""
    detect: bool = True
    """Detect blocks in camera/image_raw; otherwise another node publishes the marker poses."""

    def __post_init__(self) -> None:
        """Check that the recording is new and the block is known."""
        super().__post_init__()
        known = [name for name, spec in ROBOTS.items() if spec.scene is not None]
        if self.detect and self.arm not in known:
            arms = ", ".join(known)
            raise ValueError(
                f"the block of '{self.arm}' is unknown, unlike that of {arms}; give "
                "--no-detect and the --marker-topic of another detector"
            )
        if self.record is not None and self.record.exists():
            raise ValueError(f"{self.record} exists already; choose a new directory")


def main(argv: list[str] | None = None) -> int:
    """Run the verb and return the exit code."""
    subcommands: Any = (
        Annotated[CalibrateCameraOptions, tyro.conf.subcommand("camera")]
        | Annotated[CalibrateBagOptions, tyro.conf.subcommand("bag")]
        | Annotated[CalibrateLiveOptions, tyro.conf.subcommand("live")]
    )
    options = parse(Annotated[subcommands, tyro.conf.OmitArgPrefixes], argv, "calibrate")
    if isinstance(options, CalibrateCameraOptions):
        return run_calibration(options)
    robot = load_robot(options.arm)
    _check_files(options)
    if isinstance(options, CalibrateBagOptions):
        return _calibrate(options, robot, options.path)
    with tempfile.TemporaryDirectory(prefix="invdyn_") as folder:
        recording = options.record or Path(folder) / "recording"
        code = _record(options, recording)
        if code not in (0, INTERRUPTED):
            return code
        if not recording.exists():
            raise ValueError(
                "no messages were recorded; check that the driver of the arm and the camera run"
            )
        return _calibrate(options, robot, recording)


def _check_files(options: CalibrateOptions) -> None:
    """Check the names of the output files before anything is recorded."""
    for name, path, suffixes in (
        ("out", options.out, (".yaml", ".yml")),
        ("plot", options.plot, (".png",)),
    ):
        if path is not None and (path.suffix not in suffixes or path.is_dir()):
            raise ValueError(f"--{name} {path} is not a {suffixes[0]} file")


def _record(options: CalibrateLiveOptions, recording: Path) -> int:
    """Record until there are enough poses; return the exit code of the processes."""
    states, marker = options.topics
    values: dict[str, Any] = {
        "arm": options.arm,
        "marker_topic": marker,
        "joint_states_topic": states,
        "tf_prefix": options.tf_prefix,
        "record": str(recording),
        "num_poses": options.poses,
        "max_joint_velocity": options.static_poses.max_joint_velocity,
        "settling_time": options.static_poses.settling_time,
        "merge_tolerance": options.static_poses.merge_tolerance,
    }
    name, namespace = "hand_eye_recorder", options.namespace.strip("/")
    specs = [NodeSpec(name, name, values, ends_graph=True, namespace=namespace)]
    if options.detect:
        parameters = {"arm": options.arm}
        specs.append(NodeSpec("blocks", "blocks", parameters, namespace=namespace))
    return launch(specs, is_graph=False)


def _calibrate(options: CalibrateOptions, robot: Robot, recording: Path) -> int:
    """Calibrate from a recording and write the files."""
    joints = tuple(options.tf_prefix + name for name in robot.joint_names)
    streams = read_hand_eye_bag(recording, joints, *options.topics)
    static = find_static_poses(streams, robot, options.static_poses)
    print(
        f"{len(streams.marker_time)} images with the marker, {static.num_images} of them with a "
        f"static arm, in {len(static.pairs)} poses"
    )
    calibration = calibrate(static.pairs, options.mounting)
    parent = robot.base_link if options.mounting == "eye_to_hand" else robot.tip_link
    print("\n".join(_summary(calibration, static, parent, streams.joint_time.min())))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    text = to_yaml(to_camera_pose(calibration, options.arm, options.mounting), parent)
    if options.plot is not None:
        from invdyn_ros.evaluation.plots.hand_eye_residuals import (
            plot_hand_eye_residuals,  # the import takes a second
        )

        options.plot.parent.mkdir(parents=True, exist_ok=True)
        plot_hand_eye_residuals(calibration, options.plot)
    write_atomically(options.out, text.encode())
    print(f"wrote {options.out}", flush=True)
    return 0


def _summary(
    calibration: HandEyeCalibration, static: StaticPoses, parent: str, start: float
) -> list[str]:
    """Return lines that describe the calibration and its accuracy."""
    solution = calibration.solution
    inliers, error = solution.inliers, np.sqrt(np.diag(solution.covariance))
    lines = [str(calibration.pose_diversity)]
    for k in np.flatnonzero(~inliers):
        distance, angle = residual_norms(calibration.residual[k : k + 1])[0]
        lines.append(
            f"rejected pose {k + 1}, at {static.time[k] - start:.1f} s: it contradicts the others "
            f"by {1e3 * distance:.1f} mm, {np.degrees(angle):.1f} deg"
        )
    x, y, z = solution.X[:3, 3]
    distance, angle = 1e3 * np.linalg.norm(error[:3]), np.degrees(np.linalg.norm(error[3:]))
    lines.append(
        f"camera in {parent}: x {x:.4f}, y {y:.4f}, z {z:.4f} m; "
        f"standard error {distance:.2f} mm, {angle:.3f} deg"
    )
    for name, residual in (
        ("fitted", calibration.residual[inliers]),
        ("held out", calibration.held_out),
    ):
        distance, angle = rms_residual(residual)
        lines.append(
            f"residual of a pose, {name}: {1e3 * distance:.2f} mm, {np.degrees(angle):.2f} deg RMS"
        )
    advice = calibration.pose_diversity.advice()
    return [*lines, *([f"for a smaller error: {advice}"] if advice else [])]
