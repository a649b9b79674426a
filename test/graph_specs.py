"""Graphs that are resolved to the nodes that they start."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from invdyn_ros.control.joint_motion import JointMotion
from invdyn_ros.graph import graph as graphs
from invdyn_ros.robots.robot import load_robot


def make_checkpoint(parent, arm, unit):
    folder = parent / f"{arm} {unit}"
    folder.mkdir(exist_ok=True)
    (folder / "meta.json").write_text(json.dumps({"robot": arm, "action_unit": unit}))
    return f"{folder}"


def resolve(graph, values):
    """Resolve a graph; that which plays a motion gets one, and no duration."""
    if graph != "play_motion" or "motion" in values:
        return graphs.resolve(graph, values)
    values = {name: value for name, value in values.items() if name != "duration"}
    with TemporaryDirectory() as folder:
        file = Path(folder) / "motion.npz"
        write_still_motion(file, values.get("arm", "ur5"))
        return graphs.resolve(graph, values | {"motion": str(file), "out": f"{folder}/data"})


def write_still_motion(file, name):
    """Write a motion of an arm that stays at home, made for 0.5 m/s."""
    arm = load_robot(name)
    q, still = np.tile(arm.home, (3, 1)), np.zeros((3, arm.n))
    ends = (0, 2)
    JointMotion(name, arm.joint_names, arm.rate, q, still, still, ends, 0.5, 0.0).save(file)


def nodes(graph, **values):
    return {spec.name: dict(spec.parameters) for spec in resolve(graph, values)}
