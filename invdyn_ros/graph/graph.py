"""Graphs of nodes as data: teleop and grasp_sim.

`resolve` turns launch arguments into the nodes to start, for the launch files and `invdyn launch`.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from invdyn_ros.config import from_strings
from invdyn_ros.data.mediapipe_models import POSE_TASK, find_task_file
from invdyn_ros.graph.arguments import (
    ARMS,
    BOOLEAN_VALUES,
    CommonArguments,
    GraspSimArguments,
    TeleopArguments,
)
from invdyn_ros.graph.checkpoints import (
    find_checkpoint,
    find_state_predictor,
    read_command_unit,
)
from invdyn_ros.graph.composition import compose
from invdyn_ros.graph.discovery import discovery_environment
from invdyn_ros.graph.drivers import resolve_driver
from invdyn_ros.graph.shipped_weights import find_block_pose_model, find_policy
from invdyn_ros.graph.topics import (
    CLOCK,
    DESIRED_JOINT_STATE,
    GRIPPER_COMMAND,
    IMAGE,
    JOINT_STATES,
    JOINT_TARGET,
    LANDMARKS,
    MARKERS,
    REPORT_READY,
)
from invdyn_ros.robots.obstacles import load_obstacles
from invdyn_ros.robots.robot import ROBOTS, package_file

ParameterValue = bool | int | float | str
ArgumentValues = dict[str, Any]  # values of the launch arguments, and values derived from them


@dataclass(frozen=True)
class NodeSpec:
    """One process to start: a module of `invdyn_ros.nodes` and its ROS parameters."""

    name: str
    executable: str
    parameters: Mapping[str, ParameterValue] = field(default_factory=dict)
    ends_graph: bool = False
    """Whether the run is complete when this node exits with code 0."""
    environment: Mapping[str, str] = field(default_factory=dict)
    is_optional: bool = False
    """Whether the run goes on without this node."""
    namespace: str = ""
    """Namespace of the node, without a slash at its ends."""
    remappings: Mapping[str, str] = field(default_factory=dict)
    """Name -> other name of topics."""
    composed: tuple[str, ...] = ()
    """Executables of the nodes that share this process; empty: it is one node of this name."""

    @property
    def module(self) -> str:
        """Module name for `python -m`."""
        return f"invdyn_ros.nodes.{self.executable}"


@dataclass(frozen=True)
class NodeTemplate:
    """A node of a graph, before the values of the launch arguments are known."""

    executable: str
    parameter_names: tuple[str, ...] = ()
    """Values that are set as ROS parameters of the same name."""
    condition: Callable[[ArgumentValues], bool] = lambda values: True
    """Whether the node is started."""
    ends_graph: bool = False
    is_optional: bool = False


@dataclass(frozen=True)
class Graph:
    """A set of nodes and the launch arguments that configure them."""

    description: str
    arguments: type[CommonArguments]
    nodes: tuple[NodeTemplate, ...]
    resolve_values: Callable[[ArgumentValues], None]
    """Checks the values against each other and adds derived values."""


def find_graph(name: str) -> Graph:
    """Return a graph by name.

    Raises:
        ValueError: the graph is unknown; the message lists the known ones.
    """
    if name not in GRAPHS:
        raise ValueError(f"no graph '{name}'; there are {', '.join(GRAPHS)}")
    return GRAPHS[name]


def resolve(graph_name: str, arguments: Mapping[str, str]) -> list[NodeSpec]:
    """Turn launch arguments into the nodes to start, after checking all of them.

    Args:
        graph_name: key of GRAPHS.
        arguments: argument name -> text.

    Raises:
        ValueError: unknown graph or argument, a value that is not allowed, or a missing file.
    """
    graph = find_graph(graph_name)
    parsed = from_strings(graph.arguments, arguments, f"launch arguments of {graph_name}")
    values: ArgumentValues = {**vars(parsed), "graph": graph_name}
    _resolve_common(values)
    graph.resolve_values(values)
    domain = values["domain"]
    environment = discovery_environment(values["discovery"], os.environ)
    if domain >= 0:
        environment["ROS_DOMAIN_ID"] = str(domain)
    specs = [
        NodeSpec(
            template.executable,
            template.executable,
            _parameters(template, values),
            template.ends_graph,
            environment | _transport(template.executable),
            template.is_optional,
            values["namespace"].strip("/"),
            values["remappings"],
        )
        for template in graph.nodes
        if template.condition(values)
    ]
    return compose(specs) if values["composed"] else specs


def _transport(executable: str) -> dict[str, str]:
    """Return the environment that chooses the transport of a node."""
    if FASTDDS_PROFILES in os.environ:
        return {}
    name = "fastdds_small.xml" if executable in SMALL_SENDERS else "fastdds.xml"
    return {FASTDDS_PROFILES: str(package_file(f"config/{name}"))}


def _parameters(template: NodeTemplate, values: ArgumentValues) -> dict[str, ParameterValue]:
    """Return the ROS parameters of a node; an empty text is left out."""
    names = (*template.parameter_names, "use_sim_time")
    if "tf_prefix" in names:  # whoever has the prefix of the joints has their other names
        names += ("joint_map",)
    return {name: values[name] for name in names if values.get(name, "") != ""}


def _simulated(values: ArgumentValues) -> bool:
    return values["target"] == "sim"


def _driver_templates() -> tuple[NodeTemplate, ...]:
    """Return the driver nodes of real arms, each started for its own arm."""
    nodes = dict.fromkeys(spec.driver_node for spec in ROBOTS.values() if spec.driver_node)
    return tuple(
        NodeTemplate(node, ("tf_prefix",), partial(_needs_driver, node)) for node in nodes
    )


def _state_template() -> NodeTemplate:
    """Return the description of a real arm; the simulator has that of a simulated one."""
    return NodeTemplate(
        "robot_state",
        ("arm", "tf_prefix"),
        lambda values: values["description"] and not _simulated(values),
        is_optional=True,
    )


def _view_template(*parameter_names: str) -> NodeTemplate:
    """Return the live window, whose end must not stop an arm."""
    names = ("graph", "arm", "target", "obstacles", "checkpoint", "view_port", "tf_prefix")
    return NodeTemplate(
        "view", (*names, *parameter_names), lambda values: values["view"], is_optional=True
    )


def _needs_driver(node: str, values: ArgumentValues) -> bool:
    is_own = ROBOTS[values["arm"]].driver_node == node and not values["driver"]
    return values["target"] == "real" and is_own


def _resolve_common(values: ArgumentValues) -> None:
    """Check the common arguments and derive values from them."""
    arm, real = values["arm"], values["target"] == "real"
    driver = resolve_driver(values["driver"], arm, real)
    values["driver"], values["driver_gripper"] = driver.file, driver.has_gripper
    values["joint_map"], values["remappings"] = driver.joint_map, driver.remappings()
    if real and values["lockstep"] == "true":
        raise ValueError("lockstep:=true needs target:=sim; a real arm does not wait")
    values["tool_speed"] = values["tool_speed"] or TOOL_SPEEDS[values["target"]]
    if values["obstacles"]:
        file = Path(values["obstacles"]).absolute()
        load_obstacles(file)  # raises before any node starts
        values["obstacles"] = str(file)
    values["use_sim_time"] = values["use_sim_time"] or ""  # else not set
    if values["use_sim_time"] and not real:  # rclpy has one clock for all namespaces
        values["remappings"] = {**values["remappings"], "/clock": CLOCK}
    values["engaged"] = BOOLEAN_VALUES.get(values["engage"], not real)
    checkpoint = find_checkpoint(values["checkpoint"], arm, real)
    values["checkpoint"], values["unit"] = str(checkpoint), read_command_unit(checkpoint, arm)
    if real and values["unit"] not in driver.units:
        taken = " or ".join(f"'{name}'" for name in driver.units)
        unit = values["unit"]
        raise ValueError(
            f"checkpoint {checkpoint} has actions in '{unit}'; a real {arm} takes {taken}"
        )
    if values["state_predictor"]:
        values["state_predictor"] = str(find_state_predictor(values["state_predictor"], arm))
    _check_view_port(values["view"], values["view_port"])
    report, record = values["report"], values["record"]
    if report and (not report.endswith(".json") or Path(report).is_dir()):
        raise ValueError(f"report:={report} is not a .json file")
    if record and Path(record).exists():
        raise ValueError(f"record:={record} exists already; a recording needs a new directory")


def _check_view_port(view: bool, port: int) -> None:
    """Check that the live window is wanted where its port is given, and can be served there."""
    if port and not view:
        raise ValueError(f"view_port:={port} needs view:=true")
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError as error:
        raise ValueError(
            f"view_port:={port}: {error.strerror}; give another one, or 0 for any"
        ) from error


def _resolve_teleop(values: ArgumentValues) -> None:
    """Check the arguments of teleop and derive values from them."""
    video, camera = values["video"], values["camera"]
    if video and camera:
        raise ValueError(f"video:={video} and camera:={camera} are both given; give one")
    if camera not in ("", "none") and not camera.isdecimal():
        raise ValueError(f"camera:={camera} is not the index of a camera (0, 1, ...) or none")
    values["lockstep"] = values["lockstep"] == "true"
    if values["lockstep"] and not video:
        raise ValueError("lockstep:=true needs video:=FILE; a camera does not wait")
    values["wall_clock"] = not values["lockstep"]
    values["simulated_time"] = values["lockstep"]
    values["resume"] = values["target"] == "sim" and not values["lockstep"]
    values["model"] = values["pose_model"] and str(Path(values["pose_model"]).absolute())
    if values["model"] and not Path(values["model"]).is_file():
        raise ValueError(f"pose_model:={values['pose_model']} is not a file")
    if not values["model"]:
        find_task_file(POSE_TASK)  # raises before any node starts
    # a run without an end of which nothing is written needs no report node
    values["reports"] = any(values[k] for k in ("report", "record", "duration", "video"))
    values["uses_camera_node"] = camera != "none"
    if values["image_transport"] != "raw" and values["uses_camera_node"]:
        raise ValueError(
            f"image_transport:={values['image_transport']} needs camera:=none and another node "
            "that publishes the images"
        )
    if values["camera_info"]:
        _resolve_camera_info(values)
    if video:
        from invdyn_ros.perception.camera import read_video_info  # slow to import

        frame_rate = read_video_info(video).frame_rate
        values["video"] = str(Path(video).absolute())
        # a video and a simulation wait until all nodes are connected; a live camera does not
        values["wait_for_topics"] = " ".join(TELEOP_TOPICS)
        if values["lockstep"]:
            values["target_rate"] = frame_rate
    elif values["uses_camera_node"]:
        values["camera"] = int(camera or 0)


def _resolve_camera_info(values: ArgumentValues) -> None:
    """Check the calibration file of the camera node."""
    from invdyn_ros.perception.calibration_file import read_calibration  # slow to import

    file = values["camera_info"]
    if not values["uses_camera_node"]:
        raise ValueError(f"camera_info:={file} needs camera:=N or video:=FILE, not camera:=none")
    read_calibration(file)  # raises before any node starts
    values["camera_info"] = str(Path(file).absolute())


def _resolve_grasp_sim(values: ArgumentValues) -> None:
    """Check the arguments of grasp_sim and derive values from them."""
    arm = values["arm"]
    if ROBOTS[arm].gripper is None:
        supported = ", ".join(name for name in ARMS if ROBOTS[name].gripper)
        raise ValueError(f"{arm} has no gripper; grasp_sim is for {supported}")
    real, lockstep = values["target"] == "real", values["lockstep"]
    if values["image_transport"] != "raw" and not real:
        raise ValueError("image_transport:=compressed needs target:=real, with its own camera")
    manual = values["policy"] == "none"  # another node publishes targets in real time
    values["lockstep"] = BOOLEAN_VALUES.get(
        lockstep, values["headless"] and not real and not manual
    )
    if values["camera_pose"]:
        from invdyn_ros.perception.hand_eye.camera_pose import read_camera_pose  # slow to import

        file = Path(values["camera_pose"]).absolute()
        read_camera_pose(file, arm)  # raises before any node starts
        values["camera_pose"] = str(file)
    values["block_pose_model"], values["image_size"] = find_block_pose_model(
        values["policy"], values["block_pose_model"], arm
    )
    values["policy_checkpoint"] = find_policy(values["policy"], values["policy_checkpoint"], arm)
    values["wall_clock"] = False  # simulated time starts again with each episode
    values["simulated_time"] = not real
    values["resume"] = not real and not values["lockstep"]
    values["scene"] = values["publish_camera"] = True
    topics = list(GRASP_SIM_TOPICS)
    if manual:
        values["max_episode_seconds"] = MANUAL_EPISODE_TIMEOUT
    else:
        topics.append(MARKERS)
    values["wait_for_topics"] = " ".join(topics)


TOOL_SPEEDS = {"sim": 1.0, "real": 0.25}  # [m/s]; 0.25 is the limit of ISO 10218 beside a person
CAMERA_PARAMETERS = (
    "video",
    "camera",
    "max_size",
    "loop",
    "lockstep",
    "wait_for_topics",
    "camera_info",
    "tf_prefix",
    "camera_frame",
)
SMALL_SENDERS = ("inverse_dynamics", "simulator", "report", "dofbot")  # send no images
FASTDDS_PROFILES = "FASTRTPS_DEFAULT_PROFILES_FILE"  # environment variable of Fast DDS
INVERSE_DYNAMICS_PARAMETERS = (
    "arm",
    "driver",
    "checkpoint",
    "device",
    "engaged",
    "lockstep",
    "target_rate",
    "state_predictor",
    "simulated_time",
    "resume",
    "speed",
    "tool_speed",
    "obstacles",
    "tf_prefix",
)
SIMULATOR_PARAMETERS = (
    "arm",
    "unit",
    "seed",
    "lockstep",
    "wall_clock",
    "headless",
    "wait_for_topics",
    "obstacles",
    "tf_prefix",
)
REPORT_PARAMETERS = (
    "graph",
    "arm",
    "checkpoint",
    "lockstep",
    "report",
    "record",
    "storage",
    "duration",
    "obstacles",
    "tf_prefix",
)

# topics that need a publisher and a subscriber before a video or a simulation starts
TELEOP_TOPICS = (
    JOINT_STATES,
    LANDMARKS,
    JOINT_TARGET,
    DESIRED_JOINT_STATE,
    REPORT_READY,
)
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
    "policy",
    "policy_checkpoint",
    "noise",
    "seed",
    "lockstep",
    "camera_pose",
    "tf_prefix",
    "camera_frame",
)
SCENE_CAMERA_PARAMETERS = (
    "arm",
    "seed",
    "noise",
    "lockstep",
    "image_size",
    "tf_prefix",
    "camera_frame",
)
BLOCKS_PARAMETERS = (
    "arm",
    "lockstep",
    "image_transport",
    "publish_camera",
    "camera_pose",
    "tf_prefix",
    "camera_frame",
)
GRASP_REPORT_PARAMETERS = (
    "policy",
    "noise",
    "seed",
    "episodes",
    "camera_pose",
    "block_pose_model",
)

GRAPHS: dict[str, Graph] = {
    "teleop": Graph(
        "an arm follows the arm of a person in front of a camera",
        TeleopArguments,
        (
            NodeTemplate("camera", CAMERA_PARAMETERS, lambda values: values["uses_camera_node"]),
            NodeTemplate("pose", ("model", "lockstep", "image_transport", "tf_prefix")),
            NodeTemplate("retarget", ("arm", "side", "lockstep", "obstacles", "tf_prefix")),
            NodeTemplate("inverse_dynamics", INVERSE_DYNAMICS_PARAMETERS),
            NodeTemplate("simulator", SIMULATOR_PARAMETERS, _simulated),
            *_driver_templates(),
            _state_template(),
            _view_template("side"),
            NodeTemplate(
                "report",
                (*REPORT_PARAMETERS, "video", "loop", "side"),
                lambda values: values["reports"],
                ends_graph=True,
            ),
        ),
        _resolve_teleop,
    ),
    "grasp_sim": Graph(
        "a simulated or real arm locates a block with a camera, grasps it and places it at a goal",
        GraspSimArguments,
        (
            NodeTemplate(
                "simulator",
                (*SIMULATOR_PARAMETERS, "scene", "noise", "max_episode_seconds"),
                _simulated,
            ),
            NodeTemplate("scene_camera", SCENE_CAMERA_PARAMETERS, _simulated),
            NodeTemplate(
                "blocks", BLOCKS_PARAMETERS, lambda values: not values["block_pose_model"]
            ),
            NodeTemplate(
                "block_pose",
                ("arm", "block_pose_model", "lockstep", "image_transport", "tf_prefix"),
                lambda values: bool(values["block_pose_model"]),
            ),
            NodeTemplate("grasp", GRASP_PARAMETERS, lambda values: values["policy"] != "none"),
            NodeTemplate("inverse_dynamics", INVERSE_DYNAMICS_PARAMETERS),
            *_driver_templates(),
            NodeTemplate(
                "gripper", ("arm", "driver", "tf_prefix"), lambda values: values["driver_gripper"]
            ),
            _state_template(),
            _view_template(),
            NodeTemplate(
                "report", (*REPORT_PARAMETERS, *GRASP_REPORT_PARAMETERS), ends_graph=True
            ),
        ),
        _resolve_grasp_sim,
    ),
}
