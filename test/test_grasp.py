"""Scripted grasp and success criteria."""

from __future__ import annotations

import numpy as np
import pytest
from plant_oracle import Oracle, robot
from scipy.spatial.transform import Rotation
from test_block_estimate import yaw_distance

from invdyn_ros.arms.pybullet_simulation import Simulation
from invdyn_ros.control.computed_torque import MeasuredState
from invdyn_ros.control.controller import ArmController
from invdyn_ros.control.motion_profile import Target
from invdyn_ros.grasp.estimation.block_estimate import (
    BlockDetection,
    upright_yaw,
)
from invdyn_ros.grasp.policies.scripted import ScriptedGrasp
from invdyn_ros.grasp.policies.scripted_motion import REPLAN_INTERVAL
from invdyn_ros.grasp.policies.success import SuccessDetector
from invdyn_ros.robots.registry import load_plant, load_scene


def episode(
    arm: str, seed: int, bias: float = 0.0, away: float = 0.0
) -> tuple[SuccessDetector, str, float]:
    """Run a scripted grasp with biased detections; return outcome, hold reason, largest motion."""
    body, scene, plant = robot(arm), load_scene(arm), load_plant(arm)
    random = np.random.default_rng(seed)
    driver = ArmController(
        body, Oracle(body, plant), body.action_unit, plant.delay + 0.5 / body.rate
    )
    driver.engage(True)
    policy, reason, moved = ScriptedGrasp(body, scene), "", 0.0
    offset = bias * random.standard_normal(3) * [1, 1, 0] + [away, 0, 0]
    with Simulation(body, plant, scene=scene, seed=seed) as simulation:
        detector = SuccessDetector.from_scene(scene, simulation.block_pose()[0])
        while simulation.time < (3.0 if away else 15.0) and not detector.placed:
            sample = simulation.state()
            if simulation.ticks % round(body.rate / 10) == 0:
                centre, quaternion = simulation.block_pose()
                detector.update(centre, simulation.true_state()[1], sample.opening)
                yaw = upright_yaw(Rotation.from_quat(quaternion).as_matrix())
                policy.on_detection(
                    BlockDetection(sample.time, centre + offset, yaw, np.full(4, 1e-6))
                )
            policy.update_joints(sample.q, sample.qd)
            command = policy.command(sample.time, sample.opening, 1 / body.rate)
            driver.set_target(Target(sample.time, command.state, 1 / body.rate))
            output = driver.update(MeasuredState(sample.time, sample.q, sample.qd))
            simulation.step(output.action, command.opening)
            reason = command.hold_reason or reason
            moved = max(moved, np.abs(command.state.q - body.home).max())
    return detector, reason, moved


@pytest.mark.slow
@pytest.mark.parametrize("arm", ["ur5", "ur5e", "dofbot"])
def test_scripted_grasp_lifts_and_places_a_block(arm: str) -> None:
    """With detections that are two millimetres off, as those of a calibrated camera."""
    detector, _, _ = episode(arm, 50, bias=0.002)
    assert detector.lifted and detector.placed


@pytest.mark.parametrize("arm", ["ur5", "dofbot"])
def test_arm_stays_and_reports_a_block_out_of_reach(arm: str) -> None:
    detector, reason, moved = episode(arm, 1, away=2.0)
    assert not detector.success and "out of reach" in reason and moved == 0


def test_unreachable_pose_is_not_solved_for_at_every_tick() -> None:
    """Inverse kinematics without a solution is slow and must not block the control loop."""
    policy, calls = ScriptedGrasp(robot("ur5"), load_scene("ur5")), []
    solve = policy.grasp_poses.ik.solve
    policy.grasp_poses.ik.solve = lambda *a: (calls.append(0), solve(*a))[1]  # type: ignore
    for k in range(3):
        policy.on_detection(BlockDetection(k / 10, np.array([3.0, 0, 0.02]), 0.0, np.ones(4)))
    policy.command(1.0, 0.08, 0.008)
    first = len(calls)
    for k in range(20):
        policy.command(1.0 + 0.9 * REPLAN_INTERVAL * k / 20, 0.08, 0.008)
    assert first > 0 and len(calls) == first
    policy.command(1.0 + 1.1 * REPLAN_INTERVAL, 0.08, 0.008)
    assert len(calls) > first


def test_script_waits_for_an_arm_that_is_not_engaged() -> None:
    body, scene = robot("ur5"), load_scene("ur5")
    policy, position = ScriptedGrasp(body, scene), np.array([0.45, 0.05, 0.02])
    q, still, held = body.home, np.zeros(body.n), 0
    for k in range(1000):
        time = k / 100
        if k % 10 == 0:
            policy.on_detection(BlockDetection(time, position, 0.0, np.full(4, 1e-6)))
        policy.update_joints(q, still)
        command = policy.command(time, body.gripper.max_opening, 0.01)
        if time < 5.0:  # a real arm starts disengaged
            assert command.phase in ("detect", "approach")
            assert command.opening == body.gripper.max_opening
            assert np.abs(command.state.q - q).max() < 0.5
            held += command.hold_reason == "the arm does not follow"
        else:
            q = command.state.q
        if command.opening == 0.0:
            break
    assert held > 300 and 6.0 < time < 9.0
    tool = body.forward_kinematics(q)[:3, 3]
    assert np.abs(tool - position)[:2].max() < 0.01, "it closes around the block"


@pytest.mark.parametrize("arm", ["ur5", "dofbot"])
def test_fingers_are_aligned_with_the_sides_of_the_block(arm: str) -> None:
    """Seen from above, the axes of tool and block coincide up to quarter turns."""
    body, rng = robot(arm), np.random.default_rng(0)
    for _ in range(6):
        pose, policy = load_scene(arm).sample_block_pose(rng), ScriptedGrasp(body, load_scene(arm))
        yaw = upright_yaw(pose[:3, :3])
        policy.on_detection(BlockDetection(0.0, pose[:3, 3], yaw, np.full(4, 1e-6)))
        grasp_pose = policy._pose_above_block(0.0)
        assert grasp_pose is not None
        T = body.forward_kinematics(grasp_pose.q)
        np.testing.assert_allclose(T[:3, 3], pose[:3, 3], atol=1e-3)
        tool = Rotation.from_matrix(T[:3, :3])
        upright, _ = Rotation.align_vectors([[0, 0, -1]], [tool.apply([0, 0, 1])])
        assert yaw_distance(upright_yaw((upright * tool).as_matrix()), yaw) < 0.02


@pytest.mark.parametrize(
    ("block", "speed", "opening", "lifted", "placed"),
    [
        ((0.45, 0.0, 0.02), 0.0, 0.08, False, False),  # initial position
        ((0.45, 0.0, 0.061), 0.0, 0.04, True, False),
        ((0.45, 0.0, 0.059), 0.0, 0.04, False, False),  # 39 mm
        ((0.45, 0.0, 0.10), 0.21, 0.04, False, False),  # arm not static
        ((0.425, -0.165, 0.02), 0.0, 0.08, False, True),
        ((0.425, -0.165, 0.02), 0.0, 0.04, False, False),  # not released
        ((0.425, -0.165, 0.02), 0.0, 0.0581, False, False),  # nor where it is held by its diagonal
        ((0.425, -0.165, 0.02), 0.3, 0.08, False, False),  # arm not static
        ((0.425, -0.139, 0.02), 0.0, 0.08, False, False),  # 26 mm off
    ],
)
def test_success_is_a_released_block_at_the_goal_not_a_lifted_one(
    block: tuple[float, ...], speed: float, opening: float, lifted: bool, placed: bool
) -> None:
    detector = SuccessDetector.from_scene(load_scene("ur5"), np.array([0.45, 0.0, 0.02]))
    detector.update(np.array(block), np.array([0.0, -speed]), opening)
    assert (detector.lifted, detector.placed) == (lifted, placed)
    assert detector.success == placed


def test_block_that_starts_at_the_goal_is_not_placed() -> None:
    goal = np.array(load_scene("ur5").goal)
    detector = SuccessDetector.from_scene(load_scene("ur5"), goal)
    detector.update(goal, np.zeros(6), 0.08)
    assert not detector.success


def test_arm_without_a_gripper_is_rejected() -> None:
    with pytest.raises(ValueError, match="'kuka_iiwa' has no gripper"):
        ScriptedGrasp(robot("kuka_iiwa"), load_scene("kuka_iiwa"))
