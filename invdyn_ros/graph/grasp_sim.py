"""Graph in which an arm locates, grasps and places a block."""

from __future__ import annotations

import sys
from pathlib import Path

from invdyn_ros.graph.arguments import BOOLEAN_VALUES
from invdyn_ros.graph.block_checks import check_camera, find_blocks
from invdyn_ros.graph.camera_arguments import GraspSimArguments
from invdyn_ros.graph.image_source import camera_template, resolve_images
from invdyn_ros.graph.shipped_weights import find_block_pose_model, find_policy
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
    IMAGE,
    JOINT_TARGET,
    MARKERS,
    REPORT_READY,
)
from invdyn_ros.grasp.policies.tasks import GRASP, SECONDS_PER_BLOCK
from invdyn_ros.robots.blocks_file import find_camera_pose
from invdyn_ros.robots.registry import ROBOTS, SHIPPED, load_scene

# topics that need a publisher and a subscriber before the simulation starts
GRASP_SIM_TOPICS = (
    IMAGE,
    JOINT_TARGET,
    GRIPPER_COMMAND,
    DESIRED_JOINT_STATE,
    REPORT_READY,
)
MANUAL_EPISODE_TIMEOUT = 120.0  # [s] longest episode without a policy

GRASP_PARAMETERS = (
    "arm",
    "blocks",
    "task",
    "target",
    "policy",
    "policy_checkpoint",
    "noise",
    "seed",
    "lockstep",
    "camera_pose",
    "tool_speed",
    "tf_prefix",
    "camera_frame",
)
SCENE_CAMERA_PARAMETERS = (
    "arm",
    "blocks",
    "seed",
    "noise",
    "lockstep",
    "image_size",
    "tf_prefix",
    "camera_frame",
)
BLOCKS_PARAMETERS = (
    "arm",
    "blocks",
    "lockstep",
    "image_transport",
    "publish_camera",
    "camera_pose",
    "tf_prefix",
    "camera_frame",
)
GRASP_REPORT_PARAMETERS = (
    "target",
    "policy",
    "noise",
    "seed",
    "episodes",
    "camera_pose",
    "blocks",
    "task",
    "block_pose_model",
)


def _resolve_grasp_sim(values: ArgumentValues) -> None:
    """Check the arguments of grasp_sim and derive values from them."""
    arm = values["arm"]
    if ROBOTS[arm].gripper is None:
        supported = ", ".join(name for name in SHIPPED if SHIPPED[name].gripper)
        raise ValueError(
            f"{arm} has no gripper; grasp_sim is for {supported}, or an arm whose FILE.yaml or "
            "URDF has one"
        )
    real = not is_simulated(values)
    _resolve_camera(values)
    manual = values["policy"] == "none"  # another node publishes targets in real time
    auto = values["headless"] and not real and not manual
    set_lockstep(values, BOOLEAN_VALUES.get(values["lockstep"], auto))
    if values["task"] != GRASP and values["policy"] not in ("scripted", "none"):
        raise ValueError(
            f"task:={values['task']} needs policy:=scripted; {values['policy']} grasps one block"
        )
    values["blocks"] = blocks = find_blocks(values["task"], values["blocks"], arm)
    if blocks:
        values["camera_pose"] = values["camera_pose"] or find_camera_pose(blocks)
    if values["camera_pose"]:
        values["camera_pose"] = str(Path(values["camera_pose"]).absolute())
    check_camera(values)
    values["block_pose_model"], values["image_size"] = find_block_pose_model(
        values["policy"], values["block_pose_model"], arm
    )
    values["policy_checkpoint"] = find_policy(values["policy"], values["policy_checkpoint"], arm)
    # simulated time starts again with each episode
    values["wall_clock"], values["simulated_time"] = False, not real
    values["scene"] = values["publish_camera"] = True
    topics = list(GRASP_SIM_TOPICS)
    if manual:
        values["max_episode_seconds"] = MANUAL_EPISODE_TIMEOUT
    else:
        topics.append(MARKERS)
        if values["task"] != GRASP:
            seconds = SECONDS_PER_BLOCK * load_scene(arm, blocks).num_blocks
            values["max_episode_seconds"] = seconds
    # a real arm and its camera do not wait
    values["wait_for_topics"] = "" if real else " ".join(topics)
    values["episodes"] = values["episodes"] or (0 if real else 1)


def _resolve_camera(values: ArgumentValues) -> None:
    """Check the camera: a simulated arm has a simulated one, a real one any that is calibrated."""
    given = [f"{name}:={values[name]}" for name in ("video", "camera") if values[name]]
    if is_simulated(values):
        if values["image_transport"] != "raw":
            raise ValueError("image_transport:=compressed needs target:=real, with its own camera")
        if given:
            raise ValueError(f"{given[0]} needs target:=real; a simulated arm has its own camera")
    resolve_images(values, default="none")
    if not is_simulated(values) and not values["camera_pose"] and values["policy"] != "none":
        print(
            "camera_pose is not given: the camera is taken to be where the simulated one is; "
            "measure it with 'invdyn calibrate live'",
            file=sys.stderr,
        )
    if values["uses_camera_node"] and not values["camera_info"]:
        raise ValueError(
            f"{given[0]} needs camera_info:=FILE.yaml of 'invdyn calibrate camera', without which "
            "blocks have no size"
        )


GRASP_SIM = Graph(
    "a simulated or real arm locates blocks with a camera, grasps them and places them at goals",
    GraspSimArguments,
    (
        NodeTemplate(
            "simulator",
            (*SIMULATOR_PARAMETERS, "scene", "blocks", "task", "noise", "max_episode_seconds"),
            is_simulated,
        ),
        camera_template(),
        NodeTemplate("scene_camera", SCENE_CAMERA_PARAMETERS, is_simulated),
        NodeTemplate("blocks", BLOCKS_PARAMETERS, lambda values: not values["block_pose_model"]),
        NodeTemplate(
            "block_pose",
            ("arm", "block_pose_model", "lockstep", "image_transport", "tf_prefix"),
            lambda values: bool(values["block_pose_model"]),
        ),
        NodeTemplate("grasp", GRASP_PARAMETERS, lambda values: values["policy"] != "none"),
        NodeTemplate("inverse_dynamics", INVERSE_DYNAMICS_PARAMETERS),
        *driver_templates(),
        NodeTemplate(
            "gripper", ("arm", "driver", "tf_prefix"), lambda values: values["driver_gripper"]
        ),
        state_template(),
        view_template("blocks"),
        NodeTemplate("report", (*REPORT_PARAMETERS, *GRASP_REPORT_PARAMETERS), ends_graph=True),
    ),
    _resolve_grasp_sim,
)
