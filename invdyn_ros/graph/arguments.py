"""Launch arguments of the graphs, a frozen dataclass for each graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt

from invdyn_ros.graph.names import FrameName, Namespace

AutoBoolean = Literal["auto", "true", "false"]

BOOLEAN_VALUES = {"true": True, "false": False}


@dataclass(frozen=True)
class CommonArguments:
    """Launch arguments of every graph."""

    arm: Annotated[
        str,
        Field(
            description=(
                "arm to move: ur5, ur5e, ur10, dofbot, kuka_iiwa, or FILE.yaml of another; "
                "default: ur5, or that of urdf"
            )
        ),
    ] = ""
    urdf: Annotated[
        str,
        Field(
            description=(
                "FILE.urdf of the arm, such as a calibrated one, or robot_description: what the "
                "driver publishes; default: that of the arm"
            )
        ),
    ] = ""
    target: Annotated[
        Literal["sim", "real"],
        Field(
            description="sim: PyBullet; real: driver of the arm (UR: start ur_robot_driver first)"
        ),
    ] = "sim"
    driver: Annotated[
        str,
        Field(
            description=(
                "FILE.yaml that describes the driver of a real arm, see config/drivers; "
                "default: that of the arm"
            )
        ),
    ] = ""
    headless: Annotated[bool, Field(description="false opens PyBullet's window")] = True
    checkpoint: Annotated[
        str,
        Field(description="folder of 'invdyn train' or file of 'invdyn export'; default: shipped"),
    ] = ""
    unsafe: Annotated[
        bool,
        Field(description="drive with a checkpoint that was refused as a driver after training"),
    ] = False
    state_predictor: Annotated[
        str,
        Field(
            description=(
                "time-series model of 'invdyn train' that predicts missing joint states; "
                "default: no command while they are missing"
            )
        ),
    ] = ""
    device: Annotated[Literal["auto", "cpu", "cuda"], Field(description="device of the model")] = (
        "auto"
    )
    lockstep: Annotated[
        AutoBoolean,
        Field(
            description=(
                "true: the simulator waits for each command, so that a run is reproducible; "
                "auto: true for play_motion in simulation and a headless grasp_sim, else false"
            )
        ),
    ] = "auto"
    engage: Annotated[
        AutoBoolean,
        Field(description="start engaged; auto: true in simulation, false on a real arm"),
    ] = "auto"
    speed: Annotated[
        float, Field(gt=0, le=1, description="fraction of the joint speeds that is used, 0 to 1")
    ] = 1.0
    tool_speed: Annotated[
        NonNegativeFloat,
        Field(
            allow_inf_nan=False,
            description=(
                "largest speed of tool and elbow [m/s]; 0: 1.0 in simulation, 0.25 on a real arm"
            ),
        ),
    ] = 0.0
    obstacles: Annotated[
        str,
        Field(description="FILE.yaml of table and boxes around the arm; default: those known"),
    ] = ""
    payload: Annotated[
        str,
        Field(
            description=(
                "file of 'invdyn identify payload': what the arm, also a simulated one, carries "
                "beside what its model was trained with"
            )
        ),
    ] = ""
    seed: Annotated[
        NonNegativeInt, Field(description="seed of all random numbers of the simulation")
    ] = 0
    report: Annotated[
        str, Field(description="FILE.json to write at the end, with plots and a video")
    ] = ""
    overwrite: Annotated[
        bool, Field(description="replace what an earlier run wrote: report and film, or dataset")
    ] = False
    record: Annotated[
        str, Field(description="new directory for a rosbag2 recording of the run")
    ] = ""
    storage: Annotated[
        Literal["sqlite3", "mcap"], Field(description="file format of the recording")
    ] = "sqlite3"
    duration: Annotated[
        NonNegativeFloat, Field(description="duration of the run [s]; 0: no limit")
    ] = 0.0
    image_transport: Annotated[
        Literal["raw", "compressed"],
        Field(description="images of another node's camera: raw, or /camera/image_raw/compressed"),
    ] = "raw"
    use_sim_time: Annotated[
        bool, Field(description="take the time of all nodes from /clock, as with Gazebo")
    ] = False
    view: Annotated[
        bool, Field(description="serve the live window, a web page whose address is printed")
    ] = False
    view_port: Annotated[
        int, Field(ge=0, le=65535, description="TCP port of the live window; 0: any that is free")
    ] = 0
    namespace: Annotated[
        Namespace,
        Field(description="namespace of nodes, topics and services, such as left; default: none"),
    ] = ""
    description: Annotated[
        bool,
        Field(
            description=(
                "publish robot_description and frames of a real arm, whose driver does not; a "
                "simulated arm always does"
            )
        ),
    ] = False
    tf_prefix: Annotated[
        FrameName,
        Field(
            description="prefix of joints and frames, such as left_; that of the driver of the arm"
        ),
    ] = ""
    camera_frame: Annotated[
        FrameName,
        Field(description="frame_id of the images; default: camera_optical_frame with the prefix"),
    ] = ""
    composed: Annotated[
        bool,
        Field(description="nodes outside the control loop share one process, to save memory"),
    ] = False
    domain: Annotated[
        int, Field(ge=-1, le=232, description="ROS_DOMAIN_ID, 0 to 232; -1: that of the shell")
    ] = -1
    discovery: Annotated[
        Literal["auto", "localhost", "subnet"],
        Field(
            description=(
                "which machines find the nodes and may command the arm; auto: localhost, unless "
                "the shell sets ROS_AUTOMATIC_DISCOVERY_RANGE"
            )
        ),
    ] = "auto"


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
                "index of the camera, such as 0, or none: images from camera/image_raw; default: "
                "0 in teleop, none in grasp_sim, whose simulated arm has a simulated camera"
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
        Literal["auto", "free", "down"],
        Field(
            description=(
                "down: the tool points down, to grasp from a table; free: only its position "
                "follows; auto: down with scene:=blocks, else free"
            )
        ),
    ] = "auto"
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
    episodes: Annotated[PositiveInt, Field(description="number of episodes")] = 1
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


@dataclass(frozen=True)
class GravityCompensationArguments(CommonArguments):
    """Launch arguments of gravity_compensation."""

    push: Annotated[
        float,
        Field(
            ge=0,
            le=500,
            description=(
                "force with which a scripted hand pushes a simulated arm now and then [N]; "
                "0: nobody does, or another node on sim/push"
            ),
        ),
    ] = 20.0


@dataclass(frozen=True)
class PlayMotionArguments(CommonArguments):
    """Launch arguments of play_motion."""

    motion: Annotated[str, Field(description="FILE.npz of 'invdyn excite'; needed")] = ""
    out: Annotated[str, Field(description="dataset folder to write; needed")] = ""
    effort_unit: Annotated[
        str, Field(description="unit of the effort in joint states, as of 'invdyn collect bag'")
    ] = "N m"
