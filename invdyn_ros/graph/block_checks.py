"""Checks that an arm can grasp the blocks of a blocks file and reach their goals."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from invdyn_ros.graph.templates import ArgumentValues, is_simulated
from invdyn_ros.grasp.policies.tasks import GRASP, plan_placements
from invdyn_ros.robots.registry import load_scene
from invdyn_ros.robots.robot import Robot, load_robot, package_file
from invdyn_ros.robots.scene import OPEN_WIDTH_RATIO, Scene


def find_blocks(task: str, file: str, arm: str) -> str:
    """Return the absolute path of the blocks file of a task; "" for the block of the arm's entry.

    Args:
        task: launch argument.
        file: launch argument; empty: for several blocks the shipped file of the arm.
        arm: name of the arm.

    Raises:
        ValueError: no such file, none is shipped for the arm, or the arm cannot do the task.
    """
    if file:
        path = Path(file).absolute()
    elif task == GRASP:
        return ""
    else:
        try:
            path = package_file(f"config/blocks/{arm}_three.yaml")
        except FileNotFoundError:
            raise ValueError(
                f"task:={task} needs blocks:=FILE.yaml, as none is shipped for {arm}; start from "
                "config/blocks/ur5_three.yaml"
            ) from None
    scene = load_scene(arm, path)
    check_blocks_of_arm(load_robot(arm), scene, str(file or path))
    plan_placements(scene, task)
    return str(path)


def check_blocks_of_arm(robot: Robot, scene: Scene, source: str) -> None:
    """Check that an arm can grasp and place the blocks of a scene.

    Args:
        robot: the arm.
        scene: the blocks, the area in which they lie, and their goals.
        source: name of the blocks file in messages.

    Raises:
        ValueError: the gripper is too small, or a place is out of reach; in one line.
    """
    # slow to import
    from invdyn_ros.grasp.policies.grasp_poses import GraspPoseSolver
    from invdyn_ros.grasp.policies.scripted_config import default_config

    gripper, size = robot.gripper, scene.block_size
    if gripper is not None and size > gripper.max_opening / OPEN_WIDTH_RATIO:
        raise ValueError(
            f"{source}: size {size} m is too large for the gripper of '{robot.name}', which opens "
            f"{gripper.max_opening:.3g} m; it releases blocks of at most "
            f"{gripper.max_opening / OPEN_WIDTH_RATIO:.4f} m"
        )
    config = default_config(robot.name)
    solver = GraspPoseSolver(robot, config.tilts)
    corners = [("a corner of the area", (x, y)) for x in scene.area_x for y in scene.area_y]
    goals = [(f"the goal of block '{b.name}'", b.goal[:2]) for b in scene.all_blocks]
    for name, (x, y) in [*goals, *corners]:
        for height in (0.0, config.clearance):
            position = np.array([x, y, size / 2 + height])
            if solver.nearest(position, 0.0, robot.home) is None:
                raise ValueError(
                    f"{source}: {name} at x {x}, y {y} m is out of reach of '{robot.name}'; "
                    "move it nearer to the middle of the arm's reach"
                )


def check_camera(values: ArgumentValues) -> None:
    """Check that the policy, and a simulation, can use the camera of the launch arguments.

    Raises:
        ValueError: a wrong calibration file, or a camera on the hand where it cannot be.
    """
    from invdyn_ros.perception.hand_eye.camera_pose import nominal_scene  # slow to import

    arm, blocks, file = values["arm"], values["blocks"], values["camera_pose"]
    scene = nominal_scene(arm, file, blocks)
    policy = values["policy"]
    if scene.camera_on_hand and (policy not in ("scripted", "none") or values["block_pose_model"]):
        raise ValueError(
            f"a camera on the hand needs policy:=scripted and markers; {policy} was trained with "
            "a camera beside the arm"
        )
    simulated = load_scene(arm, blocks)
    if is_simulated(values) and scene.camera_on_hand != simulated.camera_on_hand:
        places = {True: "eye_in_hand", False: "eye_to_hand"}
        raise ValueError(
            f"{file} has mounting {places[scene.camera_on_hand]}, and the simulated camera "
            f"{places[simulated.camera_on_hand]}; give blocks:=FILE.yaml with this mounting, such "
            "as config/blocks/ur5_hand_camera.yaml, or target:=real"
        )
