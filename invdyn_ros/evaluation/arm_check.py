"""Check of the description of an arm: what is wrong with it, and what the package can do with it.

What is said to work has been done once: the arm is simulated, its distances are computed and its
grasps are solved.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from invdyn_ros.config import load_yaml
from invdyn_ros.data.cache import cached_file
from invdyn_ros.robots.arm_file import ARM_FILE_SUFFIX
from invdyn_ros.robots.mesh_files import MESH_FORMATS, find_mesh
from invdyn_ros.robots.registry import (
    SHIPPED,
    load_arm_obstacles,
    load_grasp_spec,
    load_scene,
)
from invdyn_ros.robots.robot import Robot, load_robot
from invdyn_ros.robots.urdf import load_urdf, parse_robot
from invdyn_ros.robots.urdf_checks import (
    MOVABLE_TYPES,
    Problem,
    find_doubts,
    find_errors,
    line_of,
)
from invdyn_ros.robots.urdf_text import read_urdf_text, urdf_name
from invdyn_ros.typing import Array

MAX_LINK_SIZE = 5.0  # [m] of a plausible link of an arm
MAX_TILT = np.radians(45)  # of the tool's z axis from the direction of the fingers
PLACEHOLDER = 1000.0  # [N m] of an effort limit that is none
BLOCK_PLACES = 5  # corners and middle of the block area


class ArmCheck(NamedTuple):
    """Result of a check.

    Attributes:
        lines: what the package makes of the description.
        problems: errors and doubts, in the order of the file.
        able: what can be done with the arm -> empty, or why it cannot.
    """

    lines: list[str]
    problems: list[Problem]
    able: dict[str, str]

    @property
    def errors(self) -> list[Problem]:
        """Problems that make the description unusable."""
        return [problem for problem in self.problems if problem.is_error]


def check_arm(file: Path) -> ArmCheck:
    """Check a URDF, a xacro file, or the YAML file of an arm.

    Raises:
        ValueError: a file that is not XML, or a wrong YAML file.
        FileNotFoundError: there is no such file.
    """
    urdf = file
    if file.suffix == ARM_FILE_SUFFIX:
        urdf = file.parent / str(load_yaml(file).get("urdf", ""))
        if not urdf.is_file():
            urdf = load_robot(str(file)).urdf  # of the arm that it is; raises without one
    root = parse_robot(read_urdf_text(urdf), str(urdf))
    problems = [*find_errors(root)]
    if problems:
        reason = "the errors above come first"
        return ArmCheck([], _sorted(problems), dict.fromkeys(("train", *_ABILITIES), reason))
    problems += [*find_doubts(root), *_mesh_problems(urdf)]
    try:
        robot = load_robot(str(_file_of(file)))
    except ValueError as error:
        text = str(error).removeprefix(f"{urdf}: ").removeprefix(f"{urdf} ")
        problems.append(Problem(text, 0))
        reason = "the arm cannot be loaded"
        return ArmCheck([], _sorted(problems), dict.fromkeys(("train", *_ABILITIES), reason))
    problems += _arm_problems(robot)
    able = {"train": ""}
    for name, attempt in _ABILITIES.items():
        try:
            able[name] = attempt(robot)
        except ValueError as error:
            able[name] = str(error).removeprefix(f"{urdf}: ")
    return ArmCheck(_description(robot), _sorted(problems), able)


def _file_of(file: Path) -> Path:
    """Return the YAML file of an arm, for a URDF one that has nothing else."""
    if file.suffix == ARM_FILE_SUFFIX:
        return file
    name = urdf_name(file)
    name = f"my_{name}" if name in SHIPPED else name
    return cached_file(f"{name}{ARM_FILE_SUFFIX}", f"urdf: {json.dumps(str(file.absolute()))}\n")


def _sorted(problems: list[Problem]) -> list[Problem]:
    return sorted(problems, key=lambda problem: (not problem.is_error, problem.line))


def _mesh_problems(urdf: Path) -> Iterator[Problem]:
    """Yield meshes that do not exist or have a format that cannot be read."""
    for link, element in load_urdf(urdf).links.items():
        has_solid = element.find("collision") is not None
        for shape in (*element.findall("collision"), *element.findall("visual")):
            mesh = shape.find("geometry/mesh")
            if mesh is None:
                continue
            name, needed = mesh.get("filename", ""), shape.tag == "collision" or not has_solid
            where = f"<{shape.tag}> of link '{link}': mesh '{name[-80:]}'"
            file, line = find_mesh(name, urdf), line_of(mesh)
            if file is None:
                remedy = "install and source its package, or copy it beside the URDF"
                yield Problem(f"{where} does not exist; {remedy}", line, needed)
            elif file.suffix.lower() not in MESH_FORMATS and needed:
                yield Problem(
                    f"{where} cannot be read; convert it to STL, OBJ or DAE", line, False
                )


def _arm_problems(robot: Robot) -> Iterator[Problem]:
    """Yield what is doubtful about an arm as a whole."""
    tree = load_urdf(robot.urdf)
    elements = {e.get("name"): line_of(e) for e in tree.element.findall("joint")}
    for name, effort in zip(robot.joint_names, robot.effort, strict=True):
        if effort >= PLACEHOLDER:
            yield Problem(
                f"joint '{name}' has an effort limit of {effort:g}, a placeholder; give that of "
                "its drive [N m], on which friction and rotors of the simulation depend",
                *(elements.get(name, 0), False),
            )
    if robot.gripper is not None:
        T = robot.forward_kinematics(robot.home)
        points = [
            robot.forward_kinematics(robot.home, tree.joints[name].child)[:3, 3]
            for name in robot.gripper.joint_names
        ]
        wrist = robot.forward_kinematics(robot.home, tree.joints[robot.joint_names[-1]].child)
        ahead = np.mean(points, axis=0) - wrist[:3, 3]
        if ahead @ T[:3, 2] < np.cos(MAX_TILT) * np.linalg.norm(ahead):
            yield Problem(
                f"the z axis of the tool '{robot.tip_link}' does not point along the fingers; "
                "name another tip_link in FILE.yaml, whose z axis is the approach direction",
                *(0, False),
            )


def _description(robot: Robot) -> list[str]:
    """Return what the package makes of an arm, in lines."""
    tree = load_urdf(robot.urdf)
    moving = [j for j in tree.joints.values() if j.type in MOVABLE_TYPES]
    header = ("joint", "type", "lower", "upper", "velocity", "acceleration", "effort")
    rows: list[tuple[str, ...]] = [header]
    for i, name in enumerate(robot.joint_names):
        limits = (robot.lower, robot.upper, robot.velocity, robot.acceleration, robot.effort)
        rows.append((name, tree.joints[name].type, *(f"{limit[i]:.4g}" for limit in limits)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    fingers = robot.gripper.joint_names if robot.gripper else ()
    other = [j.name for j in moving if j.name not in (*robot.joint_names, *fingers)]
    mimics = [j.name for j in moving if j.mimic and j.name in other]
    inertias = [tree.pseudo_inertia(name, robot.joint_names) for name in robot.joint_names]
    point = np.round(robot.forward_kinematics(robot.home)[:3, 3], 3).tolist()
    lines += [
        f"tool: {robot.tip_link}, at {point} m at home",
        f"home [rad]: {np.round(robot.home, 3).tolist()}",
        f"moving mass: {sum(J[3, 3] for J in inertias):.4g} kg",
        f"gripper: {', '.join(fingers)}, up to {robot.gripper.max_opening * 1e3:.4g} mm"
        if robot.gripper
        else "gripper: none; name its joints in FILE.yaml if there is one",
    ]
    if other:
        note = f" ({', '.join(mimics)} mimic)" if mimics else ""
        lines.append(f"taken as fixed at zero: {', '.join(other)}{note}")
    return lines


def _simulate(robot: Robot) -> str:
    from invdyn_ros.arms.pybullet_simulation import Simulation  # slow to import

    with Simulation(robot, unit="N m") as simulation:
        simulation.step(np.zeros(robot.n))
    return ""


def _teleop(robot: Robot) -> str:
    from invdyn_ros.robots.collision import CollisionModel  # slow to import
    from invdyn_ros.robots.visual_geometry import link_corners
    from invdyn_ros.teleop.retargeting import Retargeter

    for link, corners in link_corners(robot).items():
        size = float(np.ptp(corners, axis=0).max())
        if size > MAX_LINK_SIZE:
            return f"link '{link}' is {size:.3g} m large; scale its mesh to metres"
    clearance = CollisionModel(robot, load_arm_obstacles(robot.name)).clearance(robot.home)
    if clearance.distance <= 0:
        return f"{' and '.join(clearance.pair)} touch at home; give another home in FILE.yaml"
    Retargeter(robot)
    return ""


def _grasp(robot: Robot) -> str:
    from invdyn_ros.grasp.policies.grasp_poses import GraspPoseSolver  # slow to import
    from invdyn_ros.grasp.policies.scripted_config import default_config

    if robot.gripper is None:
        return "it has no gripper"
    load_grasp_spec(robot.name)
    scene, config = load_scene(robot.name), default_config(robot.name)
    solver, reached = GraspPoseSolver(robot, config.tilts), 0
    for place in _block_places(scene.area_x, scene.area_y):
        position = np.array([*place, scene.block_size / 2 + config.clearance])
        reached += solver.nearest(position, 0.0, robot.home) is not None
    if reached < BLOCK_PLACES:
        return (
            f"it reaches {reached} of {BLOCK_PLACES} places of a block on the table with the tool "
            "pointing down"
        )
    return ""


def _block_places(x: tuple[float, float], y: tuple[float, float]) -> Array:
    """Return the corners and the middle (5, 2) of an area [m]."""
    corners = [(a, b) for a in x for b in y]
    return np.array([*corners, (sum(x) / 2, sum(y) / 2)])


_ABILITIES: dict[str, Callable[[Robot], str]] = {
    "simulate": _simulate,
    "teleop": _teleop,
    "grasp_sim": _grasp,
}
