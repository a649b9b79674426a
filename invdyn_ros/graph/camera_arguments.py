"""Launch arguments of the graphs with a camera: teleop and grasp_sim."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt

from invdyn_ros.graph.arguments import CommonArguments
from invdyn_ros.graph.names import Namespace


@dataclass(frozen=True)
class CameraArguments(CommonArguments):
    """Launch arguments of graphs that can get their images from a camera node."""

    video: Annotated[
        str, Field(description="video file instead of a camera, played at its own frame rate")
    ] = ""
    camera: Annotated[
        str,
        Field(
            description=(
                "index of the camera, such as 0, its device file, the URL of a network camera, or "
                "none: images from camera/image_raw; default: 0 in teleop, none in grasp_sim, "
                "whose simulated arm has a simulated camera"
            )
        ),
    ] = ""
    loop: Annotated[bool, Field(description="repeat the video")] = False
    max_size: Annotated[int, Field(ge=32, description="longest side of the image [px]")] = 480
    camera_info: Annotated[
        str,
        Field(description="FILE.yaml of 'invdyn calibrate camera'; default: not calibrated"),
    ] = ""


@dataclass(frozen=True)
class TeleopArguments(CameraArguments):
    """Launch arguments of teleop."""

    pose_model: Annotated[
        str, Field(description="pose_landmarker_*.task file; default: that of install_models")
    ] = ""
    side: Annotated[
        Literal["left", "right"], Field(description="which arm of the person to follow")
    ] = "left"
    pose_namespace: Annotated[
        Namespace,
        Field(
            description=(
                "namespace of another teleop graph, such as left, whose camera and pose node are "
                "used, for two arms of one person; default: an own camera and pose node"
            )
        ),
    ] = ""
    hands: Annotated[
        Literal["auto", "both"],
        Field(description="both: the pose node estimates both hands, for a second graph"),
    ] = "auto"
    mode: Annotated[
        Literal["absolute", "relative"],
        Field(
            description=(
                "absolute: each place of the hand has its place of the tool; relative: the tool "
                "moves as the hand from where both are when the arm is engaged or the person comes"
            )
        ),
    ] = "absolute"
    scale: Annotated[
        NonNegativeFloat,
        Field(
            allow_inf_nan=False,
            description=(
                "motion of the tool over that of the hand; 0: the hand's whole reach fits into "
                "the workspace"
            ),
        ),
    ] = 0.0
    calibrate: Annotated[
        bool,
        Field(
            description=(
                "when the arm is engaged, the person reaches out once within 5 s: the tool is at "
                "home where the hand rested, and the stretched arm is the reach of the tool"
            )
        ),
    ] = False
    mount: Annotated[
        Literal["auto", "table", "wall"],
        Field(
            description=(
                "how the base of the arm is mounted; auto: wall for an arm like a person's "
                "(iiwa), else table"
            )
        ),
    ] = "auto"
    mirror: Annotated[
        bool, Field(description="the images are mirrored, as some programs of webcams do")
    ] = False
    rotate: Annotated[
        Literal["0", "90", "180", "270", "auto"],
        Field(
            description=(
                "degrees by which the images are turned counter-clockwise, as of a phone; auto: "
                "until the person in them is upright"
            )
        ),
    ] = "0"
    persons: Annotated[
        int,
        Field(
            ge=1,
            le=4,
            description=(
                "persons who are detected, of whom the operator is followed; more than 1 takes "
                "more time for each image"
            ),
        ),
    ] = 1
    gripper: Annotated[
        Literal["auto", "hand", "none"],
        Field(
            description=(
                "hand: a pinch of thumb and index finger, or a fist, closes the gripper; "
                "auto: hand with scene:=blocks, else none"
            )
        ),
    ] = "auto"
    tool: Annotated[
        Literal["auto", "free", "down", "hand"],
        Field(
            description=(
                "down: the tool points down, to grasp from a table; hand: where the person's hand "
                "points, as far as its position allows; free: only its position follows; auto: "
                "down with scene:=blocks, else free"
            )
        ),
    ] = "auto"
    elbow: Annotated[
        bool,
        Field(
            description=(
                "true: the elbow of an arm with more than six joints turns to the side of the "
                "person's; the iiwa follows the elbow in any case"
            )
        ),
    ] = False
    scene: Annotated[
        Literal["none", "blocks"],
        Field(
            description=(
                "blocks: a simulated table with a block to grasp and put at its goal, as in "
                "grasp_sim"
            )
        ),
    ] = "none"


@dataclass(frozen=True)
class GraspSimArguments(CameraArguments):
    """Launch arguments of grasp_sim."""

    max_size: Annotated[int, Field(ge=32, description="longest side of the image [px]")] = 1280
    policy: Annotated[
        Literal["scripted", "learned", "vision", "planned", "none"],
        Field(
            description=(
                "policy that moves the arm; none: another node publishes joint_target and "
                "gripper/command"
            )
        ),
    ] = "scripted"
    policy_checkpoint: Annotated[
        str,
        Field(
            description=(
                "folder of 'invdyn train_grasp' or 'invdyn train_planner'; "
                "default: the shipped one of the policy"
            )
        ),
    ] = ""
    block_pose_model: Annotated[
        str,
        Field(
            description=(
                "folder of 'invdyn train_block_pose', for block poses without markers; "
                "default: the shipped one for policy:=vision, else markers"
            )
        ),
    ] = ""
    task: Annotated[
        Literal["grasp", "sort", "stack"],
        Field(
            description=(
                "grasp: one block to its goal; sort: every block to its own; stack: all on top of "
                "each other, at the goal of the first"
            )
        ),
    ] = "grasp"
    blocks: Annotated[
        str,
        Field(
            description=(
                "FILE.yaml of blocks, markers, goals and camera, see config/blocks; default: one "
                "block with the markers 0 to 5, or ARM_three.yaml for several"
            )
        ),
    ] = ""
    episodes: Annotated[
        NonNegativeInt,
        Field(
            description=(
                "number of episodes, after which the run ends; 0: one in simulation, with a real "
                "arm until Ctrl-C"
            )
        ),
    ] = 0
    camera_pose: Annotated[
        str,
        Field(
            description=(
                "file of 'invdyn calibrate'; default: that of blocks, or the pose of the "
                "simulated camera"
            )
        ),
    ] = ""
    noise: Annotated[
        Literal["none", "default", "hard"],
        Field(
            description=(
                "domain randomization level of camera, light, block, arm, latency and sensors"
            )
        ),
    ] = "default"
