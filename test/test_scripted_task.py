"""Scripted tasks with several blocks, and blocks that are lost, on an arm that follows exactly."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from invdyn_ros.grasp.envs.task_rollouts import TaskJob, run_tasks
from invdyn_ros.grasp.estimation.block_estimate import (
    BlockDetection,
    ImageDetections,
    detection_in_stack,
)
from invdyn_ros.grasp.policies.scripted import ScriptedGrasp
from invdyn_ros.grasp.policies.scripted_task import ScriptedTask, pass_image
from invdyn_ros.grasp.policies.task_success import TaskSuccess
from invdyn_ros.grasp.policies.tasks import plan_placements
from invdyn_ros.robots.registry import load_scene
from invdyn_ros.robots.robot import load_robot, package_file
from invdyn_ros.robots.scene import block_pose

UR5 = load_robot("ur5")
THREE = str(package_file("config/blocks/ur5_three.yaml"))
SCENE = load_scene("ur5", THREE)
SIZE = SCENE.block_size
TICK, IMAGE_TICKS = 0.02, 5
STARTS = np.array([[0.40, 0.05, 0.02], [0.52, 0.06, 0.02], [0.46, -0.06, 0.02]])


def detect(time: float, where: np.ndarray, block: int) -> BlockDetection:
    """Return an exact detection of a block."""
    level = round(where[2] / SIZE - 0.5)
    return BlockDetection(time, where.copy(), 0.0, np.full(4, 1e-6), block=block, level=level)


class Table:
    """Blocks without inertia: a closed gripper carries the one between its fingers."""

    def __init__(self, task: str, starts: np.ndarray = STARTS) -> None:
        self.policy = (
            ScriptedGrasp(UR5, SCENE) if task == "grasp" else ScriptedTask(UR5, SCENE, task)
        )
        self.success = TaskSuccess(SCENE, plan_placements(SCENE, task))
        self.blocks, self.q, self.ticks = starts.copy(), UR5.home.copy(), 0
        self.held: int | None = None
        self.opening = 0.085
        self.hidden: set[int] = set()
        self.reasons: list[str] = []

    def run(self, seconds: float, until: str = "") -> bool:
        """Run until the task is done, or until a phase; return whether that was reached."""
        for _ in range(round(seconds / TICK)):
            self.step()
            if self.command.phase == until or (not until and self.success.placed):
                return True
        return False

    def step(self) -> None:
        time = self.ticks * TICK
        if self.ticks % IMAGE_TICKS == 0:
            pass_image(self.policy, self.image(time), SCENE.target)
        opening = SIZE if self.held is not None else self.opening
        self.policy.update_joints(self.q, np.zeros(6))
        self.command = self.policy.command(time, opening, TICK)
        self.move(self.command.state.q, self.command.opening)
        self.success.update(self.blocks, self.command.state.qd, self.command.opening)
        if self.command.hold_reason not in (None, *self.reasons[-1:]):
            self.reasons.append(self.command.hold_reason)
        self.ticks += 1

    def image(self, time: float) -> ImageDetections:
        detections = [
            BlockDetection(
                time,
                where.copy(),
                0.0,
                np.full(4, 1e-6),
                block=b,
                level=round(where[2] / SIZE - 0.5),
            )
            for b, where in enumerate(self.blocks)
            if b not in self.hidden and b != self.held
        ]
        return ImageDetections(time, tuple(detections), {})

    def move(self, q: np.ndarray, opening: float) -> None:
        tool = UR5.forward_kinematics(q)[:3, 3]
        distance = np.linalg.norm(self.blocks - tool, axis=1)
        if opening > SIZE:
            self.release()
        elif self.opening > SIZE and distance.min() < 0.01:
            self.held = int(distance.argmin())
        if self.held is not None:
            self.blocks[self.held] = tool
        self.q, self.opening = q, opening

    def release(self) -> None:
        """Let the block fall onto the table, or onto the blocks below."""
        if self.held is None:
            return
        others = np.delete(self.blocks, self.held, axis=0)
        near = np.linalg.norm((others - self.blocks[self.held])[:, :2], axis=1) < SIZE / 2
        below = others[near, 2]
        self.blocks[self.held, 2] = below.max() + SIZE if len(below) else SIZE / 2
        self.held = None


@pytest.mark.parametrize("task", ["sort", "stack"])
def test_all_blocks_are_placed_where_the_task_wants_them(task: str) -> None:
    table = Table(task)
    assert table.run(40)
    assert not any("gave up" in reason for reason in table.reasons)


def test_block_in_the_way_is_put_aside() -> None:
    """Each block lies at the goal of the next one."""
    goals = np.array([block.goal for block in SCENE.all_blocks])
    table = Table("sort", np.roll(goals, 1, axis=0))
    assert table.run(80)


def test_block_under_another_is_uncovered_first() -> None:
    table = Table("stack", np.array([[0.46, 0.0, 0.02], [0.46, 0.0, 0.06], [0.52, 0.08, 0.02]]))
    assert table.run(60)


def test_missing_block_is_named_and_the_others_are_sorted() -> None:
    table = Table("sort")
    table.hidden = {0}
    assert not table.run(30)
    assert table.success.at_goal == (False, True, True)
    assert "block 'red' with markers 0 to 5 is not visible; put it into the area" in table.reasons
    table.hidden = set()
    assert table.run(15)


def test_stack_waits_for_a_missing_block() -> None:
    table = Table("stack")
    table.hidden = {1}
    assert not table.run(20) and table.success.at_goal[0] and not table.success.at_goal[2]
    assert "block 'green' with markers 6 to 11 is not visible" in str(table.command.hold_reason)


def test_block_that_is_moved_after_the_task_is_placed_again() -> None:
    table = Table("sort")
    assert table.run(40)
    table.blocks[1] = STARTS[1]
    table.success.placed = False
    table.step()
    assert not table.success.placed and table.run(20)


@pytest.mark.parametrize("task", ["grasp", "sort"])
def test_block_that_falls_out_of_the_gripper_is_grasped_again(task: str) -> None:
    table = Table(task)
    assert table.run(10, until="carry")
    table.run(0.2)
    table.release()
    table.opening = 0.0  # closed on nothing
    assert table.run(60)
    assert any("the block is lost, the gripper has closed" in r for r in table.reasons)


def test_block_that_the_camera_sees_elsewhere_is_lost() -> None:
    """Also if something else keeps the fingers apart."""
    table = Table("grasp")
    assert table.run(10, until="hold")
    held = table.held

    class Elsewhere(Table):
        def image(self, time: float) -> ImageDetections:
            away = BlockDetection(time, STARTS[0], 0.0, np.full(4, 1e-6))
            return ImageDetections(time, (away,), {})

    table.__class__ = Elsewhere
    table.run(2.0)
    assert held == 0
    assert any("lost, the camera sees it elsewhere" in r for r in table.reasons)


def test_script_goes_back_for_a_block_that_does_not_stay_at_its_goal() -> None:
    table = Table("grasp")
    assert table.run(15, until="home")
    table.blocks[0] = STARTS[0]
    table.success.placed = False
    assert table.run(15, until="descend")
    assert any("mm from its goal, going back" in r for r in table.reasons)


def test_open_fingers_avoid_a_neighbour() -> None:
    policy = ScriptedGrasp(UR5, SCENE)
    yaws = []
    for side in ([0.05, 0.0], [0.0, 0.05]):
        policy.assign(np.array(SCENE.goal), STARTS[:1, :2] + np.array([side]), 0.0)
        policy.on_detection(BlockDetection(0.0, STARTS[0], 0.0, np.full(4, 1e-6)))
        pose = policy._pose_above_block(0.08)
        assert pose is not None
        yaws.append(pose.yaw)
    assert abs(np.cos(yaws[0] - yaws[1])) < 1e-6, "a quarter turn apart"


@pytest.mark.parametrize("level", [0, 1, 2])
def test_level_of_a_block_in_a_stack_follows_from_its_height(level: int) -> None:
    T = block_pose(0.45, 0.05, (level + 0.5) * SIZE, 0.3)
    camera = SCENE.camera.T_base_camera
    covariance = np.diag([1e-8] * 6)
    T_camera_block = np.linalg.inv(camera) @ T
    T_camera_block[2, 3] += 0.004  # depth is the least certain coordinate
    detection = detection_in_stack(0.0, T_camera_block, covariance, camera, SIZE, 2)
    assert (detection.level, detection.block) == (level, 2)
    np.testing.assert_allclose(detection.position, T[:3, 3], atol=2e-3)


def test_task_without_its_blocks_is_refused() -> None:
    with pytest.raises(ValueError, match="task:=sort needs two or more blocks; give blocks:="):
        plan_placements(load_scene("ur5"), "sort")
    same = tuple(replace(block, goal=SCENE.goal) for block in SCENE.blocks)
    with pytest.raises(ValueError, match="'red' and 'green' are less than"):
        plan_placements(replace(SCENE, blocks=same), "sort")
    assert len(plan_placements(replace(SCENE, blocks=same), "stack")) == 3


@pytest.mark.slow
def test_two_blocks_are_stacked_in_the_simulation() -> None:
    (result,) = run_tasks(TaskJob("ur5", "stack", THREE, 2, "scripted", "default", 1, (0,)))
    assert result.success, result.reason


@pytest.mark.slow
def test_dropped_block_is_placed_in_the_simulation() -> None:
    (result,) = run_tasks(
        TaskJob("ur5", "grasp", "", 0, "scripted", "default", 1, (0,), "dropped")
    )
    assert result.success and result.was_disturbed, result.reason
