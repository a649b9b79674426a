"""Scripted grasp, block estimate, tool motions and success criteria."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from plant_oracle import Oracle
from scipy.spatial.transform import Rotation

from invdyn_ros.arms.pybullet_simulation import Simulation
from invdyn_ros.control.computed_torque import MeasuredState
from invdyn_ros.control.controller import ArmController
from invdyn_ros.control.motion_profile import Target
from invdyn_ros.grasp.estimation.block_estimate import (
    QUARTER_TURN,
    BlockDetection,
    BlockEstimate,
    detection_on_table,
    project_to_height,
    upright_yaw,
)
from invdyn_ros.grasp.policies.cartesian_motion import (
    MotionSegment,
    joint_motion,
    straight_line_motion,
)
from invdyn_ros.grasp.policies.scripted import REPLAN_INTERVAL, ScriptedGrasp
from invdyn_ros.grasp.policies.success import SuccessDetector
from invdyn_ros.robots.inverse_kinematics import PoseIKSolver
from invdyn_ros.robots.registry import load_plant, load_scene
from invdyn_ros.robots.robot import Robot, load_robot

robot = cache(load_robot)


def yaw_distance(a: float, b: float) -> float:
    """Angle between two yaws of a cube [rad]."""
    return abs((a - b + QUARTER_TURN / 2) % QUARTER_TURN - QUARTER_TURN / 2)


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
@pytest.mark.parametrize(("arm", "seeds"), [("ur5", 1), ("ur5e", 1), ("dofbot", 1)])
def test_scripted_grasp_lifts_and_places_blocks_anywhere_in_its_area(arm: str, seeds: int) -> None:
    """With detections that are two millimetres off, as those of a calibrated camera."""
    outcomes = [episode(arm, 50 + seed, bias=0.002)[0] for seed in range(seeds)]
    assert all(detector.lifted and detector.placed for detector in outcomes)


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


@pytest.mark.parametrize("arm", ["ur5", "ur5e", "dofbot"])
def test_inverse_kinematics_inverts_forward_kinematics(arm: str) -> None:
    body, rng = robot(arm), np.random.default_rng(0)
    ik = PoseIKSolver(body)
    for _ in range(10):
        q = np.clip(body.home + rng.uniform(-0.3, 0.3, body.n), ik.lower, ik.upper)
        pose = body.forward_kinematics(q)
        solution = ik.solve(pose, body.home)
        assert solution is not None
        np.testing.assert_allclose(body.forward_kinematics(solution), pose, atol=2e-3)
        assert (solution >= body.lower).all() and (solution <= body.upper).all()


def test_pose_out_of_reach_has_no_solution_and_no_straight_line() -> None:
    body = robot("ur5")
    far = body.forward_kinematics(body.home)
    far[0, 3] += 2.0
    ik = PoseIKSolver(body)
    assert ik.solve(far, body.home) is None
    assert straight_line_motion(ik, body.home, far, 0.0, 0.5) is None


def sampled(segment: MotionSegment) -> tuple[np.ndarray, ...]:
    times = segment.start + segment.duration * np.linspace(0, 1, 400)
    return tuple(np.stack(p) for p in zip(*(segment.at(t) for t in times), strict=True))


def assert_within_limits(segment: MotionSegment, body: Robot) -> None:
    """Assert that a segment starts and ends at rest, within limits, with exact derivatives."""
    q, qd, qdd = sampled(segment)
    step = segment.duration / 399
    np.testing.assert_allclose(qd[[0, -1]], 0, atol=1e-9)
    np.testing.assert_allclose(qdd[[0, -1]], 0, atol=1e-9)
    assert (np.abs(qd) <= 0.65 * body.velocity).all()
    assert (np.abs(qdd) <= 0.65 * body.acceleration).all()
    assert (q >= body.lower).all() and (q <= body.upper).all()
    np.testing.assert_allclose(np.gradient(q, step, axis=0)[1:-1], qd[1:-1], atol=2e-3)
    np.testing.assert_allclose(np.gradient(qd, step, axis=0)[2:-2], qdd[2:-2], atol=5e-2)
    np.testing.assert_array_equal(segment.at(segment.start - 1).q, q[0])
    np.testing.assert_allclose(segment.at(segment.start + segment.duration + 9).q, segment.end)


def test_straight_line_motion_is_straight_and_within_limits() -> None:
    body, rng = robot("ur5"), np.random.default_rng(1)
    ik, here = PoseIKSolver(body), body.forward_kinematics(body.home)
    for _ in range(4):
        goal = here.copy()
        goal[:3, 3] += rng.uniform(-0.12, 0.12, 3)
        segment = straight_line_motion(ik, body.home, goal, 2.0, max_speed=0.3)
        assert segment is not None
        assert_within_limits(segment, body)
        points = np.stack([body.forward_kinematics(q)[:3, 3] for q in sampled(segment)[0]])
        line = goal[:3, 3] - here[:3, 3]
        along = (points - here[:3, 3]) @ line / (line @ line)
        off = points - here[:3, 3] - along[:, None] * line
        assert np.linalg.norm(off, axis=1).max() < 1e-3
        np.testing.assert_allclose(points[-1], goal[:3, 3], atol=1e-3)
        speed = np.linalg.norm(np.diff(points, axis=0), axis=1) / (segment.duration / 399)
        assert speed.max() < 0.3 * 1.1


@pytest.mark.parametrize("arm", ["ur5", "dofbot"])
def test_joint_motion_is_within_limits_and_lasts_its_minimum_duration(arm: str) -> None:
    body = robot(arm)
    goal = body.home + 0.5
    segment = joint_motion(body, body.home, goal, 1.0, min_duration=2.5)
    assert segment.duration >= 2.5 - 1e-9
    assert_within_limits(segment, body)
    np.testing.assert_allclose(segment.end, goal)


def test_yaw_of_a_block_does_not_depend_on_its_upper_face() -> None:
    rng = np.random.default_rng(0)
    for turn in Rotation.create_group("O"):
        yaw = rng.uniform(0, QUARTER_TURN)
        R = Rotation.from_euler("z", yaw) * turn
        assert yaw_distance(upright_yaw(R.as_matrix()), yaw) < 1e-9


def test_projection_onto_the_table_removes_depth_errors() -> None:
    eye, block = np.array([0.8, 0.1, 0.5]), np.array([0.4, 0.0, 0.02])
    deep = eye + 1.07 * (block - eye)
    np.testing.assert_allclose(project_to_height(deep, eye, 0.02), block, atol=1e-12)


def test_detection_is_transformed_to_the_base_with_its_covariance() -> None:
    camera = load_scene("ur5").camera.T_base_camera
    T = np.eye(4)
    T[:3, :3] = Rotation.from_euler("z", 0.4).as_matrix()
    T[:3, 3] = 0.45, 0.05, 0.02
    covariance = np.diag([1e-6, 2e-6, 3e-6, 1e-4, 2e-4, 3e-4])
    turn = np.kron(np.eye(2), camera[:3, :3])
    detection = detection_on_table(
        1.5, np.linalg.inv(camera) @ T, turn.T @ covariance @ turn, camera, 0.02
    )
    np.testing.assert_allclose(detection.position, T[:3, 3], atol=1e-9)
    assert detection.time == 1.5 and detection.yaw == pytest.approx(0.4)
    np.testing.assert_allclose(detection.variance, [1e-6, 2e-6, 3e-6, 3e-4])


def test_estimate_improves_with_every_detection_and_weights_them() -> None:
    rng, position, errors = np.random.default_rng(0), np.array([0.45, 0.05, 0.02]), []
    for count in (1, 25):
        runs = []
        for _ in range(200):
            estimate = BlockEstimate()
            for k in range(count):
                noise = 0.002 * rng.standard_normal(3)
                estimate.update(BlockDetection(k, position + noise, 0.0, np.full(4, 4e-6)))
            runs.append(estimate.position - position)
        errors.append(np.std(runs))
    assert errors[1] == pytest.approx(errors[0] / 5, rel=0.2)
    estimate = BlockEstimate()
    estimate.update(BlockDetection(0, position, 0.0, np.full(4, 1e-6)))
    estimate.update(BlockDetection(1, position + 0.004, 0.0, np.full(4, 3e-6)))
    np.testing.assert_allclose(estimate.position, position + 0.001)


def test_estimate_of_yaw_is_invariant_to_quarter_turns() -> None:
    rng, estimate = np.random.default_rng(0), BlockEstimate()
    for k in range(40):
        # the noise crosses the wrap-around
        yaw = 0.02 + k * QUARTER_TURN + 0.05 * rng.standard_normal()
        estimate.update(BlockDetection(k, np.zeros(3), yaw, np.full(4, 1e-4)))
    assert yaw_distance(estimate.yaw, 0.02) < 0.03


def test_estimate_restarts_when_the_block_moves() -> None:
    estimate = BlockEstimate()
    for k in range(10):
        estimate.update(BlockDetection(k, np.array([0.4, 0.0, 0.02]), 0.3, np.full(4, 1e-6)))
    moved = np.array([0.45, 0.0, 0.02])
    estimate.update(BlockDetection(10, moved, 0.9, np.full(4, 1e-6)))
    assert estimate.count == 1 and estimate.yaw == pytest.approx(0.9)
    np.testing.assert_array_equal(estimate.position, moved)


@pytest.mark.parametrize(
    ("block", "speed", "opening", "lifted", "placed"),
    [
        ((0.45, 0.0, 0.02), 0.0, 0.08, False, False),  # initial position
        ((0.45, 0.0, 0.061), 0.0, 0.04, True, False),
        ((0.45, 0.0, 0.059), 0.0, 0.04, False, False),  # 39 mm
        ((0.45, 0.0, 0.10), 0.21, 0.04, False, False),  # arm not static
        ((0.425, -0.165, 0.02), 0.0, 0.08, False, True),
        ((0.425, -0.165, 0.02), 0.0, 0.04, False, False),  # not released
        ((0.425, -0.165, 0.02), 0.3, 0.08, False, False),  # arm not static
        ((0.425, -0.139, 0.02), 0.0, 0.08, False, False),  # 26 mm off
    ],
)
def test_success_is_a_lifted_or_a_placed_block(
    block: tuple[float, ...], speed: float, opening: float, lifted: bool, placed: bool
) -> None:
    detector = SuccessDetector.from_scene(load_scene("ur5"), np.array([0.45, 0.0, 0.02]))
    detector.update(np.array(block), np.array([0.0, -speed]), opening)
    assert (detector.lifted, detector.placed) == (lifted, placed)
    assert detector.success == (lifted or placed)


def test_block_that_starts_at_the_goal_is_not_placed() -> None:
    goal = np.array(load_scene("ur5").goal)
    detector = SuccessDetector.from_scene(load_scene("ur5"), goal)
    detector.update(goal, np.zeros(6), 0.08)
    assert not detector.success


def test_arm_without_a_gripper_is_rejected() -> None:
    with pytest.raises(ValueError, match="'kuka_iiwa' has no gripper"):
        ScriptedGrasp(robot("kuka_iiwa"), load_scene("kuka_iiwa"))
