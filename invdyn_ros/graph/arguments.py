"""Launch arguments of the graphs, a frozen dataclass for each graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt

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
