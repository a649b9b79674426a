"""Inverse kinematics, and motions of tool and joints."""

from __future__ import annotations

import numpy as np
import pytest
from plant_oracle import robot

from invdyn_ros.grasp.policies.cartesian_motion import (
    MotionSegment,
    joint_motion,
    straight_line_motion,
)
from invdyn_ros.robots.inverse_kinematics import PoseIKSolver
from invdyn_ros.robots.robot import Robot


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
