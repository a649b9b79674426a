"""Episodes judged by the camera: the same success criteria as in simulation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from invdyn_ros.control.motion_profile import State
from invdyn_ros.grasp.estimation.block_estimate import BlockDetection, ImageDetections
from invdyn_ros.grasp.policies.episode_monitor import (
    JUDGING_TIME,
    NOT_MOVED,
    PLACED,
    EpisodeMonitor,
)
from invdyn_ros.grasp.policies.grasp_command import DONE, GraspCommand
from invdyn_ros.robots.registry import load_scene
from invdyn_ros.robots.robot import load_robot

ROOT = Path(__file__).parents[1]
ARM, SCENE = load_robot("dofbot"), load_scene("dofbot")
GOAL, START = np.array(SCENE.goal), np.array([0.19, 0.06, SCENE.block_size / 2])
X, _, Z = np.eye(3)
OPEN = ARM.gripper.max_opening
PERIOD = 1 / ARM.rate


def image(time, **blocks):
    """Return an image with blocks at positions, such as b0=(x, y, z)."""
    detections = [
        BlockDetection(time, np.array(position, float), 0.0, np.full(4, 1e-6), block=int(name[1:]))
        for name, position in blocks.items()
    ]
    return ImageDetections(time, tuple(detections), {})


def result(monitor, final, opening=OPEN, speed=0.0, hold_reason=None):
    """Let a policy be done, with images of blocks at their last places; return the result."""
    q, zero = ARM.home.copy(), np.zeros(ARM.n)
    for k in range(round(1.5 * JUDGING_TIME / PERIOD)):
        time = 10.0 + k * PERIOD
        q = q + speed * PERIOD
        monitor.on_image(image(time, **final))
        command = GraspCommand(State(q, zero, zero), opening, DONE, hold_reason)
        outcome = monitor.update(time, q, opening, command)
        if outcome is not None:
            assert time >= 10.0 + JUDGING_TIME - 1e-9, "judged before the camera has looked"
            return outcome
    raise AssertionError("no result")


def started(scene=SCENE, task="grasp", **blocks):
    monitor = EpisodeMonitor(scene, task)
    monitor.on_image(image(0.0, **(blocks or {"b0": START})))
    return monitor


@pytest.mark.parametrize(
    ("offset", "given", "reason"),
    [
        (0.0, {}, PLACED),
        (0.024, {"hold_reason": "gave up: the block was lost 3 times"}, PLACED),
        (0.026, {}, "the block lies 26 mm from its goal"),
        (0.026, {"hold_reason": "gave up after 3 empty grasps"}, "gave up after 3 empty grasps"),
        (0.0, {"opening": 0.8 * SCENE.block_size}, "the gripper is not open"),
        (0.0, {"speed": 0.3}, "the arm is not at rest, or the block lay at its goal"),
    ],
)
def test_a_block_is_placed_if_it_lies_released_within_25_mm_of_its_goal(offset, given, reason):
    outcome = result(started(), {"b0": GOAL + offset * X}, **given)
    assert outcome.success == (reason == PLACED) and outcome.reason.startswith(reason)
    assert outcome.distance == pytest.approx(offset)


def test_only_images_after_the_end_of_the_task_count():
    monitor = started()
    monitor.on_image(image(9.0, b0=GOAL))  # in the gripper, over the goal
    outcome = result(monitor, {})
    assert outcome.reason == "the block is not visible at its goal"
    assert not outcome.success and np.isnan(outcome.distance)


def test_a_policy_that_goes_on_has_no_result():
    monitor, zero = started(), np.zeros(ARM.n)
    state = State(ARM.home, zero, zero)
    for k in range(200):
        monitor.on_image(image(k * PERIOD, b0=GOAL))
        phase = DONE if k % 40 else "check"  # never done for as long as it takes to judge
        command = GraspCommand(state, OPEN, phase, None)
        assert monitor.update(k * PERIOD, ARM.home, OPEN, command) is None


def test_the_next_episode_waits_until_the_block_has_been_moved():
    monitor = EpisodeMonitor(SCENE, "grasp")
    assert not monitor.starts(image(0.0, b0=GOAL)) and monitor.hold_reason == NOT_MOVED
    assert monitor.starts(image(0.1)), "a policy says itself that no block is visible"
    assert monitor.starts(image(0.2, b0=START)) and monitor.hold_reason is None
    monitor.on_image(image(0.2, b0=START))
    assert monitor.starts(image(5.0, b0=GOAL)), "the policy has put it there"


THREE = load_scene("ur5", str(ROOT / "config" / "blocks" / "ur5_three.yaml"))


def test_a_stack_is_done_though_its_top_hides_the_blocks_below():
    goal, size = np.array(THREE.all_blocks[0].goal), THREE.block_size
    on_table = {f"b{k}": [0.4, 0.1 * k, size / 2] for k in range(3)}
    top = goal + 2 * size * Z
    assert result(started(THREE, "stack", **on_table), {"b2": top}, 0.085).success
    fallen = result(started(THREE, "stack", **on_table), {"b2": goal + 0.1 * X}, 0.085)
    assert not fallen.success
    assert not EpisodeMonitor(THREE, "stack").starts(image(0.0, b2=top))


def test_blocks_are_sorted_when_each_lies_at_its_own_goal():
    goals = {f"b{k}": block.goal for k, block in enumerate(THREE.all_blocks)}
    on_table = {f"b{k}": [0.4, 0.1 * k, THREE.block_size / 2] for k in range(3)}
    assert result(started(THREE, "sort", **on_table), goals, 0.085).success
    two = {name: goals[name] for name in ("b0", "b1")}
    assert not result(started(THREE, "sort", **on_table), two, 0.085).success
    assert not EpisodeMonitor(THREE, "sort").starts(image(0.0, **goals))
    assert EpisodeMonitor(THREE, "sort").starts(image(0.0, **two)), "one is missing"
