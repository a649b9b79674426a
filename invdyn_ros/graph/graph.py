"""Which nodes make up teleop and grasp_sim, as data: launch arguments enter, checked nodes leave.

The launch files and `invdyn launch` both read this, so they cannot drift apart.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from invdyn_ros.config import from_strings
from invdyn_ros.graph.arguments import (
    ARMS,
    FLAGS,
    CommonArguments,
    GraspSimArguments,
    TeleopArguments,
)
from invdyn_ros.graph.shipped_weights import find_block_pose_model, find_policy
from invdyn_ros.perception.hand_eye.camera_pose import read_camera_pose
from invdyn_ros.robots.robot import ROBOTS, load_robot, package_file

ParameterValue = bool | int | float | str
ArgumentValues = dict[str, Any]  # argument name -> parsed value, then also what follows from them

ONNX = ".onnx"  # ending of an exported model


@dataclass(frozen=True)
class NodeSpec:
    """One process to start: a module of `invdyn_ros.nodes` and its ROS parameters."""

    name: str
    executable: str
    parameters: Mapping[str, ParameterValue] = field(default_factory=dict)
    ends_graph: bool = False
    """When this node ends well, the run is complete."""
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def module(self) -> str:
        """What `python -m` runs."""
        return f"invdyn_ros.nodes.{self.executable}"


@dataclass(frozen=True)
class NodeTemplate:
    """When a graph has a node, and which values it takes as parameters of the same name."""

    executable: str
    parameter_names: tuple[str, ...] = ()
    condition: Callable[[ArgumentValues], bool] = lambda values: True
    ends_graph: bool = False


@dataclass(frozen=True)
class Graph:
    """A set of nodes, the arguments they are started with and what must hold between those."""

    description: str
    arguments: type[CommonArguments]
    nodes: tuple[NodeTemplate, ...]
    resolve_values: Callable[[ArgumentValues], None]
    """Checks the values against each other and adds what follows from them."""


def find_graph(name: str) -> Graph:
    """Find a graph by name.

    Raises:
        ValueError: there is none; names those there are.
    """
    if name not in GRAPHS:
        raise ValueError(f"no graph '{name}'; there are {', '.join(GRAPHS)}")
    return GRAPHS[name]


def resolve(graph_name: str, values: Mapping[str, str]) -> list[NodeSpec]:
    """Turn launch arguments into the nodes to start; nothing starts before all of it is checked.

    Raises:
        ValueError: unknown graph or argument, a value that is not allowed, a file that is missing.
    """
    graph = find_graph(graph_name)
    arguments = from_strings(graph.arguments, values, f"launch arguments of {graph_name}")
    parsed: ArgumentValues = {**vars(arguments), "graph": graph_name}
    _resolve_common(parsed)
    graph.resolve_values(parsed)
    domain = parsed["domain"]
    environment = {} if domain < 0 else {"ROS_DOMAIN_ID": str(domain)}
    if FASTDDS_PROFILES not in os.environ:
        environment[FASTDDS_PROFILES] = str(package_file("config/fastdds.xml"))
    return [
        NodeSpec(
            template.executable,
            template.executable,
            {
                name: parsed[name]
                for name in template.parameter_names
                if parsed.get(name, "") != ""
            },
            template.ends_graph,
            environment,
        )
        for template in graph.nodes
        if template.condition(parsed)
    ]


def _simulated(values: ArgumentValues) -> bool:
    return values["target"] == "sim"


def _driver_templates() -> tuple[NodeTemplate, ...]:
    """Return the driver nodes of real arms, each started for its own arm."""
    nodes = dict.fromkeys(spec.driver_node for spec in ROBOTS.values() if spec.driver_node)
    return tuple(NodeTemplate(node, (), partial(_needs_driver, node)) for node in nodes)


def _needs_driver(node: str, values: ArgumentValues) -> bool:
    return values["target"] == "real" and ROBOTS[values["arm"]].driver_node == node


def _resolve_common(values: ArgumentValues) -> None:
    """Check what both graphs share."""
    arm, real = values["arm"], values["target"] == "real"
    drivers = {name: spec.driver_node or spec.external_driver for name, spec in ROBOTS.items()}
    if real and not drivers[arm]:
        able = ", ".join(name for name, driver in drivers.items() if driver)
        raise ValueError(f"there is no driver for a real {arm}; target:=real is for {able}")
    if real and values["lockstep"] == "true":
        raise ValueError("lockstep:=true needs target:=sim; a real arm does not wait")
    values["engaged"] = FLAGS.get(values["engage"], not real)
    checkpoint = _find_checkpoint(values["checkpoint"], arm, real)
    values["checkpoint"], values["unit"] = str(checkpoint), _action_unit(checkpoint, arm)
    if real and values["unit"] != "rad":
        raise ValueError(
            f"checkpoint {checkpoint} acts in '{values['unit']}'; a real {arm} takes 'rad'"
        )
    if values["state_predictor"]:
        values["state_predictor"] = str(_find_state_predictor(values["state_predictor"], arm))
    report, record = values["report"], values["record"]
    if report and (not report.endswith(".json") or Path(report).is_dir()):
        raise ValueError(f"report:={report} is not a .json file")
    if record and Path(record).exists():
        raise ValueError(f"record:={record} exists already; a recording needs a new directory")


def _find_checkpoint(given: str, arm: str, real: bool) -> Path:
    """Find the checkpoint: the one given, or the one shipped for the arm."""
    if given:
        path = Path(given).absolute()
        if not path.is_dir() and not (path.suffix == ONNX and path.is_file()):
            raise ValueError(
                f"checkpoint:={given} is neither a directory made by 'invdyn train' nor a "
                f"{ONNX} file made by 'invdyn export'"
            )
        return path
    name = (real and ROBOTS[arm].real_checkpoint) or arm
    try:
        return package_file(f"config/checkpoints/{name}")
    except FileNotFoundError as error:
        raise ValueError(f"no checkpoint is shipped for {name}; give checkpoint:=DIR") from error


def _find_state_predictor(given: str, arm: str) -> Path:
    """Find a path model; refuse what is none, or another arm's."""
    from invdyn_ros.control.state_predictor import (
        LearnedStatePredictor,  # torch: only where such a folder is given
    )
    from invdyn_ros.models.timeseries.registry import load_time_series_model

    LearnedStatePredictor(
        load_time_series_model(given), load_robot(arm)
    )  # refuses what the node would refuse
    return Path(given).absolute()


def _action_unit(checkpoint: Path, arm: str) -> str:
    """Read the unit of a checkpoint's actions; refuse what is no checkpoint, or another arm's."""
    robot, unit = (
        _read_onnx_metadata if checkpoint.suffix == ONNX else _read_checkpoint_metadata
    )(checkpoint)
    if robot != arm:
        raise ValueError(f"checkpoint {checkpoint} is of '{robot}', not of '{arm}'")
    return unit


def _read_onnx_metadata(checkpoint: Path) -> tuple[str, str]:
    """Read arm and unit of an exported model."""
    from invdyn_ros.models.onnx import load_onnx  # torch: only where such a file is given

    meta = load_onnx(checkpoint).meta
    return meta.robot, meta.action_unit


def _read_checkpoint_metadata(checkpoint: Path) -> tuple[str, str]:
    """Read arm and unit of a checkpoint folder."""
    file = checkpoint / "meta.json"
    try:
        meta = json.loads(file.read_text())
        return str(meta["robot"]), str(meta["action_unit"])
    except FileNotFoundError:
        raise ValueError(f"{checkpoint} has no meta.json; 'invdyn train' makes one") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{file} is not the meta.json of a checkpoint: {error!r}") from error


def _resolve_teleop(values: ArgumentValues) -> None:
    video, camera = values["video"], values["camera"]
    if video and camera:
        raise ValueError(f"video:={video} and camera:={camera} are both given; give one")
    if camera not in ("", "none") and not camera.isdecimal():
        raise ValueError(f"camera:={camera} is not the index of a camera (0, 1, ...) or none")
    values["lockstep"] = values["lockstep"] == "true"
    if values["lockstep"] and not video:
        raise ValueError("lockstep:=true needs video:=FILE; a camera does not wait")
    values["wall_clock"] = not values["lockstep"]
    values["model"] = values["pose_model"] and str(Path(values["pose_model"]).absolute())
    if values["model"] and not Path(values["model"]).is_file():
        raise ValueError(f"pose_model:={values['pose_model']} is not a file")
    values["camera_node"] = camera != "none"
    if video:
        from invdyn_ros.perception.camera import (
            read_video_info,  # opens the file: only where one is given
        )

        frame_rate = read_video_info(video).frame_rate
        values["video"] = str(Path(video).absolute())
        # A video, and a simulation, wait until the whole graph listens; a live camera does not.
        values["wait_for_topics"] = (
            "/joint_states /pose/landmarks /joint_target /inverse_dynamics/desired_joint_state /report/ready"
        )
        if values["lockstep"]:
            values["target_rate"] = frame_rate
    elif values["camera_node"]:
        values["camera"] = int(camera or 0)


def _resolve_grasp_sim(values: ArgumentValues) -> None:
    arm = values["arm"]
    if ROBOTS[arm].gripper is None:
        able = ", ".join(name for name in ARMS if ROBOTS[name].gripper)
        raise ValueError(f"{arm} has no gripper; grasp_sim is for {able}")
    real, lockstep = values["target"] == "real", values["lockstep"]
    driven = values["policy"] == "none"  # by whoever else publishes, at a person's pace
    values["lockstep"] = FLAGS.get(lockstep, values["headless"] and not real and not driven)
    if values["camera_pose"]:
        file = Path(values["camera_pose"]).absolute()
        read_camera_pose(file, arm)  # each node would refuse it; say it once, before any starts
        values["camera_pose"] = str(file)
    values["block_pose_model"], values["image_size"] = find_block_pose_model(
        values["policy"], values["block_pose_model"], arm
    )
    values["policy_checkpoint"] = find_policy(values["policy"], values["policy_checkpoint"], arm)
    values["wall_clock"] = False  # time that starts again tells every node of a new episode
    values["scene"] = True
    values["wait_for_topics"] = (
        "/camera/image_raw /joint_target /gripper/command /inverse_dynamics/desired_joint_state /report/ready"
    )
    if driven:
        values["episode"] = MANUAL_EPISODE_TIMEOUT
    else:
        values["wait_for_topics"] += " /blocks/markers"


CAMERA_PARAMETERS = ("video", "camera", "max_size", "loop", "lockstep", "wait_for_topics")
FASTDDS_PROFILES = "FASTRTPS_DEFAULT_PROFILES_FILE"  # where Fast DDS looks for its settings
INVERSE_DYNAMICS_PARAMETERS = (
    "arm",
    "checkpoint",
    "device",
    "engaged",
    "lockstep",
    "target_rate",
    "state_predictor",
)
SIMULATOR_PARAMETERS = (
    "arm",
    "unit",
    "seed",
    "lockstep",
    "wall_clock",
    "headless",
    "wait_for_topics",
)
REPORT_PARAMETERS = ("graph", "arm", "checkpoint", "lockstep", "report", "record", "duration")

MANUAL_EPISODE_TIMEOUT = 120.0  # [s] longest episode of a person

GRASP_PARAMETERS = (
    "arm",
    "policy",
    "policy_checkpoint",
    "noise",
    "seed",
    "lockstep",
    "camera_pose",
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
            NodeTemplate("camera", CAMERA_PARAMETERS, lambda values: values["camera_node"]),
            NodeTemplate("pose", ("model", "lockstep")),
            NodeTemplate("retarget", ("arm", "side", "lockstep")),
            NodeTemplate("inverse_dynamics", INVERSE_DYNAMICS_PARAMETERS),
            NodeTemplate("simulator", SIMULATOR_PARAMETERS, _simulated),
            *_driver_templates(),
            NodeTemplate("report", (*REPORT_PARAMETERS, "video", "side"), ends_graph=True),
        ),
        _resolve_teleop,
    ),
    "grasp_sim": Graph(
        "an arm finds a block with its camera, grasps it and carries it to its goal",
        GraspSimArguments,
        (
            NodeTemplate(
                "simulator", (*SIMULATOR_PARAMETERS, "scene", "noise", "episode"), _simulated
            ),
            NodeTemplate(
                "scene_camera", ("arm", "seed", "noise", "lockstep", "image_size"), _simulated
            ),
            NodeTemplate(
                "blocks", ("arm", "lockstep"), lambda values: not values["block_pose_model"]
            ),
            NodeTemplate(
                "block_pose",
                ("arm", "block_pose_model", "lockstep"),
                lambda values: bool(values["block_pose_model"]),
            ),
            NodeTemplate("grasp", GRASP_PARAMETERS, lambda values: values["policy"] != "none"),
            NodeTemplate("inverse_dynamics", INVERSE_DYNAMICS_PARAMETERS),
            *_driver_templates(),
            NodeTemplate(
                "report", (*REPORT_PARAMETERS, *GRASP_REPORT_PARAMETERS), ends_graph=True
            ),
        ),
        _resolve_grasp_sim,
    ),
}
