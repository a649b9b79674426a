"""Graph in which an arm follows the arm of a person."""

from __future__ import annotations

from pathlib import Path

from invdyn_ros.data.mediapipe_models import HAND_TASK, POSE_TASK, find_task_file
from invdyn_ros.graph.camera_arguments import TeleopArguments
from invdyn_ros.graph.image_source import camera_template, resolve_images
from invdyn_ros.graph.names import in_namespace
from invdyn_ros.graph.templates import (
    INVERSE_DYNAMICS_PARAMETERS,
    REPORT_PARAMETERS,
    SIMULATOR_PARAMETERS,
    ArgumentValues,
    Graph,
    NodeTemplate,
    driver_templates,
    is_simulated,
    set_lockstep,
    state_template,
    view_template,
)
from invdyn_ros.graph.topics import (
    DESIRED_JOINT_STATE,
    GRIPPER_COMMAND,
    JOINT_STATES,
    JOINT_TARGET,
    LANDMARKS,
    LEFT_HAND,
    POSE_OVERLAY,
    REPORT_READY,
    RIGHT_HAND,
)
from invdyn_ros.robots.registry import ROBOTS, SHIPPED

# topics that need a publisher and a subscriber before a video starts
TELEOP_TOPICS = (
    JOINT_STATES,
    LANDMARKS,
    JOINT_TARGET,
    DESIRED_JOINT_STATE,
    REPORT_READY,
)
MAX_EPISODE_SECONDS = 120.0  # after which a person who has not placed the block gets another one
# from the person to the arm
MAPPING_PARAMETERS = ("side", "tool", "mode", "scale", "mount", "calibrate", "tool_speed")
POSE_PARAMETERS = (
    "model",
    "lockstep",
    "image_transport",
    "hands",
    "mirror",
    "rotate",
    "persons",
    "tf_prefix",
)
RETARGET_PARAMETERS = (
    *MAPPING_PARAMETERS,
    "elbow",
    "speed",
    "arm",
    "gripper",
    "lockstep",
    "target_rate",
    "obstacles",
    "tf_prefix",
)


def _resolve_teleop(values: ArgumentValues) -> None:
    """Check the arguments of teleop and derive values from them."""
    shared = values["pose_namespace"].strip("/")
    if shared:
        _share_pose_node(values, shared)
    resolve_images(values, default="0")
    values["uses_pose_node"] = not shared
    set_lockstep(values, values["lockstep"] == "true")
    if values["lockstep"] and not values["video"]:
        raise ValueError("lockstep:=true needs video:=FILE; a camera does not wait")
    values["model"] = values["pose_model"] and str(Path(values["pose_model"]).absolute())
    if values["model"] and not Path(values["model"]).is_file():
        raise ValueError(f"pose_model:={values['pose_model']} is not a file")
    if not values["model"]:
        find_task_file(POSE_TASK)  # raises before any node starts
    _resolve_gripper(values)
    # a run without an end of which nothing is written needs no report node
    values["reports"] = any(values[k] for k in ("report", "record", "duration", "video"))
    if values["video"]:
        from invdyn_ros.perception.camera import read_video_info  # slow to import

        frame_rate = read_video_info(values["video"]).frame_rate
        # a video and a simulation wait until all nodes are connected; a live camera does not
        topics = [*TELEOP_TOPICS, *([GRIPPER_COMMAND] if values["gripper"] == "hand" else [])]
        values["wait_for_topics"] = " ".join(topics)
        if values["lockstep"]:
            values["target_rate"] = frame_rate


def _share_pose_node(values: ArgumentValues, namespace: str) -> None:
    """Take the landmarks of the pose node of another graph."""
    given = [f"{name}:={values[name]}" for name in ("video", "camera") if values[name]]
    if given:
        raise ValueError(
            f"pose_namespace:={namespace} and {given[0]} are both given; the camera is that of "
            "the other graph"
        )
    if namespace == values["namespace"].strip("/"):
        raise ValueError(f"pose_namespace:={namespace} is that of this graph; give the other one")
    values["camera"] = "none"
    names = (LANDMARKS, POSE_OVERLAY, LEFT_HAND, RIGHT_HAND)
    shared = {name: in_namespace(namespace, name) for name in names}
    values["remappings"] = {**values["remappings"], **shared}


def _resolve_gripper(values: ArgumentValues) -> None:
    """Check what the tool does and what there is to grasp, and derive values from it."""
    arm, blocks = values["arm"], values["scene"] == "blocks"
    if values["gripper"] == "auto":
        values["gripper"] = "hand" if blocks else "none"
    if values["tool"] == "auto":
        values["tool"] = "down" if blocks else "free"
    for name, is_needed in (("scene", blocks), ("gripper", values["gripper"] == "hand")):
        if is_needed and ROBOTS[arm].gripper is None:
            supported = ", ".join(name for name in SHIPPED if SHIPPED[name].gripper)
            raise ValueError(
                f"{name}:={values[name]} needs a gripper, which {arm} has not; {supported} have "
                "one, or an arm whose FILE.yaml or URDF has one"
            )
    if blocks and not is_simulated(values):
        raise ValueError("scene:=blocks needs target:=sim; a real table has real blocks")
    if blocks and values["gripper"] == "none" and values["lockstep"]:
        raise ValueError("scene:=blocks and lockstep:=true need gripper:=hand, for every answer")
    values["scene"], values["repeats_task"] = blocks, True
    values["max_episode_seconds"] = MAX_EPISODE_SECONDS
    if values["hands"] == "auto":
        values["hands"] = values["side"] if values["gripper"] == "hand" else "none"
    if values["hands"] != "none":
        find_task_file(HAND_TASK)  # raises before any node starts


TELEOP = Graph(
    "an arm follows the arm of a person in front of a camera",
    TeleopArguments,
    (
        camera_template(),
        NodeTemplate("pose", POSE_PARAMETERS, lambda values: values["uses_pose_node"]),
        NodeTemplate("retarget", RETARGET_PARAMETERS),
        NodeTemplate("inverse_dynamics", INVERSE_DYNAMICS_PARAMETERS),
        NodeTemplate(
            "simulator",
            (*SIMULATOR_PARAMETERS, "scene", "repeats_task", "max_episode_seconds"),
            is_simulated,
        ),
        *driver_templates(),
        NodeTemplate(
            "gripper",
            ("arm", "driver", "tf_prefix"),
            lambda values: values["driver_gripper"] and values["gripper"] == "hand",
        ),
        state_template(),
        view_template("side", "scene"),
        NodeTemplate(
            "report",
            (*REPORT_PARAMETERS, "video", "loop", "scene", *MAPPING_PARAMETERS),
            lambda values: values["reports"],
            ends_graph=True,
        ),
    ),
    _resolve_teleop,
)
