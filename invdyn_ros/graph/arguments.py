"""Launch arguments of the graphs: a frozen dataclass for each graph, filled from text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Literal,
    NamedTuple,
    get_args,
    get_origin,
    get_type_hints,
)

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt

from invdyn_ros.robots.registry import launchable_arms

ARMS = launchable_arms()
Arm = str if TYPE_CHECKING else Literal[ARMS]
Auto = Literal["auto", "true", "false"]

FLAGS = {"true": True, "false": False}


class LaunchArgument(NamedTuple):
    """Declaration of a launch argument, as text."""

    name: str
    default: str
    description: str
    type: str
    """Name of the type; empty where there are choices."""
    choices: tuple[str, ...]


def _argument(default: Any, description: str) -> Any:
    return field(default=default, metadata={"description": description})


@dataclass(frozen=True)
class CommonArguments:
    """Launch arguments of every graph."""

    arm: Arm = _argument("ur5", "arm to move")
    target: Literal["sim", "real"] = _argument(
        "sim", "sim: PyBullet; real: the arm's driver (UR: start ur_robot_driver yourself)"
    )
    headless: bool = _argument(True, "false opens PyBullet's window")
    checkpoint: str = _argument(
        "", "folder of 'invdyn train' or .onnx of 'invdyn export'; default: the arm's shipped one"
    )
    state_predictor: str = _argument(
        "",
        "folder of 'invdyn train' with a time-series model that predicts missing joint states; "
        "default: no command while they are missing",
    )
    device: Literal["auto", "cpu", "cuda"] = _argument("auto", "where the model runs")
    lockstep: Auto = _argument(
        "auto",
        "true: the simulator waits for each command, reproducible and as fast as the CPU allows; "
        "auto: true for a headless grasp_sim, else false",
    )
    engage: Auto = _argument(
        "auto", "start engaged; auto: true in simulation, false on a real arm"
    )
    seed: NonNegativeInt = _argument(0, "seed of all random numbers of the simulation")
    report: str = _argument("", "FILE.json to write at the end, with plots and a video beside it")
    record: str = _argument("", "new directory for a rosbag2 recording of the run")
    duration: NonNegativeFloat = _argument(0.0, "end after so many seconds; 0: no limit")
    domain: Annotated[int, Field(ge=-1, le=232)] = _argument(
        -1, "ROS domain id, 0 to 232; -1: that of the shell"
    )


@dataclass(frozen=True)
class TeleopArguments(CommonArguments):
    """Launch arguments of teleop."""

    video: str = _argument("", "video file in place of a camera, played at its own frame rate")
    camera: str = _argument(
        "", "index of the camera (default 0), or none: images come from /camera/image_raw"
    )
    loop: bool = _argument(False, "start the video again at its end")
    max_size: Annotated[int, Field(ge=32)] = _argument(480, "longest side of the image [px]")
    pose_model: str = _argument("", "pose_landmarker_*.task file; default: MediaPipe's own model")
    side: Literal["left", "right"] = _argument("left", "which arm of the person to follow")


@dataclass(frozen=True)
class GraspSimArguments(CommonArguments):
    """Launch arguments of grasp_sim."""

    policy: Literal["scripted", "learned", "vision", "planned", "none"] = _argument(
        "scripted",
        "policy that moves the arm; none: another node publishes /joint_target and "
        "/gripper/command",
    )
    policy_checkpoint: str = _argument(
        "",
        "folder of 'invdyn train_grasp' or 'invdyn train_planner'; "
        "default: the shipped one of the policy",
    )
    block_pose_model: str = _argument(
        "",
        "folder of 'invdyn train_block_pose', which estimates block poses without markers; "
        "default: the shipped one for policy:=vision, else markers",
    )
    episodes: PositiveInt = _argument(1, "number of episodes, each with one block")
    camera_pose: str = _argument(
        "", "file of 'invdyn calibrate'; default: the pose of the simulated camera"
    )
    noise: Literal["none", "default", "hard"] = _argument(
        "default", "noise level of sensors, camera and plant"
    )


def launch_arguments(arguments: type[CommonArguments]) -> Iterator[LaunchArgument]:
    """Yield the declarations of a graph's launch arguments."""
    hints = get_type_hints(arguments)
    for f in fields(arguments):
        hint, default = hints[f.name], str(f.default)
        choices = get_args(hint) if get_origin(hint) is Literal else ()
        if hint is bool:
            choices, default = tuple(FLAGS), default.lower()
        kind = "" if choices else hint.__name__
        yield LaunchArgument(f.name, default, f.metadata["description"], kind, choices)
