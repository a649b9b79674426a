"""HTML of the live window of an arm."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np

from invdyn_ros.config import load_json
from invdyn_ros.evaluation.pages.page import CHART_SCRIPTS, render_page
from invdyn_ros.robots.obstacles import Obstacles
from invdyn_ros.robots.robot import Robot
from invdyn_ros.robots.scene import Scene
from invdyn_ros.robots.visual_geometry import JointFrame, Surface, joint_frames, load_surfaces
from invdyn_ros.teleop.arm_directions import ARM_LANDMARKS
from invdyn_ros.teleop.pose import BONES
from invdyn_ros.typing import Array

NETWORK_FAMILIES = ("mlp", "enhanced", "ensemble")
NORMAL_SCALE = 127  # of a normal as 8-bit integers
SCRIPTS = (
    *CHART_SCRIPTS,
    "live_connection.js",
    "matrix.js",
    "arm_scene.js",
    "live_camera.js",
    "live_joints.js",
    "live_page.js",
)


def render_live_page(
    robot: Robot,
    obstacles: Obstacles,
    scene: Scene | None,
    *,
    graph: str,
    side: str,
    target: str,
    network: bool = False,
    namespace: str = "",
) -> str:
    """Return the HTML of the live window.

    Args:
        robot: the arm.
        obstacles: table and boxes around it.
        scene: blocks and their goal; None without blocks.
        graph: name of the graph.
        side: arm of the person that is followed, "left" or "right"; empty if none is.
        target: "sim" or "real".
        network: whether /network shows the network of the model.
        namespace: of the graph; empty for none.
    """
    is_real = target == "real"
    data = _arm_data(robot, obstacles) | {
        "blockSize": scene.block_size if scene else 0.0,
        "goal": scene.goal if scene else None,
        "bones": [[a, b] for a, b, _ in BONES],
        "followed": list(ARM_LANDMARKS[side]) if side else [],
        "side": side,
        "graph": graph,
        "real": is_real,
    }
    title = ", ".join(filter(None, (f"Live: {graph}", robot.name, namespace)))
    values = {
        "network": network,
        "side": side,
        "graph": graph,
        "is_real": is_real,
        "joints": data["joints"],
    }
    return render_page(title, "live.html", values, data=data, scripts=SCRIPTS, connect=True)


def _arm_data(robot: Robot, obstacles: Obstacles) -> dict[str, Any]:
    """Return what the page needs to draw an arm and what stands around it."""
    return {
        "arm": robot.name,
        "joints": list(robot.joint_names),
        "lower": robot.lower.tolist(),
        "upper": robot.upper.tolist(),
        "home": robot.home.tolist(),
        "fingers": robot.gripper.ends if robot.gripper else (),
        "maxOpening": robot.gripper.max_opening if robot.gripper else 0.0,
        "frames": [_frame(frame) for frame in joint_frames(robot)],
        "surfaces": [_surface(surface) for surface in load_surfaces(robot)],
        "table": obstacles.table,
        "boxes": [
            {"name": box.name, "size": box.size, "position": box.position, "rpy": box.rpy}
            for box in obstacles.boxes
        ],
    }


def render_network_page(checkpoint: str) -> str:
    """Return the HTML of the network of a checkpoint, whose inputs the live window sets.

    Raises:
        ValueError: no checkpoint folder, or its model is no plain stack of layers.
    """
    from invdyn_ros.evaluation.pages.network import network_page  # slow to import
    from invdyn_ros.models.checkpoint import load
    from invdyn_ros.training.network_recorder import checkpoint_history

    return network_page([checkpoint_history([load(checkpoint)])], connect=True)


def has_network(checkpoint: str) -> bool:
    """Return whether a checkpoint is a folder with a model that `render_network_page` can draw."""
    file = Path(checkpoint) / "meta.json"
    return file.is_file() and load_json(file).get("family") in NETWORK_FAMILIES


def _frame(frame: JointFrame) -> dict[str, Any]:
    return {
        "parent": frame.parent,
        "T": frame.T.T.ravel().tolist(),  # by columns, as in WebGL
        "axis": frame.axis.tolist(),
        "slides": frame.slides,
    }


def _surface(surface: Surface) -> dict[str, Any]:
    normals = np.round(NORMAL_SCALE * surface.normals)
    return {
        "frame": surface.frame,
        "color": surface.color,
        "points": _base64(surface.points.astype("<f4")),
        "normals": _base64(normals.astype(np.int8)),
    }


def _base64(values: Array) -> str:
    return base64.b64encode(values.tobytes()).decode()
