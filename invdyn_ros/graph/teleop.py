"""Graph in which an arm follows the arm of a person."""

from __future__ import annotations

from pathlib import Path

from invdyn_ros.data.mediapipe_models import POSE_TASK, find_task_file
from invdyn_ros.graph.arguments import TeleopArguments
from invdyn_ros.graph.image_source import camera_template, resolve_images
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
    JOINT_STATES,
    JOINT_TARGET,
    LANDMARKS,
    REPORT_READY,
)

# topics that need a publisher and a subscriber before a video starts
TELEOP_TOPICS = (
    JOINT_STATES,
    LANDMARKS,
    JOINT_TARGET,
    DESIRED_JOINT_STATE,
    REPORT_READY,
)


def _resolve_teleop(values: ArgumentValues) -> None:
    """Check the arguments of teleop and derive values from them."""
    resolve_images(values, default="0")
    set_lockstep(values, values["lockstep"] == "true")
    if values["lockstep"] and not values["video"]:
        raise ValueError("lockstep:=true needs video:=FILE; a camera does not wait")
    values["model"] = values["pose_model"] and str(Path(values["pose_model"]).absolute())
    if values["model"] and not Path(values["model"]).is_file():
        raise ValueError(f"pose_model:={values['pose_model']} is not a file")
    if not values["model"]:
        find_task_file(POSE_TASK)  # raises before any node starts
    # a run without an end of which nothing is written needs no report node
    values["reports"] = any(values[k] for k in ("report", "record", "duration", "video"))
    if values["video"]:
        from invdyn_ros.perception.camera import read_video_info  # slow to import

        frame_rate = read_video_info(values["video"]).frame_rate
        # a video and a simulation wait until all nodes are connected; a live camera does not
        values["wait_for_topics"] = " ".join(TELEOP_TOPICS)
        if values["lockstep"]:
            values["target_rate"] = frame_rate


TELEOP = Graph(
    "an arm follows the arm of a person in front of a camera",
    TeleopArguments,
    (
        camera_template(),
        NodeTemplate("pose", ("model", "lockstep", "image_transport", "tf_prefix")),
        NodeTemplate("retarget", ("arm", "side", "lockstep", "obstacles", "tf_prefix")),
        NodeTemplate("inverse_dynamics", INVERSE_DYNAMICS_PARAMETERS),
        NodeTemplate("simulator", SIMULATOR_PARAMETERS, is_simulated),
        *driver_templates(),
        state_template(),
        view_template("side"),
        NodeTemplate(
            "report",
            (*REPORT_PARAMETERS, "video", "loop", "side"),
            lambda values: values["reports"],
            ends_graph=True,
        ),
    ),
    _resolve_teleop,
)
